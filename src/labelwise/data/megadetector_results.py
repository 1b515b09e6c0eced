"""What MegaDetector found, image by image, surest first: read from its JSON, or as Timelapse keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.joined_files import Folder, folder_of
from labelwise.data.json_lists import beginning, ending, read_object
from labelwise.data.listing import shown
from labelwise.data.timelapse import DELETE, read_rows
from labelwise.data.timelapse_recognitions import read_recognitions
from labelwise.data.times import local_time
from labelwise.errors import DataError
from labelwise.records import Crop, Problem

THRESHOLD = 0.2  # where the file does not say its detector's own
ANIMAL = "animal"
NOT_LOOKED_AT = "no detections"  # why an entry says neither what is there nor that nothing is
_CONVENTION = {"1": ANIMAL, "2": "person", "3": "vehicle"}  # of files that lack the table


@dataclass(frozen=True, slots=True)
class Found:
    """One detection: the name of its category, its confidence, its box as shares of the picture, and the surest class
    that a classifier gave it, with its probability."""

    category: str
    confidence: float
    box: Crop
    label: str = ""
    sure: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of the file: its name, what was found, surest first; why it could not be read; and when it was
    taken."""

    file: str
    found: tuple[Found, ...] = ()
    failure: str = ""
    taken: str | None = None


@dataclass(slots=True)
class _Raw:
    """The file's images as they come by; categories may only be named behind them."""

    entries: list[tuple[str, Any, Any, Any]] = field(default_factory=list)
    strange: int = 0

    def take(self, image: Any) -> None:
        name = image.get("file") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name.strip():
            self.strange += 1
            return
        detections = image.get("detections")
        if isinstance(detections, list):  # as tuples: dictionaries of a million images would fill the memory
            detections = [_packed(detection) for detection in detections]
        self.entries.append((name, detections, image.get("failure"), image.get("datetime")))


@dataclass(frozen=True, slots=True)
class Results:
    """A file of MegaDetector: its version, the threshold it recommends (None: it does not say), its entries, how many
    entries and detections could not be understood, and what was left out for other reasons."""

    version: str
    threshold: float | None
    entries: tuple[Entry, ...]
    strange: int
    bad_detections: int
    problems: tuple[Problem, ...] = ()

    def least(self, wanted: float | None) -> float:
        """The confidence from which a detection counts: as wanted, else as the file recommends, else 0.2."""
        return next(value for value in (wanted, self.threshold, THRESHOLD) if value is not None)


def is_megadetector(path: Path) -> bool:
    """True if a file begins or ends like MegaDetector's batch output."""
    if path.suffix.lower() != ".json":
        return False
    start = beginning(path)
    if not start.lstrip().startswith("{") or '"annotations"' in start:
        return False
    told = start + ending(path)
    return '"detection_categories"' in told or ('"detections"' in told and '"file"' in told)


def load(path: Path) -> Results:
    """The entries of a file: a JSON, or a .ddb of Timelapse. Raises DataError if it is no output of MegaDetector."""
    if path.suffix.lower() == ".ddb":
        return _of_timelapse(path)
    raw = _Raw()
    told = read_object(path, {"images": raw.take})
    if not isinstance(told.get("images"), list):
        raise DataError(f"{path}: expected MegaDetector's batch output with images, found none; check the path")
    categories = _names(told.get("detection_categories")) or _CONVENTION
    labels = _names(told.get("classification_categories"))
    info = told.get("info") if isinstance(told.get("info"), dict) else {}
    assert isinstance(info, dict)
    about = info.get("detector_metadata")
    threshold = about.get("typical_detection_threshold") if isinstance(about, dict) else None
    bad = 0
    entries = []
    for name, detections, failure, moment in raw.entries:
        found, wrong = _understood(detections if isinstance(detections, list) else (), categories, labels)
        bad += wrong
        why = str(failure) if failure else "" if isinstance(detections, list) else NOT_LOOKED_AT
        taken = local_time(moment) if isinstance(moment, str) else None
        entries.append(Entry(name, found, why, taken))
    version = str(info.get("format_version", ""))
    return Results(version, _share(threshold), tuple(entries), raw.strange, bad)


def _of_timelapse(path: Path) -> Results:
    """The recognitions that were imported into Timelapse, with the times that it knows."""
    told, rows = read_recognitions(path), read_rows(path)
    if not told.found:
        raise DataError(f"{path}: expected recognitions in it, found none; import them in Timelapse, or name the JSON")
    categories, bad = told.categories or _CONVENTION, 0
    entries, problems = [], list(rows.problems)
    for row in rows.rows:
        if row.values.get(DELETE, "").casefold() == "true":
            problems.append(Problem(row.id, "deleted", f"{shown(row.id)}: marked for deletion in Timelapse; left out"))
            continue
        found, wrong = _understood(told.found.get(row.number, ()), categories, told.labels)
        bad += wrong
        why = "" if row.number in told.found else NOT_LOOKED_AT
        entries.append(Entry(row.id, found, why, row.taken))
    return Results("", _share(told.threshold), tuple(entries), 0, bad, tuple(problems))


def _understood(
    packed: Sequence[Any], categories: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[tuple[Found, ...], int]:
    """The detections of one image, surest first, and how many could not be understood."""
    made = [_found(one, categories, labels) for one in packed]
    found = [one for one in made if one is not None and one.category]
    return tuple(sorted(found, key=lambda one: (-one.confidence, one.box))), sum(one is None for one in made)


def _share(value: Any) -> float | None:
    """A threshold, None where there is none that can be."""
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def folder_for(root: Path, results: Results) -> Folder:
    """The pictures below ``root`` as a file names them. Raises DataError if there is none."""
    folder = folder_of(root, (entry.file for entry in results.entries))
    folder.problems += results.problems
    folder.named |= {problem.id for problem in results.problems}
    return folder


def _packed(detection: Any) -> tuple[Any, Any, Any, Any]:
    """A detection without its dictionary."""
    if not isinstance(detection, dict):
        return None, None, None, None
    labels = detection.get("classifications")
    first = labels[0] if isinstance(labels, list) and labels else None
    return detection.get("category"), detection.get("conf"), detection.get("bbox"), first


def _found(packed: tuple[Any, Any, Any, Any], categories: Mapping[str, str], labels: Mapping[str, str]) -> Found | None:
    """One detection, None if it cannot be understood; of a category that nobody names it is nothing ("")."""
    category, confidence, bbox, first = packed
    sure = _number(confidence)
    if sure is None or not 0 <= sure <= 1 or not isinstance(bbox, list) or len(bbox) != 4:
        return None
    numbers = [_number(value) for value in bbox]
    if any(value is None for value in numbers):
        return None
    x, y, width, height = (float(value) for value in numbers if value is not None)
    box = (max(0.0, x), max(0.0, y), min(1.0, x + width), min(1.0, y + height))
    if not (box[0] < box[2] and box[1] < box[3]):
        return None
    label, probability = "", 0.0
    if isinstance(first, list) and len(first) == 2:
        label, probability = labels.get(str(first[0]), ""), _number(first[1]) or 0.0
    return Found(categories.get(str(category), ""), sure, box, label, probability)


def _number(value: Any) -> float | None:
    """A finite number; some tools write them as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _names(table: Any) -> dict[str, str]:
    return {str(id): str(name).strip() for id, name in table.items()} if isinstance(table, dict) else {}
