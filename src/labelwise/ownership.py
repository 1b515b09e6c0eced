"""Who may work in a run's folder: one process at a time; writing whole files; and what is said when that fails."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from labelwise.errors import RunError, RunLocked

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a run's folder, so that no second process works on it; released when the process ends, however it ends.

    Raises RunLocked naming the process that owns it, RunError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        owner = _read_owner(folder)
        raise RunLocked(f"{folder} is in use by process {owner}: wait for it or stop it, or use another name") from None
    except OSError as error:
        raise RunError(
            f"cannot write in {folder}: {error.strerror}; change its permissions or choose another folder with "
            "out=FOLDER"
        ) from error
    try:
        with open_explained(folder):
            (folder / ".owner").write_text(str(os.getpid()))
        yield
    finally:
        # A number left behind would be taken for the next owner's.
        with suppress(OSError):
            (folder / ".owner").unlink()
        lock.release()


def owner(folder: Path) -> int | None:
    """The process that works on a run now, as far as can be told; None if there is none on this machine."""
    try:
        pid = int((folder / ".owner").read_text().strip())
    except (OSError, ValueError):
        return None
    if os.name == "nt":  # there a signal cannot merely ask
        return pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:  # killed: it had no time to take its number away
        return None
    except (OSError, OverflowError):
        pass
    return pid


def _read_owner(folder: Path) -> str:
    # The owner writes its number just after it took the lock: give it a moment.
    for _ in range(20):
        try:
            text = (folder / ".owner").read_text().strip()
        except OSError:
            text = ""
        if text:
            return text
        time.sleep(0.05)
    return "(unknown)"


@contextmanager
def open_explained(folder: Path) -> Iterator[None]:
    """Turn a failed write below ``folder`` into one line for the user; the run stays resumable."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise RunError(
            f"cannot write in {folder}: {error.strerror or error}; make room or change its permissions, then run "
            "again to resume"
        ) from error


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f"{path.name}.partial")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(path)
    except BaseException:  # a full disk, or Ctrl-C: no half of it stays behind
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
