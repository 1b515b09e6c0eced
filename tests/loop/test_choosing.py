"""What a round gives its selection beside predictions: columns, and what arms of a bandit were worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise import api
from labelwise.data.digits import make_scenes
from labelwise.errors import SelectionError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=120)


def plan(folder: Path, table: Path, strategy, cold_start="random"):
    return {
        "name": "r",
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 8},
        "budget": {"initial": 10, "per_round": 10, "rounds": 4},
        "strategy": strategy,
        "cold_start": cold_start,
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "threads": 1,
    }


def test_a_bandit_learns_from_the_answers_of_earlier_rounds(tmp_path, scenes):
    strategy = {"score": "margin", "select": {"name": "bandit", "gamma": 0.5}}
    result = api.run(plan(tmp_path, scenes, strategy), report=False)
    chances = []
    for number in (1, 2, 3):
        reasons = [q.reason for q in result.queries[number]]
        assert len({reason["arm"] for reason in reasons}) == 1
        chances.append(reasons[0]["chance"])
    assert chances[0] == pytest.approx(0.2)
    surprised = any(q.proposal is not None and q.proposal.classes for q in result.queries[1])
    assert surprised
    assert chances[1] != pytest.approx(0.2)  # the arm of round 1 was paid by its surprises


def test_thresholds_know_the_size_and_the_group_of_an_image(tmp_path, scenes):
    first = api.run(plan(tmp_path / "a", scenes, {"name": "margin", "threshold": "width >= 8"}), report=False)
    assert first.labels(3) == 40
    with pytest.raises(SelectionError, match=r"none of .* candidates has width >= 9999"):
        api.run(plan(tmp_path / "b", scenes, "margin", {"name": "random", "threshold": "width >= 9999"}), report=False)


def test_a_run_says_why_a_round_is_short(tmp_path, scenes):
    cold = {"select": {"name": "k_center", "least_distance": 1e6}}
    told = []
    api.run(plan(tmp_path, scenes, "margin", cold), report=False, rounds=1, tell=told.append)
    assert any("nearer than 1e+06" in line for line in told)
