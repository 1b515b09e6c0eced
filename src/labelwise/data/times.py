"""Dates and times as cameras, tables and spreadsheets write them, made into ISO local time; and the time in EXIF."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_ISO = re.compile(r"(\d{4})[-/.:](\d{1,2})[-/.:](\d{1,2})(?:[T ]+(.*))?")
_NAMED = re.compile(r"(\d{1,2})[-/. ]+([^\W\d_]{3,9})\.?[-/. ]+(\d{4}|\d{2})(?:[T, ]+(.*))?")
_NUMERIC = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})(?:[T, ]+(.*))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*(?:Z|[+-]\d{2}:?\d{2})?")
_SERIAL = re.compile(r"\d{5}(?:[.,]\d+)?")
_EPOCH = datetime(1899, 12, 30)
# Beginnings of the months' names in the languages that spreadsheets write them in, without accents.
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan gen ene",
            "feb fev",
            "mar mrz",
            "apr avr abr",
            "may mai mag mei maj",
            "jun juin giu",
            "jul juil lug",
            "aug aou ago",
            "sep set",
            "oct okt ott out",
            "nov",
            "dec dez dic des",
        ),
        start=1,
    )
    for name in names.split()
}
_TAKEN, _DIGITIZED, _CHANGED, _IFD = 0x9003, 0x9004, 0x0132, 0x8769


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a column, ISO local time or None where a text is none; ``unclear`` are texts such as 03/04/2024 in
    a column that never tells which of the numbers is the day."""

    values: list[str | None]
    unclear: int = 0


def local_time(text: str, *, day_first: bool | None = None) -> str | None:
    """``YYYY-MM-DDTHH:MM:SS`` for a date with its time, or None if it is none.

    Understood: ISO with any separators (also EXIF's colons), day, name of the month and year, numbers in both orders
    (``day_first``; dots always say the day first; None: only where one of the numbers cannot be a month), am and pm, a
    spreadsheet's day number. Fractions of a second and zones are dropped: it is the camera's clock that counts. A date
    alone is midnight.
    """
    text = text.strip()
    if len(text) == 19 and text[4] in "-:" and text[10] in "T ":  # nearly all of them
        try:
            return datetime.fromisoformat(f"{text[:10].replace(':', '-')}T{text[11:]}").isoformat()
        except ValueError:
            return None
    if found := _ISO.fullmatch(text):
        return _made(int(found[1]), int(found[2]), int(found[3]), found[4])
    if found := _NAMED.fullmatch(text):
        month = _month(found[2])
        return _made(_year(found[3]), month, int(found[1]), found[4]) if month else None
    if found := _NUMERIC.fullmatch(text):
        first, second = int(found[1]), int(found[3])
        day_first = True if found[2] == "." or first > 12 else False if second > 12 else day_first
        if day_first is None and first != second:
            return None
        day, month = (first, second) if day_first else (second, first)
        return _made(_year(found[4]), month, day, found[5])
    if _SERIAL.fullmatch(text):
        seconds = round(float(text.replace(",", ".")) * 86_400)
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return None


def local_times(texts: Sequence[str], *, day_first: bool | None = None) -> Times:
    """The times of a whole column: where its numbers stand in one order throughout, any one date beyond the 12th tells
    which."""
    if day_first is None:
        day_first = _order(texts)
    values = [local_time(text, day_first=day_first) if text else None for text in texts]
    if day_first is not None:
        return Times(values)
    unclear = sum(v is None and _NUMERIC.fullmatch(t.strip()) is not None for v, t in zip(values, texts, strict=True))
    return Times(values, unclear)


def exif_time(picture: Any) -> str | None:
    """When an opened picture (PIL) was taken, by its EXIF: ISO local time, or None if it does not say.

    Only the header is looked at; clocks that were never set (year 0) say nothing.
    """
    try:
        exif = picture.getexif()
        inner = exif.get_ifd(_IFD)
        texts = (inner.get(_TAKEN), inner.get(_DIGITIZED), exif.get(_CHANGED))
    except Exception:  # a damaged EXIF block says nothing
        return None
    for text in texts:
        if isinstance(text, bytes):
            text = text.decode("ascii", "replace")
        if isinstance(text, str) and (time := local_time(text.strip(" \0"))):
            return time
    return None


def seconds(time: str) -> float:
    """Seconds from an arbitrary moment to this ISO local time, for differences."""
    return (datetime.fromisoformat(time) - _EPOCH).total_seconds()


def _order(texts: Sequence[str]) -> bool | None:
    """True if days come first in a column of numeric dates, False if months do, None if nothing tells or all differ."""
    told = set()
    for text in texts:
        found = _NUMERIC.fullmatch(text.strip())
        if found and found[2] != "." and max(int(found[1]), int(found[3])) > 12:
            told.add(int(found[1]) > 12)
            if len(told) > 1:
                return None
    return told.pop() if told else None


def _made(year: int, month: int, day: int, clock: str | None) -> str | None:
    hour = minute = second = 0
    if clock:
        found = _CLOCK.fullmatch(clock.strip())
        if found is None:
            return None
        hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
        if found[4] and not 1 <= hour <= 12:
            return None
        if found[4]:
            hour = hour % 12 + 12 * (found[4][0] in "Pp")
    try:
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:
        return None


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _month(name: str) -> int | None:
    plain = "".join(c for c in unicodedata.normalize("NFD", name.casefold()) if not unicodedata.combining(c))
    return next((_MONTHS[plain[:n]] for n in (4, 3) if plain[:n] in _MONTHS), None)
