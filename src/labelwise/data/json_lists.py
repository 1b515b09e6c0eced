"""Reading a JSON object with long lists element by element: a million entries are never objects at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelwise.errors import DataError

_SPACE = re.compile(r"[ \t\r\n]*")
_BEGINNING = 1 << 16  # characters that tell what a file is


def read_object(file: Path, take: Mapping[str, Callable[[Any], object]]) -> dict[str, Any]:
    """Read the JSON object in a file: each element of the lists named in ``take`` is given to its function and
    forgotten; all other members are returned, and an empty list for each of those.

    Raises DataError, with the line, for what is no such JSON.
    """
    text = _text(file)
    decode = json.JSONDecoder().raw_decode
    found: dict[str, Any] = {}
    at = _after(text, 0)
    try:
        if text[at : at + 1] != "{":
            raise DataError(f"{file}: expected a JSON object, found {text[at : at + 20]!r}; check the path")
        at = _after(text, at + 1)
        while text[at : at + 1] != "}":
            key, at = decode(text, at)
            at = _expected(text, at, ":")
            if key in take and text[at : at + 1] == "[":
                at, found[key] = _elements(text, at, take[key]), []
            else:
                found[key], at = decode(text, at)
            at = _next(text, at, "}")
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno} column {error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(f"{file}: {place}expected JSON, found: {what}; was it written to its end?") from None
    return found


def beginning(file: Path) -> str:
    """The first characters of a file, "" if it cannot be read; enough to tell which format it is."""
    try:
        with file.open("rb") as stream:
            return stream.read(_BEGINNING).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def ending(file: Path) -> str:
    """The last characters of a file, as ``beginning``."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _BEGINNING))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        found = "nothing there" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{file}: expected a JSON file, found {found}; check the path") from None
    if not data.strip():
        raise DataError(f"{file}: expected JSON, found an empty file; write it again")
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}: line {line}: expected text in UTF-8, found other bytes; save it as UTF-8") from None


def _elements(text: str, at: int, take: Callable[[Any], object]) -> int:
    """Give the elements of the list that begins at ``at`` to ``take``; returns the place after it."""
    decode = json.JSONDecoder().raw_decode
    at = _after(text, at + 1)
    while text[at : at + 1] != "]":
        element, at = decode(text, at)
        take(element)
        at = _next(text, at, "]")
    return at + 1


def _next(text: str, at: int, end: str) -> int:
    """The place of the next element, or of the end; a comma before the end is let pass."""
    at = _after(text, at)
    if text[at : at + 1] == end:
        return at
    return _expected(text, at, ",")


def _expected(text: str, at: int, sign: str) -> int:
    at = _after(text, at)
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"no {sign!r} where one belongs", text, at)
    return _after(text, at + 1)


def _after(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
