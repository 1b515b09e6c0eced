"""Answers that people wrote elsewhere, joined to open queries by the images' ids; what does not fit is told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from labelwise.annotators import SKIP
from labelwise.annotators.timelapse_answers import Sheet, read_timelapse
from labelwise.catalog import suggest
from labelwise.data.box_writing import stem_of
from labelwise.data.coco import annotation_files
from labelwise.data.image_masks import class_names
from labelwise.data.label_tables import Row, read_rows, target_of
from labelwise.data.listing import shown
from labelwise.data.masks import Mask, class_counts, empty_mask, points_of, read_mask, void_of, write_mask
from labelwise.data.painted import painted
from labelwise.data.predictions.joining import Join, listed
from labelwise.data.renamed import BOXES, guess_format, pictures_below, read_renamed, tags_in, unpacked
from labelwise.data.timelapse import is_database, is_timelapse_csv
from labelwise.errors import DataError
from labelwise.records import Annotation, Problem, Query, Sample, Target, Task

SKIP_TAG = "skip"  # in CVAT's XML: a tag with this label skips the image, unless it is a class
FORMATS = ("csv", "coco", "voc", "yolo", "cvat_xml", "class_folders", "masks", "timelapse")
Blank = Literal["open", "answer"]
HALF = "an annotation that cannot be used"
_HALF = frozenset({"unknown_class", "no_box", "crowd", "bad_annotation"})  # what was meant is not known in full


@dataclass(frozen=True, slots=True)
class Answers:
    """What a file of answers says. ``annotations`` answer open queries; everything else stays open.

    Of the names in the file, ``unmatched`` mean no image of the run (or several), ``settled`` one without an open
    query, ``duplicates`` repeat an image (the first counts). ``unknown_classes`` maps names to the images where they
    occur, ``empty`` are images that are named without anything in them; ``open`` says why the answer of others
    cannot be used. ``problems`` say what was wrong, one line each. ``rows`` counts those of Timelapse that mean an
    image of the run, and those that mean none.
    """

    annotations: tuple[Annotation, ...] = ()
    unmatched: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    unknown_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    open: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    rows: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What answers are read for: the open queries, all samples of the run by id, its classes and task.

    ``ever`` are the images that were asked in any round, among which names without folder are looked for; None: all.
    ``sheet`` says how a Timelapse project calls things.
    """

    queries: Sequence[Query]
    samples: Mapping[str, Sample]
    classes: tuple[str, ...]
    task: Task
    ever: Collection[str] | None = None
    sheet: Sheet | None = None

    @property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """(width, height) of the images that are asked."""
        return {q.sample_id: self.samples[q.sample_id].size for q in self.queries}


@dataclass(slots=True)
class Found:
    """What has been read so far: the target of each image (None: skipped), and what went wrong with others."""

    targets: dict[str, Target | None] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)  # why an image's answer cannot be used
    scratch: Path = Path()  # where masks are painted
    unknown: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    rows: tuple[int, int] = (0, 0)

    def refuse(self, id: str, why: str) -> None:
        """Leave an image open."""
        self.open[id] = why
        self.problems.append(Problem(id, "not_taken", f"{shown(id)}: {why}; stays open"))


class Names:
    """Finds the image with an open query that a name means, and remembers the names that mean none.

    A name is looked for among all images that were ever asked, so that a file read again, in a later round, means the
    same images as before; and one that is the id of another image means that one.
    """

    def __init__(self, asked: Asked, root: str) -> None:
        known = asked.samples.keys() if asked.ever is None else asked.ever
        self.open = {q.sample_id for q in asked.queries}
        self.join = Join(tuple(sorted({*known, *self.open})), root)
        others = asked.samples.keys() - set(self.join.ids)
        self.others = others | {stem_of(id) for id in others}
        self.settled: list[str] = []

    def __call__(self, name: str) -> str | None:
        """The id, once for each image."""
        if self._other(name):
            self.settled.append(name)
            return None
        id = self.join.claim(name)
        if id is not None and id not in self.open:
            self.settled.append(name)
        return id if id in self.open else None

    def find(self, name: str) -> str | None:
        """The id, without remembering anything."""
        id = None if self._other(name) else self.join.find(name)[0]
        return id if id in self.open else None

    def cut(self, name: str) -> str:
        """The name without the root that is to be cut off."""
        return name.removeprefix(f"{self.join.root.rstrip('/')}/") if self.join.root else name

    def _other(self, name: str) -> bool:
        return self.cut(name) in self.others


def read_answers(
    path: Path,
    asked: Asked,
    *,
    format: str | None = None,
    root: str = "",
    new_classes: bool | Collection[str] = False,
    blank: Blank = "open",
    who: str = "import",
    masks: Path | None = None,
) -> Answers:
    """Read answers to open queries from a file or folder.

    ``format``: csv, coco, voc, yolo, cvat_xml (also zipped), class_folders, masks or timelapse (a .ddb, or a CSV that
    Timelapse exported: see `labelwise.annotators.timelapse_answers`); guessed if it is not said. A name means the image
    whose id it is; a name without folder the one with that file name, if only one such was asked; ``root`` is cut off
    the names first. Classes that the run does not know leave their images open, or with ``new_classes`` (all, or those
    it names) become classes. An image that is named with nothing in it stays open, or is an answer (``blank``). Masks
    of whole images are copied to ``masks``. Raises DataError for a file that cannot be read.
    """
    if not path.exists():
        raise DataError(f"{path}: expected answers to read, found nothing there; check the path")
    names, found = Names(asked, root), Found()
    with unpacked(path) as place, tempfile.TemporaryDirectory(prefix="labelwise-") as scratch:
        found.scratch = Path(scratch)
        kind = format or _folder_format(place, asked.task)
        if kind not in FORMATS:
            raise DataError(f"{path}: unknown format {kind!r}: {suggest(kind, FORMATS)}")
        try:
            _READERS[kind](place, asked, names, found)
        except DataError as error:
            raise DataError(str(error).replace(str(place), str(path))) from None
        if new_classes is not True and asked.classes:
            _drop_unknown(asked, found, {*asked.classes, *(new_classes or ())})
        annotations = [
            Annotation(query.id, _kept(query, found.targets[query.sample_id], asked, masks), who)
            for query in asked.queries
            if query.sample_id in found.targets
        ]
    if blank == "answer" and asked.task == "detect":
        nothing = set(found.empty)
        annotations += [
            Annotation(q.id, Target((), np.zeros((0, 4))), who) for q in asked.queries if q.sample_id in nothing
        ]
    answered = {a.query_id for a in annotations}
    left = {q.sample_id for q in asked.queries if q.id not in answered}
    return Answers(
        tuple(annotations),
        (*names.join.unknown, *names.join.ambiguous),
        tuple(names.settled),
        tuple(names.join.duplicates),
        {name: tuple(ids) for name, ids in sorted(found.unknown.items())},
        tuple(id for id in found.empty if id in left),
        dict(found.open),
        tuple(found.problems),
        found.rows,
    )


def told(answers: Answers, classes: Sequence[str], way_out: str) -> list[str]:
    """What a person should know of the answers, a line for each kind of thing; ``way_out`` is for unknown classes."""
    lines = []
    for name, ids in answers.unknown_classes.items():
        where = f"{len(ids):,} {'image' if len(ids) == 1 else 'images'} ({listed(ids)})"
        lines.append(f"unknown class {name!r} in {where}, left open: {suggest(name, classes)}; mend it, or {way_out}")
    for count, what in (
        (answers.unmatched, "names mean no open image"),
        (answers.settled, "images have no open query: answered already, or never asked"),
        (answers.duplicates, "names repeat an image, the first counts"),
        ([id for id, why in answers.open.items() if why == HALF], "images stay open for what is wrong in them"),
        (answers.empty, "images are named with nothing in them and stay open; blank=answer takes that as the answer"),
    ):
        if count:
            lines.append(f"{len(count):,} {what}: {listed(count)}")
    return lines + [problem.message for problem in answers.problems]


def _folder_format(place: Path, task: Task) -> str:
    if task == "classify" and place.is_file() and (is_database(place) or is_timelapse_csv(place)):
        return "timelapse"
    if task == "classify" and place.is_dir():
        xml = (place / "annotations.xml").is_file()
        return "cvat_xml" if xml else "class_folders"
    drawn = (place / "annotations.xml").is_file() or annotation_files(place)
    if task == "segment" and place.is_dir() and not drawn:
        return "masks"
    return guess_format(place)


def _drop_unknown(asked: Asked, found: Found, known: Collection[str]) -> None:
    """Leave the images open in which a class occurs that the run does not know: half an answer is none."""
    for id, target in list(found.targets.items()):
        strange = [name for name in _used(target) if name not in known] if target is not None else []
        for name in strange:
            found.unknown.setdefault(name, []).append(id)
        if strange:
            del found.targets[id]
            found.open[id] = "unknown class"


def _kept(query: Query, target: Target | None, asked: Asked, masks: Path | None) -> Target | None:
    """The target as the run keeps it: a mask file is copied, its values in the order of the run's classes."""
    if target is None or target.mask is None or masks is None:
        return target
    classes = (*asked.classes, *(name for name in _used(target) if name not in asked.classes))
    found = read_mask(target.mask, len(target.classes), size=asked.samples[query.sample_id].size)
    mask = empty_mask(found.shape[0], found.shape[1], len(classes))
    for value in np.unique(found[found != void_of(found)]).tolist():
        mask[found == value] = classes.index(target.classes[value])
    write_mask(kept := masks / f"{query.id}.png", mask)
    return Target(classes, mask=kept)


def _used(target: Target) -> list[str]:
    """The classes that occur in a target: all names, or those of the values in a mask."""
    return list(dict.fromkeys(target.classes if target.mask is None else class_counts(target)))


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
                found.targets[id] = _in_image(target_of(members), asked.sizes[id])
        except ValueError as error:
            found.refuse(id, str(error))


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


_READERS: Mapping[str, Callable[[Path, Asked, Names, Found], None]] = {
    "csv": _table,
    "class_folders": _class_folders,
    "masks": _masks,
    "timelapse": read_timelapse,
    **{format: _boxes(format) for format in BOXES},
}
