"""Looking at a folder or table that a user names, and saying which format it is and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labelwise.data import (
    class_folders,
    coco,
    csv_table,
    cvat_xml,
    guess_camera_traps,
    guess_masks,
    images_folder,
    voc,
    yolo,
)
from labelwise.data.images import UnreadableImage, open_image
from labelwise.data.listing import Listing, checked_folder, has_image_extension, list_images
from labelwise.errors import DataError
from labelwise.records import Task

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test"})
BOXES: tuple[str, ...] = ("coco", "voc", "yolo", "cvat_xml")
TASKS: Mapping[str, Task] = {**dict.fromkeys(BOXES, "detect"), "image_masks": "segment"}  # else classify
LOOKED_AT = 12  # pictures opened for the sizes


@dataclass(frozen=True, slots=True)
class Guess:
    """A format (a file in ``labelwise.data``), the path to read with it, facts for people, one line each, and what
    they count. ``size`` is the largest width and height looked at; ``options`` are the reader's.
    """

    format: str
    path: Path
    facts: tuple[str, ...]
    images: int = 0
    labelled: int = 0
    task: Task = "classify"
    tested: bool = False  # the data says itself which images are for testing
    size: tuple[int, int] = (1, 1)
    options: Mapping[str, object] = field(default_factory=dict)
    cameras: guess_camera_traps.CameraTraps | None = None


def guess(path: Path | str) -> Guess:
    """Find out what ``path`` is: ``coco``, ``voc``, ``yolo``, ``cvat_xml``, ``image_masks``, ``csv_table``,
    ``class_folders``, ``images_folder``, or of camera traps ``megadetector``, ``coco_camera_traps``, ``camtrap_dp`` or
    ``timelapse``.

    A file of camera traps, or a folder with one, is that; one with Timelapse's template, or whose folders are such as
    cameras make (``DCIM``, ``100RECNX``) or named after places (``cam01``), is a folder of such pictures. A COCO file,
    CVAT's XML and a YOLO data.yaml are known by their content; a folder with such a file, with XML files in
    ``Annotations``, or with text files in ``labels`` beside class names is that dataset of boxes. A folder with one
    fitting CSV is that table. Else folders around the pictures are stepped into (``data/images/cat``: ``data/images``;
    ``train`` where the folders are splits). Folders such as ``images`` and ``masks`` are pictures with masks if these
    hold class indices; else the pictures are taken alone. Two folders with pictures or more are classes,
    unless more pictures lie beside them than in them. Raises DataError for a missing or empty folder, one without
    pictures, or a file that is no table.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(checked_folder(path))
    if not path.exists():
        raise DataError(f"{path}: expected a folder of pictures or a CSV table, found nothing there; check the path")
    if has_image_extension(path.name):
        raise DataError(f"{path}: expected a folder of pictures or a CSV table, found one picture; name its folder")
    if (cameras := guess_camera_traps.look(path)) is not None:
        return _of_cameras(cameras)
    if (boxes := _boxes_file(path)) is not None:
        return boxes
    return _made("csv_table", path, csv_table.read(path))


def _folder(path: Path) -> Guess:
    if not any(path.iterdir()):
        raise DataError(f"{path}: expected pictures or a CSV table, found an empty folder; check the path")
    if (cameras := guess_camera_traps.look(path)) is not None:
        return _of_cameras(cameras)
    if (boxes := _boxes_folder(path)) is not None:
        return boxes
    tables = sorted(file for file in path.glob("*.csv") if csv_table.is_table(file))
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise DataError(f"{path}: expected one table, found {len(tables)} ({names}); name the one to use")
    if tables:
        return _made("csv_table", tables[0], csv_table.read(tables[0]))
    return _pictures(path)


def _boxes_file(path: Path) -> Guess | None:
    """A file of a dataset with boxes, if it is one."""
    kind = path.suffix.lower()
    if kind == ".json" and coco.is_coco(path):
        return _made("coco", path, coco.read(path))
    if kind == ".xml" and cvat_xml.is_cvat(path):
        return _made("cvat_xml", path, cvat_xml.read(path))
    return _made("yolo", path, yolo.read(path)) if kind in (".yaml", ".yml") else None


def _boxes_folder(path: Path) -> Guess | None:
    """A folder of a dataset with boxes, if it is one."""
    if coco.annotation_files(path):
        return _made("coco", path, coco.read(path))
    if cvat_xml.annotation_file(path) is not None:
        return _made("cvat_xml", path, cvat_xml.read(path))
    if (path / "JPEGImages").is_dir() and next((path / "Annotations").rglob("*.xml"), None) is not None:
        return _made("voc", path, voc.read(path))
    listed = yolo.class_list(path) is not None and next((path / "labels").rglob("*.txt"), None) is not None
    return _made("yolo", path, yolo.read(path)) if listed or yolo.dataset_yaml(path) is not None else None


def _pictures(path: Path) -> Guess:
    counts = _first_folders(path)
    if not counts:
        raise DataError(f"{path}: expected pictures (.jpg, .png, ...) or a CSV table, found neither; check the path")
    folders = sorted(set(counts) - {""})
    if not counts[""] and len(folders) == 1 and len(_first_folders(path / folders[0])) > 1:
        inner = path / folders[0]
        cameras = guess_camera_traps.look(inner)
        return _of_cameras(cameras) if cameras is not None else _pictures(inner)
    if not counts[""] and SPLIT_NAMES.issuperset(name.lower() for name in folders) and len(folders) > 1:
        return _splits(path, folders)
    if not counts[""] and (pairs := _paired(folders)):
        return _first_pair(path, pairs)
    beside = [name for name in folders if name.lower() in guess_masks.NAMES]
    if not counts[""] and beside and len(folders) == len(beside) + 1:
        return _beside(path, next(name for name in folders if name not in beside), beside)
    if len(folders) > 1 and counts[""] <= counts.total() - counts[""]:
        return _made("class_folders", path, class_folders.read(path))
    return _made("images_folder", path, images_folder.read(path))


def _splits(path: Path, folders: list[str]) -> Guess:
    training = next((name for name in folders if name.lower().startswith("train")), folders[0])
    inner = _pictures(path / training)
    return replace(inner, facts=(_of_splits(folders, training), *inner.facts))


def _of_splits(folders: list[str], used: str) -> str:
    return f"the folders {', '.join(folders)} are splits: only {used} is used, and a test split is drawn from it"


def _paired(folders: list[str]) -> dict[str, str]:
    """Splits with a folder of masks each (train, trainannot, val, val_labels); empty unless all are such."""
    pairs = {
        name: other
        for name in folders
        for other in folders
        if name.lower() in SPLIT_NAMES and other.startswith(name)
        if other.removeprefix(name).strip("_-").lower() in guess_masks.NAMES
    }
    return pairs if set(folders) == {*pairs, *pairs.values()} else {}


def _first_pair(path: Path, pairs: Mapping[str, str]) -> Guess:
    training = next((name for name in pairs if name.lower().startswith("train")), next(iter(pairs)))
    inner = _beside(path, training, [pairs[training]])
    return replace(inner, facts=(_of_splits(list(pairs), training), *inner.facts))


def _beside(path: Path, images: str, masks: list[str]) -> Guess:
    """Pictures with masks, or without them and the reasons."""
    refused = []
    for name in masks:
        found = guess_masks.look(path, images, name)
        if not isinstance(found, str):
            made = _made("image_masks", path, found.listing)
            return replace(made, facts=(*made.facts, *found.facts), options=found.options)
        refused.append(f"the pictures in {name} look like masks and are not read: they {found}")
    inner = _pictures(path / images)
    return replace(inner, facts=(*refused, *inner.facts))


def _first_folders(path: Path) -> Counter[str]:
    """Pictures per first folder; those directly in ``path`` under ""."""
    return Counter(id.partition("/")[0] if "/" in id else "" for id, _ in list_images(path)[0])


def _made(format: str, path: Path, listing: Listing) -> Guess:
    labelled = sum(sample.target is not None for sample in listing.samples)
    task = TASKS.get(format, "classify")
    tested = any(sample.split == "test" and sample.target is not None for sample in listing.samples)
    sizes, failed = _sizes(listing)
    facts = (*_facts(listing, task), *_size_facts(sizes, failed), *_problem_facts(listing))
    largest = max(sizes, key=_area, default=(1, 1))
    return Guess(format, path, facts, len(listing.samples), labelled, task, tested, largest)


def _of_cameras(found: guess_camera_traps.CameraTraps) -> Guess:
    made = _made(found.format, found.path, found.listing)
    facts = (made.facts[0], *found.facts, *made.facts[1:])
    return replace(made, facts=facts, options=found.options, cameras=found)


def _facts(listing: Listing, task: Task) -> list[str]:
    known = [sample.target for sample in listing.samples if sample.target]
    # What masks hold would take opening all of them.
    counted = {"classify": 1, "detect": None, "segment": 0}[task]
    labels = Counter(name for target in known for name in target.classes[:counted])
    groups = {sample.group for sample in listing.samples} - {None}
    facts = [f"{_count(len(listing.samples), 'picture')}, {len(known):,} labelled"]
    if task == "detect":
        empty = sum(not target.classes for target in known)
        facts[0] += f", with {_count(labels.total(), 'box', 'boxes')} ({_count(empty, 'picture')} without)"
    splits = Counter(sample.split for sample in listing.samples if sample.split)
    if splits:
        facts.append(f"the data says: {', '.join(f'{splits[name]:,} {name}' for name in sorted(splits))}")
    if listing.classes:
        ranked = sorted(((labels[name], name) for name in listing.classes), key=lambda pair: (-pair[0], pair[1]))
        (most, large), (least, small) = ranked[0], ranked[-1]
        extremes = f": largest {large} ({most:,}), smallest {small} ({least:,})"
        facts.append(f"{_count(len(ranked), 'class', 'classes')}{extremes if labels else ''}")
    if groups:
        facts.append(f"{_count(len(groups), 'group')}: kept on one side of the test split")
    return facts


def _problem_facts(listing: Listing) -> list[str]:
    first = {problem.code: problem.message for problem in reversed(listing.problems)}
    codes = Counter(problem.code for problem in listing.problems)
    return [f"{code}: {number:,}, e.g. {first[code]}" for code, number in sorted(codes.items())]


def _sizes(listing: Listing) -> tuple[list[tuple[int, int]], int]:
    """Width and height of some pictures, and how many of them could not be read."""
    step = max(1, len(listing.samples) // LOOKED_AT)
    sizes, failed = [], 0
    for sample in listing.samples[::step][:LOOKED_AT]:
        try:
            sizes.append(open_image(sample.path, name=sample.id)[0].size)
        except UnreadableImage:
            failed += 1
    return sizes, failed


def _size_facts(sizes: list[tuple[int, int]], failed: int) -> list[str]:
    facts = [f"{failed} of {failed + len(sizes)} pictures looked at cannot be read"] if failed else []
    if sizes:
        (w0, h0), (w1, h1) = min(sizes, key=_area), max(sizes, key=_area)
        shown = f"{w0}x{h0}" if (w0, h0) == (w1, h1) else f"{w0}x{h0} to {w1}x{h1}"
        facts.append(f"{shown} pixels ({_count(len(sizes), 'picture')} looked at)")
    return facts


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
