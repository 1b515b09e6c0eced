"""The store's file: transactions that hold through kill -9, threads, readers, unusable files, full disks."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from labelwise.errors import RunError
from labelwise.ownership import owned
from labelwise.records import Sample
from labelwise.store import Store
from processes import as_nobody, child, end, open_folder


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


def test_a_reader_sees_the_run_while_another_process_writes(tmp_path):
    with Store(tmp_path / "run.db") as store:
        store.add_classes(["a"])
        with store.transaction(), Store(tmp_path / "run.db", read_only=True) as reader:
            store.add_classes(["b"])
            assert reader.classes() == ("a",)


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


def test_read_only_folders_and_files():
    with open_folder() as folder:
        file = folder / "run.db"
        with Store(file) as store:
            store.add_classes(["a"])
        file.chmod(0o444)
        folder.chmod(0o555)
        said, read = as_nobody(WRITE, file), as_nobody(READ, file)
    assert "cannot be written" in said
    assert "out=FOLDER" in said
    assert "\n" not in said
    assert read == "a"


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(tmp_path):
    with Store(tmp_path / "run.db") as store:
        store.add_classes(["a"])
        pages = store._db.rows("PRAGMA page_count")[0][0]
        store._db.rows(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(RunError, match="no room left on the disk") as error, store.transaction():
            store.add_samples([(Sample(f"{i}", Path("x" * 100)), "pool") for i in range(1000)])
        assert "\n" not in str(error.value)
        assert store.samples() == []
        store._db.rows("PRAGMA max_page_count = 100000")
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
