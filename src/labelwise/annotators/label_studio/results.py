"""Between Label Studio's results and targets: proposals as it shows them, answers as a run keeps them.

Label Studio counts places in percent of the picture's width and height, as it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.annotators.label_studio.interface import ASKED, CONTROLS, IMAGE, Kind, label_of, labels_of
from labelwise.annotators.label_studio.painting import around, from_brush, from_polygon, to_brush
from labelwise.data.masks import Mask, empty_mask, points_of, target_mask, void_of, write_mask
from labelwise.records import Query, Target

Result = dict[str, Any]


class Unusable(Exception):
    """An answer that cannot be taken as it is: its message says why, for the person who can mend it."""


class UnknownLabel(Unusable):
    """An answer with a label that is no class of the run."""

    def __init__(self, label: str) -> None:
        super().__init__(f"unknown class {label!r}")
        self.label = label


@dataclass(frozen=True)
class Reading:
    """How answers are read: the run's classes, whether others become classes, the class of what is left unpainted (""
    for none), and the folder that keeps masks."""

    classes: tuple[str, ...]
    new_classes: bool
    background: str
    masks: Path


def proposed(query: Query, kind: Kind, size: tuple[int, int], classes: Sequence[str]) -> list[Result]:
    """The results that people begin with: the proposal, and of regions and pixels where they are."""
    names = {name: label for label, name in labels_of(classes).items()}
    target = query.proposal
    if kind == "pixels":
        return _points(query, size, names)
    if kind == "areas":
        return _painted(query, size, classes, names)
    if target is None:
        return []
    if kind == "classify":
        return [_choice(names[name]) for name in target.classes[:1] if name in names]
    boxes = zip(target.classes, np.asarray(target.geometry, float).reshape(-1, 4).tolist(), strict=True)
    return [_box(i, box, names[name], size) for i, (name, box) in enumerate(boxes) if name in names]


def target_of(results: Sequence[Result], query: Query, kind: Kind, size: tuple[int, int], reading: Reading) -> Target:
    """The target that an annotation's results say. Raises Unusable."""
    names = _Names(reading)
    if kind == "classify":
        return _class(results, names)
    if kind == "detect":
        return _boxes(results, size, names)
    if kind == "pixels":
        return _answered_points(results, query, names)
    return _areas(results, query, size, names, reading)


class _Names:
    """The classes in the order of the run, and behind them those that answers bring, where these are welcome."""

    def __init__(self, reading: Reading) -> None:
        self.classes = list(reading.classes)
        self.known = labels_of(reading.classes)
        self.new_classes = reading.new_classes

    def __call__(self, label: Any) -> str:
        text = label_of(str(label))
        if text not in self.known:
            if not self.new_classes or not text:
                raise UnknownLabel(text)
            self.known[text] = text
            self.classes.append(text)
        return self.known[text]

    def number(self, label: Any) -> int:
        return self.classes.index(self(label))


def _of(results: Sequence[Result], kind: Kind) -> list[tuple[str, Any, Mapping[str, Any], Result]]:
    """Type, label (None without one) and value of the results that answer. Raises Unusable for shapes that are not
    read, and for what has two labels."""
    types = {control.type for control in CONTROLS[kind]}
    found = []
    for result in results:
        type, value = str(result.get("type", "")), result.get("value") or {}
        if result.get("from_name") == ASKED:
            if result.get("id") != ASKED:
                raise Unusable("an area has no class")  # painted with the tool of the outline
            continue
        if type not in types:
            if type.endswith("labels"):
                raise Unusable(f"{type} cannot be read here, expected {' or '.join(sorted(types))}")
            continue  # what people wrote beside it, or the outline of what is asked
        labels = value.get(type) or []
        if len(labels) > 1:
            raise Unusable(f"expected one class, found {', '.join(map(repr, labels[:3]))}")
        found.append((type, labels[0] if labels else None, value, result))
    return found


def _class(results: Sequence[Result], names: _Names) -> Target:
    labels = {label for _, label, _, _ in _of(results, "classify") if label is not None}
    if len(labels) != 1:
        raise Unusable(f"expected one class, found {', '.join(map(repr, sorted(labels))) or 'none'}")
    return Target((names(labels.pop()),))


def _boxes(results: Sequence[Result], size: tuple[int, int], names: _Names) -> Target:
    classes, boxes = [], []
    for _, label, value, _ in _of(results, "detect"):
        if label is None:
            raise Unusable("a box has no class")
        classes.append(names(label))
        boxes.append(box_of(value, size))
    return Target(tuple(classes), np.array(boxes, dtype=np.float64).reshape(-1, 4))


def box_of(value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """The box x0, y0, x1, y1 in pixels of a rectangle in percent: of a turned one the box around it, cut at the
    picture's border.

    A rectangle is turned clockwise about its upper left corner, in pixels. Raises Unusable without any area.
    """
    scale = np.array(size, dtype=np.float64)
    try:
        corner = np.array([float(value["x"]), float(value["y"])]) / 100 * scale
        width, height = np.array([float(value["width"]), float(value["height"])]) / 100 * scale
        turn = float(value.get("rotation") or 0)
    except (KeyError, TypeError, ValueError):
        raise Unusable("a box has no place") from None
    offsets = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    if turn % 360:
        angle = np.deg2rad(turn)
        offsets = offsets @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.clip(corner + offsets, 0, scale)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    if not (box[2:] > box[:2]).all():  # also what is not finite
        raise Unusable("a box has no area in the picture")
    return box


def _answered_points(results: Sequence[Result], query: Query, names: _Names) -> Target:
    """The classes of the pixels that were asked, where a person left the point; one taken away shows no class.

    A point is known by its id, so that it may have been moved a little to be seen.
    """
    assert query.geometry is not None
    codes = np.full(len(query.geometry), -1)
    for _, label, _, result in _of(results, "pixels"):
        number = str(result.get("id", "")).removeprefix("p")
        if not number.isdecimal() or int(number) >= len(codes):
            continue  # one that a person added: nobody asked for it
        if label is None:
            raise Unusable("a point has no class; choose one, or delete the point where none can be seen")
        codes[int(number)] = names.number(label)
    if not (codes >= 0).any():
        raise Unusable("none of the points that are asked is there")
    kept = codes >= 0
    return Target(tuple(names.classes), query.geometry[kept].astype(np.int32), codes[kept].astype(np.int32))


def _areas(results: Sequence[Result], query: Query, size: tuple[int, int], names: _Names, reading: Reading) -> Target:
    """What was painted, later over earlier: as a mask of the whole image, or the pixels of the regions asked."""
    painted = []
    for type, label, value, _ in _of(results, "areas"):
        if label is None:
            raise Unusable("an area has no class")
        painted.append((names.number(label), _flags(type, value, size)))
    if not painted and not reading.background:
        raise Unusable("nothing is painted")
    background = names.number(reading.background) if reading.background else None
    mask: Mask = empty_mask(size[1], size[0], len(names.classes))
    if background is not None:
        mask[:] = background
    for number, flags in painted:
        mask[flags] = number
    classes = tuple(names.classes)
    if query.geometry is not None:
        return points_of(mask, asked_area(query, size), classes)
    write_mask(kept := reading.masks / f"{query.id}.png", mask)
    return Target(classes, mask=kept)


def _flags(type: str, value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        if type == "brushlabels":
            return from_brush(value["rle"], size)
        points = np.array(value["points"], dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(points).all() or not len(points):
            raise ValueError("expected points in percent")
        return from_polygon(points / 100 * np.array(size), size)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unusable(f"{type} cannot be read ({error})") from None


def asked_area(query: Query, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels ``(h, w)`` that a query asks for."""
    asked = np.zeros((size[1], size[0]), dtype=bool)
    if query.geometry is None:
        asked[:] = True
    elif query.geometry.shape[1] == 4:
        for x0, y0, x1, y1 in query.geometry.astype(int).tolist():
            asked[y0:y1, x0:x1] = True
    else:
        asked[query.geometry[:, 1], query.geometry[:, 0]] = True
    return asked


def _result(id: str, name: str, type: str, value: Result, size: tuple[int, int] | None = None) -> Result:
    shape = {"original_width": size[0], "original_height": size[1], "image_rotation": 0} if size else {}
    return {"id": id, "from_name": name, "to_name": IMAGE, "type": type, "value": value, **shape}


def _choice(label: str) -> Result:
    return _result("c0", "class", "choices", {"choices": [label]})


def _box(number: int, box: Sequence[float], label: str, size: tuple[int, int]) -> Result:
    width, height = size
    x0, y0, x1, y1 = box
    place = {
        "x": x0 / width * 100,
        "y": y0 / height * 100,
        "width": (x1 - x0) / width * 100,
        "height": (y1 - y0) / height * 100,
    }
    return _result(f"b{number}", "box", "rectanglelabels", {**place, "rotation": 0, "rectanglelabels": [label]}, size)


def _points(query: Query, size: tuple[int, int], names: Mapping[str, str]) -> list[Result]:
    """A point in the middle of each pixel that is asked; its class where one is proposed."""
    assert query.geometry is not None
    target = query.proposal
    said: dict[tuple[int, int], str] = {}
    if target is not None and target.geometry is not None and target.codes is not None:
        codes = zip(map(tuple, target.geometry.tolist()), target.codes.tolist(), strict=True)
        said = {place: target.classes[code] for place, code in codes}
    found = []
    for i, (x, y) in enumerate(query.geometry.tolist()):
        place = {"x": (x + 0.5) / size[0] * 100, "y": (y + 0.5) / size[1] * 100, "width": 100 * 3 / size[0]}
        label = names.get(said.get((x, y), ""))
        label_part = {"keypointlabels": [label]} if label is not None else {}
        found.append(_result(f"p{i}", "point", "keypointlabels", {**place, **label_part}, size))
    return found


def _painted(query: Query, size: tuple[int, int], classes: Sequence[str], names: Mapping[str, str]) -> list[Result]:
    """A brush for each class that is proposed, and an outline around the regions that are asked."""
    found = []
    if query.geometry is not None:
        ring = around(asked_area(query, size), max(1, round(max(size) / 300)))
        outline = {"format": "rle", "rle": to_brush(ring), "brushlabels": [ASKED]}
        found.append({**_result(ASKED, ASKED, "brushlabels", outline, size), "readonly": True})
    if query.proposal is not None:
        mask = target_mask(query.proposal, classes, size)
        inside = asked_area(query, size) & (mask != void_of(mask))
        for number in np.unique(mask[inside]).tolist():
            value = {"format": "rle", "rle": to_brush(inside & (mask == number))}
            label = {"brushlabels": [names[classes[number]]]}
            found.append(_result(f"m{number}", "brush", "brushlabels", {**value, **label}, size))
    return found
