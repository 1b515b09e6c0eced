"""Farthest-first picks over bounds: a block of the farthest candidates, filled again when it is used up."""

from __future__ import annotations

import numpy as np

from labelwise.selection import kernels
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Doubles, Rows

_BLOCK = 512  # points that picks are made among without a look at the others
_SMALL = 1e-25  # squared distances at which float32 tells nothing any more
FIRST_STEP = 0.02  # how far the limit is lowered at first, as a share of the largest bound

Found = tuple[Rows, Doubles, Rows]  # positions, squared distances, numbers of the nearest centres


def farthest(bounds: Bounds, n: int, least: float = 0.0) -> Found:
    """The next n picks, or fewer if the next one is nearer than ``least``; there must be a centre, and n candidates
    that are not picked."""
    positions, squared, nearest = np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)
    done, step = 0, FIRST_STEP
    bounds.begin()
    while done < n:
        limit = next_limit(bounds, float(bounds.bound.max()), step)
        block = bounds.above(limit)
        step = next_step(step, len(block))
        if len(block):
            found = _from_block(bounds, block, limit, n - done)
            end = done + len(found[0])
            positions[done:end], squared[done:end], nearest[done:end] = found
            done = end
            if done and np.sqrt(squared[done - 1]) < least:  # distances only fall
                n = int(np.count_nonzero(np.sqrt(squared[:done]) >= least))
    return positions[:n], squared[:n], nearest[:n]


def next_limit(bounds: Bounds, largest: float, step: float) -> float:
    """Below the largest bound by a step, which is more than rounding; 0 where few are left."""
    few = np.count_nonzero(bounds.bound >= 0) <= _BLOCK
    if few or step >= 0.5 or not _SMALL < largest < np.inf:
        return 0.0
    return float(np.float32(largest * (1 - max(step, 4 * bounds.margin))))


def next_step(step: float, size: int, block: int = _BLOCK) -> float:
    """The step that should bring about a block's size of points next time."""
    if size < block // 2:
        return step * 1.5
    return step / 1.5 if size > 2 * block else step


def surely_farthest(bounds: Bounds, block: Rows, limit: float) -> tuple[Rows, Doubles, float, int]:
    """Of these candidates, which are up to date, some of the farthest with their exact squared distances.

    No other candidate is above the floor that is returned third; where one equals it, its row is not below the fourth.
    """
    floor, floor_row = bounds.ceiling(limit) if limit > 0 else -1.0, -1
    if len(block) > 2 * _BLOCK:
        # lower than the last of them by more than rounding, so that they are surely farther than those left out
        least = np.float32(np.partition(bounds.bound[block], -_BLOCK)[-_BLOCK] * (1 - 4 * bounds.margin))
        if _SMALL < least < np.inf:
            floor = bounds.ceiling(float(least))
            block = block[bounds.bound[block] >= least]
    value = bounds.exact(block)
    if len(block) > 2 * _BLOCK:  # so many at one distance: the lowest rows of the farthest, and what the next one is
        order = np.lexsort((block, -value))
        after = order[_BLOCK]
        if value[after] >= floor:
            floor, floor_row = float(value[after]), int(bounds.candidates[block[after]])
        block, value = block[order[:_BLOCK]], value[order[:_BLOCK]]
    return block, value, floor, floor_row


def _from_block(bounds: Bounds, block: Rows, limit: float, n: int) -> Found:
    """Picks among these candidates, which are up to date; all others are surely below ``ceiling(limit)``."""
    block, value, floor, floor_row = surely_farthest(bounds, block, limit)
    points, rows = bounds.gather(bounds.candidates[block]), bounds.candidates[block]
    near, seen = bounds.near[block].astype(np.int64), np.full(len(block), bounds.count, np.int64)
    picked, squared, nearest = np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)
    done = kernels.pick_block(
        points, rows, value, near, seen, bounds.count, floor, floor_row, picked, squared, nearest, bounds.margin
    )
    bounds.put(block, value, near, seen)
    bounds.add(rows[picked[:done]])
    return block[picked[:done]], squared[:done], nearest[:done]
