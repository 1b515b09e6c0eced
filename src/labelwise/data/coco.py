"""Format: COCO. JSON files with images, annotations and categories, and a folder of pictures; boxes only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.data.areas import coco_box
from labelwise.data.box_writing import Images, Writing, new_folder
from labelwise.data.listing import Listing, checked_folder
from labelwise.data.predictions.reading import category_index, load_json, numbers_of
from labelwise.data.roles import Split, named_split, roles_of, without_union
from labelwise.data.true_boxes import DECIMALS, Others, TrueBoxes, claimed, place_of, split_of
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Sample


@dataclass(frozen=True, slots=True)
class _File:
    """One annotation file: its split, what it holds, its classes by category id, and where its pictures are."""

    path: Path
    split: str
    data: dict[str, Any]
    names: dict[int, str]
    folder: Path


def read(
    path: Path | str,
    *,
    images: Path | None = None,
    splits: dict[str, Split] | None = None,
    group: str | None = None,
    others: Others = "unlabelled",
) -> Listing:
    """List the pictures that COCO files annotate, with their boxes; ids are paths relative to the pictures' folder.

    ``path``: a JSON file, or a folder with some in ``annotations`` or directly (``instances_*.json`` before others; the
    names say the splits). ``images``: the pictures' folder, relative to the JSON's; by default looked for near it.
    Where each file has a folder of its own (``train2017``), ids begin with its name. A picture in ``images`` of the
    JSON without annotation has a known truth: no box. One that no file names is unlabelled (``others``).

    Problems, with their counts: ``degenerate_boxes``, ``outside_boxes``, ``clipped_boxes``, ``duplicate_boxes``,
    ``unknown_class``, ``crowd``, ``no_box``, ``polygons`` and ``masks`` (boxes around them where none is given; of a
    file: not read), ``bad_annotation`` (of a picture, then unlabelled), ``unknown_image``, ``missing``,
    ``outside_root``, ``repeated``. Raises DataError for a file that is no such JSON.
    """
    place = Path(path)
    files = [_load(file, place, images) for file in _files(place)]
    root = Path(os.path.commonpath([file.folder for file in files]))
    roles = roles_of([file.split for file in files], splits, place)
    boxes = TrueBoxes(tuple(dict.fromkeys(name for file in files for name in file.names.values())))
    for file in files:
        _take(file, root, split_of(roles, file.split), boxes)
    return boxes.listing(root, group=group, others=others)


def is_coco(file: Path) -> bool:
    """True if the file begins like COCO annotations: a mapping with images and annotations, or the
    first of either."""
    try:
        with file.open("rb") as stream:
            start = stream.read(1 << 16).lstrip(b"\xef\xbb\xbf \r\n\t")
    except OSError:
        return False
    images, annotations, member = (
        any(f'"{key}"'.encode() in start for key in keys)
        for keys in (("images",), ("annotations",), ("file_name", "image_id"))
    )
    return start.startswith(b"{") and ((images and annotations) or (member and (images or annotations)))


def annotation_files(folder: Path) -> list[Path]:
    """The COCO files in ``annotations`` below the folder, or in it: those called instances where some are."""
    for place in (folder / "annotations", folder):
        found = [file for file in sorted(place.glob("*.json")) if is_coco(file)]
        if found:
            return [file for file in found if file.name.startswith("instances")] or found
    return []


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = annotation_files(checked_folder(place))
    if not files:
        raise DataError(f"{place}: expected COCO files (*.json), found none there or in annotations; name the file")
    kept = without_union([file.stem for file in files])
    return [file for file in files if file.stem in kept]


def _load(file: Path, place: Path, images: Path | None) -> _File:
    data = load_json(file)
    entries = images_in(file, data)
    index, names = category_index(file, data.get("categories"))
    base = place if place.is_dir() else file.parent
    base = base.parent if base.name == "annotations" else base
    if images is not None:
        folders = [checked_folder(base / images)]
    else:
        year, split = file.stem.removeprefix("instances_"), named_split(file.stem)
        inner = ("images", "JPEGImages", f"images/{year}", f"images/{split}", year, split, ".")
        folders = [base / name for name in inner] + [base.parent / name for name in inner[:2]]
    folder = place_of((entry["file_name"] for entry in entries), folders, file)
    return _File(file, file.stem.removeprefix("instances_"), data, {id: names[i] for id, i in index.items()}, folder)


def images_in(file: Path, data: Any) -> list[dict[str, Any]]:
    """The entries of "images" in the content of a COCO file. Raises DataError if it is none."""
    entries = data.get("images") if isinstance(data, dict) and type(data.get("annotations")) is list else None
    if not isinstance(entries, list) or not all(_is_image(entry) for entry in entries):
        raise DataError(
            f'{file}: expected "annotations" and "images" with an id and a file_name each, found other content; '
            "name a COCO annotation file"
        )
    return entries


def _is_image(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("file_name")) is str and type(entry.get("id")) in (int, str)


def _take(file: _File, root: Path, split: Split | None, boxes: TrueBoxes) -> None:
    ids: dict[Any, str | None] = {}
    for entry in file.data["images"]:
        if entry["id"] in ids:
            raise DataError(f'{file.path}: expected each id of "images" once, found {entry["id"]!r} twice; rename one')
        id = claimed(entry["file_name"], file.folder, root, boxes)
        size = entry.get("width"), entry.get("height")
        known = (size[0], size[1]) if type(size[0]) is int and type(size[1]) is int else None
        ids[entry["id"]] = id if id is not None and boxes.begin(id, known, split) else None
    odd: Counter[str] = Counter()
    for entry in file.data["annotations"]:
        image = entry.get("image_id") if isinstance(entry, dict) else None
        if not isinstance(image, int | str) or image not in ids:
            odd["unknown_image"] += 1
            continue
        odd["masks"] += bool(entry.get("segmentation")) and "bbox" in entry
        if (id := ids[image]) is not None:
            _add(entry, id, file.names, boxes)
    told = {"unknown_image": 'annotations of no image in "images", left out', "masks": "masks, only their boxes read"}
    for code, count in odd.items():
        if count:
            boxes.tell(str(file.path), code, f"{file.path}: {count:,} {told[code]}")


def _add(entry: dict[str, Any], id: str, names: dict[int, str], boxes: TrueBoxes) -> None:
    category = entry.get("category_id")
    if not isinstance(category, int) or category not in names:
        boxes.note(id, "unknown_class", f"category_id {category!r}")
    elif entry.get("iscrowd"):
        boxes.note(id, "crowd", names[category])
    elif "bbox" not in entry and not entry.get("segmentation"):
        boxes.note(id, "no_box", names[category])
    else:
        try:
            if "bbox" not in entry:
                boxes.add(id, names[category], coco_box(entry["segmentation"]))
                boxes.note(id, "masks" if isinstance(entry["segmentation"], dict) else "polygons", names[category])
                return
            x, y, width, height = numbers_of(entry["bbox"], 4, "bbox x, y, width, height")
            boxes.add(id, names[category], [x, y, x + width, y + height])
        except ValueError as error:
            boxes.spoil(id, f"annotation {entry.get('id')!r}: {error}")


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write a COCO dataset into the new folder ``path``; returns what it cannot hold, a line each.

    ``annotations/instances_<train, val, test or default>.json`` hold the samples with a target; ``images/`` the
    pictures of all (``images``: copy, link, or leave them where they are). Written whole or not at all. Raises
    DataError for targets that are no boxes of ``classes``, or a folder that is not empty.
    """
    writing = Writing.of(samples, classes, "coco", stems=False, lines=False)
    with new_folder(path) as folder:
        (folder / "annotations").mkdir()
        for part, members in writing.parts("default").items():
            text = _json(writing, members)
            replace_text(folder / "annotations" / f"instances_{part}.json", text)
        writing.place(folder / "images", images)
    return writing.notes(images)


def _json(writing: Writing, members: Sequence[Sample]) -> str:
    import json

    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories = {name: i for i, name in enumerate(writing.classes, start=1)}
    for number, sample in enumerate(members, start=1):
        width, height = writing.size(sample)
        pictures.append({"id": number, "file_name": sample.id, "width": width, "height": height})
        for name, (x0, y0, x1, y1) in writing.boxes(sample):
            wide, high = round(x1 - x0, DECIMALS), round(y1 - y0, DECIMALS)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[name],
                    "bbox": [x0, y0, wide, high],
                    "area": round(wide * high, DECIMALS),
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
    listed = [{"id": i, "name": name} for name, i in categories.items()]
    whole = {"images": pictures, "annotations": annotations, "categories": listed}
    return json.dumps(whole, ensure_ascii=False)
