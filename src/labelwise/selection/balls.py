"""Covering the pool with balls of one radius."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection.partition import k_means
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_embeddings, chunks, count, sampled, unit

_CELLS = 2**22  # distances held at a time


def probcover(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    delta: float | None = None,
    purity: float = 0.95,
    clusters: int = 10,
    limit: int = 30_000,
) -> Picks:
    """Always the candidate with most rows not yet covered in its ball; a row is covered nearer than delta to a pick.

    ``embeddings`` is ``(N, d)``, scaled to length 1, so that ``delta`` lies in 0 to 2 (Euclidean). Without it, delta
    is the largest radius at which a share ``purity`` of the balls holds rows of one k-means cluster only; set
    ``clusters`` to the number of classes. Labelled rows count as picked; ties go to the lowest row. Equal vectors
    always cover each other. Of more than ``limit`` candidates a random sample is used; no distances are kept.

    Facts: ``newly_covered``, as a share of candidates and labelled rows. Raises SelectionError if a vector is not
    finite or an option is out of range. Yehuda, Dekel, Hacohen & Weinshall 2022, Active learning through a covering
    lens, algorithm 1 and section 3.3.
    """
    _check_options(delta, purity, clusters)
    n = count(n, candidates)
    candidates = sampled(n, candidates, limit, rng)
    rows = np.concatenate([candidates, labelled])
    points = unit(check_embeddings(embeddings, rows)[rows]).astype(np.float64)
    if delta is None:
        groups = k_means(points.astype(np.float32), clusters, rng)[0] if n else rows
        delta = _pure_radius(points, groups, purity) if n else 1.0
    balls = _Balls(points, delta)
    for position in range(len(candidates), len(rows)):
        balls.take(position)
    picks, gains = np.empty(n, np.int64), np.empty(n)
    free = np.ones(len(candidates), dtype=bool)
    for i in range(n):
        position = int(np.argmax(np.where(free, balls.open[: len(candidates)], -1)))
        picks[i], gains[i], free[position] = position, balls.open[position], False
        balls.take(position)
    return Picks(candidates[picks], {"newly_covered": gains / max(len(rows), 1)})


def _check_options(delta: float | None, purity: float, clusters: int) -> None:
    if delta is not None and not delta > 0:
        raise SelectionError(f"probcover: expected a delta above 0, but found {delta}")
    if not 0 < purity <= 1:
        raise SelectionError(f"probcover: expected a purity above 0 and up to 1, but found {purity}")
    if clusters < 1:
        raise SelectionError(f"probcover: expected 1 cluster or more, but found {clusters}")


def _pure_radius(points: Doubles, groups: NDArray[np.int64], purity: float) -> float:
    """The largest delta at which a share ``purity`` of the open balls holds one group only; infinite for one group.

    A ball is pure as long as it does not reach the nearest row of another group, so this is an order statistic.
    """
    reach = np.empty(len(points))
    for part in chunks(len(points), max(1, _CELLS // max(len(points), 1))):
        squared = _squared(points[part], points)
        squared[groups[part, None] == groups] = np.inf
        reach[part] = squared.min(axis=1)
    impure = len(points) - math.ceil(purity * len(points) - 1e-9)
    return math.sqrt(float(np.sort(reach)[impure]))


class _Balls:
    """How many rows in the ball around each row are not covered yet.

    Neighbours are computed again when they are needed instead of kept: each row is covered once, so that all picks
    together cost one more pass over the distances, and memory stays that of the vectors.
    """

    def __init__(self, points: Doubles, delta: float) -> None:
        self.points = points
        # off the round values, so that a row exactly at delta is out and equal rows are in, whatever the rounding
        self.threshold = max(delta**2 * (1 - 1e-6), 1e-9)
        self.block = max(1, _CELLS // max(len(points), 1))
        self.covered = np.zeros(len(points), dtype=bool)
        self.open = np.zeros(len(points), dtype=np.int64)
        for part in chunks(len(points), self.block):
            self.open[part] = self._inside(points[part]).sum(axis=1)

    def take(self, position: int) -> None:
        """Cover the ball around a row, and take what is new out of all balls it lies in."""
        fresh = np.flatnonzero(self._inside(self.points[position : position + 1])[0] & ~self.covered)
        self.covered[fresh] = True
        for part in chunks(len(fresh), self.block):
            self.open -= self._inside(self.points[fresh[part]]).sum(axis=0)

    def _inside(self, some: Doubles) -> NDArray[np.bool_]:
        return np.asarray(_squared(some, self.points) < self.threshold)


def _squared(some: Doubles, points: Doubles) -> Doubles:
    """Squared distances ``(m, N)``; float64 of vectors of length 1, so right to 1e-15."""
    norms = np.einsum("ij,ij->i", points, points)
    return np.asarray(np.einsum("ij,ij->i", some, some)[:, None] + norms - 2 * (some @ points.T))
