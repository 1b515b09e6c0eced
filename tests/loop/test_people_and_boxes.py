"""Runs of boxes that people answer through files: proposals out, corrections back, by the annotator or by import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelwise import api
from labelwise.data import coco, cvat_xml, voc
from labelwise.exchange.exporting import export
from labelwise.exchange.importing import import_answers
from labelwise.results import RunResult
from labelwise.testing import make_boxes

SQUARES = f"{Path(__file__).with_name('test_detecting.py')}:Squares"


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    make_boxes(tmp_path / "truth", 24)
    listing = coco.read(tmp_path / "truth")
    coco.write(
        tmp_path / "data",
        [replace(s, target=s.target if i < 6 else None) for i, s in enumerate(listing.samples)],
        listing.classes,
    )
    return {
        "name": "run",
        "task": "detect",
        "data": {"format": "coco", "path": str(tmp_path / "data"), "test": 0.5},
        "model": SQUARES,
        "annotator": "files",
        "strategy": "random",
        "budget": {"initial": 6, "per_round": 4, "rounds": 2},
        "out": str(tmp_path / "runs"),
    }


def truth_of(result: RunResult, tmp_path: Path, round: int) -> list[Any]:
    by_id = {s.id: s for s in coco.read(tmp_path / "truth").samples}
    answered = result.annotations
    return [by_id[q.sample_id] for q in result.queries[round] if q.id not in answered]


def test_two_rounds(plan: dict[str, Any], tmp_path: Path) -> None:
    waiting = api.run(plan, report=False)
    assert waiting.state == "waiting"
    folder = waiting.folder / "rounds" / "000"
    assert len(coco.read(folder / "annotate").samples) == len(truth_of(waiting, tmp_path, 0))
    samples = truth_of(waiting, tmp_path, 0)
    first = next(s for s in samples if s.target.classes)  # with none it would stay open
    voc.write(folder / "answers", [first], waiting.classes, images="leave")
    half = api.run(plan, report=False)
    assert half.state == "waiting"
    cvat_xml.write(tmp_path / "job", samples, waiting.classes, images="leave")
    done = import_answers(half.folder, tmp_path / "job", who="ann", blank="answer")
    assert (done.taken, done.left) == (len(samples) - 1, 0)
    waiting = api.run(plan)
    assert waiting.state == "waiting"
    assert waiting.effort(0).added > 0
    asked = [q for q in waiting.queries[1] if q.purpose == "train"]
    assert all(q.proposal is not None for q in asked)
    proposed = {s.id: s.target for s in coco.read(waiting.folder / "rounds" / "001" / "annotate").samples}
    assert {id: t.geometry.tolist() for id, t in proposed.items()} == {
        q.sample_id: q.proposal.geometry.tolist() for q in asked
    }
    place = waiting.folder / "rounds" / "001"
    coco.write(place / "answers", truth_of(waiting, tmp_path, 1), waiting.classes, images="leave")
    finished = api.run({**plan, "annotator": {"name": "files", "blank": "answer"}})
    assert finished.state == "finished"
    effort = finished.effort(1)
    assert effort.proposed == effort.kept + effort.deleted > 0
    assert "People's effort" in (finished.folder / "report.html").read_text(encoding="utf-8")
    predictions = export(finished.folder, tmp_path / "p", format="yolo", what="predictions", images="leave")
    labels = export(finished.folder, tmp_path / "l", format="coco", images="leave")
    pool = finished.split_sizes["pool"]
    assert predictions.images == pool - finished.images(1)
    assert labels.images == finished.images(1) + finished.split_sizes["test"]
