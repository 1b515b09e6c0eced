"""Predictions of folders, of MegaDetector's crops, and of all that is left of a run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import labelwise
from labelwise import testing
from labelwise.cli import app
from labelwise.errors import ConfigError, DataError, LabelwiseError, RunError
from labelwise.exchange import predicting
from labelwise.exchange.classifiers import open_classifier


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run on red, blue and green pictures, and its folder of images."""
    folder = tmp_path_factory.mktemp("project")
    for sample in testing.make_images(folder / "made", 60, classes=3):
        place = folder / "images" / sample.target.classes[0] / sample.id
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(sample.path) as picture:
            picture.convert("RGB").resize((40, 32)).save(place)
    config = {
        "name": "traps",
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "data": {"format": "class_folders", "path": str(folder / "images")},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4},
        "budget": {"initial": 20, "rounds": 1},
        "cold_start": "random",  # it compiles nothing
    }
    return labelwise.run(config, report=False).folder, folder / "images"


@pytest.fixture
def others(tmp_path, project):
    """A folder of other pictures: some in folders, one with a blank in its name, one damaged, one empty."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "card"
    for i, id in enumerate(["A/1.JPG", "A/2.jpg", "B/été 3.jpg", "B/4.png", "B/5.jpg"]):
        place = folder / id
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (50 + i, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place, **({"quality": 95} if place.suffix != ".png" else {}))
    (folder / "A" / "2.jpg").write_bytes((folder / "A" / "2.jpg").read_bytes()[:300])
    (folder / "B" / "empty.jpg").touch()
    return folder


def told(path):
    return {row["file"]: row for row in json.loads(path.read_text(encoding="utf-8"))["images"]}


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_in_every_format_with_its_failures(project, others, tmp_path):
    run, _ = project
    done = labelwise.predict(run, others, tmp_path / "md.json")
    assert (done.images, done.failures) == (6, 2)
    found = told(tmp_path / "md.json")
    assert list(found) == ["A/1.JPG", "A/2.jpg", "B/4.png", "B/5.jpg", "B/empty.jpg", "B/été 3.jpg"]
    for id in ("A/2.jpg", "B/empty.jpg"):
        assert found[id]["detections"] is None
        assert found[id]["failure"]
    (one,) = found["A/1.JPG"]["detections"]
    assert one["bbox"] == [0, 0, 1, 1]
    labelwise.predict(run, others, tmp_path / "t.csv", format="csv")
    rows = table(tmp_path / "t.csv")
    assert [r["file"] for r in rows] == list(found)
    assert [bool(r["failure"]) for r in rows] == ["failure" in f for f in found.values()]
    classifier = open_classifier(run)
    with Image.open(others / "B" / "5.jpg") as picture:
        probs = classifier.probs([classifier.entry.pixels(picture.convert("RGB"))])[0]
    assert rows[3]["class"] == classifier.classes[probs.argmax()]
    assert float(rows[3]["confidence"]) == pytest.approx(probs.max(), abs=1e-5)
    assert rows[3]["method"] == "machine"
    labelwise.predict(run, others, tmp_path / "dp", format="camtrap_dp")
    with (tmp_path / "dp" / "observations.csv").open(encoding="utf-8") as file:
        seen = list(csv.DictReader(file))
    assert {r["observationID"]: r["scientificName"] for r in seen} == {
        r["file"]: r["class"] for r in rows if not r["failure"]
    }
    assert not list(tmp_path.glob("*.partial*"))


def test_below_the_threshold_it_says_unknown(project, others, tmp_path):
    run, _ = project
    done = labelwise.predict(run, others, tmp_path / "t.csv", format="csv", threshold=1.0)
    assert set(done.classes) == {"unknown"}
    labelwise.predict(run, others, tmp_path / "md.json", threshold=1.0)
    (one,) = told(tmp_path / "md.json")["A/1.JPG"]["detections"]
    names = json.loads((tmp_path / "md.json").read_text(encoding="utf-8"))["classification_categories"]
    assert [names[id] for id, _ in one["classifications"]] == ["unknown"]
    assert {r["class"] for r in table(tmp_path / "t.csv") if not r["failure"]} == {"unknown"}


def boxes(*found):
    return [{"category": c, "conf": p, "bbox": b} for c, p, b in found]


def test_crops_of_megadetector_are_classified_and_all_its_boxes_kept(project, tmp_path):
    run, images = project
    red = sorted((images / "red").iterdir())[0]
    blue = sorted((images / "blue").iterdir())[0]
    both = Image.new("RGB", (200, 100), "grey")
    with Image.open(red) as one, Image.open(blue) as two:
        both.paste(one.resize((90, 90)), (5, 5))
        both.paste(two.resize((90, 90)), (105, 5))
    (tmp_path / "card").mkdir()
    both.save(tmp_path / "card" / "both.jpg", quality=95)
    both.save(tmp_path / "card" / "nothing.jpg", quality=90)
    both.save(tmp_path / "card" / "unseen.jpg", quality=91)
    left, right = [0.025, 0.05, 0.45, 0.9], [0.525, 0.05, 0.45, 0.9]
    images_told = [
        {
            "file": "both.jpg",
            "detections": boxes(("1", 0.9, left), ("1", 0.5, right), ("1", 0.05, left), ("2", 0.8, right)),
        },
        {"file": "nothing.jpg", "detections": []},
        {"file": "gone.jpg", "detections": boxes(("1", 0.9, left))},
        {"file": "broken.jpg", "failure": "Failure image access", "detections": None},
        {"file": "unseen.jpg", "detections": None},
    ]
    (tmp_path / "card" / "broken.jpg").write_bytes(b"no picture")
    info = {"info": {"format_version": "1.5"}, "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"}}
    (tmp_path / "md.json").write_text(json.dumps({**info, "images": images_told}), encoding="utf-8")
    done = labelwise.predict(run, tmp_path / "card", tmp_path / "out.json", detections=tmp_path / "md.json")
    assert (done.images, done.failures) == (4, 2)
    assert any("missing" in note for note in done.notes)
    found = told(tmp_path / "out.json")
    assert found["nothing.jpg"]["detections"] == []
    assert found["broken.jpg"]["failure"] == "Failure image access"
    assert found["unseen.jpg"]["failure"] == "no detections"  # which is not that there is nothing
    whole = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    names = whole["classification_categories"]
    detections = found["both.jpg"]["detections"]
    assert [(d["category"], d["conf"]) for d in detections] == [("1", 0.9), ("2", 0.8), ("1", 0.5), ("1", 0.05)]
    assert [names[d["classifications"][0][0]] for d in detections if "classifications" in d] == ["red", "blue"]
    assert ["classifications" in d for d in detections] == [True, False, True, False]
    labelwise.predict(
        run, tmp_path / "card", tmp_path / "t.csv", format="csv", detections=tmp_path / "md.json", least=0.6
    )
    rows = [(r["file"], r["class"]) for r in table(tmp_path / "t.csv")]
    assert rows == [
        ("both.jpg", "red"), ("both.jpg", "person"), ("broken.jpg", ""), ("nothing.jpg", "empty"),
        ("unseen.jpg", ""),
    ]  # fmt: skip


def test_it_goes_on_where_it_was_stopped(project, tmp_path, monkeypatch):
    run, images = project
    labelwise.predict(run, images, tmp_path / "whole.csv", format="csv")
    monkeypatch.setattr(predicting, "BATCH", 4)
    beside = tmp_path / "out.csv.partial.jsonl"

    class Killed(BaseException):
        pass

    def stop(done, total, what):
        if done >= 24:
            raise Killed

    with pytest.raises(Killed):
        labelwise.predict(run, images, tmp_path / "out.csv", format="csv", progress=stop)
    lines = beside.read_bytes().splitlines(keepends=True)
    assert len(lines) > 20
    beside.write_bytes(b"".join(lines) + b'{"file": "half a li')  # as a process killed in the middle leaves it
    looked_at = []
    real = predicting._read
    monkeypatch.setattr(predicting, "_read", lambda c, f, least: looked_at.append(f.id) or real(c, f, least))
    done = labelwise.predict(run, images, tmp_path / "out.csv", format="csv", threads=1)
    assert len(looked_at) == 60 - (len(lines) - 1)
    assert any("went on after" in note for note in done.notes)
    one, two = table(tmp_path / "out.csv"), table(tmp_path / "whole.csv")
    assert [(r["file"], r["class"]) for r in one] == [(r["file"], r["class"]) for r in two]
    gaps = [abs(float(a["confidence"]) - float(b["confidence"])) for a, b in zip(one, two, strict=True)]
    assert max(gaps) < 1e-5
    assert not beside.exists()
    beside.write_bytes(b'{"model": "another"}\n{"file": "x", "things": []}\n')
    labelwise.predict(run, images, tmp_path / "third.csv", format="csv")
    assert len(table(tmp_path / "third.csv")) == 60


def test_a_finished_run_tells_what_people_said_on_top_of_the_model(project, tmp_path):
    run, images = project
    result = labelwise.open_run(run)
    done = labelwise.predict(run, None, tmp_path / "all.csv", format="csv")
    rows = {r["file"]: r for r in table(tmp_path / "all.csv")}
    assert (
        len(rows)
        == done.images
        == len(list(images.rglob("*.png"))) - sum("duplicate" in p.code for p in result.problems)
    )
    people = {q.sample_id for queries in result.queries.values() for q in queries}
    assert {id for id, r in rows.items() if r["method"] == "human"} == people | set(result.test_ids)
    for id, row in rows.items():
        if row["method"] == "human":
            assert row["class"] == id.split("/")[0]
            assert row["by"] == ("oracle" if id in people else "data")
            assert not row["confidence"]
        else:
            assert row["by"] == "traps, round 0"
    labelwise.predict(run, None, tmp_path / "dp", format="camtrap_dp")
    with (tmp_path / "dp" / "observations.csv").open(encoding="utf-8") as file:
        seen = {r["observationID"]: r["classificationMethod"] for r in csv.DictReader(file)}
    assert seen == {id: r["method"] for id, r in rows.items()}
    labelwise.predict(run, None, tmp_path / "all.json")
    found = told(tmp_path / "all.json")
    names = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["classification_categories"]
    for id in people:
        ((number, sure), *more) = found[id]["detections"][0]["classifications"]
        assert (names[number], sure, more) == (id.split("/")[0], 1.0, [])


@pytest.mark.parametrize(
    ("model", "images", "options", "kind", "said"),
    [
        ("nowhere", ".", {}, RunError, "an .onnx file that labelwise wrote, or a run's folder"),
        ("RUN", "nowhere", {}, DataError, "nowhere"),
        ("RUN", "EMPTY", {}, DataError, "expected pictures below"),
        ("RUN", "IMAGES", {"format": "md"}, ConfigError, "unknown format 'md'"),
        ("RUN", "IMAGES", {"detections": "no.json"}, DataError, "no.json"),
        ("RUN", "IMAGES", {"threshold": 2.0}, DataError, "between 0 and 1"),
        ("m.onnx", None, {}, ConfigError, "without one give a run"),
        ("EMPTY", None, {}, RunError, "no run in"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(project, tmp_path, model, images, options, kind, said):
    places = {"RUN": project[0], "IMAGES": project[1], "EMPTY": tmp_path / "nothing"}
    (tmp_path / "nothing").mkdir()
    with pytest.raises(kind, match=said) as error:
        labelwise.predict(places.get(model, model), places.get(images, images), tmp_path / "o", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "o").exists()


def test_what_is_there_is_not_written_over(project, tmp_path):
    (tmp_path / "o.json").write_text("mine")
    with pytest.raises(LabelwiseError, match="choose another name"):
        labelwise.predict(*project, tmp_path / "o.json")
    assert (tmp_path / "o.json").read_text() == "mine"


@pytest.mark.onnx
def test_an_exported_model_says_the_same_as_its_run(project, others, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    labelwise.export(project[0], tmp_path / "m.onnx", format="onnx")
    program = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None\n"
        "import labelwise; labelwise.predict(sys.argv[1], sys.argv[2], sys.argv[3], format='csv')"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "m.onnx"), str(others), str(tmp_path / "b.csv")]
    subprocess.run(command, check=True, capture_output=True)
    labelwise.predict(project[0], others, tmp_path / "a.csv", format="csv")
    a, b = table(tmp_path / "a.csv"), table(tmp_path / "b.csv")
    assert [{**r, "confidence": ""} for r in a] == [{**r, "confidence": ""} for r in b]
    gaps = [abs(float(x["confidence"]) - float(y["confidence"])) for x, y in zip(a, b, strict=True) if x["confidence"]]
    assert max(gaps) < 1e-5
    Path(tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(LabelwiseError, match="expected a model written by"):
        labelwise.predict(tmp_path / "bad.onnx", others, tmp_path / "c.csv")


def test_the_verb_says_what_it_wrote(project, others, tmp_path):
    run, _ = project
    call = CliRunner().invoke
    done = call(app, ["predict", str(run), str(others), "-o", str(tmp_path / "o.csv"), "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert "6 images, 2 could not be read" in done.output
    done = call(app, ["predict", str(run), "-o", str(tmp_path / "all.json"), "--json", "--threshold", "1"])
    facts = json.loads(done.output)
    assert facts["written"] == str(tmp_path / "all.json")
    assert facts["images"] == sum(facts["classes"].values())
    assert facts["classes"]["unknown"] > 0
    wrong = call(app, ["predict", str(run), "-o", str(tmp_path / "b.json"), "--detections", "md.json"])
    assert wrong.exit_code == 2
    assert "IMAGES" in wrong.output


def test_what_is_told_of_the_rest_of_a_run_is_unknown_below_the_threshold(project, tmp_path):
    run, _ = project
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(text.replace("threshold: 0.0", "threshold: 1.0"), encoding="utf-8")
    try:
        labelwise.export(run, tmp_path / "rest.csv", format="csv", what="predictions")
    finally:
        (run / "config.yaml").write_text(text, encoding="utf-8")
    assert "threshold: 0.0" in text
    with (tmp_path / "rest.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"unknown"}
