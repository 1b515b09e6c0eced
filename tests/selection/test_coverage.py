"""Herding against a plain greedy that looks at every candidate in every turn, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection.coverage import herding


def plain(n, candidates, labelled, labels, scores, probs, vectors, *, need, radius, neighbours):
    """The same objective without a heap, a graph library or arrays of gains."""
    rows = sorted([*candidates, *labelled])
    centred = vectors[rows] - vectors[rows].mean(axis=0)
    points = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    d2 = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    at = {row: i for i, row in enumerate(rows)}
    known = [at[r] for r in labelled]
    nearest_known = [min(d2[i, j] for j in known if j != i) for i in known]
    width = radius * max(float(np.median(nearest_known)), 1e-9)
    similarity = np.zeros_like(d2)
    for i in range(len(rows)):
        for j in np.argsort(d2[i], kind="stable")[:neighbours]:
            similarity[i, j] = np.exp(-d2[i, j] / width)
    counts = np.array([(np.asarray(labels) == c).sum() for c in range(probs.shape[1])])
    weight = np.zeros(len(rows))
    for r in candidates:
        weight[at[r]] = scores[r] * sum(probs[r, c] / (counts[c] + 1) ** need for c in range(probs.shape[1]))
    covered = np.zeros(len(rows))
    for i in known:
        covered = np.maximum(covered, similarity[i])
        covered[i] = 1
    picks: list[int] = []
    while len(picks) < n:
        gains = {
            r: float((weight * np.maximum(similarity[at[r]] - covered, 0)).sum()) for r in candidates if r not in picks
        }
        best = max(gains.values())
        picks.append(min(r for r, g in gains.items() if g >= best - 1e-9))
        covered = np.maximum(covered, similarity[at[picks[-1]]])
    return picks


def problem(seed: int, rows: int = 40, dims: int = 6, classes: int = 3):
    rng = np.random.default_rng(seed)
    labelled = np.sort(rng.choice(rows, 6, replace=False))
    return {
        "candidates": np.setdiff1d(np.arange(rows), labelled),
        "labelled": labelled,
        "labels": rng.integers(classes, size=6),
        "scores": rng.random(rows),
        "probs": rng.dirichlet(np.ones(classes), rows),
        "embeddings": rng.normal(size=(rows, dims)).astype(np.float32),
    }


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), need=st.sampled_from([0.0, 1.0]), neighbours=st.sampled_from([5, 40]))
def test_equals_plain_greedy(seed, need, neighbours):
    given = problem(seed)
    wanted = plain(
        8,
        given["candidates"].tolist(),
        given["labelled"].tolist(),
        given["labels"],
        given["scores"],
        given["probs"],
        given["embeddings"].astype(np.float64),
        need=need,
        radius=0.5,
        neighbours=neighbours,
    )
    found = herding(8, **given, rng=np.random.default_rng(0), need=need, neighbours=neighbours)
    assert found.rows.tolist() == wanted


def test_gains_fall_and_are_shares_of_the_weight():
    gains = herding(20, **problem(1), rng=np.random.default_rng(0)).facts["coverage_gain"]
    assert (np.diff(gains) <= 1e-12).all()
    assert 0 < gains.sum() <= 1


def test_rare_classes_are_wanted_more():
    """Two equal clusters of candidates, one of a class with many labels: the other comes first, and only if need
    counts.
    """
    rng = np.random.default_rng(0)
    near, far = rng.normal([5, 0, 0], 0.1, (12, 3)), rng.normal([0, 5, 0], 0.1, (12, 3))
    vectors = np.vstack([near, far, rng.normal([0, 0, 5], 0.1, (10, 3))]).astype(np.float32)
    probs = np.vstack([np.tile([0.9, 0.1], (12, 1)), np.tile([0.1, 0.9], (12, 1)), np.tile([0.5, 0.5], (10, 1))])
    given = {
        "candidates": np.arange(24),
        "labelled": np.arange(24, 34),
        "labels": np.zeros(10, dtype=np.int64),
        "scores": np.ones(34),
        "probs": probs,
        "embeddings": vectors,
    }
    assert herding(1, **given, rng=rng).rows[0] >= 12


@pytest.mark.parametrize("labelled", [[], [0]])
def test_few_labels(labelled):
    given = problem(2)
    given["labelled"] = np.array(labelled, dtype=np.int64)
    given["labels"] = np.zeros(len(labelled), dtype=np.int64)
    given["candidates"] = np.setdiff1d(np.arange(40), labelled)
    assert len(set(herding(10, **given, rng=np.random.default_rng(0)).rows.tolist())) == 10


def test_equal_vectors_and_zero_scores_still_give_every_pick():
    given = problem(3)
    given["embeddings"] = np.ones_like(given["embeddings"])
    given["scores"] = np.zeros(40)
    picks = herding(34, **given, rng=np.random.default_rng(0)).rows
    assert sorted(picks.tolist()) == given["candidates"].tolist()


def test_more_than_the_limit_draws_a_sample_of_candidates():
    given = problem(4)
    one, two = (herding(5, **given, rng=np.random.default_rng(7), limit=12).rows for _ in range(2))
    assert one.tolist() == two.tolist()
    assert set(one.tolist()) <= set(given["candidates"].tolist())
    assert len(herding(30, **given, rng=np.random.default_rng(7), limit=12).rows) == 30


def test_a_vector_that_is_not_finite_is_refused():
    given = problem(5)
    given["embeddings"][given["candidates"][0], 0] = np.nan
    with pytest.raises(SelectionError, match="not finite"):
        herding(3, **given, rng=np.random.default_rng(0))


def test_a_single_candidate():
    given = problem(6)
    given["candidates"] = given["candidates"][:1]
    assert herding(1, **given, rng=np.random.default_rng(0)).rows.tolist() == given["candidates"].tolist()
