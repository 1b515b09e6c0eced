"""Selections from dense places: one typical or central row per k-means cluster."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from labelwise.selection.partition import k_means, members_of
from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    Vectors,
    check_embeddings,
    chunks,
    count,
    descending,
    squared_distances,
    unit,
)

# too small, labels so far, -size, first member (no two clusters share it, so the last is never compared), members
_Turn = tuple[bool, int, int, int, Rows]

_KNN_CELLS = 2**22  # distances held at a time


def typiclust(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    max_clusters: int = 500,
    min_size: int = 5,
    neighbours: int = 20,
) -> Picks:
    """The most typical candidate of each cluster, clusters with the fewest labels first, then the largest.

    ``embeddings`` is ``(N, d)`` and scaled to length 1. Candidates and labelled rows form min(labelled + n,
    ``max_clusters``) clusters; typicality is 1 / (1e-5 + mean distance to the min(``neighbours``, size // 2) nearest
    of the same cluster). A pick counts as a label, so every n is reached by coming back to the clusters; those
    smaller than ``min_size`` come after all others are used up. Facts: ``typicality``, ``cluster_size``,
    ``cluster_labelled`` (labels it had before). Raises SelectionError if a vector is not finite.
    Hacohen, Dekel & Weinshall 2022, Active learning on a budget: opposite strategies suit high and low budgets,
    section 3.
    """
    n = count(n, candidates)
    rows = np.concatenate([candidates, labelled])
    vectors = unit(check_embeddings(embeddings, rows)[rows])
    clusters = k_means(vectors, min(n + len(labelled), max_clusters), rng)[0] if n else rows[:0]
    turns = _turns(clusters, len(candidates), min_size)
    waiting: dict[int, list[tuple[int, float]]] = {}
    picked: list[tuple[int, float, int, int]] = []
    while len(picked) < n:
        small, had, size, first, members = heapq.heappop(turns)
        if first not in waiting:
            waiting[first] = _most_typical_last(vectors, members, len(candidates), neighbours)
        position, value = waiting[first].pop()
        picked.append((position, value, -size, had))
        if waiting[first]:
            heapq.heappush(turns, (small, had + 1, size, first, members))
    positions, values, sizes, labels = np.array(picked, dtype=np.float64).reshape(-1, 4).T
    facts = {"typicality": values, "cluster_size": sizes.astype(int), "cluster_labelled": labels.astype(int)}
    return Picks(candidates[positions.astype(int)], facts)


def _turns(clusters: NDArray[np.int64], free: int, min_size: int) -> list[_Turn]:
    """The clusters as a heap: large enough, few labels, large; the first ``free`` positions are not labelled."""
    turns: list[_Turn] = []
    for members in members_of(clusters):
        labels = int((members >= free).sum())
        if labels < len(members):
            turns.append((len(members) < min_size, labels, -len(members), int(members[0]), members))
    heapq.heapify(turns)
    return turns


def _most_typical_last(vectors: Vectors, members: Rows, free: int, neighbours: int) -> list[tuple[int, float]]:
    """A cluster's candidates with their typicality, ascending; of equal ones the lowest row last."""
    values = typicality(vectors[members], min(neighbours, len(members) // 2))
    open_ones = members < free
    order = descending(values[open_ones])[::-1]
    return list(zip(members[open_ones][order].tolist(), values[open_ones][order].tolist(), strict=True))


def typicality(vectors: Vectors, neighbours: int) -> Doubles:
    """1 / (1e-5 + mean Euclidean distance to the nearest ``neighbours`` other rows), ``(N,)``; 0 where there are none.

    Mean distances are rounded to 1e-6, so that equal neighbourhoods tie exactly. Work grows with N squared, memory
    does not.
    """
    total = len(vectors)
    neighbours = min(neighbours, total - 1)
    if neighbours <= 0:
        return np.zeros(total)
    points = vectors.astype(np.float64)
    norms = np.einsum("ij,ij->i", points, points)
    means = np.empty(total)
    for part in chunks(total, max(1, _KNN_CELLS // total)):
        squared = norms[part, None] + norms - 2 * (points[part] @ points.T)
        squared[np.arange(part.stop - part.start), np.arange(part.start, part.stop)] = np.inf
        nearest = np.partition(squared, neighbours - 1, axis=1)[:, :neighbours]
        means[part] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
    result: Doubles = 1 / (1e-5 + np.round(means, 6))
    return result


def centroids(n: int, candidates: Rows, embeddings: Array, rng: np.random.Generator) -> Picks:
    """The candidate nearest the centre of each of n k-means clusters, largest cluster first.

    ``embeddings`` is ``(N, d)`` and scaled to length 1. Where equal vectors leave fewer clusters than n, the second
    nearest of each cluster follow, and so on. Facts: ``centre_distance`` and ``cluster_size``.
    Raises SelectionError if a vector is not finite.
    Gupte et al. 2024, Revisiting active learning in the era of vision foundation models, section 3.1.
    """
    n = count(n, candidates)
    vectors = unit(check_embeddings(embeddings, candidates)[candidates])
    clusters, centres = k_means(vectors, n, rng) if n else (candidates[:0], vectors)
    found: list[tuple[int, int, int, float]] = []  # turn, -size, position, distance
    for members in members_of(clusters):
        distances = np.sqrt(squared_distances(vectors, members, centres[clusters[members[0]]]))
        order = np.argsort(np.round(distances, 6), kind="stable")
        found += [(turn, -len(members), int(members[at]), float(distances[at])) for turn, at in enumerate(order)]
    found = heapq.nsmallest(n, found)
    sizes = np.array([-size for _, size, _, _ in found], dtype=np.int64)
    distance = np.array([far for _, _, _, far in found], dtype=np.float64)
    positions = np.array([position for _, _, position, _ in found], dtype=np.int64)
    return Picks(candidates[positions], {"centre_distance": distance, "cluster_size": sizes})
