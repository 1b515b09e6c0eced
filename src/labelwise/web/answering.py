"""What a person sends as an answer, checked against its query and made a target."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labelwise.catalog import suggest
from labelwise.data.masks import empty_mask, points_of, write_mask
from labelwise.errors import DataError
from labelwise.records import Query, Sample, Target
from labelwise.web.questions import VOID, inside_of, mask_of

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")
]
# A class of the run as it is, however its name came about; ``Text`` is what people may type.
Class = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Body(BaseModel):
    """What the page sends: nothing but the fields that are known."""

    model_config = ConfigDict(extra="forbid")


class ClassAnswer(Body):
    """The class of an image."""

    kind: Literal["class"]
    name: Class


class Box(Body):
    """A box in pixels: x0, y0, x1, y1."""

    name: Class
    box: tuple[Number, Number, Number, Number]


class BoxesAnswer(Body):
    """All objects of an image."""

    kind: Literal["boxes"]
    boxes: Annotated[list[Box], Field(max_length=10_000)]


class PixelsAnswer(Body):
    """A class for each pixel that is asked, in their order; None where it shows none."""

    kind: Literal["pixels"]
    names: Annotated[list[Class | None], Field(max_length=1_000_000)]


class MaskAnswer(Body):
    """A mask of an image, or inside its regions: runs of indices of ``classes``, -1 for none, row after row."""

    kind: Literal["mask", "regions"]
    classes: Annotated[list[Class], Field(max_length=65_535)]
    runs: Annotated[list[Annotated[int, Field(ge=-1, le=2**31)]], Field(max_length=16_000_000)]


class Skipped(Body):
    """The person cannot tell."""

    kind: Literal["skipped"]


Given = Annotated[ClassAnswer | BoxesAnswer | PixelsAnswer | MaskAnswer | Skipped, Field(discriminator="kind")]


def target_from(
    given: ClassAnswer | BoxesAnswer | PixelsAnswer | MaskAnswer | Skipped,
    kind: str,
    query: Query,
    sample: Sample,
    classes: tuple[str, ...],
    folder: Path,
) -> Target | None:
    """The target that an answer means; masks are written into ``folder``. None: skipped.

    Raises DataError if it does not fit its query, or names a class that the run does not know.
    """
    if isinstance(given, Skipped):
        return None
    if given.kind != kind:
        raise DataError(f"expected an answer of the kind {kind!r}, found {given.kind!r}; load the page again")
    if isinstance(given, ClassAnswer):
        return Target((_known(given.name, classes),))
    if isinstance(given, BoxesAnswer):
        return _boxes(given, sample, classes)
    if isinstance(given, PixelsAnswer):
        return _pixels(given, query, classes)
    return _mask(given, query, sample, classes, folder)


def _known(name: str, classes: Sequence[str]) -> str:
    if name not in classes:
        raise DataError(f"unknown class {name!r}: {suggest(name, classes)}; or add it")
    return name


def _boxes(given: BoxesAnswer, sample: Sample, classes: Sequence[str]) -> Target:
    names = tuple(_known(box.name, classes) for box in given.boxes)
    places = np.array([box.box for box in given.boxes], dtype=np.float64).reshape(-1, 4)
    places = places.clip(0, np.tile(np.array(sample.size, dtype=np.float64), 2)).round(2)
    if (places[:, 2:] <= places[:, :2]).any():
        raise DataError("expected boxes with x0 < x1 and y0 < y1 in the image, found one without area; remove it")
    return Target(names, places)


def _pixels(given: PixelsAnswer, query: Query, classes: Sequence[str]) -> Target:
    assert query.geometry is not None
    if len(given.names) != len(query.geometry):
        raise DataError(f"expected classes of {len(query.geometry)} pixels, found {len(given.names)}")
    kept = [i for i, name in enumerate(given.names) if name is not None]
    said = [_known(given.names[i] or "", classes) for i in kept]
    names = tuple(dict.fromkeys(said))
    codes = np.array([names.index(name) for name in said], np.int32)
    return Target(names, query.geometry[kept].astype(np.int32).reshape(-1, 2), codes)


def _mask(given: MaskAnswer, query: Query, sample: Sample, classes: tuple[str, ...], folder: Path) -> Target:
    names = [_known(name, classes) for name in given.classes]
    found = mask_of(given.runs, sample.size, len(names))
    numbers = np.array([*(classes.index(name) for name in names), VOID])
    used = numbers[found]
    # Only as many names as are needed: a class that was named and is not used must not become one of the run's.
    last = int(used.max(initial=VOID)) + 1
    mask = empty_mask(found.shape[0], found.shape[1], last)
    mask[used != VOID] = used[used != VOID]
    if query.geometry is not None:
        inside = inside_of(query, sample.size) > 0
        target = points_of(mask, inside, classes)
        assert target.codes is not None
        kept = np.unique(target.codes)
        return Target(
            tuple(classes[i] for i in kept.tolist()),
            target.geometry,
            np.searchsorted(kept, target.codes).astype(np.int32),
        )
    if not last:
        raise DataError("expected a mask with at least one class, found none; paint, or skip the image")
    # The same answer has the same file, and another one its own: what is on the disk is never half of each.
    digest = hashlib.blake2b(mask.tobytes(), digest_size=6).hexdigest()
    place = folder / f"{query.round:03d}" / "masks" / f"{query.id}-{digest}.png"
    if not place.is_file():
        write_mask(place, mask)
    return Target(classes[:last], mask=place)
