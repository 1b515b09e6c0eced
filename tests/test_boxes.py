"""Overlaps of boxes equal plain ones, as arrays and as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.boxes import overlaps


def plain(one: list[float], two: list[float]) -> float:
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - width * height
    return width * height / union if union > 0 else 0.0


def boxes(count: int, seed: int) -> np.ndarray:
    """Boxes with whole corners, some without an area."""
    corners = np.random.default_rng(seed).integers(0, 6, (count, 2, 2)).astype(float)
    return np.concatenate([corners.min(1), corners.max(1)], 1)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 1000))
def test_all_pairs_equal_plain_ones(n: int, m: int, seed: int) -> None:
    one, two = boxes(n, seed), boxes(m, seed + 1)
    expected = np.array([[plain(a, b) for b in two.tolist()] for a in one.tolist()]).reshape(n, m)
    np.testing.assert_array_equal(overlaps(one[:, None], two[None]), expected)
    of_tensors = overlaps(torch.from_numpy(one)[:, None], torch.from_numpy(two)[None])
    np.testing.assert_array_equal(of_tensors.numpy(), expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pairs_and_single_boxes_keep_their_kind(kind: type) -> None:
    one, two = boxes(5, 1).astype(kind), boxes(5, 2).astype(kind)
    found = overlaps(one, two)
    assert found.dtype == kind
    assert overlaps(torch.from_numpy(one), torch.from_numpy(two)).numpy().dtype == kind
    assert found.tolist() == [overlaps(a, b) for a, b in zip(one, two, strict=True)]


def test_boxes_that_touch_or_have_no_area_share_nothing() -> None:
    point, box = np.array([1.0, 1, 1, 1]), np.array([0.0, 0, 2, 2])
    assert overlaps(point, point) == 0
    assert overlaps(point, box) == 0
    assert overlaps(box, np.array([2.0, 0, 4, 2])) == 0
    assert overlaps(box, box) == 1
