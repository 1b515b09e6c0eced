"""Selections from a graph of nearest neighbours: the density of its nodes."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array
from sklearn.neighbors import NearestNeighbors

from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_embeddings, count, on_grid


def graph_density(n: int, candidates: Rows, labelled: Rows, embeddings: Array, *, neighbours: int = 10) -> Picks:
    """Always the candidate of highest density; its density is taken off its neighbours, so that picks spread.

    ``embeddings`` is ``(N, d)``, as given. Candidates and labelled rows are joined to their ``neighbours`` nearest (L1
    distance), in both directions, by edges of weight exp(-distance / d), rounded to 1e-6; density is the mean weight
    of a row's edges. Labelled rows take their density off their neighbours first, so that a new call goes on where the
    last one ended; a density below 0 takes nothing off. Ties go to the lowest row. Facts: ``density`` left when picked.
    Raises SelectionError if a vector is not finite. Ebert, Fritz & Schiele 2012, RALF: a reinforced active learning
    formulation for object class recognition, section 3.2; in the form of Google's active-learning playground.
    """
    n = count(n, candidates)
    rows = np.sort(np.concatenate([candidates, labelled]))
    free = np.searchsorted(rows, candidates)
    weights = _weights(check_embeddings(embeddings, rows)[rows].astype(np.float64), neighbours)
    start = _means(weights)
    density = start.copy()
    for known in np.searchsorted(rows, labelled):
        density[_around(weights, int(known))] -= start[known]
    left = np.full(len(rows), -np.inf)
    left[free] = density[free]
    picks, values = np.empty(n, np.int64), np.empty(n)
    for i in range(n):
        position = int(np.argmax(left))
        picks[i], values[i] = position, left[position]
        left[_around(weights, position)] -= max(values[i], 0.0)
        left[position] = -np.inf
    return Picks(rows[picks], {"density": values})


def _weights(points: Doubles, neighbours: int) -> csr_array:
    """The symmetric graph: edge weights exp(-L1 distance / d), ``(N, N)`` with at most 2 k N entries."""
    total, width = points.shape
    k = min(neighbours, total - 1)
    if k < 1:
        return csr_array((total, total), dtype=np.float64)
    search = NearestNeighbors(n_neighbors=k, metric="manhattan", algorithm="brute").fit(points)
    distances, nearest = search.kneighbors()
    # an edge of weight 0 would be no edge: the least weight is one step of the grid
    values = np.maximum(on_grid(np.exp(-distances / width)), 2.0**-20).ravel()
    graph = coo_array((values, (np.repeat(np.arange(total), k), nearest.ravel())), shape=(total, total)).tocsr()
    return csr_array(graph.maximum(graph.T))


def _means(weights: csr_array) -> Doubles:
    """Mean weight of each row's edges, 0 where it has none."""
    edges = np.diff(weights.indptr)
    return on_grid(np.asarray(weights.sum(axis=1)).ravel() / np.maximum(edges, 1))


def _around(weights: csr_array, row: int) -> Rows:
    return np.asarray(weights.indices[weights.indptr[row] : weights.indptr[row + 1]], dtype=np.int64)
