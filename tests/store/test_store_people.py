"""What people do, in the store: their answers, and classes they name."""

from __future__ import annotations

import pytest

from labelwise.records import Query, Sample
from labelwise.store import Store
from labelwise.store.people import Answer


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as found:
        found.add_samples((Sample(f"{i}.png", tmp_path / f"{i}.png"), "pool") for i in range(3))
        found.add_queries(Query(f"q{i}", 0, i, f"{i}.png") for i in range(3))
        found.add_classes(["cat"])
        yield found


def test_a_query_that_was_answered_is_not_withdrawn(store):
    store.people.answer(Answer("q1", "ann", None), lambda id: 1)
    store.withdraw(["q0", "q1"])
    assert store.open_ids() == ["q1", "q2"]
    assert store.people.renew("ann", ["q0"], 9) == []


def test_classes_that_are_named_wait_until_they_are_used(store):
    for name in ("cow", "cat", "emu", "cow"):
        store.people.add_class(name, "ann")
    assert store.people.new_classes() == ("cow", "emu")
    store.add_classes(["cow"])
    assert store.people.new_classes() == ("emu",)
