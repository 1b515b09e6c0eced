"""The store: every noun there and back, in its order, copies that are whole, and nothing pickled."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from labelwise.errors import RunError
from labelwise.records import Annotation, Problem, Query, Sample, Target
from labelwise.store import SETUP, Store

NAME = "månen/夜 '\";--.png"


def add_query(store, id="q", sample="a.png", **more):
    if sample not in {s.id for s in store.samples()}:
        store.add_samples([(Sample(sample, Path(sample)), "pool")])
    store.add_queries([Query(id, 0, 0, sample, **more)])


def same_target(one, two):
    assert one.classes == two.classes
    if two.geometry is None:
        assert one.geometry is None
    else:
        assert one.geometry.shape == two.geometry.shape
        assert np.array_equal(one.geometry, two.geometry)


TARGETS = [
    Target(("katt 🐈",)),
    Target(("a", "b"), np.array([[0.1, 1 / 3, 2, 3], [4, 5, 6, 7e-30]])),
    Target(("a",), np.array([[1, 2]])),
    Target((), np.zeros((0, 4))),
    Target((), np.zeros((0, 2))),
]


def test_samples_there_and_back(store, tmp_path):
    samples = [
        Sample(NAME, tmp_path / NAME, "camera 1", TARGETS[0], "ab" * 16, (640, 480), "rotated"),
        Sample("b.png", Path("b.png"), meta={"location": "Höhle 3", "taken": "2026-05-01T06:00:00", "iso": 200.5}),
        Sample("c.png#1", Path("c.png"), crop=(0.1, 1 / 3, 0.5, 1.0)),
        *(Sample(f"c{i}", Path("c"), target=t) for i, t in enumerate(TARGETS)),
    ]
    store.add_samples([(s, "test" if s.id == NAME else "pool") for s in samples])
    found = {s.id: s for s in store.samples()}
    assert list(found) == sorted(found)
    assert store.samples("test") == samples[:1]
    assert found["b.png"] == samples[1]
    for i, target in enumerate(TARGETS):
        same_target(found[f"c{i}"].target, target)
    assert found["c.png#1"] == samples[2]
    assert store.split_sizes() == {"pool": 7, "test": 1}


GEOMETRY = [
    np.array([[1, 2], [3, 4]], dtype=np.int32),
    np.array([[0.5, 1, 2, 3]], dtype=np.float32),
    np.arange(3),
    np.zeros((0, 2), np.int16),
]


@pytest.mark.parametrize("geometry", [None, *GEOMETRY])
@pytest.mark.parametrize("proposal", [None, TARGETS[1]])
def test_queries_there_and_back(store, geometry, proposal):
    reason = {"score": np.float32(0.5), "nearest": NAME, "rank": np.int64(3), "row": np.arange(2)}
    unit = "image" if geometry is None else "pixel"
    add_query(
        store, "q", NAME, unit=unit, geometry=geometry, cost=2.5, proposal=proposal, reason=reason, purpose="audit"
    )
    (found,) = store.queries()
    assert (found.id, found.sample_id, found.unit, found.cost, found.purpose) == ("q", NAME, unit, 2.5, "audit")
    assert found.reason == {"score": 0.5, "nearest": NAME, "rank": 3, "row": [0, 1]}
    if geometry is None:
        assert found.geometry is None
    else:
        assert found.geometry.dtype == geometry.dtype
        assert found.geometry.shape == geometry.shape
        assert np.array_equal(found.geometry, geometry)
    if proposal is None:
        assert found.proposal is None
    else:
        same_target(found.proposal, proposal)


def test_samples_are_remembered_only_once_they_are_in(store, tmp_path):
    with Store(tmp_path / "run.db", read_only=True) as reader:
        assert reader.samples() == []
        with pytest.raises(ZeroDivisionError):
            _add_look_and_fail(store)
        assert store.samples() == store.samples("pool") == []
        store.add_samples([(Sample("b", Path("b")), "pool")])
        assert [s.id for s in store.samples()] == [s.id for s in reader.samples()] == ["b"]
        store.samples().clear()
        assert len(store.samples()) == 1
        store.add_samples([(Sample("c", Path("c")), "test")])
        assert [s.id for s in store.samples()] == ["b", "c"]


def _add_look_and_fail(store):
    with store.transaction():
        store.add_samples([(Sample("a", Path("a")), "pool")])
        assert len(store.samples()) == len(store.samples("pool")) == 1
        raise ZeroDivisionError


def test_queries_come_by_round_and_rank_and_open_ones_alone(store):
    store.add_samples([(Sample(f"{i}", Path("x")), "pool") for i in range(4)])
    store.add_queries([Query(f"q{i}", i % 2, 9 - i, f"{i}") for i in range(4)])
    assert [q.id for q in store.queries()] == ["q2", "q0", "q3", "q1"]
    store.add_annotations([Annotation("q0", None)])
    assert [q.id for q in store.queries(0, open_only=True)] == ["q2"]
    assert [q.id for q in store.queries(1)] == ["q3", "q1"]
    assert store.queries(7) == []


def test_the_first_answer_counts(store):
    add_query(store)
    store.add_annotations([Annotation("q", TARGETS[0], "me", 1.5)])
    store.add_annotations([Annotation("q", None, "other"), Annotation("q", TARGETS[2])])
    assert store.annotations() == {"q": Annotation("q", TARGETS[0], "me", 1.5)}


@pytest.mark.parametrize("target", TARGETS)
def test_answers_there_and_back(store, target):
    add_query(store)
    store.add_annotations([Annotation("q", target)])
    same_target(store.annotations()["q"].target, target)


def test_a_skipped_answer_stays_skipped(store):
    add_query(store)
    store.add_annotations([Annotation("q", None)])
    assert store.annotations()["q"].skipped


def test_what_refers_to_nothing_is_refused(store):
    with pytest.raises(RunError, match="FOREIGN KEY"):
        store.add_annotations([Annotation("none", None)])
    with pytest.raises(RunError, match="FOREIGN KEY"):
        store.add_queries([Query("q", 0, 0, "none")])
    assert store.annotations() == {}


def test_classes_never_move(store):
    store.add_classes(["b", "ä"])
    store.add_classes(["c", "b", "c", "a"])
    assert store.classes() == ("b", "ä", "c", "a")


def test_steps_settings_problems_and_figures(store):
    store.set_setting("k", "1")
    store.set_setting("k", "2\n✓")
    assert (store.setting("k"), store.setting("none"), store.setting("none", "x")) == ("2\n✓", "", "x")
    store.finish_step(SETUP, "read", 1.0)
    store.finish_step(0, "query", 0.5, {"asked": np.int64(3)})
    assert [(s.round, s.name, s.note) for s in store.steps()] == [(SETUP, "read", {}), (0, "query", {"asked": 3})]
    assert store.is_done(0, "query")
    assert not store.is_done(1, "query")
    with pytest.raises(RunError, match="UNIQUE"):
        store.finish_step(0, "query", 0.5)
    problems = [Problem("b", "broken", "é"), Problem("a", "empty", "")]
    store.add_problems(problems)
    assert store.problems() == problems
    store.add_evaluation(3, "test", {"accuracy": 0.1 + 0.2, "ece": float("nan"), "recall": {"ä": None}})
    figures = store.evaluations("test")[3]
    assert figures["accuracy"] == 0.1 + 0.2
    assert np.isnan(figures["ece"])
    assert store.evaluations("audit") == {}


def test_tags(store):
    store.add_samples((Sample(f"{i}.png", Path(f"{i}.png")), "pool") for i in range(3))
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


def test_a_copy_is_whole(store, tmp_path):
    store.add_classes(["a"])
    add_query(store, sample=NAME)
    store.copy_to(tmp_path / "copy.db")
    store.add_classes(["b"])
    with Store(tmp_path / "copy.db") as copy:
        assert copy.classes() == ("a",)
        assert [q.sample_id for q in copy.queries()] == [NAME]
        copy.add_classes(["c"])
    with pytest.raises(RunError, match="already exists"):
        store.copy_to(tmp_path / "copy.db")
    assert store.classes() == ("a", "b")


def test_nothing_is_pickled(store, tmp_path):
    add_query(store, geometry=np.zeros((1, 2)), reason={"a": 1})
    with sqlite3.connect(tmp_path / "run.db") as db:
        kinds = {r[0] for r in db.execute("SELECT typeof(geometry) FROM queries")}
    db.close()
    assert kinds == {"text"}
