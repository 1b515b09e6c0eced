"""Ownership of a run's folder: one process at a time, until it ends or is killed; folders that cannot be written."""

from __future__ import annotations

import os

import pytest

from labelwise.errors import RunLocked
from labelwise.ownership import owned
from processes import as_nobody, child, end, open_folder

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


OWN = """
try:
    owned(Path(sys.argv[1])).__enter__()
except RunError as error:
    print(error)
"""


def test_a_folder_that_cannot_be_written():
    with open_folder() as folder:
        folder.chmod(0o555)
        said = as_nobody(OWN, folder)
    assert "cannot write in" in said
    assert "out=FOLDER" in said
    assert "\n" not in said
