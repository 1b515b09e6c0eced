"""The only SQL: a run's state in one SQLite file.

A step's rows and the record that it is done commit in one transaction, so that a process killed at any moment leaves a
run that continues with the next step. Numbers and arrays are stored as JSON text, exactly (many points as packed
int32); nothing is pickled.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.errors import RunError
from labelwise.records import Annotation, Problem, Query, Sample, Target
from labelwise.store.coding import array_of, array_text, as_text, target_of, target_text
from labelwise.store.people import People

SETUP = -1  # the round number of the steps that come before round 0
BEGINNING = "a run in its first moment: look again, or run its configuration if nothing is at work there"
STEPS = ("query", "annotate", "train", "evaluate")  # of a round, in their order


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: its round, name, duration in seconds and what it noted down."""

    round: int
    name: str
    seconds: float
    note: Mapping[str, Any]


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


class Store:
    """A run's state. Opening an older file brings its schema up to date; a newer one is refused.

    Raises RunError, with what to do, when the file cannot be read or written (no room, read-only, not a run).
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._thread = threading.RLock()
        self._samples: dict[str | None, list[Sample]] = {}
        self.people = People(self)
        if read_only and not path.is_file():
            raise RunError(f"no run in {path.parent}: expected {path.name} there; 'labelwise run CONFIG' begins one")
        with self._explained():
            self._db = _connect(path, "mode=ro") if read_only else _connect(path)
            try:
                if read_only and not _readable(self._db):
                    self._db.close()
                    self._db = _connect(path, "immutable=1")
                if not read_only:
                    self._db.execute("PRAGMA journal_mode = WAL")
                    self._db.execute("PRAGMA synchronous = FULL")
                    self._db.execute("PRAGMA foreign_keys = ON")
                self._migrate(read_only)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Write a whole copy of the file as it stands to ``path``."""
        with self._thread, self._explained():
            self._db.execute("VACUUM INTO ?", (str(path),))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _migrate(self, read_only: bool) -> None:
        version = self._version()
        if version > len(MIGRATIONS):
            raise RunError(
                f"{self.path} was written by a newer labelwise (schema {version}, this one knows "
                f"{len(MIGRATIONS)}): pip install -U labelwise"
            )
        if version == 0 and read_only:
            raise RunError(f"{self.path}: {BEGINNING}")
        if version < len(MIGRATIONS) and read_only:
            raise RunError(
                f"{self.path} has an older schema: continue it once with 'labelwise run' to bring it up to date"
            )
        if version == len(MIGRATIONS):
            return
        with self.transaction():
            version = self._version()  # another process may have been quicker
            for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
                # sqlite3's executescript would commit by itself: statements one by one stay inside the transaction.
                for statement in script.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number}")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if "full" in text:
                what = "no room left on the disk: free some, then run again to resume"
            elif "readonly" in text or "unable to open" in text:
                what = (
                    "the folder cannot be written: change its permissions or choose another with out=FOLDER, "
                    "then run again to resume"
                )
            elif "not a database" in text or "malformed" in text:
                what = (
                    "the file is not a run of labelwise, or is damaged: restore it from a copy, "
                    "or begin anew under another name"
                )
            else:
                what = "if the disk is full make room; then run again to resume"
            raise RunError(f"{self.path}: {text}; {what}") from error

    def changes(self) -> str:
        """A text that is another one after each change of the file, whoever made it; cheap."""
        return f"{self._rows('PRAGMA data_version')[0][0]}.{self._db.total_changes}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all."""
        with self._thread, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._thread, self._explained():
            return self._db.execute(sql, values).fetchall()

    # --- settings, classes, steps -----------------------------------------------------------------

    def setting(self, key: str, default: str = "") -> str:
        """A text kept under ``key``."""
        found = self._rows("SELECT value FROM settings WHERE key = ?", key)
        return str(found[0][0]) if found else default

    def set_setting(self, key: str, value: str) -> None:
        """Keep a text under ``key``."""
        sql = "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self._many(sql, [(key, value)])

    def classes(self) -> tuple[str, ...]:
        """The run's classes, in the order of the class axis; a class never leaves or moves."""
        return tuple(r[0] for r in self._rows("SELECT name FROM classes ORDER BY position"))

    def add_classes(self, names: Iterable[str]) -> None:
        """Append the classes that are new."""
        known = self.classes()
        new = [n for n in dict.fromkeys(names) if n not in known]
        self._many("INSERT INTO classes VALUES (?, ?)", ((len(known) + i, n) for i, n in enumerate(new)))

    def steps(self) -> list[Step]:
        """All finished steps in the order they finished."""
        rows = self._rows("SELECT round, name, seconds, note FROM steps ORDER BY rowid")
        return [Step(r, n, s, json.loads(note)) for r, n, s, note in rows]

    def is_done(self, round: int, name: str) -> bool:
        """Whether a step has finished."""
        return bool(self._rows("SELECT 1 FROM steps WHERE round = ? AND name = ?", round, name))

    def finish_step(self, round: int, name: str, seconds: float, note: Mapping[str, Any] | None = None) -> None:
        """Record a step as done; call it inside the transaction that writes the step's rows."""
        self._many(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?)", [(round, name, seconds, time.time(), as_text(note or {}))]
        )

    # --- samples ----------------------------------------------------------------------------------

    def add_samples(self, samples: Iterable[tuple[Sample, str]]) -> None:
        """Add samples, each with its split: "pool", "test" or "audit"."""
        rows = (
            (
                s.id,
                str(s.path),
                s.group,
                s.content,
                *s.size,
                s.note,
                split,
                target_text(s.target),
                as_text(dict(s.meta)) if s.meta else None,
                as_text(s.crop) if s.crop else None,
            )
            for s, split in samples
        )
        self._samples.clear()
        self._many("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def samples(self, split: str | None = None) -> list[Sample]:
        """The samples of one split, or all, in the order of their ids."""
        if split in self._samples:
            return list(self._samples[split])
        sql = "SELECT id, path, grp, target, content, width, height, note, meta, crop FROM samples"
        rows = self._rows(f"{sql} WHERE ? IN ('', split) ORDER BY id", split or "")
        found = [
            Sample(
                i,
                Path(p),
                g,
                target_of(t),
                c,
                (w, h),
                n,
                meta=json.loads(meta) if meta else {},
                crop=tuple(json.loads(crop)) if crop else None,
            )
            for i, p, g, t, c, w, h, n, meta, crop in rows
        ]
        # Samples never change once they are in, and building them costs more than reading them. They are not in before
        # their transaction has ended, and a reader may be here before the run has taken them in.
        if found and not self._db.in_transaction:
            self._samples[split] = found
        return list(found)

    def splits(self) -> dict[str, str]:
        """The split of every sample by its id."""
        return dict(self._rows("SELECT id, split FROM samples"))

    def split_sizes(self) -> dict[str, int]:
        """Number of samples by split."""
        return dict(self._rows("SELECT split, count(*) FROM samples GROUP BY split"))

    def has_crops(self) -> bool:
        """True if there are samples that are parts of pictures."""
        return bool(self._rows("SELECT 1 FROM samples WHERE crop IS NOT NULL LIMIT 1"))

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Add verdicts on files that were left out or handled in a special way."""
        self._many(
            "INSERT INTO problems (id, code, message) VALUES (?, ?, ?)", ((p.id, p.code, p.message) for p in problems)
        )

    def problems(self) -> list[Problem]:
        """All verdicts, in the order they were found."""
        return [Problem(*r) for r in self._rows("SELECT id, code, message FROM problems ORDER BY position")]

    # --- queries and annotations ------------------------------------------------------------------

    def add_queries(self, queries: Iterable[Query]) -> None:
        """Add queries; their ids are new."""
        rows = (
            (
                q.id,
                q.round,
                q.rank,
                q.sample_id,
                q.unit,
                array_text(q.geometry),
                q.cost,
                target_text(q.proposal),
                as_text(q.reason),
                q.purpose,
            )
            for q in queries
        )
        self._many("INSERT INTO queries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def withdraw(self, ids: Iterable[str]) -> None:
        """Remove queries that nobody has answered."""
        self._many("DELETE FROM queries WHERE id = ? AND id NOT IN (SELECT query FROM answers)", ((i,) for i in ids))

    def queries(
        self, round: int | None = None, *, open_only: bool = False, ids: Sequence[str] | None = None
    ) -> list[Query]:
        """Queries in the order of round and rank; of one round, only those without an annotation, or only these."""
        where = [] if round is None else [f"round = {int(round)}"]
        where += ["id NOT IN (SELECT query FROM annotations)"] if open_only else []
        where += [] if ids is None else ["id IN (SELECT value FROM json_each(?))"]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self._rows(
            f"SELECT id, round, rank, sample, unit, geometry, cost, proposal, reason, purpose FROM "
            f"queries{condition} ORDER BY round, rank",
            *([] if ids is None else [as_text(list(ids))]),
        )
        return [
            Query(i, r, k, s, u, array_of(g), c, target_of(p), json.loads(why), aim)
            for i, r, k, s, u, g, c, p, why, aim in rows
        ]

    def open_ids(self) -> list[str]:
        """Ids of the queries without an annotation, in the order of round and rank."""
        sql = "SELECT id FROM queries WHERE id NOT IN (SELECT query FROM annotations) ORDER BY round, rank"
        return [id for (id,) in self._rows(sql)]

    def add_annotations(self, annotations: Iterable[Annotation]) -> None:
        """Add answers; one that came twice counts once, the first stays."""
        rows = ((a.query_id, target_text(a.target), a.annotator, a.seconds, time.time(), a.amount) for a in annotations)
        self._many("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (query) DO NOTHING", rows)

    def annotations(self) -> dict[str, Annotation]:
        """All answers by query id."""
        rows = self._rows("SELECT query, target, annotator, seconds, amount FROM annotations")
        return {q: Annotation(q, target_of(t), who, s, amount) for q, t, who, s, amount in rows}

    def answered_at(self) -> dict[str, float]:
        """When each query was answered, in seconds since 1970, by query id."""
        return dict(self._rows("SELECT query, at FROM annotations"))

    def asked(self) -> set[str]:
        """Ids of all samples that were ever asked."""
        return {row[0] for row in self._rows("SELECT sample FROM queries")}

    def answered(self, purpose: str = "train") -> list[tuple[str, Target]]:
        """Sample ids and targets of the answers of a purpose, in the order they were asked; skipped ones left out."""
        rows = self._rows(
            "SELECT q.sample, a.target FROM queries q JOIN annotations a ON a.query = q.id "
            "WHERE q.purpose = ? AND a.target IS NOT NULL ORDER BY q.round, q.rank",
            purpose,
        )
        return [(sample, target) for sample, text in rows if (target := target_of(text)) is not None]

    def spent(self) -> float:
        """The cost of all queries that were not skipped, in the budget's unit."""
        sql = (
            "SELECT sum(coalesce(a.amount, q.cost)) FROM queries q LEFT JOIN annotations a ON a.query = q.id "
            "WHERE a.query IS NULL OR a.target IS NOT NULL"
        )
        return float(self._rows(sql)[0][0] or 0)

    # --- tags -------------------------------------------------------------------------------------

    def tags(self) -> dict[str, list[str]]:
        """The ids of the samples that carry each tag, both in the order of their names."""
        found: dict[str, list[str]] = {}
        for tag, sample in self._rows("SELECT tag, sample FROM tags ORDER BY tag, sample"):
            found.setdefault(tag, []).append(sample)
        return found

    def tag(self, tag: str, samples: Iterable[str]) -> None:
        """Give samples a tag; those that have it keep it. Raises RunError for an id that is none of the run's."""
        self._many("INSERT INTO tags VALUES (?, ?) ON CONFLICT DO NOTHING", ((tag, id) for id in samples))

    def untag(self, tag: str, samples: Iterable[str] | None = None) -> None:
        """Take a tag from these samples, or from all."""
        if samples is None:
            self._many("DELETE FROM tags WHERE tag = ?", [(tag,)])
        else:
            self._many("DELETE FROM tags WHERE tag = ? AND sample = ?", ((tag, id) for id in samples))

    # --- evaluations ------------------------------------------------------------------------------

    def add_evaluation(self, round: int, split: str, scores: Mapping[str, Any]) -> None:
        """Keep the figures of a round on one split ("test" or "audit")."""
        self._many("INSERT INTO evaluations VALUES (?, ?, ?)", [(round, split, as_text(scores))])

    def evaluations(self, split: str) -> dict[int, dict[str, Any]]:
        """The figures on one split by round."""
        rows = self._rows("SELECT round, scores FROM evaluations WHERE split = ? ORDER BY round", split)
        return {r: json.loads(s) for r, s in rows}

    @contextmanager
    def _together(self) -> Iterator[None]:
        """The open transaction, or one of its own."""
        with self._thread:
            if self._db.in_transaction:
                yield
            else:
                with self.transaction():
                    yield

    def _many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        # Rows of one call belong together even where nobody opened a transaction.
        with self._together(), self._explained():
            self._db.executemany(sql, rows)


def _connect(path: Path, how: str = "") -> sqlite3.Connection:
    target = f"{path.resolve().as_uri()}?{how}" if how else str(path)
    return sqlite3.connect(target, uri=bool(how), isolation_level=None, check_same_thread=False, timeout=30)


def _readable(db: sqlite3.Connection) -> bool:
    """Whether a file opened read-only can be read: in a folder without write permission SQLite cannot share it."""
    try:
        db.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        # Without the shared memory beside it nobody can be writing there: it may be read as it lies.
        return "unable to open" not in str(error) and "readonly" not in str(error)
    return True
