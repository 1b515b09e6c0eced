"""Format: MegaDetector's batch output (JSON 1.0 to 1.6, or as Timelapse keeps it) beside a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from labelwise.data import csv_table, timelapse_dataset
from labelwise.data.crops import box_text, widened
from labelwise.data.joined_files import Folder
from labelwise.data.listing import Listing, checked_folder, make_listing, shown
from labelwise.data.matching import match_names, unknown_names
from labelwise.data.megadetector_results import ANIMAL, NOT_LOOKED_AT, Entry, Found, Results, folder_for, load
from labelwise.data.observed import EMPTY, Crops, Meta, check_margin
from labelwise.data.sequences import MINUTES, placed
from labelwise.data.timelapse import is_database, is_timelapse_csv
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target


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
    low = results.least(threshold)
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
