"""Painted areas: masks from and to the run lengths of Label Studio's brush, and masks of its polygons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelwise.annotators.label_studio.library import brush_converter

Flags = NDArray[np.bool_]

_HALF = 128  # of the opacity 0 to 255: the edge of a brush is soft


def to_brush(mask: Flags) -> list[int]:
    """A mask ``(h, w)`` as the bytes that a brush result holds."""
    run_lengths: list[int] = brush_converter().mask2rle(mask.astype(np.uint8) * 255)
    return run_lengths


def from_brush(run_lengths: Sequence[int], size: tuple[int, int]) -> Flags:
    """What a brush painted in a picture of ``size`` (width, height): ``(h, w)``, where it is at least half opaque.

    Raises ValueError if these are no run lengths of such a picture.
    """
    width, height = size
    data = np.asarray(run_lengths)
    if data.ndim != 1 or len(data) < 8 or data.dtype.kind not in "iu" or data.min() < 0 or data.max() > 255:
        raise ValueError("expected run lengths as bytes")
    count = int.from_bytes(bytes(data[:4].astype(np.uint8)), "big")
    if count != width * height * 4:  # before anything as large as what is claimed is made
        raise ValueError(f"expected {width} x {height} pixels, found {count // 4:,} in all")
    opacity = brush_converter().decode_rle(data.astype(np.uint8)).reshape(height, width, 4)[..., 3]
    painted: Flags = opacity >= _HALF
    return painted


def from_polygon(points: NDArray[np.float64], size: tuple[int, int]) -> Flags:
    """The pixels ``(h, w)`` of a picture of ``size`` (width, height) whose centres lie in a polygon.

    ``points`` ``(n, 2)`` are its corners x, y in pixels, which may lie outside; where it crosses itself, what an even
    number of turns encloses is outside.
    """
    width, height = size
    inside = np.zeros((height, width), dtype=bool)
    begin, end = points, np.roll(points, -1, axis=0)
    columns = np.arange(width) + 0.5
    low, high = np.minimum(begin[:, 1], end[:, 1]), np.maximum(begin[:, 1], end[:, 1])
    for row in range(max(0, int(low.min())), min(height, int(np.ceil(high.max())))):
        y = row + 0.5
        cut = (low <= y) & (y < high)
        (x0, y0), (x1, y1) = begin[cut].T, end[cut].T
        crossings = np.sort(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        inside[row] = np.searchsorted(crossings, columns) % 2 == 1
    return inside


def around(mask: Flags, width: int) -> Flags:
    """The pixels outside a mask that are at most ``width`` rows and columns away from it: its outline, which leaves
    what is inside to be seen."""
    from scipy.ndimage import maximum_filter

    wide: Flags = maximum_filter(mask, size=2 * width + 1, mode="constant") & ~mask
    return wide
