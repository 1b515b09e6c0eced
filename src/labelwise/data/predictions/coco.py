"""Format: COCO results, as detectron2, mmdetection and ultralytics write them: one JSON list of boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.predictions.boxes import Absent, Boxes, Vectors
from labelwise.data.predictions.joining import Classes, Join, PredictionSet, Sizes
from labelwise.data.predictions.reading import category_index, load_json, names_of
from labelwise.errors import DataError


@dataclass(frozen=True, slots=True)
class _Meta:
    """What an annotation file says: file names and sizes by image id, class index by category id, class names."""

    names: dict[Any, str] = field(default_factory=dict)
    sizes: dict[Any, tuple[int, int]] = field(default_factory=dict)
    index: Mapping[int, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def read(
    path: Path,
    ids: tuple[str, ...],
    classes: Classes | None,
    sizes: Sizes | None,
    *,
    annotations: Path | None = None,
    absent: Absent = "auto",
    first: int = 0,
    root: str = "",
    independent: bool = False,
    vectors: Vectors = "binary",
) -> PredictionSet:
    """Boxes from a COCO results file: a list of image_id, category_id, bbox (x, y, width, height in pixels), score.

    ``probabilities`` (one per class) and ``keypoints`` (x, y, confidence) are read too, where every entry has them;
    masks are not. ``image_id`` is a number of the ``images`` in ``annotations``, or a file name. Class names come from
    ``classes`` or the ``categories`` of ``annotations``; a ``category_id`` is the category's, the key of a mapping, or
    counts the listed ``classes`` from ``first``. Results alone cannot say that nothing was found in an image: an image
    without an entry has no detection if ``annotations`` name it (``absent`` auto), always (empty), or is without
    prediction (missing). Raises DataError naming file and entry.
    """
    data = load_json(path)
    whole = isinstance(data, dict) and isinstance(data.get("annotations"), list)
    results = data["annotations"] if whole else data
    if not isinstance(results, list):
        raise DataError(f"{path}: expected a list of results, found {type(data).__name__}; name the results file")
    if annotations is not None:
        meta = _meta(annotations, load_json(annotations))
    else:
        meta = _meta(path, data) if whole else _Meta()
    meta = _declared(path, meta, classes, first)
    join, boxes, known = Join(ids, root), Boxes(meta.classes, independent, vectors), dict[Any, str | None]()
    for i, entry in enumerate(results):
        try:
            _add(entry, meta, join, boxes, known)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}: entry {i}: {_sentence(reason)}; mend it") from None
    given = sizes if sizes is not None else _sizes(meta, join)
    silent = _without(path, join, meta, absent)
    predictions, problems = boxes.predictions(join.taken, given)
    return join.close(
        path, "detect", meta.classes, lambda: iter(predictions), without_detection=silent, problems=problems
    )


def _add(entry: Any, meta: _Meta, join: Join, boxes: Boxes, known: dict[Any, str | None]) -> None:
    if not isinstance(entry, dict):
        raise TypeError(f"expected a mapping with image_id, category_id, bbox and score, found {entry!r}"[:160])
    image = entry["image_id"]
    if image not in known:
        known[image] = join.claim(_name(image, meta))
    category = entry["category_id"]
    if type(category) is not int or category not in meta.index:
        ones = " (do they count from 1? give first=1)" if category == len(meta.index) and 0 in meta.index else ""
        raise ValueError(f"expected a category_id of {_span(meta.index)}, found {category!r}{ones}")
    if "bbox" not in entry and "keypoints" not in entry and "segmentation" not in entry:
        raise KeyError("bbox")
    id = known[image]
    target = boxes if id is not None else Boxes(boxes.classes, boxes.independent)  # checked all the same
    target.add(
        id or "",
        meta.index[category],
        entry["score"],
        box=entry.get("bbox"),
        probabilities=entry.get("probabilities"),
        keypoints=entry.get("keypoints"),
    )


def _name(image: Any, meta: _Meta) -> str:
    if image in meta.names:
        return meta.names[image]
    if isinstance(image, str) and image:
        return image
    if type(image) is not int:
        raise ValueError(f"expected an image_id that is a number or a file name, found {image!r}")
    if meta.names:
        raise ValueError(f'image_id {image} is not among the "images" of the annotations')
    raise ValueError(
        f'image_id {image} is a number: give annotations=FILE, the JSON whose "images" say which file that is (pick: '
        "predictions.annotations=FILE, a run: model.options.annotations=FILE)"
    )


def _meta(file: Path, data: Any) -> _Meta:
    images = data.get("images") if isinstance(data, dict) else None
    good = isinstance(images, list) and all(
        isinstance(i, dict) and type(i.get("id")) in (int, str) and type(i.get("file_name")) is str for i in images
    )
    if not isinstance(images, list) or not good:
        raise DataError(f'{file}: expected "images" as a list of {{"id": .., "file_name": text}}; give another file')
    names = {image["id"]: image["file_name"] for image in images}
    if len(names) < len(images):
        raise DataError(f'{file}: expected each id of "images" once, found one twice; rename it')
    pixels = {
        image["id"]: (image["width"], image["height"])
        for image in images
        if type(image.get("width")) is int and type(image.get("height")) is int
    }
    if data.get("categories") is None:
        return _Meta(names, pixels)
    return _Meta(names, pixels, *category_index(file, data["categories"]))


def _declared(path: Path, meta: _Meta, classes: Classes | None, first: int) -> _Meta:
    """With the classes that the caller declares, or else those of the file."""
    if classes is None and not meta.classes:
        raise DataError(
            f"{path}: expected the names of the classes, which results do not hold; give annotations=FILE with "
            '"categories", or classes= (pick: predictions.annotations=FILE or --classes FILE)'
        )
    if classes is None:
        return meta
    names = names_of(classes)
    if isinstance(classes, Mapping):
        return _Meta(meta.names, meta.sizes, {int(id): i for i, id in enumerate(classes)}, names)
    if not meta.classes:
        return _Meta(meta.names, meta.sizes, {first + i: i for i in range(len(names))}, names)
    if set(names) != set(meta.classes):
        odd = sorted(set(names) ^ set(meta.classes))
        raise DataError(
            f'{path}: expected the classes of "categories", found {len(names)} classes instead of '
            f"{len(meta.classes)}, e.g. {odd[0]!r} only in one of them; leave classes out"
        )
    order = {name: i for i, name in enumerate(names)}
    return _Meta(meta.names, meta.sizes, {id: order[meta.classes[i]] for id, i in meta.index.items()}, names)


def _without(path: Path, join: Join, meta: _Meta, absent: Absent) -> list[str]:
    """The ids in which nothing was found, claimed too."""
    if absent == "empty":
        return join.take_rest(path)
    places = (join.find(name)[0] for name in meta.names.values()) if absent == "auto" else ()
    return [id for id in sorted({id for id in places if id is not None}) if join.take(id)]


def _sizes(meta: _Meta, join: Join) -> Sizes:
    places = ((join.find(name)[0], meta.sizes.get(image)) for image, name in meta.names.items())
    return {id: size for id, size in places if id is not None and size is not None}


def _span(index: Mapping[int, int]) -> str:
    """Category ids for a message."""
    known = sorted(index)
    whole = known == list(range(known[0], known[0] + len(known)))
    return f"{known[0]} to {known[-1]}" if whole else f"the {len(known)} in categories ({known[0]} to {known[-1]})"


def _sentence(reason: str) -> str:
    return f"expected image_id, category_id, bbox and score, found {reason}" if reason.startswith("no '") else reason
