"""Masks of polygons and outlines, against plain ones; the brush's run lengths against the SDK's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.annotators.label_studio.painting import around, from_brush, from_polygon, to_brush

place = st.floats(-6, 16, allow_nan=False).map(lambda v: round(v, 3))


def winding(x: float, y: float, points: list[tuple[float, float]]) -> bool:
    """Whether a point lies inside a polygon: how many sides a ray to the left crosses."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x:
            inside = not inside
    return inside


@given(st.lists(st.tuples(place, place), min_size=1, max_size=8), st.integers(1, 12), st.integers(1, 9))
def test_a_polygon_holds_the_pixels_whose_centres_are_in_it(points: list[tuple[float, float]], w: int, h: int) -> None:
    found = from_polygon(np.array(points), (w, h))
    assert found.tolist() == [[winding(x + 0.5, y + 0.5, points) for x in range(w)] for y in range(h)]


def test_a_square_has_its_area() -> None:
    square = np.array([[2, 1], [7, 1], [7, 5], [2, 5]], float)
    assert from_polygon(square, (10, 8)).sum() == 20
    assert from_polygon(square[::-1], (10, 8)).sum() == 20
    assert from_polygon(square - 100, (10, 8)).sum() == 0
    assert from_polygon(square * 100 - 250, (10, 8)).all()


def test_an_outline_lies_around() -> None:
    mask = np.zeros((7, 9), bool)
    mask[2:4, 0:3] = True
    ring = around(mask, 1)
    assert not (ring & mask).any()
    assert ring.sum() == 2 * 4 + 2  # the picture's left border cuts it
    assert around(np.ones((3, 3), bool), 2).sum() == 0


@pytest.mark.labelstudio
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_brush_goes_there_and_back(w: int, h: int, random) -> None:
    pytest.importorskip("label_studio_sdk")
    mask = np.random.default_rng(random.randrange(2**32)).random((h, w)) < random.choice([0, 0.02, 0.5, 1])
    assert (from_brush(to_brush(mask), (w, h)) == mask).all()


@pytest.mark.labelstudio
def test_what_the_real_brush_paints() -> None:
    """Bytes that Label Studio's page wrote for a picture of 16 x 8: single values, runs and a soft edge."""
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.converter import brush

    opacity = np.zeros((8, 16), np.uint8)
    opacity[2:5, 3:9] = 255
    opacity[5, 3:9] = [255, 129, 128, 127, 3, 0]
    pixels = np.repeat(opacity.ravel(), 4)
    assert (from_brush(brush.encode_rle(pixels), (16, 8)) == (opacity >= 128)).all()


@pytest.mark.parametrize(
    "run_lengths", [[], [1, 2, 3], ["a"] * 9, [300] * 20, [-1] * 20, [[1, 2], [3, 4]], [0, 0, 2, 1] + [0] * 20]
)
def test_run_lengths_of_something_else_are_refused(run_lengths: list[object]) -> None:
    with pytest.raises(ValueError):
        from_brush(run_lengths, (16, 8))
