"""Reading text, JSON and numbers of predictions, with one clear line for each mistake."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.predictions.joining import Classes
from labelwise.errors import DataError

SUM = 0.01  # how far from 1 a row of probabilities may sum: they may be rounded
_EDGE = 1e-4  # how far outside of 0 to 1 rounding may bring a number


def load_text(file: Path) -> str:
    """The text of a file in UTF-8 (or UTF-16 with its mark). Raises DataError if it cannot be read as such."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: expected a readable file, found: {error.strerror}; check it") from None
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}: line {line}: expected text in UTF-8, found other bytes; save it as UTF-8") from None


def load_json(file: Path) -> Any:
    """What a JSON file holds. Raises DataError, with the place, if it holds none."""
    text = load_text(file)
    if not text.strip():
        raise DataError(f"{file}: expected JSON, found an empty file; write it again")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno} column {error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(f"{file}: {place}expected JSON, found: {what}; was it written to its end?") from None


def number(value: Any) -> float:
    """A finite number. Raises ValueError saying what was found instead."""
    try:
        found = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"expected a finite number, found {value!r}"[:120])
    return found


def parsed(text: str | None, what: str) -> float:
    """A finite number from text. Raises ValueError naming ``what`` if it is none."""
    try:
        return number(float(text or ""))
    except ValueError:
        raise ValueError(f"expected a number in {what}, found {(text or '')[:40]!r}") from None


def names_of(classes: Classes) -> tuple[str, ...]:
    """The names of declared classes, in order."""
    return tuple(classes.values()) if isinstance(classes, Mapping) else tuple(classes)


def category_index(file: Path, categories: Any) -> tuple[dict[int, int], tuple[str, ...]]:
    """Class index by category id, and the names, from a list of ``{"id": .., "name": ..}``, in its order."""
    good = isinstance(categories, list) and categories and all(_is_category(entry) for entry in categories)
    if not good:
        raise DataError(f'{file}: expected "categories" as a list of {{"id": number, "name": text}}; mend them')
    index = {entry["id"]: i for i, entry in enumerate(categories)}
    names = tuple(entry["name"] for entry in categories)
    if len(index) < len(names) or len(set(names)) < len(names):
        raise DataError(f'{file}: expected each id and name of "categories" once, found one twice; rename it')
    return index, names


def _is_category(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("id")) is int
        and bool(entry.get("name"))
        and type(entry["name"]) is str
    )


def distributions(
    values: NDArray[Any], where: Callable[[int], str], *, logits: bool = False, independent: bool = False
) -> NDArray[np.float32]:
    """Probabilities ``(..., C)`` as float32, once each is known to be one; rows are made to sum to exactly 1.

    ``logits``: softmax (sigmoid if ``independent``) comes first. ``where(i)`` names the i-th row for a message. Raises
    DataError for the first row that is not finite, not within 0 to 1, or does not sum to 1 within 0.01.
    """
    rows = values.reshape(-1, values.shape[-1])
    rows = rows.astype(np.float32 if rows.dtype in (np.float16, np.float32) else np.float64)
    _refuse(~np.isfinite(rows).all(axis=1), rows, where, "finite numbers", "leave the line out or predict it again")
    if logits:
        rows = _activated(rows, independent)
    outside = (rows.min(axis=1, initial=0) < -_EDGE) | (rows.max(axis=1, initial=0) > 1 + _EDGE)
    _refuse(outside, rows, where, "probabilities of 0 to 1", "if these are logits, give logits=true")
    rows = rows.clip(0, 1)
    if not independent:
        sums = rows.sum(axis=1)
        way_out = "if these are logits, give logits=true; if each class stands alone (sigmoid), independent=true"
        _refuse(abs(sums - 1) > SUM, rows, where, "probabilities that sum to 1", way_out)
        rows = rows / sums[:, None]
    return rows.astype(np.float32, copy=False).reshape(values.shape)


def _activated(rows: NDArray[Any], independent: bool) -> NDArray[Any]:
    if independent:
        return np.asarray(0.5 * (1 + np.tanh(rows / 2)))
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _refuse(bad: NDArray[np.bool_], rows: NDArray[Any], where: Callable[[int], str], wanted: str, way_out: str) -> None:
    if bad.any():
        i = int(bad.argmax())
        first = ", ".join(f"{value:.4g}" for value in rows[i, :4])
        more = ", ..." if rows.shape[1] > 4 else ""
        total = f" (sum {rows[i].sum():.4g})" if "sum" in wanted else ""
        raise DataError(f"{where(i)}: expected {wanted}, found {first}{more}{total}; {way_out}")


def numbers_of(values: Any, count: int, what: str) -> list[float]:
    """So many finite numbers in a list. Raises ValueError saying what was found instead."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        found = f"{len(values)}" if isinstance(values, list) else repr(values)[:60]
        raise ValueError(f"expected {what} of {count} numbers, found {found}")
    return [number(value) for value in values]
