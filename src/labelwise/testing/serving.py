"""Checks of what asks and of what works: annotators and engines."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labelwise.annotators import Annotator, Desk
from labelwise.engine import Engine, Work
from labelwise.errors import DataError, LabelwiseError
from labelwise.models import Progress
from labelwise.records import Query
from labelwise.testing.making import make_images, make_queries, quiet
from labelwise.testing.verdicts import require


def check_annotator(
    make: Callable[[], Annotator], folder: Path, *, answer: Callable[[Sequence[Query], Desk], None] | None = None
) -> None:
    """An annotator may be called again at any time: nothing is asked twice, nothing answered that is not open.

    ``answer(queries, desk)`` does what a person would do, for annotators that wait for people.
    """
    samples = make_images(folder / "images", 6)
    desk = Desk({s.id: s for s in samples}, ("blue", "red"), folder / "rounds")
    queries = make_queries(samples)
    annotator = make()
    require(isinstance(annotator.simulated, bool), f"simulated: expected True or False, found {annotator.simulated!r}")
    annotator.submit([], desk)
    require(annotator.collect([], desk) == [], "expected no answers where nothing is open")
    annotator.submit(queries, desk)
    annotator.submit(queries, desk)
    advice = annotator.advice(queries, desk)
    require(bool(advice) and "\n" not in advice, f"advice: expected one line, found {advice!r}")
    if not annotator.simulated:
        require(annotator.collect(queries, desk) == [], "expected no answers before a person has given one")
    if answer is not None:
        answer(queries, desk)
    if answer is not None or annotator.simulated:
        _check_answers(annotator, queries, desk)
        later = make()  # another process, after an interruption
        later.submit(queries[2:], desk)
        _check_answers(later, queries[2:], desk)


def _check_answers(annotator: Annotator, queries: Sequence[Query], desk: Desk) -> None:
    answers: Mapping[str, Any] = {a.query_id: a for a in annotator.collect(queries, desk)}
    found = annotator.collect(queries, desk)
    ids = [a.query_id for a in found]
    require(sorted(ids) == sorted(q.id for q in queries), f"expected one answer to each open query, found {ids}")
    for a in found:
        known = a.target is None or set(a.target.classes) <= set(desk.classes)
        require(known, f"expected classes of {desk.classes}, found {a.target}")
        require(answers[a.query_id].target == a.target, "expected the same answers when collected again")


def check_engine(make: Callable[[], Engine]) -> None:
    """An engine gives all rows in the order of the items, errors after the rows before them, and can be used again."""
    engine = make()
    for _ in range(2):  # the second time after it was closed
        rows = list(engine.map_batches(_made_squares, list(range(11)), batch_size=3))
        expected = [(x * x, 2 if x > 8 else 3) for x in range(11)]
        require(rows == expected, f"expected the rows of all items in their order, found {rows}")
        require(list(engine.map_batches(_made_squares, [], batch_size=3)) == [], "expected no rows of no items")
        rows, error = [], None
        try:
            for row in engine.map_batches(_made_failing, list(range(8)), batch_size=2):
                rows.append(row)
        except LabelwiseError as caught:
            error = caught
        require(
            type(error) is DataError and str(error) == "five is odd", f"expected the error of the work, found {error!r}"
        )
        require(rows == [0, 1, 2, 3], f"expected the rows before the error, found {rows}")
        require(engine.run(_job) == "done", "expected the result of a job")
        told: list[tuple[Any, ...]] = []
        require(
            engine.run(_job, progress=partial(_note, told)) == "done",
            "expected the result of a job",
        )
        require(told[-1:] == [(3, 3, "steps")], f"expected to hear of the job's last step, found {told}")
        copy = pickle.loads(pickle.dumps(engine))
        require(isinstance(copy, type(engine)), "expected an engine that can be pickled while it is in use")
        engine.close()


def _made_squares() -> Work:
    return _squares


def _squares(batch: Sequence[int]) -> list[tuple[int, int]]:
    return [(x * x, len(batch)) for x in batch]


def _made_failing() -> Work:
    return _failing


def _failing(batch: Sequence[int]) -> list[int]:
    if 5 in batch:
        raise DataError("five is odd")
    return list(batch)


def _note(told: list[tuple[Any, ...]], *message: Any) -> None:
    told.append(message)


def _job(progress: Progress = quiet) -> str:
    for step in range(3):
        progress(step + 1, 3, "steps")
    return "done"
