"""Writing a Camtrap DP 1.0.2 package: deployments, media and what each image shows, said by people or a model."""

from __future__ import annotations

import csv
import json
import mimetypes
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from labelwise.data.box_writing import new_folder
from labelwise.data.crops import box_of, file_of
from labelwise.data.listing import shown
from labelwise.errors import DataError
from labelwise.records import Sample

VERSION = "1.0.2"
STANDARD = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
DEPLOYMENTS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty", "deploymentStart",
    "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt",
    "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType", "habitat", "deploymentGroups",
    "deploymentTags", "deploymentComments",
)  # fmt: skip
MEDIA = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype",
    "exifData", "favorite", "mediaComments",
)  # fmt: skip
OBSERVATIONS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
    "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior", "individualID",
    "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth",
    "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability",
    "observationTags", "observationComments",
)  # fmt: skip
# What a class is in the standard's words, where its name says it.
KINDS: Mapping[str, str] = {
    **dict.fromkeys(("empty", "blank", "none"), "blank"),
    **dict.fromkeys(("person", "human", "people"), "human"),
    "vehicle": "vehicle",
    "unknown": "unknown",
    "unclassified": "unclassified",
}
_PATH = re.compile(r"^(?=^[^./~])(^((?!\.{2}).)*$).*$")  # of the standard


@dataclass(frozen=True, slots=True)
class Seen:
    """What one sample shows: a class, "empty" for nothing; said by a person or a model.

    ``by`` names who or which; ``at`` is when it was said, ISO with a zone (default: now). ``probability`` is 0 to 1.
    The sample's ``meta`` gives what is known of place and time: ``taken``, ``location``, ``deployment``, ``sequence``,
    ``latitude``, ``longitude``, ``count``, ``box``.
    """

    sample: Sample
    label: str
    method: Literal["human", "machine"]
    by: str
    at: str = ""
    probability: float | None = None


@dataclass(slots=True)
class _Deployment:
    location: str
    latitude: str | float | bool | None = None
    longitude: str | float | bool | None = None
    camera: str = ""
    first: str = ""
    last: str = ""


@dataclass(slots=True)
class _Counted:
    """What the notes are made of."""

    deployments: dict[str, _Deployment] = field(default_factory=dict)
    media: set[str] = field(default_factory=set)
    untimed: int = 0
    names: dict[str, str] = field(default_factory=dict)  # scientific names by class


def write(
    path: Path | str,
    seen: Iterable[Seen],
    *,
    title: str = "labelwise",
    offset: str = "Z",
    coordinates: Mapping[str, tuple[float, float]] | None = None,
    scientific_names: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    public: bool = False,
) -> list[str]:
    """Write the new folder ``path``: datapackage.json, deployments.csv, media.csv, observations.csv; returns what is
    still missing for a valid package, line by line.

    ``seen`` may be a generator: rows are written as they come. ``offset`` is the zone of the cameras' clocks (``Z``,
    ``+08:00``). ``coordinates`` are (latitude, longitude) in degrees by location or deployment; ``scientific_names`` by
    class (default: the class itself); ``kinds`` the observationType by class, where ``KINDS`` is wrong. A deployment is
    ``meta.deployment``, else the location, else the folder. Written whole or not at all. Raises DataError for an offset
    or kind that is none, and for two observations of one sample.
    """
    if not re.fullmatch(r"Z|[+-]\d{2}:\d{2}", offset):
        raise DataError(f"offset: expected Z, or hours as in +08:00, found {offset!r}; mend it")
    allowed = {"animal", *KINDS.values()}
    if odd := sorted(set((kinds or {}).values()) - allowed):
        raise DataError(f"kinds: expected one of {', '.join(sorted(allowed))}, found {odd[0]!r}; mend it")
    counted, now = _Counted(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = {**KINDS, **(kinds or {})}
    with new_folder(path) as folder:
        with (
            (folder / "media.csv").open("w", encoding="utf-8", newline="") as media_file,
            (folder / "observations.csv").open("w", encoding="utf-8", newline="") as observations_file,
        ):
            media, observations = csv.DictWriter(media_file, MEDIA), csv.DictWriter(observations_file, OBSERVATIONS)
            media.writeheader()
            observations.writeheader()
            ids: set[str] = set()
            for one in seen:
                if one.sample.id in ids:
                    raise DataError(f"{shown(one.sample.id)}: expected one observation of an image, found two")
                ids.add(one.sample.id)
                deployment = _deployment(one.sample, counted, offset)
                if (file := file_of(one.sample)) not in counted.media:
                    counted.media.add(file)
                    media.writerow(_medium(file, one.sample, deployment, offset, public))
                observations.writerow(
                    _observation(one, deployment, offset, now, words, scientific_names or {}, counted)
                )
        _write_deployments(folder / "deployments.csv", counted, coordinates or {})
        described = _package(title, counted, coordinates or {}, now)
        text = json.dumps(described, indent=1, ensure_ascii=False)
        (folder / "datapackage.json").write_text(text, encoding="utf-8")
    return _notes(counted, coordinates or {}, offset)


def _deployment(sample: Sample, counted: _Counted, offset: str) -> str:
    """The deployment's id; what the sample tells of it is kept."""
    meta = sample.meta
    location = str(meta.get("location") or posixpath.dirname(file_of(sample)) or "root")
    id = str(meta.get("deployment") or location)
    known = counted.deployments.setdefault(id, _Deployment(location))
    known.latitude, known.longitude = meta.get("latitude", known.latitude), meta.get("longitude", known.longitude)
    known.camera = str(meta.get("camera", known.camera))
    if time := _zoned(meta.get("taken"), offset):
        known.first, known.last = min(known.first or time, time), max(known.last, time)
    else:
        counted.untimed += 1
    return id


def _zoned(time: object, offset: str) -> str:
    return f"{time}{offset}" if isinstance(time, str) and time else ""


def _medium(file: str, sample: Sample, deployment: str, offset: str, public: bool) -> dict[str, Any]:
    return {
        "mediaID": file,
        "deploymentID": deployment,
        "timestamp": _zoned(sample.meta.get("taken"), offset),
        "filePath": file,
        "filePublic": str(public).lower(),
        "fileName": posixpath.basename(file),
        "fileMediatype": mimetypes.guess_type(file)[0] or "image/jpeg",
    }


def _observation(
    one: Seen,
    deployment: str,
    offset: str,
    now: str,
    kinds: Mapping[str, str],
    scientific_names: Mapping[str, str],
    counted: _Counted,
) -> dict[str, Any]:
    meta, time = one.sample.meta, _zoned(one.sample.meta.get("taken"), offset)
    kind = kinds.get(one.label, kinds.get(one.label.casefold(), "animal"))
    row = {
        "observationID": one.sample.id,
        "deploymentID": deployment,
        "mediaID": file_of(one.sample),
        "eventID": meta.get("sequence", ""),
        "eventStart": time,
        "eventEnd": time,
        "observationLevel": "media",
        "observationType": kind,
        "classificationMethod": one.method,
        "classifiedBy": one.by,
        "classificationTimestamp": one.at or now,
        "classificationProbability": "" if one.probability is None else f"{one.probability:.6g}",
    }
    if kind == "animal":
        row["scientificName"] = counted.names[one.label] = scientific_names.get(one.label, one.label)
    count = meta.get("count")
    if isinstance(count, int | float) and not isinstance(count, bool) and count >= 1 and kind != "blank":
        row["count"] = int(count)
    box = box_of(one.sample)
    if box is not None and kind != "blank":
        sides = {"bboxX": box[0], "bboxY": box[1], "bboxWidth": box[2] - box[0], "bboxHeight": box[3] - box[1]}
        row |= {name: f"{min(1.0, max(0.0, value)):.6g}" for name, value in sides.items()}
    return row


def _where(id: str, deployment: _Deployment, coordinates: Mapping[str, tuple[float, float]]) -> tuple[Any, Any]:
    given = coordinates.get(id, coordinates.get(deployment.location))
    return given if given is not None else (deployment.latitude, deployment.longitude)


def _write_deployments(path: Path, counted: _Counted, coordinates: Mapping[str, tuple[float, float]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, DEPLOYMENTS)
        rows.writeheader()
        for id, deployment in sorted(counted.deployments.items()):
            latitude, longitude = _where(id, deployment, coordinates)
            rows.writerow(
                {
                    "deploymentID": id,
                    "locationID": deployment.location,
                    "locationName": deployment.location,
                    "latitude": latitude,
                    "longitude": longitude,
                    "deploymentStart": deployment.first,
                    "deploymentEnd": deployment.last,
                    "cameraID": deployment.camera,
                }
            )


def _package(title: str, counted: _Counted, coordinates: Mapping[str, tuple[float, float]], now: str) -> dict[str, Any]:
    """datapackage.json. What nobody told is left for the user to fill in, in the standard's own words."""
    places = [_where(id, deployment, coordinates) for id, deployment in counted.deployments.items()]
    known = [(float(x), float(y)) for y, x in places if x not in (None, "") and y not in (None, "")]
    times = [t for d in counted.deployments.values() for t in (d.first, d.last) if t]
    name = re.sub(r"[^a-z0-9._-]+", "-", title.casefold()).strip("-.") or "labelwise"
    return {
        "profile": f"{STANDARD}/camtrap-dp-profile.json",
        "name": name,
        "title": title,
        "created": now,
        "version": "1.0",
        "contributors": [{"title": title, "role": "contributor"}],
        "project": {
            "title": title,
            "samplingDesign": "opportunistic",
            "captureMethod": ["activityDetection"],
            "individualAnimals": False,
            "observationLevel": ["media"],
        },
        "spatial": {"type": "MultiPoint", "coordinates": sorted({*known})},
        "temporal": {"start": min(times)[:10] if times else "", "end": max(times)[:10] if times else ""},
        "taxonomic": [{"scientificName": name} for name in sorted(set(counted.names.values()))],
        "resources": [
            {
                "name": table,
                "path": f"{table}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": f"{STANDARD}/{table}-table-schema.json",
            }
            for table in ("deployments", "media", "observations")
        ],
    }


def _notes(counted: _Counted, coordinates: Mapping[str, tuple[float, float]], offset: str) -> list[str]:
    notes = []
    unplaced = sorted(
        id for id, deployment in counted.deployments.items() if None in _where(id, deployment, coordinates)
    )
    if unplaced:
        notes.append(
            f"latitude and longitude of {len(unplaced):,} deployments are not known (e.g. {unplaced[0]}), and the "
            "standard wants them: fill them in in deployments.csv, or give coordinates"
        )
    if counted.untimed:
        notes.append(f"{counted.untimed:,} observations have no time, and the standard wants it: fill it in")
    if offset == "Z":
        notes.append(
            "times are written as UTC (Z): if the cameras' clocks showed another time, give its offset from Python, or "
            "replace Z by it in the three tables, as in +02:00"
        )
    if odd := sorted(file for file in counted.media if not _PATH.match(file)):
        notes.append(f"{len(odd):,} paths are none that the standard allows (e.g. {shown(odd[0])}): rename the files")
    notes.append("project, contributors and licences in datapackage.json are only begun: complete them to publish")
    return notes
