"""Looking whether a path is of camera traps: detections, a package, Timelapse's files, or folders of cameras."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from labelwise.data import camtrap_dp, coco_camera_traps, images_folder, megadetector, timelapse_dataset
from labelwise.data.images import read_bytes, taken
from labelwise.data.listing import Listing, list_images
from labelwise.data.megadetector_results import is_megadetector
from labelwise.data.observed import EMPTY
from labelwise.data.sequences import MINUTES, looks_made_by_camera
from labelwise.data.timelapse import is_database, is_timelapse_csv, read_rows, read_template
from labelwise.data.timelapse_recognitions import has_recognitions
from labelwise.errors import DataError
from labelwise.records import Sample

LOOKED_AT = 12  # pictures whose EXIF is looked at
# Folders that people name after a place: cam01, Site 3, station_B.
_PLACE = re.compile(
    r"(cam|camera|site|station|loc|location|trap|plot|ct|point|deployment|grid)[-_ ]?([a-z]|\d+[a-z]?)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class CameraTraps:
    """A dataset of camera traps: its format and path, what reads it, the options to write down for it, facts for
    people, the column of Timelapse's template that answers belong into ("" without a template), and whether it is a
    list of choices (``listed``)."""

    format: str
    path: Path
    listing: Listing
    options: dict[str, Any] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    column: str = ""
    listed: bool = False


def look(path: Path) -> CameraTraps | None:
    """What a path is, if it is of camera traps; None if it is not. Raises DataError where one of several must be
    named."""
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> CameraTraps | None:
    kind = path.suffix.lower()
    if camtrap_dp.is_camtrap_dp(path):
        return _made("camtrap_dp", path, {})
    if kind == ".json" and coco_camera_traps.is_coco_camera_traps(path):
        return _made("coco_camera_traps", path, {})
    if kind == ".json" and is_megadetector(path):
        return _detections(path)
    if kind == ".ddb" and has_recognitions(path):
        return _detections(path)
    if kind == ".ddb" or (kind == ".csv" and is_timelapse_csv(path)):
        return _table(path)
    return None


def _of_folder(path: Path) -> CameraTraps | None:
    if camtrap_dp.is_camtrap_dp(path):
        return _made("camtrap_dp", path, {})
    files = sorted(path.glob("*.json"))
    if found := [file for file in files if is_megadetector(file)]:
        return _detections(_one(path, found, "file of MegaDetector"))
    files += sorted(path.glob("annotations/*.json"))
    if found := [file for file in files if coco_camera_traps.is_coco_camera_traps(file)]:
        file = _one(path, found, "file of COCO Camera Traps")
        return _made("coco_camera_traps", file, {} if file.parent == path else {"images": ".."})
    if (table := _timelapse_table(path)) is not None:
        return _detections(table) if has_recognitions(table) else _table(table)
    template = _template(path)
    if template is None and not _of_cameras([id for id, _ in list_images(path)[0]]):
        return None
    classes, column = _choices(template)
    options: dict[str, Any] = {"classes": list(classes)} if classes else {}
    return _made("images_folder", path, {**options, **_placing()}, column, template, listed=bool(classes))


def _detections(file: Path) -> CameraTraps:
    """What a detector found, with the classes of Timelapse's files beside it."""
    options: dict[str, Any] = {"crops": "best", **_placing()}
    table, template = _timelapse_table(file.parent), _template(file.parent)
    classes, column = _choices(template if template is not None else table)
    if classes:
        options["classes"] = [name for name in classes if name != EMPTY]
    if table is not None:
        try:
            if timelapse_dataset.labels_of(table):
                options["labels"] = table.name
        except DataError:  # which column holds the classes is not clear: the user will say
            pass
    return _made("megadetector", file, options, column, template, listed=bool(classes))


def _table(table: Path) -> CameraTraps:
    rows = read_rows(table)
    controls = rows.controls or _controls(_template(table.parent))
    likely = timelapse_dataset.likely_columns(rows.columns, controls)
    options: dict[str, Any] = {"column": likely[0]} if likely else {}
    said = [f"the class is taken from {likely[0]}; {', '.join(likely[1:])} would do too"] if len(likely) > 1 else []
    column = likely[0] if likely else ""
    listed = any(control.data_label == column and control.choices for control in controls)
    found = _made("timelapse", table, {**options, **_placing()}, column, table, listed=listed)
    return replace(found, facts=(*found.facts, *said))


def _placing() -> dict[str, Any]:
    return {"location": "folder", "sequence_minutes": MINUTES}


def _made(
    format: str,
    path: Path,
    options: dict[str, Any],
    column: str = "",
    template: Path | None = None,
    *,
    listed: bool = False,
) -> CameraTraps:
    readers: dict[str, Callable[..., Listing]] = {
        "camtrap_dp": camtrap_dp.read,
        "coco_camera_traps": coco_camera_traps.read,
        "megadetector": megadetector.read,
        "timelapse": timelapse_dataset.read,
        "images_folder": images_folder.read,
    }
    listing = readers[format](path, **options)
    samples = listing.samples
    crops, places = sum(s.crop is not None for s in samples), {s.meta.get("location") for s in samples} - {None}
    facts = [f"{crops:,} crops, {len(samples) - crops:,} whole"] if crops else []
    facts.append(f"{len(places):,} location{'' if len(places) == 1 else 's'}; {_times(samples)}")
    facts += [f"Timelapse's {template.name}"] if template is not None else []
    return CameraTraps(format, path, listing, options, tuple(facts), column if template is not None else "", listed)


def _times(samples: Sequence[Sample]) -> str:
    """How many pictures have a time, in words: what the data say, else what EXIF says of a few."""
    told = sum("taken" in sample.meta for sample in samples)
    if told:
        return f"{told:,} of {len(samples):,} have a time"
    few = samples[:: max(1, len(samples) // LOOKED_AT)][:LOOKED_AT]
    timed = 0
    for sample in few:
        try:
            timed += taken(read_bytes(sample.path)) is not None
        except DataError:
            continue
    return f"{timed} of {len(few)} looked at have a time in their EXIF"


def _timelapse_table(path: Path) -> Path | None:
    """The .ddb of a folder, else its exported CSV."""
    found = [file for file in sorted(path.glob("*.ddb")) if is_database(file)]
    found = found or [file for file in sorted(path.glob("*.csv")) if is_timelapse_csv(file)]
    return _one(path, found, "table of Timelapse") if found else None


def _template(path: Path) -> Path | None:
    found = [file for file in sorted(path.glob("*.tdb")) if is_database(file)]
    return _one(path, found, "template of Timelapse") if found else None


def _one(path: Path, found: list[Path], what: str) -> Path:
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(f"{path}: expected one {what}, found {len(found)} ({names}); name the one to use")
    return found[0]


def _controls(template: Path | None) -> Any:
    try:
        return () if template is None or template.suffix.lower() == ".csv" else read_template(template)
    except DataError:
        return ()


def _choices(template: Path | None) -> tuple[tuple[str, ...], str]:
    """The classes that a template offers, and the column they are of."""
    controls = _controls(template)
    likely = timelapse_dataset.likely_columns([control.data_label for control in controls], controls)
    chosen = next((control for control in controls if likely and control.data_label == likely[0]), None)
    return (chosen.choices, chosen.data_label) if chosen is not None else ((), "")


def _of_cameras(ids: Sequence[str]) -> bool:
    """True if the folders are such as cameras make, or are all named after places."""
    made = sum(looks_made_by_camera(id) for id in ids)
    first = {id.partition("/")[0] for id in ids if "/" in id}
    return bool(ids) and (2 * made > len(ids) or (bool(first) and all(_PLACE.fullmatch(name) for name in first)))
