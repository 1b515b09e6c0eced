"""Embeddings as the CSV that lightly reads and writes: filenames, embedding_0 to embedding_{d-1}, labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.data.listing import shown
from labelwise.embedding.checks import Array, Vectors, check_rows, chunks
from labelwise.errors import DataError

FIRST = "filenames"
OTHER_FIRST = ("filename", "id")  # as LightlyTrain and others call it
MARKS = ("masked", "selected")  # columns that old versions of lightly put among the numbers
_NUMBERED = re.compile(r"embedding_([0-9]+)")


def read(path: Path) -> tuple[list[str], Vectors]:
    """Read ids and vectors ``(n, d)`` float32; columns from ``labels`` on are passed over, and so may be missing."""
    with _rows(path) as rows:
        names, columns = _header(path, rows)
        width = len(names)
        vectors = np.empty((_most_rows(path), len(columns)), np.float32)
        plain = columns == list(range(1, len(columns) + 1))
        ids: list[str] = []
        for row in rows:
            if len(row) != width:
                found = "an empty line" if not row else f"{len(row)} fields"
                raise DataError(f"{_at(path, rows)}: expected {width} fields as in the header, found {found}; mend it")
            numbers = row[1 : len(columns) + 1] if plain else [row[c] for c in columns]
            try:
                with np.errstate(over="ignore"):
                    vectors[len(ids)] = np.array(numbers, np.float32)
            except ValueError:
                odd = next(n for n in numbers if not _is_number(n))
                raise DataError(f"{_at(path, rows)}: expected numbers, found {odd!r}; mend or remove it") from None
            check_rows(path, vectors[len(ids)][None], rows.line_num, "line", [row[0]])
            ids.append(row[0])
    return ids, vectors[: len(ids)]


def write(path: Path, ids: Sequence[str], vectors: Array) -> None:
    """Write ids and vectors ``(n, d)``; raises DataError for an id with a comma, which lightly forbids."""
    for id in ids:
        if "," in id:
            raise DataError(
                f"{shown(id)}: lightly's CSV forbids a comma in a file name; rename the file, or write .parquet"
            )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([FIRST, *(f"embedding_{i}" for i in range(vectors.shape[1])), "labels"])
        for start, block in chunks(vectors):
            # Nine digits give back every float32.
            for row, vector in enumerate(block, start=start):
                writer.writerow([ids[row], *(f"{x:.9g}" for x in vector.tolist()), "0"])


def first_column(path: Path) -> list[str]:
    """The ids in the first column of a table with a header."""
    with _rows(path) as rows:
        head = next(rows, None)
        if not head or head[0] not in (FIRST, *OTHER_FIRST):
            raise DataError(
                f"{path}, line 1: expected the first column {FIRST}, found {head[0] if head else 'nothing'!r}"
            )
        return [row[0] if row else "" for row in rows]


class _Rows:
    """Rows of a CSV with the number of the line that the last one ended in."""

    def __init__(self, file: Any) -> None:
        self._reader = csv.reader(file)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        return next(self._reader)

    @property
    def line_num(self) -> int:
        return self._reader.line_num


@contextmanager
def _rows(path: Path) -> Iterator[_Rows]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = _Rows(file)
        try:
            yield rows
        except csv.Error as error:
            raise DataError(f"{_at(path, rows)}: expected CSV, found: {error}; mend it") from None


def _header(path: Path, rows: _Rows) -> tuple[list[str], list[int]]:
    """The names of all columns, and the columns that hold embedding_0, embedding_1 and so on."""
    names = next(rows, None)
    where = f"{path}, line 1"
    if not names:
        raise DataError(f"{where}: expected a header {FIRST},embedding_0,...,labels, found an empty file or line")
    if odd := [n for n in names if n != n.strip()]:
        raise DataError(f"{where}: expected names without blanks around them, found {odd[0]!r}; remove the blanks")
    if names[0] not in (FIRST, *OTHER_FIRST):
        raise DataError(f"{where}: expected the first column {FIRST}, found {shown(names[0][:60])!r}; rename it")
    end = names.index("labels") if "labels" in names else len(names)
    numbers: dict[int, int] = {}
    for column in range(1, end):
        match = _NUMBERED.fullmatch(names[column])
        if match is None and names[column] not in MARKS:
            raise DataError(f"{where}: expected embedding_0, embedding_1, ..., labels, found {names[column]!r}")
        if match is not None and numbers.setdefault(int(match[1]), column) != column:
            raise DataError(f"{where}: expected each column once, found {names[column]!r} twice")
    if sorted(numbers) != list(range(len(numbers))) or not numbers:
        missing = next(i for i in range(len(numbers) + 1) if i not in numbers)
        raise DataError(f"{where}: expected columns embedding_0 to embedding_N, found none called embedding_{missing}")
    return names, [numbers[i] for i in range(len(numbers))]


def _most_rows(path: Path) -> int:
    """No fewer than the file has: its line ends. Memory that no row fills is never taken."""
    lines = 1
    with path.open("rb") as file:
        while block := file.read(2**22):
            lines += block.count(b"\n") + block.count(b"\r")
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _at(path: Path, rows: _Rows) -> str:
    return f"{path}, line {rows.line_num}"
