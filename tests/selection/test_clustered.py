"""Selections over clusters against plain walks on the same clusters, the margin's edges, and exact counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import centroids, cluster_margin, informative_diverse, margin_cluster_mean
from labelwise.selection.partition import k_means

rng = np.random.default_rng
NONE = np.array([], dtype=np.int64)


def problem(seed, size=60):
    generator = rng(seed)
    scores = np.round(generator.random(size), 1)  # many ties
    return scores, generator.dirichlet(np.ones(3), size), generator.normal(size=(size, 4)).astype(np.float32)


def plain_cluster_margin(n, candidates, scores, clusters, factor):
    """Round after round over the clusters, smallest first."""
    best = sorted(candidates, key=lambda r: (-scores[r], r))[: int(np.ceil(factor * n))]
    groups = [[r for r in best if clusters[r] == c] for c in sorted({clusters[r] for r in best})]
    groups.sort(key=lambda g: (len(g), min(g)))
    picks = []
    while len(picks) < n:
        for group in groups:
            if group and len(picks) < n:
                picks.append(int(group.pop(0)))
    return picks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1.0, 2.5, 10.0]), number=st.sampled_from([None, 1, 6]))
def test_cluster_margin_equals_the_plain_rounds(seed, factor, number):
    scores, _, embeddings = problem(seed)
    candidates = np.arange(3, 60)
    clusters = np.full(60, -1)
    clusters[candidates] = k_means(embeddings[candidates], number or 9, rng(5))[0]
    found = cluster_margin(9, candidates, scores, embeddings, rng(5), factor=factor, clusters=number)
    assert found.rows.tolist() == plain_cluster_margin(9, candidates, scores, clusters, factor)


def plain_informative(n, candidates, scores, clusters, share):
    """The published walk, filled up in order of score."""
    ranked = sorted(candidates, key=lambda r: (-scores[r], r))
    taken, batch = dict.fromkeys(share, 0), []
    for row in ranked:
        if len(batch) < n and taken[clusters[row]] < share[clusters[row]] * n - 1e-9:
            batch.append(int(row))
            taken[clusters[row]] += 1
    return batch + [int(row) for row in ranked if row not in batch][: n - len(batch)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.sampled_from([1, 8, 30, 52]))
def test_informative_diverse_equals_the_plain_walk(seed, n):
    scores, probs, embeddings = problem(seed)
    labelled = np.array([2, 40, 41])
    candidates = np.setdiff1d(np.arange(5, 60), labelled)
    rows = np.concatenate([candidates, labelled])
    labels = k_means(embeddings[rows], 3, rng(5))[0]
    clusters = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    share = {c: float(np.mean(labels == c)) for c in range(3)}
    found = informative_diverse(n, candidates, labelled, scores, probs, embeddings, rng(5))
    assert found.rows.tolist() == plain_informative(n, candidates.tolist(), scores, clusters, share)


def test_margin_cluster_mean_takes_the_centres_of_what_is_inside():
    _, probs, embeddings = problem(0)
    best = np.sort(probs, axis=1)
    inside = np.flatnonzero(np.log(best[:, -1] / best[:, -2]) < 1)
    found = margin_cluster_mean(5, np.arange(60), probs, embeddings, rng(2))
    assert found.rows.tolist() == centroids(5, inside, embeddings, rng(2)).rows.tolist()
    assert (found.facts["log_odds"] < 1).all()


def test_margin_cluster_mean_with_few_inside_goes_by_the_gap():
    _, probs, embeddings = problem(0)
    best = np.sort(probs, axis=1)
    wanted = np.argsort(np.log(best[:, -1] / best[:, -2]), kind="stable")[:5]
    assert margin_cluster_mean(5, np.arange(60), probs, embeddings, rng(2), width=1e-6).rows.tolist() == wanted.tolist()
    for sure in (np.eye(3)[np.arange(60) % 3], np.ones((60, 1))):  # no second class: nothing is inside
        assert margin_cluster_mean(5, np.arange(60), sure, embeddings, rng(2)).rows.tolist() == list(range(5))


def test_equal_vectors_and_scores_still_give_every_pick():
    embeddings, scores, probs = np.ones((20, 3), dtype=np.float32), np.zeros(20), np.full((20, 2), 0.5)
    every = list(range(20))
    assert sorted(cluster_margin(20, np.arange(20), scores, embeddings, rng(0)).rows) == every
    assert informative_diverse(20, np.arange(20), NONE, scores, probs, embeddings, rng(0)).rows.tolist() == every
    assert sorted(margin_cluster_mean(20, np.arange(20), probs, embeddings, rng(0)).rows) == every


def test_options_out_of_range_are_refused():
    scores, probs, embeddings = problem(0)
    for options in ({"factor": 0.5}, {"clusters": 0}):
        with pytest.raises(SelectionError, match="1 or more"):
            cluster_margin(2, np.arange(60), scores, embeddings, rng(0), **options)
    with pytest.raises(SelectionError, match="width"):
        margin_cluster_mean(2, np.arange(60), probs, embeddings, rng(0), width=-1.0)
    embeddings[7] = np.nan
    for select in (
        lambda: cluster_margin(2, np.arange(60), scores, embeddings, rng(0)),
        lambda: informative_diverse(2, np.arange(60), NONE, scores, probs, embeddings, rng(0)),
        lambda: margin_cluster_mean(2, np.arange(60), probs, embeddings, rng(0)),
    ):
        with pytest.raises(SelectionError, match="row 7"):
            select()
