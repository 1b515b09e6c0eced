"""The step that asks the annotator and takes in what is answered."""

from __future__ import annotations

import time

from labelwise.annotators import Desk, counted
from labelwise.loop.context import Context
from labelwise.loop.detecting import forget
from labelwise.loop.query import ask_more
from labelwise.records import Annotation
from labelwise.store import Store


def annotate(context: Context, round: int, goal: int) -> str:
    """Submit the open queries, store what is answered, and say what is still waited for."""
    began = time.perf_counter()
    store, boxes = context.store, context.parts.unit == "box"
    while True:
        waiting = (_one_by_one if boxes and context.parts.annotator.simulated else _ask)(context, round, goal)
        if waiting:
            return waiting
        if not boxes or store.spent() >= goal or store.is_round_closed(round) or not ask_more(context, round, goal):
            break
    if boxes:
        forget(context, round)
    with store.transaction():
        # Once a round, so that the class axis does not depend on how often it was asked whether people are done.
        store.second_looks.apply(round)
        used = _answered_classes(store, round)
        # Classes that people named on the page come first, in their order up to the last one used: so each keeps the
        # key it has had so far.
        named = store.people.new_classes()
        store.add_classes(named[: 1 + max((i for i, name in enumerate(named) if name in used), default=-1)])
        store.add_classes(sorted(used))
        store.finish_step(round, "annotate", time.perf_counter() - began)
    return ""


def _ask(context: Context, round: int, goal: int) -> str:
    """Ask for all that is open, and store what is answered."""
    store, annotator = context.store, context.parts.annotator
    desk = _desk(context)
    asked = store.queries(round, open_only=True)
    annotator.submit(asked, desk)
    by_id = {q.id: q for q in asked}
    cost = context.config.budget.cost
    answers = {a.query_id: counted(by_id[a.query_id], a, cost) for a in annotator.collect(asked, desk)}
    left = [q for q in asked if q.id not in answers]
    for line in getattr(annotator, "remarks", list)():
        context.tell(f"note: {line}")
    with store.transaction():
        store.add_annotations(answers[q.id] for q in asked if q.id in answers)
    return f"waiting for {len(left)} annotations of round {round}: {annotator.advice(left, desk)}" if left else ""


def _one_by_one(context: Context, round: int, goal: int) -> str:
    """Ask a simulated annotator for one image after the other until their boxes reach the goal; the rest is withdrawn.

    The image that reaches it counts whole: what it has more is taken off the next round.
    """
    store, annotator = context.store, context.parts.annotator
    desk = _desk(context)
    spent, answers = store.spent(), list[Annotation]()
    asked = store.queries(round, open_only=True)
    for done, query in enumerate(asked):
        if spent >= goal and query.purpose == "train":
            asked = [q for q in asked[done:] if q.purpose == "train"]
            break
        answers += [counted(query, answer) for answer in annotator.collect([query], desk)]
        spent += (answers[-1].amount or 0) if query.purpose == "train" else 0
    else:
        asked = []
    with store.transaction():
        store.add_annotations(answers)
        store.withdraw(q.id for q in asked)
    return ""


def _desk(context: Context) -> Desk:
    store, config = context.store, context.config
    return Desk(context.by_id, store.classes(), config.folder / "rounds", config.task, store.asked(), context.tell)


def _answered_classes(store: Store, round: int) -> set[str]:
    found = store.annotations()
    targets = [found[q.id].target for q in store.queries(round) if q.id in found]
    targets += [check.new for check in store.second_looks.checks() if check.round == round]
    return {name for target in targets if target is not None for name in target.classes}
