"""Labels as a CSV: one row an image and its class, a box with its corners, or a pixel with its place; both ways."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from labelwise.data.box_writing import Images, number_text
from labelwise.data.csv_table import CLASS_NAMES, CORNERS, DELIMITERS, PATH_NAMES, table_text
from labelwise.data.listing import shown
from labelwise.data.predictions.reading import parsed
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Sample, Target

POINT = ("x", "y")
Kind = Literal["image", "box", "point"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is read: its line in the file, the image's name, the class (empty if there is none), and its place:
    no number, two or four."""

    line: int
    name: str
    label: str
    place: tuple[float, ...]


def write(
    path: Path | str,
    samples: Iterable[Sample],
    classes: Sequence[str],
    *,
    images: Images = "leave",
    confidences: Mapping[str, Sequence[float]] | None = None,
) -> list[str]:
    """Write the new CSV ``path``; returns what it cannot hold, a line each.

    Columns: ``path`` and ``class``; for boxes ``x0, y0, x1, y1``, for points ``x, y``, in pixels of the image as shown;
    ``confidence`` with ``confidences`` by id. An image with a known truth of nothing has one row without class. Images
    without target are rows without class too. Raises DataError if the file is there, for targets of several kinds or
    mask files, and for ``images`` other than "leave": a table holds no pictures.
    """
    path = Path(path)
    if images != "leave":
        raise DataError(f"{path}: a table holds no pictures, found images={images}; leave that out")
    if path.exists():
        raise DataError(f"{path}: expected a new file to write, found something there; choose another name")
    listed = sorted(samples, key=lambda sample: sample.id)
    kind = _kind(listed)
    columns = {"image": (), "box": CORNERS, "point": POINT}[kind]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "class", *columns, *(["confidence"] if confidences else [])])
    for sample in listed:
        sure = None if confidences is None else confidences.get(sample.id, ())
        rows = list(_rows(sample, kind)) or [("", [""] * len(columns))]
        for i, (name, place) in enumerate(rows):
            tail = [] if sure is None else [f"{sure[i]:.6g}" if i < len(sure) else ""]
            writer.writerow([sample.id, name, *place, *tail])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text.getvalue())
    read = "give root=FOLDER when reading" if kind == "image" else "the table can be imported, not read as data"
    notes = [f"the pictures are where they were; {read}"]
    unknown = sum(sample.target is None for sample in listed)
    if unknown:
        notes.append(f"{unknown:,} unlabelled images have a row without class")
    if kind != "image" and any(s.target is not None and not s.target.classes for s in listed):
        notes.append("an image known to hold nothing has a row without class, as one that is unlabelled")
    if any(sample.split in ("test", "unused") for sample in listed):
        notes.append("which images are for testing is not written")
    if len(set(classes)) > len({name for s in listed if s.target for name in s.target.classes}):
        notes.append("classes without a label are not named")
    return notes


def _kind(samples: Sequence[Sample]) -> Kind:
    kinds: set[Kind] = set()
    for sample in samples:
        if (target := sample.target) is None:
            continue
        if target.mask is not None:
            raise DataError(f"{sample.id}: a table cannot hold a mask; write masks instead")
        if target.geometry is None:
            kinds.add("image")
        else:
            kinds.add("box" if target.geometry.shape[1] == 4 else "point")
    if len(kinds) > 1:
        raise DataError(f"a table holds labels of one kind, found {', '.join(sorted(kinds))}")
    return next(iter(kinds), "image")


def _rows(sample: Sample, kind: Kind) -> Iterator[tuple[str, list[str]]]:
    target = sample.target
    if target is None:
        return
    if target.geometry is None:
        yield target.classes[0], []
        return
    codes = range(len(target.classes)) if target.codes is None else target.codes.tolist()
    for code, place in zip(codes, target.geometry.tolist(), strict=True):
        yield target.classes[code], [number_text(value) for value in place]


def read_rows(file: Path) -> tuple[Kind, list[Row]]:
    """The rows of a table, and what each is about, as its header says.

    Raises DataError, with the line, for anything but such a table: an answer must not be lost.
    """
    text = table_text(file)
    delimiter, head = _head(file, text)
    kind: Kind = "box" if set(CORNERS) <= set(head) else "point" if set(POINT) <= set(head) else "image"
    columns = {"image": (), "box": CORNERS, "point": POINT}[kind]
    name_at, class_at = (next(i for i, n in enumerate(head) if n in names) for names in (PATH_NAMES, CLASS_NAMES))
    at = [head.index(name) for name in columns]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        next(reader)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{file}: line {reader.line_num}"
            if len(cells) <= max(name_at, class_at, *at, 0) or any(cell.strip() for cell in cells[len(head) :]):
                raise DataError(
                    f"{where}: expected {len(head)} cells, found {len(cells)}; quote cells with {delimiter!r}"
                )
            rows.append(_row(reader.line_num, cells, name_at, class_at, at, where))
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num}: expected CSV, found: {error}; mend the quotes") from None
    return kind, rows


def _row(line: int, cells: Sequence[str], name_at: int, class_at: int, at: Sequence[int], where: str) -> Row:
    label, texts = cells[class_at].strip(), [cells[i].strip() for i in at]
    if not any(texts):
        return Row(line, cells[name_at].strip(), label, ())
    try:
        place = tuple(parsed(text, "each column of its place") for text in texts)
    except ValueError as error:
        raise DataError(f"{where}: {error}; mend it") from None
    return Row(line, cells[name_at].strip(), label, place)


def _head(file: Path, text: str) -> tuple[str, list[str]]:
    first = text.splitlines()[0]
    for delimiter in DELIMITERS:
        head = [name.strip().strip('"').casefold() for name in first.split(delimiter)]
        if set(head) & set(PATH_NAMES) and set(head) & set(CLASS_NAMES):
            return delimiter, head
    raise DataError(
        f"{file}: expected a header with the columns path and class, found {first[:80]!r}; boxes have x0, y0, x1, y1 "
        "too, pixels x, y"
    )


def target_of(rows: Sequence[Row]) -> Target:
    """The target that the rows of one image make: a class, boxes or points; rows without class and place say nothing.

    Raises ValueError where they do not fit together: a class without place beside others, two classes of an image.
    """
    said = [row for row in rows if row.label or row.place]
    if not all(row.label for row in said):
        line = next(row.line for row in said if not row.label)
        raise ValueError(f"line {line}: expected a class")
    places = {len(row.place) for row in said}
    if places == {0}:
        if len({row.label for row in said}) > 1:
            found = " and ".join(repr(name) for name in dict.fromkeys(row.label for row in said))
            raise ValueError(f"line {said[-1].line}: expected one class of the image, found {found}")
        return Target((said[0].label,))
    if len(places) > 1:
        line = next(row.line for row in said if not row.place)
        raise ValueError(f"line {line}: expected the place of {shown(said[0].label)}, found none")
    if places == {2}:
        names = tuple(dict.fromkeys(row.label for row in said))
        codes = np.array([names.index(row.label) for row in said], np.int32)
        return Target(names, np.array([row.place for row in said], np.int32), codes)
    return Target(tuple(row.label for row in said), np.array([row.place for row in said], float).reshape(-1, 4))
