"""The simulated annotator: truth, and as much noise and refusal as asked for, the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.annotators import Desk
from labelwise.annotators.oracle import Oracle
from labelwise.errors import DataError
from labelwise.records import Sample, Target
from labelwise.testing import make_queries

CLASSES = ("a", "b", "c")
SAMPLES = [Sample(f"{i}.png", Path("x"), target=Target((CLASSES[i % 3],))) for i in range(2000)]
DESK = Desk({s.id: s for s in SAMPLES}, CLASSES, Path("rounds"))
QUERIES = make_queries(SAMPLES)


def answers(**options):
    return Oracle(**options).collect(QUERIES, DESK)


def test_every_query_is_answered_with_the_truth():
    found = answers()
    assert [a.query_id for a in found] == [q.id for q in QUERIES]
    assert all(a.target == s.target for a, s in zip(found, SAMPLES, strict=True))
    assert {a.annotator for a in found} == {"oracle"}


def test_noise_and_refusal_have_the_share_asked_for():
    found = answers(noise=0.2, skip=0.1)
    skipped = sum(a.skipped for a in found)
    wrong = sum(a.target is not None and a.target != s.target for a, s in zip(found, SAMPLES, strict=True))
    assert skipped / 2000 == pytest.approx(0.1, abs=0.03)
    assert wrong / 2000 == pytest.approx(0.2, abs=0.03)
    assert found == answers(noise=0.2, skip=0.1)
    assert {c for a in found if a.target for c in a.target.classes} == set(CLASSES)


def test_an_answer_does_not_depend_on_the_other_queries_or_the_round():
    whole = {a.query_id: a.target for a in answers(noise=0.5)}
    for q in QUERIES[:50]:
        (alone,) = Oracle(noise=0.5).collect([q], DESK)
        assert alone.target == whole[q.id]


def test_the_ends_of_the_range():
    assert all(a.skipped for a in answers(skip=1))
    assert all(a.target != s.target for a, s in zip(answers(noise=1), SAMPLES, strict=True))
    one = Desk(DESK.samples, ("a",), DESK.folder)
    assert Oracle(noise=1).collect(QUERIES[:1], one)[0].target == Target(("a",))


def test_an_image_without_truth_is_named_with_the_way_out():
    desk = Desk({"x.png": Sample("x.png", Path("x"))}, CLASSES, Path("rounds"))
    with pytest.raises(DataError, match=r"x\.png: set annotator=files"):
        Oracle().collect(make_queries(list(desk.samples.values())), desk)
