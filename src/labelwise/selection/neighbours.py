"""Exact nearest neighbours of every row, in blocks: float32 products find them, float64 distances decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from labelwise.selection.kernels import exact, slack
from labelwise.selection.nearest import in_threads
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, check_embeddings, chunks, squared_norms

_CELLS = 2**23  # distances held at a time
_SPARE = 16  # neighbours that are looked at exactly beyond those wanted

_compiled = njit(cache=True, nogil=True)


def nearest_others(embeddings: Array, rows: Rows, k: int) -> tuple[Rows, Doubles]:
    """The k nearest other rows of each of ``rows``, as positions in ``rows``, and their squared distances, ``(m, k)``.

    k is at most m - 1. Nearest first, ties to the lowest position; distances are Euclidean, in float64, on the
    vectors as given. Work grows with m squared, memory with m times k. Raises SelectionError if a vector is not finite.
    """
    points = check_embeddings(embeddings, rows)[rows]
    k = max(0, min(k, len(rows) - 1))
    nearest, squared = np.empty((len(rows), k), np.int64), np.empty((len(rows), k))
    if k == 0:
        return nearest, squared
    centred = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = squared_norms(centred)
    # a rounded |x|^2 + |y|^2 - 2xy is off by no more than this share of (|x| + |y|)^2
    margin = 2 * slack(points.shape[1])
    longest = float(np.sqrt(norms.max()))
    for part in chunks(len(rows), max(1, _CELLS // len(rows))):
        rounded = norms - 2 * (centred[part] @ centred.T)
        _search(points, norms, rounded, part, margin, longest, nearest, squared)
    return nearest, squared


def _search(
    points: Vectors, norms: Vectors, rounded: Vectors, part: slice, margin: float, longest: float, nearest: Rows,
    squared: Doubles,
) -> None:  # fmt: skip
    rounded += norms[part, None]
    doubt = margin * (np.sqrt(norms[part].astype(np.float64)) + longest) ** 2

    def work(piece: slice) -> None:
        here = slice(part.start + piece.start, part.start + piece.stop)
        _nearest_of_rows(points, rounded[piece], here.start, doubt[piece], nearest[here], squared[here])

    size = max(1, len(rounded) // 16)
    in_threads(work, [slice(p.start, p.stop) for p in chunks(len(rounded), size)])


@_compiled
def _place(values: Any, who: Any, n: int, value: float, j: int) -> Any:
    """Put ``j`` in its place among the ``n`` least so far, if it belongs there; returns how many there are now."""
    room = values.shape[0]
    if n == room and not (value < values[n - 1] or (value == values[n - 1] and j < who[n - 1])):
        return n
    at = min(n, room - 1)
    while at > 0 and (values[at - 1] > value or (values[at - 1] == value and who[at - 1] > j)):
        values[at], who[at] = values[at - 1], who[at - 1]
        at -= 1
    values[at], who[at] = value, j
    return min(n + 1, room)


@_compiled
def _nearest_of_rows(points: Any, rounded: Any, first: int, doubt: Any, nearest: Any, squared: Any) -> None:
    """Of each row the ``k`` nearest others; ``rounded`` ``(b, m)`` are squared distances that are off by ``doubt``."""
    k, total = nearest.shape[1], points.shape[0]
    room = min(k + _SPARE, total - 1)
    rough, found = np.empty(room), np.empty(room, np.int64)
    for i in range(rounded.shape[0]):
        n = 0
        for j in range(total):
            if j != first + i:
                n = _place(rough, found, n, rounded[i, j], j)
        n = 0
        for u in range(room):
            n = _place(squared[i], nearest[i], n, exact(points[first + i], points[found[u]]), found[u])
        least = squared[i, k - 1] + doubt[i]
        if room == total - 1 or rough[room - 1] > least:
            continue
        for j in range(total):  # more could be as near: look at all of them
            if j != first + i and rounded[i, j] <= least and not (found == j).any():
                _place(squared[i], nearest[i], k, exact(points[first + i], points[j]), j)
