"""Format: YOLO. Pictures in folders called images, a text file of boxes for each in labels, and a data.yaml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from labelwise.data.box_writing import Images, Writing, new_folder, stem_of
from labelwise.data.images import header_size
from labelwise.data.listing import Listing, checked_folder, list_images, shown
from labelwise.data.predictions.reading import load_text, parsed
from labelwise.data.predictions.yolo import names_in
from labelwise.data.roles import Split, roles_of
from labelwise.data.true_boxes import Others, TrueBoxes, class_names, split_of
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Sample

_YAMLS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_TEXTS = ("classes.txt", "obj.names", "labels.txt")
_KEYS = ("train", "val", "valid", "test")


def read(
    path: Path | str,
    *,
    classes: list[str] | None = None,
    absent: Literal["unlabelled", "empty"] = "unlabelled",
    splits: dict[str, Split] | None = None,
    group: str | None = None,
    others: Others = "unlabelled",
) -> Listing:
    """List the pictures of a YOLO dataset with their boxes; ids are paths relative to the folder called images.

    ``path``: a data.yaml with ``names`` and ``train``, ``val``, ``test`` (folders or lists of pictures), a folder with
    one, or one with ``images``, ``labels`` and ``classes.txt``. Where each split has an ``images`` folder of its own,
    ids begin at the folder around them. ``classes``: the names in order, where no file says them. The boxes of
    ``images/a.jpg`` are in ``labels/a.txt``: class, centre, width and height a line, as shares of the picture. An empty
    file is a known truth: no box. A picture without file is unlabelled (``absent``: unlabelled), or without box
    (empty), as ultralytics has it.

    Problems, with their counts: ``degenerate_boxes``, ``outside_boxes``, ``clipped_boxes``, ``duplicate_boxes``,
    ``unknown_class``, ``polygons`` (the box around is used), ``confidences`` (not read), ``bad_annotation`` (of a
    picture, then unlabelled), ``missing``. Raises DataError without pictures, class names or any label file.
    """
    file = _yaml(Path(path))
    base = checked_folder(path) if file is None else file.parent
    tree = {} if file is None else _load(file)
    names = class_names(classes) or _names(base, file, tree)
    boxes = TrueBoxes(names)
    if file is not None and isinstance(tree.get("path"), str) and (base / tree["path"]).is_dir():
        base = base / tree["path"]
    parts = {key: _entries(tree[key], base, file) for key in _KEYS if tree.get(key)}
    root = _root(base, parts)
    found, problems = list_images(root)
    boxes.problems += problems
    roles, known = _splits(root, parts, splits, file or base, {id for id, _ in found}, boxes)
    for id, picture in found:
        text = label_file(picture, base)
        if text.is_file() or (absent == "empty" and (id in known or not parts)):
            boxes.begin(id, None, roles.get(id))
            if text.is_file():
                _take(text, id, picture, names, boxes)
    return boxes.listing(root, group=group, others=others, found=found)


def dataset_yaml(folder: Path) -> Path | None:
    """The YAML that describes a YOLO dataset in this folder, if there is one."""
    usual = [folder / name for name in _YAMLS]
    for file in [*usual, *sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")} - set(usual))]:
        if not file.is_file():
            continue
        try:
            tree = _load(file)
        except DataError:
            continue
        if "names" in tree and any(key in tree for key in _KEYS):
            return file
    return None


def class_list(folder: Path) -> Path | None:
    """The text with a class name a line in this folder, if there is one."""
    return next((folder / name for name in _TEXTS if (folder / name).is_file()), None)


def label_file(picture: Path, base: Path) -> Path:
    """Where the boxes of a picture are: the last folder ``images`` of its path below ``base`` is ``labels`` there."""
    parts = list(picture.relative_to(base).parts if picture.is_relative_to(base) else picture.parts)
    place = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if place is not None:
        parts[place] = "labels"
    whole = (base if picture.is_relative_to(base) else Path()).joinpath(*parts)
    return whole.with_name(f"{stem_of(whole.name)}.txt")


def _yaml(path: Path) -> Path | None:
    if path.is_file():
        return path
    file = dataset_yaml(checked_folder(path))
    if file is None:
        for usual in (path / name for name in _YAMLS):
            if usual.is_file():
                _load(usual)  # says what is wrong with it
    return file


def _load(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(load_text(file))
    except yaml.YAMLError as error:
        raise DataError(f"{file}: expected YAML, found: {' '.join(str(error).split())[:160]}; mend it") from None
    if not isinstance(tree, dict):
        raise DataError(f"{file}: expected YAML with names and train, found other content; name a data.yaml")
    return tree


def _names(base: Path, file: Path | None, tree: Mapping[str, Any]) -> tuple[str, ...]:
    source = file if file is not None and "names" in tree else class_list(base)
    if source is None:
        raise DataError(f"{base}: expected class names in data.yaml or classes.txt, found neither; give classes=")
    return names_in(source)


def _entries(value: Any, base: Path, file: Path | None) -> list[Path]:
    """The folders and lists that a split names."""
    listed = value if isinstance(value, list) else [value]
    found = []
    for text in map(str, listed):
        tries = [base / text, *([base / text[3:]] if text.startswith("../") else [])]  # as Roboflow writes it
        place = next((place for place in tries if place.exists()), None)
        if place is None:
            raise DataError(f"{file}: expected {text!r} to be a folder or list below {base}, found nothing; correct it")
        found.append(Path(os.path.normpath(place)))
    return found


def _listed(file: Path, base: Path) -> list[Path]:
    """The pictures in a list: ``./`` is the list's own folder."""
    lines = (line for line in load_text(file).splitlines() if line.strip())
    return [Path(os.path.normpath((file.parent if line.startswith("./") else base) / line)) for line in lines]


def _root(base: Path, parts: Mapping[str, Sequence[Path]]) -> Path:
    """The folder that ids are relative to: the one called images that holds all, or the one around several such."""
    folders = []
    for place in (place for places in parts.values() for place in places):
        folders += (
            [place] if place.is_dir() else [picture.parent for picture in _listed(place, base) if picture.is_file()]
        )
    if not folders:
        return base / "images" if (base / "images").is_dir() else base
    common = Path(os.path.commonpath(folders))
    if common == Path(common.anchor):  # looking for pictures there would be looking everywhere
        raise DataError(
            f"{base}: expected the splits' pictures below one folder, found them all over; correct the lists"
        )
    home = Path(os.path.normpath(base))
    below = common.relative_to(home).parts if common.is_relative_to(home) else ()
    return home.joinpath(*below[: below.index("images") + 1]) if "images" in below else common


def _splits(
    root: Path,
    parts: Mapping[str, Sequence[Path]],
    splits: dict[str, Split] | None,
    where: Path,
    ids: set[str],
    boxes: TrueBoxes,
) -> tuple[dict[str, Split], set[str]]:
    """What each picture is for, by id; and all that some split names."""
    same = {key for key in parts if key != "train" and parts[key] == parts.get("train")}  # said twice, for ultralytics
    kept = {key: places for key, places in parts.items() if key not in same}
    meant, roles, known = roles_of(list(kept), splits, where), dict[str, Split](), set[str]()
    for key, places in kept.items():
        for place in places:
            for id in _members(place, root, where, ids):
                if id not in ids:
                    boxes.tell(id, "missing", f"{shown(id)}: listed in {place.name}, but there is no such picture")
                    continue
                known.add(id)
                role = split_of(meant, key)
                if role is not None and roles.setdefault(id, role) != role:
                    told = f"{shown(id)}: listed for more than one split, the first counts ({roles[id]})"
                    boxes.tell(id, "repeated", told)
    return roles, known


def _members(place: Path, root: Path, where: Path, ids: set[str]) -> list[str]:
    if place.is_dir():
        prefix = "" if place == root else f"{place.relative_to(root).as_posix()}/"
        return [id for id in ids if id.startswith(prefix)]
    base = where.parent if where.is_file() else where
    listed = _listed(place, base)
    return [p.relative_to(root).as_posix() if p.is_relative_to(root) else str(p) for p in listed]


def _take(file: Path, id: str, picture: Path, names: Sequence[str], boxes: TrueBoxes) -> None:
    try:
        lines = load_text(file).splitlines()
    except DataError as error:
        boxes.spoil(id, str(error))
        return
    size = header_size(picture) if any(line.strip() for line in lines) else None
    for i, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if size is None:
                raise ValueError("expected a readable picture to know its size, found none")
            label, corners = _box(line.split(), id, size, boxes)
            if 0 <= label < len(names):
                boxes.add(id, names[label], corners)
            else:
                boxes.note(id, "unknown_class", f"index {label}")
        except ValueError as error:
            boxes.spoil(id, f"{file.name} line {i}: {error}")


def _box(cells: Sequence[str], id: str, size: tuple[int, int], boxes: TrueBoxes) -> tuple[int, list[float]]:
    """Class index and corners in pixels of a line."""
    values = [parsed(cell, "each cell") for cell in cells]
    if len(cells) < 5 or (len(cells) > 6 and len(cells) % 2 == 0):
        raise ValueError(f"expected class, cx, cy, w, h, found {len(cells)} cells")
    if values[0] != int(values[0]):
        raise ValueError(f"expected a class index, found {cells[0]!r}")
    if max(map(abs, values[1:])) > 2:
        raise ValueError(f"expected shares of the sides, found {max(values[1:]):g}: pixels? divide by width and height")
    width, height = size
    if len(cells) > 6:
        boxes.note(id, "polygons")
        xs, ys = [x * width for x in values[1::2]], [y * height for y in values[2::2]]
        return int(values[0]), [min(xs), min(ys), max(xs), max(ys)]
    if len(cells) == 6:
        boxes.note(id, "confidences")
    cx, cy, w, h = values[1:5]
    return int(values[0]), [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height]


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write a YOLO dataset into the new folder ``path``; returns what it cannot hold, a line each.

    ``labels`` holds a text file for each sample with a target, ``images`` the pictures of all (``images``: copy, link,
    or leave them where they are), ``data.yaml`` the class names and the splits, which are lists (``train.txt``).
    Written whole or not at all. Raises DataError as for coco, and for pictures of one name with two extensions.
    """
    writing = Writing.of(samples, classes, "yolo")
    parts = writing.parts("train")
    with new_folder(path) as folder:
        tree: dict[str, Any] = {}
        for part, members in parts.items():
            tree[part] = f"{part}.txt"
            replace_text(folder / f"{part}.txt", "".join(f"./images/{sample.id}\n" for sample in members))
            for sample in members:
                file = label_file(folder / "images" / sample.id, folder)
                file.parent.mkdir(parents=True, exist_ok=True)
                replace_text(file, _lines(writing, sample))
        tree["names"] = dict(enumerate(writing.classes))
        replace_text(folder / "data.yaml", yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))
        writing.place(folder / "images", images)
    notes = writing.notes(images)
    if "val" not in parts:
        notes.append("data.yaml has no val, which ultralytics needs for training: name one there")
    return notes


def _lines(writing: Writing, sample: Sample) -> str:
    index = {name: i for i, name in enumerate(writing.classes)}
    width, height = writing.size(sample)
    lines = []
    for name, (x0, y0, x1, y1) in writing.boxes(sample):
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(f"{index[name]} {' '.join(f'{share:.12g}' for share in shares)}\n")
    return "".join(lines)
