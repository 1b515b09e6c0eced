"""Scores of the objects in an image: golden values, plain references, and independence of their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise import testing
from labelwise.errors import SelectionError
from labelwise.scoring import keypoint_uncertainty, missed_objects, object_frequency, objectness_least_confidence

rng = np.random.default_rng


def iou(a, b):
    """Intersection over union, the plain way."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def missed(boxes, confidences, low, shown, limit):
    """The plain way: walk the faint boxes from the surest on."""
    faint = sorted(
        (i for i in range(len(boxes)) if low <= confidences[i] < shown), key=lambda i: (-confidences[i], *boxes[i])
    )
    bright = [boxes[i] for i in range(len(boxes)) if confidences[i] >= shown]
    values, kept = np.zeros(len(boxes)), []
    for i in faint:
        if all(iou(boxes[i], other) < limit for other in bright + kept):
            kept.append(boxes[i])
            values[i] = confidences[i]
    return values


def some(count, seed=0):
    corners = rng(seed).integers(0, 12, (count, 2, 2)).astype(float)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    return boxes, rng(seed + 1).choice([0.01, 0.1, 0.2, 0.3, 0.6, 0.9], count)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 15), st.integers(0, 1000))
def test_missed_objects_equal_the_plain_walk(count, seed):
    boxes, confidences = some(count, seed)
    found = missed_objects(boxes, confidences, shown=0.5, iou=0.3)
    expected = missed(boxes.tolist(), confidences.tolist(), 0.05, 0.5, 0.3)
    np.testing.assert_allclose(found.sum(), expected.sum(), atol=1e-12)
    assert ((found == 0) | (found == confidences)).all()
    order = rng(seed).permutation(count)
    turned = missed_objects(boxes[order], confidences[order], shown=0.5, iou=0.3)
    np.testing.assert_allclose(np.sort(turned), np.sort(found), atol=1e-12)


def test_a_shown_box_explains_a_faint_one_on_it():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [50, 50, 60, 61], [80, 80, 90, 90]], float)
    confidences = np.array([0.9, 0.4, 0.3, 0.35, 0.01])
    np.testing.assert_array_equal(missed_objects(boxes, confidences), [0, 0, 0, 0.35, 0])
    np.testing.assert_array_equal(missed_objects(boxes, confidences, shown=0.2), np.zeros(5))


def test_object_frequency_adds_up_to_lightlys_counts():
    assert object_frequency(np.array([3, 3, 3, 5])).sum() == pytest.approx(1.5 + 1)
    assert object_frequency(np.array([0, 1, 2]), penalty=0.9).tolist() == [1, 1, 1]
    assert object_frequency(np.array([7, 7]), penalty=0).sum() == pytest.approx(1)
    assert object_frequency(np.array([], int)).shape == (0,)
    with pytest.raises(SelectionError, match="penalty of 0 to 1"):
        object_frequency(np.array([0]), penalty=1.5)


def test_doubt_is_one_minus_confidence():
    np.testing.assert_allclose(objectness_least_confidence(np.array([0.25, 1.0])), [0.75, 0])
    points = np.zeros((2, 2, 3))
    points[..., 2] = [[0.5, 1.0], [0.0, 0.0]]
    np.testing.assert_allclose(keypoint_uncertainty(points), [0.25, 1])
    with pytest.raises(SelectionError, match=r"shape \(N, K, 3\)"):
        keypoint_uncertainty(np.zeros((2, 0, 3)))


@pytest.mark.parametrize("options", [{"low": 0.6}, {"low": -1}, {"iou": 0}, {"iou": 2}, {"shown": float("nan")}])
def test_missed_objects_refuses_thresholds_out_of_order(options):
    with pytest.raises(SelectionError, match="missed_objects: expected"):
        missed_objects(*some(3), **options)


def test_tensors_stay_tensors():
    boxes, confidences = (torch.from_numpy(a) for a in some(5))
    assert isinstance(missed_objects(boxes, confidences), torch.Tensor)
    assert isinstance(object_frequency(torch.tensor([1, 1])), torch.Tensor)


def by_place(confidences):
    return np.arange(len(confidences)) * 1.0


def sums(confidences):
    return confidences.sum()


@pytest.mark.parametrize(("score", "said"), [(by_place, "order of the boxes"), (sums, "a score for each of 6 boxes")])
def test_broken_scores_of_objects_are_caught(score, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_score(score)
