"""Distances to the nearest centre that are kept as upper bounds and brought up to date only where they matter.

A point's squared distance to the nearest of a growing set of centres can only fall. So an old value is an upper bound,
and a point whose bound is below what would be picked needs no work. Nothing here assumes clusters or few dimensions;
the picks are those of a plain float64 greedy. Beyond the vectors this takes 16 bytes per candidate, 6 times the numbers
of the centres where products are used, and some MB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelwise.selection import halves, kernels
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, chunks, compiled_rows
from labelwise.selection.threads import in_threads

Numbers = NDArray[np.int32]

_BYTES = 1 << 21  # of points that are gathered at a time: within the last-level cache, with several threads too
_GROUP = 256  # centres that are gathered at a time
_MANY = 32  # centres not seen from which products of halves are faster than single distances
_FEW = 256  # points for which products are not worth preparing
_FAR = 8.0  # how many times what halves lose a limit must be, so that they can tell much


class Bounds:
    """For each candidate an upper bound of its squared distance to the nearest centre, and which that is.

    ``vectors`` is ``(N, d)`` float32 or float16, memory-mapped or not; rows that are no candidate and no centre are
    never looked at. ``centres`` are rows of ``vectors``; facts speak of a centre by its number in that list.
    """

    def __init__(self, vectors: Array, candidates: Rows, centres: Rows, room: int) -> None:
        size = len(candidates)
        self.vectors, self.candidates = vectors, candidates
        self.centres = np.concatenate([centres, np.zeros(room, np.int64)])
        self.count = len(centres)
        self.margin = kernels.slack(vectors.shape[1])
        self.bound: Vectors = np.full(size, np.inf, np.float32)  # -1: picked
        self.seen: Numbers = np.zeros(size, np.int32)
        self.near: Numbers = np.full(size, kernels.NONE, np.int32)
        self.second: Numbers = np.full(size, kernels.NONE, np.int32)
        self.halves: halves.Halves | None = None
        self.device = halves.device(size * float(len(self.centres)) * vectors.shape[1] / 4)
        self.step = max(kernels.TILE, _BYTES // (4 * vectors.shape[1]))

    def gather(self, rows: Rows) -> Vectors:
        """A float32 copy of these rows, ``(b, d)``."""
        found: Vectors = np.take(self.vectors, rows, axis=0).astype(np.float32, copy=False)
        return found

    def begin(self) -> None:
        """Give every candidate a first bound, from a few of the centres."""
        count, self.count = self.count, min(self.count, kernels.TILE)
        positions = np.flatnonzero(self.seen == 0)
        self.refresh(positions, np.zeros(len(positions), np.float32))
        self.count = count

    def above(self, limit: float) -> Rows:
        """Positions of the candidates whose true squared distance may be ``ceiling(limit)`` or more, brought up to
        date."""
        positions = np.flatnonzero(self.bound >= np.float32(limit))
        self.refresh(positions, np.full(len(positions), limit, np.float32))
        return positions[self.bound[positions] >= np.float32(limit)]

    def ceiling(self, limit: float) -> float:
        """What the true value of a point is below if its bound is below ``limit``."""
        return limit * (1 + self.margin) + kernels.TINY

    def refresh(self, positions: Rows, limits: Vectors) -> None:
        """Bring these candidates up to date, as far as their bound stays at or above their limit."""
        old = self.seen[positions] < self.count
        positions, limits = positions[old], limits[old]
        many = self.seen[positions] + _MANY <= self.count
        if self.device and np.count_nonzero(many) >= _FEW:
            products = self._halves(self.device)
            many &= limits > _FAR * products.typical_error()
            self._in_parts(positions[many], limits[many], self.step, products)
            positions, limits = positions[~many], limits[~many]
        self._in_parts(positions, limits, self.step, None)

    def _halves(self, device: str) -> halves.Halves:
        """The centres so far, ready for products."""
        if self.halves is None:
            sample = self.gather(self.candidates[:: max(1, len(self.candidates) // 1024)])
            self.halves = halves.Halves(sample, len(self.centres), device)
            self.near_by: Vectors = np.empty((len(self.centres), self.vectors.shape[1]), np.float32)
        for start in range(self.halves.count, self.count, _GROUP):
            part = slice(start, min(start + _GROUP, self.count))
            self.near_by[part] = self.gather(self.centres[part])
            self.halves.add(self.near_by[part])
        return self.halves

    def _in_parts(self, positions: Rows, limits: Vectors, size: int, products: halves.Halves | None) -> None:
        """In parts that have seen about equally many centres."""
        order = np.argsort(self.seen[positions], kind="stable")
        positions, limits = positions[order], limits[order]
        parts = list(chunks(len(positions), size))
        in_threads(lambda part: self._refresh(positions[part], limits[part], products), parts)

    def _refresh(self, positions: Rows, limits: Vectors, products: halves.Halves | None) -> None:
        all_state = (self.bound, self.seen, self.near, self.second)
        state = tuple(values[positions] for values in all_state)
        self._compare(self.candidates[positions], state, limits, products)
        for values, new in zip(all_state, state, strict=True):
            values[positions] = new

    def _compare(self, rows: Rows, state: tuple[Array, ...], limits: Vectors, products: halves.Halves | None) -> None:
        vectors, rows = compiled_rows(self.vectors, rows)
        if products is not None:
            products.refresh(vectors, rows, state, limits, self.near_by, self.margin)
            return
        for start in range(int(state[1][0]), self.count, _GROUP):
            group = self.gather(self.centres[start : min(start + _GROUP, self.count)])
            kernels.refresh(vectors, rows, *state, limits, group, start, self.margin)  # type: ignore[call-arg, arg-type]
            if not (state[0] >= limits).any():
                break

    def exact(self, positions: Rows) -> Doubles:
        """The true squared distances ``(b,)`` of candidates that are up to date; ``near`` becomes true as well."""
        value = np.empty(len(positions))
        for start in range(0, len(positions), self.step):
            part = positions[start : start + self.step]
            self._settle(part, value[start : start + self.step])
        return value

    def _settle(self, positions: Rows, value: Doubles) -> None:
        points, near, second = self.gather(self.candidates[positions]), self.near[positions], self.second[positions]
        centres, others = self.gather(self.centres[near]), self.gather(self.centres[np.maximum(second, 0)])
        kernels.settle(points, self.bound[positions], near, second, centres, others, value)
        for i in np.flatnonzero(np.isnan(value)):
            value[i], near[i] = np.inf, 0
            for start in range(0, self.count, _GROUP):
                group = self.gather(self.centres[start : min(start + _GROUP, self.count)])
                value[i], near[i] = kernels.nearest_of(points[i], group, start, value[i], near[i], self.margin)
        self.put(positions, value, near, self.count)

    def put(self, positions: Rows, value: Doubles, near: Array, seen: Array | int) -> None:
        """Take over exact values."""
        self.bound[positions], self.near[positions], self.seen[positions] = value, near, seen
        self.second[positions] = kernels.NONE

    def take(self, positions: Rows) -> None:
        """Pick candidates: they become centres, and are never the farthest again."""
        self.bound[positions] = -1
        self.add(self.candidates[positions])

    def add(self, rows: Rows) -> None:
        """Take rows as further centres."""
        self.centres[self.count : self.count + len(rows)] = rows
        self.count += len(rows)
