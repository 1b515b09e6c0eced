"""Writing MegaDetector's batch output: recognitions in the JSON that Timelapse and camera-trap tools read."""

from __future__ import annotations

import json
import math
import posixpath
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from labelwise.data.listing import shown
from labelwise.errors import DataError

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
CATEGORIES = ("animal", "person", "vehicle")  # ids 1, 2, 3 by convention; 0 is kept for "empty"
EMPTY = "empty"
WHOLE = (0.0, 0.0, 1.0, 1.0)
STILLS = frozenset({".jpg", ".jpeg"})  # Timelapse takes any other file for a video and loses what was found in it
VIDEOS = frozenset({".asf", ".avi", ".mov", ".mp4"})
_NAMED = 3  # examples in a note


@dataclass(frozen=True, slots=True)
class Detection:
    """Something found in an image: ``confidence`` 0 to 1, ``box`` as x, y, width, height in fractions of the image from
    its upper left corner (None: the whole image), and what it is: names with their probabilities, in any order.

    ``category`` is the detector's; ``frame`` the number of the frame, of a video.
    """

    confidence: float
    box: tuple[float, float, float, float] | None = None
    category: str = "animal"
    classes: Sequence[tuple[str, float]] = ()
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was found in one file. ``file`` is its path relative to the image root, with ``/``; no detections: it was
    looked at and is empty. ``failure`` says why it could not be looked at. The last two are of a video."""

    file: str
    detections: Sequence[Detection] = ()
    failure: str = ""
    frame_rate: float | None = None
    frames_processed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What the file says of its models; the thresholds are what tools begin with.

    Timelapse drops detections below the larger of 0.03 and ``conservative`` / 2.5, and classifications below the larger
    of 0.03 and ``classification`` / 2.5.
    """

    detector: str = "unknown"
    classifier: str = "labelwise"
    typical: float = 0.2
    conservative: float = 0.05
    classification: float = 0.05
    finished: str | None = None  # "YYYY-MM-DD HH:MM:SS"; None: now
    descriptions: Mapping[str, str] = field(default_factory=dict)  # a taxonomy by class name


def write(
    path: Path,
    recognitions: Iterable[Recognition],
    *,
    classes: Sequence[str],
    categories: Sequence[str] = CATEGORIES,
    about: About | None = None,
    version: str = "1.5",
    top: int = 5,
) -> list[str]:
    """Write a batch output file, whole or not at all, one image in memory at a time; returns what is worth a word.

    ``classes`` become the classification categories 0, 1, ..., ``categories`` the detection categories 1, 2, ...
    A class that is called like a detection category is written under another name, see `written_names`. Of each
    detection the ``top`` likeliest classes are written, the best first. Confidences have 3 decimals, boxes 4. Raises
    DataError, naming the file, for a name that is not known, a number that is none, or a file that occurs twice.
    Format: lila.science/megadetector-output-format, versions 1.0 to 1.6.
    """
    if version not in VERSIONS:
        raise DataError(f"MegaDetector format {version!r}: expected one of {', '.join(VERSIONS)}")
    names, notes = written_names(classes, categories)
    kinds = {name: str(number) for number, name in enumerate(categories, start=1)}
    ids = {name: str(number) for number, name in enumerate(classes)}
    head = _head(about or About(), version, kinds, ids, names)
    told = _Told()
    beside = path.with_name(f"{path.name}.partial")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            _write_all(file, head, (_image(r, kinds, ids, version, top, told) for r in recognitions))
        beside.replace(path)
    except BaseException:  # a full disk, a bad record, or Ctrl-C: no half of it stays behind
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    return notes + told.notes()


def whole_image(file: str, classes: Sequence[str], probs: Sequence[float], *, empty: str = EMPTY) -> Recognition:
    """The recognition that a classifier of whole images gives: one detection over all of it, as sure as there is
    anything at all, or none where ``empty`` is the likeliest class. Its category is the likeliest class if that is one,
    else animal."""
    best = max(range(len(classes)), key=lambda i: (probs[i], -i), default=None)
    if best is None or classes[best] == empty:
        return Recognition(file)
    nothing = sum(float(p) for name, p in zip(classes, probs, strict=True) if name == empty)
    said = tuple((name, float(p)) for name, p in zip(classes, probs, strict=True) if name != empty)
    category = classes[best] if classes[best] in CATEGORIES else "animal"
    return Recognition(file, (Detection(min(1.0, max(0.0, 1.0 - nothing)), None, category, said),))


def written_names(classes: Sequence[str], categories: Sequence[str] = CATEGORIES) -> tuple[dict[str, str], list[str]]:
    """The name that each class has in the file, and what is worth a word.

    Timelapse takes a file whose first class is called like a detection category for one of another program, and asks to
    cancel: such a class gets " (class)" behind its name. Raises DataError for blank names and names that repeat.
    """
    if any(not name.strip() for name in (*classes, *categories)):
        raise DataError("MegaDetector format: expected names for all classes, found a blank one; name it")
    repeated = [name for name, count in Counter(classes).items() if count > 1]
    if repeated:
        raise DataError(f"MegaDetector format: expected each class once, found {repeated[0]!r} twice")
    taken = {name.casefold() for name in categories}
    used = {name.casefold() for name in classes} | taken
    names, notes = {}, []
    for name in classes:
        written = name
        while written.casefold() in taken or (written != name and written.casefold() in used):
            written += " (class)"
        names[name] = written
        if written != name:
            notes.append(f"class {name!r} is written as {written!r}: a detection category has its name")
    alike = [name for name, count in Counter(name.casefold() for name in classes).items() if count > 1]
    notes += [f"classes differ in letter case only ({name!r}): Timelapse offers to merge them" for name in alike]
    return names, notes


class _Told:
    """What was seen on the way: the files so far, and those that Timelapse does not know how to show."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.strange: list[str] = []
        self.count = 0

    def see(self, file: str) -> bool:
        """Take note of a file, which must be a new one; whether it is a video."""
        if file in self.files:
            raise DataError(f"{shown(file)}: expected each image once in the recognitions, found it twice")
        self.files.add(file)
        suffix = posixpath.splitext(file)[1].lower()
        if suffix not in STILLS and suffix not in VIDEOS:
            self.count += 1
            self.strange += [file] if self.count <= _NAMED else []
        return suffix in VIDEOS

    def notes(self) -> list[str]:
        if not self.count:
            return []
        named = ", ".join(map(shown, self.strange)) + (", ..." if self.count > _NAMED else "")
        what = "file is" if self.count == 1 else "files are"
        note = f"{self.count:,} {what} neither .jpg nor .jpeg ({named}): Timelapse shows no recognitions of such files"
        return [note]


def _head(
    about: About, version: str, kinds: Mapping[str, str], ids: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, Any]:
    finished = about.finished or time.strftime("%Y-%m-%d %H:%M:%S")
    info: dict[str, Any] = {
        "format_version": version,
        "detector": about.detector,
        "detection_completion_time": finished,
        "classifier": about.classifier,
        "classification_completion_time": finished,
    }
    if version >= "1.2":
        info["detector_metadata"] = {
            "megadetector_version": "unknown",
            "typical_detection_threshold": about.typical,
            "conservative_detection_threshold": about.conservative,
        }
        info["classifier_metadata"] = {"typical_classification_threshold": about.classification}
    # "Empty" is what Timelapse itself adds to the detection categories: it must not come first.
    ordered = sorted(ids, key=lambda name: (name.casefold() == EMPTY, int(ids[name])))
    head: dict[str, Any] = {"info": info, "detection_categories": {number: name for name, number in kinds.items()}}
    if ordered:
        head["classification_categories"] = {ids[name]: names[name] for name in ordered}
    if ordered and about.descriptions:
        described = {ids[name]: about.descriptions.get(name, names[name]) for name in ordered}
        head["classification_category_descriptions"] = described
    return head


def _write_all(file: IO[str], head: Mapping[str, Any], images: Iterator[dict[str, Any]]) -> None:
    text = json.dumps(head, ensure_ascii=False, indent=1)
    file.write(text[: text.rindex("}")].rstrip() + ',\n "images": [')
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    mark = "\n  "
    for image in images:
        file.write(mark + encode(image))
        mark = ",\n  "
    file.write("\n ]\n}\n")


def _image(
    recognition: Recognition, kinds: Mapping[str, str], ids: Mapping[str, str], version: str, top: int, told: _Told
) -> dict[str, Any]:
    video = told.see(recognition.file)
    image: dict[str, Any] = {"file": recognition.file}
    if video and version >= "1.4":
        if not recognition.frame_rate or not math.isfinite(recognition.frame_rate) or recognition.frame_rate < 0:
            raise DataError(f"{shown(recognition.file)}: expected the frame rate of the video, found none")
        image["frame_rate"] = recognition.frame_rate
        if version >= "1.5":
            image["frames_processed"] = [int(number) for number in recognition.frames_processed]
    if recognition.failure:
        return {**image, "failure": recognition.failure, "detections": None}
    try:
        found = [_detection(detection, kinds, ids, version, top, video) for detection in recognition.detections]
    except ValueError as error:
        raise DataError(f"{shown(recognition.file)}: {error}") from None
    found.sort(key=lambda detection: -float(detection["conf"]))
    if version < "1.3":
        image["max_detection_conf"] = max((detection["conf"] for detection in found), default=0.0)
    return {**image, "detections": found}


def _detection(
    detection: Detection, kinds: Mapping[str, str], ids: Mapping[str, str], version: str, top: int, video: bool
) -> dict[str, Any]:
    if detection.category not in kinds:
        raise ValueError(f"expected a category of {', '.join(kinds)}, found {detection.category!r}")
    written: dict[str, Any] = {
        "category": kinds[detection.category],
        "conf": _share(detection.confidence, "a confidence"),
        "bbox": _box(WHOLE if detection.box is None else detection.box),
    }
    if video and version >= "1.4":
        if detection.frame is None or detection.frame < 0:
            raise ValueError("expected the frame of a detection in a video, found none")
        written["frame_number"] = int(detection.frame)
    if said := _classifications(detection.classes, ids, top):
        written["classifications"] = said  # never null: Timelapse would refuse the whole file
    return written


def _classifications(classes: Sequence[tuple[str, float]], ids: Mapping[str, str], top: int) -> list[list[Any]]:
    for name, _ in classes:
        if name not in ids:
            raise ValueError(f"expected a class of the run, found {name!r}")
    ranked = sorted(classes, key=lambda pair: (-pair[1], int(ids[pair[0]])))
    rounded = [(ids[name], _share(p, "a probability")) for name, p in ranked[:top]]
    return [[id, p] for place, (id, p) in enumerate(rounded) if p > 0 or place == 0]


def _share(value: float, what: str) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"expected {what} of 0 to 1, found {value}")
    return round(float(value), 3)


def _box(box: Sequence[float]) -> list[float]:
    """Rounded, and inside the image however it was rounded."""
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise ValueError(f"expected a box of x, y, width, height, found {tuple(box)}")
    x, y, width, height = (float(value) for value in box)
    x1, y1 = (round(min(max(edge, 0.0), 1.0), 4) for edge in (x + width, y + height))
    x0, y0 = (round(min(max(edge, 0.0), 1.0), 4) for edge in (x, y))
    if x1 < x0 or y1 < y0:
        raise ValueError(f"expected a box of x, y, width, height in fractions of the image, found {tuple(box)}")
    return [x0, y0, round(x1 - x0, 4), round(y1 - y0, 4)]
