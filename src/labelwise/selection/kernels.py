"""Compiled inner loops of the selections by distance: float32 work that may be rounded, float64 where it decides.

Squared distances are sums of squared differences, never ``|x|^2 + |y|^2 - 2xy``: their relative error in float32 is at
most ``slack(d)`` in whatever order the terms are added, however long the vectors are, and equal vectors are at 0.
Float64 sums have one fixed order and no fused operations, so that picks do not depend on the processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

TINY = 1e-30  # what may be lost where squares leave float32's range of normal numbers
NONE, SEVERAL = -1, -2  # of the second-nearest centre: no centre is as near as rounding can tell; more than one is
TILE = 16  # centres that a chunk of points is compared with before points are dropped
_CHUNK = 64  # points that stay in the second-level cache while centres pass

# terms may be added in any order and fused; infinities and NaN keep their meaning
_any_order = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, inline="never")
_compiled = njit(cache=True, nogil=True)


def slack(width: int) -> float:
    """Most relative error of a squared distance of ``width`` terms in float32 (Higham 2002, section 3.1), doubled."""
    return 2 * (width + 4) * 2.0**-24


@_any_order
def _tile(p: Any, q: Any, r: Any, s: Any, a: Any, b: Any, c: Any, d: Any, out: Any) -> None:
    """Squared distances of four points to four centres into ``out`` ``(4, 4)``: sixteen sums in registers."""
    zero = np.float32(0)
    pa, pb, pc, pd, qa, qb, qc, qd = zero, zero, zero, zero, zero, zero, zero, zero
    ra, rb, rc, rd, sa, sb, sc, sd = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(p.shape[0]):
        pk, qk, rk, sk, ak, bk, ck, dk = p[k], q[k], r[k], s[k], a[k], b[k], c[k], d[k]
        pa += (pk - ak) * (pk - ak)
        pb += (pk - bk) * (pk - bk)
        pc += (pk - ck) * (pk - ck)
        pd += (pk - dk) * (pk - dk)
        qa += (qk - ak) * (qk - ak)
        qb += (qk - bk) * (qk - bk)
        qc += (qk - ck) * (qk - ck)
        qd += (qk - dk) * (qk - dk)
        ra += (rk - ak) * (rk - ak)
        rb += (rk - bk) * (rk - bk)
        rc += (rk - ck) * (rk - ck)
        rd += (rk - dk) * (rk - dk)
        sa += (sk - ak) * (sk - ak)
        sb += (sk - bk) * (sk - bk)
        sc += (sk - ck) * (sk - ck)
        sd += (sk - dk) * (sk - dk)
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = pa, pb, pc, pd
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = qa, qb, qc, qd
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = ra, rb, rc, rd
    out[3, 0], out[3, 1], out[3, 2], out[3, 3] = sa, sb, sc, sd


@_any_order
def _rounded(x: Any, y: Any) -> Any:
    """Squared distance in float32, within ``slack``."""
    total = np.float32(0)
    for k in range(x.shape[0]):
        total += (x[k] - y[k]) * (x[k] - y[k])
    return total


@_compiled
def exact(x: Any, y: Any) -> Any:
    """Squared distance of two float32 vectors in float64: eight sums in a fixed order."""
    a = b = c = d = e = f = g = h = 0.0
    whole = x.shape[0] // 8 * 8
    for k in range(0, whole, 8):
        a += (np.float64(x[k]) - y[k]) ** 2
        b += (np.float64(x[k + 1]) - y[k + 1]) ** 2
        c += (np.float64(x[k + 2]) - y[k + 2]) ** 2
        d += (np.float64(x[k + 3]) - y[k + 3]) ** 2
        e += (np.float64(x[k + 4]) - y[k + 4]) ** 2
        f += (np.float64(x[k + 5]) - y[k + 5]) ** 2
        g += (np.float64(x[k + 6]) - y[k + 6]) ** 2
        h += (np.float64(x[k + 7]) - y[k + 7]) ** 2
    for k in range(whole, x.shape[0]):
        a += (np.float64(x[k]) - y[k]) ** 2
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@_any_order
def _squared_length(x: Any) -> Any:
    total = np.float32(0)
    for k in range(x.shape[0]):
        total += x[k] * x[k]
    return total


@_compiled
def squared_lengths(vectors: Any, rows: Any, out: Any) -> None:
    """Squared length of each of these rows."""
    for i in range(rows.shape[0]):
        out[i] = _squared_length(vectors[rows[i]])


@_compiled
def add_up(vectors: Any, rows: Any, total: Any) -> None:
    """Add these rows to ``total`` ``(d,)``, in their order."""
    for i in rows:
        for k in range(total.shape[0]):
            total[k] += vectors[i, k]


@_compiled
def distances_to(point: Any, vectors: Any, rows: Any, value: Any) -> None:
    """Exact squared distances of these rows to one point."""
    for i in range(rows.shape[0]):
        value[i] = exact(vectors[rows[i]], point)


@_compiled
def refresh(
    vectors: Any, rows: Any, bound: Any, seen: Any, near: Any, second: Any, limit: Any, centres: Any, first: int,
    margin: float,
) -> None:  # fmt: skip
    """Compare points with the centres they have not seen, dropping each as soon as its bound is below its limit.

    The points are ``rows`` ``(b,)`` of ``vectors``; these and ``centres`` ``(g, d)`` are float32, and centre ``j`` has
    the number ``first + j``. Of each point: ``bound`` its least squared distance so far (float32), ``seen`` how many
    centres went into it, ``near`` the nearest one's number, ``second`` another one's that is as near as rounding can
    tell (or NONE, SEVERAL).
    """
    out, waiting = np.empty((4, 4), np.float32), np.empty(_CHUNK, np.int64)
    count = centres.shape[0]
    for start in range(0, rows.shape[0], _CHUNK):
        stop = min(start + _CHUNK, rows.shape[0])
        for begin in range(0, count, TILE):
            end = min(begin + TILE, count)
            n = 0
            for i in range(start, stop):
                if bound[i] >= limit[i] and seen[i] < first + end:
                    waiting[n] = i
                    n += 1
            for u in range(0, n, 4):
                i0, i1 = waiting[u], waiting[min(u + 1, n - 1)]
                i2, i3 = waiting[min(u + 2, n - 1)], waiting[min(u + 3, n - 1)]
                for j in range(begin, end, 4):
                    j1, j2, j3 = min(j + 1, end - 1), min(j + 2, end - 1), min(j + 3, end - 1)
                    _tile(
                        vectors[rows[i0]], vectors[rows[i1]], vectors[rows[i2]], vectors[rows[i3]],
                        centres[j], centres[j1], centres[j2], centres[j3], out,
                    )  # fmt: skip
                    for v in range(min(4, n - u)):
                        i = waiting[u + v]
                        for w in range(min(4, end - j)):
                            # a bound must not meet a centre twice: it would tie with itself
                            if first + j + w >= seen[i] and not out[v, w] > bound[i] * (1 + margin):
                                _meet(i, out[v, w], first + j + w, bound, near, second, margin)
            for u in range(n):
                seen[waiting[u]] = first + end


@_compiled
def _meet(i: int, squared: Any, number: int, bound: Any, near: Any, second: Any, margin: float) -> None:
    """A centre that is nearer than all before, or as near as rounding can tell."""
    if near[i] < 0 or squared < bound[i] * (1 - margin):
        bound[i], near[i], second[i] = squared, number, NONE
    elif not (bound[i] == 0 and squared == 0):  # the first of equal vectors stays the nearest
        second[i] = (near[i] if squared < bound[i] else number) if second[i] == NONE else SEVERAL
        if squared < bound[i]:
            bound[i], near[i] = squared, number


@_compiled
def pick_block(
    points: Any, rows: Any, value: Any, near: Any, seen: Any, first: int, floor: float, floor_row: int,
    picked: Any, distance: Any, nearest: Any, margin: float,
) -> int:  # fmt: skip
    """Farthest first within a block while its best surely beats every point outside it; returns how many were picked.

    ``points`` ``(b, d)`` float32, ``value`` their exact squared distance to the centres so far; outside, no value is
    above ``floor``, and where it equals ``floor`` the row is not below ``floor_row``. Positions in the block go to
    ``picked``, the exact squared ``distance`` and the number of the ``nearest`` centre beside them. A picked point's
    value becomes -1; a point that falls under the floor is left with what it has ``seen``.
    """
    alive, n, done = np.arange(points.shape[0]), points.shape[0], 0
    while done < picked.shape[0] and n:
        best = alive[0]
        for u in range(1, n):
            i = alive[u]
            if value[i] > value[best] or (value[i] == value[best] and rows[i] < rows[best]):
                best = i
        if not (value[best] > floor or (value[best] == floor and rows[best] < floor_row)):
            break
        picked[done], distance[done], nearest[done] = best, value[best], near[best]
        value[best] = -1
        keep = 0
        for u in range(n):
            i = alive[u]
            if value[i] < 0:
                continue
            seen[i] = first + done + 1
            if value[i] > 0 and not _rounded(points[i], points[best]) > value[i] * (1 + margin) + TINY:
                squared = exact(points[i], points[best])
                if squared < value[i]:
                    value[i], near[i] = squared, first + done
            if value[i] >= floor:
                alive[keep] = i
                keep += 1
        n = keep
        done += 1
    return done


@_compiled
def settle(points: Any, bound: Any, near: Any, second: Any, centres: Any, others: Any, value: Any) -> None:
    """Exact squared distance to the nearest centre: ``centres[i]`` is the nearest by bound, ``others[i]`` the second.

    Where several are as near as rounding can tell, ``value`` becomes NaN: all centres must be looked at.
    """
    for i in range(points.shape[0]):
        if near[i] < 0:
            value[i] = np.inf
            continue
        value[i] = exact(points[i], centres[i])
        if value[i] == 0 or second[i] == NONE:
            continue
        if second[i] == SEVERAL or bound[i] < TINY:
            value[i] = np.nan
            continue
        squared = exact(points[i], others[i])
        if squared < value[i] or (squared == value[i] and second[i] < near[i]):
            value[i], near[i] = squared, second[i]


@_compiled
def nearest_of(point: Any, centres: Any, first: int, value: float, near: int, margin: float) -> Any:
    """The least exact squared distance of one point to ``centres``, and whose it is; ``value``, ``near`` so far."""
    for j in range(centres.shape[0]):
        if not _rounded(point, centres[j]) > value * (1 + margin) + TINY:
            squared = exact(point, centres[j])
            if squared < value:
                value, near = squared, first + j
    return value, near


@_compiled
def too_near(points: Any, distance: float, margin: float) -> Any:
    """Which points are nearer than ``distance`` to one before them that is not; ``points`` ``(b, d)`` float32."""
    found = np.zeros(points.shape[0], np.bool_)
    for i in range(points.shape[0]):
        for j in range(i):
            if found[j] or _rounded(points[i], points[j]) > distance * distance * (1 + 2 * margin) + TINY:
                continue
            if np.sqrt(exact(points[i], points[j])) < distance:
                found[i] = True
                break
    return found
