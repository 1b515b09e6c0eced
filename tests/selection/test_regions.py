"""Region choice equals the loop of one arg max per region: ties, borders, masks, budgets, earlier rounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import Places, choose_regions, join_places, within


def plain(n, scores, radius, apart, free, before=(), budget=None):
    """Always the best pixel left; label its window, suppress what is near."""
    width = scores.shape[1]
    left, active = free.copy(), free.copy()
    for x, y in before:
        active[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = False
    points, pixels = [], []
    while len(points) < n and (active & left).any():
        y, x = divmod(int(np.argmax(np.where(active & left, scores, -np.inf))), width)
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if budget is not None and sum(pixels) + left[window].sum() > budget:
            break
        points.append((x, y))
        pixels.append(int(left[window].sum()))
        left[window] = False
        active[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = False
    return points, pixels


KINDS = {
    "random": lambda r, shape: r.normal(size=shape),
    "ties": lambda r, shape: r.integers(0, 3, shape).astype(float),
    "equal": lambda r, shape: np.full(shape, 0.5),
    "ramp": lambda r, shape: np.arange(np.prod(shape), dtype=float).reshape(shape),
    "peaks": lambda r, shape: np.where(r.random(shape) < 0.05, r.random(shape), 0),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 60),
    st.integers(0, 4) | st.just(50),
    st.none() | st.integers(0, 9),
    st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    st.none() | st.integers(0, 200),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_equals_one_arg_max_per_region(kind, seed, shape, n, radius, apart, masked, budget, dtype):
    r = np.random.default_rng(seed)
    scores = KINDS[kind](r, shape).astype(dtype)
    free = r.random(shape) >= masked
    before = [(int(r.integers(shape[1])), int(r.integers(shape[0]))) for _ in range(r.integers(0, 4))]
    found = choose_regions(
        n, scores, radius=radius, apart=apart, free=free, before=np.array(before).reshape(-1, 2), budget=budget
    )
    apart = 2 * radius if apart is None else apart
    points, pixels = plain(n, scores, radius, apart, free, before, budget)
    assert [tuple(p) for p in found.points.tolist()] == points
    assert found.pixels.tolist() == pixels
    assert found.scores.tolist() == [float(scores[y, x]) for x, y in points]


@pytest.mark.parametrize(("n", "radius", "apart"), [(300, 1, None), (12, 9, None), (15, 0, 32)])
def test_larger_map_needs_several_bands(n, radius, apart):
    """A smooth map: the best pixels lie side by side, so that few of the first ones are taken."""
    y, x = np.mgrid[:150, :200]
    scores = (np.sin(x / 30) * np.cos(y / 40) + 0.01 * np.sin(x * y)).astype(np.float32)
    free = np.ones(scores.shape, bool)
    found = choose_regions(n, scores, radius=radius, apart=apart)
    assert [tuple(p) for p in found.points.tolist()] == plain(n, scores, radius, apart or 2 * radius, free)[0]


def test_windows_do_not_overlap_and_are_clipped():
    scores = np.random.default_rng(0).random((40, 31))
    found = choose_regions(50, scores, radius=2)
    boxes = found.boxes(2, scores.shape)
    covered = np.zeros(scores.shape, int)
    for (x0, y0, x1, y1), size in zip(boxes, found.pixels, strict=True):
        covered[y0:y1, x0:x1] += 1
        assert (x1 - x0) * (y1 - y0) == size
    assert covered.max() == 1
    assert covered.sum() == found.pixels.sum()
    assert boxes.min() >= 0
    assert (boxes[:, 2:].max(0) <= [31, 40]).all()


def test_nothing_to_choose():
    scores = np.ones((5, 6), np.float32)
    for found in (
        choose_regions(0, scores),
        choose_regions(3, scores, free=np.zeros((5, 6), bool)),
        choose_regions(3, scores, budget=0),
        choose_regions(3, np.empty((0, 4))),
        choose_regions(3, scores, before=np.array([[3, 2]]), apart=9),
    ):
        assert len(found) == 0
        assert found.points.shape == (0, 2)
        assert found.boxes(1, scores.shape).shape == (0, 4)
    assert choose_regions(100, np.ones((1, 1)), radius=7).pixels.tolist() == [1]


def test_numbers_that_are_not_finite_are_named_unless_they_are_not_free():
    scores = np.random.default_rng(0).random((30, 40))
    for bad in (np.nan, np.inf, -np.inf):
        scores[20, 7] = bad
        with pytest.raises(SelectionError, match=r"street/1\.png has -?(nan|inf) at x=7, y=20"):
            choose_regions(3, scores, name="street/1.png")
        free = np.ones(scores.shape, bool)
        free[20, 7] = False
        assert len(choose_regions(3, scores, free=free)) == 3
    with pytest.raises(SelectionError, match="nan at x=0, y=0"):
        choose_regions(1, np.full((3, 3), np.nan))


def test_bad_arguments_are_refused():
    scores = np.ones((4, 5))
    with pytest.raises(SelectionError, match="0 or more, but found -1"):
        choose_regions(-1, scores)
    with pytest.raises(SelectionError, match="radius and a distance"):
        choose_regions(1, scores, radius=-1)
    with pytest.raises(SelectionError, match=r"shape \(h, w\)"):
        choose_regions(1, np.ones(4))
    with pytest.raises(SelectionError, match=r"a\.png has int64"):
        choose_regions(1, scores, free=np.ones((4, 5), int), name="a.png")
    with pytest.raises(SelectionError, match=r"of \(5, 4\)"):
        choose_regions(1, scores, free=np.ones((5, 4), bool))


def test_what_fits_into_a_budget():
    pixels = np.array([9, 9, 6, 1])
    assert [within(pixels, budget) for budget in (0, 8, 9, 23, 24, 25, 100)] == [0, 0, 1, 2, 3, 4, 4]
    assert within(np.array([], int), 5) == 0


def test_joining_places():
    a = Places(np.array([[1, 2]]), np.array([0.5]), np.array([9]), np.array([3]))
    both = join_places([a, a])
    assert both.images.tolist() == [3, 3]
    assert both.take(slice(1, 2)).points.tolist() == [[1, 2]]
    assert len(join_places([])) == 0
