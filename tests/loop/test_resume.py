"""Running again is resuming: after a kill at any moment, a signal, a full disk; and never two at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelwise import api, loop
from labelwise.data.digits import make_scenes
from labelwise.errors import LabelwiseError, RunChanged, RunError
from labelwise.results import RunResult, open_run
from labelwise.store import Store

# A server that has imported everything forks a process for every kill: starting Python anew would cost seconds each.
SERVER = multiprocessing.get_context("forkserver")
LOADED = [
    "labelwise.annotators.files",
    "labelwise.annotators.oracle",
    "labelwise.api",
    "labelwise.data.csv_table",
    "labelwise.models.frozen",
    "labelwise.scoring.uncertainty",
    "labelwise.selection.density",
    "labelwise.selection.ranking",
    "scipy.optimize",
    "scipy.special",
    "PIL.PngImagePlugin",
]


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    SERVER.set_forkserver_preload(LOADED)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=60)


def plan(folder: Path, table: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "r",
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "budget": {"initial": 4, "per_round": 4, "rounds": 3},
        "strategy": "margin",
        "audit": 5,
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "threads": 1,
        **changes,
    }


# --- events: every moment at which something reaches the disk -------------------------------------


def _watched(at: int, log: Path | None) -> None:
    """Number the moments around every commit and every renaming; end this process at number ``at``."""
    count = iter(range(10**9))

    def event(what: str) -> None:
        number = next(count)
        if log is not None:
            with log.open("a") as file:
                file.write(f"{what}\n")
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    finish, transaction, replace = Store.finish_step, Store.transaction, Path.replace

    def finish_step(self: Store, round: int, name: str, *rest: Any) -> None:
        event(f"{round} {name} before")
        finish(self, round, name, *rest)
        event(f"{round} {name} written")

    @contextmanager
    def in_transaction(self: Store) -> Iterator[None]:
        with transaction(self):
            yield
            event("commit before")
        event("commit after")

    def renamed(self: Path, target: Path) -> Path:
        event(f"{Path(target).name} before")
        found = replace(self, target)
        event(f"{Path(target).name} after")
        return found

    Store.finish_step, Store.transaction, Path.replace = finish_step, in_transaction, renamed  # type: ignore[method-assign, assignment]


def _run(tree: dict[str, Any], at: int = -1, log: Path | None = None) -> None:
    if at >= 0 or log is not None:
        _watched(at, log)
    api.run(tree, report=False)


def killed(tree: dict[str, Any], at: int) -> None:
    process = SERVER.Process(target=_run, args=(tree, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, f"event {at}: exit code {process.exitcode}"


def events_of(tree: dict[str, Any], log: Path) -> list[str]:
    process = SERVER.Process(target=_run, args=(tree, -1, log))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return log.read_text().splitlines()


def story(result: RunResult) -> dict[str, Any]:
    """All that a run decided and found; no times, no places."""
    return {
        "state": (result.state, result.message),
        "splits": result.split_sizes,
        "test": sorted(result.test_ids),
        "classes": result.classes,
        "queries": result.queries,
        "answers": [(q, a.target, a.annotator) for q, a in sorted(result.annotations.items())],
        "figures": result.evaluations,
        "steps": {r: list(steps) for r, steps in result.seconds.items()},
        "checkpoints": {
            p.relative_to(result.folder): p.read_bytes()
            for p in sorted(result.folder.glob("rounds/*/checkpoint/*.json"))
        },
    }


def check_kills(folder: Path, table: Path, chosen: Any) -> None:
    reference = plan(folder / "reference", table)
    events = events_of(reference, folder / "events.txt")
    expected = story(open_run(folder / "reference" / "runs" / "r"))
    assert expected["state"][0] == "finished"
    assert len(events) > 50
    points = chosen(events)
    assert points
    for at in points:
        tree = plan(folder / f"{at}", table)
        killed(tree, at)
        assert story(api.run(tree, report=False)) == expected, f"killed at event {at}: {events[at]}"
        shutil.rmtree(folder / f"{at}")


def telling(events: list[str]) -> list[int]:
    """One moment of each kind: in the set-up, and in the second round."""
    in_round_1 = events.index("0 evaluate written")
    first = {
        what: i
        for i, what in reversed(list(enumerate(events)))
        if i < in_round_1 and what.startswith(("-1", "config", "standard"))
    }
    second = {
        what: i
        for i, what in reversed(list(enumerate(events)))
        if i > in_round_1 and what.startswith(("1 ", "checkpoint", "candidates"))
    }
    commits = [i + 2 for i, what in enumerate(events) if what.startswith(("1 ", "-1")) and what.endswith("written")]
    return sorted({*first.values(), *second.values(), *commits})


def test_killed_at_telling_moments(table: Path, tmp_path: Path) -> None:
    check_kills(tmp_path, table, telling)


@pytest.mark.slow
def test_killed_at_every_moment(table: Path, tmp_path: Path) -> None:
    check_kills(tmp_path, table, lambda events: range(len(events)))


@pytest.mark.slow
def test_killed_again_and_again(table: Path, tmp_path: Path) -> None:
    """Each call gets only a few moments further than the last."""
    api.run(plan(tmp_path / "reference", table), report=False)
    tree = plan(tmp_path / "often", table)
    for at in (5, 13, 11, 9, 17, 12, 8, 14):
        killed(tree, at)
    found = story(api.run(tree, report=False))
    assert found == story(open_run(tmp_path / "reference" / "runs" / "r"))


def test_the_same_seed_gives_the_same_run(table: Path, tmp_path: Path) -> None:
    changes = {"strategy": "badge", "model": {"name": "frozen", "backbone": "pixels", "size": 4}}
    stories = [story(api.run(plan(tmp_path / name, table, **changes), report=False)) for name in ("a", "b")]
    assert stories[0] == stories[1]
    other = story(api.run(plan(tmp_path / "c", table, **changes, seed=1), report=False))
    assert other["queries"] != stories[0]["queries"]
    assert other["test"] == stories[0]["test"]


@pytest.mark.slow
def test_workers_change_nothing(table: Path, tmp_path: Path) -> None:
    trees = [
        plan(
            tmp_path / str(workers),
            table,
            budget={"initial": 4, "per_round": 4, "rounds": 2},
            engine={"name": "local", "workers": workers},
        )
        for workers in (0, 2)
    ]
    stories = [story(api.run(tree, report=False)) for tree in trees]
    assert stories[0] == stories[1]


# --- signals and owners ----------------------------------------------------------------------------

SLOW_READER = """
import time
from labelwise.data import csv_table
def read(path):
    return csv_table.read(path)
class Slow:
    simulated = True
    def submit(self, queries, desk):
        print("asked", flush=True)
        time.sleep(30)
    def collect(self, open_queries, desk):
        return []
    def advice(self, open_queries, desk):
        return ""
"""


@contextmanager
def at_work(tree: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that has come to the annotator of round 0, and stays there."""
    (folder / "slow.py").write_text(SLOW_READER)
    (folder / "c.yaml").write_text(yaml.safe_dump({**tree, "annotator": f"{folder / 'slow.py'}:Slow"}))
    command = [sys.executable, "-m", "labelwise.cli", "run", str(folder / "c.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "asked\n" in iter(process.stdout.readline, "")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_in_one_line_and_the_run_can_be_resumed(name: str, table: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, table)
    with at_work(tree, tmp_path) as process:
        with pytest.raises(LabelwiseError, match=f"in use by process {process.pid}:"):
            api.run({**tree, "annotator": f"{tmp_path / 'slow.py'}:Slow"}, report=False)
        process.send_signal(getattr(signal, name))
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 3
    assert stderr.strip() == "interrupted: what was finished is kept; run the same command again to resume"
    assert open_run(tmp_path / "runs" / "r").state == "unfinished"
    picks = open_run(tmp_path / "runs" / "r").picks(0)
    with pytest.raises(RunChanged, match=r"annotator\.name.*put these keys back.*name=NEW"):
        api.run(tree, report=False)
    assert len(picks) == 4


# --- changed configurations ------------------------------------------------------------------------


def test_a_changed_configuration_is_refused(table: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, table)
    api.run(tree, rounds=1, report=False)
    before = story(open_run(tmp_path / "runs" / "r"))
    with pytest.raises(RunChanged) as refused:
        api.run({**tree, "seed": 3, "strategy": "entropy"}, report=False)
    for part in ("seed: 0 -> 3", "strategy.name: 'margin' -> 'entropy'", "put these keys back", "name=NEW"):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    assert story(open_run(tmp_path / "runs" / "r")) == before


def test_more_rounds_continue_a_finished_run(table: Path, tmp_path: Path) -> None:
    once = story(api.run(plan(tmp_path / "a", table), report=False))
    tree = plan(tmp_path / "b", table)
    api.run({**tree, "budget": {**tree["budget"], "rounds": 1}}, report=False)
    first = api.run({**tree, "budget": {**tree["budget"], "rounds": 2}}, report=False)
    assert first.state == "finished"
    folder = tmp_path / "b" / "runs" / "r"
    assert story(api.run(folder, ["budget.rounds=3"], report=False)) == once
    assert open_run(folder).config.budget.rounds == 3


def test_a_moved_run_continues(table: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path / "a", table)
    once = story(api.run(tree, report=False))
    tree = plan(tmp_path / "b", table)
    api.run(tree, rounds=2, report=False)
    shutil.move(tmp_path / "b" / "runs", tmp_path / "elsewhere")
    assert story(api.run(tmp_path / "elsewhere" / "r", report=False)) == once


# --- disks and damage ------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written(table: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"cannot write in .*out=FOLDER"):
        api.run(plan(tmp_path, table), report=False)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [16, 90, 150, 220, 300, 380, 480])
def test_a_full_disk_can_be_resumed(table: Path, tmp_path: Path, room: int) -> None:
    once = story(api.run(plan(tmp_path / "reference", table), report=False))
    disk = tmp_path / "disk"
    with small_disk(disk, "700k"):
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((700 - room) * 1024))
        tree = plan(disk, table, cache=str(tmp_path / "cache"))
        with pytest.raises(LabelwiseError) as full:
            api.run(tree, report=False)
        assert "\n" not in str(full.value)
        assert str(full.value).endswith("run again to resume")
        ballast.unlink()
        assert story(api.run(tree, report=False)) == once


def test_a_read_only_folder(table: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "4m"):
        tree = plan(disk, table)
        api.run(tree, rounds=1, report=False)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RunError, match=r"cannot write in .*out=FOLDER"):
            api.run(tree, report=False)
        # What is there can still be read.
        assert open_run(disk / "runs" / "r").labels(0) == 4
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert api.run(tree, report=False).state == "finished"


@pytest.mark.parametrize("damage", ["text", "torn", "empty"])
def test_a_damaged_store(table: Path, tmp_path: Path, damage: str) -> None:
    tree = plan(tmp_path, table)
    api.run(tree, rounds=1, report=False)
    file = tmp_path / "runs" / "r" / "run.db"
    data = file.read_bytes()
    file.write_bytes(
        {"text": b"hello, world" * 200, "torn": data[:6000] + bytes(5000) + data[11000:], "empty": b""}[damage]
    )
    if damage == "empty":  # an empty file is what a process killed at its first breath leaves
        assert api.run(tree, report=False).state == "finished"
        return
    for call in (lambda: api.run(tree, report=False), lambda: open_run(file.parent)):
        with pytest.raises(RunError, match=r"run\.db") as damaged:
            call()
        assert "\n" not in str(damaged.value)


def test_a_store_of_a_newer_labelwise(table: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, table)
    api.run(tree, rounds=0, report=False)
    with sqlite3.connect(tmp_path / "runs" / "r" / "run.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(RunError, match="newer labelwise"):
        api.run(tree, report=False)


# --- answers of people -----------------------------------------------------------------------------


def test_answers_in_a_file_survive_kills(table: Path, tmp_path: Path) -> None:
    unlabelled = tmp_path / "data" / "table.csv"
    shutil.copytree(table.parent, tmp_path / "data")
    truth = dict(line.split(",")[:2] for line in table.read_text().splitlines()[1:])
    unlabelled.write_text("path,class\n" + "".join(f"{path},\n" for path in truth))
    tree = plan(
        tmp_path,
        unlabelled,
        annotator={"name": "files", "new_classes": True},
        budget={"initial": 4, "per_round": 4, "rounds": 2},
    )
    assert api.run(tree, report=False).state == "waiting"
    folder = tmp_path / "runs" / "r"
    for portion in (2, 9):
        file = folder / "rounds" / "000" / "annotate.csv"
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        cells = [line.split(",", 2) for line in lines[1:]]
        filled = [f"{path},{truth[path] if i < portion else ''},{rest}" for i, (path, _, rest) in enumerate(cells)]
        file.write_text("\n".join([lines[0], *filled]) + "\n", encoding="utf-8-sig")
        kept = file.read_bytes()
        for at in (2, 3, 4, 5, 6, 7):
            killed(tree, at)
            assert file.read_bytes() == kept
        api.run(tree, report=False)
    result = open_run(folder)
    asked = {q.id: q.sample_id for q in result.queries[0]}
    answers = {asked[i]: a.target.classes[0] for i, a in result.annotations.items() if a.target}
    assert answers == {i: truth[i] for i in asked.values()}
    assert Counter(r for r in result.queries)[1] == 1
    assert result.state == "waiting"


def test_adopt_is_whole_or_not_at_all(table: Path, tmp_path: Path) -> None:
    from labelwise import config as configuration

    common = configuration.load(plan(tmp_path, table, name="c/data"))
    loop.run(common, rounds=0)
    arm = configuration.load(plan(tmp_path, table, name="c/arm"))
    arm.folder.mkdir()
    # What a process killed in the middle leaves behind must not be read into the new file.
    for name in ("run.partial", "run.partial-wal", "run.partial-shm"):
        (arm.folder / name).write_bytes(b"half")
    loop.adopt(arm, common.folder)
    assert loop.run(arm).state == "finished"
    assert story(open_run(arm.folder)) == story(api.run(plan(tmp_path, table, name="alone"), report=False))
    began = time.perf_counter()
    loop.adopt(arm, common.folder)
    assert time.perf_counter() - began < 5
    assert open_run(arm.folder).state == "finished"
