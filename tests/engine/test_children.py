"""Processes that work for us: what they tell arrives, one line says what failed, and none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from labelwise.engine.children import Child, work
from labelwise.errors import ModelError

WORKER = """
import os, sys, time
from labelwise.engine import children
(task, number, place), out = children.begin()
print("printed by", number)
with open(f"{place}/new{number}", "w") as file:
    file.write(str(os.getpid()))
os.replace(file.name, f"{place}/pid{number}")
if task == "die":
    os._exit(7)
if task == "fail":
    children.tell(out, failed="no such thing: give another")
    sys.exit(1)
children.tell(out, done=number, total=2)
time.sleep(0.1 if task == "end" else 100)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "worker_of_a_test.py").write_text(WORKER)
    monkeypatch.syspath_prepend(tmp_path)

    def child(number: int, task: str) -> Child:
        return Child("worker_of_a_test", tmp_path / f"{number}.log", (task, number, tmp_path))

    return child


def alive(place: Path) -> list[int]:
    """The processes that wrote their numbers and are there still."""
    found = []
    for file in place.glob("pid*"):
        number = int(file.read_text())
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            continue
        found.append(number)
    return found


def until(condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited 30 s in vain")


def test_what_they_tell_arrives_and_what_they_print_is_in_their_log(start: Any, tmp_path: Path) -> None:
    heard: list[Any] = []
    work([start(n, "end") for n in (0, 1)], heard.append, "a worker")
    assert sorted(heard, key=lambda told: told["done"]) == [{"done": n, "total": 2} for n in (0, 1)]
    assert (tmp_path / "1.log").read_text() == "printed by 1\n"
    assert not alive(tmp_path)


def test_nothing_to_do() -> None:
    work([], print, "a worker")


@pytest.mark.parametrize(
    ("task", "said"), [("fail", "^no such thing: give another$"), ("die", "^a worker ended with 7: printed by 1$")]
)
def test_one_that_fails_ends_the_others(task: str, said: str, start: Any, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match=said):
        work([start(0, "wait"), start(1, task)], lambda told: None, "a worker")
    assert time.monotonic() - began < 60
    assert not alive(tmp_path)


def test_one_that_ends_before_it_takes_what_it_is_given(start: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^a worker ended with 1: .*No module named nowhere_at_all"):
        work([Child("nowhere_at_all", tmp_path / "log", "x" * 10**6)], lambda told: None, "a worker")


def test_an_interruption_ends_them(start: Any, tmp_path: Path) -> None:
    def interrupted(told: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work([start(n, "wait") for n in (0, 1)], interrupted, "a worker")
    assert not alive(tmp_path)


def test_they_end_with_us_however_we_end(start: Any, tmp_path: Path) -> None:
    code = (
        f"from pathlib import Path; from labelwise.engine.children import *; place = Path({str(tmp_path)!r}); "
        "work([Child('worker_of_a_test', place / f'{n}.log', ('wait', n, place)) for n in (0, 1)], print, 'a worker')"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=variables)
    try:
        until(lambda: len(alive(tmp_path)) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not alive(tmp_path))
