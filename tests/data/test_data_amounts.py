"""How much was labelled inside images: pixels, regions, clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from labelwise.data.amounts import amounts, connected_areas
from labelwise.records import Query, Target

NAMES = ("sky", "road")


def query(id: str, image: str, geometry: list[list[int]] | None) -> Query:
    return Query(id, 0, 0, image, geometry=None if geometry is None else np.array(geometry))


def points(*rows: tuple[int, int, int]) -> Target:
    table = np.array(rows, dtype=np.int32).reshape(-1, 3)
    return Target(NAMES, table[:, :2], table[:, 2])


def test_each_pixel_asked_by_itself_is_a_click() -> None:
    pixels = query("a", "x", [[0, 0], [1, 0], [9, 9]]), points((0, 0, 1), (1, 0, 1), (9, 9, 0))
    assert amounts([pixels]) == {"images": 1, "regions": 0, "pixels": 3, "clicks": 3}


def test_a_region_takes_a_click_for_each_area_of_a_class() -> None:
    windows = query("a", "x", [[0, 0, 3, 1], [5, 5, 6, 6]])
    answer = points((0, 0, 0), (1, 0, 1), (2, 0, 0), (5, 5, 1))  # sky, road, sky; one road
    superpixels = query("b", "x", [[0, 3, 7], [1, 3, 7], [4, 4, 2]])
    both = [(windows, answer), (superpixels, points((0, 3, 0), (1, 3, 0)))]  # of one a pixel is void
    assert amounts(both) == {"images": 1, "regions": 4, "pixels": 6, "clicks": 5}


def test_whole_images_count_their_valid_pixels(tmp_path: Path) -> None:
    mask = np.full((4, 6), 255, np.uint8)
    mask[:, :2], mask[1, 4:] = 0, 1
    Image.fromarray(mask).save(tmp_path / "a.png")
    whole, gone = Target(NAMES, mask=tmp_path / "a.png"), Target(NAMES, mask=tmp_path / "b.png")
    found = amounts([(query("a", "x", None), whole), (query("b", "y", None), gone)])
    assert found == {"images": 2, "regions": 0, "pixels": 10, "clicks": 2}
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    assert amounts([(query("a", "x", None), whole)])["pixels"] == 24, "a changed file is read again"


@pytest.mark.parametrize(("counted", "clicks"), [({}, 1), ({"a": 7}, 7), ({"other": 7}, 1)])
def test_clicks_that_were_counted_are_taken_as_they_are(counted: dict[str, int], clicks: int) -> None:
    assert amounts([(query("a", "x", [[0, 0]]), points((0, 0, 1)))], counted)["clicks"] == clicks


@given(arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 2)), st.data())
def test_areas_are_those_of_the_picture(values: NDArray[Any], data: st.DataObject) -> None:
    y, x = np.nonzero(values >= 0)
    order = np.array(data.draw(st.permutations(range(len(x)))), int)
    found = connected_areas(np.stack([x, y], 1)[order], values[y, x][order])
    assert found == sum(int(label(values == value)[1]) for value in range(3))


def test_nothing_labelled_is_nothing() -> None:
    assert amounts([]) == {"images": 0, "regions": 0, "pixels": 0, "clicks": 0}
    assert amounts([(query("a", "x", [[0, 0, 3, 3]]), points())])["pixels"] == 0
