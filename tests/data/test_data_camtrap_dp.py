"""Camtrap DP packages: read as datasets, written from what was said, and checked against the standard's tables."""

from __future__ import annotations

import csv
import json
from collections import Counter

import pytest

from camera_trap_files import picture
from labelwise.data.camtrap_dp import is_camtrap_dp, read
from labelwise.data.camtrap_dp_writing import DEPLOYMENTS, MEDIA, OBSERVATIONS, Seen, write
from labelwise.errors import DataError
from labelwise.records import Sample

DEPLOYMENT = {
    "deploymentID": "d1", "locationID": "loc1", "latitude": "52.7", "longitude": "23.8",
    "deploymentStart": "2024-05-01T00:00:00Z", "deploymentEnd": "2024-06-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def package(tmp_path):
    """Writes a package of three tables, and pictures for the local media."""

    def make(media, observations, deployments=(DEPLOYMENT,), pictures=True):
        tables = {"deployments": deployments, "media": media, "observations": observations}
        fields = {"deployments": DEPLOYMENTS, "media": MEDIA, "observations": OBSERVATIONS}
        for name, rows in tables.items():
            with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                out = csv.DictWriter(file, fields[name])
                out.writeheader()
                out.writerows(rows)
        resources = [{"name": name, "path": f"{name}.csv"} for name in tables]
        (tmp_path / "datapackage.json").write_text(json.dumps({"resources": resources}))
        for row in media if pictures else ():
            if "://" not in row["filePath"]:
                picture(tmp_path / row["filePath"])
        return tmp_path

    return make


def medium(id, time="2024-05-01T10:00:00Z", deployment="d1", path=None):
    return {
        "mediaID": id, "deploymentID": deployment, "timestamp": time, "filePath": path or f"media/{id}.jpg",
        "filePublic": "true", "fileMediatype": "image/jpeg",
    }  # fmt: skip


def observation(id, media="", kind="animal", species="", method="human", **more):
    return {
        "observationID": id, "deploymentID": "d1", "mediaID": media, "observationType": kind,
        "observationLevel": "media" if media else "event", "scientificName": species, "classificationMethod": method,
        **more,
    }  # fmt: skip


def codes(listing):
    return Counter(problem.code for problem in listing.problems)


def classes(listing):
    return {s.id.removeprefix("media/"): s.target and s.target.classes[0] for s in listing.samples}


def test_species_blanks_people_and_what_a_machine_said(package):
    folder = package(
        [medium(f"m{i}", f"2024-05-01T10:00:0{i}+02:00") for i in range(6)],
        [
            observation("1", "m0", species="Vulpes vulpes", count="2", eventID="e1"),
            observation("2", "m1", "blank"),
            observation("3", "m2", "human"),
            observation("4", "m3", species="Canis lupus", method="machine", classificationProbability="0.9"),
            observation("5", "m4", "unknown"),
            observation("6", "m0", species="Canis lupus", method="machine"),
        ],
    )
    found = read(folder)
    assert classes(found) == {
        "m0.jpg": "Vulpes vulpes", "m1.jpg": "empty", "m2.jpg": "human", "m3.jpg": None, "m4.jpg": None, "m5.jpg": None,
    }  # fmt: skip
    assert found.samples[0].meta == {
        "taken": "2024-05-01T10:00:00", "location": "loc1", "deployment": "d1", "latitude": 52.7, "longitude": 23.8,
        "sequence": "e1", "count": 2.0,
    }  # fmt: skip
    assert found.samples[3].meta["classified"] == "Canis lupus"
    assert found.samples[3].meta["classified_confidence"] == 0.9
    assert classes(read(folder / "datapackage.json", machine=True))["m3.jpg"] == "Canis lupus"
    assert found.classes == ("Vulpes vulpes", "empty", "human")


def test_an_event_is_about_the_media_of_its_time(package):
    event = {"eventStart": "2024-05-01T10:00:01Z", "eventEnd": "2024-05-01T10:00:03Z", "eventID": "e"}
    folder = package(
        [medium(f"m{i}", f"2024-05-01T10:00:0{i}Z") for i in range(5)]
        + [medium("other", "2024-05-01T10:00:02Z", deployment="d2")],
        [observation("1", species="Vulpes vulpes", **event), observation("2", "m2", "blank")],
        [DEPLOYMENT, {**DEPLOYMENT, "deploymentID": "d2", "locationID": ""}],
    )
    found = read(folder)
    assert classes(found) == {
        "m0.jpg": None, "m1.jpg": "Vulpes vulpes", "m2.jpg": "empty", "m3.jpg": "Vulpes vulpes", "m4.jpg": None,
        "other.jpg": None,
    }  # fmt: skip
    assert found.samples[-1].meta["location"] == "d2"
    assert set(classes(read(folder, event_labels=False)).values()) == {None, "empty"}


def test_boxes_become_crops(package):
    box = {"bboxX": "0.5", "bboxY": "0.5", "bboxWidth": "0.25", "bboxHeight": "0.25"}
    wrong = {**box, "bboxWidth": "wide"}
    folder = package(
        [medium("m0"), medium("m1")],
        [
            observation("1", "m0", species="fox", **box),
            observation("2", "m0", species="deer", **wrong),
            observation("3", "m1", species="fox", **wrong),
        ],
    )
    found = read(folder, crops="all", margin=0)
    assert [(s.id, s.crop) for s in found.samples] == [
        ("media/m0.jpg#1", (0.5, 0.5, 0.75, 0.75)),
        ("media/m1.jpg", None),
    ]
    assert codes(found) == {"bad_box": 1}
    assert codes(read(folder))["several_classes"] == 1


def test_what_cannot_be_used_is_told_and_the_rest_kept(package):
    folder = package(
        [
            medium("m0"),
            medium("web", path="https://example.org/x.jpg"),
            {**medium("m2"), "mediaID": ""},
            medium("m3", "sometime", "d9"),
        ],
        [observation("1", "ghost"), observation("2", "m0", species="fox")],
    )
    (folder / "media/m0.jpg").replace(folder / "media/m00.jpg")
    found = read(folder)
    assert [sample.id for sample in found.samples] == ["media/m3.jpg"]
    assert codes(found) == {
        "missing": 1, "remote": 1, "bad_row": 1, "unknown_media": 1, "unknown_deployment": 1, "no_time": 1,
        "not_in_package": 2,
    }  # fmt: skip


@pytest.mark.parametrize("lost", ["media.csv", "datapackage.json"])
def test_a_package_without_a_table_is_refused(package, lost):
    folder = package([medium("m0")], [])
    assert is_camtrap_dp(folder)
    (folder / lost).unlink()
    with pytest.raises(DataError, match=lost) as raised:
        read(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("datapackage.json", "{", "expected JSON"),
        ("datapackage.json", "[]", "no deployments"),
        ("media.csv", "a,b\n", "column mediaID"),
        ("media.csv", b"mediaID,deploymentID,filePath\n\xff,,\n", "CSV in UTF-8"),
        ("media.csv", "mediaID,deploymentID,filePath\n", "none of 0"),
    ],
)
def test_damaged_packages_are_refused(package, name, content, words):
    folder = package([medium("m0")], [])
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        read(folder)


def seen(id, label, *, method="machine", probability=0.75, crop=None, by="a model", **meta):
    """What one image shows."""
    sample = Sample(id, None, meta={"taken": "2024-05-01T10:00:00", "location": "camA", **meta}, crop=crop)
    return Seen(sample, label, method, by, "2026-01-02T03:04:05Z", probability)


def many():
    """Images of two places: animals, blanks, people, crops of one file."""
    return [
        seen("A/1.jpg", "fox", probability=0.123456789, sequence="s1", count=2.0),
        seen("A/2.jpg", "empty", method="human", probability=None, by="Ann"),
        seen("A/3.jpg#1", "deer", file="A/3.jpg", box="0.1, 0.2, 0.3, 0.4", crop=(0.05, 0.1, 0.5, 0.7)),
        seen("A/3.jpg#2", "person", file="A/3.jpg", box="0.5, 0.5, 0.5, 0.5"),
        seen("B/Ä 1.jpg", "unknown", location="camB", taken="2024-04-01T00:00:00", camera="c7"),
    ]


def rows(folder, table):
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_said_is_written(tmp_path):
    notes = write(
        tmp_path / "p", iter(many()), title="My Study", offset="+02:00", coordinates={"camA": (1.5, 2.5)},
        scientific_names={"fox": "Vulpes vulpes"},
    )  # fmt: skip
    observations = rows(tmp_path / "p", "observations")
    assert [(o["observationType"], o["scientificName"]) for o in observations] == [
        ("animal", "Vulpes vulpes"), ("blank", ""), ("animal", "deer"), ("human", ""), ("unknown", ""),
    ]  # fmt: skip
    assert observations[0]["classificationProbability"] == "0.123457"
    assert observations[0]["eventStart"] == observations[0]["eventEnd"] == "2024-05-01T10:00:00+02:00"
    assert (observations[0]["eventID"], observations[0]["count"]) == ("s1", "2")
    assert (observations[1]["classificationMethod"], observations[1]["classifiedBy"]) == ("human", "Ann")
    assert [observations[2][f"bbox{side}"] for side in ("X", "Y", "Width", "Height")] == ["0.1", "0.2", "0.3", "0.4"]
    assert [m["mediaID"] for m in rows(tmp_path / "p", "media")] == ["A/1.jpg", "A/2.jpg", "A/3.jpg", "B/Ä 1.jpg"]
    one, two = rows(tmp_path / "p", "deployments")
    assert (one["deploymentID"], one["latitude"], one["deploymentStart"]) == (
        "camA",
        "1.5",
        "2024-05-01T10:00:00+02:00",
    )
    assert (two["latitude"], two["cameraID"]) == ("", "c7")
    assert any("latitude and longitude of 1 deployments" in note and "camB" in note for note in notes)
    described = json.loads((tmp_path / "p/datapackage.json").read_text(encoding="utf-8"))
    assert described["name"] == "my-study"
    assert described["temporal"] == {"start": "2024-04-01", "end": "2024-05-01"}
    assert {"scientificName": "Vulpes vulpes"} in described["taxonomic"]


def test_what_is_written_is_read_again(tmp_path):
    write(tmp_path / "p", many(), title="x")
    for name in ("A/1.jpg", "A/2.jpg", "A/3.jpg", "B/Ä 1.jpg"):
        picture(tmp_path / "p" / name)
    found = read(tmp_path / "p", machine=True, crops="all", margin=0)
    assert {s.id: s.target and s.target.classes[0] for s in found.samples} == {
        "A/1.jpg": "fox", "A/2.jpg": "empty", "A/3.jpg#1": "human", "A/3.jpg#2": "deer", "B/Ä 1.jpg": None,
    }  # fmt: skip
    assert found.samples[0].meta["taken"] == "2024-05-01T10:00:00"
    assert found.samples[-1].meta["location"] == "camB"
    assert not found.problems


@pytest.mark.parametrize(
    ("options", "content", "words"),
    [
        ({"offset": "CET"}, [], "offset"),
        ({"kinds": {"fox": "beast"}}, [], "kinds"),
        ({}, [seen("a", "fox"), seen("a", "fox")], "found two"),
    ],
)
def test_nothing_is_left_behind_where_it_cannot_be_written(tmp_path, options, content, words):
    with pytest.raises(DataError, match=words):
        write(tmp_path / "p", content, **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_for_a_valid_package_is_told(tmp_path):
    unknown = Sample("A/1.jpg", None)
    notes = " ".join(write(tmp_path / "p", [Seen(unknown, "fox", "machine", "m")]))
    for words in ("latitude", "1 observations have no time", "written as UTC", "complete them"):
        assert words in notes
    assert rows(tmp_path / "p", "deployments")[0]["deploymentID"] == "A"
    write(tmp_path / "empty", [])
    assert rows(tmp_path / "empty", "observations") == []


def test_no_standard_allows_a_hidden_path(tmp_path):
    assert any("paths are none" in note for note in write(tmp_path / "p", [seen(".hidden/1.jpg", "fox")]))


# The standard's fields, from its table schemas, version 1.0.2: type, and for those that are constrained, how.
TIME = "%Y-%m-%dT%H:%M:%S%z"
REQUIRED = {
    "deployments": {"deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd"},
    "media": {"mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileMediatype"},
    "observations": {
        "observationID", "deploymentID", "eventStart", "eventEnd", "observationLevel", "observationType",
    },
}  # fmt: skip
TYPES = {
    "datetime": {"deploymentStart", "deploymentEnd", "timestamp", "eventStart", "eventEnd", "classificationTimestamp"},
    "number": {
        "latitude", "longitude", "cameraHeight", "cameraDepth", "detectionDistance", "individualPositionRadius",
        "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight",
        "classificationProbability",
    },
    "integer": {"coordinateUncertainty", "cameraDelay", "cameraTilt", "cameraHeading", "count"},
    "boolean": {"timestampIssues", "filePublic", "favorite"},
}  # fmt: skip
CONSTRAINTS = {
    "latitude": {"minimum": -90, "maximum": 90},
    "longitude": {"minimum": -180, "maximum": 180},
    "captureMethod": {"enum": ["activityDetection", "timeLapse"]},
    "filePath": {"pattern": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"},
    "fileMediatype": {"pattern": r"^(image|video|audio)/.*$"},
    "observationLevel": {"enum": ["media", "event"]},
    "observationType": {"enum": ["animal", "human", "vehicle", "blank", "unknown", "unclassified"]},
    "count": {"minimum": 1},
    "bboxX": {"minimum": 0, "maximum": 1},
    "bboxY": {"minimum": 0, "maximum": 1},
    "bboxWidth": {"minimum": 1e-15, "maximum": 1},
    "bboxHeight": {"minimum": 1e-15, "maximum": 1},
    "classificationMethod": {"enum": ["human", "machine"]},
    "classificationProbability": {"minimum": 0, "maximum": 1},
}
KEYS = {"deployments": "deploymentID", "media": "mediaID", "observations": "observationID"}


def schema(table, fields):
    """A table's schema, as the standard publishes it."""
    told = []
    for name in fields:
        kind = next((kind for kind, names in TYPES.items() if name in names), "string")
        constraints = {"required": name in REQUIRED[table], **CONSTRAINTS.get(name, {})}
        if name == KEYS[table]:
            constraints["unique"] = True
        told.append(
            {"name": name, "type": kind, "constraints": constraints, **({"format": TIME} if kind == "datetime" else {})}
        )
    keys = [
        {"fields": key, "reference": {"resource": other, "fields": key}}
        for other, key in KEYS.items()
        if other != table and other != "observations" and key in fields
    ]
    return {
        "fields": told,
        "missingValues": [""],
        "primaryKey": KEYS[table],
        "foreignKeys": keys if table != "deployments" else [],
    }


def validated(folder):
    """Frictionless's errors for a package, each table with the standard's schema."""
    frictionless = pytest.importorskip("frictionless")
    described = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    for resource in described["resources"]:
        fields = {"deployments": DEPLOYMENTS, "media": MEDIA, "observations": OBSERVATIONS}[resource["name"]]
        assert resource.pop("schema").endswith(f"/1.0.2/{resource['name']}-table-schema.json")
        resource.pop("profile")
        resource["schema"] = schema(resource["name"], fields)
    described.pop("profile")  # on the web
    package = frictionless.Package.from_descriptor(described, basepath=str(folder))
    report = package.validate()
    return report.flatten(["title", "fieldName", "message"])


@pytest.mark.frictionless
def test_a_package_is_valid_by_the_standards_tables(tmp_path):
    write(tmp_path / "p", many(), title="x", coordinates={"camA": (1.5, 2.5), "camB": (-3, 150)}, offset="-03:30")
    assert validated(tmp_path / "p") == []


@pytest.mark.frictionless
def test_the_validator_sees_what_is_missing(tmp_path):
    write(tmp_path / "p", many(), title="x")
    found = validated(tmp_path / "p")
    assert {field for _, field, _ in found} == {"latitude", "longitude"}


def test_the_profile_s_own_fields_are_there(tmp_path):
    write(tmp_path / "p", many(), title="x")
    described = json.loads((tmp_path / "p/datapackage.json").read_text(encoding="utf-8"))
    wanted = {"profile", "name", "created", "contributors", "project", "spatial", "temporal", "taxonomic", "resources"}
    assert wanted <= described.keys()
    project = {"title", "samplingDesign", "captureMethod", "individualAnimals", "observationLevel"}
    assert project <= described["project"].keys()
