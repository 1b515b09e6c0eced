"""Many distances at a time by products of bfloat16 matrices, which rule out most centres and decide nothing.

Points and centres are shifted by one mean and rounded. What rounding took from each is measured, so that by
Cauchy-Schwarz no distance is less than a known bound; where that bound does not rule a centre out, its distance is
computed. Products run on a GPU where torch has one, or else on a processor that multiplies bfloat16 fast.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from labelwise.selection import half_products
from labelwise.selection.half_products import SIDE, tile
from labelwise.selection.kernels import _CHUNK, TILE, TINY, _meet, _rounded, slack
from labelwise.selection.picks import Rows, Vectors

_ON_GPU = 128  # columns of a product
_LOADING = 5e12  # multiplications that are worth the seconds that loading torch takes

State = tuple[Any, ...]

_compiled = njit(cache=True, nogil=True)
_any_order = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, inline="never")


def device(multiplications: float) -> str | None:
    """Where to multiply: on a GPU, on a processor that does bfloat16 fast, or None: nowhere.

    No GPU is looked for where torch is not loaded and so much work would not repay loading it.
    """
    if "torch" in sys.modules or multiplications >= _LOADING:
        import torch

        if torch.cuda.is_available():
            return "cuda"
    return "cpu" if half_products.FAST else None


class Halves:
    """Centres rounded to bfloat16, and the comparison of points with them."""

    def __init__(self, sample: Vectors, room: int, device: str) -> None:
        self.shift, self.count, self.device = sample.mean(axis=0), 0, device
        room = _padded(room, SIDE)
        self.bits = np.zeros((room, _padded(sample.shape[1])), np.uint16)
        self.squared, self.lost = np.full(room, np.inf, np.float32), np.empty(room, np.float32)
        self.sample = self.rounded(sample)[1:]

    def add(self, centres: Vectors) -> None:
        """Take further centres ``(g, d)``."""
        new = slice(self.count, self.count + len(centres))
        self.bits[new], self.squared[new], self.lost[new] = self.rounded(centres)
        self.count = new.stop

    def rounded(self, points: Vectors) -> tuple[NDArray[np.uint16], Vectors, Vectors]:
        """The bits of shifted points, their squared lengths, and the lengths of what rounding took."""
        bits = np.zeros((len(points), _padded(points.shape[1])), np.uint16)
        squared, lost = np.empty((2, len(points)), np.float32)
        _round(points, self.shift, bits, squared, lost)
        return bits, squared, lost

    def typical_error(self) -> float:
        """About the most that is lost of a squared distance."""
        return float(self.error(*self.sample).max())

    def error(self, squared: Vectors, lost: Vectors) -> Vectors:
        """What is lost of each point's squared distances, a little too much."""
        found: Vectors = _error(np.sqrt(squared) * np.float32(1.001), lost, *self.limits())
        return found

    def limits(self) -> tuple[np.float32, np.float32, np.float32]:
        """The length of the longest centre, the most that rounding took of one, and what adding takes."""
        longest, worst = self.squared[: self.count].max() ** 0.5, self.lost[: self.count].max()
        return np.float32(longest * 1.001), worst, np.float32(4 * slack(len(self.shift)))

    def products(self, part: slice, others: slice) -> Vectors:
        """The products of some of the centres with others, ``(b, g)``."""
        if self.device == "cuda":
            return _on_gpu(self.bits[part], self.bits[others])
        out: Vectors = np.empty((part.stop - part.start, others.stop - others.start), np.float32)
        half_products.products(self.bits, part.start, self.bits, others.start, out)
        return out

    def refresh(
        self, vectors: Vectors, rows: Rows, state: State, limit: Vectors, centres: Vectors, margin: float
    ) -> None:
        """As ``kernels.refresh`` with all centres so far; ``state`` is bound, seen (ascending), near, second."""
        if self.device == "cuda":
            self._refresh_on_gpu(vectors[rows], state, limit, centres, margin)
        else:
            _refresh(  # type: ignore[call-arg]
                vectors, rows, self.shift, self.limits(), self.bits, self.squared, centres, self.count, limit, *state,
                margin,
            )  # fmt: skip

    def _refresh_on_gpu(self, points: Vectors, state: State, limit: Vectors, centres: Vectors, margin: float) -> None:
        bits, squared, lost = self.rounded(points)
        own, seen, bound = squared - self.error(squared, lost), state[1].copy(), state[0]
        end = int(seen[0])
        while end < self.count:
            part = slice(end, min(end + _ON_GPU, self.count))
            end = part.stop
            entered = int(np.searchsorted(seen, end))
            rows = np.flatnonzero(bound[:entered] >= limit[:entered])
            if len(rows):
                _meet_product(  # type: ignore[call-arg]
                    _on_gpu(bits[rows], self.bits[part]), points, rows, own, centres[part],
                    self.squared[part], part.start, limit, *state, margin,
                )  # fmt: skip


def _on_gpu(points: NDArray[np.uint16], centres: NDArray[np.uint16]) -> Vectors:
    import torch

    # Widened before they are multiplied: of bfloat16 torch may add up in bfloat16 too, which no bound here allows for.
    left, right = (torch.from_numpy(bits).view(torch.bfloat16).cuda().float() for bits in (points, centres))
    found: Vectors = torch.mm(left, right.T).cpu().numpy()
    return found


def _padded(size: int, step: int = half_products.LANES) -> int:
    return -(-size // step) * step


@_any_order
def _round_row(point: Any, shift: Any, bits: Any, row: Any, row_bits: Any, back: Any, back_bits: Any) -> Any:
    """Round one shifted vector to bfloat16; its squared length, and that of what is lost."""
    for k in range(point.shape[0]):
        row[k] = point[k] - shift[k]
    for k in range(point.shape[0]):  # to the nearest, and to the even one of two
        odd = np.uint32((row_bits[k] >> np.uint32(16)) & np.uint32(1))
        back_bits[k] = np.uint32(row_bits[k] + np.uint32(odd + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    for k in range(point.shape[0]):
        bits[k] = np.uint16(back_bits[k] >> np.uint32(16))
    squared, lost = np.float32(0), np.float32(0)
    for k in range(point.shape[0]):
        squared += row[k] * row[k]
        lost += (row[k] - back[k]) * (row[k] - back[k])
    return squared, lost


@_compiled
def _round(points: Any, shift: Any, bits: Any, squared: Any, lost: Any) -> None:
    row, back = np.empty(points.shape[1], np.float32), np.empty(points.shape[1], np.float32)
    for i in range(points.shape[0]):
        squared[i], gone = _round_row(points[i], shift, bits[i], row, row.view(np.uint32), back, back.view(np.uint32))
        lost[i] = np.sqrt(gone) * np.float32(1.001)


@_compiled
def _error(length: Any, lost: Any, longest: Any, worst: Any, adding: Any) -> Any:
    """What is lost of squared distances: by rounding points and centres (Cauchy-Schwarz), and by adding."""
    by_rounding = np.float32(2.02) * (lost * longest + (length + lost) * worst)
    return by_rounding + adding * (length + longest) * (length + longest) + np.float32(TINY)


@_compiled
def _refresh(
    vectors: Any, rows: Any, shift: Any, limits: Any, matrix: Any, squared: Any, centres: Any, count: int,
    limit: Any, bound: Any, seen: Any, near: Any, second: Any, margin: float,
) -> None:  # fmt: skip
    """As ``kernels.refresh``, but only what rounded products do not rule out is compared."""
    width = vectors.shape[1]
    bits = np.zeros((_CHUNK, matrix.shape[1]), np.uint16)
    row, back, own = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(_CHUNK, np.float32)
    waiting, found = np.empty(_CHUNK, np.int64), np.empty((SIDE, SIDE), np.float32)
    for start in range(0, rows.shape[0], _CHUNK):
        stop = min(start + _CHUNK, rows.shape[0])
        for i in range(start, stop):
            own[i - start], gone = _round_row(
                vectors[rows[i]], shift, bits[i - start], row, row.view(np.uint32), back, back.view(np.uint32)
            )
            length, lost = np.sqrt(own[i - start]) * np.float32(1.001), np.sqrt(gone) * np.float32(1.001)
            own[i - start] -= _error(length, lost, *limits)
        for begin in range(seen[start] // SIDE * SIDE, count, TILE):
            end = min(begin + TILE, count)
            n = 0
            for i in range(start, stop):
                if bound[i] >= limit[i] and seen[i] < end:
                    waiting[n] = i - start
                    n += 1
            for u in range(0, n, SIDE):
                p, q = waiting[u], waiting[min(u + 1, n - 1)]
                r, s = waiting[min(u + 2, n - 1)], waiting[min(u + 3, n - 1)]
                for j in range(begin, end, SIDE):
                    tile(bits, p, q, r, s, matrix, j, found)
                    for v in range(min(SIDE, n - u)):
                        i = start + waiting[u + v]
                        if _may_be_near(found, v, own[i - start] - bound[i], squared, j):
                            _look(
                                i, vectors[rows[i]], j, min(j + SIDE, end), centres, bound, seen, near, second, margin
                            )
            for u in range(n):
                seen[start + waiting[u]] = end


@_compiled
def _may_be_near(products: Any, v: int, least: Any, squared: Any, first: int) -> Any:
    """Whether the products of a tile's point do not rule out that a centre is as near as the nearest."""
    a = squared[first] - np.float32(2) * products[v, 0] + least > 0
    b = squared[first + 1] - np.float32(2) * products[v, 1] + least > 0
    c = squared[first + 2] - np.float32(2) * products[v, 2] + least > 0
    d = squared[first + 3] - np.float32(2) * products[v, 3] + least > 0
    return not (a & b & c & d)


@_compiled
def _look(
    i: int, point: Any, first: int, end: int, centres: Any, bound: Any, seen: Any, near: Any, second: Any, margin: float
) -> None:
    """Compare a point with the centres of a tile that it has not seen."""
    for j in range(max(first, seen[i]), end):
        distance = _rounded(point, centres[j])
        if not distance > bound[i] * (1 + margin):
            _meet(i, distance, j, bound, near, second, margin)


@_any_order
def possible(product: Any, own: Any, centres: Any, limit: Any, low: Any) -> Any:
    """How many squared distances of one point may be at the limit or below, and in ``low`` what each is at least.

    ``product`` is the point's row of products, ``own`` its squared length less its error, ``centres`` the squared
    lengths of the centres.
    """
    count = np.int32(0)
    for j in range(product.shape[0]):
        least = own + centres[j] - np.float32(2) * product[j]
        low[j] = least
        count = np.int32(count + np.int32(not least > limit))
    return count


@_compiled
def _meet_product(
    product: Any, points: Any, rows: Any, own: Any, centres: Any, squared: Any, first: int, limit: Any,
    bound: Any, seen: Any, near: Any, second: Any, margin: float,
) -> None:  # fmt: skip
    count = product.shape[1]
    low = np.empty(count, np.float32)
    for u in range(rows.shape[0]):
        i = rows[u]
        if bound[i] < limit[i] or seen[i] >= first + count:
            continue
        done = first + count
        if possible(product[u], own[i], squared, bound[i], low):
            for j in range(max(0, seen[i] - first), count):
                if not low[j] > bound[i]:
                    found = _rounded(points[i], centres[j])
                    if not found > bound[i] * (1 + margin):
                        _meet(i, found, first + j, bound, near, second, margin)
                        if bound[i] < limit[i]:
                            done = first + j + 1
                            break
        seen[i] = done
