"""Waiting for people: looked at again and again, resumable, and patient with a server that is away."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelwise import api
from labelwise.annotators.oracle import Oracle
from labelwise.data.digits import make_digits
from labelwise.errors import ConfigError, ServerAway
from labelwise.loop import waiting
from labelwise.loop.waiting import pause_of
from labelwise.results import open_run
from labelwise.verbs.run import run

HERE = f"{__file__}:Slow"
STATE = sys.modules.setdefault("labelwise_test_waiting", types.ModuleType("labelwise_test_waiting"))
LOOKS: list[str] = vars(STATE).setdefault("looks", [])  # what happened, in its order; the plug-in is another module
AWAY: list[int] = vars(STATE).setdefault("away", [])  # looks at which the server is away


class Slow:
    """Answers as the truth does, two queries a look; a server that is away now and then."""

    simulated = True  # it knows the truth, and takes its time
    poll = 7.0

    def submit(self, queries: Any, desk: Any) -> None:
        """Nothing to do."""

    def collect(self, open_queries: Any, desk: Any) -> Any:
        """Two more."""
        LOOKS.append("look")
        if LOOKS.count("look") in AWAY:
            raise ServerAway("Slow at http://host: nothing listens there")
        return Oracle().collect(open_queries[:2], desk)

    def advice(self, open_queries: Any, desk: Any) -> str:
        """What to do."""
        return "wait a little"


class Eager(Slow):
    """One that wants to be waited for."""

    waits = True
    poll = 0.5


@pytest.fixture
def plan(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    LOOKS.clear()
    AWAY.clear()
    monkeypatch.setattr(
        waiting.until_answered, "__kwdefaults__", {**waiting.until_answered.__kwdefaults__, "sleep": nap}
    )
    return {
        "name": "run",
        "data": {"format": "class_folders", "path": str(make_digits(tmp_path)), "on_duplicate": "keep"},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4},
        "annotator": HERE,
        "strategy": "random",
        "cold_start": "random",
        "budget": {"initial": 5, "per_round": 4, "rounds": 2},
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
    }


def nap(seconds: float) -> None:
    LOOKS.append(f"pause {seconds:g}")


def test_without_waiting_a_run_returns_after_one_look(plan):
    for wait in (None, False):
        LOOKS.clear()
        told: list[str] = []
        assert api.run(plan, report=False, wait=wait, tell=told.append).state == "waiting"
        assert LOOKS == ["look"]
        assert ("2 of 5 are answered" if wait is None else "4 of 5 are answered") in told


def test_a_run_that_waits_ends_as_one_that_was_run_again_and_again(plan):
    told: list[str] = []
    steps: list[tuple[int, int, str]] = []
    waited = api.run(plan, report=False, wait=True, tell=told.append, progress=lambda *step: steps.append(step))
    assert waited.state == "finished"
    # 5 answers in three looks, 4 in two; a pause between, at the annotator's pace.
    assert LOOKS == ["look", "pause 7", "look", "pause 7", "look", "look", "pause 7", "look"]
    assert [s for s in steps if s[2] == "answers of round 0"] == [
        (2, 5, "answers of round 0"),
        (4, 5, "answers of round 0"),
        (5, 5, "answers of round 0"),
    ]
    assert told.count("waiting for 3 annotations of round 0: wait a little; 2 of 5 are answered") == 1
    again = {**plan, "name": "again"}
    while api.run(again, report=False).state == "waiting":
        pass
    other = open_run(waited.folder.parent / "again")
    assert {q.sample_id for q in other.queries[1]} == {q.sample_id for q in waited.queries[1]}
    assert other.evaluations == waited.evaluations


def test_seconds_go_before_the_annotators_own_pace(plan):
    api.run(plan, report=False, wait=0.25)
    assert set(LOOKS) == {"look", "pause 0.25"}


def test_an_annotator_may_want_to_be_waited_for(plan):
    plan["annotator"] = HERE.replace("Slow", "Eager")
    assert api.run(plan, report=False).state == "finished"
    assert "pause 0.5" in LOOKS
    assert pause_of(Eager(), False) is None
    assert pause_of(Eager(), None) == 0.5
    assert pause_of(Eager(), 3) == 3
    assert pause_of(Slow(), None) is None
    assert pause_of(Oracle(), True) == waiting.PAUSE


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_are_none(plan, seconds):
    with pytest.raises(ConfigError, match="above 0"):
        api.run(plan, wait=seconds)


def test_a_server_that_is_away_is_waited_for_too_and_told_once(plan):
    AWAY.extend([1, 2, 4])
    told: list[str] = []
    assert api.run(plan, report=False, wait=True, tell=told.append).state == "finished"
    assert sum("nothing listens there" in line for line in told) == 2
    AWAY.append(LOOKS.count("look") + 1)
    with pytest.raises(ServerAway, match="nothing listens"):
        api.run({**plan, "name": "other"}, report=False)


def test_an_interruption_while_waiting_loses_nothing(plan, monkeypatch):
    def stop(seconds: float) -> None:
        assert open_run(folder).state == "waiting"
        raise KeyboardInterrupt

    folder = api.run(plan, report=False).folder
    monkeypatch.setattr(
        waiting.until_answered, "__kwdefaults__", {**waiting.until_answered.__kwdefaults__, "sleep": stop}
    )
    with pytest.raises(KeyboardInterrupt):
        api.run(plan, report=False, wait=True)
    assert open_run(folder).labels(0) == 4
    monkeypatch.undo()
    assert api.run(plan, report=False).state == "waiting"
    assert open_run(folder).labels(0) == 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, None), ({"wait": True}, True), ({"wait": False}, False), ({"poll": 3.0}, 3.0),
     ({"wait": True, "poll": 3.0}, 3.0), ({"wait": False, "poll": 3.0}, False)],
)  # fmt: skip
def test_what_the_command_line_asks_for(options, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(
        api, "run", lambda *_, wait, **__: asked.append(wait) or SimpleNamespace(folder=Path("runs/run"))
    )
    run("plan.yaml", quiet=True, **options)
    assert asked == [expected]
