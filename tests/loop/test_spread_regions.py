"""Pixels and regions compared over the whole pool: exact budgets, the selection's own picks, and the same again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_inside import answered_points, configuration

from labelwise import api
from labelwise.data.masks import read_mask
from labelwise.engine.local import Local
from labelwise.errors import LabelwiseError
from labelwise.loop import spread as spreading
from labelwise.loop.areas import Ask, Item, find
from labelwise.loop.inside import ChooseInside
from labelwise.loop.spread import Spread, choose_spread
from labelwise.presets import preset
from labelwise.records import Prediction, Sample
from labelwise.results import open_run
from labelwise.selection import coral, region_rows
from labelwise.strategies import Recipe, assemble


class Told:
    """A model that says what it was told."""

    batch_size = 2

    def __init__(self, predictions: list[Prediction]) -> None:
        self.known = {p.id: p for p in predictions}

    def predict(self, checkpoint: Any, samples: Any, *, want: Any) -> Any:
        return (self.known[s.id] for s in samples)


def pool(images: int, seed: int = 0, *, size: tuple[int, int] = (16, 12)) -> tuple[list[Item], Told]:
    rng = np.random.default_rng(seed)
    predictions, items = [], []
    for i in range(images):
        probs = rng.dirichlet(np.ones(3), (size[1], size[0])).astype(np.float32)
        predictions.append(Prediction(f"{i}", probs, embedding=rng.normal(size=(3, 4, 5)).astype(np.float32)))
        items.append(Item(Sample(f"{i}", Path(f"{i}.png"), size=size), 0, (), (0, 0, i)))
    return items, Told(predictions)


def chosen(items: list[Item], model: Told, recipe: Recipe, n: int, **ask: Any) -> tuple[list[Any], list[Any]]:
    strategy = assemble(recipe)
    work = ChooseInside(model, Path("checkpoint"), recipe, Ask(recipe.unit or "region", **ask))  # type: ignore[arg-type]
    facts = Spread(items, {}, ("a", "b", "c"), np.full(len(items), -1), {})
    rng = np.random.default_rng(0)
    return choose_spread(Local(), work, strategy, facts, n, rng, lambda *_: None)


def test_the_picks_are_those_of_the_selection_over_the_same_rows() -> None:
    items, model = pool(4)
    recipe = dataclasses.replace(preset("spread_regions"), shortlist=100.0)  # all windows of all images are candidates
    choices, why = chosen(items, model, recipe, 9)
    scores = {p.id: np.asarray(assemble(recipe).score_map(p)) for p in model.known.values()}
    parts = [region_rows(50, scores[k], p.embedding, image=int(k)) for k, p in model.known.items()]  # type: ignore[arg-type]
    rows = [np.concatenate([getattr(p, name) for p in parts]) for name in ("scores", "vectors", "images", "boxes")]
    values, vectors, images, boxes = rows
    picks = coral(9, np.arange(len(values)), np.array([], int), values.astype(np.float32), vectors).rows
    places = [(int(images[row]), *boxes[row].tolist()) for row in picks]
    found = [(int(c.sample_id), *box) for c in choices for box in c.geometry.tolist()]
    assert set(found) == set(places)
    order = dict(zip(found, [at for reason in why for at in reason["order"]], strict=True))
    assert [order[place] for place in places] == list(range(1, 10))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 5), st.sampled_from([1.0, 2.0, 10.0]), st.booleans())
def test_budgets_are_exact_however_they_are_shared_out(n: int, images: int, shortlist: float, pixel: bool) -> None:
    items, model = pool(images, seed=n)
    recipe = Recipe(
        score="margin", select="k_center", unit="pixel" if pixel else "region", shortlist=shortlist, evenly=False
    )
    choices, _ = chosen(items, model, recipe, n)
    maps = [np.asarray(assemble(recipe).score_map(p), np.float32) for p in model.known.values()]
    all_of = [dataclasses.replace(item, n=999) for item in items]
    ask = Ask("pixel" if pixel else "region")
    work = [find(ask, recipe, found, item, np.random.default_rng(0)) for found, item in zip(maps, all_of, strict=True)]
    room = sum(len(w.scores) for w in work)
    assert sum(len(c.scores) for c in choices) == min(n, room)


def test_rows_held_are_bounded_and_the_best_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    items, model = pool(12)
    monkeypatch.setattr(spreading, "ROWS", 10)
    seen: list[int] = []
    shorten = spreading._shortened

    def spied(held: Any, room: int) -> Any:
        seen.append(sum(len(o.choice.scores) for o in held))
        return shorten(held, room)

    monkeypatch.setattr(spreading, "_shortened", spied)
    recipe = dataclasses.replace(preset("spread_regions"), shortlist=40.0)
    choices, why = chosen(items, model, recipe, 3)
    assert sum(len(c.scores) for c in choices) == 3
    assert max(seen) < 2 * 10 + 40
    ranks = [one["score_of"] for reason in why for one in reason["each"]]
    assert set(ranks) == {10}


def test_regions_asked_before_keep_new_ones_away() -> None:
    rng = np.random.default_rng(3)
    items, _ = pool(2)
    features = np.zeros((12, 16, 2), np.float32)
    features[:, 8:] = (9, 9)  # left and right half look different
    probs = rng.dirichlet(np.ones(3), (12, 16)).astype(np.float32)
    model = Told([Prediction(i.sample.id, probs, embedding=features) for i in items])
    asked = np.array([[0, 0, 3, 3]], np.int32)
    left = [dataclasses.replace(i, asked=(asked,)) for i in items]
    recipe = Recipe(score="margin", select="k_center", unit="region", evenly=False, shortlist=100.0)
    choices, why = chosen(left, model, recipe, 1)
    assert choices[0].geometry[0, 0] >= 8
    assert why[0]["least_distance"] == pytest.approx(np.hypot(9, 9))
    assert why[0]["each"][0]["nearest"] == "a labelled one"


def test_a_run_by_the_preset_is_exact_tells_why_and_resumes_to_the_same(tmp_path: Path) -> None:
    budget = {"initial": 20, "per_round": 13, "per_image": False}
    changes: dict[str, Any] = {"strategy": "spread_regions", "budget": budget}
    whole = api.run(configuration(tmp_path / "whole", **changes))
    assert [whole.labels(r) for r in whole.rounds] == [20, 33, 46]
    answered_points(whole)  # nothing twice, no overlap
    for query in whole.queries[2]:
        assert query.geometry is not None
        assert len(query.reason["each"]) == len(query.geometry)
        assert all("distance" in one and "score_rank" in one for one in query.reason["each"])
    assert "Mean score" in (whole.folder / "report.html").read_text(encoding="utf-8")
    for _ in range(3):
        api.run(configuration(tmp_path / "steps", **changes), rounds=1, report=False)
    steps = open_run(tmp_path / "steps" / "runs" / "run")
    assert answered_points(whole) == answered_points(steps)


@pytest.mark.parametrize(
    "strategy",
    [
        {"score": "margin", "select": "herding", "evenly": False},
        {"score": "entropy", "balance": True, "evenly": False, "per_group": 9},
        {"score": "entropy", "select": "cluster_margin", "evenly": False},
        {"select": "typiclust", "evenly": False},
    ],
)
def test_other_selections_choose_pixels_too(tmp_path: Path, strategy: dict[str, Any]) -> None:
    budget = {"unit": "pixel", "per_image": False, "initial": 20, "per_round": 11, "rounds": 2}
    result = api.run(configuration(tmp_path, strategy=strategy, budget=budget), report=False)
    assert [result.labels(r) for r in result.rounds] == [20, 31]
    answered_points(result)


def test_whole_images_by_the_mean_of_their_features(tmp_path: Path) -> None:
    changes = {"strategy": "k_center", "budget": {"unit": "image", "per_image": False, "initial": 2, "per_round": 2}}
    result = api.run(configuration(tmp_path, **changes), report=False)
    assert [result.labels(r) for r in result.rounds] == [2, 4, 6]
    assert "distance" in result.queries[1][0].reason


def superpixel_run(folder: Path, **changes: Any) -> Any:
    pytest.importorskip("skimage")
    budget = {"region": "superpixel", "superpixels": 30, "unit": "region", "per_image": False, "rounds": 2}
    budget |= {"initial": 12, "per_round": 7} | changes.pop("budget", {})
    return api.run(configuration(folder, **{"strategy": "margin", "budget": budget, **changes}))


@pytest.mark.parametrize("strategy", ["margin", {"score": "ripu", "evenly": False}, "spread_regions"])
def test_superpixels_are_asked_answered_and_drawn(tmp_path: Path, strategy: Any) -> None:
    result = superpixel_run(tmp_path, strategy=strategy)
    assert [result.labels(r) for r in result.rounds] == [12, 19]
    assert result.unit == "regions"
    answered_points(result)
    for queries in result.queries.values():
        for query in queries:
            assert query.geometry is not None
            assert query.geometry.shape[1] == 3
            assert len(np.unique(query.geometry[:, 2])) == query.cost
            target, mask = result.annotations[query.id].target, read_mask(tmp_path / "data/masks" / query.sample_id, 3)
            assert target is not None
            x, y = query.geometry[:, :2].T
            assert len(target.classes) == 3
            assert sum(result.class_counts(0).values()) > 0
            valid = mask[y, x] != 255
            assert {(*p,) for p in target.geometry.tolist()} == {(*p,) for p in query.geometry[valid, :2].tolist()}  # type: ignore[union-attr]
    assert len(list((tmp_path / "runs/run/superpixels").glob("*.png"))) == 9
    assert len(list((tmp_path / "runs/run/rounds/001/maps").glob("*_chosen.png"))) <= 2


@pytest.mark.parametrize("strategy", ["margin", {"name": "margin", "evenly": False}, "spread_regions"])
@pytest.mark.parametrize("region", ["superpixel", "window"])
def test_a_budget_in_pixels_is_never_exceeded(tmp_path: Path, strategy: Any, region: str) -> None:
    budget = {"cost": "pixel", "initial": 900, "per_round": 500, "region": region}
    result = superpixel_run(tmp_path, strategy=strategy, budget=budget)
    assert result.unit == "pixels"
    points = sum(len(p) for p in answered_points(result).values())
    assert result.labels(1) == points == sum(result.class_counts(1).values())
    most = 9 * 48 * 32 // 30 if region == "superpixel" else 9 * 9
    assert 1400 - 2 * most <= points <= 1400


def test_what_no_images_share_pays_for_they_pay_for_together(tmp_path: Path) -> None:
    budget = {"cost": "pixel", "initial": 150, "per_round": 150}  # 16 an image, and a superpixel has about 50
    result = superpixel_run(tmp_path, budget=budget)
    for round, goal in enumerate((150, 300)):
        assert goal - 70 < result.labels(round) <= goal
        assert len(result.queries[round]) >= 2, "in several images"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategy": {"name": "spread_regions", "evenly": True}}, "evenly=false"),
        ({"strategy": {"name": "margin", "balance": True}, "budget": {"unit": "pixel"}}, "evenly=false"),
        ({"strategy": "margin", "budget": {"unit": "pixel", "region": "superpixel"}}, "budget.region=superpixel"),
        ({"strategy": "margin", "budget": {"unit": "image", "cost": "pixel"}}, "budget.cost=pixel"),
        ({"cold_start": "typiclust", "budget": {"unit": "image"}}, "a run before its first training gives nothing"),
        ({"strategy": {"name": "margin", "empty": "quota", "evenly": False}, "budget": {"unit": "pixel"}}, "empty"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabelwiseError, match=words) as caught:
        api.run(configuration(tmp_path, **changes))
    assert "\n" not in str(caught.value)
