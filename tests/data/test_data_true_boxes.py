"""Tests of data/true_boxes.py: every box that is not kept is named and counted, every image has its right truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.listing import Listing
from labelwise.data.true_boxes import TrueBoxes, claimed, class_names, place_of
from labelwise.errors import DataError


def pictures(root: Path, *names: str, size: tuple[int, int] = (40, 30)) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(root / name)
    return root


def said(listing: Listing) -> dict[str, str]:
    return {problem.code: problem.message for problem in listing.problems}


def test_each_wrong_box_is_counted(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    boxes = TrueBoxes(("cat", "dog"))
    boxes.begin("a.png", (40, 30), "test")
    for name, corners in (
        ("cat", [1, 2, 11, 12]),
        ("cat", [1, 2, 11, 12]),  # again
        ("dog", [1, 2, 11, 12]),  # another class is no repetition
        ("cat", [5, 5, 5, 9]),  # no width
        ("cat", [9, 9, 3, 20]),  # turned over
        ("cat", [40, 0, 60, 10]),  # beside the image
        ("dog", [-5, -5, 20, 20]),  # clipped
        ("dog", [0, 0, 40.2, 30.2]),  # rounding: clipped, but not worth a word
        ("owl", [1, 1, 5, 5]),
    ):
        boxes.add("a.png", name, corners)
    listing = boxes.listing(tmp_path, group=None, others="unlabelled")
    (sample,) = listing.samples
    assert sample.split == "test"
    assert sample.size == (40, 30)
    assert sample.target is not None
    assert sample.target.classes == ("cat", "dog", "dog", "dog")
    expected = [[1, 2, 11, 12], [1, 2, 11, 12], [0, 0, 20, 20], [0, 0, 40, 30]]
    np.testing.assert_array_equal(sample.target.geometry, expected)
    messages = said(listing)
    assert messages["degenerate_boxes"] == "a.png: 2 boxes without area, left out, e.g. cat (5, 5, 5, 9)"
    assert messages["outside_boxes"].startswith("a.png: 1 box wholly outside")
    assert messages["clipped_boxes"].endswith("e.g. dog (-5, -5, 20, 20)")
    assert messages["duplicate_boxes"].startswith("a.png: 1 box the same as another")
    assert messages["unknown_class"] == "a.png: 1 box of an unknown class, left out, e.g. 'owl'"
    assert len(messages) == len(listing.problems) == 5


def test_known_truth_and_none(tmp_path: Path) -> None:
    pictures(tmp_path, "empty.png", "other.png", "bad.png")
    boxes = TrueBoxes(None)
    boxes.begin("empty.png")
    boxes.begin("bad.png")
    boxes.add("bad.png", "cat", [0, 0, 5, 5])
    boxes.spoil("bad.png", "line 7: no number")
    boxes.spoil("bad.png", "line 8: no number")
    listing = boxes.listing(tmp_path, group=None, others="unlabelled")
    truth = {sample.id: sample.target for sample in listing.samples}
    assert truth["other.png"] is None
    assert truth["bad.png"] is None  # what could be read of it may be half
    assert truth["empty.png"] is not None
    assert truth["empty.png"].classes == ()
    assert truth["empty.png"].geometry.shape == (0, 4)
    assert said(listing) == {"bad_annotation": "bad.png: line 7: no number; taken as unlabelled until that is mended"}
    assert len(listing.problems) == 1


def test_others_may_be_left_out(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    boxes = TrueBoxes(("cat",))
    boxes.begin("a.png")
    assert [s.id for s in boxes.listing(tmp_path, group=None, others="leave_out").samples] == ["a.png"]


def test_size_is_read_where_it_is_not_declared(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    boxes = TrueBoxes(("cat",))
    boxes.begin("a.png", (0, 0))
    boxes.add("a.png", "cat", [30, 20, 90, 80])
    (sample,) = boxes.listing(tmp_path, group=None, others="unlabelled").samples
    assert sample.target is not None
    np.testing.assert_array_equal(sample.target.geometry, [[30, 20, 40, 30]])


@pytest.mark.parametrize(
    "corners", [[1, 2, 3], [1, 2, 3, float("nan")], "1234", None, [1, 2, 3, "4"], [0, 0, 10**400, 1]]
)
def test_no_numbers(corners: object, tmp_path: Path) -> None:
    boxes = TrueBoxes(("cat",))
    boxes.begin("a.png")
    with pytest.raises(ValueError, match="expected"):
        boxes.add("a.png", "cat", corners)


def test_an_image_counts_once(tmp_path: Path) -> None:
    boxes = TrueBoxes(("cat",))
    assert boxes.begin("a.png")
    assert not boxes.begin("a.png")
    assert boxes.problems[0].code == "repeated"


def test_nothing_annotated(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    with pytest.raises(DataError, match="expected annotated pictures, found none"):
        TrueBoxes(("cat",)).listing(tmp_path, group=None, others="unlabelled")


def test_names_find_their_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "in/über maß.png")
    boxes = TrueBoxes(None)
    assert claimed("über maß.png", tmp_path / "in", tmp_path, boxes) == "in/über maß.png"
    assert claimed("in\\über maß.png", tmp_path, tmp_path, boxes) == "in/über maß.png"
    assert claimed("../secret.png", tmp_path / "in", tmp_path, boxes) is None
    assert claimed("gone.png", tmp_path, tmp_path, boxes) is None
    assert [problem.code for problem in boxes.problems] == ["outside_root", "missing"]
    assert place_of(["über maß.png"], [tmp_path, tmp_path / "in"], tmp_path) == tmp_path / "in"
    with pytest.raises(DataError, match="give images=FOLDER"):
        place_of(["gone.png"], [tmp_path], tmp_path)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", ""], "cat"])
def test_class_names_are_different(names: list[str]) -> None:
    with pytest.raises(DataError, match=r"data\.classes"):
        class_names(names)
