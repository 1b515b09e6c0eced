"""A run on camera-trap data: crops, locations held out, sequences capped, and what is written of it."""

from __future__ import annotations

import csv
import json
import random
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from camera_trap_files import detection, megadetector, picture
from labelwise import api
from labelwise.data import class_folders
from labelwise.errors import DataError
from labelwise.exchange.exporting import export
from labelwise.exchange.finishing import predict
from labelwise.store import Store
from labelwise.tables import status_facts

COLOURS = {"deer": (245, 245, 245), "fox": (5, 5, 5)}
QUICK = {
    "model": {"name": "frozen", "backbone": "pixels", "size": 6, "head": "logistic"},
    "threads": 1,
    "annotator": "oracle",
    "audit": 0,
}


@pytest.fixture
def survey(tmp_path):
    """Six cameras, bursts of three; small animals on backgrounds that tell the camera, not the animal."""
    chance = random.Random(0)
    entries, labels = [], ["path,class"]
    for place in range(6):
        for i in range(15):
            name = f"cam{place}/{i:02d}.jpg"
            label = chance.choice([*COLOURS, "empty"])
            x, y = chance.randrange(0, 130), chance.randrange(0, 90)
            box = () if label == "empty" else ((x, y, x + 24, y + 24, COLOURS[label]),)
            time = f"2024:05:{1 + i // 3:02d} 10:00:0{i % 3}"
            noise = chance.randrange(30)
            picture(tmp_path / name, time, (160, 120), (90 + 10 * place, 90 + noise, 120), box)
            found = [] if label == "empty" else [detection(0.9, (x / 160, y / 120, 24 / 160, 24 / 120))]
            entries.append((name, found))
            labels.append(f"{name},{label}")
    megadetector(tmp_path / "md.json", entries)
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    return tmp_path


def config(folder, **changes):
    return {
        "name": "r",
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "data": {
            "format": "megadetector", "path": str(folder / "md.json"), "labels": "labels.csv", "test": 0.3, **changes,
        },
        "strategy": {"name": "margin", "per": {"sequence": 1, "location": 3}},
        "cold_start": {"name": "random", "per": {"sequence": 1}},
        "budget": {"initial": 8, "per_round": 6, "rounds": 3},
        **QUICK,
    }  # fmt: skip


def test_crops_are_learnt_and_whole_cameras_held_out(survey):
    result = api.run(config(survey), report=False)
    assert result.state == "finished"
    with Store(result.folder / "run.db", read_only=True) as store:
        pool, test = store.samples("pool"), store.samples("test")
    assert {s.meta["location"] for s in pool}.isdisjoint({s.meta["location"] for s in test})
    assert {s.meta["sequence"] for s in pool}.isdisjoint({s.meta["sequence"] for s in test})
    by_id = {s.id: s for s in [*pool, *test]}
    crops = [s for s in by_id.values() if s.crop is not None]
    assert 40 < len(crops) < 75
    assert {s.size for s in crops} <= {(w, h) for w in range(24, 33) for h in range(24, 33)}
    for round in result.rounds:
        asked = [by_id[q.sample_id] for q in result.queries[round]]
        assert len({s.meta["sequence"] for s in asked}) == len(asked)
    later = [by_id[q.sample_id].meta["location"] for q in result.queries[1]]
    assert max(map(later.count, later)) <= 3
    # the animals fill the crops, and are hardly seen in whole images
    assert result.evaluations["test"][2]["accuracy"] > 0.9


def test_the_same_picture_whole_and_cut_have_features_of_their_own(survey):
    cut = api.run(config(survey), report=False)
    whole = api.run({**config(survey, crops="none"), "name": "w"}, report=False)
    one = {s.id: s.content for s in cut.samples.values() if s.crop is not None}
    two = {s.id: s.content for s in whole.samples.values()}
    assert all(two[id] != content for id, content in one.items())
    assert whole.evaluations["test"][2]["accuracy"] < cut.evaluations["test"][2]["accuracy"]


def test_every_animal_of_an_image_is_asked_and_written_as_a_picture(survey):
    megadetector(
        survey / "md.json",
        [
            (f"cam{place}/{i:02d}.jpg", [detection(0.9, (0.1, 0.1, 0.2, 0.2)), detection(0.5, (0.6, 0.6, 0.2, 0.2))])
            for place in range(6)
            for i in range(6)
        ],
    )
    result = api.run(config(survey, crops="all"), report=False)
    assert result.state == "finished"
    assert all("#" in q.sample_id for queries in result.queries.values() for q in queries)
    made = export(result.folder, survey / "out", format="class_folders")
    again = class_folders.read(survey / "out")
    assert len(again.samples) == made.images
    name = next(s.id for s in again.samples if s.id.endswith("#2.jpg"))
    sample = result.samples[name.partition("/")[2].replace("#2.jpg", ".jpg#2")]
    with Image.open(survey / "out" / name) as written:
        assert written.size == sample.size
    with pytest.raises(DataError, match="cannot be linked"):
        export(result.folder, survey / "linked", format="class_folders", images="link")
    table = export(result.folder, survey / "labels-out.csv", format="csv")
    assert any("parts of pictures" in note for note in table.notes)
    with (survey / "labels-out.csv").open() as file:
        assert all("#" in row["path"] for row in csv.DictReader(file))


def test_the_report_shows_crops(survey):
    result = api.run({**config(survey), "budget": {"initial": 8, "rounds": 1}})
    assert (result.folder / "report.html").stat().st_size > 10_000
    assert np.mean([s.crop is not None for s in result.samples.values()]) > 0.4


def test_what_is_said_of_the_data_as_a_whole_is_no_file_left_out(survey):
    text = (survey / "md.json").read_text(encoding="utf-8").replace('"file": "', '"file": "C:/Users/Ann/')
    (survey / "md.json").write_text(text, encoding="utf-8")
    said = []
    result = api.run({**config(survey), "budget": {"initial": 8, "rounds": 1}}, report=False, tell=said.append)
    assert [problem.id for problem in result.problems if problem.code == "other_root"] == [""]
    assert not any("left out" in line for line in said if line.startswith("images:")), said
    assert status_facts(api.open_run(result.folder))["left_out"] == 0


def test_predictions_say_so_where_a_model_of_crops_sees_whole_pictures(survey):
    result = api.run({**config(survey), "budget": {"initial": 8, "rounds": 1}}, report=False)
    whole = predict(result.folder, survey, survey / "whole.csv", format="csv")
    assert any("learned from crops" in note for note in whole.notes)
    cut = predict(result.folder, survey, survey / "cut.csv", format="csv", detections=survey / "md.json")
    assert not any("learned from crops" in note for note in cut.notes)
    uncut = api.run({**config(survey, crops="none"), "name": "w", "budget": {"initial": 8, "rounds": 1}}, report=False)
    same = predict(uncut.folder, survey, survey / "same.csv", format="csv")
    assert not any("learned from crops" in note for note in same.notes)


def test_a_package_has_the_times_of_all_images_and_answers(survey):
    result = api.run({**config(survey), "budget": {"initial": 8, "rounds": 1}}, report=False)
    predict(result.folder, survey, survey / "dp", format="camtrap_dp", detections=survey / "md.json")
    with (survey / "dp" / "media.csv").open(encoding="utf-8") as file:
        times = {row["filePath"]: row["timestamp"] for row in csv.DictReader(file)}
    assert len(times) == 90
    assert all(times.values())  # also of images in which nothing was found
    with closing(sqlite3.connect(result.folder / "run.db")) as db, db:
        db.execute("UPDATE annotations SET at = 1000000000")
    predict(result.folder, None, survey / "all", format="camtrap_dp")
    with (survey / "all" / "observations.csv").open(encoding="utf-8") as file:
        told = {row["classificationTimestamp"] for row in csv.DictReader(file) if row["classifiedBy"] == "oracle"}
    assert told == {"2001-09-09T01:46:40Z"}


def test_what_a_run_leaves_out_is_missed_in_its_predictions_with_a_word(survey):
    content = json.loads((survey / "md.json").read_text(encoding="utf-8"))
    content["images"][3]["detections"] = [detection(0.9, category="2")]
    (survey / "md.json").write_text(json.dumps(content), encoding="utf-8")
    result = api.run({**config(survey), "budget": {"initial": 8, "rounds": 1}}, report=False)
    done = predict(result.folder, None, survey / "all.csv", format="csv")
    assert done.images == 89
    assert "1 files that the run left out are not told (1 people): predict their folder for all" in done.notes
