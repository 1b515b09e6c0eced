"""robust_k_center: within three times the best radius of every choice, on small pools; oddities are left aside."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import k_center, robust_k_center

NOTHING = np.array([], int)


def radius(x, centres, candidates, spare):
    """The radius that covers all candidates but ``spare``."""
    apart = np.linalg.norm(x[candidates].astype(float)[:, None] - x[list(centres)].astype(float), axis=2).min(axis=1)
    return np.sort(apart)[len(candidates) - spare - 1]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 10**6), st.integers(2, 9), st.integers(0, 2), st.integers(1, 3), st.sampled_from([0.0, 0.15, 0.4])
)
def test_at_most_three_times_the_best_radius(seed, size, known, n, outliers):
    r = np.random.default_rng(seed)
    x = r.normal(size=(size + known, 2)).astype(np.float32)
    if seed % 3 == 0:
        x = r.integers(0, 3, (size + known, 2)).astype(np.float32)
    rows = r.permutation(size + known)
    candidates, labelled = np.sort(rows[known:]), rows[:known]
    spare, n = int(outliers * size), min(n, size)
    picks = robust_k_center(n, candidates, labelled, x, outliers=outliers).rows
    assert len(set(picks.tolist())) == n
    best = min(radius(x, [*c, *labelled], candidates, spare) for c in itertools.combinations(candidates, n))
    assert radius(x, [*picks, *labelled], candidates, spare) <= 3 * best + 1e-6


def test_an_oddity_is_the_first_of_k_center_and_the_last_here():
    r = np.random.default_rng(0)
    x = np.concatenate([r.normal(size=(40, 2)), r.normal(size=(40, 2)) + 20, [[900, 900]]]).astype(np.float32)
    everything = np.arange(81)
    assert 80 in k_center(3, everything, NOTHING, x).rows
    assert 80 not in robust_k_center(80, everything, NOTHING, x, outliers=0.02).rows
    picks = robust_k_center(2, everything, NOTHING, x, outliers=0.02)
    assert sorted((picks.rows[:2] >= 40).tolist()) == [False, True]
    assert picks.facts["covers"][:2].sum() >= 79
    assert robust_k_center(81, everything, NOTHING, x).rows[-1] == 80


def test_a_coreset_keeps_its_bound_and_stands_for_all():
    r = np.random.default_rng(3)
    x = r.normal(size=(600, 3)).astype(np.float32)
    x[-3:] += np.array([[50], [-50], [500]])
    for known in (NOTHING, np.array([10, 20])):
        candidates = np.setdiff1d(np.arange(600), known)
        picks = robust_k_center(8, candidates, known, x, outliers=0.01, limit=100)
        whole = robust_k_center(8, candidates, known, x, outliers=0.01)
        spare = int(0.01 * len(candidates))
        assert not set(picks.rows) & {597, 598, 599}
        assert picks.facts["covers"].sum() <= len(candidates)
        reach = [radius(x, [*p.rows, *known], candidates, spare) for p in (picks, whole)]
        assert reach[0] <= 3 * reach[1]
    assert len(robust_k_center(150, np.arange(600), NOTHING, x, limit=100).rows) == 150


def test_edges_and_refusals():
    x = np.ones((5, 2), np.float32)
    assert robust_k_center(3, np.arange(5), NOTHING, x).rows.tolist() == [0, 1, 2]
    assert robust_k_center(0, np.arange(5), NOTHING, x).rows.tolist() == []
    for outliers in (-0.1, 1.0, float("nan")):
        with pytest.raises(SelectionError, match="share of outliers"):
            robust_k_center(1, np.arange(5), NOTHING, x, outliers=outliers)
