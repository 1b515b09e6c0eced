"""Which labels are looked at again: only predictions that did not know them count, and the same ones each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api
from labelwise.loop import suspects as looked
from labelwise.records import Annotation, Labelled, Sample, Target
from labelwise.store import Store
from labelwise.testing import make_images


def labelled(names: str, groups: str = "") -> list[Labelled]:
    return [
        Labelled(Sample(f"{i}", Path("x"), group=groups[i] if groups else None), Target((name,)))
        for i, name in enumerate(names)
    ]


def test_folds_share_out_classes_and_keep_groups_together() -> None:
    folds = looked._folds(labelled("a" * 20 + "b" * 10), np.random.default_rng(0))
    assert np.bincount(folds[:20]).tolist() == [4] * looked.FOLDS
    assert np.bincount(folds[20:]).tolist() == [2] * looked.FOLDS
    grouped = looked._folds(labelled("abab" * 4, "gggghhhhiiiijjjj"), np.random.default_rng(0))
    assert [len(set(grouped[i : i + 4])) for i in (0, 4, 8, 12)] == [1] * 4


def test_a_class_met_nowhere_else_is_not_judged() -> None:
    labels, folds = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 0, -1])
    assert looked._met_elsewhere(labels, folds).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("model", ["frozen", "plain"])
def test_labels_made_wrong_are_found(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run whose answers come from a file; the plain model keeps some images for validation, and has no folds."""
    make_images(tmp_path / "images", 60, size=8)
    plan: dict[str, Any] = {
        "name": "r", "data": {"format": "images_folder", "path": str(tmp_path / "images"), "test": 0}, "audit": 4,
        "model": {"name": "frozen", "backbone": "pixels", "size": 4}, "annotator": "files", "strategy": "margin",
        "budget": {"initial": 50, "per_round": 2, "rounds": 2}, "threads": 1,
        "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    if model == "plain":
        from labelwise.models.frozen import Frozen

        monkeypatch.delattr(Frozen, "folded")
        monkeypatch.setattr(Frozen, "validation", 0.4)
    folder = api.run(plan, report=False).folder
    with Store(folder / "run.db") as store:
        queries = store.queries(0)
        right = {q.id: ("blue", "red")[int(Path(q.sample_id).stem) % 2] for q in queries}
        wrong = {q.id for q in queries[3:48:9]}
        other = {"blue": "red", "red": "blue"}
        names = {id: other[name] if id in wrong else name for id, name in right.items()}
        store.add_annotations(Annotation(id, Target((name,)), "ann") for id, name in names.items())
    api.run(plan, report=False)
    with Store(folder / "run.db") as store:
        found = store.second_looks.suspects()
    assert {s.query_id for s in found} <= wrong
    assert 0 < len(found) <= len(wrong)
    assert all((s.given, s.suggested) == (names[s.query_id], right[s.query_id]) for s in found)
    assert [s.probability for s in found] == sorted(s.probability for s in found)


def test_none_are_looked_for_where_the_answers_are_simulated(tmp_path: Path) -> None:
    from labelwise.data.digits import make_scenes

    table = make_scenes(tmp_path, count=60)
    plan: dict[str, Any] = {
        "name": "r", "data": {"format": "csv_table", "path": str(table)}, "strategy": "random",
        "model": {"name": "frozen", "backbone": "pixels", "size": 4}, "budget": {"initial": 20, "rounds": 1},
        "annotator": {"name": "oracle", "noise": 0.3}, "threads": 1,
        "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    with Store(api.run(plan, report=False).folder / "run.db") as store:
        assert store.second_looks.suspects() == []
