"""The tables of a run's file, version by version, and how an older file gets the newest ones."""

from __future__ import annotations

from pathlib import Path

from labelwise.errors import RunError
from labelwise.store.database import Database

BEGINNING = "a run in its first moment: look again, or run its configuration if nothing is at work there"

# One script of statements for each version of the schema; a file is brought up to date in one transaction.
MIGRATIONS = (
    """
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE classes (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE samples (id TEXT PRIMARY KEY, path TEXT NOT NULL, grp TEXT, content TEXT NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, note TEXT NOT NULL, split TEXT NOT NULL, target TEXT);
    CREATE TABLE problems (position INTEGER PRIMARY KEY, id TEXT NOT NULL, code TEXT NOT NULL,
        message TEXT NOT NULL);
    CREATE TABLE steps (round INTEGER NOT NULL, name TEXT NOT NULL, seconds REAL NOT NULL, finished REAL NOT NULL,
        note TEXT NOT NULL, PRIMARY KEY (round, name));
    CREATE TABLE queries (id TEXT PRIMARY KEY, round INTEGER NOT NULL, rank INTEGER NOT NULL,
        sample TEXT NOT NULL REFERENCES samples (id), unit TEXT NOT NULL, geometry TEXT, cost REAL NOT NULL,
        proposal TEXT, reason TEXT NOT NULL, purpose TEXT NOT NULL);
    CREATE INDEX queries_by_round ON queries (round, rank);
    CREATE TABLE annotations (query TEXT PRIMARY KEY REFERENCES queries (id), target TEXT, annotator TEXT NOT NULL,
        seconds REAL, at REAL NOT NULL);
    CREATE TABLE evaluations (round INTEGER NOT NULL, split TEXT NOT NULL, scores TEXT NOT NULL,
        PRIMARY KEY (round, split));
    """,
    "ALTER TABLE annotations ADD COLUMN amount REAL",
    "ALTER TABLE samples ADD COLUMN meta TEXT",
    "ALTER TABLE samples ADD COLUMN crop TEXT",
    """
    CREATE TABLE answers (query TEXT NOT NULL REFERENCES queries (id), annotator TEXT NOT NULL, target TEXT,
        seconds REAL, effort TEXT NOT NULL, at REAL NOT NULL, final INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (query, annotator));
    CREATE TABLE leases (query TEXT NOT NULL, annotator TEXT NOT NULL, until REAL NOT NULL,
        PRIMARY KEY (query, annotator));
    CREATE TABLE new_classes (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, annotator TEXT NOT NULL,
        at REAL NOT NULL);
    CREATE TABLE suspects (sample TEXT PRIMARY KEY REFERENCES samples (id), rank INTEGER NOT NULL,
        query TEXT NOT NULL REFERENCES queries (id), round INTEGER NOT NULL, given TEXT NOT NULL,
        suggested TEXT NOT NULL, probability REAL NOT NULL, how TEXT NOT NULL);
    CREATE TABLE checks (position INTEGER PRIMARY KEY, query TEXT NOT NULL REFERENCES queries (id), old TEXT, new TEXT,
        annotator TEXT NOT NULL, seconds REAL, at REAL NOT NULL, round INTEGER);
    CREATE TABLE tags (tag TEXT NOT NULL, sample TEXT NOT NULL REFERENCES samples (id), PRIMARY KEY (tag, sample))
    """,
)


def open_current(path: Path, *, read_only: bool) -> Database:
    """A run's file with its newest tables; an older file gets them. Raises RunError for a file that is none.

    A file of a newer labelwise is refused, and to a reader also an older one.
    """
    db = Database(path, read_only=read_only)
    try:
        _bring_up_to_date(db, read_only)
    except BaseException:
        db.close()
        raise
    return db


def _bring_up_to_date(db: Database, read_only: bool) -> None:
    version = _version(db)
    if version > len(MIGRATIONS):
        raise RunError(
            f"{db.path} was written by a newer labelwise (schema {version}, this one knows "
            f"{len(MIGRATIONS)}): pip install -U labelwise"
        )
    if version == 0 and read_only:
        raise RunError(f"{db.path}: {BEGINNING}")
    if version < len(MIGRATIONS) and read_only:
        raise RunError(f"{db.path} has an older schema: continue it once with 'labelwise run' to bring it up to date")
    if version == len(MIGRATIONS):
        return
    with db.transaction():
        version = _version(db)  # another process may have been quicker
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            # sqlite3's executescript would commit by itself: statements one by one stay inside the transaction.
            for statement in script.split(";"):
                db.rows(statement)
            db.rows(f"PRAGMA user_version = {number}")


def _version(db: Database) -> int:
    return int(db.rows("PRAGMA user_version")[0][0])
