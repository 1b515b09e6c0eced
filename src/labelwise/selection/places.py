"""Places in images: what a choice of pixels or regions returns, and exact ranking of the pixels of one map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection import map_kernels
from labelwise.selection.picks import Array, Doubles, Rows, descending

Mask = NDArray[np.bool_]

_SAMPLE = 16_384  # scores from which a threshold is guessed


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Pixels or centres of regions, best first.

    ``points`` is ``(n, 2)`` int64, x before y; ``scores`` ``(n,)`` float64; ``pixels`` ``(n,)`` int64 how many valid
    unlabelled pixels each one adds; ``images`` ``(n,)`` int64 the number of the image (0 if there is one only).
    """

    points: Rows
    scores: Doubles
    pixels: Rows
    images: Rows = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.images) != len(self.points):
            assert len(self.images) == 0, "one image number per place"
            object.__setattr__(self, "images", np.zeros(len(self.points), np.int64))

    def __len__(self) -> int:
        return len(self.points)

    def take(self, positions: Array | slice) -> Places:
        """The places at these positions (indices, a mask or a slice)."""
        return Places(self.points[positions], self.scores[positions], self.pixels[positions], self.images[positions])

    def boxes(self, radius: int, shape: Sequence[int]) -> Rows:
        """The windows around the points, clipped to an image of ``shape`` (h, w): ``(n, 4)`` x0, y0, x1, y1, ends
        excluded."""
        ends = np.array([shape[1], shape[0]])
        return np.hstack([np.maximum(self.points - radius, 0), np.minimum(self.points + radius + 1, ends)])


def join_places(parts: Sequence[Places]) -> Places:
    """One after the other."""
    if not parts:
        return at_positions(np.empty(0, np.int64), np.empty(0), 1)
    return Places(*(np.concatenate([getattr(p, name) for p in parts]) for name in Places.__slots__))


def at_positions(positions: Rows, scores: Array, width: int, images: Rows | None = None) -> Places:
    """Single pixels at positions of a flat map of this width, with their scores."""
    points = np.stack([positions % width, positions // width], axis=1).astype(np.int64)
    ones = np.ones(len(points), np.int64)
    return Places(points, scores.astype(np.float64), ones, np.empty(0, np.int64) if images is None else images)


def check_number(n: int, what: str) -> int:
    """``n`` if it is 0 or more. Raises SelectionError naming ``what`` it counts."""
    if n < 0:
        raise SelectionError(f"expected a number of {what} of 0 or more, but found {n}")
    return int(n)


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Scores of one image's pixels beside which of them are free to choose; numbers are looked at when needed.

    ``scores`` is ``(h, w)`` float32 or float64, ``free`` ``(h, w)`` bool: valid and not labelled. ``name`` is the
    image's, for messages.
    """

    scores: Array
    free: Mask
    name: str

    def between(self, floor: float, ceiling: float, room: int) -> Rows:
        """Flat positions of the free pixels with ``floor`` <= score < ``ceiling``, ascending; about ``room`` expected.

        Raises SelectionError, naming the image and the pixel, if a free pixel's score is not finite.
        """
        scores, free = self.scores.reshape(-1), self.free.reshape(-1)
        # a bound between two float32 numbers is rounded down: more is found, never less
        bounds = [_at_most(bound, scores.dtype) for bound in (floor, ceiling)]
        found = np.empty(max(1024, room), np.int64)
        n = map_kernels.between(scores, free, bounds[0], bounds[1], found)
        if n > len(found):
            found = np.empty(n, np.int64)
            n = map_kernels.between(scores, free, bounds[0], bounds[1], found)
        if n < 0:
            y, x = divmod(-1 - n, self.scores.shape[1])
            raise SelectionError(
                f"expected finite scores, but {self.name} has {self.scores[y, x]} at x={x}, y={y}; look at the "
                "prediction it comes from, or leave these pixels out of free"
            )
        return found[:n]

    def guess(self, rank: int) -> float:
        """A score that about ``rank`` free pixels reach, rather more than less; minus infinity if that is about all."""
        flat, free = self.scores.reshape(-1), self.free.reshape(-1)
        step = max(1, len(flat) // _SAMPLE) | 1  # odd: not always the same columns
        sample = flat[::step][free[::step]]
        number = rank / step
        position = int(number + 4 * number**0.5 + 4)
        if position >= len(sample):
            return -np.inf
        return float(-np.partition(-sample, position)[position])

    def highest(self, n: int) -> Rows:
        """Flat positions of the n free pixels with the highest scores, ascending; ties go to the lowest positions."""
        n = min(n, int(np.count_nonzero(self.free)))
        if n == 0:
            self.between(np.inf, np.inf, 0)  # a map that is not finite is refused all the same
            return np.empty(0, np.int64)
        floor = self.guess(n)
        positions = self.between(floor, np.inf, 2 * n)
        if len(positions) < n:
            positions = self.between(-np.inf, np.inf, self.free.size)
        return positions[_best(self.scores.reshape(-1)[positions], n)]


def read_map(scores: Array, free: Array | None, name: str | None) -> Map:
    """Scores ``(h, w)`` and the mask of free pixels (None: all), once they fit together.

    Raises SelectionError, naming the image, if they do not.
    """
    who, array = name or "the map", np.asarray(scores)
    if array.ndim != 2:
        raise SelectionError(f"expected scores of shape (h, w), one per pixel, but {who} has {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    mask = np.ones(array.shape, np.bool_) if free is None else np.asarray(free)
    if mask.shape != array.shape or mask.dtype != np.bool_:
        raise SelectionError(
            f"expected free pixels as booleans of shape {array.shape}, but {who} has {mask.dtype} of {mask.shape}"
        )
    return Map(np.ascontiguousarray(array), np.ascontiguousarray(mask), who)


def ranked(values: Array, positions: Rows) -> Rows:
    """Ascending positions put in the order of their values, best first; ties stay ascending."""
    return positions[descending(values)]


def _best(values: Array, n: int) -> NDArray[np.intp]:
    """Indices of the n highest values, ascending; of equal ones the first."""
    if n >= len(values):
        return np.arange(len(values))
    least = np.partition(values, len(values) - n)[len(values) - n]
    keep = values > least
    ties = np.flatnonzero(values == least)
    keep[ties[: n - np.count_nonzero(keep)]] = True
    return np.flatnonzero(keep)


def _at_most(bound: float, dtype: Any) -> Any:
    """The bound in this kind of number, rounded down."""
    with np.errstate(over="ignore"):
        near = dtype.type(bound)
    return near if near <= bound else np.nextafter(near, dtype.type(-np.inf))
