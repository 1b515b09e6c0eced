"""Asking through files: a table or a dataset of annotations to fill in, and answers read from where they are put."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from labelwise.annotators import SKIP, Desk, named
from labelwise.annotators.answers import Answers, Blank, read_answers, told
from labelwise.annotators.found import Asked
from labelwise.catalog import suggest
from labelwise.data import coco, csv_table, cvat_xml, image_masks, label_tables, voc, yolo
from labelwise.data.box_writing import Images, new_folder, stem_of
from labelwise.data.masks import write_mask
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.reasons import sentence
from labelwise.records import Annotation, Query, Sample, Target

Format = Literal["coco", "voc", "yolo", "cvat_xml", "csv"]
WRITERS: Mapping[str, Callable[..., list[str]]] = {
    "coco": coco.write,
    "voc": voc.write,
    "yolo": yolo.write,
    "cvat_xml": cvat_xml.write,
}
_SUFFIXES = frozenset({".zip", ".json", ".xml", ".csv"})
_ASKED = "asked.txt"  # ids of the queries that a folder asks
_WAY_OUT = "set annotator.new_classes=true"


@dataclass(frozen=True)
class Files:
    """Write what is asked into the round's folder, and read there what people filled in.

    A class an image, and pixels: ``annotate.csv``, whose column ``class`` is filled, by "-" to skip an image or for a
    pixel that shows no class. Boxes: the folder ``annotate`` with the proposals, in ``format``, and its pictures
    (``images``); regions and whole masks: ``annotate`` with a mask to paint for each picture. Their answers are put
    beside it, as ``answers`` (folder, .json, .xml, .csv or .zip). An image that is named in the answers with nothing
    in it stays open, or has no object (``blank``: open, answer). With ``new_classes`` a name that the run does not know
    becomes a class; without, it is reported. Where the run knows no class yet, every name is new.
    """

    format: Format = "coco"
    images: Images = "link"
    blank: Blank = "open"
    new_classes: bool = False

    simulated = False
    tasks = frozenset({"classify", "detect", "segment"})

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Write what is not asked yet; a file that a person may have begun to fill is never overwritten."""
        if not queries:
            return
        place = _place(queries, desk)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".csv":
            if not place.exists():
                replace_text(place, "\ufeff" + questions_table(queries, desk.samples))
            return
        # A budget of boxes may ask for more images in the same round: they get a folder of their own.
        asked = {id for folder in _folders(place) for id in (folder / _ASKED).read_text(encoding="utf-8").split()}
        new = [query for query in queries if query.id not in asked]
        if new:
            write = _write_boxes if desk.task == "detect" else _write_masks
            with new_folder(_next(place)) as folder:
                write(folder, new, desk, self)
                replace_text(folder / _ASKED, "".join(f"{query.id}\n" for query in new))

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """What is filled in. Raises DataError, listing them, for classes the run does not know."""
        if not open_queries:
            return []
        place = _place(open_queries, desk)
        if desk.task == "classify":
            return self._classes(open_queries, place, desk) if place.exists() else []
        found: dict[str, Annotation] = {}
        for file in _answers(place):
            left = [query for query in open_queries if query.id not in found]
            found |= {answer.query_id: answer for answer in self._read(left, file, desk).annotations}
        return [found[query.id] for query in open_queries if query.id in found]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Which file to fill, or where to put the answers; and what is wrong with those that are there."""
        place, files = _place(open_queries, desk), _answers(_place(open_queries, desk))
        if place.suffix == ".csv":
            return f"fill the column 'class' in {place}, then run again"
        what = "paint the masks of" if desk.task == "segment" else "annotate the images of"
        as_what = "answers (folder, .json, .xml, .csv or .zip)"
        where = (_folders(place) or [place])[-1]
        advice = f"{what} {where} and put the result beside it as {as_what}, then run again"
        if not files:
            return advice
        answers = self._read(open_queries, files[-1], desk)
        wrong = told(replace(answers, settled=()), desk.classes, _WAY_OUT)
        return advice + (f"; {files[-1].name}: {wrong[0]}" if wrong else f"; {files[-1].name} does not name them")

    def _classes(self, queries: Sequence[Query], path: Path, desk: Desk) -> list[Annotation]:
        answers = csv_table.read_classes(path)
        self._check(path, set(answers.values()) - {SKIP}, desk)
        found = [(q, answers[q.sample_id]) for q in queries if q.sample_id in answers]
        return [Annotation(q.id, None if label == SKIP else Target((label,)), "files") for q, label in found]

    def _read(self, queries: Sequence[Query], place: Path, desk: Desk) -> Answers:
        masks = desk.folder / f"{queries[0].round:03d}" / "masks"
        asked = Asked(queries, desk.samples, desk.classes, desk.task)
        answers = read_answers(
            place,
            asked,
            format=self._format(place),
            new_classes=self.new_classes,
            blank=self.blank,
            who="files",
            masks=masks,
        )
        self._check(place, set(answers.unknown_classes), desk)
        return answers

    def _format(self, place: Path) -> str | None:
        """The format of the answers: what was asked in, where their name does not say another."""
        by_name = {".csv": "csv", ".json": "coco"}.get(place.suffix)
        return by_name or (self.format if self.format == "yolo" and place.is_dir() else None)

    def _check(self, path: Path, names: set[str], desk: Desk) -> None:
        unknown = sorted(names - set(desk.classes))
        if unknown and named(desk.classes) and not self.new_classes:
            raise DataError(
                f"{path}: unknown class {unknown[0]!r} ({len(unknown)} unknown in all): "
                f"{suggest(unknown[0], desk.classes)}; mend the file, or set annotator.new_classes=true"
            )


def _place(queries: Sequence[Query], desk: Desk) -> Path:
    """The table to fill, or the folder that is to be annotated."""
    pixels = any(query.unit == "pixel" for query in queries)
    table = desk.task == "classify" or pixels
    return desk.folder / f"{queries[0].round:03d}" / ("annotate.csv" if table else "annotate")


def _answers(place: Path) -> list[Path]:
    """Where answers are: the filled table, or everything beside the folders that is called answers."""
    if place.suffix == ".csv":
        return [place] if place.exists() else []
    found = place.parent.glob("answers*")
    return sorted(file for file in found if file.is_dir() or file.suffix.lower() in _SUFFIXES)


def _folders(place: Path) -> list[Path]:
    """The folders that were written in this round, in their order."""
    found = [folder for folder in place.parent.glob("annotate*") if (folder / _ASKED).is_file()]
    return sorted(found, key=lambda folder: (len(folder.name), folder.name))


def _next(place: Path) -> Path:
    numbers = range(1, 1_000_000)
    tries = (place if number == 1 else place.with_name(f"{place.name}-{number}") for number in numbers)
    return next(folder for folder in tries if not folder.exists())


def questions_table(queries: Sequence[Query], samples: Mapping[str, Sample]) -> str:
    """A CSV with a row for each image or pixel that is asked, its class empty, the model's proposal beside it."""
    text = io.StringIO()
    writer = csv.writer(text)
    pixels = queries[0].unit == "pixel"
    head = (
        ["path", "x", "y", "class", "proposal", "image"] if pixels else ["path", "class", "proposal", "reason", "image"]
    )
    writer.writerow(head)
    for query in queries:
        image = str(samples[query.sample_id].path)
        if not pixels:
            proposal = " ".join(query.proposal.classes) if query.proposal else ""
            writer.writerow([query.sample_id, "", proposal, sentence(query.reason), image])
            continue
        assert query.geometry is not None
        for (x, y), proposal in zip(query.geometry.tolist(), _names(query), strict=True):
            writer.writerow([query.sample_id, x, y, "", proposal, image])
    return text.getvalue()


def _names(query: Query) -> list[str]:
    """The proposed class of each pixel."""
    target = query.proposal
    if target is None or target.codes is None:
        return [""] * (0 if query.geometry is None else len(query.geometry))
    return [target.classes[code] for code in target.codes.tolist()]


def samples_to_fill(queries: Sequence[Query], samples: Mapping[str, Sample]) -> list[Sample]:
    """The images that are asked, with the proposals as their boxes: none where nothing was proposed."""
    return [
        replace(
            samples[query.sample_id],
            target=query.proposal if query.proposal is not None else Target((), np.zeros((0, 4))),
            split=None,
            group=None,
        )
        for query in {q.sample_id: q for q in queries}.values()
    ]


def _write_boxes(folder: Path, queries: Sequence[Query], desk: Desk, how: Files) -> None:
    samples = samples_to_fill(queries, desk.samples)
    if how.format == "csv":
        label_tables.write(folder / "annotate.csv", samples, desk.classes)
    else:
        _moved(folder, lambda inner: WRITERS[how.format](inner, samples, desk.classes, images=how.images))


def _write_masks(folder: Path, queries: Sequence[Query], desk: Desk, how: Files) -> None:
    _moved(folder, lambda inner: write_masks_to_fill(inner, queries, desk.samples, desk.classes, how.images))


def _moved(folder: Path, write: Callable[[Path], list[str]]) -> None:
    """Write a dataset into a new folder inside, and bring it up."""
    write(folder / ".dataset")
    for inner in sorted((folder / ".dataset").iterdir()):
        inner.replace(folder / inner.name)
    (folder / ".dataset").rmdir()


def write_masks_to_fill(
    place: Path, queries: Sequence[Query], samples: Mapping[str, Sample], classes: Sequence[str], images: Images
) -> list[str]:
    """Pictures, class names, masks where one is proposed, and for regions a picture that is white where a class is
    asked; returns what it cannot hold."""
    asked = [replace(samples[query.sample_id], target=query.proposal, split=None, group=None) for query in queries]
    notes = image_masks.write(place, asked, classes, images=images)
    for query in queries:
        if query.geometry is None or query.geometry.shape[1] != 4:
            continue
        width, height = samples[query.sample_id].size
        white = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in query.geometry.tolist():
            white[int(y0) : int(y1), int(x0) : int(x1)] = 255
        write_mask(place / "regions" / f"{stem_of(query.sample_id)}.png", white)
    return [note for note in notes if "unlabelled" not in note]
