"""Format: COCO Camera Traps. A JSON with images, their locations, times and sequences, and a class for each image."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.images import header_size
from labelwise.data.joined_files import Folder, folder_of
from labelwise.data.json_lists import beginning, read_object
from labelwise.data.listing import Listing, checked_folder, make_listing
from labelwise.data.observed import EMPTY, Crops, Meta, Observed, check_margin, clipped, known, samples_of
from labelwise.data.sequences import MINUTES, placed
from labelwise.data.times import local_time
from labelwise.errors import DataError
from labelwise.records import Crop, Problem, Sample

_OWN = re.compile(r'"(seq_id|seq_num_frames|frame_num|location|sequence_level_annotation|corrupt)"\s*:')


@dataclass(frozen=True, slots=True)
class _Image:
    """An entry of ``images``, without its dictionary."""

    file: str
    corrupt: bool
    size: tuple[float, float] | None
    meta: Meta


@dataclass(frozen=True, slots=True)
class _Said:
    """An annotation, without its dictionary."""

    category: Any
    box: tuple[float, ...] | None
    relative: bool
    count: float | None
    of_sequence: bool


@dataclass(slots=True)
class _Contents:
    """What the file holds, as it comes by."""

    images: dict[Any, _Image] = field(default_factory=dict)
    said: dict[Any, list[_Said]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def take_image(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or _key(entry.get("id")) is None:
            self.counts["bad_entry"] += 1
            return
        id = _key(entry["id"])
        if id in self.images:
            self.counts["repeated_id"] += 1
            return
        taken = entry.get("datetime")
        meta: dict[str, str | float | bool | None] = {
            "taken": local_time(taken) if isinstance(taken, str) else None,
            "location": _text(entry.get("location")),
            "sequence": _text(entry.get("seq_id")),
            "frame": _number(entry.get("frame_num")),
        }
        if isinstance(taken, str) and taken.strip() and meta["taken"] is None:
            self.counts["no_time"] += 1
        width, height = _number(entry.get("width")), _number(entry.get("height"))
        size = (width, height) if width and height and width > 0 and height > 0 else None
        self.images[id] = _Image(entry["file_name"], bool(entry.get("corrupt")), size, known(meta))

    def take_annotation(self, entry: Any) -> None:
        image = _key(entry.get("image_id")) if isinstance(entry, dict) else None
        if image is None or _key(entry.get("category_id")) is None:
            self.counts["bad_annotation"] += 1
            return
        relative = entry.get("bbox_relative") is not None
        raw = entry.get("bbox_relative") if relative else entry.get("bbox")
        box = None
        if raw is not None:
            numbers = [_number(value) for value in raw] if isinstance(raw, list) and len(raw) == 4 else [None]
            if any(value is None for value in numbers):
                self.counts["bad_box"] += 1
            else:
                box = tuple(value for value in numbers if value is not None)
        of_sequence = bool(entry.get("sequence_level_annotation"))
        said = _Said(_key(entry["category_id"]), box, relative, _number(entry.get("count")), of_sequence)
        self.said[image].append(said)


def read(
    path: Path | str,
    *,
    images: Path | str | None = None,
    crops: Crops = "none",
    margin: float = 0.1,
    square: bool = True,
    sequence_labels: bool = True,
    location: str | int | None = "folder",
    sequence_minutes: float = MINUTES,
    group: str | None = "location",
) -> Listing:
    """List the pictures below ``images`` (default: the JSON's folder) that a COCO Camera Traps file names.

    The class is the annotations' category; an image without annotation is unlabelled. ``crops``: "none" is whole
    images; "best" the largest box of each; "all" one sample a box, ids ``file#1`` on, each with its class. ``margin``
    and ``square`` as in ``labelwise.data.megadetector``. ``sequence_labels``: false takes no class from annotations
    that are about the whole sequence (the animal need not be in each picture). Location, time and sequence are those of
    the file; where it says none, ``location``, EXIF and ``sequence_minutes`` are used. ``group`` as in
    ``labelwise.data.sequences``.

    Problems: ``corrupt`` (says the file), ``several_classes``, ``missing``, ``video``, ``repeated``, ``other_root``,
    ``not_in_json``; with their counts ``bad_entry``, ``repeated_id``, ``bad_annotation``, ``bad_box``,
    ``unknown_image``, ``unknown_category``, ``no_time``, ``of_sequence``. Raises DataError for a file that is no such
    JSON.
    """
    path = Path(path)
    check_margin(margin)
    contents = _Contents()
    told = read_object(path, {"images": contents.take_image, "annotations": contents.take_annotation})
    names = _categories(told.get("categories"), contents)
    if not isinstance(told.get("images"), list) or not names:
        lacking = "categories" if isinstance(told.get("images"), list) else "images"
        raise DataError(f"{path}: expected COCO Camera Traps with images and categories, found no {lacking}; check it")
    root = checked_folder(path.parent if images is None else path.parent / images)
    folder = folder_of(root, (image.file for image in contents.images.values()))
    samples = list(_samples(contents, names, folder, crops, margin, sequence_labels))
    contents.counts["unknown_image"] += sum(
        len(said) for key, said in contents.said.items() if key not in contents.images
    )
    contents.counts["of_sequence"] += sum(one.of_sequence for said in contents.said.values() for one in said)
    _tell(path, contents, folder)
    if not samples:
        raise DataError(
            f"{path}: expected pictures below {root}, found none of {len(contents.images):,}; is images right?"
        )
    found, more, camera = placed(samples, location=location, minutes=sequence_minutes, group=group, square=square)
    return make_listing(root, found, dict.fromkeys(names.values()), [*folder.problems, *more], camera)


def _samples(
    contents: _Contents, names: dict[Any, str], folder: Folder, crops: Crops, margin: float, sequence_labels: bool
) -> Iterator[Sample]:
    """The samples of all images; why there are none of one becomes a problem."""
    for key, image in contents.images.items():
        id = folder.join(image.file)
        if id is None:
            continue
        if image.corrupt:
            folder.note(id, "corrupt", "the JSON says that the file is damaged; left out")
            continue
        said = contents.said.get(key, [])
        seen = []
        for annotation in said:
            one = _seen(annotation, image, id, names, contents, folder, crops)
            if one is not None:
                doubtful = annotation.of_sequence and not sequence_labels
                seen.append(Observed("", one.box) if doubtful else one)
        meta = image.meta
        if any(one.count for one in said):
            meta = {**meta, "count": sum(one.count or 0 for one in said)}
        yield from samples_of(id, seen, meta, folder, crops=crops, margin=margin)


def is_coco_camera_traps(path: Path) -> bool:
    """True if a file begins like COCO with what only camera traps have: locations, sequences, damaged images."""
    start = beginning(path) if path.suffix.lower() == ".json" else ""
    return start.lstrip().startswith("{") and '"file_name"' in start and _OWN.search(start) is not None


def _seen(
    annotation: _Said,
    image: _Image,
    id: str,
    names: dict[Any, str],
    contents: _Contents,
    folder: Folder,
    crops: Crops,
) -> Observed | None:
    """What an annotation says, its box as shares of the picture; None for a category that is not named."""
    label = names.get(annotation.category)
    if label is None:
        contents.counts["unknown_category"] += 1
        return None
    box: Crop | None = None
    if annotation.box is not None and crops != "none" and label != EMPTY:
        x, y, width, height = annotation.box
        size = (1.0, 1.0) if annotation.relative else image.size or header_size(folder.files[id])
        box = clipped(x / size[0], y / size[1], width / size[0], height / size[1]) if size is not None else None
        contents.counts["bad_box"] += box is None
    return Observed(label, box)


def _categories(entries: Any, contents: _Contents) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip() and _key(entry.get("id")) is not None:
            names[_key(entry["id"])] = name.strip()
        else:
            contents.counts["bad_entry"] += 1
    return names


_TOLD = {
    "bad_entry": "entries without an id or a name; passed over",
    "repeated_id": "images with an id that came before; the first counts",
    "bad_annotation": "annotations without image or category; passed over",
    "bad_box": "boxes that are no x, y, width, height in the picture; passed over",
    "unknown_image": "annotations of images that the JSON does not name; passed over",
    "unknown_category": "annotations of categories that the JSON does not name; passed over",
    "no_time": "times that are not understood",
    "of_sequence": "classes are about a whole sequence: the animal need not be in each picture (sequence_labels)",
}


def _tell(path: Path, contents: _Contents, folder: Folder) -> None:
    for id in folder.others():
        folder.note(id, "not_in_json", "the JSON does not name it; left out")
    for code, words in _TOLD.items():
        if contents.counts[code]:
            folder.problems.append(Problem("", code, f"{path.name}: {contents.counts[code]:,} {words}"))


def _key(value: Any) -> str | None:
    """An id as text: some files write the same ids as numbers here and as text there."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None
