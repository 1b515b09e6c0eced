"""The only SQL: a run's state in one SQLite file.

A step's rows and the record that it is done commit in one transaction, so that a process killed at any moment leaves a
run that continues with the next step. Numbers and arrays are stored as JSON text, exactly (many points as packed
int32); nothing is pickled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.records import Annotation, Problem, Query, Sample, Target
from labelwise.store.coding import array_of, array_text, as_text, target_of, target_text
from labelwise.store.people import People
from labelwise.store.schema import open_current
from labelwise.store.second_looks import SecondLooks

SETUP = -1  # the round number of the steps that come before round 0
STEPS = ("query", "annotate", "train", "evaluate")  # of a round, in their order
_CLOSED = "closed_round"  # the setting that holds the number of the round that people have closed


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: its round, name, duration in seconds and what it noted down."""

    round: int
    name: str
    seconds: float
    note: Mapping[str, Any]


class Store:
    """A run's state. Opening an older file brings its schema up to date; a newer one is refused.

    ``people`` holds what people do, ``second_looks`` the labels that are checked again. Raises RunError, with what to
    do, when the file cannot be read or written (no room, read-only, not a run).
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._db = open_current(path, read_only=read_only)
        self._samples: dict[str | None, list[Sample]] = {}
        self.people = People(self._db)
        self.second_looks = SecondLooks(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def copy_to(self, path: Path) -> None:
        """Write a whole copy of the file as it stands to ``path``."""
        self._db.copy_to(path)

    def changes(self) -> str:
        """A text that is another one after each change of the file, whoever made it; cheap."""
        return self._db.changes()

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside happen together or not at all."""
        return self._db.transaction()

    # --- settings, classes, steps -----------------------------------------------------------------

    def setting(self, key: str, default: str = "") -> str:
        """A text kept under ``key``."""
        found = self._db.rows("SELECT value FROM settings WHERE key = ?", key)
        return str(found[0][0]) if found else default

    def set_setting(self, key: str, value: str) -> None:
        """Keep a text under ``key``."""
        sql = "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self._db.many(sql, [(key, value)])

    def classes(self) -> tuple[str, ...]:
        """The run's classes, in the order of the class axis; a class never leaves or moves."""
        return tuple(r[0] for r in self._db.rows("SELECT name FROM classes ORDER BY position"))

    def add_classes(self, names: Iterable[str]) -> None:
        """Append the classes that are new."""
        known = self.classes()
        new = [n for n in dict.fromkeys(names) if n not in known]
        self._db.many("INSERT INTO classes VALUES (?, ?)", ((len(known) + i, n) for i, n in enumerate(new)))

    def steps(self) -> list[Step]:
        """All finished steps in the order they finished."""
        rows = self._db.rows("SELECT round, name, seconds, note FROM steps ORDER BY rowid")
        return [Step(r, n, s, json.loads(note)) for r, n, s, note in rows]

    def is_done(self, round: int, name: str) -> bool:
        """Whether a step has finished."""
        return bool(self._db.rows("SELECT 1 FROM steps WHERE round = ? AND name = ?", round, name))

    def finish_step(self, round: int, name: str, seconds: float, note: Mapping[str, Any] | None = None) -> None:
        """Record a step as done; call it inside the transaction that writes the step's rows."""
        self._db.many(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?)", [(round, name, seconds, time.time(), as_text(note or {}))]
        )

    def close_round(self, round: int) -> None:
        """Note that a round is to be made of the answers that are there."""
        self.set_setting(_CLOSED, str(round))

    def is_round_closed(self, round: int) -> bool:
        """Whether people have closed this round."""
        return self.setting(_CLOSED) == str(round)

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
        self._db.many("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def samples(self, split: str | None = None) -> list[Sample]:
        """The samples of one split, or all, in the order of their ids."""
        if split in self._samples:
            return list(self._samples[split])
        sql = "SELECT id, path, grp, target, content, width, height, note, meta, crop FROM samples"
        rows = self._db.rows(f"{sql} WHERE ? IN ('', split) ORDER BY id", split or "")
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
        return dict(self._db.rows("SELECT id, split FROM samples"))

    def split_sizes(self) -> dict[str, int]:
        """Number of samples by split."""
        return dict(self._db.rows("SELECT split, count(*) FROM samples GROUP BY split"))

    def has_crops(self) -> bool:
        """True if there are samples that are parts of pictures."""
        return bool(self._db.rows("SELECT 1 FROM samples WHERE crop IS NOT NULL LIMIT 1"))

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Add verdicts on files that were left out or handled in a special way."""
        self._db.many(
            "INSERT INTO problems (id, code, message) VALUES (?, ?, ?)", ((p.id, p.code, p.message) for p in problems)
        )

    def problems(self) -> list[Problem]:
        """All verdicts, in the order they were found."""
        return [Problem(*r) for r in self._db.rows("SELECT id, code, message FROM problems ORDER BY position")]

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
        self._db.many("INSERT INTO queries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def withdraw(self, ids: Iterable[str]) -> None:
        """Remove queries that nobody has answered."""
        self._db.many("DELETE FROM queries WHERE id = ? AND id NOT IN (SELECT query FROM answers)", ((i,) for i in ids))

    def queries(
        self, round: int | None = None, *, open_only: bool = False, ids: Sequence[str] | None = None
    ) -> list[Query]:
        """Queries in the order of round and rank; of one round, only those without an annotation, or only these."""
        where = [] if round is None else [f"round = {int(round)}"]
        where += ["id NOT IN (SELECT query FROM annotations)"] if open_only else []
        where += [] if ids is None else ["id IN (SELECT value FROM json_each(?))"]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self._db.rows(
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
        return [id for (id,) in self._db.rows(sql)]

    def add_annotations(self, annotations: Iterable[Annotation]) -> None:
        """Add answers; one that came twice counts once, the first stays."""
        rows = ((a.query_id, target_text(a.target), a.annotator, a.seconds, time.time(), a.amount) for a in annotations)
        self._db.many("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (query) DO NOTHING", rows)

    def annotations(self) -> dict[str, Annotation]:
        """All answers by query id."""
        rows = self._db.rows("SELECT query, target, annotator, seconds, amount FROM annotations")
        return {q: Annotation(q, target_of(t), who, s, amount) for q, t, who, s, amount in rows}

    def answered_at(self) -> dict[str, float]:
        """When each query was answered, in seconds since 1970, by query id."""
        return dict(self._db.rows("SELECT query, at FROM annotations"))

    def asked(self) -> set[str]:
        """Ids of all samples that were ever asked."""
        return {row[0] for row in self._db.rows("SELECT sample FROM queries")}

    def answered(self, purpose: str = "train") -> list[tuple[str, Target]]:
        """Sample ids and targets of the answers of a purpose, in the order they were asked; skipped ones left out."""
        rows = self._db.rows(
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
        return float(self._db.rows(sql)[0][0] or 0)

    # --- tags -------------------------------------------------------------------------------------

    def tags(self) -> dict[str, list[str]]:
        """The ids of the samples that carry each tag, both in the order of their names."""
        found: dict[str, list[str]] = {}
        for tag, sample in self._db.rows("SELECT tag, sample FROM tags ORDER BY tag, sample"):
            found.setdefault(tag, []).append(sample)
        return found

    def tag(self, tag: str, samples: Iterable[str]) -> None:
        """Give samples a tag; those that have it keep it. Raises RunError for an id that is none of the run's."""
        self._db.many("INSERT INTO tags VALUES (?, ?) ON CONFLICT DO NOTHING", ((tag, id) for id in samples))

    def untag(self, tag: str, samples: Iterable[str] | None = None) -> None:
        """Take a tag from these samples, or from all."""
        if samples is None:
            self._db.many("DELETE FROM tags WHERE tag = ?", [(tag,)])
        else:
            self._db.many("DELETE FROM tags WHERE tag = ? AND sample = ?", ((tag, id) for id in samples))

    # --- evaluations ------------------------------------------------------------------------------

    def add_evaluation(self, round: int, split: str, scores: Mapping[str, Any]) -> None:
        """Keep the figures of a round on one split ("test" or "audit")."""
        self._db.many("INSERT INTO evaluations VALUES (?, ?, ?)", [(round, split, as_text(scores))])

    def evaluations(self, split: str) -> dict[int, dict[str, Any]]:
        """The figures on one split by round."""
        rows = self._db.rows("SELECT round, scores FROM evaluations WHERE split = ? ORDER BY round", split)
        return {r: json.loads(s) for r, s in rows}
