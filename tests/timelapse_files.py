"""Timelapse's files, made with SQLite by the documented schema: a template, and a data file with rows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

FIELDS = (
    ("File", "Note", "File", ""),
    ("RelativePath", "Note", "RelativePath", ""),
    ("DateTime", "DateTime", "DateTime", ""),
    ("Flag0", "Flag", "Night?", "false"),
    ("Species", "FixedChoice", "Animal", ""),
    ("Count", "Counter", "How many", "0"),
    ("Site", "Note", "Site", ""),
    ("DeleteFlag", "Flag", "Delete?", "false"),
)
CHOICES = ("deer", "fox", "empty")


def write_template(path, fields=FIELDS, choices=CHOICES):
    """A .tdb."""
    with closing(sqlite3.connect(path)) as db, db:
        _template(db, fields, choices)


def write_data(path, rows, fields=FIELDS, choices=CHOICES):
    """A .ddb with ``rows``: mappings by data label, RelativePath with backslashes."""
    with closing(sqlite3.connect(path)) as db, db:
        _template(db, fields, choices)
        columns = ", ".join(f'"{name}" TEXT DEFAULT ""' for name, *_ in fields)
        db.execute(f"CREATE TABLE DataTable (Id INTEGER PRIMARY KEY AUTOINCREMENT, {columns})")
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO DataTable ({names}) VALUES ({marks})", tuple(row.values()))


def write_recognitions(path, found, *, threshold=0.2, classes=None):
    """The recognitions in a .ddb: by the Id of a row its detections (category, confidence, box as text, and perhaps
    the number of a class and its confidence); none is a file in which nothing was found."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE Info (infoID INTEGER PRIMARY KEY, detector TEXT, megadetector_version TEXT, "
            "detection_completion_time TEXT, classifier TEXT, classification_completion_time TEXT, "
            "typical_detection_threshold REAL, conservative_detection_threshold REAL, "
            "typical_classification_threshold REAL)"
        )
        db.execute("INSERT INTO Info VALUES (1, 'md_v5a.0.0', 'v5a.0.0', '', '', '', ?, 0.05, 0.5)", (threshold,))
        db.execute("CREATE TABLE DetectionCategories (category TEXT PRIMARY KEY, label TEXT)")
        names = {"0": "Empty", "1": "animal", "2": "person", "3": "vehicle"}
        db.executemany("INSERT INTO DetectionCategories VALUES (?, ?)", names.items())
        db.execute(
            "CREATE TABLE ClassificationCategories (classification TEXT PRIMARY KEY, label TEXT, description TEXT)"
        )
        db.executemany("INSERT INTO ClassificationCategories VALUES (?, ?, '')", (classes or {}).items())
        db.execute(
            "CREATE TABLE Detections (detectionID INTEGER PRIMARY KEY, category TEXT, conf REAL, bbox TEXT, "
            "classification TEXT, classification_conf REAL, Id INTEGER REFERENCES DataTable (Id) ON DELETE CASCADE)"
        )
        for id, detections in found.items():
            for category, conf, box, *label in detections or [("0", 0, "")]:
                db.execute(
                    "INSERT INTO Detections (category, conf, bbox, classification, classification_conf, Id) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (category, conf, box, *(label or (None, None)), id),
                )


def _template(db, fields, choices):
    db.execute(
        "CREATE TABLE TemplateTable (Id INTEGER PRIMARY KEY AUTOINCREMENT, ControlOrder INTEGER, SpreadsheetOrder "
        "INTEGER, Type TEXT, DefaultValue TEXT, Label TEXT, DataLabel TEXT, Tooltip TEXT, Visible TEXT, List TEXT, "
        "ExportToCSV TEXT, TXTBOXWIDTH TEXT, Copyable TEXT)"
    )
    db.execute("CREATE TABLE TemplateInfo (VersionCompatabily TEXT, BackwardsCompatibility TEXT, Standard TEXT)")
    for order, (name, kind, label, default) in enumerate(fields, start=1):
        listed = {"IncludeEmptyChoice": True, "ChoiceListNonEmpty": list(choices)} if kind == "FixedChoice" else None
        exported = "false" if name == "DeleteFlag" else "true"
        db.execute(
            "INSERT INTO TemplateTable (ControlOrder, SpreadsheetOrder, Type, DefaultValue, Label, DataLabel, Tooltip, "
            "Visible, List, ExportToCSV, TXTBOXWIDTH, Copyable) VALUES (?,?,?,?,?,?,'','true',?,?,'100','true')",
            (order, order, kind, default, label, name, json.dumps(listed) if listed else "", exported),
        )
