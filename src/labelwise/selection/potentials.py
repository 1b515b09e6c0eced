"""Compiled gains of spread and weights, ``diversity * log(S_d + d^2) + weight * log(S_w + w)``; who could reach one.

With equal strengths the product of the two is compared instead: the same order, without logarithms. A strength of 0
leaves its term out; so does a potential that is 0 whatever is picked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from labelwise.selection.kernels import TINY, _rounded, exact

_compiled = njit(cache=True, nogil=True)


@_compiled
def _gain(squared: float, w: float, distances: float, weights: float, diversity: float, weight: float) -> float:
    if diversity == weight:
        return (distances + squared) * (weights + w)
    total = 0.0
    if diversity > 0:
        total += diversity * np.log(distances + squared)
    if weight > 0:
        total += weight * np.log(weights + w)
    return total


@_compiled
def gains(squared: Any, w: Any, distances: float, weights: float, diversity: float, weight: float) -> Any:
    """The gain of each candidate ``(b,)`` from its squared distance to what is selected, and its weight."""
    found = np.empty(squared.shape[0])
    for i in range(squared.shape[0]):
        found[i] = _gain(squared[i], w[i], distances, weights, diversity, weight)
    return found


@_compiled
def over(
    least: float, bound: Any, outside: Any, w: Any, distances: float, weights: float, diversity: float, weight: float,
    margin: float,
) -> Any:  # fmt: skip
    """Positions outside the block whose gain could be ``least`` or more by their bound, ascending."""
    found, n = np.empty(bound.shape[0], np.int64), 0
    for start in range(0, bound.shape[0], 256):
        stop = min(start + 256, bound.shape[0])
        if diversity == weight:
            some = 0
            for i in range(start, stop):  # without a branch: this loop runs over all candidates for every pick
                some |= (distances + bound[i] * (1 + margin) + TINY) * (weights + w[i]) >= least
            if not some:
                continue
        for i in range(start, stop):
            if outside[i] and bound[i] >= 0:
                squared = bound[i] * (1 + margin) + TINY
                if _gain(squared, w[i], distances, weights, diversity, weight) >= least:
                    found[n] = i
                    n += 1
    return found[:n].copy()


@_compiled
def least_bounds(
    least: float, w: Any, distances: float, weights: float, diversity: float, weight: float, margin: float
) -> Any:
    """The bound that each candidate must have if its gain is to reach ``least``, a little too low for rounding."""
    found = np.zeros(w.shape[0], np.float32)
    for i in range(w.shape[0]):
        if diversity == 0 or not weights + w[i] > 0 or not np.isfinite(least):
            continue
        if diversity == weight:
            needed = least / (weights + w[i])
        else:
            rest = weight * np.log(weights + w[i]) if weight > 0 else 0.0
            needed = np.exp((least - rest) / diversity)
        # the difference of two large sums: allow for what is lost in it
        squared = (needed * (1 - 1e-12) - distances) * (1 - 2 * margin) - 2 * TINY
        found[i] = max(0.0, squared)
    return found


@_compiled
def approach(points: Any, value: Any, near: Any, centre: Any, number: int, margin: float) -> None:
    """Bring exact squared distances ``value`` up to date with one more centre."""
    for i in range(points.shape[0]):
        if value[i] > 0 and not _rounded(points[i], centre) > value[i] * (1 + margin) + TINY:
            squared = exact(points[i], centre)
            if squared < value[i]:
                value[i], near[i] = squared, number


@_compiled
def join(points: Any, value: Any, number: int, margin: float) -> None:
    """Bring the exact squared distance of each selected point to its nearest other up to date with a further one."""
    for i in range(number):
        most = max(value[i], value[number])
        if not _rounded(points[i], points[number]) > most * (1 + margin) + TINY:
            squared = exact(points[i], points[number])
            value[i], value[number] = min(value[i], squared), min(value[number], squared)
