"""Many distances at a time by products of bfloat16 matrices, which rule out most centres and decide nothing.

Points and centres are shifted by one mean and rounded. What rounding took from each is measured, so that by
Cauchy-Schwarz no distance is less than a known bound; where that bound does not rule a centre out, its distance is
computed. Products run on a GPU where torch has one; all else stays here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import njit
from numpy.typing import NDArray

from labelwise.selection.kernels import TINY, _meet, _rounded, slack
from labelwise.selection.picks import Rows, Vectors

_CENTRES = 128  # columns of a product
_ROWS = 256  # products have a multiple of so many rows
_KEPT = 0.8  # share of the rows still looked at below which the others are left out of the next product
_LOADING = 5e12  # multiplications that are worth the seconds that loading torch takes
ROUNDING = np.float32(2.02 * 2.0**-8)  # what rounding a product to bfloat16 takes from twice the product

_compiled = njit(cache=True, nogil=True)
_any_order = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, inline="never")


def device(multiplications: float) -> str | None:
    """Where to multiply: on a GPU, on a processor that does bfloat16 fast, or None: nowhere.

    None as well where torch is not loaded and so much work would not repay loading it.
    """
    if "torch" not in sys.modules and multiplications < _LOADING:
        return None
    features = get_host_cpu_features()
    fast = features.get("avx512bf16", False) or features.get("amx-bf16", False)
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu" if fast else None


@contextmanager
def settings() -> Iterator[None]:
    """Products in one thread each, since the work is shared out beforehand, and with sums in float32."""
    import torch

    threads, reduced = torch.get_num_threads(), torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


class Halves:
    """Centres rounded to bfloat16, and the comparison of points with them."""

    def __init__(self, sample: Vectors, room: int, device: str) -> None:
        import torch

        self.sample, self.shift, self.count, self.device = sample, sample.mean(axis=0), 0, device
        self.matrix = torch.empty((room, sample.shape[1]), dtype=torch.bfloat16, device=device)
        self.squared, self.lost = np.empty((2, room), np.float32)

    def add(self, centres: Vectors) -> None:
        """Take further centres ``(g, d)``."""
        new = slice(self.count, self.count + len(centres))
        self.matrix[new], self.squared[new], self.lost[new] = self.rounded(centres)
        self.count = new.stop

    def rounded(self, points: Vectors) -> tuple[Any, Vectors, Vectors]:
        """Shifted points as a bfloat16 matrix, their squared lengths, and the lengths of what rounding took."""
        import torch

        bits, squared, lost = np.empty(points.shape, np.uint16), *np.empty((2, len(points)), np.float32)
        _round(points, self.shift, bits, squared, lost)
        return torch.from_numpy(bits).view(torch.bfloat16).to(self.device), squared, lost

    def typical_error(self) -> float:
        """About the most that is lost of a squared distance, beside the rounding of the product."""
        return float(self.error(*self.rounded(self.sample)[1:]).max())

    def error(self, squared: Vectors, lost: Vectors) -> Vectors:
        """What is lost of each point's squared distances before the product is rounded, a little too much."""
        longest, worst = float(self.squared[: self.count].max()) ** 0.5, float(self.lost[: self.count].max())
        length = np.sqrt(squared) * 1.001
        by_rounding = 2.02 * (lost * longest + (length + lost) * worst)
        by_adding = 4 * slack(len(self.shift)) * (length + longest) ** 2
        found: Vectors = (by_rounding + by_adding + TINY).astype(np.float32)
        return found

    def products(self, matrix: Any, tile: slice) -> NDArray[np.uint16]:
        """The bits of the products of a bfloat16 matrix with some of the centres, ``(b, g)``."""
        import torch

        found: NDArray[np.uint16] = torch.mm(matrix, self.matrix[tile].T).view(torch.int16).cpu().numpy()
        return found.view(np.uint16)

    def refresh(self, points: Vectors, centres: Vectors, state: tuple[Any, ...], limit: Vectors, margin: float) -> None:
        """As ``kernels.refresh`` with all centres; ``state`` is bound, seen (ascending), near, second of the points."""
        import torch

        whole, squared, lost = self.rounded(points)
        error, seen, bound = self.error(squared, lost), state[1].copy(), state[0]
        room = torch.empty((len(points) + _ROWS, points.shape[1]), dtype=whole.dtype, device=whole.device)
        matrix, rows, entered, end = whole, np.arange(0), 0, int(seen[0])
        while end < self.count:
            end = min(end + _CENTRES, self.count)
            tile = slice(max(0, end - _CENTRES), end)
            before, entered = entered, int(np.searchsorted(seen, end))
            left = np.flatnonzero(bound[:entered] >= limit[:entered])
            if not len(left):
                continue
            if entered > before or len(left) < _KEPT * len(rows):
                rows = _padded(left)
                some = torch.from_numpy(rows).to(whole.device)
                matrix = torch.index_select(whole, 0, some, out=room[: len(rows)])
            _meet_product(  # type: ignore[call-arg]
                self.products(matrix, tile), points, rows, squared - error, centres[tile], self.squared[tile],
                tile.start, limit, *state, margin,
            )  # fmt: skip


def _padded(rows: Rows) -> Rows:
    """Rows with the last one repeated: torch prepares products anew for every new shape, so there are few shapes."""
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % _ROWS)])


@_any_order
def _round_row(point: Any, shift: Any, bits: Any, row: Any, row_bits: Any, back: Any, back_bits: Any) -> Any:
    """Round one shifted vector to bfloat16; its squared length, and that of what is lost."""
    for k in range(point.shape[0]):
        row[k] = point[k] - shift[k]
    for k in range(point.shape[0]):  # to the nearest, and to the even one of two
        half = (row_bits[k] + np.uint32(0x7FFF) + ((row_bits[k] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        bits[k] = half
        back_bits[k] = half << np.uint32(16)
    squared, lost = np.float32(0), np.float32(0)
    for k in range(point.shape[0]):
        squared += row[k] * row[k]
        lost += (row[k] - back[k]) * (row[k] - back[k])
    return squared, lost


@_compiled
def _round(points: Any, shift: Any, bits: Any, squared: Any, lost: Any) -> None:
    row, back = np.empty(points.shape[1], np.float32), np.empty(points.shape[1], np.float32)
    row_bits, back_bits = row.view(np.uint32), back.view(np.uint32)
    for i in range(points.shape[0]):
        squared[i], gone = _round_row(points[i], shift, bits[i], row, row_bits, back, back_bits)
        lost[i] = np.sqrt(gone) * np.float32(1.001)


@_any_order
def lowest(product: Any, shift: Any, rounding: Any, own: Any, centres: Any, wide: Any, wide_bits: Any, low: Any) -> Any:
    """What the squared distances of one point are at least, from its row of products; the least of them.

    ``own`` is the point's squared length less its error, ``centres`` the squared lengths of the centres; ``wide_bits``
    are the bits of ``wide``. Products are bits of float32 without the ``shift`` lowest, and off by ``rounding`` / 2.
    """
    least = np.float32(np.inf)
    for j in range(product.shape[0]):
        wide_bits[j] = np.uint32(product[j]) << shift
    for j in range(product.shape[0]):
        low[j] = own + centres[j] - np.float32(2) * wide[j] - abs(wide[j]) * rounding
        least = min(least, low[j])
    return least


@_compiled
def _meet_product(
    product: Any, points: Any, rows: Any, own: Any, centres: Any, squared: Any, first: int, limit: Any,
    bound: Any, seen: Any, near: Any, second: Any, margin: float,
) -> None:  # fmt: skip
    count = product.shape[1]
    wide, low = np.empty(count, np.float32), np.empty(count, np.float32)
    wide_bits = wide.view(np.uint32)
    for u in range(rows.shape[0]):
        i = rows[u]
        if bound[i] < limit[i] or seen[i] >= first + count:
            continue
        done = first + count
        if not lowest(product[u], np.uint32(16), ROUNDING, own[i], squared, wide, wide_bits, low) > bound[i]:
            for j in range(max(0, seen[i] - first), count):
                if not low[j] > bound[i]:
                    found = _rounded(points[i], centres[j])
                    if not found > bound[i] * (1 + margin):
                        _meet(i, found, first + j, bound, near, second, margin)
                        if bound[i] < limit[i]:
                            done = first + j + 1
                            break
        seen[i] = done
