"""A stand-in for Timelapse: keeps a .ddb beside the images, imports and exports CSV by its rules, and is labelled by a
person."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from timelapse_files import write_data

MANDATORY = ("File", "RelativePath", "DateTime", "DeleteFlag")


class Refused(Exception):
    """Timelapse stops the whole import."""


class Timelapse:
    """Timelapse with an image folder open. What is shown is what imports change and exports write."""

    def __init__(self, root: Path, template: Path | None = None) -> None:
        self.root = root
        self.template = template or next(iter(sorted(root.glob("*.tdb"))))
        self.data = root / "TimelapseData.ddb"
        fields = self.fields()
        assert set(MANDATORY) <= fields.keys()
        if not self.data.exists():
            choices = next((f["choices"] for f in fields.values() if f["choices"]), ())
            rows = [self._row(p, fields) for p in self._pictures()]
            listed = [(name, f["type"], f["label"], f["default"]) for name, f in fields.items()]
            write_data(self.data, rows, listed, choices)
        self._synchronise(fields)
        self.show_all()

    def _pictures(self):
        found = (p for p in sorted(self.root.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg"))
        return [p for p in found if "Backups" not in p.parts]

    def _row(self, picture, fields):
        folder = "\\".join(picture.relative_to(self.root).parts[:-1])
        standard = {"File": picture.name, "RelativePath": folder, "DateTime": "2024-05-01 06:30:00"}
        return {**{name: f["default"] for name, f in fields.items()}, **standard}

    def fields(self):
        """The fields of the template by data label."""
        with closing(sqlite3.connect(self.template)) as db:
            rows = db.execute(
                "SELECT DataLabel, Type, Label, DefaultValue, List, ExportToCSV FROM TemplateTable "
                "ORDER BY ControlOrder"
            ).fetchall()
        return {
            name: {
                "type": kind,
                "label": label,
                "default": default,
                "choices": tuple(json.loads(offered)["ChoiceListNonEmpty"]) if offered else (),
                "exported": exported == "true",
            }
            for name, kind, label, default, offered, exported in rows
        }

    def _synchronise(self, fields):
        """On opening, the data file takes over what was changed in the template."""
        with closing(sqlite3.connect(self.data)) as db, db:
            known = {row[1] for row in db.execute("PRAGMA table_info(DataTable)")}
            for name, field in fields.items():
                if name not in known:
                    db.execute(f'ALTER TABLE DataTable ADD COLUMN "{name}" TEXT DEFAULT ""')
                    db.execute(f'UPDATE DataTable SET "{name}" = ?', (field["default"],))
            db.execute("DELETE FROM TemplateTable")
            with closing(sqlite3.connect(self.template)) as template:
                cursor = template.execute("SELECT * FROM TemplateTable")
                names = ", ".join(f'"{column[0]}"' for column in cursor.description)
                marks = ", ".join("?" * len(cursor.description))
                db.executemany(f"INSERT INTO TemplateTable ({names}) VALUES ({marks})", cursor.fetchall())

    def edit_template(self, label, kind, choices=None):
        """The Template Editor: add a field, or change a list; then Timelapse is opened again."""
        offered = json.dumps({"IncludeEmptyChoice": True, "ChoiceListNonEmpty": list(choices)}) if choices else ""
        default = "false" if kind == "Flag" else ""
        with closing(sqlite3.connect(self.template)) as db, db:
            if label in self.fields():
                db.execute("UPDATE TemplateTable SET List = ? WHERE DataLabel = ?", (offered, label))
            else:
                db.execute(
                    "INSERT INTO TemplateTable (ControlOrder, SpreadsheetOrder, Type, DefaultValue, Label, DataLabel, "
                    "Tooltip, Visible, List, ExportToCSV, TXTBOXWIDTH, Copyable) "
                    "VALUES (99, 99, ?, ?, ?, ?, '', 'true', ?, 'true', '100', 'true')",
                    (kind, default, label, label, offered),
                )
        self.__init__(self.root, self.template)

    # --- what the person does -------------------------------------------------------------------

    def show_all(self):
        """Select > All files."""
        self.shown = {id for id, *_ in self._query("SELECT Id FROM DataTable")}

    def show_selected(self, column="Selected"):
        """Select > Custom selection."""
        self.shown = {id for id, *_ in self._query(f"SELECT Id FROM DataTable WHERE \"{column}\" = 'true'")}

    def files_shown(self):
        """Paths with /, in order."""
        rows = self._query("SELECT Id, RelativePath, File FROM DataTable ORDER BY Id")
        return ["/".join(filter(None, [*folder.split("\\"), file])) for id, folder, file in rows if id in self.shown]

    def label(self, path, species, column="Species"):
        """Give one image its species; a list offers only what is in it."""
        field = self.fields()[column]
        assert field["type"] != "FixedChoice" or species in ("", *field["choices"]), species
        folder, _, file = path.rpartition("/")
        with closing(sqlite3.connect(self.data)) as db, db:
            changed = db.execute(
                f'UPDATE DataTable SET "{column}" = ? WHERE RelativePath = ? AND File = ?',
                (species, folder.replace("/", "\\"), file),
            )
            assert changed.rowcount == 1, path

    def import_csv(self, path):
        """File > Import data from a CSV file; returns how many rows matched."""
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
            header = list(rows[0]) if rows else []
        fields = self.fields()
        if not {"File", "RelativePath"} <= set(header):
            raise Refused("File and RelativePath are needed")
        strange = [name for name in header if name not in (*fields, "RootFolder", "Date", "Time", "Folder")]
        if strange:
            raise Refused(f"no such data label: {strange}")
        for row in rows:
            for name in header:
                kind = fields[name]["type"] if name in fields else ""
                if kind == "Flag" and row[name].lower() not in ("true", "false"):
                    raise Refused(f"{name} must be true or false: {row[name]}")
                if kind == "FixedChoice" and row[name] not in ("", *fields[name]["choices"]):
                    raise Refused(f"{name} offers no {row[name]}")
        matched = 0
        with closing(sqlite3.connect(self.data)) as db, db:
            places = {(f, n): id for id, f, n in db.execute("SELECT Id, RelativePath, File FROM DataTable")}
            for row in rows:
                id = places.get((row["RelativePath"].replace("/", "\\"), row["File"]))
                if id is None or id not in self.shown:
                    continue  # silently
                matched += 1
                for name in header:
                    if name not in ("File", "RelativePath"):
                        db.execute(f'UPDATE DataTable SET "{name}" = ? WHERE Id = ?', (row[name], id))
        return matched

    def export_csv(self, path, *, excel=False):
        """File > Export data for what is shown; ``excel``: opened and saved by a spreadsheet in central Europe."""
        names = [name for name, field in self.fields().items() if field["exported"]]
        columns = ", ".join(f'"{name}"' for name in names)
        rows = [row for row in self._query(f"SELECT Id, {columns} FROM DataTable ORDER BY Id") if row[0] in self.shown]
        table = [names, *([*row[1:]] for row in rows)]
        if excel:
            at = names.index("DateTime")
            table = [names, *([*row[:at], "01.05.2024 06:30", *row[at + 1 :]] for row in table[1:])]
        encoding, delimiter = ("utf-8-sig", ";") if excel else ("utf-8", ",")
        with path.open("w", encoding=encoding, newline="") as stream:
            csv.writer(stream, delimiter=delimiter).writerows(table)

    def values(self, column):
        """What a column holds, by path."""
        rows = self._query(f'SELECT RelativePath, File, "{column}" FROM DataTable ORDER BY Id')
        return {"/".join(filter(None, [*folder.split("\\"), file])): value for folder, file, value in rows}

    def _query(self, sql):
        with closing(sqlite3.connect(self.data)) as db:
            return db.execute(sql).fetchall()
