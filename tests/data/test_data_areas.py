"""Outlines and run lengths as areas: against slow references, COCO's own encoder, and themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwise.data.areas import (
    area_box,
    coco_area,
    coco_box,
    cvat_runs,
    cvat_runs_area,
    ellipse_area,
    polygon_area,
)

WIDTH, HEIGHT = SIZE = (13, 9)
areas = hnp.arrays(bool, (HEIGHT, WIDTH))
places = st.tuples(  # no edge through a pixel's centre
    st.integers(-6, 18).map(lambda n: n * 0.7731 + 0.0131), st.integers(-6, 18).map(lambda n: n * 0.6177 + 0.0077)
)


def inside(points, x, y):
    """Even-odd rule for one point, by a ray to the left."""
    odd = False
    for edge in zip(points, [*points[1:], points[0]], strict=True):
        (x0, y0), (x1, y1) = sorted(edge, key=lambda point: point[1])
        if (y0 > y) != (y1 > y) and x > x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


@settings(max_examples=60, deadline=None)
@given(st.lists(places, min_size=3, max_size=7))
def test_polygons_against_a_slow_reference(points):
    found = polygon_area(points, SIZE)
    expected = [[inside(points, x + 0.5, y + 0.5) for x in range(WIDTH)] for y in range(HEIGHT)]
    np.testing.assert_array_equal(found, expected)


def test_a_polygon_on_pixel_borders_is_exactly_its_pixels():
    area = polygon_area([[2, 1], [7, 1], [7, 5], [2, 5]], SIZE)
    assert area.sum() == 20
    assert area_box(area) == [2, 1, 7, 5]
    assert polygon_area([[-5, -5], [50, -5], [50, 50], [-5, 50]], SIZE).all()
    assert not polygon_area([[20, 20], [30, 20], [30, 30]], SIZE).any()
    assert not polygon_area([[1, 1], [5, 5], [1, 1]], SIZE).any()


@settings(deadline=None)
@given(areas)
def test_cvats_runs_and_back(area):
    if not area.any():
        with pytest.raises(ValueError, match="found none"):
            cvat_runs(area)
        return
    counts, corner, box = cvat_runs(area)
    assert [*corner, corner[0] + box[0], corner[1] + box[1]] == area_box(area)
    np.testing.assert_array_equal(cvat_runs_area(counts, corner, box, SIZE), area)


@settings(deadline=None)
@given(areas)
def test_cvats_runs_are_those_of_the_sdk(area):
    masks = pytest.importorskip("cvat_sdk.masks")
    if area.any():
        counts, (left, top), (wide, high) = cvat_runs(area)
        assert [*counts, left, top, left + wide - 1, top + high - 1] == masks.encode_mask(area)


@settings(deadline=None)
@given(areas)
def test_cocos_run_lengths_are_those_of_its_own_encoder(area):
    from faster_coco_eval.core import mask as reference

    packed = reference.encode(np.asfortranarray(area.astype(np.uint8)))
    text = packed["counts"].decode() if isinstance(packed["counts"], bytes) else packed["counts"]
    np.testing.assert_array_equal(coco_area({"size": [HEIGHT, WIDTH], "counts": text}, SIZE), area)
    flat = area.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = ([0] if flat[0] else []) + np.diff([0, *edges, len(flat)]).tolist()
    np.testing.assert_array_equal(coco_area({"size": [HEIGHT, WIDTH], "counts": counts}, SIZE), area)
    assert coco_box({"size": [HEIGHT, WIDTH], "counts": counts}) == area_box(area)


def test_cocos_polygons_are_joined():
    polygons = [[1, 1, 4, 1, 4, 4, 1, 4], [3, 3, 6, 3, 6, 6, 3, 6]]
    assert coco_area(polygons, SIZE).sum() == 9 + 9 - 1
    assert coco_box(polygons) == [1, 1, 6, 6]


def test_ellipses():
    area = ellipse_area([6, 4], [4, 2], 0, SIZE)
    slow = [[((x - 5.5) / 4) ** 2 + ((y - 3.5) / 2) ** 2 <= 1 for x in range(WIDTH)] for y in range(HEIGHT)]
    np.testing.assert_array_equal(area, slow)
    np.testing.assert_array_equal(ellipse_area([6, 4], [2, 4], 90, SIZE), area)


@pytest.mark.parametrize("points", [[], [[1, 2]], [[1, 2], [3, 4]], [[1, 2, 3]] * 3, [[1, np.nan]] * 3])
def test_polygons_that_are_none(points):
    with pytest.raises(ValueError, match="three or more points"):
        polygon_area(points, SIZE)


@pytest.mark.parametrize(
    ("counts", "corner", "box"),
    [([4], (0, 0), (5, 1)), ([1, -1, 5], (0, 0), (5, 1)), ([5], (10, 0), (5, 1)), ([0], (0, 0), (0, 0)),
     ([2.5, 2.5], (0, 0), (5, 1)), ([5], (-1, 0), (5, 1))],
)  # fmt: skip
def test_runs_that_are_none(counts, corner, box):
    with pytest.raises(ValueError, match="expected"):
        cvat_runs_area(counts, corner, box, SIZE)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        {},
        [1, 2, 3],
        [[1, 2, 3]],
        [["1", 2, 3, 4, 5, 6]],
        [[True] * 6],
        {"size": [1, 2], "counts": [2]},
        {"size": [HEIGHT, WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [1]},
        {"size": [HEIGHT, WIDTH], "counts": "~~"},
        {"size": [HEIGHT, WIDTH], "counts": "o"},
        {"size": [HEIGHT, WIDTH], "counts": "o" * 30},
        {"size": None, "counts": [1]},
        {"size": 5, "counts": [5]},
        {"size": [2.5, 2], "counts": [5]},
    ],
)
def test_segmentations_that_are_none(segmentation):
    with pytest.raises(ValueError, match="expected"):
        coco_area(segmentation, SIZE)
    if segmentation != {"size": [1, 2], "counts": [2]}:  # which has a box of its own
        with pytest.raises(ValueError, match="expected"):
            coco_box(segmentation)


def test_the_box_of_nothing_has_no_area():
    assert area_box(np.zeros((3, 4), bool)) == [0, 0, 0, 0]


def test_a_radius_is_above_0():
    with pytest.raises(ValueError, match="radii above 0"):
        ellipse_area([1, 1], [0, 2], 0, SIZE)
