"""Selections that cover the space of vectors: farthest first."""

from __future__ import annotations

import numpy as np

from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    Vectors,
    check_embeddings,
    chunks,
    count,
    squared_distances,
    squared_norms,
)

_BLOCK = 32  # labelled rows per matrix product: memory stays a small multiple of N


def k_center(n: int, candidates: Rows, labelled: Rows, embeddings: Array) -> Picks:
    """Farthest first: always the candidate farthest from everything labelled or picked; ties go to the lowest row.

    ``embeddings`` is ``(N, d)``; distances are Euclidean on the vectors as given. With nothing labelled the first
    pick is the candidate nearest the candidates' mean. Facts: ``distance`` to the ``nearest`` labelled or earlier
    picked row (NaN and -1 for that first pick). Raises SelectionError if a vector is not finite.
    Sener & Savarese 2018, Active learning for convolutional neural networks: a core-set approach, algorithm 1;
    Gonzalez 1985 (at most twice the best possible radius).
    """
    n = count(n, candidates)
    vectors = check_embeddings(embeddings, np.concatenate([candidates, labelled]))
    near = _Nearest(vectors, candidates)
    if n:
        near.add_all(labelled)
    rows, distances, nearest = np.empty(n, np.int64), np.full(n, np.nan), np.full(n, -1, np.int64)
    for i in range(n):
        if i == 0 and len(labelled) == 0:
            position = _most_central(vectors, candidates)
        else:
            position = int(np.argmax(near.squared))
            distances[i], nearest[i] = np.sqrt(near.squared[position]), near.row[position]
        rows[i] = candidates[position]
        near.take(position)
    return Picks(rows, {"distance": distances, "nearest": nearest})


class _Nearest:
    """Squared distance from each candidate to its nearest centre so far, and which row that is."""

    def __init__(self, vectors: Vectors, candidates: Rows) -> None:
        self.vectors, self.candidates = vectors, candidates
        # a copy of a few candidates is cheaper than products with all rows; a copy of many would double the memory
        few = len(candidates) < len(vectors) // 4
        self.points, self.places = (vectors[candidates], np.arange(len(candidates))) if few else (vectors, candidates)
        self.norms = squared_norms(self.points)[self.places]
        self.squared: Doubles = np.full(len(candidates), np.inf)
        self.row: Rows = np.full(len(candidates), -1, np.int64)

    def add_all(self, centres: Rows) -> None:
        """Take these rows as centres, one matrix product for a block of them."""
        for part in chunks(len(centres), _BLOCK):
            products = _product(self.points, self.vectors[centres[part]].T)
            for column, centre in enumerate(centres[part]):
                self._add(int(centre), products[:, column])

    def take(self, position: int) -> None:
        """Make a candidate a centre and keep it from ever being the farthest again."""
        centre = int(self.candidates[position])
        self._add(centre, _product(self.points, self.vectors[centre]))
        self.squared[position] = -1

    def _add(self, centre: int, products: Vectors) -> None:
        point = self.vectors[centre]
        scale = self.norms + point @ point
        squared = (scale - 2 * products[self.places]).astype(np.float64)
        # |x|^2 + |y|^2 - 2xy has no digits left for close pairs: these few are computed again from the difference
        close = np.flatnonzero((squared < 1e-3 * scale) & (self.squared > 0))
        squared[close] = squared_distances(self.vectors, self.candidates[close], point)
        closer = squared < self.squared
        self.squared[closer] = np.maximum(squared[closer], 0)
        self.row[closer] = centre


def _product(vectors: Vectors, other: Vectors) -> Vectors:
    # rows that are neither candidate nor labelled may hold anything; their products are never looked at
    with np.errstate(invalid="ignore", over="ignore"):
        result: Vectors = vectors @ other
    return result


def _most_central(vectors: Vectors, candidates: Rows) -> int:
    """Position of the candidate nearest the candidates' mean."""
    total = np.zeros(vectors.shape[1])
    for part in chunks(len(candidates), 8192):
        total += vectors[candidates[part]].sum(axis=0, dtype=np.float64)
    return int(np.argmin(squared_distances(vectors, candidates, total / len(candidates))))
