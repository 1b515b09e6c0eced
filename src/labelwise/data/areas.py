"""Outlines and run lengths as areas of pixels: polygons, ellipses, the masks of CVAT and of COCO.

An area is ``(height, width)`` of truth values. A pixel belongs to an outline if its centre lies inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Area = NDArray[np.bool_]
Size = tuple[int, int]
LARGEST = 1 << 28  # pixels of a mask: more is taken for a mistake in a file


def polygon_area(points: Any, size: Size) -> Area:
    """The pixels inside a closed polygon ``(n, 2)`` of x, y (even-odd rule); ``size`` is (width, height).

    Raises ValueError for fewer than three points, or a number that is not finite.
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"expected three or more points x, y of a polygon, found {_short(points)}")
    width, height = size
    x0, y0 = corners.T
    x1, y1 = np.roll(corners, -1, axis=0).T
    flips = np.zeros((height, width + 1), np.int64)
    rows = np.arange(height) + 0.5
    for a, b, c, d in zip(x0, y0, x1, y1, strict=True):
        if b == d:
            continue
        # From top to bottom, so that an edge there and back crosses at the very same place.
        (a, b, c, d) = (a, b, c, d) if b < d else (c, d, a, b)
        first, last = np.searchsorted(rows, [b, d], side="left")
        # Pixels whose centre is right of the crossing change sides.
        crossing = a + (rows[first:last] - b) * (c - a) / (d - b)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (np.arange(first, last), columns), 1)
    return (np.cumsum(flips, axis=1)[:, :width] % 2).astype(bool)


def ellipse_area(centre: Sequence[float], radii: Sequence[float], turn: float, size: Size) -> Area:
    """The pixels inside an ellipse: centre x, y, its two radii, and its turn in degrees (clockwise on the picture).

    Raises ValueError for radii that are not above 0.
    """
    if not (min(radii) > 0 and np.isfinite([*centre, *radii, turn]).all()):
        raise ValueError(f"expected an ellipse with radii above 0, found {_short([*centre, *radii])}")
    width, height = size
    x, y = np.arange(width)[None] + 0.5 - centre[0], np.arange(height)[:, None] + 0.5 - centre[1]
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    along, across = (x * cosine + y * sine) / radii[0], (y * cosine - x * sine) / radii[1]
    return np.asarray(along**2 + across**2 <= 1)


def cvat_runs_area(counts: Sequence[int], corner: Size, box: Size, size: Size) -> Area:
    """The mask of CVAT: lengths of runs, row by row in a box, the first outside; ``corner`` is the box's left and top.

    Raises ValueError if the runs do not fill the box, or the box reaches outside the image.
    """
    (left, top), (wide, high), (width, height) = corner, box, size
    if not (left >= 0 and top >= 0 and wide > 0 and high > 0 and left + wide <= width and top + high <= height):
        raise ValueError(f"expected a mask in the image of {width} x {height}, found {wide} x {high} at {left}, {top}")
    area = np.zeros((height, width), bool)
    area[top : top + high, left : left + wide] = _unrolled(counts, wide * high).reshape(high, wide)
    return area


def cvat_runs(area: Area) -> tuple[list[int], Size, Size]:
    """The runs of an area as CVAT has them, with the box's corner and size (width, height).

    Raises ValueError for an area without a pixel.
    """
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    if not len(rows):
        raise ValueError("expected an area with a pixel, found none")
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    inside = area[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(inside)) + 1
    counts = np.diff([0, *edges, len(inside)]).tolist()
    return ([0] if inside[0] else []) + counts, (int(left), int(top)), (int(right - left), int(bottom - top))


def coco_area(segmentation: Any, size: Size) -> Area:
    """A COCO segmentation: a list of polygons (flat lists of x, y), or run lengths down the columns.

    Run lengths are ``{"size": [height, width], "counts": list or compressed text}``. Raises ValueError for anything
    else, or another size.
    """
    width, height = size
    if isinstance(segmentation, dict):
        if segmentation.get("size") not in ([height, width], (height, width)):
            raise ValueError(f"expected run lengths of {height} x {width}, found {_short(segmentation.get('size'))}")
        counts = segmentation.get("counts")
        runs = _uncompressed(counts) if isinstance(counts, str) else counts
        if not isinstance(runs, list):
            raise ValueError(f"expected counts of run lengths, found {_short(counts)}")
        return np.ascontiguousarray(_unrolled(runs, width * height).reshape(width, height).T)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(f"expected polygons or run lengths, found {_short(segmentation)}")
    area = np.zeros((height, width), bool)
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(_is_number(value) for value in polygon):
            raise ValueError(f"expected polygons as flat lists of x, y, found {_short(polygon)}")
        area |= polygon_area(np.reshape(np.asarray(polygon, np.float64), (-1, 2)), size)
    return area


def coco_box(segmentation: Any) -> list[float]:
    """The box x0, y0, x1, y1 around a COCO segmentation. Raises ValueError as `coco_area`."""
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
            raise ValueError(f"expected the size of run lengths, found {_short(size)}")
        return area_box(coco_area(segmentation, (size[1], size[0])))
    coco_area(segmentation, (1, 1))  # what it raises
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
    return [*map(float, points.min(axis=0)), *map(float, points.max(axis=0))]


def area_box(area: Area) -> list[float]:
    """The box around an area: x0, y0, x1, y1; without area where it has no pixel."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    if not len(rows):
        return [0.0, 0.0, 0.0, 0.0]
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _unrolled(counts: Sequence[int], pixels: int) -> Area:
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != pixels or pixels > LARGEST:
        raise ValueError(f"expected run lengths of {pixels:,} pixels in all, found {_short(list(counts))}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def _uncompressed(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character from "0" on, the sixth says that more follow; from the
    fourth number on each is the difference to the one before the last (pycocotools, maskApi)."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"expected compressed run lengths, found {_short(text)}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError(f"expected compressed run lengths, found {_short(text)}, which ends in a number")
    return counts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
