"""Where picks go: lists and the contact sheet, looked at before anything is computed, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwise.data.name_lists import check_format, list_text
from labelwise.errors import ConfigError, DataError
from labelwise.ownership import replace_text
from labelwise.picking.images import ImagePicks
from labelwise.report.sheet import BoxView, CardView, SheetView, sheet_page

SHEETS = (".html", ".htm")


def check_outputs(lists: Sequence[Path], sheet: Path | None, *, force: bool = False) -> None:
    """Raises now what would go wrong at the end: ConfigError for a name without a known format, DataError for a file
    that is there already (unless ``force``) or could not be written."""
    for path in lists:
        check_format(path)
    if sheet is not None and sheet.suffix.lower() not in SHEETS:
        raise ConfigError(f"{sheet}: expected a sheet that ends with .html; name it so")
    for path in (*lists, *([] if sheet is None else [sheet])):
        if path.is_dir():
            raise DataError(f"{path}: expected the name of a file to write, found a folder; give another name")
        if path.exists() and not force:
            raise DataError(f"{path} is there already: give another name, or overwrite it with --force")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            found = "no permission" if folder.is_dir() else "a file"
            raise DataError(f"cannot write {path}: expected a folder {folder} to write in, found {found}; give another")


def write_outputs(picks: ImagePicks, lists: Sequence[Path] = (), sheet: Path | None = None) -> None:
    """Write the picks as lists (txt, csv or json by their suffix) and as a contact sheet.

    A text list has a name a line, a CSV a row with reason and facts, JSON all that is known. Raises DataError for a
    file that cannot be written; what else was asked for is then written all the same.
    """
    texts = {path: list_text(path.suffix.lower(), picks.rows, picks.about) for path in lists}
    if sheet is not None:
        texts[sheet] = sheet_page(sheet_view(picks))
    failed: DataError | None = None
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, text)
        except OSError as error:
            failed = failed or DataError(
                f"cannot write {path}: {error.strerror or error}; make room, change its permissions or give another "
                "file, then run again (features are kept)"
            )
    if failed is not None:
        raise failed


def sheet_view(picks: ImagePicks) -> SheetView:
    """What the sheet shows of picks. Raises ConfigError if there are no pictures to show."""
    if picks.pool.root is None:
        raise ConfigError("the sheet needs the folder of images: vectors alone have no pictures")
    paths = {sample.id: sample.path for sample in picks.pool.samples}
    facts = {
        "picked": f"{len(picks.rows):,}",
        "images": f"{len(picks.pool.ids):,}",
        "picked earlier": f"{len(picks.already):,}",
        "strategy": picks.strategy,
        "seed": str(picks.seed),
        "folder": str(picks.pool.root),
    }
    cards = [CardView(row.rank, row.id, paths[row.id], row.reason, _boxes(picks, row.id)) for row in picks.rows]
    title = f"{len(picks.rows):,} picks of {picks.pool.root.absolute().name}"
    return SheetView(title, cards, facts, picks.notes, picks.unknown, picks.pool.problems)


def _boxes(picks: ImagePicks, id: str) -> list[BoxView]:
    found = [] if picks.predicted is None else picks.predicted.boxes(id)
    return [BoxView(b.box, b.label, b.confidence, b.decisive) for b in found]


def pick_facts(picks: ImagePicks) -> dict[str, Any]:
    """All that is known of picks, as plain values for JSON."""
    rows = [{"rank": r.rank, "id": r.id, "reason": r.reason, "facts": dict(r.facts)} for r in picks.rows]
    return {**picks.about, "picks": rows}
