"""Pixels: exact best of one and of many images, PixelPick's draw, even shares; never one that is not free."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import BestPixels, draw, evenly, pixel_pick, top_pixels

rng = np.random.default_rng


def made(seed, shape, kind, dtype=np.float32):
    r = rng(seed)
    values = {"random": r.normal(size=shape), "ties": r.integers(0, 3, shape), "equal": np.zeros(shape)}[kind]
    return values.astype(dtype), r.random(shape) < r.choice([0, 0.2, 0.9, 1])


def order_of(scores, free):
    """All free positions, best first, ties to the lowest."""
    flat = scores.reshape(-1).astype(float)
    return [int(i) for i in np.argsort(-flat, kind="stable") if free.reshape(-1)[i]]


def positions(places, width):
    return (places.points[:, 1] * width + places.points[:, 0]).tolist()


shapes = st.tuples(st.integers(0, 40), st.integers(1, 40))
kinds = st.sampled_from(["random", "ties", "equal"])


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), shapes, kinds, st.integers(0, 300), st.sampled_from([np.float16, np.float32, np.float64]))
def test_top_pixels_equal_a_sort(seed, shape, kind, n, dtype):
    scores, free = made(seed, shape, kind, dtype)
    found = top_pixels(n, scores, free=free)
    assert positions(found, shape[1]) == order_of(scores, free)[:n]
    assert found.scores.tolist() == [float(scores.reshape(-1)[i]) for i in positions(found, shape[1])]
    assert (found.pixels == 1).all()


def test_top_pixels_of_a_large_map_whose_sample_misleads():
    """The threshold is guessed from every 3rd pixel or so; here those differ from all others."""
    scores = rng(0).random((200, 300)).astype(np.float32)
    for low in range(9):
        odd = scores.copy().reshape(-1)
        odd[low::3] += 5
        odd = odd.reshape(200, 300)
        assert positions(top_pixels(5000, odd), 300) == order_of(odd, np.ones((200, 300), bool))[:5000]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), shapes, kinds, st.integers(0, 50), st.sampled_from([0.001, 0.05, 1.0]))
def test_pixel_pick_draws_from_the_share(seed, shape, kind, n, share):
    scores, free = made(seed, shape, kind)
    allowed = order_of(scores, free)[: max(n, int(share * scores.size))]
    found = positions(pixel_pick(n, scores, rng(seed), share=share, free=free), shape[1])
    assert len(found) == len(set(found)) == min(n, len(allowed))
    assert set(found) <= set(allowed)
    assert found == positions(pixel_pick(n, scores, rng(seed), share=share, free=free), shape[1])


def test_pixel_pick_is_uniform_in_the_share_and_extends():
    scores = np.arange(400, dtype=np.float32).reshape(20, 20)
    counts = np.zeros(400, int)
    for seed in range(600):
        found = positions(pixel_pick(5, scores, rng(seed)), 20)
        counts[found] += 1
        assert positions(pixel_pick(9, scores, rng(seed)), 20)[:5] == found
        more = positions(pixel_pick(30, scores, rng(seed)), 20)  # than the share
        assert more[:5] == found
        assert more[20:] == list(range(379, 369, -1))
    assert counts[:380].sum() == 0  # 5 % are 20 pixels
    assert (np.abs(counts[380:] - 150) < 5 * np.sqrt(150)).all()
    for share in (0, -1, 5, np.nan):
        with pytest.raises(SelectionError, match="share above 0"):
            pixel_pick(1, scores, rng(0), share=share)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.lists(shapes, min_size=1, max_size=6),
    kinds,
    st.integers(0, 400),
    st.randoms(),
    st.booleans(),
)
def test_best_of_many_images_equals_a_sort_of_all(seed, sizes, kind, n, random, halves):
    images = [made(seed + i, shape, kind, (np.float32, np.float64)[i % 2]) for i, shape in enumerate(sizes)]
    everything = [
        (-float(scores[y, x]), number, y, x)
        for number, (scores, free) in enumerate(images)
        for y, x in zip(*np.nonzero(free), strict=True)
    ]
    expected = sorted(everything)[:n]
    shown = list(enumerate(images))
    random.shuffle(shown)
    found = [BestPixels(n), BestPixels(n)]
    for i, (number, (scores, free)) in enumerate(shown):
        found[i % 2 if halves else 0].add(number, scores, free=free)
    if halves:
        found[0].merge(found[1].result())
    result = found[0].result()
    table = zip(-result.scores, result.images, result.points[:, 1], result.points[:, 0], strict=True)
    assert [tuple(map(float, row)) for row in table] == [tuple(map(float, row)) for row in expected]


def test_memory_is_that_of_one_image():
    best, r = BestPixels(500), rng(0)
    best.add(0, r.random((400, 500), dtype=np.float32))  # compiled beforehand
    tracemalloc.start()
    for number in range(1, 9):
        best.add(number, r.random((400, 500), dtype=np.float32))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * 400 * 500 * 4
    assert len(best.result()) == 500


def test_images_are_added_once_and_are_finite():
    best = BestPixels(3)
    best.add(4, np.ones((2, 2)))
    with pytest.raises(SelectionError, match="image 4 was added before"):
        best.add(4, np.ones((2, 2)))
    with pytest.raises(SelectionError, match="image 4 was added before"):
        best.merge(best.result())
    for fill in (0, 3):  # before and after there are n
        best.add(10 + fill, np.ones((2, 2)))
        scores = np.zeros((3, 3))
        scores[1, 2] = np.nan
        with pytest.raises(SelectionError, match=r"b\.png has nan at x=2, y=1"):
            best.add(5, scores, name="b.png")
    with pytest.raises(SelectionError, match="0 or more"):
        BestPixels(-1)
    nothing = BestPixels(0)
    nothing.add(0, np.ones((2, 2)))
    assert len(nothing.result()) == 0


def test_a_map_without_finite_numbers_is_refused_even_for_nothing():
    with pytest.raises(SelectionError, match="finite"):
        top_pixels(0, np.full((2, 2), np.nan))


def test_draw():
    places = top_pixels(20, rng(0).random((10, 10)))
    drawn = draw(5, places, rng(1))
    assert len(drawn) == 5
    assert {tuple(p) for p in drawn.points.tolist()} < {tuple(p) for p in places.points.tolist()}
    assert draw(50, places, rng(1)).take(slice(5)).points.tolist() == drawn.points.tolist()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 200), st.lists(st.integers(0, 40), max_size=10))
def test_even_shares_equal_handing_out_one_by_one(n, room):
    given_out = [0] * len(room)
    while n > sum(given_out) and any(g < r for g, r in zip(given_out, room, strict=True)):
        for i, most in enumerate(room):
            if given_out[i] < most and sum(given_out) < n:
                given_out[i] += 1
    assert evenly(n, room).tolist() == given_out
