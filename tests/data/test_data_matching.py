"""Names find their images by path, never by a guess; and what was meant is suggested."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from labelwise.data.matching import match_names, unknown_names

IDS = ["a.jpg", "sub/b.jpg", "größe.jpg", "c,d.jpg", "deep/er/a.jpg"]


def test_forms_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    names = {
        "a.jpg": "a.jpg",
        "./sub/b.jpg": "sub/b.jpg",
        "sub\\b.jpg": "sub/b.jpg",
        str(root / "sub" / "b.jpg"): "sub/b.jpg",
        "photos/a.jpg": "a.jpg",
        "photos/../photos/c,d.jpg": "c,d.jpg",
        unicodedata.normalize("NFD", "größe.jpg"): "größe.jpg",
        " a.jpg ": "a.jpg",
    }
    assert match_names(list(names), IDS, root) == (names, [])


def test_a_file_name_alone_is_no_image_of_a_subfolder() -> None:
    found, unknown = match_names(["b.jpg", "er/a.jpg", "", "A.jpg"], IDS, None)
    assert found == {}
    assert unknown == ["b.jpg", "er/a.jpg", "", "A.jpg"]


def test_suggestions() -> None:
    told = [p.message for p in unknown_names(["b.JPG", "cd.jpg", "zzzz", "new\nline"], IDS)]
    assert told == [
        "b.JPG: no such image; did you mean sub/b.jpg?",
        "cd.jpg: no such image; did you mean c,d.jpg?",
        "zzzz: no such image",
        "'new\\nline': no such image",
    ]
    assert unknown_names([], IDS) == []


def test_many_unknown_names_are_all_told() -> None:
    ids = [f"{i}.jpg" for i in range(60_000)]
    names = [f"x{i}.png" for i in range(500)]
    assert [p.id for p in unknown_names(names, ids)] == names
