"""Tests of data/voc.py: XML files as people write them, lists of splits, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data import voc
from labelwise.errors import DataError


def thing(name: str, *corners: object, more: str = "") -> str:
    tags = "".join(f"<{t}>{v}</{t}>" for t, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False))
    return f"<object><name>{name}</name>{more}<bndbox>{tags}</bndbox></object>"


def put(root: Path, stem: str, *objects: str, filename: str | None = None, size: tuple[int, int] = (40, 30)) -> None:
    picture, file = root / "JPEGImages" / f"{stem}.png", root / "Annotations" / f"{stem}.xml"
    for path in (picture, file):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30)).save(picture)
    name = picture.name if filename is None else filename
    file.write_text(
        f"<annotation><filename>{name}</filename><path>C:\\home\\{name}</path><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{''.join(objects)}</annotation>",
        encoding="utf-8",
    )


def listed(root: Path, **sets: str) -> None:
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for name, text in sets.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text, encoding="utf-8")


def test_boxes_splits_and_classes(tmp_path: Path) -> None:
    put(tmp_path, "a", thing("dog", 1, 2, 11, 12.5), thing("cat", " 3 ", 3, 9, 9))
    put(tmp_path, "sub dir/ü b", filename="ü b.png")
    put(tmp_path, "c", thing("dog", 1, 2, 11, 12), size=(0, 0))
    Image.new("L", (40, 30)).save(tmp_path / "JPEGImages" / "d.png")
    listed(tmp_path, train="a\nd\n", trainval="a\nd\nc\n", val="c\n", test="sub dir/ü b\n", dog_train="a 1\n")
    listing = voc.read(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert {s.id: s.split for s in listing.samples} == {
        "a.png": "pool",
        "c.png": "unused",
        "d.png": None,
        "sub dir/ü b.png": "test",
    }
    found = {s.id: s.target for s in listing.samples}
    assert found["d.png"] is None
    assert found["a.png"] is not None
    assert found["a.png"].classes == ("dog", "cat")
    np.testing.assert_array_equal(found["a.png"].geometry, [[1, 2, 11, 12.5], [3, 3, 9, 9]])
    assert found["sub dir/ü b.png"] is not None
    assert found["sub dir/ü b.png"].classes == ()
    assert listing.problems == ()
    (tmp_path / "classes.txt").write_text("dog\ncat\nowl\n")
    assert voc.read(tmp_path).classes == ("dog", "cat", "owl")
    assert voc.read(tmp_path, classes=["cat", "dog"]).classes == ("cat", "dog")


def test_labelmap_of_cvat(tmp_path: Path) -> None:
    put(tmp_path, "a", thing("dog", 1, 2, 11, 12))
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:::\n")
    assert voc.read(tmp_path).classes == ("dog", "cat")


def test_counting_from_one(tmp_path: Path) -> None:
    put(tmp_path, "a", thing("dog", 1, 1, 40, 30))
    (sample,) = voc.read(tmp_path, one_based=True).samples
    assert sample.target is not None
    np.testing.assert_array_equal(sample.target.geometry, [[0, 0, 40, 30]])


def test_file_names_that_mislead(tmp_path: Path) -> None:
    """The name in the XML counts where such a picture lies beside; else the picture of the XML's own name."""
    put(tmp_path, "a", thing("dog", 1, 2, 11, 12), filename="elsewhere.jpg")
    put(tmp_path, "b", thing("cat", 1, 2, 11, 12), filename="")
    (tmp_path / "Annotations" / "b.xml").rename(tmp_path / "Annotations" / "zzz.xml")
    text = (
        (tmp_path / "Annotations" / "zzz.xml")
        .read_text()
        .replace("<filename></filename>", "<filename>b.png</filename>")
    )
    (tmp_path / "Annotations" / "zzz.xml").write_text(text)
    found = {s.id: s.target for s in voc.read(tmp_path).samples}
    assert found["a.png"] is not None
    assert found["a.png"].classes == ("dog",)
    assert found["b.png"] is not None
    assert found["b.png"].classes == ("cat",)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    put(tmp_path, "broken")
    (tmp_path / "Annotations" / "broken.xml").write_text("<annotation><object>")
    put(tmp_path, "other")
    (tmp_path / "Annotations" / "other.xml").write_text("<html/>")
    put(tmp_path, "words", thing("dog", 1, "two", 11, 12))
    put(tmp_path, "nameless", thing("", 1, 2, 11, 12))
    put(tmp_path, "short", thing("dog", 1, 2, 11))
    put(
        tmp_path,
        "hard",
        thing("dog", 1, 2, 11, 12, more="<difficult>1</difficult>"),
        "<object><name>cat</name></object>",
    )
    put(tmp_path, "gone", thing("dog", 1, 2, 11, 12))
    (tmp_path / "JPEGImages" / "gone.png").unlink()
    listed(tmp_path, train="hard\nnowhere\n", test="hard\n\nwords\n")
    listing = voc.read(tmp_path)
    truths = {s.id: s.target for s in listing.samples}
    assert {id for id, target in truths.items() if target is not None} == {"hard.png"}
    found = {(p.id, p.code) for p in listing.problems}
    assert found == {
        ("broken.png", "bad_annotation"),
        ("other.png", "bad_annotation"),
        ("words.png", "bad_annotation"),
        ("nameless.png", "bad_annotation"),
        ("short.png", "bad_annotation"),
        ("hard.png", "difficult"),
        ("hard.png", "no_box"),
        ("hard.png", "repeated"),
        ("gone", "missing"),
        ("nowhere", "missing"),
    }


def test_entities_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "a")
    secret = tmp_path / "secret.txt"
    secret.write_text("dog")
    (tmp_path / "Annotations" / "a.xml").write_text(
        f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret.as_uri()}">]><annotation>{thing("&s;", 1, 2, 3, 4)}</annotation>'
    )
    listing = voc.read(tmp_path)
    assert listing.samples[0].target is None
    assert listing.problems[0].code == "bad_annotation"


def test_folders_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JPEGImages"):
        voc.read(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match="expected annotated pictures"):
        voc.read(tmp_path)
