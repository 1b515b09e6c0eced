"""Whole rounds with Timelapse: from `labelwise init` to the last answer, with a stand-in for the program."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from labelwise import api
from labelwise.annotators.timelapse import Timelapse as Annotator
from labelwise.cli import app
from labelwise.data.megadetector_writing import About, Detection, Recognition, write
from megadetector_rules import as_timelapse_reads, validate
from timelapse_fake import Timelapse
from timelapse_files import FIELDS, write_template

CLASSES = ("deer", "empty", "fox")
FIELDS = (*FIELDS, ("Selected", "Flag", "Selected", "false"))


def truth(name: str) -> str:
    return CLASSES[int(Path(name).stem.rpartition("_")[2]) % 3]


def pictures(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.JPG"))


@pytest.fixture
def root(tmp_path):
    """60 pictures of three cameras, bright, middling and dark."""
    rng = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "survey" / f"cam{i % 3}" / "100RECNX" / f"IMG_{i:03d}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 60 + 60 * CLASSES.index(truth(path.name))
        Image.fromarray(rng.integers(level - 30, level + 30, (16, 16, 3), dtype=np.uint8)).save(path, "JPEG")
    return tmp_path / "survey"


@pytest.fixture
def plan(root, tmp_path):
    return {
        "name": "r",
        "data": {"format": "images_folder", "path": str(root), "classes": list(CLASSES), "test": 0},
        "model": {"name": "frozen", "backbone": "pixels"},
        "cold_start": "random",
        "strategy": "galaxy",
        "audit": 4,
        "budget": {"initial": 8, "per_round": 6, "rounds": 3},
        "annotator": "timelapse",
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "threads": 1,
    }


def work(program: Timelapse, folder: Path, answer=truth) -> list[str]:
    """What a person does in a round, by the README; returns the files that were shown."""
    program.show_all()
    program.import_csv(folder / "selection.csv")
    program.show_selected()
    for path in program.files_shown():
        program.label(path, answer(path))
    return program.files_shown()


def test_three_rounds_with_a_template_that_is_offered(plan, root):
    waiting = api.run(plan, report=False)
    assert waiting.state == "waiting"
    folder = waiting.folder / "rounds" / "000" / "timelapse"
    assert str(folder / "selection.csv") in waiting.message
    assert "\n" not in waiting.message
    (root / "TimelapseTemplate.tdb").write_bytes((folder / "TimelapseTemplate.tdb").read_bytes())
    program = Timelapse(root)
    assert len(work(program, folder)) == 12
    waiting = api.run(plan, report=False)
    folder = waiting.folder / "rounds" / "001" / "timelapse"
    validate(folder / "recognitions.json")
    assert set(as_timelapse_reads(folder / "recognitions.json")) == set(work(program, folder))
    assert len(program.files_shown()) == 6
    waiting = api.run(plan, report=False)
    work(program, waiting.folder / "rounds" / "002" / "timelapse")
    finished = api.run(plan, report=False)
    assert finished.state == "finished"
    labels = {q.sample_id: finished.annotations[q.id].target.classes[0] for n in range(3) for q in finished.queries[n]}
    assert len(labels) == 24
    assert all(label == truth(id) for id, label in labels.items())
    assert {a.annotator for a in finished.annotations.values()} == {"timelapse"}


def test_the_budget_is_exact_with_skips_and_half_finished_rounds(plan, root):
    write_template(root / "mine.tdb", FIELDS, (*CLASSES, "unknown"))
    plan["audit"] = 0
    waiting = api.run(plan, report=False)
    program = Timelapse(root)
    program.label("cam0/100RECNX/IMG_000.JPG", "deer")  # perhaps not asked
    asked = {q.sample_id for q in waiting.queries[0]}
    half = sorted(asked)[:3]
    work(program, waiting.folder / "rounds" / "000" / "timelapse", lambda path: truth(path) if path in half else "")
    waiting = api.run(plan, report=False)
    assert waiting.state == "waiting"
    assert "waiting for 5 annotations of round 0" in waiting.message
    shown = work(program, waiting.folder / "rounds" / "000" / "timelapse", lambda path: "unknown")
    assert sorted(shown) == sorted(asked - set(half))  # only what is left
    waiting = api.run(plan, report=False)
    assert len(waiting.queries[1]) == 11  # those that were skipped are made up for
    work(program, waiting.folder / "rounds" / "001" / "timelapse")
    waiting = api.run(plan, report=False)
    assert waiting.images(1) == 14
    assert len(waiting.queries[2]) == 6


def test_a_new_species_makes_a_class_for_the_next_round(plan, root):
    write_template(root / "mine.tdb", FIELDS, CLASSES)
    plan["annotator"] = {"name": "timelapse", "new_classes": ["lynx"]}
    waiting = api.run(plan, report=False)
    program = Timelapse(root)
    program.edit_template("Species", "FixedChoice", (*CLASSES, "lynx", "lynxx"))
    folder = waiting.folder / "rounds" / "000" / "timelapse"
    work(program, folder, lambda path: "lynx" if path.startswith("cam1") else truth(path))
    shown = program.files_shown()
    odd = next(path for path in shown if not path.startswith("cam1"))
    program.label(odd, "lynxx")
    said: list[str] = []
    waiting = api.run(plan, report=False, tell=said.append)
    assert "waiting for 1 annotations" in waiting.message
    assert any("unknown class 'lynxx' in 1 image" in line for line in said)
    program.label(odd, truth(odd))
    waiting = api.run(plan, report=False)
    assert waiting.classes == (*CLASSES, "lynx")
    notes = (waiting.folder / "rounds" / "001" / "timelapse" / "README.txt").read_text(encoding="utf-8")
    assert "also offers 'lynxx'" in notes
    assert "lacks" not in notes


def test_answers_by_import_as_excel_saved_them(plan, root, tmp_path):
    write_template(root / "mine.tdb", FIELDS, CLASSES)
    waiting = api.run(plan, report=False)
    program = Timelapse(root)
    work(program, waiting.folder / "rounds" / "000" / "timelapse")
    program.export_csv(tmp_path / "excel.csv", excel=True)
    for path in program.files_shown():
        program.label(path, "")
    assert "01.05.2024 06:30" in (tmp_path / "excel.csv").read_text(encoding="utf-8-sig").splitlines()[1]
    result = CliRunner().invoke(app, ["import", str(waiting.folder), str(tmp_path / "excel.csv")])
    assert result.exit_code == 0, result.output
    assert "took 12 answers; 0 queries stay open" in result.output
    again = CliRunner().invoke(app, ["import", str(waiting.folder), str(root / "TimelapseData.ddb")])
    assert "took 0 answers; 0 queries stay open" in again.output
    assert api.run(plan, report=False).queries.keys() >= {1}


@pytest.mark.parametrize("told", [False, True])
def test_the_folder_above_may_be_what_timelapse_opens(told, plan, root):
    write_template(root.parent / "survey.tdb", FIELDS, CLASSES)
    if told:
        plan["annotator"] = {"name": "timelapse", "root": str(root.parent)}
    else:
        Timelapse(root.parent)  # which makes a data file there
    waiting = api.run(plan, report=False)
    folder = waiting.folder / "rounds" / "000" / "timelapse"
    rows = csv.DictReader((folder / "selection.csv").read_text(encoding="utf-8").splitlines())
    assert {row["RelativePath"] for row in rows} == {rf"survey\cam{i}\100RECNX" for i in range(3)}
    program = Timelapse(root.parent)
    work(program, folder)
    assert api.run(plan, report=False).queries.keys() >= {1}


@pytest.mark.parametrize("detections", [False, True])
def test_from_init_to_the_second_round(detections, root, tmp_path, monkeypatch):
    write_template(root / "mine.tdb", FIELDS, CLASSES)
    if detections:
        boxes = {name: (Detection(0.9, (0.1, 0.1, 0.6, 0.6)),) for name in pictures(root) if truth(name) != "empty"}
        found = [Recognition(name, boxes.get(name, ())) for name in pictures(root)]
        write(root / "md.json", found, classes=(), about=About(detector="md_v5a.0.0.pt"))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert runner.invoke(app, ["init", str(root), "--out", "c.yaml"]).exit_code == 0
    assert "name: timelapse" in (tmp_path / "c.yaml").read_text(encoding="utf-8")
    changes = ["model={name: frozen, backbone: pixels}", "budget.rounds=2", "cold_start=random", "strategy=margin"]
    first = runner.invoke(app, ["run", "c.yaml", *changes])
    assert first.exit_code == 0, first.output
    folder = next((tmp_path / "runs").glob("*/rounds/000/timelapse"))
    if detections:
        shown = as_timelapse_reads(folder / "recognitions.json")
        assert {(kind, sure, name) for found in shown.values() for kind, sure, name, _ in found} == {
            ("animal", 0.9, None)
        }
    work(Timelapse(root), folder)
    second = runner.invoke(app, ["run", "c.yaml", *changes])
    assert second.exit_code == 0, second.output
    folder = folder.parents[1] / "001" / "timelapse"
    shown = validate(folder / "recognitions.json")
    assert any("classifications" in d for image in shown["images"] for d in image["detections"])
    work(Timelapse(root), folder)
    third = runner.invoke(app, ["run", "c.yaml", *changes])
    assert "waiting" not in third.output, third.output


def test_options_are_checked():
    assert Annotator().tasks == {"classify"}
