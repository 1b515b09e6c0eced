"""Reading Timelapse's files: the fields of a template, and the rows of a data file (.ddb) or of an exported CSV."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labelwise.data.times import local_times
from labelwise.errors import DataError
from labelwise.records import Problem

FILE, FOLDER, TIME, DELETE = "File", "RelativePath", "DateTime", "DeleteFlag"
STANDARD = (FILE, FOLDER, TIME, DELETE)  # fields of every template
DELIMITERS = ",;\t"
_SQLITE = b"SQLite format 3\0"
_BESIDE = ("-wal", "-journal")  # what SQLite keeps beside a file that is open


@dataclass(frozen=True, slots=True)
class Control:
    """A field of a template: its name in tables (``data_label``), its name on screen, its type as Timelapse calls it
    (``FixedChoice``, ``Flag``, ...), and what a list offers, the empty choice left out."""

    data_label: str
    label: str
    type: str
    choices: tuple[str, ...] = ()
    default: str = ""
    exported: bool = True
    may_be_empty: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A row about one file: its number (line of a CSV, Id of a .ddb), the file's path from the folder of the table with
    ``/``, the cells by data label without surrounding spaces, and when the picture was taken (ISO local time)."""

    number: int
    id: str
    values: Mapping[str, str]
    taken: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: its columns in their order, its rows in theirs, the fields of its template (none for a CSV), and what
    was left out or could not be understood."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    controls: tuple[Control, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_rows(path: Path | str, *, day_first: bool | None = None) -> Rows:
    """Read a .ddb (a copy of it: the file itself is never opened by SQLite) or a CSV that Timelapse exported.

    A CSV may have been saved anew by a spreadsheet: separated by comma, semicolon or tab; UTF-8 with or without byte
    order mark, UTF-16 or, told as a problem, Windows-1252; dates in any form of ``labelwise.data.times``, in one column
    (DateTime) or two (Date, Time). ``\\`` and ``/`` both separate folders. Problems: ``bad_row`` (wrong number of
    cells), ``no_file`` (empty File), ``outside_root``, ``no_time`` (once, with the count), ``encoding``. Raises
    DataError for a file that is neither.
    """
    path = Path(path)
    return _of_database(path, day_first) if is_database(path) else _of_csv(path, day_first)


def read_template(path: Path | str) -> tuple[Control, ...]:
    """The fields of a template (.tdb) or of a data file (.ddb), in the order of the spreadsheet; from a copy.

    Raises DataError if it holds no template.
    """
    path = Path(path)
    with copied(path) as database:
        controls = _controls(database)
    if not controls:
        raise DataError(f"{path}: expected a template of Timelapse, found no TemplateTable in it; name the .tdb")
    return controls


def is_database(path: Path) -> bool:
    """True if the file is one of SQLite's, as .tdb and .ddb are. Raises DataError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        found = "nothing there" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: expected a file of Timelapse, found {found}; check the path") from None


def is_timelapse_csv(path: Path) -> bool:
    """True if the file's first line has the columns File and RelativePath."""
    try:
        _header(path, _text(path)[0])
    except DataError:
        return False
    return True


def file_id(folder: str, file: str) -> str | None:
    """The path of a row's file with ``/``, or None if it is not below the root."""
    joined = f"{folder}/{file}".replace("\\", "/")
    if re.match(r"^[A-Za-z]:|^//", joined) or folder.startswith(("/", "\\")):
        return None
    id = posixpath.normpath(joined.lstrip("/"))
    return None if id.split("/")[0] in ("..", ".") else id


# --- .tdb and .ddb --------------------------------------------------------------------------------


@contextmanager
def copied(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, together with what was not written back yet. Raises DataError if it is damaged."""
    if not is_database(path):
        raise DataError(f"{path}: expected a file of Timelapse (.tdb or .ddb), found other content; check the path")
    with tempfile.TemporaryDirectory(prefix="labelwise-") as folder:
        copy = Path(folder) / "copy.ddb"
        try:
            shutil.copyfile(path, copy)
            for tail in _BESIDE:
                if (beside := path.with_name(path.name + tail)).is_file():
                    shutil.copyfile(beside, copy.with_name(copy.name + tail))
            with closing(sqlite3.connect(copy)) as database:
                yield database
        except OSError as error:
            raise DataError(f"{path}: cannot be copied to be read: {error.strerror}; make room or check it") from None
        except sqlite3.Error as error:
            raise DataError(f"{path}: expected a whole file of Timelapse, found: {error}; restore it") from None


def tables_of(database: sqlite3.Connection) -> set[str]:
    """The names of its tables."""
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _controls(database: sqlite3.Connection) -> tuple[Control, ...]:
    if "TemplateTable" not in tables_of(database):
        return ()
    cursor = database.execute("SELECT * FROM TemplateTable")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    rows.sort(key=lambda row: (int(row.get("SpreadsheetOrder") or 0), int(row.get("Id") or 0)))
    return tuple(_control(row) for row in rows if row.get("DataLabel"))


def _control(row: Mapping[str, object]) -> Control:
    def text(name: str) -> str:
        return "" if row.get(name) is None else str(row[name])

    choices, empty = _choices(text("List"))
    exported = text("ExportToCSV").casefold() != "false"
    return Control(
        text("DataLabel"), text("Label"), text("Type"), choices, text("DefaultValue"), exported, may_be_empty=empty
    )


def _choices(text: str) -> tuple[tuple[str, ...], bool]:
    """The choices of a list, and whether it may stay empty: JSON, or as older versions wrote it, ``a|b``."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        found = None
    if isinstance(found, dict):
        names = found.get("ChoiceListNonEmpty") or []
        return tuple(str(name) for name in names if str(name).strip()), bool(found.get("IncludeEmptyChoice", True))
    return tuple(name.strip() for name in text.split("|") if name.strip()), True


def _of_database(path: Path, day_first: bool | None) -> Rows:
    with copied(path) as database:
        if "DataTable" not in tables_of(database):
            raise DataError(
                f"{path}: expected data of Timelapse, found no DataTable in it; name the .ddb, not the .tdb"
            )
        cursor = database.execute("SELECT * FROM DataTable ORDER BY Id")
        columns = tuple(str(column[0]) for column in cursor.description)
        lacking = [name for name in (FILE, FOLDER) if name not in columns]
        if lacking:
            raise DataError(f"{path}: expected the column {lacking[0]} in DataTable, found none; restore the file")
        cells = [["" if cell is None else str(cell).strip() for cell in row] for row in cursor]
        controls = _controls(database)
    number = columns.index("Id") if "Id" in columns else None
    numbered = [(i if number is None else int(row[number]), row) for i, row in enumerate(cells, start=1)]
    return _made(path, tuple(c for c in columns if c != "Id"), columns, numbered, controls, [], day_first)


# --- CSV ------------------------------------------------------------------------------------------


def _of_csv(path: Path, day_first: bool | None) -> Rows:
    text, encoding = _text(path)
    problems = []
    if encoding == "cp1252":
        message = "read as Windows-1252, since it is no UTF-8: look at names with accents, or save it as CSV UTF-8"
        problems.append(Problem("", "encoding", f"{path.name}: {message}"))
    delimiter, columns, skipped = _header(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        for _ in range(skipped + 1):
            next(reader)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
                message = f"line {reader.line_num}: expected {len(columns)} cells, found {len(cells)}; left out"
                problems.append(Problem(cells[0].strip() or path.name, "bad_row", message))
            else:
                rows.append((reader.line_num, [cell.strip() for cell in cells[: len(columns)]]))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: expected CSV, found: {error}; mend it there") from None
    return _made(path, columns, columns, rows, (), problems, day_first)


def _text(path: Path) -> tuple[str, str]:
    """The text of a table and its encoding. Raises DataError for what is no text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        found = "nothing there" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: expected a CSV of Timelapse, found {found}; check the path") from None
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise DataError(f"{path}: expected a CSV of Timelapse, found binary data; name the exported table")


def _header(path: Path, text: str) -> tuple[str, tuple[str, ...], int]:
    """The delimiter, the names of the columns, and how many lines stand before them (a spreadsheet's ``sep=;``)."""
    lines = text.splitlines()
    skipped = int(bool(lines) and lines[0].casefold().startswith("sep="))
    first = lines[skipped] if len(lines) > skipped else ""
    for delimiter in DELIMITERS:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        while names and not names[-1]:
            names.pop()  # spreadsheets leave empty columns behind the last
        known = {name.casefold(): name for name in STANDARD}
        columns = tuple(known.get(name.casefold(), name) for name in names)
        if FILE in columns and FOLDER in columns:
            repeated = next((name for name in columns if columns.count(name) > 1), None)
            if repeated is not None:
                raise DataError(f"{path}: expected each column once, found {repeated!r} twice; rename one")
            return delimiter, columns, skipped
    raise DataError(
        f"{path}: expected the columns {FILE} and {FOLDER}, as Timelapse exports them, found {first[:80]!r}; export "
        "it anew"
    )


# --- both -----------------------------------------------------------------------------------------


def _made(
    path: Path,
    columns: tuple[str, ...],
    names: tuple[str, ...],
    cells: list[tuple[int, list[str]]],
    controls: tuple[Control, ...],
    problems: list[Problem],
    day_first: bool | None,
) -> Rows:
    """The table from its cells, ``names`` being what each of them is; rows without a file below the root left out."""
    place = {name: i for i, name in enumerate(names)}
    kept = []
    for number, row in cells:
        file, folder = row[place[FILE]], row[place[FOLDER]]
        id = file_id(folder, file) if file else None
        if id is None:
            code, why = (
                ("outside_root", f"{folder!r} is not below the table's folder") if file else ("no_file", "no File")
            )
            problems.append(Problem(file or path.name, code, f"row {number}: {why}; left out"))
        else:
            kept.append((number, id, row))
    texts = _written_times(place, [row for _, _, row in kept])
    times = local_times(texts, day_first=day_first)
    unknown = sum(bool(text) and value is None for text, value in zip(texts, times.values, strict=True))
    if unknown:
        example = next(text for text, value in zip(texts, times.values, strict=True) if text and value is None)
        why = "day and month cannot be told apart: say day_first" if times.unclear else "no date that is understood"
        problems.append(Problem("", "no_time", f"{path.name}: {unknown:,} times unknown, e.g. {example!r}: {why}"))
    rows = tuple(
        Row(number, id, {name: row[place[name]] for name in columns}, taken)
        for (number, id, row), taken in zip(kept, times.values, strict=True)
    )
    return Rows(path, columns, rows, controls, tuple(problems))


def _written_times(place: Mapping[str, int], rows: list[list[str]]) -> list[str]:
    """The time of each row as it is written: DateTime, or Date and Time."""
    if TIME in place:
        return [row[place[TIME]] for row in rows]
    if "Date" in place:
        clock = place.get("Time")
        return [f"{row[place['Date']]} {row[clock] if clock is not None else ''}".strip() for row in rows]
    return [""] * len(rows)
