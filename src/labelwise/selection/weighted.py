"""Greedy picks by the gain of two potentials, spread and weights: Lightly's CORAL, exactly and lazily.

A gain grows with a candidate's distance to what is selected. So its bound gives an upper bound of the gain, and only
candidates whose bound could still win are brought up to date (see ``nearest``).
"""

from __future__ import annotations

import numpy as np

from labelwise.selection import potentials
from labelwise.selection.farthest import Found
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, chunks

_BLOCK = 1024  # candidates that are kept up to date with every pick
_FIRST_STEP = 0.1  # how far below the best gain candidates are taken in, as a share of the best


class Selected:
    """What is selected so far: the sums of the two potentials, over ``points`` and their weights."""

    def __init__(self, room: int, width: int, diversity: float, weight: float, margin: float) -> None:
        self.points: Vectors = np.empty((room, width), np.float32)
        self.squared: Doubles = np.full(room, np.inf)  # of each to its nearest other
        self.count, self.weights = 0, 0.0
        self.diversity, self.weight, self.margin = diversity, weight, margin

    def add(self, points: Vectors, weights: Doubles) -> None:
        """Select these points, one after the other."""
        for point, weight in zip(points, weights, strict=True):
            self.points[self.count] = point
            potentials.join(self.points, self.squared, self.count, self.margin)
            self.count += 1
            self.weights += float(weight)

    @property
    def terms(self) -> tuple[float, float, float, float]:
        """Sum of squared distances, sum of weights, and the strengths of both."""
        distances = float(self.squared[: self.count].sum()) if self.count > 1 else 0.0
        return distances, self.weights, self.diversity, self.weight


def coral_picks(
    bounds: Bounds, weights: Doubles, selected: Selected, n: int, least: float = 0.0
) -> tuple[Found, Doubles]:
    """The next n picks, or fewer if the next one is nearer than ``least``, and the two sums before each, ``(n, 2)``.

    Something must be selected, and n candidates must not be picked.
    """
    positions, squared, nearest = np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)
    sums = np.empty((n, 2))
    bounds.begin()
    block = _Block(bounds, weights)
    for i in range(n):
        terms = selected.terms
        block.fill(terms)
        best = block.best(terms)
        if np.sqrt(block.value[best]) < least:
            n = i
            break
        positions[i], squared[i], nearest[i] = block.positions[best], block.value[best], block.near[best]
        sums[i] = terms[:2]
        selected.add(block.points[best][None], weights[positions[i] : positions[i] + 1])
        block.pick(best)
    return (positions[:n], squared[:n], nearest[:n]), sums[:n]


def shares(gains: Doubles) -> Doubles:
    """Each term's share in the gain of each pick: ``(n, t)`` gains of the logarithms, to shares that sum to 1.

    A term whose sum was 0 before gains without bound and takes all; one that a pick works against has no share. NaN
    where nothing gains.
    """
    endless = np.isinf(gains) & (gains > 0)
    parts = np.where(endless.any(axis=1, keepdims=True), endless, np.maximum(gains, 0))
    total = parts.sum(axis=1, keepdims=True)
    found: Doubles = np.divide(parts, total, out=np.full(parts.shape, np.nan), where=total > 0)
    return found


def grown(strength: float, before: Doubles, more: Doubles) -> Doubles:
    """``strength * log((before + more) / before)``; infinite where there was nothing before, 0 where nothing comes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(more > 0, strength * np.log1p(more / before), 0.0) if strength else 0.0 * more)


class _Block:
    """The candidates that are up to date; all others surely gain less than the best of them."""

    def __init__(self, bounds: Bounds, weights: Doubles) -> None:
        self.bounds, self.weights, self.step = bounds, weights, _FIRST_STEP
        self.outside = np.ones(len(weights), np.bool_)
        self._hold(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))

    def _hold(self, positions: Rows, value: Doubles, near: Rows) -> None:
        self.positions, self.value, self.near = positions, value, near
        self.points = self.bounds.gather(self.bounds.candidates[positions])

    def best(self, terms: tuple[float, float, float, float]) -> int:
        """Where the highest gain is; of equal ones the lowest row."""
        gains = potentials.gains(self.value, self.weights[self.positions], *terms)
        return int(np.lexsort((self.positions, -gains))[0]) if len(gains) else -1

    def fill(self, terms: tuple[float, float, float, float]) -> None:
        """Take in every candidate that could gain as much as the best here, and some that could gain a little less."""
        best = self.best(terms)
        gain = -np.inf if best < 0 else self._gain(best, terms)
        found = self._over(gain, terms)
        if not len(found):
            return
        if best < 0:
            gain = self._first_gain(terms)
        limit = _lower(gain, self.step, terms)
        found = self._over(limit, terms)
        least = potentials.least_bounds(limit, self.weights[found], *terms, self.bounds.margin)
        self.bounds.refresh(found, least)
        found = found[self.bounds.seen[found] == self.bounds.count]
        self.step *= 1.5 if len(found) < _BLOCK // 8 else 1 / 1.5 if len(found) > _BLOCK // 2 else 1
        self.step = min(self.step, 0.5)
        self._take_in(found, terms)

    def _gain(self, place: int, terms: tuple[float, float, float, float]) -> float:
        one = slice(place, place + 1)
        return float(potentials.gains(self.value[one], self.weights[self.positions[one]], *terms)[0])

    def _first_gain(self, terms: tuple[float, float, float, float]) -> float:
        """What some candidate surely gains: the exact gain of those with the highest bounds of it."""
        left = np.flatnonzero(self.bounds.bound >= 0)
        gains = potentials.gains(self.bounds.bound[left].astype(np.float64), self.weights[left], *terms)
        some = left[np.argsort(-gains, kind="stable")[: _BLOCK // 4]]
        self.bounds.refresh(some, np.zeros(len(some), np.float32))
        return float(potentials.gains(self.bounds.exact(some), self.weights[some], *terms).max())

    def _over(self, gain: float, terms: tuple[float, float, float, float]) -> Rows:
        bounds = self.bounds
        found: Rows = potentials.over(gain, bounds.bound, self.outside, self.weights, *terms, bounds.margin)
        return found

    def _take_in(self, found: Rows, terms: tuple[float, float, float, float]) -> None:
        value = self.bounds.exact(found)
        self.outside[found] = False
        positions = np.concatenate([self.positions, found])
        value = np.concatenate([self.value, value])
        near = np.concatenate([self.near, self.bounds.near[found]])
        if len(positions) > 2 * _BLOCK:
            gains = potentials.gains(value, self.weights[positions], *terms)
            order = np.lexsort((positions, -gains))
            gone = order[_BLOCK:]
            self.bounds.put(positions[gone], value[gone], near[gone], self.bounds.count)
            self.outside[positions[gone]] = True
            positions, value, near = positions[order[:_BLOCK]], value[order[:_BLOCK]], near[order[:_BLOCK]]
        self._hold(positions, value, near)

    def pick(self, place: int) -> None:
        """Make this candidate a centre and take it out; the others here come up to date with it."""
        number = self.bounds.count
        self.bounds.take(self.positions[place : place + 1])
        potentials.approach(self.points, self.value, self.near, self.points[place], number, self.bounds.margin)
        last = len(self.positions) - 1
        for array in (self.positions, self.value, self.near, self.points):
            array[place] = array[last]
        self.positions, self.value = self.positions[:last], self.value[:last]
        self.near, self.points = self.near[:last], self.points[:last]


def _lower(gain: float, step: float, terms: tuple[float, float, float, float]) -> float:
    """A gain below the given one by a share of what it has more than a candidate without distance and weight."""
    nothing = float(potentials.gains(np.zeros(1), np.zeros(1), *terms)[0])
    return gain - step * (gain - nothing) if np.isfinite(nothing) and np.isfinite(gain) else gain


def selected_from(
    vectors: Array, rows: Rows, weights: Doubles, room: int, strengths: tuple[float, float], bounds: Bounds
) -> Selected:
    """What is selected before the first pick."""
    selected = Selected(len(rows) + room, vectors.shape[1], *strengths, bounds.margin)
    for part in chunks(len(rows), bounds.step):
        selected.add(bounds.gather(rows[part]), weights[part])
    return selected
