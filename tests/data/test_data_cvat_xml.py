"""Tests of data/cvat_xml.py: tasks and projects of CVAT, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data import cvat_xml
from labelwise.errors import DataError

BOX = '<box label="{}" source="manual" occluded="0" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"{}></box>'
META = "<meta><{0}><labels><label><name>dog</name></label><label><name>cat</name></label></labels></{0}></meta>"


def box(label: str, *corners: object, more: str = "") -> str:
    return BOX.format(label, *corners, more)


def written(folder: Path, *images: tuple[str, str, str], meta: str = META.format("task")) -> Path:
    entries = "".join(
        f'<image id="0" name="{n}" {more} width="40" height="30">{inner}</image>' for n, more, inner in images
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "annotations.xml"
    file.write_text(f"<annotations><version>1.1</version>{meta}{entries}</annotations>", encoding="utf-8")
    return file


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(root / name)


def test_a_task(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png", "sub/b.png", "c.png")
    file = written(tmp_path, ("a.png", "", box("cat", "1.00", "2", "11.50", "12")), ("sub/b.png", "", ""))
    for path in (tmp_path, file):
        listing = cvat_xml.read(path)
        assert listing.root == tmp_path / "images"
        assert listing.classes == ("dog", "cat")
        a, c, b = (s.target for s in listing.samples)
        assert a is not None
        np.testing.assert_array_equal(a.geometry, [[1, 2, 11.5, 12]])
        assert c is None
        assert b is not None
        assert b.classes == ()
        assert listing.problems == ()


def test_a_project_with_subsets(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "Train/a.png", "Test/b.png")
    written(
        tmp_path,
        ("a.png", 'subset="Train"', box("cat", 1, 2, 11, 12)),
        ("b.png", 'subset="Test"', ""),
        meta=META.format("project"),
    )
    (tmp_path / "images" / "a.png").mkdir()  # no picture
    listing = cvat_xml.read(tmp_path, images=Path("images"))
    assert [(s.id, s.split) for s in listing.samples] == [("Test/b.png", "test"), ("Train/a.png", "pool")]
    assert listing.classes == ("dog", "cat")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    written(
        tmp_path,
        (
            "a.png",
            "",
            box("owl", 1, 2, 11, 12)
            + box("cat", 10, 10, 30, 20, more=' rotation="90.0"')
            + '<polygon label="dog" points="1,1;2,2;3,1"/><tag label="dog"/>'
            + '<polyline label="dog" points="1,1;2,2"/>',
        ),
        ("b.png", "", box("cat", 1, "", 11, 12)),
        ("gone.png", "", ""),
        ("a.png", "", ""),
    )
    listing = cvat_xml.read(tmp_path)
    assert {(p.id, p.code) for p in listing.problems} == {
        ("a.png", "unknown_class"),
        ("a.png", "rotated_boxes"),
        ("a.png", "no_box"),
        ("a.png", "polygons"),
        ("a.png", "repeated"),
        ("b.png", "bad_annotation"),
        ("gone.png", "missing"),
    }
    a, b = (s.target for s in listing.samples)
    assert b is None
    assert a is not None
    np.testing.assert_allclose(a.geometry, [[15, 5, 25, 25], [1, 1, 3, 2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotations><track id='0'/></annotations>", "tracks of a video"),
        ("<annotation/>", "expected <annotations>"),
        ("<annotations>", "expected XML"),
        ("", "expected XML"),
        ("<annotations/>", "expected annotated pictures"),
    ],
)
def test_files_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=words):
        cvat_xml.read(tmp_path)
