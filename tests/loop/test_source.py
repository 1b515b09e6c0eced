"""A labelled source beside the pool: what each round learns from, and that nothing of it is asked or judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_inside import MODEL, answered_points, configuration

from labelwise import api
from labelwise.errors import LabelwiseError
from labelwise.models.pixelwise import Losses, PixelTraining
from labelwise.testing import make_masks


def adapting(folder: Path, *, model: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    source = {"format": "image_masks", "path": str(make_masks(folder / "source", 5, seed=9, size=(40, 32)))}
    source |= changes.pop("source", {})
    options = MODEL | {"start": "continue", "iterations": [3, 2, 4]} | (model or {})
    budget = {"initial": 0, "per_round": 3, "rounds": 3} | changes.pop("budget", {})
    return configuration(folder, source=source, model=options, budget=budget, **changes)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Each call of a loss with the number of images it got, and the round's number of source images at each begin."""
    calls: list[tuple[str, int]] = []
    for name in ("of_pool", "of_source"):
        original = getattr(Losses, name)

        def spied(self: Any, logits: Any, *rest: Any, _name: str = name, _original: Any = original) -> Any:
            calls.append((_name, len(logits)))
            return _original(self, logits, *rest)

        monkeypatch.setattr(Losses, name, spied)
    run = PixelTraining.run
    monkeypatch.setattr(
        PixelTraining, "run", lambda self, progress: calls.append(("round", len(self.source))) or run(self, progress)
    )
    return calls


def test_round_0_learns_from_the_source_and_later_rounds_from_both(tmp_path: Path, seen: list[tuple[str, int]]) -> None:
    result = api.run(adapting(tmp_path))
    assert [result.labels(r) for r in result.rounds] == [0, 27, 54]
    assert sorted(result.evaluations["test"]) == [0, 1, 2]
    both = [("of_pool", 4), ("of_source", 4)]
    assert seen == [("round", 5), *[("of_source", 4)] * 3, ("round", 5), *both * 2, ("round", 5), *both * 4]
    assert not any(q.sample_id.startswith("source/") for queries in result.queries.values() for q in queries)
    assert not any(id.startswith("source/") for id in result.test_ids)
    answered_points(result)
    about = json.loads((result.folder / "rounds/002/checkpoint/about.json").read_text(encoding="utf-8"))
    assert about["step"] == 9
    assert result.queries[1][0].reason.get("drawn") is None, "the first query already asks the model"


@pytest.mark.slow
def test_a_run_killed_between_rounds_ends_with_the_same_picks(tmp_path: Path) -> None:
    whole = api.run(adapting(tmp_path / "whole"), report=False)
    for _ in range(3):
        parts = api.run(adapting(tmp_path / "parts"), rounds=1, report=False)
    assert answered_points(whole) == answered_points(parts)
    assert whole.evaluations["test"] == parts.evaluations["test"]


def test_a_source_free_run_leaves_the_source_behind(tmp_path: Path, seen: list[tuple[str, int]]) -> None:
    api.run(adapting(tmp_path, source={"last_round": 0}), report=False)
    rounds = [number for name, number in seen if name == "round"]
    assert rounds == [5, 0, 0]
    assert [name for name, _ in seen].count("of_source") == 3


@pytest.mark.parametrize("changes", [{"consistency": 5.0}, {"negative": 9.0, "negative_below": 0.4}])
def test_each_loss_changes_what_is_learnt(tmp_path: Path, changes: dict[str, float]) -> None:
    from safetensors.torch import load_file

    plain = {"consistency": 0.0, "negative": 0.0}

    def weights(name: str, model: dict[str, float]) -> Any:
        result = api.run(adapting(tmp_path / name, model=model, budget={"rounds": 2}), report=False)
        return load_file(result.folder / "rounds/001/checkpoint/network.safetensors")["classifier.weight"]

    assert not (weights("without", plain) == weights("with", plain | changes)).all()


def test_a_pool_without_a_source_learns_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import labelwise.models.pixelwise as module

    monkeypatch.setattr(module, "negative_learning", None)
    monkeypatch.setattr(module, "local_consistency", None)
    api.run(configuration(tmp_path), rounds=1, report=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": {"format": "nothing"}}, "unknown data 'nothing'"),
        ({"source": {"last_round": 0}, "model": {"start": "scratch"}}, "what was learnt would be lost"),
        ({"source": {"masks": "missing"}}, "source: expected labelled images in"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabelwiseError, match=words) as caught:
        api.run(adapting(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_nothing_is_learnt_from_copies_of_test_images(tmp_path: Path) -> None:
    config = adapting(tmp_path)
    tested = api.run(config, rounds=1, report=False).test_ids
    for id in tested:
        for kind in ("images", "masks"):
            shutil.copy(tmp_path / "data" / kind / id, tmp_path / "source" / kind / f"copy of {id}")
    result = api.run(config | {"name": "again"}, rounds=1, report=False)
    assert result.test_ids == tested
    assert {p.id for p in result.problems} == {f"source/copy of {id}" for id in tested}
    assert {p.code for p in result.problems} == {"source_of_test"}
    for file in (tmp_path / "source" / "images").glob("0*.png"):
        file.unlink()
    with pytest.raises(LabelwiseError, match=r"found none that can be used; the first: .* which judges"):
        api.run(config | {"name": "none"}, rounds=1, report=False)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    config = adapting(tmp_path)
    (tmp_path / "source/classes.txt").write_text("blue\nred\npurple", encoding="utf-8")
    with pytest.raises(LabelwiseError, match="found 'purple'"):
        api.run(config)


def test_a_model_that_cannot_and_a_budget_of_nothing_are_refused(tmp_path: Path) -> None:
    config = adapting(tmp_path)
    with pytest.raises(LabelwiseError, match="'frozen' cannot learn from a source"):
        api.check(config | {"task": "classify", "model": "frozen", "strategy": "margin", "budget": {"initial": 3}})
    with pytest.raises(LabelwiseError, match=r"budget\.initial: must be a number above 0 where there is no source"):
        api.check({key: value for key, value in config.items() if key != "source"})
    assert "source: 5 images" in api.check(config)
