"""Reading answers format by format: each reader puts what an image got, or why it stays open, into what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelwise.annotators import SKIP
from labelwise.annotators.found import Asked, Found, Names
from labelwise.annotators.timelapse_answers import read_timelapse
from labelwise.data.box_writing import stem_of
from labelwise.data.image_masks import class_names
from labelwise.data.label_tables import Kind, Row, read_rows, target_of
from labelwise.data.listing import shown
from labelwise.data.masks import Mask, points_of, read_mask, write_mask
from labelwise.data.painted import painted
from labelwise.data.predictions.boxes import SLACK
from labelwise.data.renamed import BOXES, pictures_below, read_renamed, tags_in
from labelwise.errors import DataError
from labelwise.records import Problem, Query, Target

SKIP_TAG = "skip"  # in CVAT's XML: a tag with this label skips the image, unless it is a class
HALF = "an annotation that cannot be used"
_HALF = frozenset({"unknown_class", "no_box", "crowd", "bad_annotation"})  # what was meant is not known in full


def _boxes(format: str) -> Callable[[Path, Asked, Names, Found], None]:
    def read(place: Path, asked: Asked, names: Names, found: Found) -> None:
        if asked.task == "classify" and format == "cvat_xml":
            _tags(place, asked, names, found)
            return
        if asked.task == "segment" and format in ("cvat_xml", "coco"):
            _shapes(place, format, asked, names, found)
            return
        if asked.task != "detect":
            raise DataError(f"{place}: {format} holds boxes, but the task is {asked.task}; give another format")
        pictures = {q.sample_id: asked.samples[q.sample_id].path for q in asked.queries}
        listing = read_renamed(place, format, names, pictures, asked.classes)
        if listing is None:
            return
        half = {problem.id for problem in listing.problems if problem.code in _HALF}
        found.problems += listing.problems
        for sample in listing.samples:
            if sample.id in half or sample.target is None:
                found.open[sample.id] = HALF
            elif sample.target.classes:
                found.targets[sample.id] = sample.target
            else:
                found.empty.append(sample.id)
        if format == "cvat_xml":
            _skip_tagged(place, asked, names, found)

    return read


def _skip_tagged(place: Path, asked: Asked, names: Names, found: Found) -> None:
    """Images with the tag "skip" are skipped, whatever else is in them."""
    for name, labels in tags_in(place):
        if SKIP_TAG in labels and SKIP_TAG not in asked.classes and (id := names.find(name)) is not None:
            found.targets[id] = None
            found.open.pop(id, None)
            found.empty = [other for other in found.empty if other != id]
            found.problems = [problem for problem in found.problems if problem.id != id]


def _shapes(place: Path, format: str, asked: Asked, names: Names, found: Found) -> None:
    """What is drawn in images, as masks: polygons, masks, ellipses and boxes."""
    by_image = {query.sample_id: query for query in asked.queries}
    for number, drawn in enumerate(painted(place, format, names, asked.sizes, asked.classes)):
        if drawn.wrong:
            found.refuse(drawn.id, drawn.wrong)
        elif drawn.mask is None:
            found.empty.append(drawn.id)
        else:
            file = found.scratch / f"{number}.png"
            write_mask(file, drawn.mask)
            _take_mask(by_image[drawn.id], drawn.mask, Target(drawn.classes, mask=file), found)
    if format == "cvat_xml":
        _skip_tagged(place, asked, names, found)


def _tags(place: Path, asked: Asked, names: Names, found: Found) -> None:
    for name, labels in tags_in(place):
        if (id := names(name)) is None:
            continue
        if SKIP_TAG in labels and SKIP_TAG not in asked.classes:
            found.targets[id] = None
        elif len(set(labels)) == 1:
            found.targets[id] = Target((labels[0],))
        elif labels:
            found.refuse(id, f"expected one tag, found {', '.join(map(repr, labels[:3]))}")
        else:
            found.empty.append(id)


def _class_folders(place: Path, asked: Asked, names: Names, found: Found) -> None:
    """A class a folder; the pictures in it by their ids, or by their file names."""
    if asked.task != "classify":
        raise DataError(f"{place}: class folders hold a class an image, but the task is {asked.task}")
    seen: dict[str, str] = {}
    for file in sorted(p for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")):
        label, slash, name = file.relative_to(place).as_posix().partition("/")
        if not slash:
            continue
        whole = f"{label}/{name}"
        exact = whole in asked.samples
        if exact and name in asked.samples:
            names.join.ambiguous.append(whole)
            continue
        id = names.find(whole if exact else name)
        if id is not None and seen.setdefault(id, label) != label:
            if found.targets.pop(id, None) is not None:
                found.refuse(id, f"expected it in one class folder, found it in {seen[id]!r} and {label!r}")
        elif (claimed := names(whole if exact else name)) is not None:
            found.targets[claimed] = Target((label,))


def _table(place: Path, asked: Asked, names: Names, found: Found) -> None:
    kind, rows = read_rows(place)
    wanted = {"classify": "image", "detect": "box", "segment": "point"}[asked.task]
    if kind != wanted:
        columns = {"image": "path and class", "box": "path, class, x0, y0, x1, y1", "point": "path, class, x, y"}
        raise DataError(f"{place}: expected the columns {columns[wanted]}, found {columns[kind]}")
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    asked_points = {q.sample_id: q for q in asked.queries if q.unit == "pixel"}
    for name, members in by_name.items():
        if not any(row.label for row in members) and kind != "box":
            continue  # not filled in yet
        if (id := names(name)) is None:
            continue
        try:
            if kind == "point" and id in asked_points:
                found.targets[id] = _points(members, asked_points[id])
            elif all(row.label == SKIP and not row.place for row in members):
                found.targets[id] = None
            elif not any(row.label or row.place for row in members):
                found.empty.append(id)
            else:
                found.targets[id] = _placed(members, kind, id, asked.sizes[id], found)
        except ValueError as error:
            found.refuse(id, str(error))


def _placed(rows: Sequence[Row], kind: Kind, id: str, size: tuple[int, int], found: Found) -> Target:
    """What the rows of an image say, inside of it; of boxes and points each has a place."""
    target = target_of(rows)
    if kind != "image" and target.geometry is None:
        line = next(row.line for row in rows if row.label)
        raise ValueError(f"line {line}: expected the place of {shown(target.classes[0])}, found none")
    inside = _in_image(target, size)
    if target.geometry is not None and inside.geometry is not None:
        beyond = int((abs(inside.geometry - target.geometry) > SLACK).any(axis=1).sum())
        if beyond:
            told = (
                f"{shown(id)}: {beyond:,} {'box' if beyond == 1 else 'boxes'} that reached outside the image, clipped"
            )
            found.problems.append(Problem(id, "clipped_boxes", told))
    return inside


def _in_image(target: Target, size: tuple[int, int]) -> Target:
    if target.geometry is None or not len(target.geometry) or min(size) <= 0:
        return target
    places, edges = target.geometry, np.array(size)
    if places.shape[1] == 2:
        if (places < 0).any() or (places >= edges).any():
            raise ValueError(f"expected pixels in the image of {size[0]} x {size[1]}, found one outside")
        return target
    if (places[:, 2:] <= places[:, :2]).any():
        raise ValueError("expected boxes x0 < x1 and y0 < y1, found one without area")
    inside = places.clip(0, np.tile(edges, 2))
    if (inside[:, 2:] <= inside[:, :2]).any():
        raise ValueError(f"expected boxes in the image of {size[0]} x {size[1]}, found one outside")
    return replace(target, geometry=inside)


def _points(rows: Sequence[Row], query: Query) -> Target:
    """The classes of the pixels that were asked, all of them; "-" says that a pixel shows no class."""
    assert query.geometry is not None
    said: dict[tuple[int, int], str] = {}
    for row in rows:
        if not row.label:
            continue
        if len(row.place) != 2:
            raise ValueError(f"line {row.line}: expected x and y")
        place = int(row.place[0]), int(row.place[1])
        if said.setdefault(place, row.label) != row.label:
            raise ValueError(f"line {row.line}: pixel {place} has two classes, {said[place]!r} and {row.label!r}")
    asked = [(int(x), int(y)) for x, y in query.geometry.tolist()]
    lacking = [place for place in asked if place not in said]
    if lacking:
        raise ValueError(f"{len(lacking):,} of {len(asked):,} pixels have no class yet, e.g. {lacking[0]}")
    kept = [place for place in asked if said[place] != SKIP]
    names = tuple(dict.fromkeys(said[place] for place in kept))
    codes = np.array([names.index(said[place]) for place in kept], np.int32)
    return Target(names, np.array(kept, np.int32).reshape(-1, 2), codes)


def _masks(place: Path, asked: Asked, names: Names, found: Found) -> None:
    if asked.task != "segment":
        raise DataError(f"{place}: masks are for the task segment, but it is {asked.task}; give another format")
    base = place / "masks" if (place / "masks").is_dir() else place
    own = next((folder for folder in (place, base) if (folder / "classes.txt").is_file()), None)
    classes = asked.classes if own is None else class_names(own, "classes.txt")
    by_image: dict[str, list[Query]] = {}
    for query in asked.queries:
        by_image.setdefault(query.sample_id, []).append(query)
    for name in pictures_below(base):
        if (id := names(stem_of(name))) is None:
            continue
        try:
            mask = read_mask(base / name, len(classes), size=asked.samples[id].size, name=name)
        except DataError as error:
            found.refuse(id, str(error))
            continue
        _take_mask(by_image[id][0], mask, Target(classes, mask=base / name), found)


def _take_mask(query: Query, mask: Mask, target: Target, found: Found) -> None:
    """Take a mask as the answer: whole, or the pixels that were asked."""
    if query.geometry is None:
        found.targets[query.sample_id] = target
        return
    inside = np.zeros(mask.shape, bool)
    if query.geometry.shape[1] in (2, 3):
        inside[query.geometry[:, 1], query.geometry[:, 0]] = True
    for x0, y0, x1, y1 in query.geometry.tolist() if query.geometry.shape[1] == 4 else ():
        inside[int(y0) : int(y1), int(x0) : int(x1)] = True
    points = points_of(mask, inside, target.classes)
    assert points.codes is not None
    used = np.unique(points.codes)
    if len(used):
        codes = np.searchsorted(used, points.codes).astype(np.int32)
        found.targets[query.sample_id] = Target(tuple(target.classes[i] for i in used), points.geometry, codes)
    else:
        found.empty.append(query.sample_id)


READERS: Mapping[str, Callable[[Path, Asked, Names, Found], None]] = {
    "csv": _table,
    "class_folders": _class_folders,
    "masks": _masks,
    "timelapse": read_timelapse,
    **{format: _boxes(format) for format in BOXES},
}
