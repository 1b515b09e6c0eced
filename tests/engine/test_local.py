"""The local engine: one order, errors as they are, workers that die, and parents that do."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from labelwise import catalog, testing
from labelwise.engine.local import Local, threads_now, use_threads
from labelwise.errors import DataError, LabelwiseError, ModelError, RunError, RunLocked

ENGINES = [Local(), Local(workers=2)]


def squares(batch):
    return [(x * x, len(batch)) for x in batch]


def make_squares():
    return squares


class Odd(DataError):
    """An error that cannot be unpickled: its class wants more than a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def fails(kind, batch):
    if 5 in batch:
        raise Odd("x", "five is odd") if kind is Odd else kind("five is odd")
    return list(batch)


def make_fails(kind):
    return functools.partial(fails, kind)


def cannot_be_made():
    raise ModelError("no weights")


def dies(batch):
    if 3 in batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return list(batch)


def make_dies():
    return dies


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_it_keeps_the_rules_of_the_seam(workers):
    testing.check_engine(lambda: Local(workers))


def test_work_may_stream_its_rows():
    seen = []

    def rows(batch):
        for x in batch:
            seen.append(x)
            yield x

    first = next(Local().map_batches(lambda: rows, list(range(4)), batch_size=4))
    assert (first, seen) == (0, [0])


@pytest.mark.parametrize("engine", ENGINES, ids=["here", "pool"])
def test_rows_come_in_the_order_of_the_items_in_batches(engine):
    rows = list(engine.map_batches(make_squares, list(range(11)), batch_size=3))
    assert rows == [(x * x, 2 if x > 8 else 3) for x in range(11)]


@pytest.mark.parametrize("engine", ENGINES, ids=["here", "pool"])
def test_nothing_to_do(engine):
    assert list(engine.map_batches(make_squares, [], batch_size=3)) == []


@pytest.mark.parametrize(("workers", "kind"), [(0, ModelError), (1, RunLocked), (1, ValueError)])
def test_an_error_of_a_batch_arrives_as_it_is_after_the_rows_before_it(workers, kind):
    rows = Local(workers).map_batches(functools.partial(make_fails, kind), list(range(8)), batch_size=2)
    assert [next(rows) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(kind, match=r"^five is odd$"):
        next(rows)


def test_an_error_that_cannot_travel_arrives_as_its_nearest_kind():
    with pytest.raises(DataError, match=r"^five is odd$") as error:
        list(Local(1).map_batches(functools.partial(make_fails, Odd), [5], batch_size=2))
    assert isinstance(error.value, LabelwiseError)


@pytest.mark.parametrize("engine", [Local(), Local(workers=1)], ids=["here", "pool"])
def test_an_error_of_making_the_work_arrives_as_it_is(engine):
    with pytest.raises(ModelError, match=r"^no weights$"):
        list(engine.map_batches(cannot_be_made, [1], batch_size=1))


def test_a_worker_that_is_killed_is_one_line():
    with pytest.raises(RunError, match="fewer workers, then run again") as error:
        list(Local(workers=1).map_batches(make_dies, list(range(6)), batch_size=1))
    assert "\n" not in str(error.value)


def test_what_is_made_of_a_plug_ins_file_reaches_the_workers(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "class Make:\n    def __call__(self):\n        return double\ndef double(b):\n    return [2 * x for x in b]\n"
    )
    make = catalog.resolve("model", f"{file}:Make")()
    assert list(Local(workers=1).map_batches(make, [1, 2, 3], batch_size=2)) == [2, 4, 6]


def test_threads_are_set_as_they_were_found():
    import torch

    before = threads_now()
    try:
        for threads in ((1, 2), (3, 1)):
            use_threads(threads)
            assert threads_now() == threads
            assert torch.get_num_threads() == threads[0]
    finally:
        use_threads(before)


def test_a_job_is_run():
    assert Local().run(lambda: 3) == 3


PARENT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import slow_work_for_engine_test as work
from labelwise.engine.local import Local
if __name__ == "__main__":
    list(Local(workers=1).map_batches(work.make, [sys.argv[1]], batch_size=1))
"""

WORK = """
import os, time
from pathlib import Path
def make():
    return slow
def slow(batch):
    Path(batch[0]).write_text(str(os.getpid()))
    time.sleep(60)
"""


def test_workers_end_with_their_parent(tmp_path):
    (tmp_path / "slow_work_for_engine_test.py").write_text(WORK)
    (tmp_path / "parent.py").write_text(PARENT)
    told = tmp_path / "worker"
    process = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(told), str(tmp_path)])
    _wait(lambda: told.exists() and told.read_text())
    worker = int(told.read_text())
    process.kill()
    process.wait()
    _wait(lambda: not _alive(worker))


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)
