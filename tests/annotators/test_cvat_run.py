"""Whole runs with people in CVAT: proposals out, corrections back, through faults, a kill and a wait."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("cvat_sdk")

from fake_cvat import TOKEN, FakeCvat, Fault

from labelwise import api
from labelwise.annotators.cvat import tasks
from labelwise.data import coco
from labelwise.errors import ConfigError, RunError
from labelwise.results import RunResult, open_run
from labelwise.testing import make_boxes

SQUARES = f"{Path(__file__).parents[1] / 'loop' / 'test_detecting.py'}:Squares"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setattr("labelwise.annotators.remote.Patience.__init__.__defaults__", (6, 0.001, 0.01, 90.0))
    monkeypatch.setattr(tasks, "LOOK", 0.001)
    fake = FakeCvat()
    yield fake
    fake.close()


@pytest.fixture
def plan(tmp_path: Path, server: FakeCvat) -> dict[str, Any]:
    make_boxes(tmp_path / "truth", 24)
    listing = coco.read(tmp_path / "truth")
    known = [replace(s, target=s.target if i < 6 else None) for i, s in enumerate(listing.samples)]
    coco.write(tmp_path / "data", known, listing.classes)
    return {
        "name": "run",
        "task": "detect",
        "data": {"format": "coco", "path": str(tmp_path / "data"), "test": 0.5},
        "model": SQUARES,
        "annotator": {"name": "cvat", "url": server.url, "job_size": 3, "poll": 0.05},
        "strategy": "random",
        "budget": {"initial": 6, "per_round": 4, "rounds": 2},
        "out": str(tmp_path / "runs"),
    }


def people(server: FakeCvat, tmp_path: Path) -> int:
    """Correct every open job to the truth and complete it; returns how many jobs."""
    truth = {Path(s.id).stem: s.target for s in coco.read(tmp_path / "truth").samples}
    worked = 0
    for job in [j for j in server.jobs.values() if j["state"] != "completed"]:
        task = server.tasks[job["task_id"]]
        for frame in range(job["start_frame"], job["stop_frame"] + 1):
            target = truth[task["frames"][frame]["name"].split("-")[0]]
            server.clear(task["id"], frame)
            for name, corners in zip(target.classes, target.geometry.tolist(), strict=True):
                server.draw(task["id"], frame, name, corners)
        job["state"] = "completed"
        worked += 1
    return worked


def check_answers(result: RunResult, server: FakeCvat, tmp_path: Path) -> None:
    """Every image was asked once, in one task, and its answer is what people drew."""
    truth = {s.id: s.target for s in coco.read(tmp_path / "truth").samples}
    asked = [q for queries in result.queries.values() for q in queries]
    for query in asked:
        answer = result.annotations[query.id]
        assert answer.target.classes == truth[query.sample_id].classes
        np.testing.assert_allclose(answer.target.geometry, truth[query.sample_id].geometry)
    by_people = [q.sample_id for q in asked if result.annotations[q.id].annotator == "cvat"]
    frames = [name.split("-")[0] for _, _, name in server.frames()]
    assert sorted(frames) == sorted(Path(id).stem for id in by_people)
    assert len(set(frames)) == len(frames)


def test_rounds_by_hand_with_faults_all_along(plan, server, tmp_path):
    for _ in range(3):
        server.faults += [
            Fault("drop_after", "POST", "/api/(tasks|projects)", after=0),
            Fault("500", "POST", ".*/data/", after=1),
            Fault("drop", "GET", ".*", after=7),
            Fault("drop_after", "PATCH", ".*", after=0),
            Fault("half", "GET", ".*(annotations|meta).*", after=1),
        ]
    told: list[str] = []
    waiting = api.run(plan, report=False, tell=told.append)
    assert waiting.state == "waiting"
    assert f"{server.url}/projects/" in told[-1]
    assert people(server, tmp_path) > 0
    waiting = api.run(plan, report=False)
    assert waiting.state == "waiting"
    # Of a trained model, proposals: every one of them is in CVAT, before anybody drew.
    last = max(server.tasks)
    proposed = sum(len(q.proposal.classes) for q in waiting.queries[1] if q.proposal is not None)
    assert proposed == len(server.tasks[last]["annotations"]["shapes"]) > 0
    assert {s["source"] for s in server.tasks[last]["annotations"]["shapes"]} == {"auto"}
    people(server, tmp_path)
    finished = api.run(plan, report=False)
    assert finished.state == "finished"
    check_answers(finished, server, tmp_path)
    assert len(server.projects) == 1
    assert TOKEN not in (finished.folder / "config.yaml").read_text()
    assert all(TOKEN.encode() not in f.read_bytes() for f in finished.folder.rglob("*") if f.is_file())


def test_a_run_that_waits_for_its_people(plan, server, tmp_path):
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                # Not before the run waits: a job exists a moment earlier than its proposals are in it.
                with contextlib.suppress(RunError):
                    if open_run(tmp_path / "runs" / "run").state == "waiting":
                        with server.lock:
                            people(server, tmp_path)
                time.sleep(0.01)
        except BaseException:
            _thread.interrupt_main()  # or the run would wait for ever
            raise

    someone = threading.Thread(target=work)
    someone.start()
    try:
        finished = api.run(plan, report=False, wait=True)
    finally:
        stop.set()
        someone.join()
    assert finished.state == "finished"
    check_answers(finished, server, tmp_path)


def test_regions_and_pixels_are_refused_before_anything_runs(plan, server):
    pixels = {**plan, "task": "segment", "model": "fpn", "strategy": "pixelpick", "budget": {"unit": "pixel"}}
    with pytest.raises(ConfigError, match=r"annotator 'cvat' cannot ask for budget\.unit=pixel, only for box, image"):
        api.check(pixels)
    assert server.requests == []


def test_the_address_may_change_and_the_rest_may_not(plan, server, tmp_path):
    api.run(plan, report=False)
    people(server, tmp_path)
    moved = FakeCvat()
    try:
        for name in ("projects", "labels", "tasks", "jobs"):
            setattr(moved, name, getattr(server, name))
        again = {**plan, "annotator": {**plan["annotator"], "url": moved.url, "poll": 9, "timeout": 30}}
        assert len(api.run(again, report=False).queries) == 2
    finally:
        moved.close()


@pytest.mark.slow
def test_killed_while_it_waits_it_goes_on(plan, server, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(plan))
    command = [
        sys.executable,
        "-c",
        "from labelwise.cli import main; main()",
        "run",
        str(file),
        "--wait",
        "--no-report",
    ]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)

    def until(true: Any) -> None:
        for _ in range(1200):
            if true():
                return
            time.sleep(0.05)
        raise AssertionError("it takes too long")

    first = start()
    until(lambda: server.tasks)  # killed while it asks
    first.kill()
    first.communicate()
    second = start()
    until(lambda: server.jobs and (tmp_path / "runs/run/rounds/000/cvat.json").exists())
    second.send_signal(signal.SIGINT)  # interrupted while it waits
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 3
    assert "waiting for" in said
    assert "run the same command again to resume" in said
    third = start()
    rounds = 0
    while third.poll() is None:
        rounds += people(server, tmp_path) > 0
        time.sleep(0.05)
    said, _ = third.communicate()
    assert third.returncode == 0, said
    assert rounds == 2
    result = open_run(tmp_path / "runs" / "run")
    assert result.state == "finished"
    check_answers(result, server, tmp_path)
