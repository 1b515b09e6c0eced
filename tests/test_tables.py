"""What the read verbs print: facts for programs, and tables that fit a terminal."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from labelwise import api, tables
from labelwise.data.digits import make_scenes
from labelwise.errors import ConfigError
from labelwise.results import RunResult
from labelwise.results.comparison import Comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("tables")
    tree = {
        "name": "s",
        "data": {"format": "csv_table", "path": str(make_scenes(folder, count=60))},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "budget": {"initial": 4, "per_round": 4, "rounds": 3},
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "threads": 1,
    }
    return api.simulate(tree, ["balanced_herding", "random"], seeds=2)


@pytest.fixture
def result(comparison: Comparison) -> RunResult:
    return comparison.arms["random"][0]


def test_status_facts(result: RunResult) -> None:
    facts = tables.status_facts(result)
    assert [r["labels"] for r in facts["rounds"]] == [4, 8, 12]
    assert [r["round"] for r in facts["rounds"]] == [0, 1, 2]
    assert facts["rounds"][0]["steps"] == ["query", "annotate", "train", "evaluate"]
    assert set(facts["rounds"][0]) >= {"accuracy", "macro_f1", "ece", "nll"}
    json.dumps(facts, allow_nan=False)


def test_comparison_facts(comparison: Comparison) -> None:
    facts = tables.comparison_facts(comparison)
    json.dumps(facts, allow_nan=False)
    assert list(facts["arms"]) == ["balanced_herding", "random"]
    arm = facts["arms"]["balanced_herding"]
    assert (arm["seeds"], arm["labels"]) == (2, 12)
    assert set(arm) >= {"macro_f1", "area", "accuracy", "share_of_labels", "difference"}
    assert "share_of_labels" not in facts["arms"]["random"]


def test_one_seed_has_no_interval(comparison: Comparison) -> None:
    one = Comparison({arm: {0: runs[0]} for arm, runs in comparison.arms.items()}, "random")
    facts = tables.comparison_facts(one)
    json.dumps(facts, allow_nan=False)
    assert facts["arms"]["balanced_herding"]["difference_se"] is None


def test_arms_that_end_apart_differ_where_all_have_been(comparison: Comparison) -> None:
    """Budgets of boxes end a little apart, in every arm and seed."""

    def kept(result: RunResult, *rounds: int) -> RunResult:
        scores = {r: s for r, s in result.evaluations[result.split].items() if r in rounds}
        return dataclasses.replace(result, evaluations={**result.evaluations, result.split: scores})

    ours, random = comparison.arms["balanced_herding"], comparison.arms["random"]
    apart = Comparison({"balanced_herding": ours, "random": {0: random[0], 1: kept(random[1], 0, 1)}}, "random")
    arm = tables.comparison_facts(apart)["arms"]["balanced_herding"]
    at = [[runs[seed].evaluations[runs[seed].split][1]["macro_f1"] for seed in runs] for runs in (ours, random)]
    assert arm["difference"] == pytest.approx(sum(at[0]) / 2 - sum(at[1]) / 2)
    never = Comparison({"balanced_herding": {0: kept(ours[0], 0)}, "random": {0: kept(random[0], 2)}}, "random")
    assert tables.comparison_facts(never)["arms"]["balanced_herding"]["difference"] is None


def test_each_sentence_says_what_it_counts_where_there_are_several(
    comparison: Comparison, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Comparison, "units", property(lambda self: ("boxes", "images")))
    tables.print_comparison(comparison)
    text = " ".join(capsys.readouterr().out.split())
    _, first, second = text.split("balanced_herding rea" if "herding rea" in text else "balanced_herding does")
    assert " at 12 boxes " in first
    assert " at 12 images " in second


def test_without_a_baseline(comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    alone = Comparison(comparison.arms, None)
    facts = tables.comparison_facts(alone)
    assert all("share_of_labels" not in arm for arm in facts["arms"].values())
    tables.print_comparison(alone)
    out = capsys.readouterr().out
    assert "None" not in out
    assert "reach" not in out


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit(
    comparison: Comparison,
    result: RunResult,
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    tables.print_comparison(comparison)
    table = capsys.readouterr().out.rstrip().splitlines()
    assert all(len(line) <= width for line in table)
    # A line an arm below one line of headings, then what each arm but the baseline saved, in words.
    assert table[1].startswith("balanced_herding ")
    assert table[2].startswith("random ")
    assert table[3].startswith(
        "balanced_herding does not reach" if "not reach" in table[3] else "balanced_herding reaches"
    )
    assert not any(line.startswith("random") for line in table[3:])
    tables.print_status(result)
    lines = capsys.readouterr().out.splitlines()
    # The run, what it is made of, headings, a line a round; then what to expect of it.
    assert len(lines) == 2 + 1 + 3 + 3
    assert [line.partition(":")[0] for line in lines[-2:]] == ["forecast", "classes"]
    tables.print_catalogue(tables.catalogue())
    assert all(len(line) <= width for line in capsys.readouterr().out.splitlines())


def test_no_line_ends_in_blanks(result: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_status(result)
    tables.print_catalogue(tables.catalogue("heads"))
    assert not [line for line in capsys.readouterr().out.splitlines() if line != line.rstrip()]


def test_names_are_printed_as_they_are(result: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    odd = dataclasses.replace(result, folder=Path("runs/[bold]x[/bold] :smile:"))
    tables.print_status(odd)
    assert "runs/[bold]x[/bold] :smile:" in capsys.readouterr().out


def test_catalogue() -> None:
    found = tables.catalogue()
    kinds = {"strategies", "scores", "reduces", "selects", "models", "heads", "annotators", "engines"}
    assert set(found) == kinds | {"data", "predictions"}
    for entries in found.values():
        for name, about in entries.items():
            assert about.endswith((".", ")")), (name, about)
            assert "``" not in about
    assert list(tables.catalogue("heads")) == ["heads"]
    with pytest.raises(ConfigError, match="did you mean 'heads'"):
        tables.catalogue("head")


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1), (0.5, 0.5), (math.nan, None), (math.inf, None), (None, None), ("x", "x")]
)
def test_what_is_not_finite_is_nothing(value: Any, expected: Any) -> None:
    assert tables._finite(value) == expected
