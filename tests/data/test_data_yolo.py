"""Tests of data/yolo.py: the layouts in use, shares into pixels, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data import yolo
from labelwise.errors import DataError


def put(root: Path, picture: str, text: str | None) -> None:
    """A picture of 40 x 20 pixels, and its label file beside."""
    file = root / picture
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 20)).save(file)
    if text is not None:
        label = yolo.label_file(file, root)
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text, encoding="utf-8")


def test_images_and_labels_with_splits(tmp_path: Path) -> None:
    put(tmp_path, "images/train/a.png", "1 0.5 0.5 0.25 0.5\n0 0.5 0.5 1 1\n\n")
    put(tmp_path, "images/train/b.png", "")
    put(tmp_path, "images/val/c.png", None)
    (tmp_path / "data.yaml").write_text(
        "path: /somewhere/else\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"
    )
    for path in (tmp_path, tmp_path / "data.yaml"):
        listing = yolo.read(path)
        assert listing.root == tmp_path / "images"
        assert listing.classes == ("cat", "dog")
        assert [(s.id, s.split) for s in listing.samples] == [
            ("train/a.png", "pool"),
            ("train/b.png", "pool"),
            ("val/c.png", None),
        ]
        a, b, c = (s.target for s in listing.samples)
        assert a is not None
        assert a.classes == ("dog", "cat")
        np.testing.assert_array_equal(a.geometry, [[15, 5, 25, 15], [0, 0, 40, 20]])
        assert b is not None
        assert b.classes == ()
        assert c is None
    c = yolo.read(tmp_path, absent="empty").samples[2]
    assert c.target is not None
    assert c.split == "test"


def test_as_roboflow_writes_it(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        put(tmp_path, f"{split}/images/a.png", "0 0.5 0.5 0.5 0.5\n")
    lines = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['cat']\n"
    (tmp_path / "data.yaml").write_text(lines)
    listing = yolo.read(tmp_path)
    assert listing.root == tmp_path
    assert [(s.id, s.split) for s in listing.samples] == [
        ("test/images/a.png", "test"),
        ("train/images/a.png", "pool"),
        ("valid/images/a.png", "unused"),
    ]
    assert all(s.target is not None for s in listing.samples)


def test_without_yaml(tmp_path: Path) -> None:
    put(tmp_path, "images/a b.png", "0 0.5 0.5 0.5 0.5\n")
    put(tmp_path, "images/c.png", None)
    with pytest.raises(DataError, match="expected class names"):
        yolo.read(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\n")
    listing = yolo.read(tmp_path)
    assert [(s.id, s.target is None) for s in listing.samples] == [("a b.png", False), ("c.png", True)]
    assert yolo.read(tmp_path, classes=["owl"]).classes == ("owl",)
    assert all(s.target for s in yolo.read(tmp_path, absent="empty").samples)


def test_flat_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert yolo.read(tmp_path).samples[0].target is not None


def test_lists_of_pictures(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path, f"images/{name}.png", "0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "train.txt").write_text("./images/a.png\n./images/gone.png\n")
    (tmp_path / "test.txt").write_text(f"images/b.png\n{tmp_path}/images/a.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: train.txt\ntest: [test.txt]\nnames: [cat]\n")
    listing = yolo.read(tmp_path)
    assert [(s.id, s.split) for s in listing.samples] == [("a.png", "pool"), ("b.png", "test")]
    assert [(p.id, p.code) for p in listing.problems] == [("a.png", "repeated"), ("gone.png", "missing")]


def test_lists_that_lead_away(tmp_path: Path) -> None:
    """A line that is no picture widens nothing; pictures all over the disk are refused, not searched for."""
    put(tmp_path, "images/a.png", "0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: /\nnames: [cat]\n")
    (tmp_path / "train.txt").write_text("/nowhere.png\n./images/a.png\n")
    with pytest.raises(DataError, match="found them all over"):
        yolo.read(tmp_path)
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    listing = yolo.read(tmp_path)
    assert listing.root == tmp_path / "images"
    assert [p.code for p in listing.problems] == ["missing"]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for name, text in {
        "unknown": "7 0.5 0.5 0.5 0.5\n-1 0.5 0.5 0.5 0.5\n",
        "pixels": "0 20 10 5 5\n",
        "short": "0 0.5 0.5 0.5\n",
        "words": "cat 0.5 0.5 0.5 0.5\n",
        "half": "0.5 0.5 0.5 0.5 0.5\n",
        "nan": "0 0.5 nan 0.5 0.5\n",
        "polygon": "1 0.25 0.25 0.75 0.25 0.5 0.75\n",
        "sure": "1 0.5 0.5 0.5 0.5 0.93\n",
        "flat": "1 0.5 0.5 0 0.5\n",
    }.items():
        put(tmp_path, f"images/{name}.png", text)
    (tmp_path / "images" / "nopicture.png").write_bytes(b"")
    (tmp_path / "labels" / "nopicture.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    listing = yolo.read(tmp_path)
    bad = ("pixels", "short", "words", "half", "nan", "nopicture")
    more = {"unknown": "unknown_class", "polygon": "polygons", "sure": "confidences", "flat": "degenerate_boxes"}
    expected = {(f"{name}.png", "bad_annotation") for name in bad} | {(f"{n}.png", code) for n, code in more.items()}
    assert {(p.id, p.code) for p in listing.problems} == expected
    truths = {s.id: s.target for s in listing.samples}
    assert {id for id, target in truths.items() if target is None} == {f"{name}.png" for name in bad}
    assert truths["polygon.png"] is not None
    np.testing.assert_array_equal(truths["polygon.png"].geometry, [[10, 5, 30, 15]])
    assert any("2 boxes of an unknown class, left out, e.g. index 7" in p.message for p in listing.problems)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [cat]\ntrain: nowhere\n", "to be a folder or list"),
        ("names: {0: cat, 2: dog}\ntrain: .\n", "without gaps"),
        ("- 1\n", "found other content"),
        ("a: [\n", "expected YAML"),
        ("names: [cat, cat]\ntrain: .\n", "different class names"),
    ],
)
def test_yaml_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        yolo.read(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: images\nnames: [cat", r"data\.yaml: expected YAML"),
        ("- cat\n", r"data\.yaml: expected YAML with names and train, found other content"),
        ("train: images\nnames: [no, yes]\n", "expected a name for class 0, found False; write it, in quotes"),
        ("train: images\nnames: [cat, null, dog]\n", "expected a name for class 1, found None"),
        ("train: images\nnames: [cat, '', dog]\n", "expected a name for class 1, found ''"),
        ("train: images\nnames: {0: cat, one: dog}\n", "expected names as a list, or as a mapping from 0 on"),
    ],
)
def test_names_that_would_be_others_or_move(text: str, words: str, tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        yolo.read(tmp_path)


def test_a_gap_in_the_list_of_names_is_refused_and_its_last_lines_may_be_blank(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n\n \n")
    assert yolo.read(tmp_path).classes == ("cat", "dog")
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match="expected a name for class 1, found ''"):
        yolo.read(tmp_path)


def test_a_label_file_that_is_no_text_spoils_its_picture_alone(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "0 0.5 0.5 0.5 0.5\n")
    put(tmp_path, "images/b.png", "")
    (tmp_path / "labels" / "b.txt").write_bytes(bytes(range(200)))
    (tmp_path / "classes.txt").write_text("cat\n")
    listing = yolo.read(tmp_path)
    assert [s.target is None for s in listing.samples] == [False, True]
    assert [(p.id, p.code) for p in listing.problems] == [("b.png", "bad_annotation")]


def test_the_last_folder_called_images_counts(tmp_path: Path) -> None:
    base = tmp_path / "images"  # above the dataset: not meant
    assert yolo.label_file(base / "images" / "x" / "images" / "a.b.png", base) == base / "images/x/labels/a.b.txt"
    assert yolo.label_file(base / "a.png", base) == base / "a.txt"
