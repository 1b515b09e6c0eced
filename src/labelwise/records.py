"""The nouns everything speaks: Sample, Target, Prediction, Query, Annotation, Problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError, ModelError

Task = Literal["classify", "detect", "segment"]
Unit = Literal["image", "region", "pixel"]
UNITS: Mapping[Unit, str] = {"image": "images", "region": "regions", "pixel": "pixels"}
Floats = NDArray[np.floating[Any]]


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
    """

    id: str
    path: Path
    group: str | None = None
    target: Target | None = None
    content: str = ""
    size: tuple[int, int] = (0, 0)
    note: str = ""
    split: Literal["pool", "test", "unused"] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A verdict on one file that is left out or handled in a special way: ``code`` is its name, ``message`` one line
    for people."""

    id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one image; only what was asked for is filled.

    Class axis last: ``probs`` is ``(C,)`` classify, ``(N, C)`` detect, ``(h, w, C)`` segment, each row summing to 1;
    ``samples`` has a leading axis ``(S, ...)`` of stochastic passes; ``embedding`` is ``(d,)`` or ``(N, d)``; ``boxes``
    is ``(N, 4)``.

    Raises ModelError, naming the image, if a number is not finite.
    """

    id: str
    probs: Floats | None = None
    samples: Floats | None = None
    embedding: Floats | None = None
    boxes: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("probs", "samples", "embedding", "boxes"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise ModelError(
                    f"the model's {name} for {self.id} hold a number that is not finite; look at the image or lower "
                    "the learning rate"
                )


@dataclass(frozen=True, slots=True)
class Query:
    """A question to an annotator about one image.

    ``geometry`` is None for the whole image, else ``(n, 2)`` points, ``(n, 4)`` boxes or ``(n,)`` superpixel ids.
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
