"""Compiled loops over the pixels of one map: those above a score, and the greedy choice of windows apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_compiled = njit(cache=True, nogil=True, error_model="numpy")
_BLOCK = 512


@_compiled
def between(scores: Any, free: Any, floor: Any, ceiling: Any, found: Any) -> int:
    """Positions of the ``free`` pixels with ``floor`` <= score < ``ceiling`` into ``found``, ascending.

    ``scores`` and ``free`` are ``(M,)``. Returns how many there are (what finds no room is only counted), or
    -1 - position of the first free pixel whose score is not finite.
    """
    n = 0
    for start in range(0, scores.shape[0], _BLOCK):
        part, allowed = scores[start : start + _BLOCK], free[start : start + _BLOCK]
        some, bad = False, False
        for j in range(part.shape[0]):
            value = part[j]
            some |= (value >= floor) & (value < ceiling) & allowed[j]
            bad |= (value - value != 0) & allowed[j]
        if bad:
            for j in range(part.shape[0]):
                if allowed[j] and not np.isfinite(part[j]):
                    return -1 - (start + j)
        if some:
            for j in range(part.shape[0]):
                if allowed[j] and part[j] >= floor and part[j] < ceiling:
                    if n < found.shape[0]:
                        found[n] = start + j
                    n += 1
    return n


@_compiled
def block(blocked: Any, x: int, y: int, apart: int) -> None:
    """Mark the pixels of ``blocked`` ``(h, w)`` that are at most ``apart`` from x, y in both directions."""
    height, width = blocked.shape
    for v in range(max(0, y - apart), min(height, y + apart + 1)):
        blocked[v, max(0, x - apart) : min(width, x + apart + 1)] = True


@_compiled
def take_apart(
    order: Any, left: Any, blocked: Any, radius: int, apart: int, budget: int, count: int, chosen: Any, pixels: Any
) -> Any:
    """Go through ``order`` (positions, best first) and take every pixel that is not blocked, with its window.

    ``left`` ``(h, w)`` are the pixels that can still be added; ``count`` are in ``chosen`` already. Returns how many
    are chosen now, what is left of the ``budget`` in pixels, and whether the next one would have gone beyond it.
    """
    height, width = left.shape
    for position in order:
        if count == chosen.shape[0]:
            break
        y, x = position // width, position % width
        if blocked[y, x] or not left[y, x]:
            continue
        top, bottom = max(0, y - radius), min(height, y + radius + 1)
        low, high = max(0, x - radius), min(width, x + radius + 1)
        size = 0
        for v in range(top, bottom):
            for u in range(low, high):
                size += left[v, u]
        if size > budget:
            return count, budget, True
        left[top:bottom, low:high] = False
        block(blocked, x, y, apart)
        chosen[count], pixels[count] = position, size
        budget -= size
        count += 1
    return count, budget, False
