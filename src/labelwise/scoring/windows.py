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
    classes: Any,
    doubts: Any,
    kind: int,
    present: int,
    number: int,
    radius: int,
    small: float,
    first: int,
    stop: int,
    out: Any,
) -> None:
    """Scores of the rows from ``first`` to ``stop`` into ``out`` ``(h, w)`` float32.

    ``classes`` ``(h, w)`` holds integers below ``present``, up to ``number``, which is at least 2; ``doubts``
    ``(h, w)`` float32 from 0 to 1. Impurity is a share of log(``number``). A doubt that is not finite shows at its own
    pixel.
    """
    height, width = classes.shape
    full = (2 * radius + 1) ** 2
    if radius == 1:
        table = _mixtures(np.array([term(m, full, small) for m in range(full + 1)]))
    else:
        table = np.array([m * math.log(max(m, 1)) for m in range(full + 1)])
    marks = np.empty(width, np.uint16)
    impurity = np.empty(width)
    # beside the map lie columns of nothing: every window has one that enters it and one that leaves
    columns = np.zeros((width + 2 * radius + 1, present if radius != 1 else 0), np.uint32)
    sums, prefix = np.zeros(width), np.zeros(width + 1)
    for y in range(first, stop):
        low, high = max(0, y - radius), min(height, y + radius + 1)
        # the first row takes in its whole window, each further one what enters and leaves
        for row in range(low if y == first else high - 1, high):
            if y == first or y + radius < height:
                _enter(classes[row], doubts[row], 1, radius + 1, columns, sums)
        if y > first and y - radius - 1 >= 0:
            _enter(classes[y - radius - 1], doubts[y - radius - 1], -1, radius + 1, columns, sums)
        if radius == 1:
            _three_by_three(classes, y, table, small, marks, impurity)
        else:
            _slide(columns, high - low, radius, table, small, impurity)
        _multiply(impurity, doubts[y], kind, number, high - low, radius, sums, prefix, out[y])


@compiled
def _enter(classes: Any, doubts: Any, sign: int, at: int, columns: Any, sums: Any) -> None:
    """Add a row to (sign 1) or take it from (sign -1) the columns' counts of classes, from the column ``at`` on, and
    the sums of doubts."""
    for x in range(sums.shape[0]):
        doubt = np.floor(np.float64(doubts[x]) * GRID + 0.5)
        sums[x] += sign * (doubt if abs(doubt) < np.inf else 0.0)
    if columns.shape[1]:
        for x in range(sums.shape[0]):
            columns[at + x, classes[x]] += sign


@compiled
def _mixtures(table: Any) -> Any:
    """The entropy of nine pixels' classes by their mark, the sum of m^2 (m + 1) over the classes' members m.

    No two ways to write 9 as a sum have the same mark.
    """
    found, parts = np.zeros(9 * 9 * 10 + 1), np.empty(9, np.int64)
    # All partitions of 9, each with its parts in falling order: the next one takes 1 from the last part above 1.
    parts[0], n = 9, 1
    while True:
        mark, total = 0, 0.0
        for i in range(n):
            mark += parts[i] * parts[i] * (parts[i] + 1)
            total += table[parts[i]]
        found[mark] = total
        last, rest = n - 1, 1
        while last >= 0 and parts[last] == 1:
            last -= 1
            rest += 1
        if last < 0:
            return found
        parts[last] -= 1
        n = last + 1
        while rest > 0:
            parts[n] = min(rest, parts[last])
            rest -= parts[n]
            n += 1


@compiled
def _three_by_three(classes: Any, y: int, mixtures: Any, small: float, marks: Any, impurity: Any) -> None:
    """Entropy of the classes in the windows of row y, radius 1."""
    height, width = classes.shape
    inner = 0 < y < height - 1
    if inner:
        _mark(classes[y - 1], classes[y], classes[y + 1], marks)
        for x in range(1, width - 1):
            impurity[x] = mixtures[marks[x]]
    for x in range(width):
        if not inner or x == 0 or x == width - 1:
            impurity[x] = _clipped(classes[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2], small)


@compiled
def _clipped(window: Any, small: float) -> float:
    """Entropy of the classes in a window of at most nine pixels."""
    found, members = np.empty(9, np.int64), np.empty(9, np.int64)
    n = 0
    for v in range(window.shape[0]):
        for u in range(window.shape[1]):
            value = np.int64(window[v, u])
            i = 0
            while i < n and found[i] != value:
                i += 1
            if i == n:
                found[n], members[n] = value, 0
                n += 1
            members[i] += 1
    total = 0.0
    for i in range(n):
        total += term(members[i], window.size, small)
    return total


@compiled
def _mark(above: Any, here: Any, below: Any, marks: Any) -> None:
    """For each pixel but the first and the last the sum of m (m + 1) over its nine, m as many as have their class.

    A class with m members gives m of these: the mark of ``_mixtures``. Written out, for then compilers look at 16 or
    more pixels at once.
    """
    for x in range(1, here.shape[0] - 1):
        a, b, c = above[x - 1], above[x], above[x + 1]
        d, e, f = here[x - 1], here[x], here[x + 1]
        g, h, i = below[x - 1], below[x], below[x + 1]
        ab, ac, ad, ae, af, ag, ah, ai = a == b, a == c, a == d, a == e, a == f, a == g, a == h, a == i
        bc, bd, be, bf, bg, bh, bi = b == c, b == d, b == e, b == f, b == g, b == h, b == i
        cd, ce, cf, cg, ch, ci = c == d, c == e, c == f, c == g, c == h, c == i
        de, df, dg, dh, di = d == e, d == f, d == g, d == h, d == i
        ef, eg, eh, ei = e == f, e == g, e == h, e == i
        fg, fh, fi, gh, gi, hi = f == g, f == h, f == i, g == h, g == i, h == i
        of_a, of_b = 1 + ab + ac + ad + ae + af + ag + ah + ai, 1 + ab + bc + bd + be + bf + bg + bh + bi
        of_c, of_d = 1 + ac + bc + cd + ce + cf + cg + ch + ci, 1 + ad + bd + cd + de + df + dg + dh + di
        of_e, of_f = 1 + ae + be + ce + de + ef + eg + eh + ei, 1 + af + bf + cf + df + ef + fg + fh + fi
        of_g, of_h = 1 + ag + bg + cg + dg + eg + fg + gh + gi, 1 + ah + bh + ch + dh + eh + fh + gh + hi
        of_i = 1 + ai + bi + ci + di + ei + fi + gi + hi
        corners = of_a * (of_a + 1) + of_c * (of_c + 1) + of_g * (of_g + 1) + of_i * (of_i + 1)
        edges = of_b * (of_b + 1) + of_d * (of_d + 1) + of_f * (of_f + 1) + of_h * (of_h + 1)
        marks[x] = corners + edges + of_e * (of_e + 1)


@compiled
def _slide(columns: Any, rows: int, radius: int, table: Any, small: float, impurity: Any) -> None:
    """Entropy of the classes in the windows of one row, from the classes that its ``rows`` hold in each column.

    With m of a window's n pixels in a class it is log n - sum(m log m) / n, less ``small`` for each class that occurs:
    -q log(q + small) = -q log q - small, up to small^2 / 2q. ``table`` has m log m.
    """
    number, width = columns.shape[1], impurity.shape[0]
    counts = np.zeros(number, np.uint32)  # an index without sign need not be looked at first
    for column in columns[radius : 2 * radius + 1]:
        for c in range(number):
            counts[c] += column[c]
    size, most = 0, 0.0
    for x in range(width):
        entering, leaving = columns[x + 2 * radius + 1], columns[x]
        found = 0
        for c in range(number):
            counts[c] += entering[c] - leaving[c]
            found += counts[c] > 0
        total = 0.0
        for c in range(number):
            total += table[counts[c]]
        wide = min(width, x + radius + 1) - max(0, x - radius)
        if size != rows * wide:
            size = rows * wide
            most = math.log(size)
        impurity[x] = most - total / size - small * found


@compiled
def _multiply(
    impurity: Any, doubts: Any, kind: int, number: int, rows: int, radius: int, sums: Any, prefix: Any, out: Any
) -> None:
    """The row's impurities as shares of log C, times what ``kind`` says, into ``out`` ``(w,)``."""
    width, most = impurity.shape[0], math.log(number)
    if kind == MEAN:
        for x in range(width):
            prefix[x + 1] = prefix[x] + sums[x]
        size = rows * min(width, 2 * radius + 1)
        for x in range(radius, width - radius):
            impurity[x] *= (prefix[x + radius + 1] - prefix[x - radius]) / (GRID * size)
        for x in range(width):
            if x < radius or x >= width - radius:
                left, right = max(0, x - radius), min(width, x + radius + 1)
                impurity[x] *= (prefix[right] - prefix[left]) / (GRID * (rows * (right - left)))
    elif kind == OWN:
        for x in range(width):
            impurity[x] *= doubts[x]
    for x in range(width):
        trace = doubts[x] - doubts[x]  # 0, or NaN where the doubt is not finite
        # the small term makes one class a little less than 0
        out[x] = np.float32(max(impurity[x] / most, 0.0)) + trace
