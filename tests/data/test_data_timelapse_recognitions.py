"""What a detector found, as Timelapse keeps it in its data file: crops, people left out, times and labels."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from camera_trap_files import picture
from labelwise.data.megadetector import read
from labelwise.data.megadetector_results import load
from labelwise.data.timelapse_recognitions import has_recognitions
from labelwise.errors import DataError
from timelapse_files import write_data, write_recognitions, write_template

NAMES = ["cam A/1.jpg", "cam A/2.jpg", "cam A/3.jpg", "cam B/1.jpg", "cam B/Ä.jpg", "cam B/gone.jpg"]


@pytest.fixture
def data(tmp_path):
    """Two animals, nothing, a person, an image that the detector never saw, one to be deleted, and one that is gone."""
    rows = []
    for i, name in enumerate(NAMES):
        if not name.endswith("gone.jpg"):
            picture(tmp_path / name, size=(100, 80), colour=(i, 0, 0))
        folder, _, file = name.partition("/")
        more = {"DeleteFlag": "true"} if name == "cam B/Ä.jpg" else {}
        rows.append({"File": file, "RelativePath": folder, "DateTime": f"2024-05-01 06:00:0{i}", **more})
    rows[0]["Species"] = "deer"
    write_data(tmp_path / "TimelapseData.ddb", rows)
    animals = [("1", 0.3, "0, 0, 0.1, 0.1"), ("1", 0.913, "0.4, 0.4, 0.2, 0.2", "0", 0.8), ("1", 0.5, "rubbish")]
    found = {1: animals, 2: [], 3: [("2", 0.9, "0, 0, 1, 1")], 5: animals, 6: animals}
    write_recognitions(tmp_path / "TimelapseData.ddb", found, threshold=0.25, classes={"0": "fox"})
    return tmp_path / "TimelapseData.ddb"


def test_recognitions_are_crops_and_hide_people(data):
    listing = read(data, crops="all", labels=data.name)
    assert [sample.id for sample in listing.samples] == ["cam A/1.jpg#1", "cam A/1.jpg#2", "cam A/2.jpg"]
    first, second, nothing = listing.samples
    assert first.crop == pytest.approx((0.38, 0.38, 0.62, 0.62))
    assert (first.meta["confidence"], first.meta["classified"], first.meta["taken"]) == (
        0.913, "fox", "2024-05-01T06:00:00",
    )  # fmt: skip
    assert second.meta["confidence"] == 0.3
    assert first.target.classes == second.target.classes == ("deer",)
    assert (nothing.crop, nothing.target, nothing.meta["detections"]) == (None, None, 0)
    problems = Counter(problem.code for problem in listing.problems)
    assert problems == {"people": 1, "no_detections": 1, "deleted": 1, "missing": 1, "bad_detection": 1}
    assert load(data).threshold == 0.25
    assert [sample.id for sample in read(data, people=True).samples] == NAMES[:3]


def test_one_without_recognitions_is_told(tmp_path):
    picture(tmp_path / "1.jpg")
    write_data(tmp_path / "a.ddb", [{"File": "1.jpg", "RelativePath": ""}])
    assert not has_recognitions(tmp_path / "a.ddb")
    with pytest.raises(DataError, match="expected recognitions in it, found none"):
        read(tmp_path / "a.ddb")
    write_recognitions(tmp_path / "a.ddb", {})
    assert not has_recognitions(tmp_path / "a.ddb")
    write_template(tmp_path / "b.ddb")
    with pytest.raises(DataError, match="found no DataTable"):
        read(tmp_path / "b.ddb")
    (tmp_path / "c.ddb").write_bytes(b"no database")
    assert not has_recognitions(tmp_path / "c.ddb")
    with pytest.raises(DataError, match="found other content"):
        read(tmp_path / "c.ddb")


def test_tables_of_another_version_are_read_as_far_as_they_go(data):
    with closing(sqlite3.connect(data)) as db, db:
        for table in ("Info", "DetectionCategories", "ClassificationCategories"):
            db.execute(f"DROP TABLE {table}")
        db.execute("ALTER TABLE Detections ADD COLUMN later TEXT")
    listing = read(data)
    assert [sample.id for sample in listing.samples] == NAMES[:2]
    assert "classified" not in listing.samples[0].meta


def test_the_file_itself_is_left_as_it_is(data):
    before = data.read_bytes()
    read(data)
    assert data.read_bytes() == before
    assert not list(data.parent.glob("*-wal"))


def test_predictions_take_them_as_detections(data, tmp_path):
    import labelwise
    from labelwise import testing

    made = testing.make_images(tmp_path / "made", 40, classes=2)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = [("path", "class"), *((f"made/{s.path.name}", s.target.classes[0]) for s in made)]
        csv.writer(file).writerows(rows)
    config = {
        "name": "r", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "threads": 1,
        "data": {"format": "csv_table", "path": str(tmp_path / "labels.csv")},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4}, "cold_start": "random",
        "budget": {"initial": 10, "rounds": 1},
    }  # fmt: skip
    run = labelwise.run(config, report=False).folder
    done = labelwise.predict(run, tmp_path, tmp_path / "p.csv", format="csv", detections=data)
    with (tmp_path / "p.csv").open(encoding="utf-8-sig", newline="") as file:
        told = [(row["file"], row["class"], row["failure"]) for row in csv.DictReader(file)]
    assert [file for file, *_ in told] == ["cam A/1.jpg", "cam A/1.jpg", "cam A/2.jpg", "cam A/3.jpg", "cam B/1.jpg"]
    assert [name for _, name, _ in told[2:]] == ["empty", "person", ""]
    assert told[4][2] == "no detections"
    assert any(note.startswith("deleted: 1, e.g. cam B/Ä.jpg") for note in done.notes)
