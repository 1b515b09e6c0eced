"""What was told of images, by a model or by people, and writing it: MegaDetector's JSON, CSV, or Camtrap DP."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labelwise.data import camtrap_dp_writing, megadetector_writing
from labelwise.data.crops import box_text
from labelwise.data.megadetector_writing import CATEGORIES, EMPTY, About, Detection, Recognition
from labelwise.data.sequences import camera_folder
from labelwise.evaluate.abstaining import UNKNOWN
from labelwise.ownership import open_explained
from labelwise.records import Crop, Sample

Meta = Mapping[str, str | float | bool]
COLUMNS = (
    "file", "x", "y", "width", "height", "category", "detection_confidence", "class", "confidence", "method", "by",
    "failure",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in an image, or the image itself where ``box`` (x0, y0, x1, y1, shares of it) is None.

    ``category`` and ``confidence`` are the detector's; of a whole image how likely there is anything. ``probs``: the
    likeliest classes, best first. ``human`` is the class that people gave, "" where none did; ``by`` who or what said
    so, ``at`` when (ISO with a zone; "": now). Something that was not classified has neither: a detection too faint,
    or a person.
    """

    id: str
    box: Crop | None = None
    category: str = "animal"
    confidence: float = 1.0
    probs: tuple[tuple[str, float], ...] = ()
    human: str = ""
    by: str = ""
    at: str = ""
    meta: Meta = field(default_factory=dict)

    def label(self, threshold: float) -> tuple[str, float | None]:
        """The class and how sure it is: what people say, else the likeliest class, "unknown" below the threshold."""
        if self.human:
            return self.human, None
        if not self.probs:
            return "", None
        name, sure = self.probs[0]
        return (name if sure >= threshold - 5e-7 else UNKNOWN), sure


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one file: ``file`` is its path below the image root with ``/``. ``failure`` says why nothing
    could be; ``taken`` is the camera's local time (ISO), where it is known."""

    file: str
    path: Path
    things: tuple[Thing, ...] = ()
    failure: str = ""
    taken: str = ""


def write_told(
    place: Path,
    format: str,
    told: Iterable[Told],
    *,
    classes: Sequence[str],
    threshold: float,
    least: float,
    about: About,
) -> list[str]:
    """Write ``place`` in a format of ``FORMATS``; returns what is worth a word. Detections from ``least`` on count as
    there; fainter ones are kept in MegaDetector's JSON alone."""
    with open_explained(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        return FORMATS[format](place, told, tuple(classes), threshold, least, about)


def _write_json(
    place: Path, told: Iterable[Told], classes: tuple[str, ...], threshold: float, least: float, about: About
) -> list[str]:
    names = classes if threshold <= 0 or UNKNOWN in classes else (*classes, UNKNOWN)
    found = (_recognition(one, threshold) for one in told)
    return megadetector_writing.write(place, found, classes=names, about=about)


def _recognition(told: Told, threshold: float) -> Recognition:
    if told.failure:
        return Recognition(told.file, failure=told.failure)
    found = (_detection(thing, threshold) for thing in told.things)
    return Recognition(told.file, tuple(one for one in found if one is not None))


def _detection(thing: Thing, threshold: float) -> Detection | None:
    name, sure = thing.label(threshold)
    if thing.box is None and name == EMPTY:  # nothing is there to draw a box around
        return None
    classes: tuple[tuple[str, float], ...] = thing.probs
    if thing.human:
        classes = ((name, 1.0),)
    elif name == UNKNOWN and sure is not None:
        classes = ((UNKNOWN, sure),)
    elif thing.box is None:
        classes = tuple(pair for pair in thing.probs if pair[0] != EMPTY)
    box = None if thing.box is None else _corner_and_size(thing.box)
    category = name if thing.box is None and name in CATEGORIES else thing.category
    return Detection(thing.confidence, box, category, classes)


def _corner_and_size(box: Crop) -> tuple[float, float, float, float]:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def _counted(told: Told, threshold: float, least: float) -> Iterator[tuple[Thing, str, float | None]]:
    """The things of a file that count, each with its class; a file where nothing does is empty."""
    some = False
    for thing in told.things:
        name, sure = thing.label(threshold)
        if not name and thing.category != "animal" and thing.confidence >= least:
            name, sure = thing.category, thing.confidence
        if name:
            some = True
            yield thing, name, sure
    if not some:
        yield Thing(told.file, by="detector"), EMPTY, None


def _write_csv(
    place: Path, told: Iterable[Told], classes: tuple[str, ...], threshold: float, least: float, about: About
) -> list[str]:
    beside = place.with_name(f"{place.name}.partial")
    try:
        with beside.open("w", encoding="utf-8-sig", newline="") as file:  # the mark: else Excel misreads names
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for one in told:
                writer.writerows(_rows(one, threshold, least))
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return []


def _rows(told: Told, threshold: float, least: float) -> Iterator[list[object]]:
    if told.failure:
        yield [told.file, *[""] * (len(COLUMNS) - 2), told.failure]
        return
    for thing, name, sure in _counted(told, threshold, least):
        box = ["", "", "", ""] if thing.box is None else [f"{v:.6g}" for v in _corner_and_size(thing.box)]
        detected = ["", ""] if thing.box is None else [thing.category, f"{thing.confidence:.6g}"]
        method = "human" if thing.human else "machine"
        yield [told.file, *box, *detected, name, "" if sure is None else f"{sure:.6f}", method, thing.by, ""]


def _write_camtrap_dp(
    place: Path, told: Iterable[Told], classes: tuple[str, ...], threshold: float, least: float, about: About
) -> list[str]:
    return camtrap_dp_writing.write(place, _seen(told, threshold, least), title=about.classifier)


def _seen(told: Iterable[Told], threshold: float, least: float) -> Iterator[camtrap_dp_writing.Seen]:
    for one in told:
        if one.failure:  # the standard has no word for a file that cannot be read
            continue
        for thing, name, sure in _counted(one, threshold, least):
            place = camera_folder(one.file)
            meta: dict[str, str | float | bool] = {} if place is None else {"location": place}
            meta |= {**({"taken": one.taken} if one.taken else {}), **thing.meta, "file": one.file}
            if thing.box is not None:
                meta.setdefault("box", box_text(thing.box))
            sample = Sample(thing.id, one.path, meta=meta)
            method: Literal["human", "machine"] = "human" if thing.human else "machine"
            yield camtrap_dp_writing.Seen(sample, name, method, thing.by, thing.at, sure)


_Write = Callable[[Path, Iterable[Told], tuple[str, ...], float, float, About], list[str]]
FORMATS: Mapping[str, _Write] = {"megadetector": _write_json, "csv": _write_csv, "camtrap_dp": _write_camtrap_dp}
