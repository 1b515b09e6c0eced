"""The room of the rounds over HTTP: state, figures, report; quick when nothing changed, and true when it did."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient

from labelwise.ownership import owned, owner
from labelwise.progress import APART, FILE, ProgressFile, read_progress
from labelwise.records import Annotation, Target
from labelwise.store import Store
from labelwise.web import following
from labelwise.web.app import make_app

PORT = 8470
STEPS = ("query", "annotate", "train", "evaluate")


def client_of(folder: Path) -> TestClient:
    return TestClient(make_app(folder, port=PORT), base_url=f"http://127.0.0.1:{PORT}")


def judge(folder: Path, values: list[float]) -> None:
    """Finish rounds of a run that has asked its first: the answers, and a figure each."""
    with Store(folder / "run.db") as store, store.transaction():
        asked = store.queries()
        store.add_annotations(Annotation(q.id, Target(("cat",)), "ann", 2.0) for q in asked)
        for round, value in enumerate(values):
            for step in STEPS[int(round == 0) :]:
                store.finish_step(round, step, 1.0)
            figures = {"n": 50, "macro_f1": value, "accuracy": value, "ece": 0.1, "nll": 1.0, "classes": ["cat", "dog"],
                       "recall": [1.0, 0.5], "precision": [1.0, 1.0], "support": [25, 25],
                       "confusion": [[0, 0, 25], [1, 0, 12], [1, 1, 13]]}  # fmt: skip
            store.add_evaluation(round, "test", figures)


@pytest.fixture
def run(asked_run: Callable[..., Path]) -> Path:
    return asked_run("classify", None, ("cat", "dog", "<img src=x onerror=alert(1)>"))


def get(client: TestClient, path: str) -> Any:
    answer = client.get(f"/api/rounds/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_where_it_stands_while_people_are_asked(run: Path) -> None:
    with client_of(run) as client:
        state = get(client, "state")
        assert (state["round"], state["step"], state["steps"]) == (0, "annotate", ["query"])
        assert (state["asked"], state["open"]) == (4, 4)
        assert state["rounds"] == 1  # the pool has no more images
        assert not state["at_work"]
        assert state["progress"] is None
        with owned(run):
            assert get(client, "state")["at_work"]
        assert not get(client, "state")["at_work"]


def test_the_version_changes_with_the_run_whoever_changes_it(run: Path) -> None:
    app = make_app(run, port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        first = get(client, "state")["version"]
        assert get(client, "state")["version"] == first
        with Store(run / "run.db") as other:
            other.set_setting("x", "1")
        second = get(client, "state")["version"]
        app.state.served.store.set_setting("x", "2")
        third = get(client, "state")["version"]
        assert len({first, second, third}) == 3


def test_before_the_first_figure(run: Path) -> None:
    with client_of(run) as client:
        figures = get(client, "figures")
    assert figures["curve"] == []
    assert figures["forecast"] is None
    assert figures["advice"]["advice"] == "wait"
    assert [row["name"] for row in figures["balance"]] == ["cat", "dog", "<img src=x onerror=alert(1)>"]


def test_figures_and_a_target(run: Path) -> None:
    judge(run, [0.5])
    with client_of(run) as client:
        figures = get(client, "figures")
        assert [(p["round"], p["labels"], p["value"]) for p in figures["curve"]] == [(0, 4, 0.5)]
        assert figures["curve"][0]["low"] < 0.5 < figures["curve"][0]["high"]
        assert figures["cost"]["labels"] == 4
        assert figures["cost"]["seconds"] == 8
        assert figures["cost"]["each"] == 2
        assert figures["balance"][0] == {"name": "cat", "labels": 4, "found": 1.0, "support": 25}
        assert figures["target"] is None
        assert get(client, "figures?target=0.8")["target"]["figure"] == 0.8
        for wrong in ("0", "1", "-1", "nan", "x", "inf"):
            answer = client.get(f"/api/rounds/figures?target={wrong}")
            assert answer.status_code == 422
            assert "target" in answer.json()["error"]


def test_nothing_is_read_anew_while_nothing_changes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(run, [0.5])
    read = []
    monkeypatch.setattr(following, "read_run", lambda *a: read.append(1) or whole(*a))
    whole = __import__("labelwise.results", fromlist=["read_run"]).read_run
    with client_of(run) as client:
        for _ in range(3):
            get(client, "figures")
            get(client, "state")
        assert len(read) == 1
        with Store(run / "run.db") as other:
            other.set_setting("x", "1")
        get(client, "figures")
        assert len(read) == 2


def test_the_report_cannot_reach_the_page(run: Path) -> None:
    judge(run, [0.5])
    with client_of(run) as client:
        answer = client.get("/api/rounds/report")
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "sandbox allow-scripts" in policy[0]
    assert "allow-same-origin" not in policy[0]
    assert "<img src=x" not in answer.text


def test_a_mistake_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(run))

    with client_of(run) as client:
        monkeypatch.setattr(following, "read_run", full)
        answer = client.get("/api/rounds/figures")
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]


# --- the file of the progress -------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_progress_is_kept_but_not_too_often(tmp_path: Path, clock: list[float]) -> None:
    told: list[tuple[int, int, str]] = []
    file = ProgressFile(tmp_path, lambda *what: told.append(what))
    for done in range(10):
        file(done, 10, "images, ü")
        clock[0] += APART / 5
    assert [what[0] for what in told] == list(range(10))
    found = read_progress(tmp_path)
    assert found is not None
    assert (found.what, found.done, found.total, found.begun) == ("images, ü", 5, 10, 1000.0)
    file(0, 3, "something else")  # another kind of work begins at once
    found = read_progress(tmp_path)
    assert found is not None
    assert (found.what, found.begun) == ("something else", clock[0])
    file.close()
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"what": "x"}', '{"what":"x","done":"y","total":1,"begun":1,"at":1}'])
def test_a_half_written_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_progress(tmp_path) is None


def test_progress_never_stops_a_run(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    ProgressFile(tmp_path, lambda *what: None)(1, 2, "x")
    ProgressFile(tmp_path / "absent", lambda *what: None)(1, 2, "x")
    assert not (tmp_path / "absent").exists()


def test_an_owner_that_was_killed_is_none(tmp_path: Path) -> None:
    assert owner(tmp_path) is None
    (tmp_path / ".owner").write_text("nobody")
    assert owner(tmp_path) is None
    (tmp_path / ".owner").write_text(str(2**22 + 12345))  # beyond the largest number of a process
    assert owner(tmp_path) is None
    (tmp_path / ".owner").write_text(str(os.getpid()))
    assert owner(tmp_path) == os.getpid()
    assert json.dumps(owner(tmp_path))
