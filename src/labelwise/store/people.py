"""What people do in a run: leases of queries, their answers, classes they add, labels they check again.

An answer stays its annotator's until it is final: the round's annotations were made of it. Every method is one
transaction, so that several processes and threads may work at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from labelwise.records import Target
from labelwise.store.coding import as_text, target_of, target_text

if TYPE_CHECKING:
    from labelwise.store import Store

# What became of an answer: kept, or why not.
Verdict = Literal["kept", "unknown", "taken_in", "given_to_others"]
_CLOSED = "closed_round"  # the setting that holds the number of the round that people have closed
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


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that may be wrong: the class ``given`` to a sample by a query's answer, the one ``suggested``, and the
    ``probability`` that held-out predictions of a round give the given one; ``how`` these were made."""

    sample_id: str
    query_id: str
    round: int
    given: str
    suggested: str
    probability: float
    how: str


@dataclass(frozen=True, slots=True)
class Check:
    """A label that a person looked at again: what it was and what it is now (None: no label); ``round`` is the one
    that it counts from, None while it waits."""

    query_id: str
    old: Target | None
    new: Target | None
    annotator: str
    seconds: float | None
    at: float
    round: int | None


class People:
    """The part of a store that people write to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, annotator: str, count: int, seconds: float, needed: Callable[[str], int]) -> list[str]:
        """Give an annotator up to ``count`` open queries in all, most wanted first; those held already come first.

        A query is given to no more people than ``needed`` of its id, those who have answered it among them. A lease
        ends after ``seconds`` without a sign of life.
        """
        now, db = time.time(), self._store
        with db.transaction():
            db._many("DELETE FROM leases WHERE until <= ?", [(now,)])
            rows = db._rows(
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
        now, db, wanted = time.time(), self._store, set(ids)
        with db.transaction():
            own = db._rows(
                "SELECT query FROM leases WHERE annotator = ? AND until > ? AND query IN (SELECT id FROM queries) "
                "AND query NOT IN (SELECT query FROM annotations)",
                *(annotator, now),
            )
            held = sorted(id for (id,) in own if id in wanted)
            self._hold(annotator, held, now + seconds)
        return held

    def release(self, annotator: str, ids: Iterable[str]) -> None:
        """Give queries back."""
        self._store._many("DELETE FROM leases WHERE query = ? AND annotator = ?", ((id, annotator) for id in ids))

    def leased(self) -> dict[str, list[str]]:
        """The annotators that hold each query now."""
        found: dict[str, list[str]] = {}
        for id, who in self._store._rows("SELECT query, annotator FROM leases WHERE until > ? ORDER BY 2", time.time()):
            found.setdefault(id, []).append(who)
        return found

    def _hold(self, annotator: str, ids: Iterable[str], until: float) -> None:
        sql = "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until"
        self._store._many(sql, ((id, annotator, until) for id in ids))

    # --- rounds -----------------------------------------------------------------------------------

    def close(self, round: int) -> None:
        """Note that a round is to be made of the answers that are there."""
        self._store.set_setting(_CLOSED, str(round))

    def is_closed(self, round: int) -> bool:
        """Whether people have closed this round."""
        return self._store.setting(_CLOSED) == str(round)

    # --- answers ----------------------------------------------------------------------------------

    def answer(self, answer: Answer, needed: Callable[[str], int]) -> Verdict:
        """Keep an answer, or say why not: the query is unknown, taken in, or enough others have it.

        The same again changes nothing; another one of the same annotator takes its place.
        """
        db, id, who, text = self._store, answer.query_id, answer.annotator, target_text(answer.target)
        with db.transaction():
            if db._rows("SELECT 1 FROM answers WHERE query = ? AND annotator = ? AND target IS ?", id, who, text):
                return "kept"  # it came before, and who sent it did not hear of it
            verdict = self._may(id, who, needed)
            if verdict != "kept":
                return verdict
            db._many(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (query, annotator) DO UPDATE SET "
                "target = excluded.target, seconds = excluded.seconds, effort = excluded.effort, at = excluded.at",
                [(id, who, text, answer.seconds, as_text(dict(answer.effort)), time.time())],
            )
            self.release(who, [id])
        return "kept"

    def undo(self, annotator: str, id: str, seconds: float) -> Verdict:
        """Take back an own answer that is not final, and hold its query again; "unknown" where there is none."""
        db = self._store
        with db.transaction():
            found = db._rows("SELECT final FROM answers WHERE query = ? AND annotator = ?", id, annotator)
            if not found:
                return "unknown"
            if found[0][0] or self._annotated(id):
                return "taken_in"
            db._many("DELETE FROM answers WHERE query = ? AND annotator = ?", [(id, annotator)])
            self._hold(annotator, [id], time.time() + seconds)
        return "kept"

    def answers(self, ids: Iterable[str] | None = None) -> dict[str, list[Answer]]:
        """The answers to these queries or to all, those of a query in the order they were given."""
        where, values = ("", []) if ids is None else ("WHERE query IN (SELECT value FROM json_each(?))", [_list(ids)])
        found: dict[str, list[Answer]] = {}
        for row in self._store._rows(f"SELECT * FROM answers {where} ORDER BY at, annotator", *values):
            answer = _answer(row)
            found.setdefault(answer.query_id, []).append(answer)
        return found

    def answers_of(self, annotator: str, limit: int) -> list[Answer]:
        """An annotator's last answers that may still be changed, the newest first."""
        rows = self._store._rows(
            "SELECT * FROM answers WHERE annotator = ? AND final = 0 AND query NOT IN (SELECT query FROM annotations) "
            "ORDER BY at DESC, query DESC LIMIT ?",
            *(annotator, limit),
        )
        return [_answer(row) for row in rows]

    def answered_by(self, annotator: str) -> int:
        """How many queries an annotator has answered in all."""
        return int(self._store._rows("SELECT count(*) FROM answers WHERE annotator = ?", annotator)[0][0])

    def answer_counts(self) -> dict[str, int]:
        """The number of answers to each open query that has some."""
        return dict(
            self._store._rows(
                "SELECT query, count(*) FROM answers WHERE query NOT IN (SELECT query FROM annotations) GROUP BY query"
            )
        )

    def take(self, ids: Sequence[str], ready: Callable[[Mapping[str, int]], bool]) -> dict[str, list[Answer]]:
        """The answers to these queries, final from now on, if ``ready`` of the number of answers to each; else none.

        Queries that were withdrawn meanwhile are not among them. It may come again after an interruption: what is
        final is given again.
        """
        db = self._store
        with db._together():
            there = {
                id
                for (id,) in db._rows("SELECT id FROM queries WHERE id IN (SELECT value FROM json_each(?))", _list(ids))
            }
            found = self.answers(ids)
            if not ready({id: len(found.get(id, ())) for id in ids if id in there}):
                return {}
            db._many("UPDATE answers SET final = 1 WHERE query = ?", ((id,) for id in found))
        return found

    def _annotated(self, id: str) -> bool:
        return bool(self._store._rows("SELECT 1 FROM annotations WHERE query = ?", id))

    def _may(self, id: str, annotator: str, needed: Callable[[str], int]) -> Verdict:
        rows = self._store._rows
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
        db = self._store
        with db.transaction():
            if name not in db.classes():
                db._many(sql, [(name, annotator, time.time())])

    def new_classes(self) -> tuple[str, ...]:
        """Classes that people have named and that the run does not know yet, in the order they were named."""
        sql = "SELECT name FROM new_classes WHERE name NOT IN (SELECT name FROM classes) ORDER BY position"
        return tuple(name for (name,) in self._store._rows(sql))

    # --- labels to check again --------------------------------------------------------------------

    def set_suspects(self, suspects: Iterable[Suspect]) -> None:
        """Keep these as the labels to check again, most suspect first, instead of those before."""
        db = self._store
        rows = (
            (s.sample_id, rank, s.query_id, s.round, s.given, s.suggested, s.probability, s.how)
            for rank, s in enumerate(suspects)
        )
        with db._together():
            db._many("DELETE FROM suspects", [()])
            db._many("INSERT INTO suspects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def suspects(self, *, unchecked: bool = True) -> list[Suspect]:
        """The labels to check again, most suspect first; those that were checked ever are left out if ``unchecked``."""
        where = "WHERE query NOT IN (SELECT query FROM checks)" if unchecked else ""
        return [
            Suspect(*row)
            for row in self._store._rows(
                f"SELECT sample, query, round, given, suggested, probability, how FROM suspects {where} ORDER BY rank"
            )
        ]

    def check(self, id: str, new: Target | None, annotator: str, seconds: float | None) -> bool:
        """Keep what a label is after a second look; it counts from the next training on. False: there is no such label.

        While it waits, another look takes its place, and the same again changes nothing.
        """
        db = self._store
        with db.transaction():
            found = db._rows("SELECT target FROM annotations WHERE query = ?", id)
            if not found:
                return False
            text = target_text(new)
            waiting = db._rows("SELECT position, new FROM checks WHERE query = ? AND round IS NULL", id)
            if waiting and waiting[0][1] == text:
                return True
            db._many("DELETE FROM checks WHERE query = ? AND round IS NULL", [(id,)])
            db._many(
                "INSERT INTO checks (query, old, new, annotator, seconds, at) VALUES (?, ?, ?, ?, ?, ?)",
                [(id, found[0][0], text, annotator, seconds, time.time())],
            )
        return True

    def uncheck(self, id: str) -> bool:
        """Take back a second look that waits; False where there is none."""
        db = self._store
        with db.transaction():
            waiting = db._rows("SELECT position FROM checks WHERE query = ? AND round IS NULL", id)
            db._many("DELETE FROM checks WHERE position = ?", waiting)
        return bool(waiting)

    def checks(self) -> list[Check]:
        """All second looks, in their order: the history of changed labels."""
        sql = "SELECT query, old, new, annotator, seconds, at, round FROM checks ORDER BY position"
        return [
            Check(id, target_of(old), target_of(new), who, seconds, at, round)
            for id, old, new, who, seconds, at, round in self._store._rows(sql)
        ]

    def apply_checks(self, round: int) -> int:
        """Make the labels what the second looks that wait say, from this round's training on; how many that were."""
        db = self._store
        with db._together():
            waiting = db._rows("SELECT position, query, new FROM checks WHERE round IS NULL ORDER BY position")
            db._many("UPDATE annotations SET target = ? WHERE query = ?", ((new, id) for _, id, new in waiting))
            db._many("UPDATE checks SET round = ? WHERE position = ?", ((round, at) for at, _, _ in waiting))
        return len(waiting)


def _answer(row: tuple[Any, ...]) -> Answer:
    id, who, target, seconds, effort, at, final = row
    return Answer(id, who, target_of(target), seconds, json.loads(effort), at, bool(final))


def _list(ids: Iterable[str]) -> str:
    return json.dumps(list(ids))
