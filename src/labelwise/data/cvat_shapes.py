"""CVAT's shapes: an element of its XML as a box or an area of pixels, and a shape of its server as such an element."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwise.data.areas import (
    LARGEST,
    Area,
    Size,
    area_box,
    cvat_runs_area,
    ellipse_area,
    polygon_area,
)
from labelwise.data.box_writing import number_text
from labelwise.data.predictions.reading import parsed

AREAS = ("box", "polygon", "mask", "ellipse")
OTHERS = ("polyline", "points", "cuboid", "skeleton")  # that enclose nothing, or more than one thing
CORNERS = ("xtl", "ytl", "xbr", "ybr")
_TAGS = {"rectangle": "box"}


def corners_of(shape: ET.Element) -> list[float]:
    """The upright box around a box, polygon, mask or ellipse: x0, y0, x1, y1.

    Raises ValueError if it cannot be read.
    """
    if shape.tag == "polygon":
        points = _points(shape)
        return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    if shape.tag == "mask":
        counts, (left, top), (wide, high) = _runs(shape)
        x0, y0, x1, y1 = area_box(cvat_runs_area(counts, (0, 0), (wide, high), (wide, high)))
        return [left + x0, top + y0, left + x1, top + y1]
    if shape.tag == "ellipse":
        (x, y), (across, down), turn = _ellipse(shape)
        cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        half_width = math.hypot(across * cosine, down * sine)
        half_height = math.hypot(across * sine, down * cosine)
        return [x - half_width, y - half_height, x + half_width, y + half_height]
    corners = [parsed(shape.get(name), name) for name in CORNERS]
    turn = _turn(shape)
    if not turn:
        return corners
    points = _turned(corners, turn)
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def is_turned(shape: ET.Element) -> bool:
    """True for a box that is not upright. Raises ValueError if its rotation cannot be read."""
    return shape.tag == "box" and _turn(shape) != 0


def area_of(shape: ET.Element, size: Size) -> Area:
    """The pixels of a box, polygon, mask or ellipse in an image of (width, height).

    Raises ValueError if it cannot be read.
    """
    if shape.tag == "polygon":
        return polygon_area(_points(shape), size)
    if shape.tag == "mask":
        return cvat_runs_area(*_runs(shape), size)
    if shape.tag == "ellipse":
        return ellipse_area(*_ellipse(shape), size)
    corners = [parsed(shape.get(name), name) for name in CORNERS]
    return polygon_area(_turned(corners, _turn(shape)), size)


def element_of(shape: Mapping[str, Any], label: str) -> ET.Element:
    """A shape of the server's API as the element of its XML. Raises ValueError for points that do not fit its type."""
    tag = _TAGS.get(shape["type"], shape["type"])
    about = {"label": label, "source": str(shape.get("source") or "manual"), "z_order": str(shape.get("z_order") or 0)}
    points = [float(value) for value in shape.get("points") or ()]
    turn = float(shape.get("rotation") or 0)
    if turn:
        about["rotation"] = number_text(turn)
    if tag in ("box", "ellipse"):
        if len(points) != 4:
            raise ValueError(f"expected four numbers of a {shape['type']}, found {len(points)}")
        x0, y0, x1, y1 = points
        round_ = {"cx": x0, "cy": y0, "rx": x1 - x0, "ry": y0 - y1}
        places = round_ if tag == "ellipse" else dict(zip(CORNERS, points, strict=True))
        about |= {name: number_text(value) for name, value in places.items()}
    elif tag == "mask":
        if len(points) < 5:
            raise ValueError(f"expected run lengths and a box of a mask, found {len(points)} numbers")
        *runs, left, top, right, bottom = (int(value) for value in points)
        about |= {"rle": ", ".join(map(str, runs)), "left": str(left), "top": str(top)}
        about |= {"width": str(right - left + 1), "height": str(bottom - top + 1)}
    else:
        pairs = zip(points[::2], points[1::2], strict=len(points) % 2 == 0)
        about["points"] = ";".join(f"{number_text(x)},{number_text(y)}" for x, y in pairs)
    return ET.Element(tag, about)


def _points(shape: ET.Element) -> Any:
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair.strip()]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"expected three or more points x,y of a polygon, found {(shape.get('points') or '')[:40]!r}")
    return np.array([[parsed(x, "x"), parsed(y, "y")] for x, y in pairs])


def _runs(shape: ET.Element) -> tuple[list[int], Size, Size]:
    try:
        counts = [int(count) for count in (shape.get("rle") or "").split(",") if count.strip()]
        left, top, wide, high = (int(float(shape.get(name) or "")) for name in ("left", "top", "width", "height"))
    except (ValueError, OverflowError):
        raise ValueError("expected whole numbers in rle, left, top, width and height of a mask") from None
    if not 0 < wide * high <= LARGEST:
        raise ValueError(f"expected a mask with an area, found {wide} x {high}")
    return counts, (left, top), (wide, high)


def _ellipse(shape: ET.Element) -> tuple[list[float], list[float], float]:
    x, y, across, down = (parsed(shape.get(name), name) for name in ("cx", "cy", "rx", "ry"))
    if min(across, down) <= 0:
        raise ValueError(f"expected an ellipse with radii above 0, found {across:g} and {down:g}")
    return [x, y], [across, down], _turn(shape)


def _turn(shape: ET.Element) -> float:
    return parsed(shape.get("rotation") or "0", "rotation") % 360


def _turned(corners: Sequence[float], turn: float) -> Any:
    """The four corners of a box that is turned about its centre, by degrees."""
    x0, y0, x1, y1 = corners
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    if turn == 0:
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    arms = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - centre
    return arms @ np.array([[cosine, sine], [-sine, cosine]]) + centre
