"""Whole runs whose answers come from a real Label Studio, with calls that go wrong and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_label_studio import EMAIL, TOKEN, Fault, Proxy, Real, project_of

from labelwise import api
from labelwise.results import RunResult, open_run
from labelwise.testing import make_images

pytestmark = [pytest.mark.labelstudio, pytest.mark.usefixtures("token_in_environment")]


def plan(tmp_path: Path, url: str, **annotator: Any) -> dict[str, Any]:
    """A run on two colours with two rounds, all labels from people."""
    if not (tmp_path / "images").exists():
        make_images(tmp_path / "images", 30)
    return {
        "name": "run",
        "data": {"format": "images_folder", "path": str(tmp_path / "images"), "classes": ["blue", "red"], "test": 0.2},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "annotator": {"name": "label_studio", "url": url, "timeout": 20.0, "patience": 60.0, **annotator},
        "strategy": "margin",
        "budget": {"initial": 6, "per_round": 4, "rounds": 2},
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "threads": 1,
    }


def label_all(real: Real, run: RunResult) -> int:
    """A person labels what is open, after the colour; returns how many."""
    done = 0
    for task in real.tasks(project_of(run.folder / "rounds", "classify")):
        if task["total_annotations"] == 0:
            label = ("blue", "red")[int(task["data"]["sample"][:3]) % 2]
            result = {"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
            real.answer(task["id"], [result], lead_time=1.5)
            done += 1
    return done


def test_a_whole_run_with_faults_in_every_round(real: Real, proxy: Proxy, tmp_path: Path) -> None:
    tree = plan(tmp_path, proxy.url)
    results = []
    for step in range(10):
        proxy.faults = [
            Fault("after", r"^/api/projects/$"),
            Fault("after", r"/import$"),
            Fault("502", r"^/api/tasks", "GET"),
            Fault("before", r"^/api/tasks", "GET"),
            Fault("after", r"^/api/users", "GET"),
        ]
        results.append(api.run(tree, report=False))
        if results[-1].state != "waiting":
            break
        assert label_all(real, results[-1]) > 0, step
    finished = results[-1]
    assert finished.state == "finished"
    asked = [q for queries in finished.queries.values() for q in queries]
    answers = finished.annotations
    assert sorted(answers) == sorted(q.id for q in asked)
    for query in asked:
        expected = ("blue", "red")[int(query.sample_id[:3]) % 2]
        assert answers[query.id].target.classes == (expected,)
        assert (answers[query.id].annotator, answers[query.id].seconds) == (EMAIL, 1.5)
    tasks = real.tasks(project_of(finished.folder / "rounds", "classify"))
    assert sorted(task["data"]["labelwise"] for task in tasks) == sorted(answers)
    text = (
        json.dumps(yaml.safe_load((finished.folder / "config.yaml").read_text()))
        + (finished.folder / "rounds" / "label_studio.json").read_text()
    )
    assert TOKEN not in text


def test_a_run_that_is_killed_while_it_asks_goes_on(real: Real, proxy: Proxy, tmp_path: Path) -> None:
    tree = plan(tmp_path, proxy.url)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [sys.executable, "-m", "labelwise.cli", "run", "plan.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"LABEL_STUDIO_API_KEY": TOKEN})
    proxy.on_fault = lambda: process.send_signal(signal.SIGKILL)
    proxy.faults = [Fault("after", r"/import$")]  # the server has made the tasks, the run does not know
    assert process.wait(120) == -signal.SIGKILL
    proxy.on_fault = lambda: None
    waiting = api.run(tree, report=False)
    assert waiting.state == "waiting"
    tasks = real.tasks(project_of(waiting.folder / "rounds", "classify"))
    queries = open_run(waiting.folder).queries[0]
    assert sorted(task["data"]["labelwise"] for task in tasks) == sorted(q.id for q in queries)


def test_a_run_that_waits_takes_answers_as_they_come(
    real: Real, proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = plan(tmp_path, proxy.url)
    tree["budget"] = {"initial": 4, "per_round": 4, "rounds": 2}
    waiting = api.run(tree, report=False)
    stop = threading.Event()

    def person() -> None:
        while not stop.wait(0.5):
            if label_all(real, waiting):
                proxy.faults = [Fault("after", r"/import$"), Fault("503", r"^/api/tasks", "GET", times=2)]

    thread = threading.Thread(target=person)
    thread.start()
    try:
        finished = api.run(tree, report=False, wait=0.5)
    finally:
        stop.set()
        thread.join()
    assert finished.state == "finished"
    assert len(finished.annotations) == sum(len(asked) for asked in finished.queries.values())
