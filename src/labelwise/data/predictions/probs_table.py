"""Format: table of class probabilities, CSV or Parquet: one row an image, its name first, then one column a class."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.predictions.joining import Classes, Join, PredictionSet, Sizes
from labelwise.data.predictions.reading import distributions, names_of
from labelwise.errors import DataError
from labelwise.records import Prediction

KEYS = ("id", "path", "filename", "file", "file_name", "image")
_ROWS = 4096  # rows in memory at a time

Chunk = tuple[list[int], list[str], NDArray[Any]]  # line numbers, names, (rows, C) numbers


def read(
    path: Path,
    ids: tuple[str, ...],
    classes: Classes | None,
    sizes: Sizes | None,
    *,
    logits: bool = False,
    independent: bool = False,
    root: str = "",
) -> PredictionSet:
    """Class probabilities of whole images from a CSV (comma, semicolon or tab) or a Parquet file.

    The first column is called id, path, filename, file or image; each other one is a class. With ``classes`` only
    these columns are read, in that order. Rows must sum to 1 within 0.01, unless ``logits`` (softmax comes first) or
    ``independent`` (each class stands alone; with ``logits`` a sigmoid comes first). The file is checked as a whole,
    then read again row by row. Raises DataError naming file and line.
    """
    chunks, header = _opened(path)
    columns, names = _columns(path, header, classes)
    convert = partial(_probabilities, path, columns, logits=logits, independent=independent)
    join = Join(ids, root)
    lines: dict[int, str] = {}
    seen = 0
    for chunk in chunks():
        seen += len(chunk[0])
        convert(chunk)
        for line, name in zip(chunk[0], chunk[1], strict=True):
            id = join.claim(name)
            if id is not None:
                lines[line] = id
    if not seen:
        raise DataError(f"{path}: expected a row for each image, found only the header; write the predictions again")

    def stream() -> Iterator[Prediction]:
        for chunk in chunks():
            wanted = [i for i, line in enumerate(chunk[0]) if line in lines]
            if wanted:
                probs = convert(chunk)
                for i in wanted:
                    yield Prediction(lines[chunk[0][i]], probs=probs[i].copy(), independent=independent)

    return join.close(path, "classify", names, stream)


def _probabilities(
    path: Path, columns: Sequence[int], chunk: Chunk, *, logits: bool, independent: bool
) -> NDArray[np.float32]:
    lines, _, cells = chunk
    values = cells[:, columns]
    if values.dtype == object:
        values = _numbers(path, lines, values, columns)
    return distributions(values, lambda i: f"{path}: line {lines[i]}", logits=logits, independent=independent)


def _numbers(path: Path, lines: list[int], cells: NDArray[Any], columns: Sequence[int]) -> NDArray[np.float64]:
    try:
        return cells.astype(np.float64)
    except (ValueError, TypeError):
        pass
    for i, j in np.ndindex(cells.shape):
        try:
            float(cells[i, j])
        except (ValueError, TypeError):
            break
    found = f"{cells[i, j]!r} in column {columns[j] + 2}"
    raise DataError(
        f"{path}: line {lines[i]}: expected a number for each class, found {found}; "
        "name the class columns with classes= if others lie between them"
    )


def _columns(path: Path, header: Sequence[str], classes: Classes | None) -> tuple[list[int], tuple[str, ...]]:
    """Places of the classes among the columns after the first, and their names."""
    first, names = (header[0] if header else ""), list(header[1:])
    if first.casefold() not in KEYS:
        raise DataError(
            f"{path}: expected a first column called id, path, filename, file or image, found {first[:80]!r}; rename it"
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice or "" in names or not names:
        found = f"{twice[0]!r} twice" if twice else "one without a name" if names else "none"
        raise DataError(f"{path}: expected a column for each class, found {found}; mend the header")
    wanted = tuple(names) if classes is None else names_of(classes)
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise DataError(
            f"{path}: expected a column for each of {len(wanted)} classes, found {len(names)} columns without "
            f"{lacking[0]!r}; mend the header or classes="
        )
    return [names.index(name) for name in wanted], wanted


def _opened(path: Path) -> tuple[Callable[[], Iterator[Chunk]], list[str]]:
    """The file's chunks, as often as asked for, and its header."""
    if path.suffix.casefold() in (".parquet", ".pq"):
        return _parquet(path)
    encoding, delimiter = _text_form(path)
    rows = partial(_csv_rows, path, encoding, delimiter)
    header = next(rows(), (0, []))[1]
    return partial(_csv_chunks, path, rows, len(header)), [name.strip() for name in header]


def _csv_rows(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = None
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError) as error:
        line = reader.line_num + 1 if reader else 1
        what = "other bytes than UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise DataError(f"{path}: near line {line}: expected CSV in UTF-8, found: {what}; save it again") from None


def _csv_chunks(path: Path, rows: Callable[[], Iterator[tuple[int, list[str]]]], width: int) -> Iterator[Chunk]:
    source = rows()
    next(source, None)
    while part := list(islice(source, _ROWS)):
        for line, cells in part:
            if len(cells) != width:
                advice = "put quotes around names with a delimiter"
                raise DataError(f"{path}: line {line}: expected {width} cells, found {len(cells)}; {advice}")
        table = np.array([cells[1:] for _, cells in part], dtype=object)
        yield [line for line, _ in part], [cells[0].strip() for _, cells in part], table


def _text_form(path: Path) -> tuple[str, str]:
    """The encoding, and the delimiter of the first line."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError as error:
        raise DataError(f"{path}: expected a readable table, found: {error.strerror}; check it") from None
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    lines = start.decode(encoding, "replace").strip("\r\n \0").splitlines()
    if not lines:
        raise DataError(f"{path}: expected a header with id and the classes, found an empty file; check the path")
    return encoding, max(",;\t", key=lines[0].count)


def _parquet(path: Path) -> tuple[Callable[[], Iterator[Chunk]], list[str]]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            header = [str(name) for name in file.schema_arrow.names]
    except (OSError, pyarrow.ArrowException) as error:
        what = " ".join(str(error).split())[:160]
        raise DataError(f"{path}: expected a Parquet file, found: {what}; write it again") from None

    def chunks() -> Iterator[Chunk]:
        line = 1
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                names = ["" if name is None else str(name) for name in batch.column(0).to_pylist()]
                columns = [_arrow_column(column) for column in batch.columns[1:]]
                table = np.stack(columns, axis=1) if columns else np.empty((len(names), 0))
                yield list(range(line, line + len(names))), names, table
                line += len(names)

    return chunks, header


def _arrow_column(column: Any) -> NDArray[Any]:
    """Numbers as they are (null: NaN); anything else as objects, which are refused where a number is wanted."""
    import pyarrow.types as types

    if types.is_floating(column.type) or types.is_integer(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.array(column.to_pylist(), dtype=object)
