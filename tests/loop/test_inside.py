"""Runs that ask for pixels and regions: exact budgets, void never counted, the same picks when run again."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api
from labelwise.data.masks import read_mask
from labelwise.errors import LabelwiseError
from labelwise.results import RunResult, open_run
from labelwise.store import Store
from labelwise.testing import make_masks

MODEL = {
    "name": "fpn", "backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "iterations": 3, "train_batch": 4,
    "freeze_norm": False,
}  # fmt: skip


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    data = make_masks(folder / "data")
    budget = {"initial": 4, "per_round": 3, "per_image": True, "rounds": 3} | changes.pop("budget", {})
    base = {
        "name": "run", "task": "segment", "data": {"format": "image_masks", "path": str(data), "test": 0.25},
        "model": MODEL, "strategy": "pixelpick", "budget": budget, "out": str(folder / "runs"), "pictures": 2,
    }  # fmt: skip
    return base | changes


def answered_points(result: RunResult) -> dict[str, set[tuple[int, int]]]:
    points: dict[str, set[tuple[int, int]]] = {}
    for queries in result.queries.values():
        for query in queries:
            target = result.annotations[query.id].target
            assert target is not None
            assert target.geometry is not None
            new = {(int(x), int(y)) for x, y in target.geometry}
            assert not new & points.get(query.sample_id, set()), "a pixel was labelled twice"
            points.setdefault(query.sample_id, set()).update(new)
    return points


def test_pixels_are_asked_to_the_pixel_and_never_void(tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path))
    pool = result.split_sizes["pool"]
    assert pool == 9
    assert [result.labels(r) for r in result.rounds] == [4 * pool, 7 * pool, 10 * pool]
    assert result.unit == "pixels"
    for id, points in answered_points(result).items():
        assert len(points) == 10
        mask = read_mask(tmp_path / "data" / "masks" / id, 3)
        assert all(mask[y, x] != 255 for x, y in points)
    assert result.curve("miou") is not None
    assert sum(result.class_counts(2).values()) == 10 * pool


def test_the_same_seed_gives_the_same_picks_and_another_seed_others(tmp_path: Path) -> None:
    first, second, third = (
        api.run(configuration(tmp_path / name, seed=seed), report=False)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    one, two, three = (answered_points(r) for r in (first, second, third))
    assert one == two
    assert one != three


def test_a_run_stopped_after_each_round_ends_with_the_same_picks(tmp_path: Path) -> None:
    whole = api.run(configuration(tmp_path / "whole"), report=False)
    for _ in range(3):
        api.run(configuration(tmp_path / "steps"), rounds=1, report=False)
    steps = open_run(tmp_path / "steps" / "runs" / "run")
    assert answered_points(whole) == answered_points(steps)
    assert whole.evaluations["test"][2] == steps.evaluations["test"][2]


def test_regions_do_not_overlap_and_count_as_regions(tmp_path: Path) -> None:
    changes = {"strategy": "ripu_region", "budget": {"initial": 2, "per_round": 2, "radius": 1}}
    result = api.run(configuration(tmp_path, **changes))
    assert [result.labels(r) for r in result.rounds] == [18, 36, 54]
    assert result.unit == "regions"
    answered_points(result)  # no pixel twice, so no overlap
    windows = [q.geometry for queries in result.queries.values() for q in queries]
    assert all(w is not None and w.shape[1] == 4 for w in windows)


def test_every_round_tells_its_classes_and_what_was_labelled(tmp_path: Path) -> None:
    budget = {"initial": 2, "per_round": 2, "radius": 1, "rounds": 2}
    result = api.run(configuration(tmp_path, strategy="ripu_region", budget=budget))
    for round, row in enumerate(csv.DictReader(result.metrics_csv().splitlines())):
        figures = result.evaluations["test"][round]
        told = json.loads((result.folder / f"rounds/{round:03d}/results.json").read_text(encoding="utf-8"))
        pixels = sum(result.class_counts(round).values())
        assert told["labelled"] == {k: int(row[k]) for k in ("images", "regions", "pixels", "clicks")}
        assert (told["labelled"]["regions"], told["labelled"]["pixels"]) == (result.labels(round), pixels)
        assert {c["name"]: c["labels"] for c in told["classes"]} == {
            name: result.class_counts(round)[name] for name in result.classes
        }
        assert [c["iou"] for c in told["classes"] if c["iou"] is not None] == pytest.approx(
            [value for value in figures["iou"] if np.isfinite(value)]
        )
        assert told["miou"] == pytest.approx(figures["miou"])
        assert (result.folder / f"rounds/{round:03d}/confusion.png").is_file()
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    with Store(result.folder / "run.db", read_only=True) as store:
        assert store.setting("rounds") == "2", "the page says which round of how many it is"
    assert ">IoU</th>" in page
    assert all(f'<th scope="col">{name}</th>' in page for name in ("regions", "images", "pixels", "clicks"))


def test_a_budget_of_the_whole_pool_goes_where_the_score_is_highest(tmp_path: Path) -> None:
    strategy = {"name": "entropy", "evenly": False}
    budget = {"unit": "pixel", "per_image": False, "initial": 20, "per_round": 31, "rounds": 2}
    result = api.run(configuration(tmp_path, strategy=strategy, budget=budget), report=False)
    assert [result.labels(r) for r in result.rounds] == [20, 51]
    counts = {q.sample_id: len(q.geometry) for q in result.queries[1] if q.geometry is not None}
    assert sum(counts.values()) == 31
    assert len(set(counts.values())) > 1


def test_whole_images_can_be_asked_for(tmp_path: Path) -> None:
    changes = {"strategy": "random", "budget": {"unit": "image", "per_image": False, "initial": 2, "per_round": 2}}
    result = api.run(configuration(tmp_path, **changes), report=False)
    assert [result.labels(r) for r in result.rounds] == [2, 4, 6]


def test_images_are_scored_by_their_pixels(tmp_path: Path) -> None:
    budget = {"unit": "image", "per_image": False, "initial": 3, "per_round": 2, "rounds": 2}
    result = api.run(configuration(tmp_path, strategy="entropy", budget=budget), report=False)
    scores = [q.reason["score"] for q in result.queries[1]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert result.queries[1][0].reason["score_of"] == 6


def test_pictures_of_what_was_chosen_are_drawn_and_shown(tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path))
    last = result.folder / "rounds" / "002" / "maps"
    assert len(list(last.glob("*_chosen.png"))) == 2
    assert len(list(last.glob("*.png"))) == 4
    assert "score map of" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_no_more_pixels_than_there_are(tmp_path: Path) -> None:
    budget = {"initial": "60%", "per_round": "60%", "rounds": 4, "per_image": False}
    told: list[str] = []
    result = api.run(configuration(tmp_path, strategy="pixelpick", budget=budget), report=False, tell=told.append)
    assert any(re.search("of [0-9]+ pixels chosen: the images have room for no more", line) for line in told)
    valid = sum(
        int((read_mask(tmp_path / "data" / "masks" / id, 3) != 255).sum())
        for id in result.samples
        if id not in result.test_ids
    )
    assert result.labels(max(result.rounds)) == valid == sum(len(p) for p in answered_points(result).values())


@pytest.mark.parametrize(
    ("strategy", "budget"),
    [
        ("pixelpick", {"unit": "pixel", "initial": 100, "per_round": 401}),
        ("margin", {"unit": "pixel", "initial": 4, "per_round": 101}),
        ({"name": "margin", "apart": 3}, {"unit": "pixel", "initial": 11, "per_round": 50}),
        ("ripu_region", {"unit": "region", "initial": 11, "per_round": 50}),
        ("ripu_region", {"unit": "region", "cost": "pixel", "initial": 200, "per_round": 400}),
    ],
)
def test_what_a_void_image_has_no_room_for_goes_to_the_others(
    tmp_path: Path, strategy: Any, budget: dict[str, Any]
) -> None:
    """With a part of the budget for an image without a class less than asked was labelled, in every round."""
    changes = {"strategy": strategy, "budget": {**budget, "per_image": False, "rounds": 2}}
    config = configuration(tmp_path, **changes)
    plain = {p.name for p in (tmp_path / "data" / "masks").iterdir()}
    tested = api.run({**config, "name": "look"}, rounds=1, report=False).test_ids
    void = sorted(plain - tested)[:2]
    for name in void:
        Image.fromarray(np.full((32, 48), 255, np.uint8)).save(tmp_path / "data" / "masks" / name)
    result = api.run(config, report=False)
    wanted = np.cumsum([budget["initial"], budget["per_round"]])
    short = 8 if "cost" in budget else 0  # a region that costs more than what is left
    for round, goal in enumerate(wanted.tolist()):
        assert goal - short <= result.labels(round) <= goal
    points = answered_points(result)
    assert not points.keys() & set(void)
    if budget["unit"] == "pixel":
        counts = [len(points[name]) for name in plain - tested - set(void)]
        assert max(counts) - min(counts) <= 2, "evenly over the images that have room"


def test_a_budget_for_each_image_stays_with_it(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    tested = api.run({**config, "name": "look"}, rounds=1, report=False).test_ids
    void = min({p.name for p in (tmp_path / "data" / "masks").iterdir()} - tested)
    Image.fromarray(np.full((32, 48), 255, np.uint8)).save(tmp_path / "data" / "masks" / void)
    result = api.run(config, report=False)
    points = answered_points(result)
    assert void not in points
    assert {len(asked) for asked in points.values()} == {4 + 3 + 3}


def test_a_window_may_be_larger_than_its_image(tmp_path: Path) -> None:
    budget = {"unit": "region", "radius": 60, "initial": 3, "per_round": 100, "per_image": False, "rounds": 2}
    result = api.run(configuration(tmp_path, strategy="margin", budget=budget), report=False)
    assert [result.labels(r) for r in result.rounds] == [3, 9], "one region an image"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategy": "ripu_region", "budget": {"unit": "pixel"}}, "chooses regions"),
        ({"strategy": "k_center", "budget": {"unit": "pixel"}}, "evenly=false"),
        ({"model": "frozen"}, "cannot segment"),
        ({"strategy": "margin", "budget": {"unit": "image"}}, "budget.per_image=true is for"),
        ({"task": "classify", "model": "frozen", "budget": {"unit": "pixel"}}, "needs task=segment"),
        ({"strategy": "bald", "model": MODEL | {"dropout": 0}}, "needs samples, .*one with dropout above 0"),
        ({"strategy": "bald", "model": MODEL | {"passes": 1}}, "several passes"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabelwiseError, match=words) as caught:
        api.run(configuration(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_leaves_its_image_out(tmp_path: Path) -> None:
    config = configuration(tmp_path)

    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "data" / "masks" / "003.png")
    result = api.run(config, rounds=1, report=False)
    assert [p.code for p in result.problems] == ["bad_mask"]
    assert "003.png" not in result.samples
