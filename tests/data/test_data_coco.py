"""Tests of data/coco.py: COCO files as they come, good and bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise.data import coco, voc
from labelwise.data.listing import Listing
from labelwise.errors import DataError
from labelwise.records import Target


def image(id: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "file_name": name, "width": 40, "height": 30} | more


def box(image_id: Any, bbox: Any, category: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image_id, "category_id": category, "bbox": bbox, "iscrowd": 0} | more


CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 1, "name": "cat"}]


def written(file: Path, images: list[Any], annotations: list[Any], categories: Any = CATEGORIES) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(root / name)


def truth(listing: Listing) -> dict[str, Target | None]:
    return {sample.id: sample.target for sample in listing.samples}


def codes(listing: Listing) -> set[str]:
    return {problem.code for problem in listing.problems}


def test_one_file_beside_its_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png", "sub/b.png", "c.png")
    file = written(
        tmp_path / "labels.json",
        [image(1, "a.png"), image(2, "sub/b.png")],
        [box(1, [1, 2, 10, 11]), box(1, [0, 0, 5, 5.5], 7)],
    )
    for path in (file, tmp_path):
        listing = coco.read(path)
        assert listing.root == tmp_path / "images"
        assert listing.classes == ("dog", "cat")  # as the categories stand
        found = truth(listing)
        a, b = found["a.png"], found["sub/b.png"]
        assert a is not None
        assert b is not None
        assert a.classes == ("cat", "dog")
        np.testing.assert_array_equal(a.geometry, [[1, 2, 11, 13], [0, 0, 5, 5.5]])
        assert b.classes == ()
        assert b.geometry is not None
        assert b.geometry.shape == (0, 4)
        assert found["c.png"] is None
        assert listing.problems == ()
        assert {sample.split for sample in listing.samples} == {None}


def test_as_coco_is_laid_out(tmp_path: Path) -> None:
    pictures(tmp_path, "train2017/1.png", "val2017/1.png")
    for year in ("train2017", "val2017"):
        written(tmp_path / "annotations" / f"instances_{year}.json", [image(1, "1.png")], [box(1, [0, 0, 9, 9])])
        written(tmp_path / "annotations" / f"captions_{year}.json", [image(1, "1.png")], [{"caption": "a cat"}])
    listing = coco.read(tmp_path)
    assert [(s.id, s.split) for s in listing.samples] == [("train2017/1.png", "pool"), ("val2017/1.png", "test")]
    listing = coco.read(tmp_path, splits={"val2017": "unused"})
    assert [s.split for s in listing.samples] == [None, "unused"]
    with pytest.raises(DataError, match=r"data\.splits: expected splits of .*found 'val'"):
        coco.read(tmp_path, splits={"val": "unused"})


def test_trainval_is_passed_over(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.png", "2.png")
    for name, ids in (("train", [1]), ("val", [2]), ("trainval", [1, 2])):
        written(tmp_path / f"{name}.json", [image(i, f"{i}.png") for i in ids], [])
    listing = coco.read(tmp_path)
    assert [(s.id, s.split) for s in listing.samples] == [("1.png", "pool"), ("2.png", "test")]
    assert listing.problems == ()


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png", "b.png")
    file = written(
        tmp_path / "x.json",
        [image(1, "a.png"), image(2, "b.png"), image(3, "gone.png"), image(4, "../../up.png"), image(5, "a.png")],
        [
            box(1, [0, 0, 5, 5]),
            box(1, [0, 0, 5, 5], 99),
            box(1, [0, 0, 5, 5], iscrowd=1, segmentation={"counts": [1], "size": [30, 40]}),
            box(1, [3, 3, 8, 8], segmentation=[[3, 3, 8, 8, 3, 8]]),
            box(1, [3, 3, -8, 8]),
            {"id": 9, "image_id": 1, "category_id": 1},
            box(2, [0, 0, "wide", 5]),
            box(77, [0, 0, 5, 5]),
            box(["no"], [0, 0, 5, 5]),
            "nonsense",
        ],
    )
    listing = coco.read(file)
    found = truth(listing)
    assert found["b.png"] is None
    assert found["a.png"] is not None
    np.testing.assert_array_equal(found["a.png"].geometry, [[0, 0, 5, 5], [3, 3, 11, 11]])
    assert codes(listing) == {
        "unknown_class", "crowd", "masks", "degenerate_boxes", "no_box", "bad_annotation", "unknown_image", "missing",
        "outside_root", "repeated",
    }  # fmt: skip
    messages = {problem.code: problem.message for problem in listing.problems}
    assert messages["masks"].endswith("x.json: 2 masks, only their boxes read")
    assert messages["unknown_image"].endswith('3 annotations of no image in "images", left out')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found an empty file"),
        ("{", "expected JSON"),
        ("[]", 'expected "annotations" and "images"'),
        ('{"images": [], "annotations": {}, "categories": []}', 'expected "annotations" and "images"'),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "file_name"),
        ('{"images": [], "annotations": []}', '"categories" as a list'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "found none"),
    ],
)
def test_files_that_are_none(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=words):
        coco.read(tmp_path / "x.json")


def test_an_id_twice(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    with pytest.raises(DataError, match="each id"):
        coco.read(written(tmp_path / "x.json", [image(1, "a.png"), image(1, "b.png")], []))


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected COCO files"):
        coco.read(tmp_path)


def test_blood_cells_are_the_same_as_voc(shared_data: Path) -> None:
    """Both have two boxes without area; the targets agree to the last bit."""
    one, two = coco.read(shared_data / "bccd" / "coco"), voc.read(shared_data / "bccd")
    assert one.classes == two.classes == ("RBC", "WBC", "Platelets")
    assert [(s.id, s.split) for s in one.samples] == [(s.id, s.split) for s in two.samples]
    for a, b in zip(one.samples, two.samples, strict=True):
        assert a.target is not None
        assert b.target is not None
        assert a.target.classes == b.target.classes
        np.testing.assert_array_equal(a.target.geometry, b.target.geometry)
    assert sum(len(s.target.classes) for s in one.samples if s.target) == 4886
    bad = [("BloodImage_00338.jpg", "degenerate_boxes"), ("BloodImage_00343.jpg", "degenerate_boxes")]
    assert [(p.id, p.code) for p in one.problems] == [(p.id, p.code) for p in two.problems] == bad
