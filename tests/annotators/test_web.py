"""Asking on the page: the rules of annotators, and how several answers become one."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.annotators import Desk
from labelwise.annotators.web import Web, consolidated
from labelwise.records import Query, Target
from labelwise.store import Store
from labelwise.store.people import Answer
from labelwise.testing import check_annotator


def test_it_keeps_the_rules_of_annotators(tmp_path):
    def answer(queries, desk):
        with Store(tmp_path / "run.db") as store:
            store.add_samples((sample, "pool") for sample in desk.samples.values())
            store.add_queries(queries)
            for query in queries:
                assert store.people.answer(Answer(query.id, "ann", Target(("red",))), Web().needed) == "kept"

    check_annotator(Web, tmp_path, answer=answer)


def test_nothing_before_there_is_a_run(tmp_path):
    desk = Desk({}, (), tmp_path / "rounds")
    assert Web().collect([Query("a", 0, 0, "x")], desk) == []
    assert not (tmp_path / "run.db").exists()


def answers(*targets, seconds=None):
    return [Answer("q", f"p{i}", t, seconds, {}, float(i)) for i, t in enumerate(targets)]


CAT, DOG = Target(("cat",)), Target(("dog",))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((CAT,), CAT),
        ((DOG, CAT, CAT), CAT),
        ((DOG, CAT), DOG),  # a tie: who was first
        ((None, CAT), CAT),
        ((None, None), None),
        ((None, DOG, CAT, CAT, DOG), DOG),
    ],
)
def test_the_majority_of_classes(given, wanted):
    assert consolidated(Query("q", 0, 0, "x"), answers(*given)).target == wanted


def test_names_and_seconds_of_all():
    found = consolidated(Query("q", 0, 0, "x"), answers(CAT, None, DOG, seconds=1.5))
    assert (found.annotator, found.seconds) == ("p0, p2", 4.5)


def test_the_majority_at_each_pixel():
    places = np.array([[0, 0], [5, 1], [2, 2]], np.int32)
    query = Query("q", 0, 0, "x", "pixel", places, 3)

    def said(*names):
        kept = [i for i, name in enumerate(names) if name]
        return Target(tuple(names[i] for i in kept), places[kept], np.arange(len(kept), dtype=np.int32))

    found = consolidated(query, answers(said("a", "b", ""), said("b", "b", ""), said("b", "a", "a"))).target
    assert found.geometry.tolist() == [[0, 0], [5, 1]]
    assert [found.classes[c] for c in found.codes] == ["b", "b"]
    assert consolidated(query, answers(said("", "", ""))).target.geometry.shape == (0, 2)


def test_the_boxes_most_like_the_others():
    def box(*edges):
        return Target(("cat",), np.array([edges], float))

    odd, near, same = box(50, 50, 60, 60), box(0, 0, 10, 10), box(0, 0, 10, 11)
    query = Query("q", 0, 0, "x", "box")
    assert consolidated(query, answers(odd, near, same)).target is near
    assert consolidated(query, answers(odd)).target is odd
