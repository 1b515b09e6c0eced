"""Whole runs that people answer on the page: classes, boxes, pixels, regions; second looks; a class added midway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient

from labelwise import api
from labelwise.data import coco
from labelwise.data.masks import read_mask
from labelwise.records import Target
from labelwise.results import RunResult
from labelwise.store import Store
from labelwise.testing import make_boxes, make_images, make_masks
from labelwise.web.app import make_app

SQUARES = f"{Path(__file__).parents[1] / 'loop' / 'test_detecting.py'}:Squares"
FPN = {
    "name": "fpn", "backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "iterations": 2, "train_batch": 4,
    "freeze_norm": False,
}  # fmt: skip
COLOURS = ("blue", "red")


def client_of(folder: Path) -> TestClient:
    return TestClient(make_app(folder, port=8470), base_url="http://127.0.0.1:8470")


def post(client: TestClient, path: str, **body: Any) -> Any:
    answer = client.post(f"/api/annotate/{path}", json={"annotator": "ann", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def answer_all(folder: Path, say: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Answer everything that is open, one after the other, as a person would; returns how many that were."""
    done = 0
    with client_of(folder) as client:
        while questions := post(client, "next")["questions"]:
            post(client, "answer", query=questions[0]["id"], answer=say(questions[0]), seconds=2.0)
            done += 1
    return done


def colour_of(id: str) -> str:
    return COLOURS[int(Path(id).stem) % 2]


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    make_images(tmp_path / "images", 40, size=8)
    return {
        "name": "r", "data": {"format": "images_folder", "path": str(tmp_path / "images"), "test": 0},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4}, "annotator": "web", "strategy": "margin",
        "budget": {"initial": 12, "per_round": 6, "rounds": 3}, "audit": 6, "threads": 1,
        "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
    }  # fmt: skip


def test_classes_with_one_added_and_labels_looked_at_again(plan: dict[str, Any]) -> None:
    waiting = api.run(plan, report=False, wait=False)
    folder = waiting.folder
    assert "labelwise serve" in waiting.message
    with client_of(folder) as client:
        for name in COLOURS:
            post(client, "class", name=name)
    asked = [q.sample_id for q in waiting.queries[0] if q.purpose == "train"]
    wrong = next(id for id in asked if colour_of(id) == "red")
    first = answer_all(
        folder, lambda q: {"kind": "class", "name": "blue" if q["sample"] == wrong else colour_of(q["sample"])}
    )
    assert first == 18
    result = api.run(plan, report=False, wait=False)
    assert result.classes == COLOURS  # in the order in which they were named
    assert result.state == "waiting"
    with client_of(folder) as client:
        found = client.get("/api/annotate/suspects").json()
        assert [(s["sample"], s["given"], s["suggested"]) for s in found["suspects"]][:1] == [(wrong, "blue", "red")]
        doubted = found["suspects"][0]["query"]
        assert len(post(client, "check", query=doubted, name="red")["waiting"]) == 1
        assert post(client, "check", query=doubted, name="red")["suspects"] == found["suspects"][1:]
        post(client, "uncheck", query=doubted)
        post(client, "check", query=doubted, name="red")
        post(client, "class", name="grey")
        assert (
            client.post("/api/annotate/check", json={"annotator": "ann", "query": doubted, "name": "pink"}).status_code
            == 400
        )
        assert (
            client.post("/api/annotate/check", json={"annotator": "ann", "query": "x", "name": "red"}).status_code
            == 404
        )
    assert api.run(plan, report=False, wait=False).annotations[doubted].target == Target(("blue",))
    second = answer_all(
        folder, lambda q: {"kind": "class", "name": "grey" if q["rank"] == 0 else colour_of(q["sample"])}
    )
    assert second == 6
    result = api.run(plan, wait=False)
    assert result.classes == (*COLOURS, "grey")
    assert result.annotations[doubted].target == Target(("red",))
    assert result.effort(0).timed == 18
    with Store(folder / "run.db") as store:
        (check,) = store.second_looks.checks()
        assert (check.old, check.new, check.round) == (Target(("blue",)), Target(("red",)), 1)
        assert wrong not in {s.sample_id for s in store.second_looks.suspects()}


def test_a_round_that_is_closed_early_goes_on(plan: dict[str, Any]) -> None:
    plan["audit"] = 0
    waiting = api.run(plan, report=False, wait=False)
    with client_of(waiting.folder) as client:
        for name in COLOURS:
            post(client, "class", name=name)
        for question in post(client, "next", count=8)["questions"]:
            post(
                client, "answer", query=question["id"], answer={"kind": "class", "name": colour_of(question["sample"])}
            )
        assert post(client, "close")["withdrawn"] == 4
    result = api.run(plan, report=False, wait=False)
    assert [len(result.queries[r]) for r in result.rounds] == [8, 10]  # what was not answered is asked for again
    answer_all(waiting.folder, lambda q: {"kind": "class", "name": colour_of(q["sample"])})
    assert api.run(plan, report=False, wait=False).labels(1) == 18


def test_several_annotators_and_their_agreement_in_the_report(plan: dict[str, Any]) -> None:
    plan |= {"annotator": {"name": "web", "annotators": 2, "overlap": 1.0}, "audit": 0}
    folder = api.run(plan, report=False, wait=False).folder
    with client_of(folder) as client:
        for name in COLOURS:
            post(client, "class", name=name)
        for who in ("ann", "<b>ben</b>"):
            while questions := post(client, "next", annotator=who)["questions"]:
                name = colour_of(questions[0]["sample"]) if who == "ann" or questions[0]["rank"] else "blue"
                post(client, "answer", query=questions[0]["id"], annotator=who, answer={"kind": "class", "name": name})
    result = api.run(plan, wait=False)
    assert result.agreement.queries == 12
    assert result.agreement.annotators == ("<b>ben</b>", "ann")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Cohen&#39;s kappa" in page
    assert "<b>ben</b>" not in page


def test_boxes(tmp_path: Path) -> None:
    make_boxes(tmp_path / "truth", 20)
    truth = {s.id: s.target for s in coco.read(tmp_path / "truth").samples}
    plan = {
        "name": "r", "task": "detect",
        "data": {"format": "images_folder", "path": str(tmp_path / "truth" / "images"), "test": 0},
        "model": SQUARES, "annotator": "web", "strategy": "random", "audit": 4, "out": str(tmp_path / "runs"),
        "budget": {"initial": 6, "per_round": 4, "rounds": 2, "unit": "box"},
    }  # fmt: skip
    folder = api.run(plan, report=False, wait=False).folder
    with client_of(folder) as client:
        for name in ("red", "green"):
            post(client, "class", name=name)
    by_name = {Path(id).name: target for id, target in truth.items()}

    def say(question: dict[str, Any]) -> dict[str, Any]:
        target = by_name[Path(question["sample"]).name]
        return {
            "kind": "boxes",
            "boxes": [{"name": n, "box": b} for n, b in zip(target.classes, target.geometry.tolist(), strict=True)],
        }

    result = play(plan, say)
    assert result.boxes(1) >= 10
    assert result.effort(0).added > 0
    target = next(a.target for a in result.annotations.values() if a.target is not None and a.target.classes)
    assert any(target.classes == t.classes and np.array_equal(target.geometry, t.geometry) for t in by_name.values())


def play(plan: dict[str, Any], say: Callable[[dict[str, Any]], dict[str, Any]]) -> RunResult:
    """Run and answer in turn until the budget is spent."""
    for _ in range(12):
        result = api.run(plan, report=False, wait=False)
        if result.state == "finished":
            return result
        answer_all(result.folder, say)
    raise AssertionError(result.message)


@pytest.mark.parametrize(
    ("strategy", "budget", "count"),
    [
        ("pixelpick", {"initial": 4, "per_round": 3, "per_image": True, "rounds": 2}, 7 * 8),
        ("ripu_region", {"initial": 2, "per_round": 2, "per_image": True, "radius": 1, "rounds": 2}, 4 * 8),
        ("random", {"unit": "image", "initial": 3, "per_round": 2, "rounds": 2}, 5),
    ],
)
def test_pixels_regions_and_masks(tmp_path: Path, strategy: str, budget: dict[str, Any], count: int) -> None:
    make_masks(tmp_path / "truth", 8)
    names = ("blue", "red", "green")
    plan = {
        "name": "r", "task": "segment", "model": FPN, "annotator": "web", "strategy": strategy, "budget": budget,
        "data": {"format": "images_folder", "path": str(tmp_path / "truth" / "images"), "test": 0},
        "out": str(tmp_path / "runs"), "pictures": 0,
    }  # fmt: skip
    folder = api.run(plan, report=False, wait=False).folder
    with client_of(folder) as client:
        for name in names:
            post(client, "class", name=name)

    def say(question: dict[str, Any]) -> dict[str, Any]:
        mask = read_mask(tmp_path / "truth" / "masks" / Path(question["sample"]).name, 3).astype(int)
        mask[mask == 255] = -1
        if question["kind"] == "pixels":
            return {
                "kind": "pixels",
                "names": [names[mask[y, x]] if mask[y, x] >= 0 else None for x, y in question["points"]],
            }
        runs = [n for value in mask.ravel().tolist() for n in (value, 1)]
        return {"kind": question["kind"], "classes": list(names), "runs": runs}

    result = play(plan, say)
    assert result.classes == names
    void = 0 if strategy != "pixelpick" else count - result.labels(1)
    assert result.labels(1) == count - void
    assert 0 <= void < count / 3
