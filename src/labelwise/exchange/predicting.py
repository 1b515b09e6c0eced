"""What a trained classifier says of a folder of pictures, or of what a detector found in them; it goes on where it was
stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.data.ahead import read_ahead
from labelwise.data.crops import cropped, squared, widened
from labelwise.data.images import decode_image, read_bytes, taken
from labelwise.data.listing import checked_folder, list_images, shown
from labelwise.data.megadetector_results import ANIMAL, Found, folder_for, load
from labelwise.data.megadetector_writing import CATEGORIES, EMPTY, About
from labelwise.errors import ConfigError, DataError, RunError
from labelwise.evaluate.abstaining import checked_threshold
from labelwise.exchange.classifiers import Classifier, open_classifier
from labelwise.exchange.told import FORMATS, Thing, Told, write_told
from labelwise.models import Progress
from labelwise.models.entry import Pixels
from labelwise.records import Crop

BATCH = 32  # pictures or crops that a network sees at once
_UNCROPPED = (
    "the model learned from crops of animals, and whole pictures were classified: give MegaDetector's JSON with "
    "--detections to classify crops of these too"
)
TOP = 5  # classes that are kept of each
_WAITING = 256  # files that are read before something is written, at most


@dataclass(frozen=True)
class Predicted:
    """What was written: how many ``images``, of them ``failures``, images or crops by ``classes``, and ``notes``."""

    place: Path
    images: int
    failures: int
    classes: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """A file to look at: ``boxes`` as a detector gave them (None: the picture whole), or why it could not be read."""

    id: str
    path: Path
    found: tuple[Found, ...] | None = None
    failure: str = ""
    taken: str | None = None  # as the detector's file says


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was read: the pixels of the whole, or of each box that is classified, by the box's number."""

    file: _File
    pixels: dict[int, Pixels]
    failure: str
    taken: str | None


def predict_images(
    model: str | Path,
    images: str | Path,
    place: str | Path,
    *,
    format: str = "megadetector",
    detections: str | Path | None = None,
    least: float | None = None,
    threshold: float | None = None,
    threads: int = 1,
    progress: Progress = lambda done, total, what: None,
) -> Predicted:
    """Write what a classifier (an .onnx file or a run) says of the pictures below ``images`` to the new ``place``.

    With ``detections``, a JSON of MegaDetector, animals from the confidence ``least`` on (default: what the file
    recommends, else 0.2) are cropped and classified as in training, and all detections are kept. ``format``:
    megadetector, csv or camtrap_dp. Below ``threshold`` (default: the model's) a class is told as "unknown". Files that
    cannot be read are told as failures. Stopped and called again it goes on: what is done lies beside ``place`` until
    then. Raises LabelwiseError.
    """
    place = Path(place)
    check_place(place, format)
    root = checked_folder(images)
    classifier = open_classifier(model, threads=threads)
    limit = classifier.threshold if threshold is None else checked_threshold(threshold)
    files, low, notes = _files(root, Path(detections) if detections is not None else None, least)
    if not files:
        raise DataError(f"{root}: expected pictures below this folder, found none; check the path")
    about = {
        "model": classifier.digest,
        "root": str(root.resolve()),
        "detections": _digest(Path(detections)) if detections is not None else None,
        "files": hashlib.sha256("\n".join(file.id for file in files).encode()).hexdigest(),
        "least": low,
        "version": 2,
    }
    beside = place.with_name(f"{place.name}.partial.jsonl")
    place.parent.mkdir(parents=True, exist_ok=True)
    if done := _begin(beside, about):
        notes.append(f"went on after {done:,} of {len(files):,} images")
    _look(classifier, files, low, threads, beside, done, progress)
    paths = {file.id: file.path for file in files}
    counts: dict[str, int] = {}
    notes += [_UNCROPPED] if classifier.crops and detections is None else []
    detector = "unknown" if detections is not None else "none"
    written = write_told(
        place,
        format,
        _counting(_stored(beside, paths), limit, counts),
        classes=classifier.classes,
        threshold=limit,
        least=low,
        about=About(detector=detector, classifier=f"labelwise {classifier.name}", classification=limit or 0.05),
    )
    beside.unlink()
    failures = counts.pop("", 0)
    return Predicted(place, len(files), failures, dict(sorted(counts.items())), (*notes, *written))


def _look(
    classifier: Classifier,
    files: Sequence[_File],
    least: float,
    threads: int,
    beside: Path,
    done: int,
    progress: Progress,
) -> None:
    """Look at the files from number ``done`` on, and keep what is told of each, a line a file."""
    with beside.open("a", encoding="utf-8") as out:
        for told in _predictions(classifier, files[done:], least, threads):
            out.write(json.dumps(_packed(told), ensure_ascii=False) + "\n")
            done += 1
            if done % BATCH == 0 or done == len(files):
                out.flush()
                progress(done, len(files), "images predicted")


def check_place(place: Path, format: str) -> None:
    """Raise LabelwiseError for an unknown format, or where there is something already."""
    from labelwise.catalog import suggest

    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}: {suggest(format, FORMATS)}")
    if place.exists():
        raise RunError(f"{place}: expected a new file or folder to write, found something there; choose another name")


def _files(root: Path, detections: Path | None, least: float | None) -> tuple[list[_File], float, list[str]]:
    """The files in their order, the confidence from which boxes are classified, and what is worth a word."""
    if detections is None:
        found, problems = list_images(root)
        return [_File(id, path) for id, path in found], 0.0, [p.message for p in problems]
    results = load(detections)
    folder, low = folder_for(root, results), results.least(least)
    files = []
    for entry in results.entries:
        id = folder.join(entry.file)
        if id is not None:
            files.append(_File(id, folder.files[id], entry.found, entry.failure, entry.taken))
    counts: dict[str, int] = {}
    for problem in folder.problems:
        counts[problem.code] = counts.get(problem.code, 0) + 1
    first = {problem.code: problem for problem in reversed(folder.problems)}
    notes = [f"{code}: {n:,}, e.g. {first[code].message}" for code, n in sorted(counts.items())]
    if others := folder.others():
        notes.append(f"{len(others):,} pictures are not named in {detections.name}, e.g. {shown(others[0])}: left out")
    return sorted(files, key=lambda file: file.id), low, notes


def _predictions(classifier: Classifier, files: Sequence[_File], least: float, threads: int) -> Iterator[Told]:
    waiting: list[_Read] = []
    count = 0
    stream = read_ahead(files, lambda file: _read(classifier, file, least), threads=threads, window=4 * threads)
    for read in stream:
        waiting.append(read)
        count += len(read.pixels)
        if count >= BATCH or len(waiting) >= _WAITING:
            yield from _told(classifier, waiting)
            waiting, count = [], 0
    yield from _told(classifier, waiting)


def _read(classifier: Classifier, file: _File, least: float) -> _Read:
    if file.failure:
        return _Read(file, {}, file.failure, None)
    boxes: list[tuple[int, Crop | None]] = [(0, None)]
    if file.found is not None:
        boxes = [
            (number, box.box)
            for number, box in enumerate(file.found)
            if box.category == ANIMAL and box.confidence >= least
        ]
        if not boxes:
            return _Read(file, {}, "", file.taken or taken(file.path))
    try:
        data = read_bytes(file.path, name=file.id)
        picture = decode_image(data, name=file.id)[0]
    except DataError as error:
        return _Read(file, {}, str(error), None)
    pixels = {}
    for number, box in boxes:
        crop = None if box is None else widened(box, classifier.margin)
        if crop is not None and classifier.square:
            crop = squared(crop, picture.size)
        pixels[number] = classifier.entry.pixels(cropped(picture, crop))
    return _Read(file, pixels, "", file.taken or taken(data))


def _told(classifier: Classifier, waiting: Sequence[_Read]) -> Iterator[Told]:
    pixels = [each for read in waiting for each in read.pixels.values()]
    rows = iter(
        [row for first in range(0, len(pixels), BATCH) for row in classifier.probs(pixels[first : first + BATCH])]
    )
    for read in waiting:
        file = read.file
        if read.failure:
            yield Told(file.id, file.path, failure=read.failure)
            continue
        moment = read.taken or ""
        if file.found is None:
            yield Told(file.id, file.path, (_thing(classifier, file.id, None, next(rows)),), taken=moment)
            continue
        things = []
        for number, box in enumerate(file.found):
            id = f"{file.id}#{number + 1}"
            row = next(rows) if number in read.pixels else None
            things.append(_thing(classifier, id, box, row))
        yield Told(file.id, file.path, tuple(things), taken=moment)


def _thing(classifier: Classifier, id: str, box: Found | None, row: Any) -> Thing:
    classes = classifier.classes
    if row is None:
        assert box is not None, id
        return Thing(id, box.box, _category(box.category), box.confidence, by="detector")
    order = np.argsort(-row, kind="stable")[:TOP]
    probs = tuple((classes[i], round(float(row[i]), 6)) for i in order)
    if box is not None:
        return Thing(id, box.box, _category(box.category), box.confidence, probs, by=classifier.name)
    nothing = float(row[classes.index(EMPTY)]) if EMPTY in classes else 0.0
    there = round(min(1.0, max(0.0, 1.0 - nothing)), 6)
    return Thing(id, None, "animal", there, probs, by=classifier.name)


def _category(name: str) -> str:
    return name if name in CATEGORIES else "animal"


def _packed(told: Told) -> dict[str, Any]:
    things = [
        {"id": t.id, "box": t.box, "category": t.category, "conf": t.confidence, "probs": t.probs, "by": t.by}
        for t in told.things
    ]
    rest = {"failure": told.failure, "taken": told.taken}
    return {"file": told.file, "things": things, **{name: text for name, text in rest.items() if text}}


def _stored(file: Path, paths: dict[str, Path]) -> Iterator[Told]:
    with file.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            row = json.loads(line)
            things = tuple(_unpacked(thing) for thing in row["things"])
            yield Told(row["file"], paths[row["file"]], things, row.get("failure", ""), row.get("taken", ""))


def _unpacked(row: dict[str, Any]) -> Thing:
    box = tuple(row["box"]) if row["box"] is not None else None
    probs = tuple((name, p) for name, p in row["probs"])
    return Thing(row["id"], box, row["category"], row["conf"], probs, by=row["by"])


def _begin(file: Path, about: dict[str, Any]) -> int:
    """Begin a file of results, or find how many an earlier call left in it; a line that is not whole is cut off."""
    head = (json.dumps(about, ensure_ascii=False) + "\n").encode()
    data = file.read_bytes() if file.exists() else b""
    if not data.startswith(head):  # of another model or other images
        file.write_bytes(head)
        return 0
    whole = data[: data.rindex(b"\n") + 1]
    if len(whole) < len(data):
        file.write_bytes(whole)
    return whole.count(b"\n") - 1


def _counting(told: Iterable[Told], threshold: float, counts: dict[str, int]) -> Iterator[Told]:
    """The same, counted on the way: classes, and failures as "" ."""
    for one in told:
        names = [""] if one.failure else [name for t in one.things if (name := t.label(threshold)[0])]
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        yield one


def _digest(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: expected MegaDetector's batch output, found no file; check the path")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
