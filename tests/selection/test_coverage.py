"""Herding and facility location against a plain greedy that looks at every candidate in every turn; their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection.coverage import facility_location, herding, max_herding


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


def plain_even(n, candidates, labelled, similarity):
    """Facility location by looking at every candidate in every turn; every row weighs 1, ties to the lowest row."""
    rows = sorted([*candidates, *labelled])
    at = {row: i for i, row in enumerate(rows)}
    covered = np.zeros(len(rows))
    for row in labelled:
        covered = np.maximum(covered, similarity[at[row]])
        covered[at[row]] = 1
    picks: list[int] = []
    while len(picks) < n:
        gains = {r: np.maximum(similarity[at[r]] - covered, 0).sum() for r in candidates if r not in picks}
        picks.append(min(gains, key=lambda r: (-gains[r], r)))
        covered = np.maximum(covered, similarity[at[picks[-1]]])
        covered[at[picks[-1]]] = 1
    return picks


def keep_nearest(similarity, d2, neighbours):
    """Only the nearest of each row, rounded as documented, so that gains tie where they are equal."""
    kept = np.zeros_like(similarity)
    for i, row in enumerate(d2):
        for j in np.argsort(row, kind="stable")[:neighbours]:
            kept[i, j] = np.round(similarity[i, j] * 2**20) / 2**20
    return kept


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), neighbours=st.sampled_from([5, 40]), few=st.booleans())
def test_facility_location_equals_the_plain_greedy(seed, neighbours, few):
    given = problem(seed)
    if few:  # equal vectors: many ties
        given["embeddings"] = np.eye(6, dtype=np.float32)[np.random.default_rng(seed).integers(0, 4, 40)]
        neighbours = 40
    points = given["embeddings"].astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosine = points @ points.T
    wanted = plain_even(
        12, given["candidates"], given["labelled"], keep_nearest(np.maximum(cosine, 0), 2 - 2 * cosine, neighbours)
    )
    found = facility_location(
        12, given["candidates"], given["labelled"], given["embeddings"], np.random.default_rng(0), neighbours=neighbours
    )
    assert found.rows.tolist() == wanted
    assert (np.diff(found.facts["newly_covered"]) <= 1e-12).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), neighbours=st.sampled_from([5, 40]))
def test_max_herding_equals_the_plain_greedy(seed, neighbours):
    given = problem(seed)
    centred = given["embeddings"].astype(np.float64) - given["embeddings"].mean(axis=0)
    points = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    d2 = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    wanted = plain_even(10, given["candidates"], given["labelled"], keep_nearest(np.exp(-d2 / 0.8**2), d2, neighbours))
    found = max_herding(
        10,
        given["candidates"],
        given["labelled"],
        given["embeddings"],
        np.random.default_rng(0),
        width=0.8,
        neighbours=neighbours,
    )
    assert found.rows.tolist() == wanted


def test_max_herding_refuses_a_width_of_zero():
    given = problem(0)
    with pytest.raises(SelectionError, match="width"):
        max_herding(1, given["candidates"], given["labelled"], given["embeddings"], np.random.default_rng(0), width=0.0)


@pytest.mark.parametrize("select", [max_herding, facility_location])
def test_even_coverage_of_equal_vectors_a_sample_and_a_single_row(select):
    rng, none = np.random.default_rng(0), np.array([], dtype=np.int64)
    same = np.ones((30, 4), dtype=np.float32)
    assert sorted(select(30, np.arange(30), none, same, rng, neighbours=3).rows.tolist()) == list(range(30))
    assert select(1, np.array([7]), none, same, rng).rows.tolist() == [7]
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    one, two = (select(5, np.arange(60), none, vectors, np.random.default_rng(3), limit=9).rows for _ in range(2))
    assert one.tolist() == two.tolist()
    vectors[11] = np.nan
    with pytest.raises(SelectionError, match="row 11"):
        select(5, np.arange(60), none, vectors, rng)
