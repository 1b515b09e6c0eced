"""Exact nearest neighbours of every row: rounded products rule out most pairs, float64 distances decide the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from labelwise.selection import halves
from labelwise.selection.kernels import TINY, exact, slack
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, check_stored, chunks, squared_norms
from labelwise.selection.threads import in_threads

_POINTS = 1024  # rows of a product
_OTHERS = 2048  # columns of a product
_ROOM = 160  # others of a row that wait for their exact distance

_compiled = njit(cache=True, nogil=True)


def nearest_others(embeddings: Array, rows: Rows, k: int) -> tuple[Rows, Doubles]:
    """The k nearest other rows of each of ``rows``, as positions in ``rows``, and their squared distances, ``(m, k)``.

    k is at most m - 1. Nearest first, ties to the lowest position; distances are Euclidean, in float64, on the
    vectors as given. ``embeddings`` is ``(N, d)`` float32, read where it lies, or float16, of which ``rows`` are copied
    as float32. Work grows with m squared; memory is 2 bytes for each number of ``rows`` (or 4), and the result. Raises
    SelectionError if a vector is not finite.
    """
    vectors = check_stored(embeddings, rows)
    total, k = len(rows), max(0, min(k, len(rows) - 1))
    nearest, squared = np.empty((total, k), np.int64), np.empty((total, k))
    if k == 0:
        return nearest, squared
    own = np.asarray(rows, np.int64)
    if vectors.dtype != np.float32 or not vectors.flags.c_contiguous:
        vectors, own = vectors[own].astype(np.float32, copy=False), np.arange(total)
    device = halves.device(float(total) ** 2 * vectors.shape[1])
    products = _Halved(vectors, own, device) if device else _Plain(vectors, own)

    def work(part: slice) -> None:
        _search(part, products, vectors, own, nearest[part], squared[part])

    # the work is shared out beforehand, so products take one thread each
    in_threads(work, list(chunks(total, _POINTS)), lambda: threadpool_limits(1, user_api="blas"))
    return nearest, squared


class _Halved:
    """Products of vectors rounded to bfloat16: fast on some processors."""

    def __init__(self, vectors: Vectors, rows: Rows, device: str) -> None:
        self.halves = halves.Halves(vectors[rows[:: max(1, len(rows) // 1024)]], len(rows), device)
        for part in chunks(len(rows), _POINTS):
            self.halves.add(vectors[rows[part]])
        self.squared = self.halves.squared
        self.error = self.halves.error(self.halves.squared, self.halves.lost)

    def of(self, part: slice, others: slice) -> Vectors:
        """The products of some rows with others."""
        return self.halves.products(part, others)


class _Plain:
    """Products in float32: on every processor."""

    def __init__(self, vectors: Vectors, rows: Rows) -> None:
        self.centred = vectors[rows]
        self.centred -= self.centred.mean(axis=0)
        self.squared = squared_norms(self.centred)
        length = np.sqrt(self.squared) * 1.001
        most = 4 * slack(vectors.shape[1]) * (length + length.max()) ** 2 + TINY
        self.error: Vectors = most.astype(np.float32)

    def of(self, part: slice, others: slice) -> Vectors:
        """The products of some rows with others."""
        found: Vectors = self.centred[part] @ self.centred[others].T
        return found


def _search(
    part: slice, products: _Halved | _Plain, vectors: Vectors, rows: Rows, nearest: Rows, squared: Doubles
) -> None:
    """The nearest others of some rows."""
    size, k = nearest.shape
    nearest[:], squared[:] = -1, np.inf
    most = np.full((size, k), np.inf, np.float32)
    waiting, lows = np.empty((size, _ROOM), np.int64), np.empty((size, _ROOM), np.float32)
    state = most, waiting, lows, np.zeros(size, np.int64), nearest, squared
    error, own = products.error[part], products.squared[part] - products.error[part]
    for others in chunks(len(rows), _OTHERS):
        _meet(
            products.of(part, others), own, error, products.squared[others],
            part.start, others.start, vectors, rows, *state,
        )  # fmt: skip
    for u in range(size):
        _decide(u, part.start, vectors, rows, *state)


@_compiled
def _meet(
    product: Any, own: Any, error: Any, others: Any, first: int, first_other: int,
    vectors: Any, rows: Any, most: Any, waiting: Any, lows: Any, count: Any, nearest: Any, squared: Any,
) -> None:  # fmt: skip
    """Look through the products of some rows with others.

    Of each row: ``most`` ``(k,)`` what its k nearest are at most, ``waiting`` which others may be among them, with what
    they are at least in ``lows``; ``nearest`` and ``squared`` what is decided.
    """
    width, k = product.shape[1], most.shape[1]
    low = np.empty(width, np.float32)
    for u in range(product.shape[0]):
        limit = _limit(u, most, squared)
        if not halves.possible(product[u], own[u], others, limit, low):
            continue
        for j in range(width):
            if low[j] > limit or first_other + j == first + u:
                continue
            high = low[j] + np.float32(2.001) * error[u]
            if high < most[u, k - 1]:
                at = k - 1
                while at > 0 and most[u, at - 1] > high:
                    most[u, at] = most[u, at - 1]
                    at -= 1
                most[u, at] = high
                limit = _limit(u, most, squared)
            if count[u] == waiting.shape[1]:
                _drop(u, limit, waiting, lows, count)
                if 2 * count[u] > waiting.shape[1]:
                    _decide(u, first, vectors, rows, most, waiting, lows, count, nearest, squared)
                    limit = _limit(u, most, squared)
            waiting[u, count[u]], lows[u, count[u]] = first_other + j, low[j]
            count[u] += 1


@_compiled
def _limit(u: int, most: Any, squared: Any) -> Any:
    """What the last of a row's nearest is at most."""
    return min(most[u, -1], np.float32(squared[u, -1] * (1 + 2.0**-20)))


@_compiled
def _drop(u: int, limit: Any, waiting: Any, lows: Any, count: Any) -> None:
    keep = 0
    for w in range(count[u]):
        if not lows[u, w] > limit:
            waiting[u, keep], lows[u, keep] = waiting[u, w], lows[u, w]
            keep += 1
    count[u] = keep


@_compiled
def _decide(
    u: int, first: int, vectors: Any, rows: Any, most: Any, waiting: Any, lows: Any, count: Any, nearest: Any,
    squared: Any,
) -> None:  # fmt: skip
    """Give those that wait their places by exact distance; of equal ones the lowest position comes first."""
    k = nearest.shape[1]
    _drop(u, _limit(u, most, squared), waiting, lows, count)
    for w in range(count[u]):
        j = waiting[u, w]
        value = exact(vectors[rows[first + u]], vectors[rows[j]])
        if value > squared[u, k - 1] or (value == squared[u, k - 1] and j > nearest[u, k - 1] >= 0):
            continue
        at = k - 1
        while at > 0 and (squared[u, at - 1] > value or (squared[u, at - 1] == value and nearest[u, at - 1] > j)):
            squared[u, at], nearest[u, at] = squared[u, at - 1], nearest[u, at - 1]
            at -= 1
        squared[u, at], nearest[u, at] = value, j
    count[u] = 0
