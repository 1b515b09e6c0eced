"""Format: Timelapse. The rows of a data file (.ddb) or exported CSV beside the pictures; one column is the class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from labelwise.catalog import suggest
from labelwise.data.joined_files import Folder, folder_of
from labelwise.data.listing import Listing, checked_folder, make_listing
from labelwise.data.observed import Meta, Observed, samples_of
from labelwise.data.sequences import MINUTES, placed
from labelwise.data.timelapse import DELETE, STANDARD, Control, Row, Rows, is_timelapse_csv, read_rows, read_template
from labelwise.errors import DataError
from labelwise.records import Problem, Sample

_USUAL = ("species", "animal", "animals", "class", "label", "taxon", "species1", "species_1", "scientificname")
_LISTS = ("FixedChoice", "MultiChoice")
_TIMES = ("DateTime", "Date", "Time", "Folder", "RootFolder", "ImageQuality")


def read(
    path: Path | str,
    *,
    images: Path | str | None = None,
    column: str | None = None,
    classes: Sequence[str] = (),
    day_first: bool | None = None,
    location: str | int | None = "folder",
    sequence_minutes: float = MINUTES,
    group: str | None = "location",
) -> Listing:
    """List the pictures of a Timelapse image set: ``path`` is its folder, its .ddb or an exported CSV.

    Pictures lie below ``images``, default the table's folder. ``column`` is the data label whose value is the class; an
    empty cell is unlabelled; by default the only list of choices, or the column that is called Species. All choices of
    the list are classes. The .ddb is read from a copy. Other columns are kept in ``meta``; ``location`` may name one of
    them, else as in ``labelwise.data.sequences``. ``day_first`` tells how 03/04/2024 is meant.

    Problems: those of ``labelwise.data.timelapse.read_rows``, ``missing``, ``video``, ``not_in_table``, ``deleted``
    (marked in Timelapse), ``several_classes`` (duplicated rows with different classes), ``not_a_choice``. Raises
    DataError for what is no such table, or if no column can be chosen.
    """
    table = table_of(Path(path))
    rows = read_rows(table, day_first=day_first)
    root = checked_folder(table.parent if images is None else table.parent / images)
    controls = rows.controls or _template_beside(table)
    chosen = class_column(rows.columns, controls, column, table)
    folder = folder_of(root, (row.id for row in rows.rows))
    folder.problems += rows.problems
    samples = _samples(rows, chosen, folder, {c.data_label: c.type for c in controls})
    offered = next((c.choices for c in controls if c.data_label == chosen), ())
    used = sorted({sample.target.classes[0] for sample in samples if sample.target is not None})
    if odd := [name for name in used if offered and name not in offered]:
        what = f"{len(odd):,} classes are no choices of {chosen}, e.g. {odd[0]!r}: {suggest(odd[0], offered)}"
        folder.problems.append(Problem("", "not_a_choice", what))
    for id in folder.others():
        folder.note(id, "not_in_table", "the table does not name it; left out")
    if not samples:
        raise DataError(f"{table}: expected pictures below {root}, found none of {len(rows.rows):,}; is images right?")
    found, told, camera = placed(samples, location=location, minutes=sequence_minutes, group=group)
    return make_listing(root, found, dict.fromkeys([*classes, *offered, *used]), [*folder.problems, *told], camera)


def table_of(path: Path) -> Path:
    """The table that a path means: itself, or the only .ddb (else the only exported CSV) of a folder.

    Raises DataError if there is none or several.
    """
    if not path.is_dir():
        return path
    for found in (sorted(path.glob("*.ddb")), sorted(f for f in path.glob("*.csv") if is_timelapse_csv(f))):
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.name for file in found)
            raise DataError(
                f"{path}: expected one table of Timelapse, found {len(found)} ({names}); name the one to use"
            )
    raise DataError(f"{path}: expected Timelapse's data (.ddb) or an exported CSV, found neither; check the path")


def class_column(columns: Iterable[str], controls: Sequence[Control], wanted: str | None, table: Path) -> str:
    """The data label of the column with the classes. Raises DataError if it is not there or cannot be chosen."""
    usable = [name for name in columns if name not in STANDARD and name not in _TIMES]
    if wanted is not None:
        by_label = {control.label: control.data_label for control in controls}
        found = wanted if wanted in usable else by_label.get(wanted)
        if found is None:
            raise DataError(f"{table}: column: expected one of the table, found {wanted!r}: {suggest(wanted, usable)}")
        return found
    likely = likely_columns(usable, controls)
    if len(likely) == 1:
        return likely[0]
    choices = ", ".join(likely or usable) or "none"
    raise DataError(f"{table}: expected to know which column holds the classes: set column to one of {choices}")


def likely_columns(columns: Iterable[str], controls: Sequence[Control]) -> list[str]:
    """The columns that may hold the classes: lists of choices with a usual name, else lists, else usual names."""
    usable = [name for name in columns if name not in STANDARD and name not in _TIMES]
    lists = [control.data_label for control in controls if control.type in _LISTS and control.data_label in usable]
    named = [name for name in usable if name.casefold() in _USUAL]
    return [name for name in lists if name in named] or lists or named


def labels_of(path: Path, column: str | None = None) -> dict[str, str]:
    """The class of each file that a table gives one, the files' paths with ``/``; those with several are left out."""
    rows = read_rows(path)
    chosen = class_column(rows.columns, rows.controls or _template_beside(path), column, path)
    found: dict[str, set[str]] = {}
    for row in rows.rows:
        if label := row.values.get(chosen, ""):
            found.setdefault(row.id, set()).add(label)
    return {id: labels.pop() for id, labels in found.items() if len(labels) == 1}


def _template_beside(table: Path) -> tuple[Control, ...]:
    """The template that lies beside a CSV, if there is one that can be read."""
    found = sorted(table.parent.glob("*.tdb"))
    try:
        return read_template(found[0]) if len(found) == 1 else ()
    except DataError:
        return ()


def _samples(rows: Rows, column: str, folder: Folder, types: dict[str, str]) -> list[Sample]:
    """A sample for each picture; its rows (Timelapse duplicates rows for several animals) together."""
    by_id: dict[str, list[Row]] = {}
    for row in rows.rows:
        by_id.setdefault(row.id, []).append(row)
    samples: list[Sample] = []
    for name, same in by_id.items():
        id = folder.join(name)
        if id is None:
            continue
        if any(row.values.get(DELETE, "").casefold() == "true" for row in same):
            folder.note(id, "deleted", "marked for deletion in Timelapse; left out")
            continue
        cells = [row.values.get(column, "") for row in same]
        if types.get(column) == "MultiChoice":
            cells = [part.strip() for cell in cells for part in cell.split(",")]
        seen = [Observed(cell) for cell in cells]
        meta = _meta(same[0], column, types)
        samples += samples_of(id, seen, meta, folder, crops="none", margin=0)
    return samples


def _meta(row: Row, column: str, types: dict[str, str]) -> Meta:
    """The other cells of a row, numbers and truth values as such."""
    meta: Meta = {"taken": row.taken} if row.taken else {}
    for name, text in row.values.items():
        if not text or name == column or name in STANDARD or name in ("Date", "Time"):
            continue
        kind = types.get(name, "")
        if kind == "Flag" or (not kind and text.casefold() in ("true", "false")):
            meta[name] = text.casefold() == "true"
        elif kind == "Counter" or kind.startswith(("Integer", "Decimal")):
            meta[name] = _number(text)
        else:
            meta[name] = text
    return meta


def _number(text: str) -> float | str:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text
