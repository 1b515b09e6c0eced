"""Compiled loops over square windows of a map: entropy of the classes within, times a mean over the window.

A window is clipped at the map's border. Sums over a window are exact: counts are integers, and other numbers are first
rounded to multiples of 2^-30. So equal windows have equal scores wherever they lie, however the sums were carried on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from labelwise.scoring.vector_math import compiled

ALONE, OWN, MEAN = 0, 1, 2  # impurity times nothing, the pixel's own doubt, or the window's mean doubt
GRID = 2.0**30


@compiled
def term(members: int, size: int, small: float) -> float:
    """What a class with ``members`` of a window's ``size`` pixels adds to its entropy: -q log(q + small), in nats."""
    share = members / size
    return -share * math.log(share + small)


@compiled
def window_scores(
    classes: Any, doubts: Any, kind: int, number: int, radius: int, small: float, first: int, stop: int, out: Any
) -> None:
    """Scores of the rows from ``first`` to ``stop`` into ``out`` ``(h, w)`` float32.

    ``classes`` ``(h, w)`` holds integers below ``number``, at least 2; ``doubts`` ``(h, w)`` float32 from 0 to 1.
    Impurity is a share of log(``number``). A doubt that is not finite shows at its own pixel.
    """
    height, width = classes.shape
    full = (2 * radius + 1) ** 2
    table = np.array([term(m, full, small) for m in range(full + 1)])
    impurity = np.empty(width)
    columns = np.zeros((width, number if radius != 1 else 0), np.int32)
    sums, prefix = np.zeros(width), np.zeros(width + 1)
    for y in range(first, stop):
        low, high = max(0, y - radius), min(height, y + radius + 1)
        # the first row takes in its whole window, each further one what enters and leaves
        for row in range(low if y == first else high - 1, high):
            if y == first or y + radius < height:
                _enter(classes[row], doubts[row], 1, columns, sums)
        if y > first and y - radius - 1 >= 0:
            _enter(classes[y - radius - 1], doubts[y - radius - 1], -1, columns, sums)
        if radius == 1:
            _three_by_three(classes, y, table, small, impurity)
        else:
            _slide(columns, high - low, radius, table, small, impurity)
        _multiply(impurity, doubts[y], kind, number, high - low, radius, sums, prefix, out[y])


@compiled
def _enter(classes: Any, doubts: Any, sign: int, columns: Any, sums: Any) -> None:
    """Add a row to (sign 1) or take it from (sign -1) the columns' counts of classes and sums of doubts."""
    for x in range(sums.shape[0]):
        doubt = np.floor(np.float64(doubts[x]) * GRID + 0.5)
        sums[x] += sign * (doubt if abs(doubt) < np.inf else 0.0)
    if columns.shape[1]:
        for x in range(sums.shape[0]):
            columns[x, classes[x]] += sign


@compiled
def _three_by_three(classes: Any, y: int, table: Any, small: float, impurity: Any) -> None:
    """Entropy of the classes in the windows of row y, radius 1: most windows hold one class and are seen at once."""
    height, width = classes.shape
    above, here, below = classes[max(0, y - 1)], classes[y], classes[min(height - 1, y + 1)]
    same, one = np.empty(width, np.bool_), np.empty(width, np.bool_)
    for x in range(width):
        same[x] = (above[x] == here[x]) & (below[x] == here[x])
    one[0], one[width - 1] = same[0], same[width - 1]  # a column that is not there is the same
    for x in range(1, width):
        one[x] = same[x] & same[x - 1] & (here[x] == here[x - 1])
    for x in range(width - 1):
        one[x] &= same[x + 1] & (here[x] == here[x + 1])
    low, high = max(0, y - 1), min(height, y + 2)
    found, members = np.empty(9, np.int64), np.empty(9, np.int64)
    for x in range(width):
        left, right = max(0, x - 1), min(width, x + 2)
        size = (high - low) * (right - left)
        if one[x]:
            impurity[x] = table[9] if size == 9 else term(size, size, small)
            continue
        n = 0
        for v in range(low, high):
            for u in range(left, right):
                value = np.int64(classes[v, u])
                i = 0
                while i < n and found[i] != value:
                    i += 1
                if i == n:
                    found[n], members[n] = value, 0
                    n += 1
                members[i] += 1
        total = 0.0
        for i in range(n):
            total += table[members[i]] if size == 9 else term(members[i], size, small)
        impurity[x] = total


@compiled
def _slide(columns: Any, rows: int, radius: int, table: Any, small: float, impurity: Any) -> None:
    """Entropy of the classes in the windows of one row, from the classes that its ``rows`` hold in each column."""
    width, number = columns.shape
    counts = np.zeros(number, np.int32)
    for x in range(min(radius, width)):
        for c in range(number):
            counts[c] += columns[x, c]
    for x in range(width):
        if x + radius < width:
            entering = columns[x + radius]
            for c in range(number):
                counts[c] += entering[c]
        if x - radius - 1 >= 0:
            leaving = columns[x - radius - 1]
            for c in range(number):
                counts[c] -= leaving[c]
        size = rows * (min(width, x + radius + 1) - max(0, x - radius))
        total = 0.0
        if size == table.shape[0] - 1:
            for c in range(number):
                total += table[counts[c]]
        else:
            for c in range(number):
                if counts[c]:
                    total += term(counts[c], size, small)
        impurity[x] = total


@compiled
def _multiply(
    impurity: Any, doubts: Any, kind: int, number: int, rows: int, radius: int, sums: Any, prefix: Any, out: Any
) -> None:
    """The row's impurities as shares of log C, times what ``kind`` says, into ``out`` ``(w,)``."""
    width, most = impurity.shape[0], math.log(number)
    if kind == MEAN:
        for x in range(width):
            prefix[x + 1] = prefix[x] + sums[x]
    for x in range(width):
        value = impurity[x] / most
        if kind == MEAN:
            left, right = max(0, x - radius), min(width, x + radius + 1)
            value *= (prefix[right] - prefix[left]) / (GRID * (rows * (right - left)))
        elif kind == OWN:
            value *= doubts[x]
        trace = doubts[x] - doubts[x]  # 0, or NaN where the doubt is not finite
        out[x] = np.float32(max(value, 0.0)) + trace  # the small term makes one class a little less than 0
