"""Answers that people wrote elsewhere, joined to open queries by the images' ids; what does not fit is told."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from labelwise.annotators import named
from labelwise.annotators.answer_formats import HALF, READERS
from labelwise.annotators.found import Asked, Found, Names
from labelwise.catalog import suggest
from labelwise.data import cvat_xml
from labelwise.data.coco import annotation_files
from labelwise.data.masks import class_counts, empty_mask, read_mask, void_of, write_mask
from labelwise.data.predictions.joining import listed
from labelwise.data.renamed import guess_format, unpacked
from labelwise.data.timelapse import is_database, is_timelapse_csv
from labelwise.errors import DataError
from labelwise.records import Annotation, Problem, Query, Target, Task

FORMATS = tuple(READERS)
Blank = Literal["open", "answer"]


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
            READERS[kind](place, asked, names, found)
        except DataError as error:
            raise DataError(str(error).replace(str(place), str(path))) from None
        if new_classes is not True and named(asked.classes):
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
        return "class_folders" if cvat_xml.annotation_file(place) is None else "cvat_xml"
    if task == "segment" and place.is_dir() and cvat_xml.annotation_file(place) is None and not annotation_files(place):
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
