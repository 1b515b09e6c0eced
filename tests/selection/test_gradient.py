"""badge equals k-means++ on the explicit gradient matrix with the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import badge

rng = np.random.default_rng


def reference(n, candidates, probs, embeddings, generator):
    """BADGE with the whole gradient matrix in float64."""
    p = probs[candidates].astype(np.float64)
    residuals = p - np.eye(p.shape[1])[p.argmax(1)]
    gradients = np.einsum("ic,id->icd", residuals, embeddings[candidates].astype(np.float64)).reshape(len(p), -1)
    picks = [int((gradients**2).sum(1).argmax())]
    while len(picks) < n:
        gaps = np.min([((gradients - gradients[pick]) ** 2).sum(1) for pick in picks], axis=0)
        sums = np.cumsum(gaps)
        picks.append(int(np.searchsorted(sums, generator.random() * sums[-1], side="right")))
    return candidates[picks].tolist()


def case(seed, size=40, classes=5, width=8):
    generator = rng(seed)
    probs = generator.dirichlet(np.full(classes, 0.5), size)
    return probs, generator.normal(size=(size, width)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_equals_the_explicit_gradients(seed, n):
    probs, embeddings = case(seed)
    candidates = np.sort(rng(seed).choice(40, 25, replace=False))
    picks = badge(n, candidates, probs, embeddings, rng(seed))
    assert picks.rows.tolist() == reference(n, candidates, probs, embeddings, rng(seed))


def test_facts():
    probs, embeddings = case(0)
    picks = badge(10, np.arange(40), probs, embeddings, rng(0))
    residuals = probs - np.eye(5)[probs.argmax(1)]
    gradients = np.einsum("ic,id->icd", residuals, embeddings).reshape(40, -1)[picks.rows]
    np.testing.assert_allclose(picks.facts["gradient"], np.linalg.norm(gradients, axis=1), rtol=1e-5)
    assert np.isnan(picks.facts["gradient_distance"][0])
    for i in range(1, 10):
        nearest = np.linalg.norm(gradients[:i] - gradients[i], axis=1).min()
        assert picks.facts["gradient_distance"][i] == pytest.approx(nearest, rel=1e-4)


def test_equal_gradients_come_last():
    probs, embeddings = case(1, size=4)
    rows = np.arange(4).repeat(5)
    picks = badge(20, np.arange(20), probs[rows], embeddings[rows], rng(0))
    assert set(rows[picks.rows[:4]]) == {0, 1, 2, 3}
    assert sorted(picks.rows) == list(range(20))


def test_a_zero_gradient_is_a_gradient_like_any_other():
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    picks = badge(3, np.arange(3), probs, np.ones((3, 2), np.float32), rng(0))
    assert picks.rows[0] == 1
    assert sorted(picks.rows) == [0, 1, 2]


@pytest.mark.parametrize("classes", [1, 3])
def test_nothing_but_zero_gradients_is_random(classes):
    probs = np.eye(classes)[np.zeros(30, int)]
    draws = {tuple(badge(3, np.arange(30), probs, np.ones((30, 2), np.float32), rng(seed)).rows) for seed in range(10)}
    assert len(draws) > 5
    assert all(len(set(draw)) == 3 for draw in draws)


def test_rows_outside_do_not_matter():
    probs, embeddings = case(2)
    candidates = np.arange(10, 30)
    clean = badge(8, candidates, probs, embeddings, rng(0)).rows.tolist()
    probs[:10], embeddings[30:] = np.nan, np.inf
    assert badge(8, candidates, probs, embeddings, rng(0)).rows.tolist() == clean


def test_logits_and_nan_are_refused():
    probs, embeddings = case(3)
    with pytest.raises(SelectionError, match=r"row 0 holds .*softmax"):
        badge(1, np.arange(40), probs * 10 - 5, embeddings, rng(0))
    probs[4, 2] = np.nan
    with pytest.raises(SelectionError, match="row 4"):
        badge(1, np.arange(40), probs, embeddings, rng(0))
