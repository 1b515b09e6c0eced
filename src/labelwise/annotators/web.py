"""Asking on the page of the run: people answer there, and a round is made of their answers once all are in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from labelwise.agreement import overlap, points
from labelwise.annotators import Desk
from labelwise.records import Annotation, Query, Target
from labelwise.store import Store
from labelwise.store.people import Answer


@dataclass(frozen=True)
class Web:
    """Answers are given on the page of ``labelwise serve RUN``, by any number of people at once.

    A query is given to one person; of a random sample, the share ``overlap`` of the queries, to so many ``annotators``.
    Of several answers the majority counts, or the one most like the others (boxes, masks); all are kept. They are
    taken in once all queries have theirs, or somebody closes the round; until then each can be changed.

    ``labelwise run`` serves the page itself, at ``port`` or the first free one from 8470 on, opens it in a browser
    (``open``, where there is a desktop), looks for answers every ``poll`` seconds, and goes on when all are in.
    """

    annotators: PositiveInt = 1
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.1
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    open: bool = True
    poll: Annotated[float, Field(gt=0, le=3600)] = 1.0

    waits = True  # a run stays until its questions are answered
    page = True  # and serves its page meanwhile

    simulated = False
    tasks = frozenset({"classify", "detect", "segment"})

    def needed(self, query_id: str) -> int:
        """How many people are to answer a query: drawn by its id, the same for all who ask."""
        digest = hashlib.blake2b(f"overlap:{query_id}".encode(), digest_size=8).digest()
        return self.annotators if int.from_bytes(digest) / 2**64 < self.overlap else 1

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Nothing to do: the page reads the queries where they lie."""

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """The answers once there are enough to all of these queries, or the round was closed; else none."""
        place = _place(desk)
        if not open_queries or not place.is_file():
            return []
        with Store(place) as store:
            closed = store.is_round_closed(open_queries[0].round)
            found = store.people.take(
                [q.id for q in open_queries],
                lambda counts: closed or all(count >= self.needed(id) for id, count in counts.items()),
            )
        return [consolidated(query, found[query.id]) for query in open_queries if query.id in found]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Where to answer."""
        return f"answer them on the page; 'labelwise serve {desk.folder.parent}' shows it whenever no run does"


def _place(desk: Desk) -> Path:
    return desk.folder.parent / "run.db"


def consolidated(query: Query, answers: Sequence[Answer]) -> Annotation:
    """One annotation of the answers to a query, given in the order they came; its seconds are those of all of them.

    An image's class and the classes of pixels are decided by majority, ties by who was first; of boxes and masks the
    answer most like the others is taken. Skipped answers count only where there is no other.
    """
    said = [answer for answer in answers if answer.target is not None]
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    seconds = sum(times) if times else None
    who = ", ".join(answer.annotator for answer in said or answers)
    targets = [answer.target for answer in said if answer.target is not None]
    if not targets:
        return Annotation(query.id, None, who, seconds)
    if query.unit == "pixel" and len(targets) > 1:
        return Annotation(query.id, _majority_of_points(query, targets), who, seconds)
    if all(t.geometry is None and t.mask is None for t in targets):
        counts = Counter(t.classes for t in targets)  # keeps the order in which they came
        return Annotation(query.id, Target(counts.most_common(1)[0][0]), who, seconds)
    return Annotation(query.id, _most_alike(targets), who, seconds)


def _most_alike(targets: Sequence[Target]) -> Target:
    alike = [sum(overlap(t, other) for j, other in enumerate(targets) if j != i) for i, t in enumerate(targets)]
    return targets[int(np.argmax(alike))]


def _majority_of_points(query: Query, targets: Sequence[Target]) -> Target:
    assert query.geometry is not None
    said = [points(target) for target in targets]
    found: list[tuple[int, int, str]] = []
    for x, y in query.geometry.tolist():
        votes = Counter(labels.get((x, y)) for labels in said)
        label = votes.most_common(1)[0][0]
        if label is not None:
            found.append((x, y, label))
    names = tuple(dict.fromkeys(label for _, _, label in found))
    places = np.array([(x, y) for x, y, _ in found], np.int32).reshape(-1, 2)
    return Target(names, places, np.array([names.index(label) for _, _, label in found], np.int32))
