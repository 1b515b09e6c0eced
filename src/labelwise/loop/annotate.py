"""The step that asks the annotator and takes in what is answered."""

from __future__ import annotations

import time
from dataclasses import replace

from labelwise.annotators import Desk
from labelwise.loop.context import Context
from labelwise.records import Annotation, Query
from labelwise.store import Store


def annotate(context: Context, round: int, goal: int) -> str:
    """Submit the open queries, store what is answered, and say what is still waited for."""
    began = time.perf_counter()
    store, annotator = context.store, context.parts.annotator
    desk = Desk(context.by_id, store.classes(), context.config.folder / "rounds")
    asked = store.queries(round, open_only=True)
    annotator.submit(asked, desk)
    by_id = {q.id: q for q in asked}
    pixels = context.parts.unit == "pixel" or context.config.budget.cost == "pixel"
    answers = {a.query_id: _counted(by_id[a.query_id], a, pixels) for a in annotator.collect(asked, desk)}
    left = [q for q in asked if q.id not in answers]
    with store.transaction():
        store.add_annotations(answers[q.id] for q in asked if q.id in answers)
        if not left:
            # Once a round, so that the class axis does not depend on how often it was asked whether people are done.
            store.add_classes(sorted(_answered_classes(store, round)))
            store.finish_step(round, "annotate", time.perf_counter() - began)
    return f"waiting for {len(left)} annotations of round {round}: {annotator.advice(left, desk)}" if left else ""


def _counted(query: Query, answer: Annotation, pixels: bool) -> Annotation:
    """The answer with what it counts for: of ``pixels`` those that have a class, the others were void."""
    if query.unit == "image" or not pixels or answer.target is None or answer.target.geometry is None:
        return answer
    return replace(answer, amount=float(len(answer.target.geometry)))


def _answered_classes(store: Store, round: int) -> set[str]:
    found = store.annotations()
    targets = [found[q.id].target for q in store.queries(round)]
    return {name for target in targets if target is not None for name in target.classes}
