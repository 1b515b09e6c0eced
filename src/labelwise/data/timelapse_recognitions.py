"""Recognitions in Timelapse's data file (.ddb): what a detector found in each file, as it was imported there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from labelwise.data.timelapse import copied, is_database, tables_of

TABLE = "Detections"
_EMPTY = "0"  # the category of the one row of a file in which nothing was found


@dataclass(frozen=True, slots=True)
class Recognitions:
    """What a .ddb holds: the threshold that the detector's file recommended (None: it did not say), the names of
    categories and classes by their numbers, and the detections of each file by the Id of its row, each (category,
    confidence, box, (class, confidence) or None) and none of them checked. A file without detections was looked at if
    it is named."""

    threshold: Any
    categories: Mapping[str, str]
    labels: Mapping[str, str]
    found: Mapping[Any, Sequence[tuple[Any, Any, Any, Any]]]


def has_recognitions(path: Path) -> bool:
    """True if a file is Timelapse's and knows what a detector found. Raises DataError if it is damaged."""
    if not is_database(path):
        return False
    with copied(path) as database:
        return TABLE in tables_of(database) and bool(database.execute(f"SELECT 1 FROM {TABLE} LIMIT 1").fetchall())


def read_recognitions(path: Path) -> Recognitions:
    """The recognitions in a copy of a .ddb; none where it has none. Raises DataError for another file."""
    found: dict[Any, list[tuple[Any, Any, Any, Any]]] = {}
    with copied(path) as database:
        for row in _rows(database, TABLE):
            of_file = found.setdefault(row.get("Id"), [])
            category, label = row.get("category"), row.get("classification")
            if str(category) != _EMPTY:
                box = str(row.get("bbox")).split(",")
                sure = [label, row.get("classification_conf")] if label not in (None, "") else None
                of_file.append((category, row.get("conf"), box, sure))
        about = next(iter(_rows(database, "Info")), {})
        categories = _named(_rows(database, "DetectionCategories"), "category")
        labels = _named(_rows(database, "ClassificationCategories"), "classification")
    return Recognitions(about.get("typical_detection_threshold"), categories, labels, found)


def _named(rows: Sequence[Mapping[str, Any]], number: str) -> dict[str, str]:
    return {str(row.get(number)): str(row.get("label") or "").strip() for row in rows}


def _rows(database: Connection, table: str) -> list[dict[str, Any]]:
    """The rows of a table by the names of its columns; none where the table is missing."""
    if table not in tables_of(database):
        return []
    cursor = database.execute(f'SELECT * FROM "{table}"')
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
