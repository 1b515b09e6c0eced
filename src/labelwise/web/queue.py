"""The queue of open queries of the run that is served: given out, answered, taken back, closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from labelwise import catalog
from labelwise.annotators import SKIP, counted
from labelwise.annotators.web import Web, consolidated
from labelwise.errors import DataError
from labelwise.records import Query, Target
from labelwise.store.people import Answer
from labelwise.web.answering import BoxesAnswer, ClassAnswer, MaskAnswer, PixelsAnswer, Skipped, target_from
from labelwise.web.questions import kind_of, question, regions_png
from labelwise.web.served import Served

Json = dict[str, Any]
LEASE = 300.0  # seconds without a sign of life after which a question is given to somebody else


class Queue:
    """The open queries of a run, and what people do with them. Safe to be used by several threads and processes."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._by_page: Web | None = None

    @property
    def web(self) -> Web:
        """How often each query is to be answered: as the run's annotator says, once where it is another than web."""
        if self._by_page is None:
            part = self.served.config.annotator
            spec = {"name": "web", **part.options} if self.by_page else "web"
            self._by_page = catalog.make("annotator", spec)
        return self._by_page

    @property
    def by_page(self) -> bool:
        """Whether the run itself asks on the page, and takes the answers in."""
        return bool(self.served.config.annotator.name == "web")

    def classes(self) -> list[str]:
        """The run's classes, and those that people have named since; a class keeps its place."""
        store = self.served.store
        return [*store.classes(), *store.people.new_classes()]

    def state(self, annotator: str) -> Json:
        """How far the round is: queries open, answered by enough people, by this one, and held by others."""
        store, people = self.served.store, self.served.store.people
        ids = store.open_ids()
        counts, leased = people.answer_counts(), people.leased()
        done = sum(counts.get(id, 0) >= self.web.needed(id) for id in ids)
        round = store.queries(ids=ids[:1])[0].round if ids else None
        held = Counter(who for id in ids for who in leased.get(id, ()))
        return {
            "task": self.served.config.task,
            "round": round,
            "classes": self.classes(),
            "open": len(ids),
            "answered": done,
            "mine": people.answered_by(annotator),
            "others": {who: n for who, n in sorted(held.items()) if who != annotator},
            "closed": round is not None and store.is_round_closed(round),
            "by_page": self.by_page,
            "asks": self.served.config.annotator.name,
            "run": store.setting("state"),
            "message": store.setting("message"),
            "suspects": len(store.second_looks.suspects()),
        }

    def lease(self, annotator: str, count: int) -> list[Json]:
        """The questions a person holds now, up to ``count``; the first is the one to answer."""
        ids = self.served.store.people.lease(annotator, count, LEASE, self.web.needed)
        by_id = {query.id: query for query in self.served.store.queries(ids=ids)}
        return [self._shown(by_id[id]) for id in ids if id in by_id]

    def renew(self, annotator: str, ids: list[str]) -> list[str]:
        """A sign of life; returns what is still held."""
        return self.served.store.people.renew(annotator, ids, LEASE)

    def release(self, annotator: str, ids: list[str]) -> None:
        """Give questions back, so that others get them at once."""
        self.served.store.people.release(annotator, ids)

    def again(self, id: str, annotator: str) -> Json | None:
        """A question with the person's own answer, if there is such a query."""
        query = self._query(id)
        if query is None:
            return None
        own = next((a for a in self.served.store.people.answers([id]).get(id, ()) if a.annotator == annotator), None)
        shown = self._shown(query, own.target if own else None)
        return shown | {"answered": own is not None, "skipped": own is not None and own.target is None}

    def mine(self, annotator: str, limit: int) -> list[Json]:
        """A person's answers that can still be changed, the newest first."""
        found = self.served.store.people.answers_of(annotator, limit)
        samples = {q.id: q.sample_id for q in self.served.store.queries(ids=[a.query_id for a in found])}
        return [{"query": a.query_id, "sample": samples[a.query_id], "said": _said(a.target)} for a in found]

    def answer(
        self,
        id: str,
        annotator: str,
        given: ClassAnswer | BoxesAnswer | PixelsAnswer | MaskAnswer | Skipped,
        seconds: float | None,
        effort: Mapping[str, int],
    ) -> str:
        """Keep an answer; returns what became of it. Raises DataError if it does not fit its query."""
        query = self._query(id)
        if query is None:
            return "unknown"
        sample, folder = self.served.sample(query.sample_id), self.served.folder.resolve() / "rounds"
        kind = kind_of(self.served.config.task, query)
        target = target_from(given, kind, query, sample, tuple(self.classes()), folder)
        kept = Answer(id, annotator, target, seconds, {name: n for name, n in effort.items() if n})
        return self.served.store.people.answer(kept, self.web.needed)

    def undo(self, id: str, annotator: str) -> str:
        """Take back an own answer; returns what became of that."""
        return self.served.store.people.undo(annotator, id, LEASE)

    def add_class(self, name: str, annotator: str) -> None:
        """Name a class. Raises DataError for one that differs from another in capitals only, or means something."""
        known = {other.casefold(): other for other in self.classes()}
        if name == SKIP:
            raise DataError(f"expected the name of a class, found {SKIP!r}, which means that there is none")
        other = known.get(name.casefold())
        if other is not None and other != name:
            raise DataError(f"there is the class {other!r} already: use it, or give another name than {name!r}")
        self.served.store.people.add_class(name, annotator)

    def close(self) -> Json:
        """Make the round of the answers that are there: queries that nobody has answered are withdrawn.

        The random sample that estimates the quality stays asked: a part of it would no longer be at random. Raises
        DataError if there is no answer yet.
        """
        store = self.served.store
        with store.transaction():
            queries = store.queries(open_only=True)
            answers = store.people.answers([q.id for q in queries])
            if not answers:
                raise DataError("expected at least one answer, found none: answer a question first")
            unanswered = [q for q in queries if q.id not in answers]
            gone = [q.id for q in unanswered if q.purpose == "train"]
            if self.by_page:
                store.withdraw(gone)
                store.close_round(queries[0].round)
            else:  # the run asks elsewhere: the answers given here are handed in beside those
                gone = []
                cost = self.served.config.budget.cost
                taken = store.people.take(list(answers), lambda counts: True)
                store.add_annotations(counted(q, consolidated(q, taken[q.id]), cost) for q in queries if q.id in taken)
        return {"taken": len(answers), "withdrawn": len(gone), "left": len(unanswered) - len(gone)}

    def regions(self, id: str) -> bytes | None:
        """A picture of the regions that a query asks, None if it asks none."""
        query = self._query(id)
        if query is None or kind_of(self.served.config.task, query) != "regions":
            return None
        return regions_png(query, self.served.sample(query.sample_id).size)

    def suspects(self) -> Json:
        """Labels that may be wrong and were not looked at again, and the second looks that wait."""
        looks = self.served.store.second_looks
        found = [
            {
                "query": s.query_id,
                "sample": s.sample_id,
                "given": s.given,
                "suggested": s.suggested,
                "probability": s.probability,
                "round": s.round,
                "how": s.how,
            }
            for s in looks.suspects()
        ]
        waiting = [
            {"query": c.query_id, "old": _said(c.old), "new": _said(c.new), "annotator": c.annotator}
            for c in looks.checks()
            if c.round is None
        ]
        return {"suspects": found, "waiting": waiting, "classes": self.classes()}

    def check(self, id: str, name: str | None, annotator: str, seconds: float | None) -> bool:
        """Keep what a label is after a second look; False if there is no such label."""
        if name is not None and name not in self.classes():
            raise DataError(f"unknown class {name!r}: {catalog.suggest(name, self.classes())}; or add it")
        if self.served.config.task != "classify":
            raise DataError("expected task=classify: classes of whole images are checked again, nothing else")
        return self.served.store.second_looks.check(id, None if name is None else Target((name,)), annotator, seconds)

    def uncheck(self, id: str) -> bool:
        """Take back a second look that waits; False where there is none."""
        return self.served.store.second_looks.uncheck(id)

    def _query(self, id: str) -> Query | None:
        found = self.served.store.queries(ids=[id])
        return found[0] if found else None

    def _shown(self, query: Query, mine: Target | None = None) -> Json:
        sample = self.served.sample(query.sample_id)
        return question(self.served.config.task, query, sample, tuple(self.classes()), mine)


def _said(target: Target | None) -> str:
    if target is None:
        return "skipped"
    if target.geometry is None and target.mask is None:
        return target.classes[0]
    return ", ".join(dict.fromkeys(target.classes)) or "nothing"
