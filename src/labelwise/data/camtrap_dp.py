"""Format: Camtrap DP. A package of deployments, media and observations, as camera-trap tools exchange them."""

from __future__ import annotations

import bisect
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.joined_files import folder_of
from labelwise.data.listing import Listing, checked_folder, make_listing
from labelwise.data.observed import EMPTY, Crops, Observed, check_margin, clipped, known, samples_of
from labelwise.data.sequences import MINUTES, placed
from labelwise.data.times import local_time
from labelwise.errors import DataError
from labelwise.records import Problem, Sample

PACKAGE = "datapackage.json"
_TABLES = {
    "deployments": ("deploymentID",),
    "media": ("mediaID", "deploymentID", "filePath"),
    "observations": ("observationID", "deploymentID", "observationType"),
}
_KINDS = {"blank": EMPTY, "human": "human", "vehicle": "vehicle"}  # classes of observations without a species

Row = Mapping[str, str]


@dataclass(slots=True)
class _Package:
    """The three tables, joined: observations by the medium they are about, and by deployment where about an event."""

    path: Path
    deployments: dict[str, Row] = field(default_factory=dict)
    media: dict[str, Row] = field(default_factory=dict)
    of_media: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    of_events: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)


def read(
    path: Path | str,
    *,
    images: Path | str | None = None,
    crops: Crops = "none",
    margin: float = 0.1,
    square: bool = True,
    machine: bool = False,
    event_labels: bool = True,
    location: str | int | None = None,
    sequence_minutes: float = MINUTES,
    group: str | None = "location",
) -> Listing:
    """List the media of a Camtrap DP package (its folder or its datapackage.json); files lie below ``images``, default
    the package's folder.

    The class is the species of a person's observation; ``empty`` for blank, human and vehicle for these. What a machine
    said is no truth unless ``machine``: it is kept in ``meta`` (classified, classified_confidence). An observation of
    an event counts for all media between its start and end, unless ``event_labels`` is false or a medium has one of its
    own. ``crops``, ``margin`` and ``square`` as in ``labelwise.data.coco_camera_traps``. Location, deployment, time,
    sequence (the event) and coordinates come from the package; other options as in ``labelwise.data.sequences``.

    Problems: ``several_classes``, ``missing``, ``video``, ``repeated``, ``other_root``, ``not_in_package``, ``remote``
    (a medium on the web: nothing is fetched); with their counts ``bad_row``, ``unknown_media``, ``unknown_deployment``,
    ``no_time``, ``bad_box``, ``machine``. Raises DataError for what is no such package.
    """
    path = Path(path)
    check_margin(margin)
    package = _load(path if path.name == PACKAGE else path / PACKAGE)
    root = checked_folder(package.path.parent if images is None else package.path.parent / images)
    local = {id: row for id, row in package.media.items() if "://" not in row["filePath"]}
    folder = folder_of(root, (row["filePath"] for row in local.values()))
    for id, row in package.media.items():
        if id not in local:
            folder.note(row["filePath"], "remote", "lies on the web; left out, download it first")
    events = _events(package) if event_labels else {}
    samples: list[Sample] = []
    for id, row in local.items():
        file = folder.join(row["filePath"])
        if file is None:
            continue
        said = package.of_media.get(id) or events.get(id, [])
        truth = [one for one in said if machine or one.get("classificationMethod") != "machine"]
        seen = [_seen(one, package) for one in truth]
        meta = known({**_meta(row, said, package), **(_guess(said) if not truth else {})})
        samples += samples_of(file, seen, meta, folder, crops=crops, margin=margin)
    for id in folder.others():
        folder.note(id, "not_in_package", "media.csv does not name it; left out")
    for code, words in _TOLD.items():
        if package.counts[code]:
            folder.problems.append(Problem("", code, f"{package.path.name}: {package.counts[code]:,} {words}"))
    if not samples:
        raise DataError(f"{path}: expected media below {root}, found none of {len(package.media):,}; is images right?")
    found, told, camera = placed(samples, location=location, minutes=sequence_minutes, group=group, square=square)
    classes = sorted({sample.target.classes[0] for sample in found if sample.target is not None})
    return make_listing(root, found, classes, [*folder.problems, *told], camera)


def is_camtrap_dp(path: Path) -> bool:
    """True for a folder with, or the file of, a package that has the standard's tables."""
    file = path / PACKAGE if path.is_dir() else path
    if file.name != PACKAGE or not file.is_file():
        return False
    try:
        names = _resources(file)
    except DataError:
        return False
    return names.keys() >= _TABLES.keys()


def _load(file: Path) -> _Package:
    """The package's tables. Raises DataError naming the file that cannot be used."""
    package = _Package(file)
    resources = _resources(file)
    if lacking := sorted(_TABLES.keys() - resources.keys()):
        raise DataError(
            f"{file}: expected the resources {', '.join(_TABLES)}, found no {lacking[0]}; is it Camtrap DP?"
        )
    for row in _rows(resources["deployments"], "deployments", package):
        package.deployments[row["deploymentID"]] = row
    for row in _rows(resources["media"], "media", package):
        package.counts["unknown_deployment"] += row["deploymentID"] not in package.deployments
        package.media[row["mediaID"]] = row
    for row in _rows(resources["observations"], "observations", package):
        media = row.get("mediaID", "")
        if media and media in package.media:
            package.of_media[media].append(row)
        elif media:
            package.counts["unknown_media"] += 1
        else:
            package.of_events[row["deploymentID"]].append(row)
    return package


def _resources(file: Path) -> dict[str, Path]:
    """The package's tables by name."""
    try:
        told = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        found = "nothing there" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{file}: expected a Camtrap DP package, found {found}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected JSON, found: {error}; was it written to its end?") from None
    listed = told.get("resources") if isinstance(told, dict) else None
    tables: dict[str, Path] = {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("path"), str):
            tables[one["name"]] = file.parent / one["path"]
    return tables


def _rows(file: Path, table: str, package: _Package) -> Iterator[Row]:
    """The rows of a table by column, those without an id left out."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            lacking = [name for name in _TABLES[table] if name not in (reader.fieldnames or ())]
            if lacking:
                raise DataError(f"{file}: expected the column {lacking[0]}, found none; is it Camtrap DP 1.0?")
            for row in reader:
                if None in row or None in row.values() or not all(row[name] for name in _TABLES[table]):
                    package.counts["bad_row"] += 1
                else:
                    # Few columns are filled: the empty ones of a million rows would be most of the memory.
                    yield {name: value.strip() for name, value in row.items() if value.strip()}
    except OSError as error:
        found = "nothing there" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{file}: expected the table {table}, found {found}; restore it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected CSV in UTF-8, found: {error}; save it as such") from None


def _events(package: _Package) -> dict[str, list[Row]]:
    """The observations of events for each medium between their start and end, in its deployment."""
    timed: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for id, row in package.media.items():
        if time := _time(row.get("timestamp", ""), package):
            timed[row["deploymentID"]].append((time, id))
    found: dict[str, list[Row]] = defaultdict(list)
    for deployment, rows in package.of_events.items():
        media = sorted(timed.get(deployment, ()))
        for row in rows:
            start, end = (_time(row.get(name, ""), package) for name in ("eventStart", "eventEnd"))
            if start and end:
                first = bisect.bisect_left(media, (start, ""))
                for time, id in media[first:]:
                    if time > end:
                        break
                    found[id].append(row)
    return found


def _time(text: str, package: _Package) -> str | None:
    time = local_time(text)
    package.counts["no_time"] += time is None and text != ""
    return time


def _seen(row: Row, package: _Package) -> Observed:
    kind = row.get("observationType", "")
    label = _KINDS.get(kind, row.get("scientificName", "") if kind == "animal" else "")
    sides = [row.get(name, "") for name in ("bboxX", "bboxY", "bboxWidth", "bboxHeight")]
    box = None
    if all(sides):
        try:
            box = clipped(*(float(side) for side in sides))
        except ValueError:
            box = None
        package.counts["bad_box"] += box is None
    return Observed(label, box)


def _meta(media: Row, said: list[Row], package: _Package) -> dict[str, Any]:
    deployment = package.deployments.get(media["deploymentID"], {})
    counts = [int(row["count"]) for row in said if row.get("count", "").isdecimal()]
    place = deployment.get("locationID") or deployment.get("locationName") or media["deploymentID"]
    return {
        "taken": _time(media.get("timestamp", ""), package),
        "location": place,
        "deployment": media["deploymentID"],
        "camera": deployment.get("cameraID"),
        "latitude": _degrees(deployment.get("latitude", "")),
        "longitude": _degrees(deployment.get("longitude", "")),
        "sequence": next((row["eventID"] for row in said if row.get("eventID")), None),
        "count": float(sum(counts)) if counts else None,
    }


def _guess(said: list[Row]) -> dict[str, Any]:
    """What a machine said, the surest first."""
    names = [(_degrees(r.get("classificationProbability", "")) or 0.0, r) for r in said if r.get("scientificName")]
    if not names:
        return {}
    sure, row = max(names, key=lambda pair: pair[0])
    return {"classified": row["scientificName"], "classified_confidence": sure}


def _degrees(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_TOLD = {
    "bad_row": "rows without the ids that the standard wants; passed over",
    "unknown_media": "observations of media that media.csv does not name; passed over",
    "unknown_deployment": "media of deployments that deployments.csv does not name",
    "no_time": "times that are not understood",
    "bad_box": "boxes that are none in the picture; passed over",
}
