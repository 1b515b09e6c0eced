"""Choice of regions in one image: greedily the best window, and none near it, as RIPU does, without its steps."""

from __future__ import annotations

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection import map_kernels
from labelwise.selection.picks import Array, Rows
from labelwise.selection.places import Places, check_number, ranked, read_map


def choose_regions(
    n: int,
    scores: Array,
    *,
    radius: int = 1,
    apart: int | None = None,
    free: Array | None = None,
    before: Array | None = None,
    budget: int | None = None,
    name: str | None = None,
) -> Places:
    """The n best windows of one image: always the best-scored pixel left, with no further centre near it.

    ``scores`` is ``(h, w)``, higher = more wanted; ``free`` ``(h, w)`` bool marks the valid, unlabelled pixels (None:
    all), of which centres are. A window has 2 ``radius`` + 1 pixels to a side and is clipped at the border. Two centres
    differ by more than ``apart`` pixels in x or in y: 2 ``radius`` by default, so that windows do not overlap.
    ``before`` ``(m, 2)`` are centres of earlier rounds, x before y, which keep their distance too. Ties go to the pixel
    that comes first, row by row. ``budget`` in pixels ends the choice before the first region that would add more
    valid unlabelled pixels than are left of it. Returns the centres, best first, fewer than n if there is no room;
    ``pixels`` are the valid unlabelled pixels each window adds. Raises SelectionError, naming the image, if a free
    pixel's score is not finite.
    RIPU (Xie et al. 2022), algorithm of the published code: RA is ``radius`` 1, PA ``radius`` 0 with ``apart`` 32. The
    picks are those of its loop of one arg max per region, found by going through the best pixels in order.
    """
    given, n = read_map(scores, free, name), check_number(n, "regions")
    apart = 2 * radius if apart is None else apart
    if radius < 0 or apart < 0:
        raise SelectionError(f"expected a radius and a distance of 0 or more, but found {radius} and {apart}")
    height, width = given.scores.shape
    radius, apart = min(radius, max(height, width)), min(apart, max(height, width))
    left, blocked = given.free.copy(), np.zeros((height, width), np.bool_)
    for x, y in np.zeros((0, 2), np.int64) if before is None else np.asarray(before, np.int64):
        map_kernels.block(blocked, int(x), int(y), apart)
    total = int(np.count_nonzero(left & ~blocked))
    n = min(n, total)
    chosen, pixels = np.empty(n, np.int64), np.empty(n, np.int64)
    rest = given.free.size if budget is None else check_number(budget, "pixels")
    flat, ceiling, rank, count = given.scores.reshape(-1), np.inf, 8 * n, 0
    while count < n:
        # band after band of scores, from the top: what is below a band cannot precede what is in it
        floor = given.guess(rank)
        floor = floor if floor < ceiling else -np.inf
        band = given.between(floor, ceiling, 2 * rank)
        count, rest, full = map_kernels.take_apart(
            ranked(flat[band], band), left, blocked, radius, apart, rest, count, chosen, pixels
        )
        if full or floor == -np.inf:
            break
        ceiling, rank = floor, 4 * rank
    chosen, pixels = chosen[:count], pixels[:count]
    points: Rows = np.stack([chosen % width, chosen // width], axis=1)
    return Places(points, flat[chosen].astype(np.float64), pixels)


def within(pixels: Array, budget: int) -> int:
    """How many regions, taken in order, fit into a budget of pixels: the choice ends before the first that does not."""
    return int(np.searchsorted(np.cumsum(pixels), budget, side="right"))
