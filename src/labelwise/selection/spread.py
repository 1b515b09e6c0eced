"""Selections that cover the space of vectors: farthest first."""

from __future__ import annotations

import numpy as np

from labelwise.selection.farthest import farthest
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Array, Picks, Rows, check_stored, chunks, count, squared_distances


def k_center(n: int, candidates: Rows, labelled: Rows, embeddings: Array) -> Picks:
    """Farthest first: always the candidate farthest from everything labelled or picked; ties go to the lowest row.

    ``embeddings`` is ``(N, d)``, float32 or float16 (read as it is, also memory-mapped); distances are Euclidean on the
    vectors as given, and picks are those of float64. With nothing labelled the first pick is the candidate nearest the
    candidates' mean. Facts: ``distance`` to the ``nearest`` labelled or earlier picked row (NaN and -1 for that first
    pick). Raises SelectionError if a vector is not finite.
    Sener & Savarese 2018, Active learning for convolutional neural networks: a core-set approach, algorithm 1;
    Gonzalez 1985 (at most twice the best possible radius).
    """
    n = count(n, candidates)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    bounds = Bounds(vectors, candidates, labelled, n)
    positions, distances, nearest = np.empty(n, np.int64), np.full(n, np.nan), np.full(n, -1, np.int64)
    begun = int(n > 0 and len(labelled) == 0)
    if begun:
        positions[0] = _most_central(vectors, candidates)
        bounds.take(positions[:1])
    if n > begun:
        positions[begun:], squared, numbers = farthest(bounds, n - begun)
        distances[begun:], nearest[begun:] = np.sqrt(squared), bounds.centres[numbers]
    return Picks(candidates[positions], {"distance": distances, "nearest": nearest})


def _most_central(vectors: Array, candidates: Rows) -> int:
    """Position of the candidate nearest the candidates' mean."""
    total = np.zeros(vectors.shape[1])
    for part in chunks(len(candidates), 8192):
        total += vectors[candidates[part]].sum(axis=0, dtype=np.float64)
    return int(np.argmin(squared_distances(vectors, candidates, total / len(candidates))))
