"""The nouns everything speaks: Sample, Target, Prediction, Query, Annotation, Problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError, ModelError

Task = Literal["classify", "detect", "segment"]
Unit = Literal["image", "box", "region", "pixel"]
UNITS: Mapping[Unit, str] = {"image": "images", "box": "boxes", "region": "regions", "pixel": "pixels"}
Floats = NDArray[np.floating[Any]]
Crop = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of an image's width and height, as shown


@dataclass(frozen=True, slots=True)
class Target:
    """The content of an annotation: which classes, and where.

    ``classes`` holds one name for a whole image (classify) or one per box or point. ``geometry`` is None for a whole
    image, ``(n, 4)`` boxes ``x0, y0, x1, y1`` or ``(n, 2)`` points ``x, y``, in pixels of the image as shown (after
    EXIF rotation). Many points share names (segment): then ``classes`` holds each name once and ``codes`` ``(n,)`` the
    index of each point's name. ``mask`` is a dense annotation instead: a file of class indices, see
    `labelwise.data.masks`, where ``classes`` names the values from 0 on.

    Raises DataError if these do not fit together, or a coordinate is not finite.
    """

    classes: tuple[str, ...]
    geometry: NDArray[Any] | None = None
    codes: NDArray[np.integer[Any]] | None = None
    mask: Path | None = None

    def __post_init__(self) -> None:
        if type(self.classes) is not tuple or not all(type(c) is str and c for c in self.classes):
            raise DataError(f"target classes must be a tuple of names, but found {self.classes!r}")
        if self.geometry is None:
            if self.codes is not None:
                raise DataError("target codes belong to points, but found no geometry")
            return
        shape = self.geometry.shape
        if not np.isfinite(self.geometry).all():
            raise DataError(f"target geometry must be finite numbers, but found {self.geometry.tolist()}")
        n = len(self.classes if self.codes is None else self.codes)
        if len(shape) != 2 or shape[0] != n or shape[1] not in (2, 4):
            raise DataError(f"target geometry must have shape ({n}, 4) or (.., 2), but has {shape}")
        if self.codes is not None and n and not 0 <= self.codes.min() <= self.codes.max() < len(self.classes):
            raise DataError(f"target codes must be 0 to {len(self.classes) - 1}, but found {self.codes.max()}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a dataset.

    ``id`` is the path relative to the dataset's root, with ``/``; ``path`` is where the file lies now. ``group`` names
    what must stay on one side of a split (sequence, camera, patient). ``target`` is the truth that came with the data,
    if any. ``content`` is a digest of the file's bytes, ``size`` is (width, height) in pixels as shown; both are filled
    by the scan. ``split`` is "pool", "test" or "unused" where the dataset itself says which images are for testing.
    ``meta`` is what else is known of it, by name: texts, numbers and truth values, such as ``location`` and ``taken``.
    ``crop`` is the part of the picture that the sample is about, None for the whole; ``content`` and ``size`` are then
    those of the part. Raises DataError for a crop that is no part of a picture.
    """

    id: str
    path: Path
    group: str | None = None
    target: Target | None = None
    content: str = ""
    size: tuple[int, int] = (0, 0)
    note: str = ""
    split: Literal["pool", "test", "unused"] | None = None
    meta: Mapping[str, str | float | bool] = field(default_factory=dict)
    crop: Crop | None = None

    def __post_init__(self) -> None:
        if self.crop is not None and not (
            len(self.crop) == 4 and 0 <= self.crop[0] < self.crop[2] <= 1 and 0 <= self.crop[1] < self.crop[3] <= 1
        ):
            raise DataError(f"{self.id}: expected a crop of x0 < x1 and y0 < y1 from 0 to 1, but found {self.crop}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A verdict on one file that is left out or handled in a special way: ``code`` is its name, ``message`` one line
    for people. One without ``id`` is about the data as a whole, and leaves no file out."""

    id: str
    code: str
    message: str


def left_out(problems: Iterable[Problem], used: Container[str]) -> Counter[str]:
    """How many files were left out, by the code of the verdict."""
    return Counter(problem.code for problem in problems if problem.id and problem.id not in used)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one image; only what was asked for is filled.

    Class axis last: ``probs`` is ``(C,)`` classify, ``(N, C)`` detect, ``(h, w, C)`` segment, each row summing to 1,
    or, if ``independent``, each the probability of its class alone (sigmoid heads). ``samples`` has a leading axis
    ``(S, ...)`` of stochastic passes; ``embedding`` is ``(d,)``, ``(N, d)``, or a map ``(h', w', d)``, perhaps coarser
    than the image (segment). Of N objects: ``boxes`` ``(N, 4)`` are
    ``x0, y0, x1, y1`` in pixels of the image as shown, ``labels`` ``(N,)`` class indices, ``confidences`` ``(N,)`` 0
    to 1, ``keypoints`` ``(N, K, 3)`` hold x, y and a confidence of 0 to 1. ``flipped`` ``(N, 5 + C)`` is what the model
    finds at each object in the mirrored picture, mirrored back: box, confidence, class probabilities; all 0: nothing.
    Nothing found: arrays with N = 0. ``reconstruction`` ``(h, w)`` is how wrong each pixel is, hidden and
    reconstructed: half the squared difference, averaged over the channels.

    Raises ModelError, naming the image, if a number is not finite or out of its range, or shapes do not agree.
    """

    id: str
    probs: Floats | None = None
    samples: Floats | None = None
    embedding: Floats | None = None
    boxes: Floats | None = None
    labels: NDArray[np.integer[Any]] | None = None
    confidences: Floats | None = None
    keypoints: Floats | None = None
    flipped: Floats | None = None
    independent: bool = False
    reconstruction: Floats | None = None

    def __post_init__(self) -> None:
        for name in (
            "probs", "samples", "embedding", "boxes", "confidences", "keypoints", "flipped", "reconstruction",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise ModelError(
                    f"the model's {name} for {self.id} hold a number that is not finite; look at the image or lower "
                    "the learning rate"
                )
        if self.of_objects:
            _check_shapes(self)
            _check_ranges(self)

    @property
    def of_objects(self) -> bool:
        """True if this is about objects in the image (boxes, say), perhaps none of them."""
        return any(value is not None for value in (self.boxes, self.labels, self.confidences, self.keypoints))


_SHAPES = {
    "boxes": "(N, 4)",
    "labels": "(N,)",
    "confidences": "(N,)",
    "keypoints": "(N, K, 3)",
    "probs": "(N, C)",
    "flipped": "(N, 5 + C)",
}


def _check_shapes(prediction: Prediction) -> None:
    """Raise ModelError unless all arrays are about the same N objects."""
    first = ""
    for name, shape in _SHAPES.items():
        value = getattr(prediction, name)
        if value is None:
            continue
        axes = {"boxes": 2, "keypoints": 3, "probs": 2, "flipped": 2}.get(name, 1)
        last = {"boxes": 4, "keypoints": 3}.get(name)
        if value.ndim != axes or (last is not None and value.shape[-1] != last):
            raise ModelError(f"the model's {name} for {prediction.id} must have shape {shape}, but found {value.shape}")
        first = first or name
        if len(value) != len(getattr(prediction, first)):
            raise ModelError(
                f"the model's {name} for {prediction.id} must be as many as its {first}, "
                f"{len(getattr(prediction, first))}, but found {len(value)}"
            )


def _check_ranges(prediction: Prediction) -> None:
    """Raise ModelError for boxes turned over, confidences that are none, or labels that are no class."""
    id, boxes, labels, points = prediction.id, prediction.boxes, prediction.labels, prediction.keypoints
    if boxes is not None and (boxes[:, 2:] < boxes[:, :2]).any():
        raise ModelError(f"the model's boxes for {id} must be x0, y0, x1, y1 with x0 <= x1 and y0 <= y1")
    for name, values in (
        ("confidences", prediction.confidences),
        ("keypoints", None if points is None else points[..., 2]),
    ):
        if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ModelError(
                f"the model's {name} for {id} must have confidences of 0 to 1, but found {values.min():g} to "
                f"{values.max():g}"
            )
    if labels is not None and labels.dtype.kind not in "iu":
        raise ModelError(f"the model's labels for {id} must be class indices, but found {labels.dtype}")
    if labels is not None and labels.size:
        classes = np.inf if prediction.probs is None else prediction.probs.shape[-1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ModelError(
                f"the model's labels for {id} must be 0 to {classes - 1:g}, but found {labels.min()} to {labels.max()}"
            )


@dataclass(frozen=True, slots=True)
class Query:
    """A question to an annotator about one image.

    ``unit`` is what the budget counts: of "box" the image is asked whole, its boxes are counted later. ``geometry`` is
    None for the whole image, else ``(n, 2)`` points, ``(n, 4)`` boxes, or the ``(n, 3)`` pixels of superpixels: x, y
    and the superpixel's id.
    ``cost`` is counted in the budget's unit. ``proposal`` is the model's suggestion, ``reason`` why the query was
    chosen: facts by name. ``purpose`` is "train", or "audit" for the random sample that only estimates quality.
    """

    id: str
    round: int
    rank: int
    sample_id: str
    unit: Unit = "image"
    geometry: NDArray[Any] | None = None
    cost: float = 1.0
    proposal: Target | None = None
    reason: Mapping[str, Any] = field(default_factory=dict)
    purpose: Literal["train", "audit"] = "train"


@dataclass(frozen=True, slots=True)
class Annotation:
    """An answer to a query: a target, or skipped. ``seconds`` is the time the annotator took, if known; ``amount``
    what it counts for in the budget's unit, where that is not the query's cost (a point that shows no class)."""

    query_id: str
    target: Target | None
    annotator: str = ""
    seconds: float | None = None
    amount: float | None = None

    @property
    def skipped(self) -> bool:
        """True if the annotator declined to answer."""
        return self.target is None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A sample together with the target it is trained or judged on."""

    sample: Sample
    target: Target
