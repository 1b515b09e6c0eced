"""Second looks at labels: which may be wrong, what people say of them, and from which round on that counts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from labelwise.records import Target
from labelwise.store.coding import target_of, target_text
from labelwise.store.database import Database


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


class SecondLooks:
    """The part of a store with the labels to check again, and what became of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set_suspects(self, suspects: Iterable[Suspect]) -> None:
        """Keep these as the labels to check again, most suspect first, instead of those before."""
        db = self._db
        rows = (
            (s.sample_id, rank, s.query_id, s.round, s.given, s.suggested, s.probability, s.how)
            for rank, s in enumerate(suspects)
        )
        with db.together():
            db.many("DELETE FROM suspects", [()])
            db.many("INSERT INTO suspects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def suspects(self, *, unchecked: bool = True) -> list[Suspect]:
        """The labels to check again, most suspect first; those that were checked ever are left out if ``unchecked``."""
        where = "WHERE query NOT IN (SELECT query FROM checks)" if unchecked else ""
        return [
            Suspect(*row)
            for row in self._db.rows(
                f"SELECT sample, query, round, given, suggested, probability, how FROM suspects {where} ORDER BY rank"
            )
        ]

    def check(self, id: str, new: Target | None, annotator: str, seconds: float | None) -> bool:
        """Keep what a label is after a second look; it counts from the next training on. False: there is no such label.

        While it waits, another look takes its place, and the same again changes nothing.
        """
        db = self._db
        with db.transaction():
            found = db.rows("SELECT target FROM annotations WHERE query = ?", id)
            if not found:
                return False
            text = target_text(new)
            waiting = db.rows("SELECT position, new FROM checks WHERE query = ? AND round IS NULL", id)
            if waiting and waiting[0][1] == text:
                return True
            db.many("DELETE FROM checks WHERE query = ? AND round IS NULL", [(id,)])
            db.many(
                "INSERT INTO checks (query, old, new, annotator, seconds, at) VALUES (?, ?, ?, ?, ?, ?)",
                [(id, found[0][0], text, annotator, seconds, time.time())],
            )
        return True

    def uncheck(self, id: str) -> bool:
        """Take back a second look that waits; False where there is none."""
        db = self._db
        with db.transaction():
            waiting = db.rows("SELECT position FROM checks WHERE query = ? AND round IS NULL", id)
            db.many("DELETE FROM checks WHERE position = ?", waiting)
        return bool(waiting)

    def checks(self) -> list[Check]:
        """All second looks, in their order: the history of changed labels."""
        sql = "SELECT query, old, new, annotator, seconds, at, round FROM checks ORDER BY position"
        return [
            Check(id, target_of(old), target_of(new), who, seconds, at, round)
            for id, old, new, who, seconds, at, round in self._db.rows(sql)
        ]

    def apply(self, round: int) -> int:
        """Make the labels what the second looks that wait say, from this round's training on; how many that were."""
        db = self._db
        with db.together():
            waiting = db.rows("SELECT position, query, new FROM checks WHERE round IS NULL ORDER BY position")
            db.many("UPDATE annotations SET target = ? WHERE query = ?", ((new, id) for _, id, new in waiting))
            db.many("UPDATE checks SET round = ? WHERE position = ?", ((round, at) for at, _, _ in waiting))
        return len(waiting)
