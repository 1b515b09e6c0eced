"""Core-sets that leave outliers aside: k-centre where a share of the pool need not be covered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection.farthest import farthest
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_stored, chunks, count
from labelwise.selection.spread import k_center

_CELLS = 2**22  # distances held at a time beside the table


def robust_k_center(
    n: int, candidates: Rows, labelled: Rows, embeddings: Array, *, outliers: float = 0.02, limit: int = 4000
) -> Picks:
    """k-centre that may leave a share ``outliers`` of the candidates uncovered, so that picks are no oddities.

    For a radius r: always the candidate with most uncovered ones within r; that covers all within 3 r; labelled rows
    cover first. The smallest r at which n picks leave no more than the share uncovered is at most the best possible
    radius, so all but the share are within 3 times that of a pick or a labelled row. Of more than ``limit``
    candidates, that many farthest-first ones stand for those nearest to them; this adds at most 7 times the largest
    distance of a candidate to the one that stands for it. Picks that are left over go farthest first among what is
    covered, then among the outliers. ``embeddings`` is ``(N, d)`` as for ``k_center``.

    Facts: ``covers``, how many candidates a pick newly covers (0 for what is left over). Raises SelectionError if a
    vector is not finite or ``outliers`` is not from 0 to below 1. Charikar, Khuller, Mount & Narasimhan 2001,
    Algorithms for facility location problems with outliers, section 3; the coreset is that of Ceccarello,
    Pietracaprina & Pucci 2019, Solving k-center clustering (with outliers) in MapReduce and streaming.
    """
    if not 0 <= outliers < 1:
        raise SelectionError(f"robust_k_center: expected a share of outliers from 0 to below 1, but found {outliers}")
    if limit < 1:
        raise SelectionError(f"robust_k_center: expected a limit of 1 or more, but found {limit}")
    n = count(n, candidates)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    if not n:
        return Picks(candidates[:0], {"covers": np.empty(0, np.int64)})
    chosen, stands = _coreset(vectors, candidates, labelled, limit)
    weights = np.bincount(stands[stands >= 0], minlength=len(chosen))
    picks, gains, odd = _smallest(
        *_distances(vectors, candidates[chosen], labelled), weights, n, int(outliers * len(candidates))
    )
    rows = candidates[chosen[picks]]
    aside = candidates[np.isin(stands, odd)]
    more = _left_over(n - len(rows), candidates, np.concatenate([labelled, rows]), rows, aside, vectors)
    return Picks(np.concatenate([rows, more]), {"covers": np.concatenate([gains, np.zeros(len(more), np.int64)])})


def _coreset(vectors: Array, candidates: Rows, labelled: Rows, size: int) -> tuple[Rows, Rows]:
    """Positions of the candidates that stand for others, ascending; and for each candidate which of these stands for
    it, -1 where a labelled row does."""
    if len(candidates) <= size:
        return np.arange(len(candidates)), np.arange(len(candidates))
    bounds = Bounds(vectors, candidates, labelled, size)
    first = int(len(labelled) == 0)
    bounds.take(np.zeros(first, np.int64))
    positions = np.concatenate([np.zeros(first, np.int64), farthest(bounds, size - first)[0]])
    others = np.setdiff1d(np.arange(len(candidates)), positions)
    bounds.refresh(others, np.zeros(len(others), np.float32))
    bounds.exact(others)
    chosen = np.sort(positions)
    stands = np.empty(len(candidates), np.int64)
    stands[chosen] = np.arange(size)
    numbers = bounds.near[others].astype(np.int64)
    found = np.searchsorted(candidates[chosen], bounds.centres[numbers])
    stands[others] = np.where(numbers < len(labelled), -1, found)
    return chosen, stands


def _distances(vectors: Array, rows: Rows, labelled: Rows) -> tuple[Doubles, Doubles]:
    """Distances between ``rows`` ``(m, m)``, and of each to the nearest labelled row (infinite without), in float64.

    On a grid of 2^-36 of the largest, so that equal ones are equal whatever the sums were rounded through.
    """
    points = vectors[rows].astype(np.float64)
    centre = points.mean(axis=0)
    points -= centre
    apart, known = _squared(points, points), np.full(len(rows), np.inf)
    for part in chunks(len(labelled), max(1, _CELLS // len(rows))):
        known = np.minimum(known, _squared(points, vectors[labelled[part]].astype(np.float64) - centre).min(axis=1))
    np.fill_diagonal(apart, 0.0)
    step = max(float(apart.max()), 1e-30) * 2.0**-36
    return np.sqrt(np.round(apart / step) * step), np.sqrt(np.round(known / step) * step)


def _squared(some: Doubles, points: Doubles) -> Doubles:
    norms = np.einsum("ij,ij->i", points, points)
    return np.asarray(np.maximum(np.einsum("ij,ij->i", some, some)[:, None] + norms - 2 * (some @ points.T), 0))


def _smallest(
    apart: Doubles, known: Doubles, weights: NDArray[np.int64], n: int, spare: int
) -> tuple[Rows, NDArray[np.int64], Rows]:
    """Picks at the smallest radius that does: picks, what each covers, and what stays uncovered (positions)."""
    radii = np.unique(np.concatenate([apart.ravel(), known[np.isfinite(known)]]))
    low, high = -1, len(radii) - 1  # with every distance allowed one pick covers all
    best = _cover(apart, known, weights, n, radii[high], spare)
    while high - low > 1:
        middle = (low + high) // 2
        found = _cover(apart, known, weights, n, radii[middle], spare)
        if weights[found[2]].sum() <= spare:
            high, best = middle, found
        else:
            low = middle
    return best


def _cover(
    apart: Doubles, known: Doubles, weights: NDArray[np.int64], n: int, radius: float, spare: int
) -> tuple[Rows, NDArray[np.int64], Rows]:
    """Up to n picks for a radius: always the disk that holds most of what is uncovered, until the rest may be left."""
    inside = apart <= radius
    left = known > 3 * radius
    around = inside[:, left] @ weights[left]
    picks: list[int] = []
    gains: list[int] = []
    while len(picks) < n and weights[left].sum() > spare:
        position = int(np.argmax(around))
        fresh = np.flatnonzero(left & (apart[position] <= 3 * radius))
        picks.append(position)
        gains.append(int(weights[fresh].sum()))
        left[fresh] = False
        around = around - weights[fresh] @ inside[fresh]
        around[picks] = -1
    return np.array(picks, dtype=np.int64), np.array(gains, dtype=np.int64), np.flatnonzero(left)


def _left_over(n: int, candidates: Rows, centres: Rows, picked: Rows, odd: Rows, vectors: Array) -> Rows:
    """n more: farthest first without the outliers, then the outliers."""
    free = np.setdiff1d(candidates, picked)
    inner = np.setdiff1d(free, odd)
    some = k_center(n, inner, centres, vectors).rows
    rest = k_center(n - len(some), np.setdiff1d(free, some), np.concatenate([centres, some]), vectors).rows
    return np.concatenate([some, rest])
