"""Masked-reconstruction scores against the formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.records import Prediction
from labelwise.scoring import mps, mps_ripu
from labelwise.strategies import Recipe, assemble


def plain_ripu(probs: np.ndarray, radius: int) -> np.ndarray:
    """Region impurity times mean entropy of the window, pixel by pixel."""
    h, w, classes = probs.shape
    out = np.zeros((h, w))
    best = probs.argmax(axis=-1)
    doubts = -(probs * np.log(probs + 1e-6)).sum(axis=-1) / math.log(classes)
    for y in range(h):
        for x in range(w):
            ys = slice(max(0, y - radius), y + radius + 1)
            xs = slice(max(0, x - radius), x + radius + 1)
            shares = [(best[ys, xs] == c).mean() for c in range(classes)]
            impurity = -sum(s * math.log(s + 1e-6) for s in shares) / math.log(classes)
            out[y, x] = max(0.0, impurity) * doubts[ys, xs].mean()
    return out


def plain_mps(errors: np.ndarray, probs: np.ndarray | None = None, radius: int = 1, weight: float = 0.8) -> np.ndarray:
    """(weight x ripu / max ripu + error / max error) / max."""
    score = errors / errors.max()
    if probs is not None:
        doubts = plain_ripu(probs, radius)
        score = score + weight * (doubts / doubts.max())
    return score / score.max()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(2, 9), st.integers(2, 5), st.integers(0, 3), st.integers(0, 99))
def test_equal_to_the_formula(h: int, w: int, classes: int, radius: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.exponential(size=(h, w)).astype(np.float32)
    np.testing.assert_allclose(mps(errors), plain_mps(errors), rtol=1e-6)
    probs = rng.dirichlet(np.ones(classes), (h, w)).astype(np.float32)
    if plain_ripu(probs.astype(np.float64), max(1, radius)).max() < 1e-3:
        return  # one class everywhere: RIPU is rounding
    found = mps_ripu(errors, probs, radius=max(1, radius), weight=0.8)
    np.testing.assert_allclose(found, plain_mps(errors, probs.astype(np.float64), max(1, radius)), atol=1e-4)


def test_the_worst_reconstructed_pixel_comes_first() -> None:
    errors = np.array([[0.0, 2.0], [1.0, 0.5]], np.float32)
    assert mps(errors).tolist() == [[0.0, 1.0], [0.5, 0.25]]
    assert mps(torch.from_numpy(errors)).tolist() == [[0.0, 1.0], [0.5, 0.25]]


def test_nothing_to_tell_apart() -> None:
    assert mps(np.zeros((2, 3), np.float32)).tolist() == [[0.0] * 3] * 2
    assert mps(np.full((2, 2), 7.0)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert mps(np.zeros((0, 3))).shape == (0, 3)
    sure = np.zeros((2, 2, 3), np.float32)
    sure[..., 1] = 1
    errors = np.array([[1.0, 2.0], [4.0, 0.0]], np.float32)
    np.testing.assert_allclose(mps_ripu(errors, sure), errors / 4, atol=1e-5)


def test_a_number_that_is_none_is_not_hidden() -> None:
    errors = np.array([[1.0, np.nan]], np.float32)
    assert np.isnan(mps(errors)).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mps(np.ones((2, 2, 3))), r"\(h, w\)"),
        (lambda: mps_ripu(np.ones((2, 2)), np.ones((2, 3, 4))), "one size"),
        (lambda: mps_ripu(np.ones((2, 2)), np.ones((2, 2, 4)), weight=-1.0), "weight"),
        (lambda: mps_ripu(np.ones((2, 2)), np.ones((2, 2, 4)), radius=-1), "radius"),
    ],
)
def test_what_is_no_map_is_refused(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SelectionError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_as_the_score_of_a_strategy() -> None:
    rng = np.random.default_rng(1)
    record = Prediction("a", probs=rng.dirichlet(np.ones(3), (4, 6)), reconstruction=rng.random((4, 6)))
    for name, needed in (("mps", {"reconstruction"}), ("mps_ripu", {"reconstruction", "probs"})):
        strategy = assemble(Recipe(score=name, select="top"))
        assert strategy.needs == needed
        assert strategy.score_map(record).shape == (4, 6)
        assert 0 < assemble(Recipe(score=name, select="top", reduce="mean")).score_prediction(record) < 1
    with pytest.raises(SelectionError, match="needs reconstruction"):
        assemble(Recipe(score="mps")).score_map(Prediction("b", probs=np.ones((2, 2, 1))))
