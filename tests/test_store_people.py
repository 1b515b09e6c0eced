"""What people do, in the store: tags, second looks, classes they name; and an older file that is brought up to date."""

from __future__ import annotations

import pytest

import labelwise.store as stores
from labelwise.errors import RunError
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.store import Store
from labelwise.store.people import Answer, Suspect


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as found:
        found.add_samples((Sample(f"{i}.png", tmp_path / f"{i}.png"), "pool") for i in range(3))
        found.add_queries(Query(f"q{i}", 0, i, f"{i}.png") for i in range(3))
        found.add_classes(["cat"])
        yield found


def test_tags(store):
    store.tag("b ü", ["1.png", "0.png", "1.png"])
    store.tag("a", ["2.png"])
    store.tag("a", ["2.png"])
    assert list(store.tags().items()) == [("a", ["2.png"]), ("b ü", ["0.png", "1.png"])]
    store.untag("b ü", ["1.png", "nothing"])
    store.untag("a")
    assert store.tags() == {"b ü": ["0.png"]}
    with pytest.raises(RunError):
        store.tag("c", ["no.png", "0.png"])
    assert "c" not in store.tags()


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


def test_second_looks_keep_what_was(store):
    cat, dog = Target(("cat",)), Target(("dog",))
    people = store.people
    assert not people.check("q0", dog, "ann", 1.0)  # nobody has labelled it
    store.add_annotations([Annotation("q0", cat, "ben"), Annotation("q1", cat, "ben")])
    suspects = [Suspect(f"{i}.png", f"q{i}", 0, "cat", "dog", 0.1, "by others") for i in (1, 0)]
    people.set_suspects(suspects)
    assert people.suspects() == suspects
    assert people.check("q0", dog, "ann", 1.0)
    assert people.check("q0", None, "ann", 1.0)  # changed her mind
    assert people.suspects() == suspects[:1]
    assert store.annotations()["q0"].target == cat
    assert people.apply_checks(3) == 1
    assert people.apply_checks(4) == 0
    assert store.annotations()["q0"].skipped
    assert store.annotations()["q0"].annotator == "ben"
    assert not people.uncheck("q0")  # it counts already
    assert people.check("q0", cat, "cyd", None)
    assert [(c.old, c.new, c.annotator, c.round) for c in people.checks()] == [
        (cat, None, "ann", 3), (None, cat, "cyd", None),
    ]  # fmt: skip
    assert people.uncheck("q0")
    people.set_suspects([])
    assert people.suspects(unchecked=False) == []


def test_a_run_of_an_older_labelwise_gets_the_tables(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        at = next(i for i, script in enumerate(stores.MIGRATIONS) if "CREATE TABLE answers" in script)
        older.setattr(stores, "MIGRATIONS", stores.MIGRATIONS[:at])
        Store(tmp_path / "run.db").close()
    with Store(tmp_path / "run.db") as store:
        assert store.tags() == store.people.answers() == {}
