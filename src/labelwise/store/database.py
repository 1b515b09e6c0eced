"""One SQLite file as the store uses it: opened, shared by threads, written in transactions, its failures explained."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelwise.errors import RunError


class Database:
    """A run's file and the statements that are made to it; what they mean is said elsewhere.

    Raises RunError, with what to do, when the file cannot be read or written (no room, read-only, not a run).
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self._thread = threading.RLock()
        if read_only and not path.is_file():
            raise RunError(f"no run in {path.parent}: expected {path.name} there; 'labelwise run CONFIG' begins one")
        with self._explained():
            self._connection = _connect(path, "mode=ro") if read_only else _connect(path)
            try:
                if not read_only:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    self._connection.execute("PRAGMA synchronous = FULL")
                    self._connection.execute("PRAGMA foreign_keys = ON")
                elif not _readable(self._connection):
                    self._connection.close()
                    self._connection = _connect(path, "immutable=1")
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def copy_to(self, path: Path) -> None:
        """Write a whole copy of the file as it stands to ``path``."""
        self.rows("VACUUM INTO ?", str(path))

    def changes(self) -> str:
        """A text that is another one after each change of the file, whoever made it; cheap."""
        return f"{self.rows('PRAGMA data_version')[0][0]}.{self._connection.total_changes}"

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all."""
        with self._thread, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """The open transaction, or one of its own."""
        with self._thread:
            if self.in_transaction:
                yield
            else:
                with self.transaction():
                    yield

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with self._thread, self._explained():
            return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement with the values of each row; all or none, also where nobody opened a transaction."""
        with self.together(), self._explained():
            self._connection.executemany(sql, rows)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: {error}; {_remedy(str(error))}") from error


def _remedy(text: str) -> str:
    """What to do about SQLite's complaint."""
    if "full" in text:
        return "no room left on the disk: free some, then run again to resume"
    if "readonly" in text or "unable to open" in text:
        return (
            "the folder cannot be written: change its permissions or choose another with out=FOLDER, "
            "then run again to resume"
        )
    if "not a database" in text or "malformed" in text:
        return (
            "the file is not a run of labelwise, or is damaged: restore it from a copy, "
            "or begin anew under another name"
        )
    return "if the disk is full make room; then run again to resume"


def _connect(path: Path, how: str = "") -> sqlite3.Connection:
    target = f"{path.resolve().as_uri()}?{how}" if how else str(path)
    return sqlite3.connect(target, uri=bool(how), isolation_level=None, check_same_thread=False, timeout=30)


def _readable(connection: sqlite3.Connection) -> bool:
    """Whether a file opened read-only can be read: in a folder without write permission SQLite cannot share it."""
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        # Without the shared memory beside it nobody can be writing there: it may be read as it lies.
        return "unable to open" not in str(error) and "readonly" not in str(error)
    return True
