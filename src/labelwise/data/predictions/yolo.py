"""Format: YOLO text files, one a picture: class, centre, size and confidence of a box a line, in shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from labelwise.data.listing import checked_folder
from labelwise.data.predictions.boxes import Absent, Boxes, Vectors
from labelwise.data.predictions.joining import Classes, Join, PredictionSet, Sizes
from labelwise.data.predictions.reading import load_text, names_of, number
from labelwise.errors import DataError

_NAMES = ("data.yaml", "dataset.yaml", "classes.txt")


def read(
    path: Path,
    ids: tuple[str, ...],
    classes: Classes | None,
    sizes: Sizes | None,
    *,
    names: Path | None = None,
    absent: Absent = "auto",
    root: str = "",
    vectors: Vectors = "binary",
) -> PredictionSet:
    """Boxes from a folder of text files: ``class cx cy w h [confidence]`` a line, as shares of width and height.

    A file belongs to the image of the same path without extension. Class names come from ``classes``, or from
    ``names``: a YAML with ``names``, or a text with a name a line; by default ``data.yaml`` or ``classes.txt`` in the
    folder or above it. ``sizes`` are needed. A file without lines: nothing was found in the image. An image without a
    file is without prediction (``absent`` auto or missing) or without detection (empty: ultralytics writes no file
    then). Raises DataError naming file and line.
    """
    folder = checked_folder(path)
    declared = names_of(classes) if classes is not None else _names(folder, names)
    if sizes is None:
        raise DataError(f"{folder}: expected the sizes of the images, since YOLO counts in shares; give sizes=")
    join, boxes = Join(ids, root), Boxes(declared, vectors=vectors)
    index = {int(key): i for i, key in enumerate(classes)} if isinstance(classes, Mapping) else None
    for file in _files(folder):
        id = join.claim(file.relative_to(folder).with_suffix("").as_posix())
        if id is not None:
            _read_file(file, id, boxes, sizes, index)
    silent = join.take_rest(folder) if absent == "empty" else []
    predictions, problems = boxes.predictions(join.taken, sizes)
    nothing = [p.id for p in predictions if p.labels is not None and not len(p.labels)]
    assert set(silent) <= set(nothing)
    return join.close(
        folder, "detect", declared, lambda: iter(predictions), without_detection=nothing, problems=problems
    )


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*.txt")) if file.name not in _NAMES)


def _read_file(file: Path, id: str, boxes: Boxes, sizes: Sizes, index: Mapping[int, int] | None) -> None:
    size = sizes.get(id)
    if size is None or min(size) <= 0:
        raise DataError(f"{file}: expected the size of the image {id}, found none in sizes; give it")
    for i, line in enumerate(load_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            _add(line.split(), id, boxes, size, index)
        except ValueError as error:
            raise DataError(f"{file}: line {i}: {error}; mend it") from None


def _add(cells: list[str], id: str, boxes: Boxes, size: tuple[int, int], index: Mapping[int, int] | None) -> None:
    if len(cells) not in (5, 6):
        raise ValueError(f"expected class, cx, cy, w, h and confidence, found {len(cells)} cells")
    values = [_cell(cell) for cell in cells]
    label, (cx, cy, w, h) = values[0], values[1:5]
    if label != int(label):
        raise ValueError(f"expected a class index, found {cells[0]!r}")
    if max(abs(value) for value in (cx, cy, w, h)) > 2:
        raise ValueError(
            f"expected shares of the sides, found {max(cx, cy, w, h):g}: pixels? divide by width and height"
        )
    if len(cells) == 5:
        boxes.note("no_confidence", id)
    column = int(label) if index is None else index.get(int(label), -1)
    width, height = size
    box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
    boxes.add(id, column, values[5] if len(cells) == 6 else 1.0, box=box)


def _cell(cell: str) -> float:
    try:
        return number(float(cell))
    except ValueError:
        raise ValueError(f"expected a finite number, found {cell!r}") from None


def _names(folder: Path, names: Path | None) -> tuple[str, ...]:
    """Class names from a file that is named, or lies in the folder or above it."""
    places = [place / name for place in (folder, folder.parent, folder.parent.parent) for name in _NAMES]
    file = names or next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError(
            f"{folder}: expected the names of the classes, found no data.yaml there; give names=FILE or classes= "
            "(pick: predictions.names=FILE or --classes FILE)"
        )
    return names_in(file)


def names_in(file: Path) -> tuple[str, ...]:
    """The class names in a YAML with ``names``, or in a text with a name a line.

    Raises DataError if there are none, or one is missing or no name: all after it would mean another class.
    """
    text = load_text(file)
    found = _from_yaml(file, text) if file.suffix in (".yaml", ".yml") else text.rstrip().splitlines()
    for place, name in enumerate(found):
        if not isinstance(name, str | int | float) or isinstance(name, bool) or not str(name).strip():
            raise DataError(
                f"{file}: expected a name for class {place}, found {name!r}; write it, in quotes if YAML takes it for "
                "something else, as it does with no and yes"
            )
    listed = [str(name).strip() for name in found]
    if not listed or len(set(listed)) < len(listed):
        raise DataError(f"{file}: expected a list of different class names, found {listed[:5]}; mend it")
    return tuple(listed)


def _from_yaml(file: Path, text: str) -> list[Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{file}: expected YAML, found: {' '.join(str(error).split())[:160]}; mend it") from None
    found = tree.get("names") if isinstance(tree, dict) else None
    if isinstance(found, dict) and set(found) == set(range(len(found))):
        return [found[i] for i in range(len(found))]
    if isinstance(found, list):
        return found
    raise DataError(f"{file}: expected names as a list, or as a mapping from 0 on without gaps; mend it")
