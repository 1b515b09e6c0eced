"""RIPU's scores against a plain loop over windows: borders, both memory orders, huge logits, NaN, any device's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.scoring import region_impurity, ripu, ripu_pixel
from labelwise.scoring.regions import torch_scores

CODES = {ripu: "mean", ripu_pixel: "own", region_impurity: "alone"}


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def plain(probs, kind, radius, small=1e-6):
    """Window by window in float64, as the paper has it; the border clips a window."""
    probs = np.asarray(probs, np.float64)
    height, width, number = probs.shape
    doubt = -(probs * np.log(probs + small)).sum(-1) / np.log(number)
    best, out = probs.argmax(-1), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            shares = np.bincount(best[window].ravel(), minlength=number) / best[window].size
            impurity = -(shares * np.log(shares + small)).sum() / np.log(number)
            factor = {"mean": doubt[window].mean(), "own": doubt[y, x], "alone": 1}[kind]
            out[y, x] = max(0, impurity * factor)
    return out


def logits_of(height, width, number, seed, blocks=3):
    """Logits with patches of one class, so that windows of one class and of several occur."""
    r = np.random.default_rng(seed)
    patches = r.normal(size=(-(-height // blocks), -(-width // blocks), number)) * 3
    big = np.repeat(np.repeat(patches, blocks, 0), blocks, 1)[:height, :width]
    return (big + 0.3 * r.normal(size=(height, width, number))).astype(np.float32)


@pytest.mark.parametrize("score", CODES)
@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([2, 3, 19, 150]),
    st.integers(0, 6) | st.just(40),
    st.integers(0, 10**6),
)
def test_equals_a_loop_over_windows(score, height, width, number, radius, seed):
    logits = logits_of(height, width, number, seed)
    probs = softmax(logits.astype(np.float64))
    expected = plain(probs, CODES[score], radius)
    for found in (
        score(probs.astype(np.float32), radius=radius),
        score(logits, radius=radius, from_logits=True),
        score(probs, radius=radius),  # float64: torch
        torch_scores(torch.from_numpy(logits), CODES[score], radius, True).numpy(),
    ):
        assert found.shape == (height, width)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 60])
def test_impurity_is_exact_to_a_float_also_where_few_of_many_classes_occur(radius):
    few = np.random.default_rng(radius).choice([3, 7, 148, 149], (30, 40), p=[0.6, 0.3, 0.05, 0.05])
    probs = np.eye(150, dtype=np.float32)[np.repeat(few, 2, axis=1)]
    expected = plain(probs, "alone", radius)
    np.testing.assert_allclose(region_impurity(probs, radius=radius), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("radius", "number"), [(1, 40), (9, 19), (32, 5)])
def test_larger_maps_in_several_strips_and_threads(radius, number, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    logits = torch.from_numpy(logits_of(200, 40, number, 0, blocks=7))
    for score, kind in CODES.items():
        reference = torch_scores(logits.double(), kind, radius, True)
        for memory in (logits, logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)):
            found = score(memory, radius=radius, from_logits=True)
            assert found.dtype == torch.float32
            np.testing.assert_allclose(found.numpy(), reference.numpy(), atol=1e-5)


def test_known_window():
    """One pixel of class 1 in a map of class 0, all pixels sure: impurity from 1 of 9, of 6 and of 4 pixels."""
    probs = np.zeros((3, 3, 2))
    probs[..., 0] = 1
    probs[1, 1] = [0, 1]

    def share(n):
        q = 1 / n
        return -(q * np.log(q) + (1 - q) * np.log(1 - q)) / np.log(2)

    expected = [[share(4), share(6), share(4)], [share(6), share(9), share(6)], [share(4), share(6), share(4)]]
    np.testing.assert_allclose(region_impurity(probs.astype(np.float32)), expected, atol=1e-5)
    np.testing.assert_allclose(ripu(probs.astype(np.float32)), 0, atol=1e-5)  # nothing is uncertain


def test_softmax_is_over_classes_not_over_pixels():
    """One pixel is sure, one is torn: softmax over the pixels, a known defect, turns their order round."""
    logits = np.array([[[5, 0, 0], [5, 5.1, 0]]], np.float32)
    sure, torn = ripu_pixel(logits, radius=1, from_logits=True)[0]
    assert torn > 5 * sure > 0
    defect = softmax(logits[0].T).T
    sure, torn = -(defect * np.log(defect)).sum(-1)
    assert sure > torn
    smooth = logits_of(20, 20, 4, 3)
    shifted = smooth + np.random.default_rng(0).normal(size=(20, 20, 1)).astype(np.float32)  # changes nothing
    np.testing.assert_allclose(ripu(shifted, from_logits=True), ripu(smooth, from_logits=True), atol=1e-5)


def test_logits_of_any_size():
    logits = logits_of(6, 7, 5, 0)
    huge = logits * np.float32(1e30)
    assert np.isfinite(ripu(huge, from_logits=True)).all()
    np.testing.assert_allclose(ripu(huge, from_logits=True), 0, atol=1e-6)
    np.testing.assert_allclose(
        ripu(logits + np.float32(1e4), from_logits=True), ripu(logits, from_logits=True), atol=2e-3
    )
    masked = logits.copy()
    masked[..., 4] = -np.inf  # a class that is ruled out
    expected = plain(softmax(masked.astype(np.float64)), "mean", 1)
    np.testing.assert_allclose(ripu(masked, from_logits=True), expected, atol=1e-5)


@pytest.mark.parametrize("score", CODES)
@pytest.mark.parametrize("radius", [1, 4])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_nan_shows_at_its_pixel(score, radius, from_logits, compiled):
    logits = logits_of(20, 30, 4, 1)
    array = logits if from_logits else softmax(logits)
    array = array.astype(np.float32 if compiled else np.float64)
    array[3, 5, 2] = np.nan
    found = score(array, radius=radius, from_logits=from_logits)
    assert np.isnan(found[3, 5])
    if compiled:
        assert np.count_nonzero(np.isnan(found)) == 1


@pytest.mark.parametrize("score", CODES)
def test_one_class_half_precision_and_empty_maps(score):
    assert (score(np.ones((4, 5, 1), np.float32)) == 0).all()
    probs = softmax(logits_of(8, 9, 5, 0)).astype(np.float16)
    found = score(probs, radius=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(probs, CODES[score], 2), atol=2e-3)
    assert score(np.empty((0, 5, 3), np.float32)).shape == (0, 5)
    assert score(torch.zeros(1, 1, 2, dtype=torch.bfloat16) + 0.5, radius=1).shape == (1, 1)


def test_bad_shapes_and_radii_are_refused():
    with pytest.raises(SelectionError, match=r"\(h, w, C\)"):
        ripu(np.ones((3, 4)))
    with pytest.raises(SelectionError, match="radius of 0 or more"):
        ripu(np.ones((3, 4, 2)), radius=-1)


def test_every_way_in_which_nine_pixels_share_classes():
    def ways(left, most=9):
        return [[m, *rest] for m in range(min(left, most), 0, -1) for rest in ways(left - m, m)] if left else [[]]

    assert len(ways(9)) == 30
    random = np.random.default_rng(0)
    for way in ways(9):
        window = random.permutation(np.repeat(np.arange(len(way)), way)).reshape(3, 3)
        found = region_impurity(np.eye(9, dtype=np.float32)[window])[1, 1]
        shares = np.array(way) / 9
        assert found == pytest.approx(-(shares * np.log(shares + 1e-6)).sum() / np.log(9), abs=1e-6), way
