"""Format: MegaDetector's batch output (JSON 1.0 to 1.6, or as Timelapse keeps it) beside a folder of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from labelwise.data import csv_table, timelapse_dataset
from labelwise.data.crops import box_text, widened
from labelwise.data.joined_files import Folder, folder_of
from labelwise.data.json_lists import beginning, ending, read_object
from labelwise.data.listing import Listing, checked_folder, make_listing, shown
from labelwise.data.matching import match_names, unknown_names
from labelwise.data.observed import EMPTY, Crops, Meta, check_margin
from labelwise.data.sequences import MINUTES, placed
from labelwise.data.timelapse import DELETE, is_database, is_timelapse_csv, read_rows
from labelwise.data.timelapse_recognitions import read_recognitions
from labelwise.data.times import local_time
from labelwise.errors import DataError
from labelwise.records import Crop, Problem, Sample, Target

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


def read(
    path: Path | str,
    *,
    images: Path | str | None = None,
    threshold: float | None = None,
    crops: Crops = "best",
    margin: float = 0.1,
    square: bool = True,
    people: bool = False,
    people_threshold: float | None = None,
    empty: Literal["ask", "label", "leave_out"] = "ask",
    others: Literal["leave_out", "whole"] = "leave_out",
    labels: Path | str | None = None,
    classes: Sequence[str] = (),
    location: str | int | None = "folder",
    sequence_minutes: float = MINUTES,
    group: str | None = "location",
) -> Listing:
    """List the pictures below ``images`` (default: the JSON's folder) that the JSON names, as crops of what it found.

    ``path`` may be Timelapse's .ddb instead, with recognitions. A detection counts from ``threshold`` on (default: what
    the file recommends, else 0.2). ``crops``: "best" is one sample an image, of the surest animal; "all" one for each,
    ids ``file#1`` from the surest on; "none" whole images. The box is widened by ``margin`` of its sides and, if
    ``square``, made square with more of the picture, so that nothing is distorted. An image with a person or vehicle of
    ``people_threshold`` (default: half the threshold) is left out whole unless ``people``; then they are cropped and
    asked about like animals. ``empty`` is what becomes of images where nothing reaches the threshold: asked about
    whole, labelled "empty" without asking, or left out. ``others``: pictures that the JSON does not name. ``labels``: a
    CSV with path and class, or a table of Timelapse. ``location``, ``sequence_minutes`` and ``group`` as in
    ``labelwise.data.sequences``.

    Problems: ``failure`` (the detector could not read it), ``no_detections`` (it says neither), ``missing``, ``video``,
    ``repeated``, ``not_in_json``, ``people``, ``nothing_found``, ``bad_entry`` and ``bad_detection`` (with their
    counts), ``deleted`` (marked in Timelapse), ``other_root``, ``unknown_name`` (in ``labels``). Raises DataError for a
    file that is none of these, or options out of range.
    """
    path = Path(path)
    for name, value in (("threshold", threshold), ("people_threshold", people_threshold)):
        if value is not None and not 0 <= value <= 1:
            raise DataError(f"{name}: expected a confidence of 0 to 1, found {value}; 0.2 is usual")
    check_margin(margin)
    results = load(path)
    root = checked_folder(path.parent if images is None else path.parent / images)
    folder = folder_for(root, results)
    low = threshold if threshold is not None else results.threshold if results.threshold is not None else THRESHOLD
    rules = Rules(low, low / 2 if people_threshold is None else people_threshold, crops, margin, people, empty)
    samples = [sample for entry in results.entries for sample in _samples(entry, folder, rules)]
    for id in folder.others():
        if others == "whole":
            samples.append(Sample(id, folder.files[id]))
        else:
            folder.note(id, "not_in_json", f"{path.name} does not name it; left out (others: whole takes it in)")
    _tell_counts(path, results, folder)
    if not samples:
        raise DataError(_nothing(path, root, folder))
    known = _labels(path.parent / labels, samples, folder) if labels is not None else samples
    found, told, camera = placed(known, location=location, minutes=sequence_minutes, group=group, square=square)
    used = {sample.target.classes[0] for sample in found if sample.target is not None}
    nothing = [EMPTY] if empty != "leave_out" or EMPTY in used else []
    names = dict.fromkeys([*classes, *sorted(used - {EMPTY}), *nothing])
    return make_listing(root, found, names, [*folder.problems, *told], camera)


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


def is_megadetector(path: Path) -> bool:
    """True if a file begins or ends like MegaDetector's batch output."""
    if path.suffix.lower() != ".json":
        return False
    start = beginning(path)
    if not start.lstrip().startswith("{") or '"annotations"' in start:
        return False
    told = start + ending(path)
    return '"detection_categories"' in told or ('"detections"' in told and '"file"' in told)


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of detections: the options of ``read``."""

    threshold: float
    people_threshold: float
    crops: Crops
    margin: float
    people: bool
    empty: str


def _samples(entry: Entry, folder: Folder, rules: Rules) -> Iterator[Sample]:
    """The samples of one entry; why there are none becomes a problem."""
    id = folder.join(entry.file)
    if id is None:
        return
    if entry.failure:
        code = "no_detections" if entry.failure == NOT_LOOKED_AT else "failure"
        folder.note(
            id, code, f"expected detections, found {shown(entry.failure)!r}; left out, run the detector on it again"
        )
        return
    hidden = [one for one in entry.found if one.category != ANIMAL and one.confidence >= rules.people_threshold]
    if hidden and not rules.people:
        what = f"{hidden[0].category} of confidence {hidden[0].confidence:.2f}"
        folder.note(id, "people", f"{what}; not shown (people: true shows it)")
        return
    good = [
        one for one in entry.found if one.confidence >= rules.threshold and (rules.people or one.category == ANIMAL)
    ]
    meta: Meta = {} if entry.taken is None else {"taken": entry.taken}
    if not good:
        if rules.empty == "leave_out":
            folder.note(id, "nothing_found", f"nothing of confidence {rules.threshold:g}; left out")
            return
        target = Target((EMPTY,)) if rules.empty == "label" else None
        yield Sample(id, folder.files[id], target=target, meta={**meta, "detections": 0})
        return
    several = rules.crops == "all"
    for number, one in enumerate(good if several else good[:1], start=1):
        meta_of = {**meta, **_told(one), "detections": len(good), **({"file": id} if several else {})}
        crop = None if rules.crops == "none" else widened(one.box, rules.margin)
        yield Sample(f"{id}#{number}" if several else id, folder.files[id], meta=meta_of, crop=crop)


def _told(one: Found) -> Meta:
    """What the detector says of a crop, for the sample's metadata."""
    told: Meta = {"detected": one.category, "confidence": one.confidence, "box": box_text(one.box)}
    return {**told, "classified": one.label, "classified_confidence": one.sure} if one.label else told


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


def _tell_counts(path: Path, results: Results, folder: Folder) -> None:
    if results.strange:
        message = f"{path.name}: {results.strange:,} entries without a file name; left out"
        folder.problems.append(Problem("", "bad_entry", message))
    if results.bad_detections:
        what = "detections without a confidence of 0 to 1 or a box in the picture; passed over"
        folder.problems.append(Problem("", "bad_detection", f"{path.name}: {results.bad_detections:,} {what}"))


def _labels(table: Path, samples: Iterable[Sample], folder: Folder) -> list[Sample]:
    """The samples with the classes that a table gives their files."""
    own = table.is_file() and (is_database(table) or is_timelapse_csv(table))
    named = timelapse_dataset.labels_of(table) if own else csv_table.read_classes(table)
    joined, unknown = match_names(list(named), folder.files, folder.root)
    folder.problems += unknown_names(unknown, folder.files)
    targets = {id: Target((named[name],)) for name, id in joined.items()}
    return [
        replace(s, target=targets[file]) if (file := str(s.meta.get("file", s.id))) in targets else s for s in samples
    ]


def _nothing(path: Path, root: Path, folder: Folder) -> str:
    counts: dict[str, int] = {}
    for problem in folder.problems:
        counts[problem.code] = counts.get(problem.code, 0) + 1
    why = ", ".join(f"{count:,} {code}" for code, count in sorted(counts.items())) or "no entries"
    return f"{path}: expected pictures to ask about below {root}, found none ({why}); is images right?"
