"""Tables that a person gives beside the images: their columns, joined by id, as metadata to look at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise.data.name_lists import COLUMNS
from labelwise.errors import DataError
from labelwise.web.columns import Column, described

SUFFIXES = (".csv", ".tsv", ".parquet", ".json")
_VECTORS = re.compile(r"embedding(_\d+)?")
_MOST_COLUMNS = 200


def table_columns(path: Path, ids: Sequence[str]) -> list[Column]:
    """The columns of a table, one value an id, in the order of ``ids``: ``.csv``, ``.tsv``, ``.parquet``, or the
    ``.json`` that ``labelwise pick`` writes.

    The images' names are in the column ``path``, ``id`` or ``filename``. Raises DataError for a file that is no such
    table, names an image twice, or none of these.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a table ({', '.join(SUFFIXES)}), found the suffix {suffix!r}; rename it")
    if not path.is_file():
        raise DataError(f"{path}: expected a table, found nothing there; check the path")
    columns = _of_picks(path) if suffix == ".json" else _of_arrow(path, suffix)
    names = next((name for name in COLUMNS if name in columns), None)
    if names is None:
        raise DataError(
            f"{path}: expected a column with the images' names ({', '.join(COLUMNS[:3])}, ...), found "
            f"{', '.join(map(str, columns))[:100]}"
        )
    row_of: dict[str, int] = {}
    for row, id in enumerate(columns[names]):
        if row_of.setdefault(str(id), row) != row:
            raise DataError(f"{path}: expected each image once, found {str(id)!r:.100} twice; remove a row")
    rows = [row_of.get(id) for id in ids]
    if all(row is None for row in rows):
        raise DataError(
            f"{path}: expected rows of these images, found none: the first image is {next(iter(ids), '')!r:.100}, the "
            f"first row {next(iter(row_of), '')!r:.100}"
        )
    stem = path.stem
    return [
        described(f"{stem}:{name}", str(name), stem, [None if row is None else values[row] for row in rows])
        for name, values in columns.items()
        if name != names
    ]


def _of_arrow(path: Path, suffix: str) -> Mapping[str, Sequence[Any]]:
    import pyarrow as pa
    import pyarrow.csv as text
    import pyarrow.parquet as pq

    try:
        if suffix == ".parquet":
            schema = pq.read_schema(path)
            wanted = [f.name for f in schema if not pa.types.is_nested(f.type) and _VECTORS.fullmatch(f.name) is None]
            table = pq.read_table(path, columns=wanted[:_MOST_COLUMNS])
        else:
            parse = text.ParseOptions(delimiter="\t" if suffix == ".tsv" else ",", newlines_in_values=True)
            table = text.read_csv(path, parse_options=parse)
            wanted = [name for name in table.column_names if _VECTORS.fullmatch(name) is None]
            table = table.select(wanted[:_MOST_COLUMNS])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: expected a table, found: {' '.join(str(error).split())[:200]}") from None
    return {name: [_plain(v) for v in table[name].to_pylist()] for name in table.column_names}


def _of_picks(path: Path) -> Mapping[str, Sequence[Any]]:
    import json

    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        picks = tree["picks"] if isinstance(tree, dict) else tree
        rows = [{**{k: v for k, v in pick.items() if k != "facts"}, **pick.get("facts", {})} for pick in picks]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(
            f"{path}: expected the JSON that 'labelwise pick' writes; give a CSV or Parquet table"
        ) from None
    names = list(dict.fromkeys(name for row in rows for name in row))[:_MOST_COLUMNS]
    return {name: [_plain(row.get(name)) for row in rows] for name in names}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
