"""graph_density against the published loops (with their state rebuilt from the labelled rows), ties and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import graph_density

NONE = np.array([], dtype=np.int64)


def plain(n, candidates, labelled, embeddings, neighbours):
    """One edge after the other, in a full matrix."""
    rows = sorted([*candidates, *labelled])
    points = embeddings[rows].astype(np.float64)
    distances = np.abs(points[:, None] - points[None]).sum(axis=2)
    weights = np.zeros_like(distances)
    for i in range(len(rows)):
        for j in [j for j in np.argsort(distances[i], kind="stable") if j != i][:neighbours]:
            weights[i, j] = weights[j, i] = np.round(np.exp(-distances[i, j] / points.shape[1]) * 2**20) / 2**20
    density = np.array([np.round(line.sum() / (line > 0).sum() * 2**20) / 2**20 for line in weights])
    start = density.copy()
    for row in labelled:
        density[weights[rows.index(row)] > 0] -= start[rows.index(row)]
    picks, values = [], []
    for _ in range(n):
        best = min((r for r in candidates if r not in picks), key=lambda r: (-density[rows.index(r)], r))
        picks.append(int(best))
        values.append(density[rows.index(best)])
        density[weights[rows.index(best)] > 0] -= max(values[-1], 0)
    return picks, values


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), neighbours=st.sampled_from([1, 3, 10]), known=st.sampled_from([0, 4]))
def test_equals_the_plain_loops(seed, neighbours, known):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(40, 5)).astype(np.float32)
    labelled = np.sort(rng.choice(40, known, replace=False))
    candidates = np.setdiff1d(np.arange(1, 40), labelled)
    found = graph_density(12, candidates, labelled, embeddings, neighbours=neighbours)
    rows, values = plain(12, candidates, labelled, embeddings, neighbours)
    assert found.rows.tolist() == rows
    np.testing.assert_allclose(found.facts["density"], values, atol=1e-9)


def test_the_dense_place_first_and_not_twice():
    rng = np.random.default_rng(0)
    dense, thin = rng.normal(0, 0.01, (12, 4)), rng.normal(9, 0.5, (12, 4))
    rows = graph_density(2, np.arange(24), NONE, np.concatenate([thin, dense]).astype(np.float32)).rows
    assert rows[0] >= 12
    assert rows[1] < 12


def test_far_apart_equal_and_single_vectors():
    far = 1e6 * np.eye(8, dtype=np.float32)
    same = np.ones((8, 8), dtype=np.float32)
    for embeddings in (far, same):
        assert sorted(graph_density(8, np.arange(8), NONE, embeddings, neighbours=2).rows.tolist()) == list(range(8))
    assert graph_density(1, np.array([3]), NONE, far).rows.tolist() == [3]


def test_a_vector_that_is_not_finite_is_refused():
    embeddings = np.ones((5, 2), dtype=np.float32)
    embeddings[2] = np.inf
    with pytest.raises(SelectionError, match="row 2"):
        graph_density(1, np.arange(5), NONE, embeddings)
