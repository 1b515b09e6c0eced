"""Tests of data/listing.py: finding pictures in folders and naming their groups."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from labelwise.data.listing import Listing, group_rule, list_images, make_listing, ungrouped
from labelwise.errors import DataError
from labelwise.records import Sample


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def ids(root: Path) -> list[str]:
    return [id for id, _ in list_images(root)[0]]


def test_recursive_sorted_and_case_insensitive(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.JPG", "a.png", "b/c/d.Tiff", "notes.txt", "no_extension")
    found, problems = list_images(tmp_path)
    assert [id for id, _ in found] == ["a.png", "b/c/d.Tiff", "b/x.JPG"]
    assert found[1][1] == tmp_path / "b" / "c" / "d.Tiff"
    assert problems == []


def test_hidden_folders_backups_and_runs_are_skipped(tmp_path: Path) -> None:
    touch(
        tmp_path, ".git/a.png", "Backups/a.png", "runs/one/run.db", "runs/one/thumbs/a.png", "runs/a.png", ".hidden.png"
    )
    assert ids(tmp_path) == [".hidden.png", "runs/a.png"]


def test_all_odd_names_are_listed(shared_data: Path) -> None:
    names = shared_data / "bad_inputs" / "names"
    assert ids(names) == sorted(file.name for file in names.iterdir())


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/x.png", "elsewhere/y.png")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "gone.png").symlink_to(tmp_path / "nothing.png")
    assert ids(tmp_path / "data") == ["a/x.png", "gone.png", "link/y.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "ok.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad_\xff.png")).write_bytes(b"x")
    found, problems = list_images(tmp_path)
    assert [id for id, _ in found] == ["ok.png"]
    assert [(problem.id, problem.code) for problem in problems] == [("bad_\\xff.png", "bad_name")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_pipes_are_no_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert ids(tmp_path) == []


def test_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    real = os.scandir

    def scandir(folder: str) -> object:
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found, problems = list_images(tmp_path)
    assert [id for id, _ in found] == ["a.png"]
    assert [(problem.id, problem.code) for problem in problems] == [("closed", "not_permitted")]


def test_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match="found nothing there"):
        list_images(tmp_path / "none")
    with pytest.raises(DataError, match="found a file"):
        list_images(tmp_path / "a.png")


def test_ids_must_be_unique_and_sorted(tmp_path: Path) -> None:
    a, b = Sample("a", tmp_path), Sample("b", tmp_path)
    assert [sample.id for sample in make_listing(tmp_path, [b, a], (), ()).samples] == ["a", "b"]
    with pytest.raises(DataError, match="each id once"):
        make_listing(tmp_path, [a, a], (), ())
    with pytest.raises(DataError, match="in order"):
        Listing(tmp_path, (b, a), (), ())


def test_group_rules() -> None:
    assert group_rule(None)("a/b.png") is None
    assert group_rule("folder")("a/b/c.png") == "a/b"
    assert group_rule("folder")("c.png") == "."
    assert group_rule(r"(seq\d+)_")("x/seq12_3.png") == "seq12"
    assert group_rule(r"(seq\d+)_")("x/other.png") is None


@pytest.mark.parametrize("wrong", ["(", "abc", "(a)(b)"])
def test_group_rules_refused(wrong: str) -> None:
    with pytest.raises(DataError, match="group: expected"):
        group_rule(wrong)


def test_ungrouped(tmp_path: Path) -> None:
    grouped, alone = Sample("a", tmp_path, group="g"), Sample("b", tmp_path)
    assert list(ungrouped([grouped], "(a)")) == []
    assert [problem.code for problem in ungrouped([grouped, alone], "(a)")] == ["no_group"]
    with pytest.raises(DataError, match="found none"):
        list(ungrouped([alone], "(a)"))
