"""The nouns: what they refuse at the border."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from labelwise.errors import DataError, ModelError
from labelwise.records import Annotation, Labelled, Prediction, Query, Sample, Target


@pytest.mark.parametrize("geometry", [None, np.zeros((1, 4)), np.zeros((1, 2))])
def test_targets_hold_a_class_per_place(geometry):
    assert Target(("cat",), geometry).classes == ("cat",)


def test_a_picture_without_boxes_is_a_target():
    assert Target((), np.zeros((0, 4))).geometry.shape == (0, 4)


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (4,), (1, 4, 1)])
def test_targets_refuse_geometry_that_does_not_fit_their_classes(shape):
    with pytest.raises(DataError, match="shape"):
        Target(("cat",), np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_refuse_coordinates_that_are_not_finite(bad):
    with pytest.raises(DataError, match="finite"):
        Target(("cat",), np.array([[0, 0, bad, 1]]))


@pytest.mark.parametrize("classes", ["cat", ["cat"], ("",), (1,), (None,)])
def test_targets_refuse_classes_that_are_no_tuple_of_names(classes):
    with pytest.raises(DataError, match="tuple of names"):
        Target(classes)


@pytest.mark.parametrize("field", ["probs", "samples", "embedding", "boxes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_predictions_refuse_numbers_that_are_not_finite_and_name_the_image(field, bad):
    with pytest.raises(ModelError, match=f"{field} for a/b.png"):
        Prediction("a/b.png", **{field: np.array([[0.5, bad]])})


def test_predictions_hold_only_what_was_asked_for():
    assert Prediction("x", probs=np.array([0.5, 0.5])).embedding is None


def objects(n=2, **changes):
    fields = {
        "boxes": np.array([[0, 0, 4, 4]] * n, float).reshape(n, 4),
        "labels": np.zeros(n, int),
        "confidences": np.full(n, 0.5),
        "keypoints": np.full((n, 3, 3), 0.5),
        "probs": np.full((n, 2), 0.5),
    }
    return Prediction("a/b.png", **{**fields, **changes})


@pytest.mark.parametrize("n", [0, 1, 2])
def test_predictions_of_objects(n):
    assert objects(n).of_objects
    assert not Prediction("x", probs=np.array([0.5, 0.5])).of_objects
    assert pickle.loads(pickle.dumps(objects(n))).boxes.shape == (n, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"boxes": np.zeros((2, 3))}, r"boxes for a/b.png must have shape \(N, 4\)"),
        ({"boxes": np.zeros(4)}, "boxes for a/b.png must have shape"),
        ({"keypoints": np.zeros((2, 3))}, "keypoints for a/b.png must have shape"),
        ({"labels": np.zeros(3, int)}, "labels for a/b.png must be as many as its boxes, 2, but found 3"),
        ({"probs": np.zeros((3, 2))}, "probs for a/b.png must be as many"),
        ({"boxes": np.array([[4, 0, 0, 4]] * 2)}, "x0 <= x1"),
        ({"confidences": np.array([0.5, 1.5])}, "0 to 1, but found 0.5 to 1.5"),
        ({"confidences": np.array([0.5, np.nan])}, "confidences for a/b.png hold a number that is not finite"),
        ({"keypoints": np.full((2, 3, 3), 7.0)}, "keypoints for a/b.png must have confidences"),
        ({"labels": np.array([0, 2])}, "labels for a/b.png must be 0 to 1"),
        ({"labels": np.array([0, -1])}, "labels for a/b.png must be 0 to 1"),
        ({"labels": np.array([0.0, 1.0])}, "class indices"),
    ],
)
def test_predictions_of_objects_that_do_not_fit_together(changes, said):
    with pytest.raises(ModelError, match=said) as error:
        objects(**changes)
    assert "\n" not in str(error.value)


def test_an_annotation_without_target_is_skipped():
    assert Annotation("q", None).skipped
    assert not Annotation("q", Target(("cat",))).skipped


def test_records_are_frozen_and_travel_to_other_processes():
    sample = Sample("a.png", Path("a.png"), target=Target(("cat",)))
    for record in (sample, Query("0", 0, 0, "a.png"), Annotation("0", None), Labelled(sample, sample.target)):
        assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(AttributeError):
        sample.id = "other"
