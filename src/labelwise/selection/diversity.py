"""Diversity as a part of a combined selection: whose gain is the highest, with few exact distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from labelwise.selection import potentials
from labelwise.selection.kernels import TINY
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, check_stored
from labelwise.selection.threads import in_threads
from labelwise.selection.weighted import selected_from

FLOOR = 1e-300  # potentials below this count as this: the logarithm of 0 would drown all other parts
GRID = 2.0**36  # gains are compared in steps of 2^-36, so that equal ones tie whatever their sums were rounded through
_FIRST = 64  # candidates looked at exactly at first; four times as many each time

_compiled = njit(cache=True, nogil=True)


class Diversity:
    """What is selected, and the distances of all candidates to it: exact where they can decide, bounds elsewhere.

    A gain that grows with the distance is at most that of its bound, so candidates whose bound gains less than the
    best known need no work. With a negative strength bounds say nothing and all distances are kept exactly.
    """

    def __init__(self, embeddings: Array, candidates: Rows, labelled: Rows, n: int, strength: float) -> None:
        vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
        self.bounds, self.strength = Bounds(vectors, candidates, labelled, n), strength
        nothing = np.zeros(len(labelled))
        self.selected = selected_from(vectors, labelled, nothing, n, (1.0, 0.0), self.bounds)
        self.begun = False
        self.points = self.bounds.gather(candidates) if strength < 0 else None
        self.value, self.near = np.full(len(candidates), np.inf), np.full(len(candidates), -1, np.int64)

    @property
    def before(self) -> float:
        """The sum of squared distances over what is selected."""
        return self.selected.terms[0]

    def of(self, position: int) -> tuple[float, int]:
        """The exact squared distance of a candidate to the nearest selected row, and which that is."""
        if self.points is None:
            one = np.array([position])
            self.bounds.refresh(one, np.zeros(1, np.float32))
            self.value[one] = self.bounds.exact(one)
            self.near[one] = self.bounds.near[one]
        return float(self.value[position]), int(self.bounds.centres[self.near[position]])

    def take(self, position: int) -> None:
        """Select a candidate."""
        point = self.bounds.gather(self.bounds.candidates[position : position + 1])
        self.selected.add(point, np.zeros(1))
        number = self.bounds.count
        self.bounds.take(np.array([position]))
        if self.points is not None and self.begun:
            self._approach(self.points, point[0], number)

    def best(self, rest: Doubles) -> int:
        """The position of the highest gain, diversity included; of equal ones the lowest row."""
        if not self.begun:
            self.bounds.begin()
            if self.points is not None:
                self._all_exact()
            self.begun = True
        if self.points is not None:
            return int(np.argmax(_gains(self.value, rest, self.before, self.strength)))
        return self._lazily(rest)

    def _lazily(self, rest: Doubles) -> int:
        bounds, before = self.bounds, self.before
        # higher than the true gain by more than rounding and a step of the grid
        upper = _gains(bounds.bound * (1 + bounds.margin) + TINY, rest, before, self.strength) + 4 / GRID
        exact, best, size = np.zeros(len(rest), np.bool_), -np.inf, _FIRST
        while len(todo := np.flatnonzero((upper >= best) & ~exact & (rest > -np.inf))):
            if len(todo) > size:
                todo = np.sort(todo[np.argpartition(-upper[todo], size)[:size]])
            size *= 4
            limits = _least_bounds(best, rest[todo], before, self.strength, bounds.margin)
            bounds.refresh(todo, limits)
            dropped = bounds.seen[todo] < bounds.count
            upper[todo[dropped]] = -np.inf  # below its limit, so surely below the best
            todo = todo[~dropped]
            upper[todo] = _gains(bounds.exact(todo), rest[todo], before, self.strength)
            exact[todo] = True
            best = max(best, float(upper[todo].max(initial=-np.inf)))
        return int(np.flatnonzero(exact & (upper == best))[0])

    def _all_exact(self) -> None:
        everywhere = np.flatnonzero(self.bounds.bound >= 0)
        self.bounds.refresh(everywhere, np.zeros(len(everywhere), np.float32))
        self.value[everywhere] = self.bounds.exact(everywhere)
        self.near[everywhere] = self.bounds.near[everywhere]

    def _approach(self, points: Vectors, centre: Array, number: int) -> None:
        def work(here: slice) -> None:
            potentials.approach(points[here], self.value[here], self.near[here], centre, number, self.bounds.margin)

        in_threads(work, [slice(a, a + 2048) for a in range(0, len(self.value), 2048)])


def _gains(squared: Array, rest: Doubles, before: float, strength: float) -> Doubles:
    """``rest`` and what diversity adds, on the grid; minus infinity where ``rest`` is."""
    found = np.empty(len(rest))
    _add_distances(found, np.asarray(squared, dtype=np.float64), rest, before, strength)
    return found


@_compiled
def _add_distances(found: Any, squared: Any, rest: Any, before: float, strength: float) -> None:
    for i in range(found.shape[0]):
        if rest[i] == -np.inf:
            found[i] = rest[i]
        else:
            gain = rest[i] + strength * np.log(max(before + squared[i], FLOOR))
            found[i] = np.round(gain * GRID) / GRID


@_compiled
def _least_bounds(best: float, rest: Any, before: float, strength: float, margin: float) -> Any:
    """The bound that a candidate must have if its gain is to reach ``best``, a little too low for rounding."""
    found = np.zeros(rest.shape[0], np.float32)
    for i in range(rest.shape[0]):
        if best > -np.inf:
            needed = np.exp((best - 4 / GRID - rest[i]) / strength)
            found[i] = max(0.0, (needed * (1 - 1e-9) - before) * (1 - 2 * margin) - 2 * TINY)
    return found
