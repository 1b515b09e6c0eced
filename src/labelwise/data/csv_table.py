"""Format: CSV table. One line per picture: path, class and perhaps group; an empty class means unlabelled."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labelwise.data.listing import (
    Listing,
    checked_folder,
    existing_id,
    make_listing,
    relative_id,
)
from labelwise.data.sequences import placed_if
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target

PATH_NAMES = ("path", "file", "filename")
CLASS_NAMES = ("class", "label", "species")
GROUP_NAMES = ("group",)
CORNERS = ("x0", "y0", "x1", "y1")  # of a table of boxes, see `labelwise.data.label_tables`
DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table: its number in the file (from 1), and its cells without surrounding spaces."""

    line: int
    path: str
    label: str
    group: str


@dataclass(slots=True)
class _Table:
    """What has been read so far: the first row of each id, and what went wrong."""

    rows: dict[str, _Row] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def note(self, id: str, code: str, line: int, message: str) -> None:
        self.problems.append(Problem(id, code, f"line {line}: {message}"))


def read(
    path: Path | str,
    *,
    root: Path | str | None = None,
    group: str | None = None,
    location: str | int | None = None,
    sequence_minutes: float | None = None,
) -> Listing:
    """List the pictures that a CSV names; ids are paths relative to ``root`` (default: the CSV's folder).

    The header is required, in any case: ``path`` (or file, filename), ``class`` (or label, species), optional
    ``group``; other columns are ignored. Separated by comma, semicolon or tab; UTF-8 with or without byte order mark;
    ``\\`` counts as ``/`` where needed. ``group``: "folder" or a regular expression with one group, used where the
    column is absent or empty, or as in ``labelwise.data.sequences``, as are ``location`` and ``sequence_minutes``.

    Problems, each with its line: ``missing``, ``outside_root``, ``bad_row`` (wrong number of cells), ``repeated``
    (the first line counts), ``conflicting_class`` (one picture with two classes: left out, nobody can tell which is
    right), ``unicode_form`` (the file's name is written with other code points; used). Raises DataError for a file
    that is no such table or names no picture.
    """
    file = Path(path)
    base = file.parent if root is None else checked_folder(root)
    table = _Table()
    for row in _rows(file, table):
        _take(row, base, table)
    kept = {id: row for id, row in table.rows.items() if id not in table.conflicts}
    if not kept:
        raise DataError(_nothing(file, base, table))
    samples, more, camera = placed_if(
        [_sample(id, row, base) for id, row in kept.items()], location, sequence_minutes, group
    )
    classes = sorted({row.label for row in kept.values()} - {""})
    return make_listing(base, samples, classes, [*table.problems, *more], camera)


def _sample(id: str, row: _Row, base: Path) -> Sample:
    return Sample(id, base / id, row.group or None, Target((row.label,)) if row.label else None)


def read_classes(file: Path) -> dict[str, str]:
    """The class of each path as the table has it, rows without a class left out; the last row of a path counts.

    Raises DataError for a line with a wrong number of cells: an answer must not be lost.
    """
    table = _Table()
    found = {row.path: row.label for row in _rows(file, table) if row.label}
    if table.problems:
        raise DataError(f"{file}: {table.problems[0].message} ({len(table.problems)} such lines)")
    return found


def is_table(path: Path) -> bool:
    """True if the file's first line is a header that ``read`` understands."""
    try:
        _columns(path, table_text(path))
    except DataError:
        return False
    return True


def _rows(file: Path, table: _Table) -> Iterator[_Row]:
    """Yield the rows of a table; lines with a wrong number of cells become problems."""
    text = table_text(file)
    delimiter, columns, width = _columns(file, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) <= max(columns[0], columns[1]) or any(cell.strip() for cell in cells[width:]):
                advice = f"left out; put quotes around cells with {delimiter!r}"
                message = f"expected {width} cells, found {len(cells)}; {advice}"
                table.note(cells[0].strip(), "bad_row", reader.line_num, message)
                continue
            values = [cells[column].strip() if 0 <= column < len(cells) else "" for column in columns]
            yield _Row(reader.line_num, *values)
    except csv.Error as error:
        where = f"{file}: line {reader.line_num}"
        raise DataError(f"{where}: expected CSV, found: {error}; mend the quotes there") from None


def table_text(file: Path) -> str:
    """The text of a table in UTF-8 or UTF-16. Raises DataError if it cannot be read as such, or is empty."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file}: expected a CSV table, found nothing there; check the path") from None
    except OSError as error:
        raise DataError(f"{file}: expected a readable CSV table, found: {error.strerror}; check it") from None
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"{file}: line {data.count(10, 0, error.start) + 1}"
        raise DataError(f"{where}: expected text in UTF-8, found other bytes; save it as CSV UTF-8") from None
    if "\0" in text:
        raise DataError(f"{file}: expected a CSV table, found binary data; name a text file")
    if not text.strip():
        raise DataError(f"{file}: expected a header with path and class, found an empty file; check the path")
    return text


def _columns(file: Path, text: str) -> tuple[str, tuple[int, int, int], int]:
    """The delimiter, the columns of path, class and group (-1: none), and the number of columns."""
    first = text.splitlines()[0]
    for delimiter in DELIMITERS:
        names = [name.strip().strip('"').casefold() for name in first.split(delimiter)]
        places = _place(names, PATH_NAMES), _place(names, CLASS_NAMES), _place(names, GROUP_NAMES)
        if places[0] < 0 or places[1] < 0:
            continue
        if set(CORNERS) <= set(names):
            raise DataError(
                f"{file}: expected a class for each picture, found a table of boxes (x0, y0, x1, y1): "
                "'labelwise import' takes it as answers; as data give coco, voc, yolo or cvat_xml"
            )
        for place in places:
            if place >= 0 and names.count(names[place]) > 1:
                raise DataError(f"{file}: expected each column once, found {names[place]!r} twice; rename one")
        return delimiter, places, len(names)
    raise DataError(
        f"{file}: expected a header with the columns path and class (path,class[,group]), found {first[:80]!r}; "
        "add the header, with an empty column class if nothing is labelled"
    )


def _place(names: list[str], wanted: tuple[str, ...]) -> int:
    return next((names.index(name) for name in wanted if name in names), -1)


def _take(row: _Row, base: Path, table: _Table) -> None:
    """Enter one row into the table, or say why not."""
    id = relative_id(row.path, base)
    if id is None:
        table.note(row.path, "outside_root", row.line, f"expected a path under {base}, found {row.path!r}; left out")
        return
    actual = existing_id(id, base)
    if actual is None:
        table.note(id, "missing", row.line, f"expected the picture {id!r}, found no file under {base}; left out")
        return
    if actual != id and unicodedata.normalize("NFC", actual) == unicodedata.normalize("NFC", id):
        form = "decomposed" if unicodedata.is_normalized("NFD", actual) else "composed"
        table.note(actual, "unicode_form", row.line, f"{id!r} is stored with {form} letters; used")
    first = table.rows.setdefault(actual, row)
    if first is row:
        return
    if not first.label and row.label:
        table.rows[actual] = row
    if first.label and row.label and first.label != row.label:
        table.conflicts.add(actual)
        found = f"{actual!r} is {row.label!r} here and {first.label!r} in line {first.line}"
        table.note(actual, "conflicting_class", row.line, f"{found}; left out until one is removed")
    else:
        table.note(actual, "repeated", row.line, f"{actual!r} stands already in line {first.line}; counted once")


def _nothing(file: Path, base: Path, table: _Table) -> str:
    if not table.problems:
        return f"{file}: expected a line per picture, found only the header; add lines or check the path"
    counts = ", ".join(f"{count} {code}" for code, count in Counter(p.code for p in table.problems).most_common())
    return f"{file}: expected pictures under {base}, found none ({counts}; {table.problems[0].message}); is root right?"
