"""Boxes of many images as columns, checked as they come in, and made into one record an image."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.data.predictions.joining import Sizes
from labelwise.data.predictions.reading import SUM, number, numbers_of
from labelwise.records import Prediction, Problem

Vectors = Literal["binary", "spread"]
Absent = Literal["auto", "missing", "empty"]

SLACK = 0.5  # pixels that a box may reach outside without being counted as clipped
_TOLD = {
    "negative_boxes": "boxes with negative width or height, dropped",
    "outside_boxes": "boxes wholly outside their image, dropped",
    "clipped_boxes": "boxes that reached outside their image, clipped",
    "no_confidence": "boxes without confidence, taken as 1: these look like labels",
}


@dataclass(slots=True)
class Boxes:
    """Objects of many images, in columns. ``independent``: class vectors need not sum to 1. ``vectors``: "spread" gives
    each object without one a class vector: its label gets the confidence, the other classes share the rest."""

    classes: tuple[str, ...]
    independent: bool = False
    vectors: Vectors = "binary"
    counts: dict[str, tuple[int, str]] = field(default_factory=dict)
    _images: dict[str, int] = field(default_factory=dict)
    _image: array[int] = field(default_factory=lambda: array("q"))
    _label: array[int] = field(default_factory=lambda: array("i"))
    _confidence: array[float] = field(default_factory=lambda: array("f"))
    _corners: array[float] = field(default_factory=lambda: array("d"))
    _probs: array[float] = field(default_factory=lambda: array("f"))
    _points: array[float] = field(default_factory=lambda: array("f"))
    _per_object: dict[str, int] = field(default_factory=dict)

    def add(
        self, id: str, label: int, confidence: Any, *, box: Any = None, probabilities: Any = None, keypoints: Any = None
    ) -> None:
        """Add an object: ``box`` x, y, width, height in pixels, ``keypoints`` flat x, y, confidence.

        Raises ValueError, saying what was expected and found, for anything that is no such number. A box turned over is
        dropped and counted.
        """
        if not 0 <= label < len(self.classes):
            raise ValueError(f"expected a class of 0 to {len(self.classes) - 1}, found {label}")
        sure = _unit("a score", confidence)
        points = [] if keypoints is None else _points(keypoints)
        corners = _corners(box, points)
        if corners and (corners[2] < corners[0] or corners[3] < corners[1]):
            self.note("negative_boxes", id)
            return
        probs = [] if probabilities is None else self._vector(probabilities)
        for name, values in (("bbox", corners), ("probabilities", probs), ("keypoints", points)):
            known = self._per_object.setdefault(name, len(values))
            if known != len(values):
                raise ValueError(f"expected {known} numbers in {name} as before, found {len(values)}")
        self._image.append(self._images.setdefault(id, len(self._images)))
        self._label.append(label)
        self._confidence.append(sure)
        self._corners.extend(corners)
        self._probs.extend(probs)
        self._points.extend(points)

    def note(self, code: str, id: str) -> None:
        """Count a kind of problem."""
        count, first = self.counts.get(code, (0, id))
        self.counts[code] = count + 1, first

    def predictions(self, ids: Iterable[str], sizes: Sizes | None) -> tuple[list[Prediction], list[Problem]]:
        """One record for each of ``ids``, in this order, with no objects where none were added; and the problems."""
        order = np.argsort(np.frombuffer(self._image, np.int64), kind="stable")
        starts = np.searchsorted(np.frombuffer(self._image, np.int64)[order], np.arange(len(self._images) + 1))
        size = len(order)
        labels = np.frombuffer(self._label, np.int32)[order]
        confidences = np.frombuffer(self._confidence, np.float32)[order]
        width = {"bbox": 4, "probabilities": 0, "keypoints": 0} | self._per_object
        corners = np.frombuffer(self._corners, np.float64).reshape(size, width["bbox"])[order]
        probs = np.frombuffer(self._probs, np.float32).reshape(size, width["probabilities"])[order]
        points = np.frombuffer(self._points, np.float32).reshape(size, width["keypoints"] // 3, 3)[order]
        found = []
        for id in ids:
            number = self._images.get(id)
            part = slice(0, 0) if number is None else slice(int(starts[number]), int(starts[number + 1]))
            boxes, kept = self._clipped(id, corners[part], sizes)
            found.append(
                Prediction(
                    id,
                    probs=self._distributions(probs[part][kept], labels[part][kept], confidences[part][kept]),
                    boxes=boxes.astype(np.float32) if boxes.shape[1] else None,
                    labels=labels[part][kept],
                    confidences=confidences[part][kept],
                    keypoints=points[part][kept] if points.shape[1] else None,
                    independent=self.independent and bool(probs.shape[1]),
                )
            )
        return found, self._problems()

    def _vector(self, values: Any) -> list[float]:
        probs = numbers_of(values, len(self.classes), "probabilities")
        if min(probs) < -1e-4 or max(probs) > 1 + 1e-4:
            raise ValueError(f"expected probabilities of 0 to 1, found {min(probs):.4g} to {max(probs):.4g}")
        probs = [min(1.0, max(0.0, value)) for value in probs]
        total = sum(probs)
        if self.independent:
            return probs
        if abs(total - 1) > SUM:
            raise ValueError(
                f"expected probabilities that sum to 1, found a sum of {total:.4g}; give independent=true if each "
                "class stands alone (sigmoid)"
            )
        return [value / total for value in probs]

    def _distributions(
        self, probs: NDArray[np.float32], labels: NDArray[np.int32], confidences: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        classes = len(self.classes)
        if probs.shape[1] or self.vectors == "binary" or classes == 1:
            return probs if probs.shape[1] else None
        spread = np.repeat((1 - confidences)[:, None] / (classes - 1), classes, axis=1)
        spread[np.arange(len(labels)), labels] = confidences
        return spread.astype(np.float32)

    def _clipped(self, id: str, corners: NDArray[Any], sizes: Sizes | None) -> tuple[NDArray[Any], Any]:
        """The boxes within the image, and which objects are kept."""
        size = sizes.get(id) if sizes is not None else None
        if not corners.size or size is None or min(size) <= 0:
            return corners, slice(None)
        edges = np.array([*size, *size], np.float64)
        inside = corners.clip(0, edges)
        away = (corners[:, :2] >= edges[:2]).any(axis=1) | (corners[:, 2:] <= 0).any(axis=1)
        for code, bad in (
            ("outside_boxes", away),
            ("clipped_boxes", (abs(corners - inside) > SLACK).any(axis=1) & ~away),
        ):
            for _ in range(int(bad.sum())):
                self.note(code, id)
        return inside[~away], ~away

    def _problems(self) -> list[Problem]:
        return [
            Problem(first, code, f"{count:,} {_TOLD[code]}; the first for {first}")
            for code, (count, first) in self.counts.items()
        ]


def _unit(what: str, value: Any) -> float:
    found = number(value)
    if not -1e-4 <= found <= 1 + 1e-4:
        raise ValueError(f"expected {what} of 0 to 1, found {found:.6g}")
    return min(1.0, max(0.0, found))


def _points(values: Any) -> list[float]:
    """Keypoints flat: x, y, confidence."""
    if not isinstance(values, list) or not values or len(values) % 3:
        raise ValueError("expected keypoints as x, y, confidence for each, found another count")
    found = [number(value) for value in values]
    for i in range(2, len(found), 3):
        found[i] = _unit("a keypoint's confidence", found[i])
    return found


def _corners(box: Any, points: Sequence[float]) -> list[float]:
    """x0, y0, x1, y1 of a box, or around keypoints; empty if there is neither."""
    if box is not None:
        x, y, width, height = numbers_of(box, 4, "bbox x, y, width, height")
        return [x, y, x + width, y + height]
    if not points:
        return []
    xs, ys = points[::3], points[1::3]
    return [min(xs), min(ys), max(xs), max(ys)]
