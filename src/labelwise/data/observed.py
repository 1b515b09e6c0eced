"""From what is known of one picture (classes, perhaps with boxes) to its samples: whole, or as crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labelwise.data.crops import box_text, widened
from labelwise.data.joined_files import Folder
from labelwise.errors import DataError
from labelwise.records import Crop, Sample, Target

EMPTY = "empty"  # the class of pictures without anything

Crops = Literal["best", "all", "none"]
Meta = dict[str, str | float | bool]


@dataclass(frozen=True, slots=True)
class Observed:
    """One thing that is known of a picture: its class ("" unknown), and its box as shares of the picture, if any."""

    label: str
    box: Crop | None = None
    sure: float = 1.0


def check_margin(margin: float) -> float:
    """The margin of crops. Raises DataError if it is out of range."""
    if not 0 <= margin <= 10:
        raise DataError(f"margin: expected a share of the box's sides, 0 to 10, found {margin}; 0.1 is usual")
    return margin


def samples_of(
    id: str, seen: Sequence[Observed], meta: Meta, folder: Folder, *, crops: Crops, margin: float
) -> Iterator[Sample]:
    """The samples of a picture: one whole; or of its surest (then largest) box; or one for each box, with its class.

    A picture with a class has it whatever else says that it is empty. One with several classes is left out, with the
    problem ``several_classes``, where it would be one sample. Without boxes it is whole.
    """
    path = folder.files[id]
    boxes = [one for one in seen if one.box is not None]
    if crops == "all" and boxes:
        for number, one in enumerate(sorted(boxes, key=_rank), start=1):
            yield _cut(f"{id}#{number}", path, one, {**meta, "file": id}, margin)
        return
    names = sorted({one.label for one in seen} - {""})
    names = [name for name in names if name != EMPTY] or names
    if len(names) > 1:
        folder.note(id, "several_classes", f"{' and '.join(names[:3])}; left out, one image has one class here")
        return
    label = names[0] if names else ""
    if crops == "best" and boxes:
        # A box of no class still shows the animal that the picture's class is about.
        best = min(boxes, key=_rank)
        yield _cut(id, path, Observed(label, best.box, best.sure), meta, margin)
        return
    yield Sample(id, path, target=Target((label,)) if label else None, meta=meta)


def clipped(x: float, y: float, width: float, height: float) -> Crop | None:
    """A box inside the picture, or None if nothing of it is."""
    box = max(0.0, x), max(0.0, y), min(1.0, x + width), min(1.0, y + height)
    return box if box[0] < box[2] and box[1] < box[3] else None


def known(meta: Mapping[str, str | float | bool | None]) -> Meta:
    """The metadata without what is not known."""
    return {name: value for name, value in meta.items() if value is not None and value != ""}


def _cut(id: str, path: Path, one: Observed, meta: Meta, margin: float) -> Sample:
    assert one.box is not None
    target = Target((one.label,)) if one.label else None
    return Sample(id, path, target=target, meta={**meta, "box": box_text(one.box)}, crop=widened(one.box, margin))


def _rank(one: Observed) -> tuple[float, float, Crop]:
    assert one.box is not None
    x0, y0, x1, y1 = one.box
    return -one.sure, -(x1 - x0) * (y1 - y0), one.box
