"""What people do in a run: leases of queries, their answers, classes they add.

An answer stays its annotator's until it is final: the round's annotations were made of it. Every method is one
transaction, so that several processes and threads may work at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from labelwise.records import Target
from labelwise.store.coding import as_text, target_of, target_text
from labelwise.store.database import Database

# What became of an answer: kept, or why not.
Verdict = Literal["kept", "unknown", "taken_in", "given_to_others"]
_THESE = "(SELECT value FROM json_each(?))"  # ids as one value, a JSON list
_HELD = "SELECT annotator FROM answers WHERE query = ? UNION SELECT annotator FROM leases WHERE query = ? AND until > ?"


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's answer to a query: a target, or skipped (None). ``seconds`` is the time it took, ``effort`` counts
    what was done (clicks, say) by name; ``at`` when it was given; ``final`` once the round was made of it."""

    query_id: str
    annotator: str
    target: Target | None
    seconds: float | None = None
    effort: Mapping[str, int] = field(default_factory=dict)
    at: float = 0.0
    final: bool = False


class People:
    """The part of a store that people write to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, annotator: str, count: int, seconds: float, needed: Callable[[str], int]) -> list[str]:
        """Give an annotator up to ``count`` open queries in all, most wanted first; those held already come first.

        A query is given to no more people than ``needed`` of its id, those who have answered it among them. A lease
        ends after ``seconds`` without a sign of life.
        """
        now, db = time.time(), self._db
        with db.transaction():
            db.many("DELETE FROM leases WHERE until <= ?", [(now,)])
            rows = db.rows(
                "SELECT q.id, (SELECT count(*) FROM answers a WHERE a.query = q.id), "
                "(SELECT count(*) FROM leases l WHERE l.query = q.id AND l.annotator != ?), "
                "EXISTS (SELECT 1 FROM leases l WHERE l.query = q.id AND l.annotator = ?) "
                "FROM queries q WHERE q.id NOT IN (SELECT query FROM annotations) "
                "AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.query = q.id AND a.annotator = ?) "
                "ORDER BY q.round, q.rank",
                *(annotator, annotator, annotator),
            )
            given = [id for id, _, _, own in rows if own][:count]
            for id, answers, leases, own in rows:
                if len(given) >= count:
                    break
                if not own and answers + leases < needed(id):
                    given.append(id)
            self._hold(annotator, given, now + seconds)
        return given

    def renew(self, annotator: str, ids: Iterable[str], seconds: float) -> list[str]:
        """A sign of life: the leases among ``ids`` that are still the annotator's, which last longer now."""
        now, db, wanted = time.time(), self._db, set(ids)
        with db.transaction():
            own = db.rows(
                "SELECT query FROM leases WHERE annotator = ? AND until > ? AND query IN (SELECT id FROM queries) "
                "AND query NOT IN (SELECT query FROM annotations)",
                *(annotator, now),
            )
            held = sorted(id for (id,) in own if id in wanted)
            self._hold(annotator, held, now + seconds)
        return held

    def release(self, annotator: str, ids: Iterable[str]) -> None:
        """Give queries back."""
        self._db.many("DELETE FROM leases WHERE query = ? AND annotator = ?", ((id, annotator) for id in ids))

    def leased(self) -> dict[str, list[str]]:
        """The annotators that hold each query now."""
        found: dict[str, list[str]] = {}
        for id, who in self._db.rows("SELECT query, annotator FROM leases WHERE until > ? ORDER BY 2", time.time()):
            found.setdefault(id, []).append(who)
        return found

    def _hold(self, annotator: str, ids: Iterable[str], until: float) -> None:
        sql = "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until"
        self._db.many(sql, ((id, annotator, until) for id in ids))

    # --- answers ----------------------------------------------------------------------------------

    def answer(self, answer: Answer, needed: Callable[[str], int]) -> Verdict:
        """Keep an answer, or say why not: the query is unknown, taken in, or enough others have it.

        The same again changes nothing; another one of the same annotator takes its place.
        """
        db, id, who, text = self._db, answer.query_id, answer.annotator, target_text(answer.target)
        with db.transaction():
            if db.rows("SELECT 1 FROM answers WHERE query = ? AND annotator = ? AND target IS ?", id, who, text):
                return "kept"  # it came before, and who sent it did not hear of it
            verdict = self._may(id, who, needed)
            if verdict != "kept":
                return verdict
            db.many(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (query, annotator) DO UPDATE SET "
                "target = excluded.target, seconds = excluded.seconds, effort = excluded.effort, at = excluded.at",
                [(id, who, text, answer.seconds, as_text(dict(answer.effort)), time.time())],
            )
            self.release(who, [id])
        return "kept"

    def undo(self, annotator: str, id: str, seconds: float) -> Verdict:
        """Take back an own answer that is not final, and hold its query again; "unknown" where there is none."""
        db = self._db
        with db.transaction():
            found = db.rows("SELECT final FROM answers WHERE query = ? AND annotator = ?", id, annotator)
            if not found:
                return "unknown"
            if found[0][0] or self._annotated(id):
                return "taken_in"
            db.many("DELETE FROM answers WHERE query = ? AND annotator = ?", [(id, annotator)])
            self._hold(annotator, [id], time.time() + seconds)
        return "kept"

    def answers(self, ids: Iterable[str] | None = None) -> dict[str, list[Answer]]:
        """The answers to these queries or to all, those of a query in the order they were given."""
        where, values = ("", ()) if ids is None else (f"WHERE query IN {_THESE}", (as_text(list(ids)),))
        found: dict[str, list[Answer]] = {}
        for row in self._db.rows(f"SELECT * FROM answers {where} ORDER BY at, annotator", *values):
            answer = _answer(row)
            found.setdefault(answer.query_id, []).append(answer)
        return found

    def answers_of(self, annotator: str, limit: int) -> list[Answer]:
        """An annotator's last answers that may still be changed, the newest first."""
        rows = self._db.rows(
            "SELECT * FROM answers WHERE annotator = ? AND final = 0 AND query NOT IN (SELECT query FROM annotations) "
            "ORDER BY at DESC, query DESC LIMIT ?",
            *(annotator, limit),
        )
        return [_answer(row) for row in rows]

    def answered_by(self, annotator: str) -> int:
        """How many queries an annotator has answered in all."""
        return int(self._db.rows("SELECT count(*) FROM answers WHERE annotator = ?", annotator)[0][0])

    def answer_counts(self) -> dict[str, int]:
        """The number of answers to each open query that has some."""
        return dict(
            self._db.rows(
                "SELECT query, count(*) FROM answers WHERE query NOT IN (SELECT query FROM annotations) GROUP BY query"
            )
        )

    def take(self, ids: Sequence[str], ready: Callable[[Mapping[str, int]], bool]) -> dict[str, list[Answer]]:
        """The answers to these queries, final from now on, if ``ready`` of the number of answers to each; else none.

        Queries that were withdrawn meanwhile are not among them. It may come again after an interruption: what is
        final is given again.
        """
        db = self._db
        with db.together():
            there = {id for (id,) in db.rows(f"SELECT id FROM queries WHERE id IN {_THESE}", as_text(list(ids)))}
            found = self.answers(ids)
            if not ready({id: len(found.get(id, ())) for id in ids if id in there}):
                return {}
            db.many("UPDATE answers SET final = 1 WHERE query = ?", ((id,) for id in found))
        return found

    def _annotated(self, id: str) -> bool:
        return bool(self._db.rows("SELECT 1 FROM annotations WHERE query = ?", id))

    def _may(self, id: str, annotator: str, needed: Callable[[str], int]) -> Verdict:
        rows = self._db.rows
        if not rows("SELECT 1 FROM queries WHERE id = ?", id):
            return "unknown"
        if self._annotated(id) or rows("SELECT 1 FROM answers WHERE query = ? AND final", id):
            return "taken_in"
        if rows("SELECT 1 FROM answers WHERE query = ? AND annotator = ?", id, annotator):
            return "kept"
        others = {who for (who,) in rows(_HELD, id, id, time.time())} - {annotator}
        return "kept" if len(others) < needed(id) else "given_to_others"

    # --- classes ----------------------------------------------------------------------------------

    def add_class(self, name: str, annotator: str) -> None:
        """Name a class that the run does not know yet; it becomes one when a round is made of answers that use it."""
        sql = "INSERT INTO new_classes (name, annotator, at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
        db = self._db
        with db.transaction():
            if not db.rows("SELECT 1 FROM classes WHERE name = ?", name):
                db.many(sql, [(name, annotator, time.time())])

    def new_classes(self) -> tuple[str, ...]:
        """Classes that people have named and that the run does not know yet, in the order they were named."""
        sql = "SELECT name FROM new_classes WHERE name NOT IN (SELECT name FROM classes) ORDER BY position"
        return tuple(name for (name,) in self._db.rows(sql))


def _answer(row: tuple[Any, ...]) -> Answer:
    id, who, target, seconds, effort, at, final = row
    return Answer(id, who, target_of(target), seconds, json.loads(effort), at, bool(final))
