"""The store: every noun there and back, transactions that hold through kill -9, ownership, unusable files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from labelwise import store as stores
from labelwise.errors import RunError, RunLocked
from labelwise.ownership import owned
from labelwise.records import Annotation, Problem, Query, Sample, Target
from labelwise.store import SETUP, Store

NAME = "månen/夜 '\";--.png"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as opened:
        yield opened


def add_query(store, id="q", sample="a.png", **more):
    if sample not in {s.id for s in store.samples()}:
        store.add_samples([(Sample(sample, Path(sample)), "pool")])
    store.add_queries([Query(id, 0, 0, sample, **more)])


def same_target(one, two):
    assert one.classes == two.classes
    if two.geometry is None:
        assert one.geometry is None
    else:
        assert one.geometry.shape == two.geometry.shape
        assert np.array_equal(one.geometry, two.geometry)


TARGETS = [
    Target(("katt 🐈",)),
    Target(("a", "b"), np.array([[0.1, 1 / 3, 2, 3], [4, 5, 6, 7e-30]])),
    Target(("a",), np.array([[1, 2]])),
    Target((), np.zeros((0, 4))),
    Target((), np.zeros((0, 2))),
]


def test_samples_there_and_back(store, tmp_path):
    samples = [
        Sample(NAME, tmp_path / NAME, "camera 1", TARGETS[0], "ab" * 16, (640, 480), "rotated"),
        Sample("b.png", Path("b.png"), meta={"location": "Höhle 3", "taken": "2026-05-01T06:00:00", "iso": 200.5}),
        Sample("c.png#1", Path("c.png"), crop=(0.1, 1 / 3, 0.5, 1.0)),
        *(Sample(f"c{i}", Path("c"), target=t) for i, t in enumerate(TARGETS)),
    ]
    store.add_samples([(s, "test" if s.id == NAME else "pool") for s in samples])
    found = {s.id: s for s in store.samples()}
    assert list(found) == sorted(found)
    assert store.samples("test") == samples[:1]
    assert found["b.png"] == samples[1]
    for i, target in enumerate(TARGETS):
        same_target(found[f"c{i}"].target, target)
    assert found["c.png#1"] == samples[2]
    assert store.split_sizes() == {"pool": 7, "test": 1}


GEOMETRY = [
    np.array([[1, 2], [3, 4]], dtype=np.int32),
    np.array([[0.5, 1, 2, 3]], dtype=np.float32),
    np.arange(3),
    np.zeros((0, 2), np.int16),
]


@pytest.mark.parametrize("geometry", [None, *GEOMETRY])
@pytest.mark.parametrize("proposal", [None, TARGETS[1]])
def test_queries_there_and_back(store, geometry, proposal):
    reason = {"score": np.float32(0.5), "nearest": NAME, "rank": np.int64(3), "row": np.arange(2)}
    unit = "image" if geometry is None else "pixel"
    add_query(
        store, "q", NAME, unit=unit, geometry=geometry, cost=2.5, proposal=proposal, reason=reason, purpose="audit"
    )
    (found,) = store.queries()
    assert (found.id, found.sample_id, found.unit, found.cost, found.purpose) == ("q", NAME, unit, 2.5, "audit")
    assert found.reason == {"score": 0.5, "nearest": NAME, "rank": 3, "row": [0, 1]}
    if geometry is None:
        assert found.geometry is None
    else:
        assert found.geometry.dtype == geometry.dtype
        assert found.geometry.shape == geometry.shape
        assert np.array_equal(found.geometry, geometry)
    if proposal is None:
        assert found.proposal is None
    else:
        same_target(found.proposal, proposal)


def test_samples_are_remembered_only_once_they_are_in(store, tmp_path):
    with Store(tmp_path / "run.db", read_only=True) as reader:
        assert reader.samples() == []
        with pytest.raises(ZeroDivisionError):
            _add_look_and_fail(store)
        assert store.samples() == store.samples("pool") == []
        store.add_samples([(Sample("b", Path("b")), "pool")])
        assert [s.id for s in store.samples()] == [s.id for s in reader.samples()] == ["b"]
        store.samples().clear()
        assert len(store.samples()) == 1
        store.add_samples([(Sample("c", Path("c")), "test")])
        assert [s.id for s in store.samples()] == ["b", "c"]


def _add_look_and_fail(store):
    with store.transaction():
        store.add_samples([(Sample("a", Path("a")), "pool")])
        assert len(store.samples()) == len(store.samples("pool")) == 1
        raise ZeroDivisionError


def test_queries_come_by_round_and_rank_and_open_ones_alone(store):
    store.add_samples([(Sample(f"{i}", Path("x")), "pool") for i in range(4)])
    store.add_queries([Query(f"q{i}", i % 2, 9 - i, f"{i}") for i in range(4)])
    assert [q.id for q in store.queries()] == ["q2", "q0", "q3", "q1"]
    store.add_annotations([Annotation("q0", None)])
    assert [q.id for q in store.queries(0, open_only=True)] == ["q2"]
    assert [q.id for q in store.queries(1)] == ["q3", "q1"]
    assert store.queries(7) == []


def test_the_first_answer_counts(store):
    add_query(store)
    store.add_annotations([Annotation("q", TARGETS[0], "me", 1.5)])
    store.add_annotations([Annotation("q", None, "other"), Annotation("q", TARGETS[2])])
    assert store.annotations() == {"q": Annotation("q", TARGETS[0], "me", 1.5)}


@pytest.mark.parametrize("target", TARGETS)
def test_answers_there_and_back(store, target):
    add_query(store)
    store.add_annotations([Annotation("q", target)])
    same_target(store.annotations()["q"].target, target)


def test_a_skipped_answer_stays_skipped(store):
    add_query(store)
    store.add_annotations([Annotation("q", None)])
    assert store.annotations()["q"].skipped


def test_what_refers_to_nothing_is_refused(store):
    with pytest.raises(RunError, match="FOREIGN KEY"):
        store.add_annotations([Annotation("none", None)])
    with pytest.raises(RunError, match="FOREIGN KEY"):
        store.add_queries([Query("q", 0, 0, "none")])
    assert store.annotations() == {}


def test_classes_never_move(store):
    store.add_classes(["b", "ä"])
    store.add_classes(["c", "b", "c", "a"])
    assert store.classes() == ("b", "ä", "c", "a")


def test_steps_settings_problems_and_figures(store):
    store.set_setting("k", "1")
    store.set_setting("k", "2\n✓")
    assert (store.setting("k"), store.setting("none"), store.setting("none", "x")) == ("2\n✓", "", "x")
    store.finish_step(SETUP, "read", 1.0)
    store.finish_step(0, "query", 0.5, {"asked": np.int64(3)})
    assert [(s.round, s.name, s.note) for s in store.steps()] == [(SETUP, "read", {}), (0, "query", {"asked": 3})]
    assert store.is_done(0, "query")
    assert not store.is_done(1, "query")
    with pytest.raises(RunError, match="UNIQUE"):
        store.finish_step(0, "query", 0.5)
    problems = [Problem("b", "broken", "é"), Problem("a", "empty", "")]
    store.add_problems(problems)
    assert store.problems() == problems
    store.add_evaluation(3, "test", {"accuracy": 0.1 + 0.2, "ece": float("nan"), "recall": {"ä": None}})
    figures = store.evaluations("test")[3]
    assert figures["accuracy"] == 0.1 + 0.2
    assert np.isnan(figures["ece"])
    assert store.evaluations("audit") == {}


def _write_then_raise(store, error):
    with store.transaction():
        store.add_classes(["a"])
        store.set_setting("k", "v")
        store.finish_step(0, "x", 1)
        if error is RunError:
            store.finish_step(0, "x", 1)
        raise error


def test_an_exception_inside_a_transaction_undoes_it(store):
    store.add_classes(["before"])
    for error in (ZeroDivisionError, KeyboardInterrupt, RunError):
        with pytest.raises(error):
            _write_then_raise(store, error)
    assert store.classes() == ("before",)
    assert store.setting("k") == ""
    store.add_classes(["after"])
    assert store.classes() == ("before", "after")


def test_rows_of_one_call_are_written_together_without_a_transaction(store):
    with pytest.raises(RunError):
        store.add_samples([(Sample("a", Path("a")), "pool"), (Sample("a", Path("a")), "pool")])
    assert store.samples() == []


def test_threads_share_a_store(store):
    def work(number):
        for i in range(20):
            with store.transaction():
                store.set_setting(f"{number}", f"{i}")
                store.finish_step(number, f"{i}", 0)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(store.steps()) == 80


# --- processes -----------------------------------------------------------------------------------


def child(code, *args, **more):
    """A process that says "ready" and then waits for the end."""
    script = "import sys, time\nfrom pathlib import Path\n" + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True, **more
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_kill_9_in_a_transaction_loses_nothing_committed_and_keeps_nothing_else(tmp_path):
    code = """
    from labelwise.records import Sample
    from labelwise.store import Store
    store = Store(Path(sys.argv[1]))
    store.add_classes(["committed"])
    with store.transaction():
        store.add_samples([(Sample(f"{i}", Path("x")), "pool") for i in range(20000)])
        store.finish_step(0, "query", 1)
        print("ready", flush=True)
        time.sleep(60)
    """
    end(child(code, tmp_path / "run.db"))
    with Store(tmp_path / "run.db") as store:
        assert store.classes() == ("committed",)
        assert store.samples() == []
        assert not store.is_done(0, "query")
        store.finish_step(0, "query", 1)


OWNER = """
from labelwise.ownership import owned
with owned(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_with_the_owners_number_until_that_is_killed(tmp_path):
    process = child(OWNER, tmp_path / "run")
    with pytest.raises(RunLocked, match=f"process {process.pid}") as error, owned(tmp_path / "run"):
        pass
    assert "\n" not in str(error.value)
    end(process)
    with owned(tmp_path / "run"):
        assert (tmp_path / "run" / ".owner").read_text() == str(os.getpid())
        with pytest.raises(RunLocked, match=f"process {os.getpid()}"), owned(tmp_path / "run"):
            pass
    with owned(tmp_path / "run"):
        pass


def test_ownership_ends_with_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path):
        raise ZeroDivisionError
    with owned(tmp_path):
        pass


def test_a_reader_sees_the_run_while_another_process_writes(tmp_path):
    with Store(tmp_path / "run.db") as store:
        store.add_classes(["a"])
        with store.transaction(), Store(tmp_path / "run.db", read_only=True) as reader:
            store.add_classes(["b"])
            assert reader.classes() == ("a",)


# --- files that cannot be used -------------------------------------------------------------------


def as_nobody(code, *args):
    """What a process without root's rights prints."""
    drop = "import os\nif os.getuid() == 0:\n    os.setgroups([])\n    os.setgid(65534)\n    os.setuid(65534)\n"
    names = "import sys\nfrom pathlib import Path\nfrom labelwise.errors import RunError\n"
    names += "from labelwise.ownership import owned\nfrom labelwise.store import Store\n"
    script = names + drop + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WRITE = """
try:
    with Store(Path(sys.argv[1])) as store:
        store.add_classes(["new"])
    print("written")
except RunError as error:
    print(error)
"""

READ = """
try:
    with Store(Path(sys.argv[1]), read_only=True) as store:
        print(*store.classes())
except RunError as error:
    print(error)
"""


OWN = """
try:
    owned(Path(sys.argv[1])).__enter__()
except RunError as error:
    print(error)
"""


@pytest.fixture
def open_folder():
    """A folder that a process without rights can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_read_only_folders_and_files(open_folder):
    file = open_folder / "run.db"
    with Store(file) as store:
        store.add_classes(["a"])
    file.chmod(0o444)
    open_folder.chmod(0o555)
    said = as_nobody(WRITE, file)
    assert "cannot be written" in said
    assert "out=FOLDER" in said
    assert "\n" not in said
    assert as_nobody(READ, file) == "a"
    said = as_nobody(OWN, open_folder)
    assert "cannot write in" in said
    assert "out=FOLDER" in said


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(tmp_path):
    with Store(tmp_path / "run.db") as store:
        store.add_classes(["a"])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(RunError, match="no room left on the disk") as error, store.transaction():
            store.add_samples([(Sample(f"{i}", Path("x" * 100)), "pool") for i in range(1000)])
        assert "\n" not in str(error.value)
        assert store.samples() == []
        store._db.execute("PRAGMA max_page_count = 100000")
        store.add_samples([(Sample(f"{i}", Path("x" * 100)), "pool") for i in range(1000)])
        assert len(store.samples()) == 1000
        assert store.classes() == ("a",)


def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with Store(disk / "run.db") as store:
            store.add_classes(["a"])
            with pytest.raises(RunError, match=r"no room left on the disk|disk I/O error"), store.transaction():
                store.add_samples([(Sample(f"{i}", Path("x" * 100)), "pool") for i in range(20000)])
            assert store.classes() == ("a",)
            assert store.samples() == []
            store.add_classes(["b"])
        (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
        with pytest.raises(RunError), owned(disk / "folder"):
            pass
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_files_that_are_no_run(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, however long it is. " * 100)
    with Store(tmp_path / "whole.db") as store:
        store.add_classes(["a"])
    (tmp_path / "cut.db").write_bytes((tmp_path / "whole.db").read_bytes()[:5000])
    (tmp_path / "folder.db").mkdir()
    for name, said in [("text.db", "not a run"), ("cut.db", "damaged"), ("folder.db", "cannot be written")]:
        with pytest.raises(RunError, match=said) as error:
            Store(tmp_path / name).add_classes(["b"])
        assert "\n" not in str(error.value)
        assert name in str(error.value)
    with pytest.raises(RunError, match="cannot be written"):
        Store(tmp_path / "absent" / "run.db")
    with pytest.raises(RunError, match="no run in"):
        Store(tmp_path / "absent.db", read_only=True)


def test_newer_and_older_schemas(tmp_path, monkeypatch):
    file = tmp_path / "run.db"
    with Store(file) as store:
        store.add_classes(["a"])
    more = (*stores.MIGRATIONS, "CREATE TABLE extra (x INTEGER); INSERT INTO extra VALUES (1)")
    with monkeypatch.context() as newer:
        newer.setattr(stores, "MIGRATIONS", more)
        with pytest.raises(RunError, match="older schema"):
            Store(file, read_only=True)
        with Store(file) as store:
            assert store._rows("SELECT x FROM extra") == [(1,)]
            assert store.classes() == ("a",)
    for read_only in (False, True):
        with pytest.raises(RunError, match="newer labelwise"):
            Store(file, read_only=read_only)


def test_a_migration_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "run.db"
    Store(file).close()
    with monkeypatch.context() as newer:
        newer.setattr(stores, "MIGRATIONS", (*stores.MIGRATIONS, "CREATE TABLE extra (x); CREATE TABLE classes (x)"))
        with pytest.raises(RunError, match="already exists"):
            Store(file)
    with Store(file) as store:
        assert store._rows("SELECT name FROM sqlite_master WHERE name = 'extra'") == []


def test_a_copy_is_whole(store, tmp_path):
    store.add_classes(["a"])
    add_query(store, sample=NAME)
    store.copy_to(tmp_path / "copy.db")
    store.add_classes(["b"])
    with Store(tmp_path / "copy.db") as copy:
        assert copy.classes() == ("a",)
        assert [q.sample_id for q in copy.queries()] == [NAME]
        copy.add_classes(["c"])
    with pytest.raises(RunError, match="already exists"):
        store.copy_to(tmp_path / "copy.db")
    assert store.classes() == ("a", "b")


def test_nothing_is_pickled(store, tmp_path):
    add_query(store, geometry=np.zeros((1, 2)), reason={"a": 1})
    with sqlite3.connect(tmp_path / "run.db") as db:
        kinds = {r[0] for r in db.execute("SELECT typeof(geometry) FROM queries")}
    db.close()
    assert kinds == {"text"}
