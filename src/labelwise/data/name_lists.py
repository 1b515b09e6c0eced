"""Lists of image names: read from text, CSV or JSON; and picks written as such lists, each with its reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.catalog import suggest
from labelwise.errors import ConfigError, DataError

FORMATS = (".txt", ".csv", ".json")
COLUMNS = ("path", "id", "file", "filename", "filenames", "file_name", "image", "name")
DELIMITERS = ",;\t"
_KEYS = ("id", "path", "file_name", "filename", "file", "name", "image")
_HOLDERS = ("picks", "images", "filenames", "files", "names")


@dataclass(frozen=True, slots=True)
class Row:
    """One pick as a list tells it: ``rank`` from 1, the image's ``id``, why in words and as ``facts`` by name."""

    rank: int
    id: str
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_names(path: Path | str) -> list[str]:
    """The names in a list, each once, in their order.

    ``.json``: an array of names or of objects with ``id``, ``path`` or ``file_name``, or an object that holds one under
    ``picks`` or ``images`` (so COCO's images too). ``.csv`` and ``.tsv``: the column ``path``, ``id``, ``filename`` or
    ``filenames``, or the only column. Anything else: a name a line; a line in double quotes is a JSON string. Raises
    DataError for a file that cannot be read so.
    """
    file = Path(path)
    text = _text(file)
    suffix = file.suffix.lower()
    read = {".json": _from_json, ".csv": _from_table, ".tsv": _from_table}.get(suffix, _from_lines)
    names = read(file, text)
    return list(dict.fromkeys(name for name in names if name))


def check_format(path: Path) -> None:
    """Raises ConfigError if ``write_list`` knows no format for this name."""
    if path.suffix.lower() not in FORMATS:
        found = f"found {path.suffix!r}" if path.suffix else "found no suffix"
        raise ConfigError(f"{path}: expected a list that ends with .txt, .csv or .json, {found}; name it so")


def list_text(suffix: str, rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Picks as the text of a list; ``about`` goes into the JSON beside them."""
    if suffix == ".json":
        picks = [{"rank": r.rank, "id": r.id, "reason": r.reason, "facts": dict(r.facts)} for r in rows]
        return json.dumps({**about, "picks": picks}, ensure_ascii=False, indent=1) + "\n"
    if suffix == ".csv":
        return _table(rows)
    return "".join(f"{_line(row.id)}\n" for row in rows)


def _line(name: str) -> str:
    """A name as one line of text: in JSON's quotes where a line could not hold it."""
    plain = name.isprintable() and name == name.strip() and not name.startswith('"')
    return name if plain else json.dumps(name)


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name, value in row.facts.items() if not _nested(value)))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "path", *names, "reason"])
    for row in rows:
        writer.writerow([row.rank, row.id, *(row.facts.get(name, "") for name in names), row.reason])
    return out.getvalue()


def _nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file}: expected a list of names, found nothing there; check the path") from None
    except OSError as error:
        raise DataError(f"{file}: expected a list of names, found: {error.strerror}; check the path") from None
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"{file}: line {data.count(10, 0, error.start) + 1}"
        raise DataError(f"{where}: expected text in UTF-8, found other bytes; save it as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{file}: expected a list of names, found binary data; name a .txt, .csv or .json file")
    return text


def _from_lines(file: Path, text: str) -> Iterable[str]:
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if line.startswith('"'):
            try:
                name = json.loads(line)
            except ValueError:
                raise DataError(f"{file}: line {number}: expected a closed quote, found {line[:80]!r}") from None
            yield str(name)
        else:
            yield line.strip()


def _from_table(file: Path, text: str) -> Iterable[str]:
    first = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        where = f"{file}: line {reader.line_num}"
        raise DataError(f"{where}: expected CSV, found: {error}; mend the quotes there") from None
    if not rows:
        return []
    head = [cell.strip().casefold() for cell in rows[0]]
    column = next((head.index(name) for name in COLUMNS if name in head), None)
    if column is None and max(map(len, rows)) > 1:
        known = suggest(head[0], COLUMNS)
        raise DataError(f"{file}: expected a column with the images' names, found {', '.join(rows[0])[:80]}: {known}")
    body = rows if column is None else rows[1:]
    return [row[column or 0] for row in body if len(row) > (column or 0)]


def _from_json(file: Path, text: str) -> Iterable[str]:
    try:
        tree = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected JSON, found: {error}; mend it") from None
    if isinstance(tree, dict):
        tree = next((tree[key] for key in _HOLDERS if isinstance(tree.get(key), list)), tree)
    if not isinstance(tree, list):
        found = f"found keys {', '.join(map(str, tree))[:80]}" if isinstance(tree, dict) else f"found {tree!r:.80}"
        raise DataError(f"{file}: expected an array of names, or an object with 'picks' or 'images', {found}")
    return [_name(file, item) for item in tree]


def _name(file: Path, item: Any) -> str:
    if isinstance(item, dict):
        item = next((item[key] for key in _KEYS if isinstance(item.get(key), str)), item)
    if not isinstance(item, str):
        raise DataError(f"{file}: expected a name, or an object with one of {', '.join(_KEYS)}, found {item!r:.80}")
    return item
