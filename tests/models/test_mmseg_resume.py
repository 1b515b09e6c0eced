"""A run that trains by mmsegmentation, killed by kill -9 in training and between steps, ends as if it never was."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api
from labelwise.results import RunResult
from labelwise.store import Store

pytestmark = [pytest.mark.mmseg, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]
SERVER = multiprocessing.get_context("forkserver")
# In the order in which a run comes by: an iteration (counted in its round) or a step, before or after it is written.
KILLS: tuple[tuple[Any, ...], ...] = (
    ("iteration", 0, 1),
    ("step", 0, "train", "before"),
    ("step", 1, "query", "written"),
    ("iteration", 1, 2),
    ("step", 1, "evaluate", "before"),
)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    SERVER.set_forkserver_preload(["labelwise.api", "labelwise.annotators.oracle", "torch"])


def _run(path: Path, changes: list[str], kill: tuple[Any, ...]) -> None:
    from labelwise.models.mmseg.runner import Follow

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    kind, round, *rest = kill
    after = Follow.after_train_iter
    done = [0]

    def after_train_iter(self: Any, runner: Any, *given: Any, **options: Any) -> None:
        after(self, runner, *given, **options)
        done[0] += 1
        if kind == "iteration" and runner.round.plan.round == round and done[0] == rest[0]:
            end()

    finish = Store.finish_step

    def finish_step(self: Store, at: int, name: str, *given: Any) -> None:
        if [kind, round, *rest] == ["step", at, name, "before"]:
            end()
        finish(self, at, name, *given)

    transaction = Store.transaction

    def in_transaction(self: Store) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def both() -> Any:
            with transaction(self):
                yield
            if kind == "step" and rest[1] == "written" and self.is_done(round, rest[0]):
                end()

        return both()

    Follow.after_train_iter = after_train_iter
    Store.finish_step = finish_step  # type: ignore[method-assign, assignment]
    Store.transaction = in_transaction  # type: ignore[method-assign]
    api.run(path, changes, report=False)


def killed(path: Path, changes: list[str], kill: tuple[Any, ...]) -> None:
    process = SERVER.Process(target=_run, args=(path, changes, kill))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL, f"{kill}: exit code {process.exitcode}"


def story(result: RunResult) -> dict[str, Any]:
    """All that was decided, answered, learnt and found."""
    networks = [
        hashlib.sha256((result.folder / f"rounds/{r:03d}/checkpoint/network.safetensors").read_bytes()).hexdigest()
        for r in result.rounds
    ]
    return {
        "picks": [
            [q.id, q.sample_id, None if q.geometry is None else q.geometry.tolist()]
            for r in result.rounds
            for q in result.queries[r]
        ],
        "answers": [
            [k, None if a.target is None or a.target.codes is None else a.target.codes.tolist()]
            for k, a in sorted(result.annotations.items())
        ],
        "figures": json.dumps(result.evaluations["test"], default=np.ndarray.tolist),
        "networks": networks,
    }


@pytest.mark.parametrize(
    ("mode", "start"), [("pixel", "continue"), ("pixel", "scratch"), ("region", "continue"), ("image", "continue")]
)
def test_killed_again_and_again(mmseg_config: Write, tmp_path: Path, mode: str, start: str) -> None:
    path = mmseg_config()
    both = [f"runner.sample_mode={mode}", f"model.start={start}"]
    whole = api.run(path, [*both, f"work_dir={tmp_path / 'whole'}"], report=False)
    torn = [*both, f"work_dir={tmp_path / 'torn'}"]
    for kill in KILLS:
        killed(path, torn, kill)
    assert story(api.run(path, torn, report=False)) == story(whole)


def test_the_command_is_killed_and_given_again(mmseg_config: Write, tmp_path: Path) -> None:
    """The real command line: kill -9 from outside while it trains, then the same command."""
    path = mmseg_config("workflow = [('train', 40), ('query', 1)]")
    command = [sys.executable, "-m", "labelwise.cli", "run", str(path), "--work-dir", str(tmp_path / "torn")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    logs, patience = tmp_path / "torn" / "rounds", time.monotonic() + 300
    while not any("loss:" in log.read_text("utf-8") for log in logs.glob("001/checkpoint.partial/mmengine/*/*.log")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < patience
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=400)
    whole = api.run(path, [f"work_dir={tmp_path / 'whole'}"], report=False)
    from labelwise.results import open_run

    assert story(open_run(tmp_path / "torn")) == story(whole)
