"""Shapes as masks: what CVAT's XML or a COCO file draws in images, as one class index per pixel."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.data import coco, cvat_xml
from labelwise.data.areas import coco_area
from labelwise.data.cvat_shapes import AREAS, OTHERS, area_of
from labelwise.data.masks import Mask, empty_mask
from labelwise.data.predictions.reading import category_index, load_json
from labelwise.data.xml_reading import size_of
from labelwise.errors import DataError

Size = tuple[int, int]
Find = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Painted:
    """What is drawn in one image: a mask ``(h, w)`` whose value i is ``classes[i]``, void where nothing is drawn.

    ``classes`` begin with those asked for. Without a mask nothing is drawn; ``wrong`` says why it cannot be used.
    """

    id: str
    classes: tuple[str, ...]
    mask: Mask | None = None
    wrong: str = ""


def painted(
    place: Path, format: str, find: Find, sizes: Mapping[str, Size], classes: Sequence[str]
) -> Iterator[Painted]:
    """What annotations in ``cvat_xml`` or ``coco`` draw in each image whose name ``find`` gives an id for.

    ``sizes`` are (width, height) by id. Where shapes overlap, the later one counts: of a higher z_order, or further
    down in the file. Raises DataError for a file that is none.
    """
    yield from (_in_cvat if format == "cvat_xml" else _in_coco)(place, find, sizes, tuple(classes))


def _in_cvat(place: Path, find: Find, sizes: Mapping[str, Size], classes: tuple[str, ...]) -> Iterator[Painted]:
    for entry in cvat_xml.load(place).findall("image"):
        if (id := find(entry.get("name") or "")) is None:
            continue
        said = size_of(entry.get("width"), entry.get("height"))
        if said is not None and said != sizes[id]:
            yield Painted(id, classes, wrong=_other_size(sizes[id], said))
            continue
        strange = sorted({shape.tag for shape in entry if shape.tag in OTHERS})
        if strange:
            yield Painted(id, classes, wrong=f"expected areas, found a {strange[0]}; draw a polygon or a mask instead")
            continue
        shapes = sorted((shape for shape in entry if shape.tag in AREAS), key=_height)
        drawn = [((shape.get("label") or "").strip(), shape) for shape in shapes]
        yield _painted(id, drawn, area_of, sizes[id], classes)


def _in_coco(place: Path, find: Find, sizes: Mapping[str, Size], classes: tuple[str, ...]) -> Iterator[Painted]:
    files = [place] if place.is_file() else coco.annotation_files(place)
    if not files:
        raise DataError(f"{place}: expected COCO annotations (*.json), found none; name the file")
    for file in files:
        data = load_json(file)
        entries = coco.images_in(file, data)
        index, names = category_index(file, data.get("categories"))
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for annotation in data["annotations"]:
            if isinstance(annotation, dict) and isinstance(annotation.get("image_id"), int | str):
                by_image.setdefault(annotation["image_id"], []).append(annotation)
        for entry in entries:
            if (id := find(entry["file_name"])) is None:
                continue
            said = entry.get("width"), entry.get("height")
            if all(type(side) is int for side in said) and said != sizes[id]:
                yield Painted(id, classes, wrong=_other_size(sizes[id], said))
                continue
            drawn = [
                (
                    "" if (number := index.get(a.get("category_id", -1))) is None else names[number],
                    a.get("segmentation"),
                )
                for a in by_image.get(entry["id"], ())
            ]
            yield _painted(id, drawn, coco_area, sizes[id], classes)


def _painted(
    id: str, drawn: Sequence[tuple[str, Any]], area: Callable[[Any, Size], Any], size: Size, classes: tuple[str, ...]
) -> Painted:
    every = (*classes, *dict.fromkeys(name for name, _ in drawn if name not in classes))
    if not drawn:
        return Painted(id, classes)
    if "" in every:
        return Painted(id, classes, wrong="expected a label of each shape, found one without")
    mask = empty_mask(size[1], size[0], len(every))
    for name, shape in drawn:
        try:
            mask[area(shape, size)] = every.index(name)
        except ValueError as error:
            return Painted(id, classes, wrong=f"a shape of {name!r}: {error}")
    return Painted(id, every, mask)


def _height(shape: ET.Element) -> int:
    try:
        return int(shape.get("z_order") or 0)
    except ValueError:
        return 0


def _other_size(size: Size, said: Any) -> str:
    return f"expected an image of {size[0]} x {size[1]}, found {said[0]} x {said[1]}; was it scaled?"
