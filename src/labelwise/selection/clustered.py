"""Uncertain rows, shared out over clusters: cluster-margin, informative and diverse, cluster means in the margin."""

from __future__ import annotations

import math

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.density import centroids
from labelwise.selection.partition import k_means, members_of
from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    check_embeddings,
    check_probs,
    check_scores,
    count,
    descending,
)


def cluster_margin(
    n: int,
    candidates: Rows,
    scores: Array,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    factor: float = 10.0,
    clusters: int | None = None,
) -> Picks:
    """Of the ``factor`` x n best-scored candidates the best of each cluster in turn, from the smallest cluster on.

    ``scores`` is ``(N,)`` (in the paper the margin), ``embeddings`` ``(N, d)``. All candidates form ``clusters``
    k-means clusters (default: n); the size of a cluster is the number of its rows among the best-scored. Every turn
    takes one row of each cluster that has any left. Ties go to the lowest row, of equal sizes to the cluster of the
    lowest row. The paper clusters by average linkage, which needs all pairs of distances, and draws at random within
    a cluster. Facts: ``cluster_size`` among the best-scored. Raises SelectionError if a number is not finite or an
    option is below 1. Citovsky et al. 2021, Batch active learning at scale, algorithm 1.
    """
    if not factor >= 1 or (clusters is not None and clusters < 1):
        raise SelectionError(f"cluster_margin: expected options of 1 or more, but found {factor} and {clusters}")
    n = count(n, candidates)
    order = descending(check_scores(scores, candidates))[: math.ceil(factor * n)]
    vectors = check_embeddings(embeddings, candidates)[candidates]
    if not n:
        return Picks(candidates[:0], {"cluster_size": candidates[:0]})
    found = k_means(vectors, clusters or n, rng)[0][order]
    turns: list[tuple[int, int, int, int]] = []  # turn, size of the cluster, its lowest row, position
    for members in members_of(found):
        lowest = int(order[members].min())
        turns += [(turn, len(members), lowest, int(order[at])) for turn, at in enumerate(members)]
    chosen = np.array(sorted(turns)[:n], dtype=np.int64)
    return Picks(candidates[chosen[:, 3]], {"cluster_size": chosen[:, 1]})


def informative_diverse(
    n: int,
    candidates: Rows,
    labelled: Rows,
    scores: Array,
    probs: Array,
    embeddings: Array,
    rng: np.random.Generator,
) -> Picks:
    """From the best score down, a candidate whose cluster has less of the batch than of the pool.

    ``scores`` is ``(N,)`` (in the original the margin), ``embeddings`` ``(N, d)``; candidates and labelled rows form as
    many k-means clusters as ``probs`` ``(N, C)`` has classes. A candidate is taken if its cluster's picks / n are below
    the cluster's share of those rows. What is missing then follows in order of score; ties go to the lowest row. Facts:
    ``cluster_size``. Raises SelectionError if a number is not finite. Google's active-learning playground,
    informative_and_diverse (which fills up in order of rows).
    """
    n = count(n, candidates)
    order = descending(check_scores(scores, candidates))
    classes = check_probs(probs, candidates).shape[1]
    rows = np.concatenate([candidates, labelled])
    vectors = check_embeddings(embeddings, rows)[rows]
    if not n:
        return Picks(candidates[:0], {"cluster_size": candidates[:0]})
    clusters = k_means(vectors, classes, rng)[0]
    sizes = np.bincount(clusters)
    # picks / n < size / rows, in whole numbers: a cluster has this many places at most
    places = -(-sizes * n // len(rows))
    taken = np.zeros(len(order), dtype=bool)
    for members in members_of(clusters[order]):
        taken[members[: places[clusters[order[members[0]]]]]] = True
    # rounding up may give more places than n: the best scores have them, as in the walk from the best score down
    chosen = np.concatenate([order[taken], order[~taken]])[:n]
    return Picks(candidates[chosen], {"cluster_size": sizes[clusters[chosen]]})


def margin_cluster_mean(
    n: int, candidates: Rows, probs: Array, embeddings: Array, rng: np.random.Generator, *, width: float = 1.0
) -> Picks:
    """The candidate nearest the centre of each of n clusters of those inside the model's margin.

    Inside are the rows whose two best classes have log p1 - log p2 below ``width`` (for two classes a logit between
    -width and width; an SVM's margin is 1). ``probs`` is ``(N, C)``, ``embeddings`` ``(N, d)``, scaled to length 1.
    With fewer than n inside, the n candidates nearest the boundary; ties go to the lowest row. Facts: ``log_odds`` of
    the best class against the second. Raises SelectionError if an array cannot be used or ``width`` is not above 0.
    Xu, Yu, Tresp, Xu & Wang 2003, Representative sampling for text classification using support vector machines.
    """
    if not width > 0:
        raise SelectionError(f"margin_cluster_mean: expected a width above 0, but found {width}")
    n = count(n, candidates)
    gaps = _log_odds(check_probs(probs, candidates))
    check_embeddings(embeddings, candidates)
    inside = candidates[gaps < width]
    if len(inside) < n:
        rows = candidates[np.argsort(gaps, kind="stable")[:n]]
    else:
        rows = centroids(n, inside, embeddings, rng).rows
    return Picks(rows, {"log_odds": gaps[np.searchsorted(candidates, rows)]})


def _log_odds(probs: Doubles) -> Doubles:
    """log p1 - log p2 of the two best classes, ``(N,)``; infinite where the second has no chance, or there is none."""
    if probs.shape[1] == 1:
        return np.full(len(probs), np.inf)
    best = np.partition(np.maximum(probs, 0), -2, axis=1)[:, -2:]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(best[:, 1]) - np.log(best[:, 0]))
