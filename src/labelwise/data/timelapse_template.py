"""Templates of Timelapse (.tdb): finding that of an image folder, comparing it with the classes, writing a new one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path

from labelwise.data.predictions.joining import listed
from labelwise.data.timelapse import DELETE, FILE, FOLDER, TIME, Control
from labelwise.errors import DataError

TEMPLATE = "TimelapseTemplate.tdb"  # the names that Timelapse itself gives
DATA = "TimelapseData.ddb"
CHOICE, FLAG, NOTE = "FixedChoice", "Flag", "Note"
_VERSION = "2.3.3.0"  # of Timelapse; every later one opens it as it is
_OLDEST = "2.3.0.0"  # that can open it
_COMMON = (
    "Id INTEGER PRIMARY KEY AUTOINCREMENT, ControlOrder INTEGER, SpreadsheetOrder INTEGER, {level}Type TEXT, "
    "DefaultValue TEXT, Label TEXT, DataLabel TEXT, Tooltip TEXT, Visible TEXT, List TEXT, ExportToCSV TEXT"
)
_TABLES = (
    f"CREATE TABLE TemplateTable ({_COMMON.format(level='')}, TXTBOXWIDTH TEXT, Copyable TEXT)",
    "CREATE TABLE TemplateInfo (VersionCompatabily TEXT, BackwardsCompatibility TEXT, Standard TEXT)",
    f"CREATE TABLE FolderDataTemplateTable ({_COMMON.format(level='Level INTEGER, ')})",
    "CREATE TABLE FolderDataInfo (Id INTEGER PRIMARY KEY AUTOINCREMENT, Level INTEGER, Guid TEXT, Alias TEXT)",
)


def find_database(root: Path, suffix: str) -> tuple[Path | None, str]:
    """The template (".tdb") or data file (".ddb") of an image folder, and what is in the way of knowing it.

    Of several the one that Timelapse names so itself; None if there is none, or nobody can tell which.
    """
    try:
        found = sorted(p for p in root.iterdir() if p.suffix.lower() == suffix and p.is_file())
    except OSError as error:
        return None, f"{root} cannot be listed: {error.strerror}"
    if len(found) <= 1:
        return next(iter(found), None), ""
    usual = {".tdb": TEMPLATE, ".ddb": DATA}[suffix].casefold()
    named = [p for p in found if p.name.casefold() == usual]
    if named:
        return named[0], ""
    return None, f"{root} holds {len(found)} {suffix} files ({listed([p.name for p in found])}); leave one there"


def wanting(
    controls: Sequence[Control],
    classes: Sequence[str],
    *,
    species: str = "Species",
    selected: str = "Selected",
    others: Collection[str] = (),
) -> list[str]:
    """What a template lacks so that these classes can be asked with it, a line each: what to do in the Template Editor.

    The names of the columns are data labels. A difference between list and classes is told both ways; ``others`` may
    be in the list too.
    """
    known = {control.data_label: control for control in controls}
    lines = []
    choice, flag = known.get(species), known.get(selected)
    if choice is None:
        kind = f"add a Choice with the data label {species!r} and the list {', '.join(classes) or 'of your species'}"
        lines.append(f"the template has no {species!r}: in the Template Editor {kind}")
    elif choice.type not in (CHOICE, NOTE):
        lines.append(
            f"{species!r} in the template is a {choice.type}: expected a Choice or a Note; name another column"
        )
    elif choice.type == CHOICE:
        lacking = [name for name in classes if name not in choice.choices]
        more = [name for name in choice.choices if name not in classes and name.casefold() not in others]
        if lacking:
            names = ", ".join(map(repr, lacking))
            lines.append(f"the list of {species!r} lacks {names}: add {_them(lacking)} in the Template Editor")
        if more and classes:
            names = ", ".join(map(repr, more))
            lines.append(f"the list of {species!r} also offers {names}, which the run does not know as classes")
    if choice is not None and choice.default:
        lines.append(
            f"{species!r} has the default {choice.default!r}, which cannot be told from an answer: clear it in the "
            "Template Editor"
        )
    if flag is None:
        lines.append(f"the template has no {selected!r}: in the Template Editor add a Flag with this data label")
    elif flag.type != FLAG:
        lines.append(f"{selected!r} in the template is a {flag.type}: expected a Flag; name another column")
    return lines


def write_template(
    path: Path, classes: Sequence[str], *, species: str = "Species", selected: str = "Selected", note: str = "Note"
) -> None:
    """Write the new template ``path``: Timelapse's four fields, a Choice of the classes that may stay empty (a Note
    where there are none yet), a Flag and a note. Raises DataError if something is there: none is overwritten."""
    if path.exists():
        raise DataError(f"{path}: expected a new template to write, found one there; it is left as it is")
    offered = json.dumps({"IncludeEmptyChoice": True, "ChoiceListNonEmpty": list(classes)}, ensure_ascii=False)
    # type, data label, label, default, list, tooltip, width, copyable, exported
    fields = (
        (FILE, FILE, FILE, "", "", "The file name", "100", False, True),
        (FOLDER, FOLDER, FOLDER, "", "", "The folder of the file, seen from the root folder", "100", False, True),
        (TIME, TIME, TIME, "2000-01-01 12:00:00", "", "Date and time taken", "160", False, True),
        (DELETE, DELETE, "Delete?", "false", "", "Mark a file for deletion", "20", False, False),
        (
            CHOICE if classes else NOTE,
            species,
            species,
            "",
            offered * bool(classes),
            "What the picture shows",
            "100",
            True,
            True,
        ),
        (FLAG, selected, selected, "false", "", "Pictures that labelwise asks about", "20", False, True),
        (NOTE, note, note, "", "", "Anything worth a word", "100", True, True),
    )
    beside = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        with closing(sqlite3.connect(beside)) as database, database:
            for statement in _TABLES:
                database.execute(statement)
            database.execute("INSERT INTO TemplateInfo VALUES (?, ?, '')", (_VERSION, _OLDEST))
            for order, field in enumerate(fields, start=1):
                database.execute(
                    "INSERT INTO TemplateTable (ControlOrder, SpreadsheetOrder, Type, DataLabel, Label, DefaultValue, "
                    "List, Tooltip, TXTBOXWIDTH, Copyable, ExportToCSV, Visible) VALUES (?,?,?,?,?,?,?,?,?,?,?,'true')",
                    (order, order, *(_text(value) for value in field)),
                )
        beside.rename(path)
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be written: {why}; make room or choose another folder") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _text(value: str | bool) -> str:
    """Truth values as Timelapse writes them."""
    return str(value).lower() if isinstance(value, bool) else value


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
