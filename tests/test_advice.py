"""Advice from a run's figures: when to go on, when to stop, and why; and how it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.advice import discovery_of, outlook, standard_error
from labelwise.config import load
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.report.fill import run_report
from labelwise.report.outlook import ahead, discovery_text, labels_left, needed_text, round_up, sentences
from labelwise.results import RunResult
from labelwise.tables import print_status, status_facts


def run_of(
    tmp_path: Path,
    values: list[float],
    labels: list[str] | None = None,
    audit: dict[str, Any] | None = None,
    **config: Any,
) -> RunResult:
    """A run that judged a round after every ten labels."""
    names = labels or ["cat", "dog"] * (5 * len(values))
    queries, annotations = {}, {}
    for round in range(len(values)):
        queries[round] = [Query(f"{round:03d}-{i:05d}", round, i, f"{10 * round + i}.png") for i in range(10)]
        for i, query in enumerate(queries[round]):
            annotations[query.id] = Annotation(query.id, Target((names[10 * round + i],)), "files", 2.0)
    figures = {
        r: {"n": 400, "macro_f1": v, "accuracy": v, "ece": 0.1, "nll": 1.0, "classes": [], "support": []}
        for r, v in enumerate(values)
    }
    tree = {"name": "r", "out": str(tmp_path), "data": {"format": "images_folder", "path": "p"}, **config}
    return RunResult(
        folder=tmp_path / "r", config=load(tree), state="waiting", message="", created="", classes=("cat", "dog"),
        split_sizes={"pool": 1000}, samples={}, test_ids=frozenset(), problems=[], queries=queries,
        annotations=annotations, evaluations={"test": figures, "audit": {0: audit} if audit else {}},
        seconds={r: {"query": 1.0} for r in range(len(values))},
    )  # fmt: skip


RISING = [0.5, 0.62, 0.69, 0.73, 0.76, 0.785]
FLAT = [0.6, 0.85, 0.8995, 0.9, 0.9, 0.9003, 0.8999, 0.9, 0.9002, 0.9, 0.9, 0.8999, 0.9, 0.9001, 0.9, 0.9]


def test_a_rising_curve_goes_on(tmp_path: Path) -> None:
    found = outlook(run_of(tmp_path, RISING))
    assert found.advice == "go on"
    assert "may bring" in found.reason
    assert found.step == 10
    assert found.gain is not None
    assert 0 < found.gain.low < found.gain.high < 0.05


def test_a_flat_curve_without_new_classes_stops(tmp_path: Path) -> None:
    found = outlook(run_of(tmp_path, FLAT))
    assert found.advice == "stop"
    assert "no new class" in found.reason


def test_a_flat_curve_goes_on_while_classes_come(tmp_path: Path) -> None:
    names = ["cat"] * (10 * len(FLAT) - 20) + [f"rare {i}" for i in range(20)]
    found = outlook(run_of(tmp_path, FLAT, names))
    assert found.advice == "go on"
    assert "20 classes were seen only once" in found.reason


def test_a_target_that_is_reached_stops(tmp_path: Path) -> None:
    assert outlook(run_of(tmp_path, RISING, advice={"target": 0.6})).reason == "the target of 60.0 % is reached"
    found = outlook(run_of(tmp_path, RISING), target=0.85)
    assert found.advice == "go on"
    assert found.needed is not None
    assert found.needed.labels > 60


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.6]])
def test_with_too_few_rounds_nothing_is_said(tmp_path: Path, values: list[float]) -> None:
    found = outlook(run_of(tmp_path, values, advice={"target": 0.9}))
    assert (found.advice, found.forecast, found.gain, found.needed) == ("wait", None, None, None)
    assert f"there are {len(values)}" in found.reason


def test_what_the_pool_does_not_hold_is_not_forecast(tmp_path: Path) -> None:
    run = run_of(tmp_path, RISING)
    few = outlook(replace(run, split_sizes={"pool": 63}))
    assert few.forecast is not None
    assert few.curve is not None
    assert (few.step, few.left) == (3, 3)
    assert ahead(few.curve, few.forecast, few.needed, labels_left(few))["labels"][-1] == 63
    assert "at 63 images" in sentences(few)[1]
    none = outlook(replace(run, split_sizes={"pool": 60}), target=0.99)
    assert (none.advice, none.forecast, none.gain, none.needed) == ("stop", None, None, None)
    assert sentences(none)[0] == "stop: every image of the pool has been asked"


def test_segmentation_counts_no_classes(tmp_path: Path) -> None:
    assert discovery_of(run_of(tmp_path, [0.5], task="segment")) is None


def test_a_figures_error_is_that_of_its_images() -> None:
    accuracy = {"n": 400, "accuracy": 0.9}
    assert standard_error(accuracy, "accuracy") == pytest.approx(0.015, abs=0.001)
    assert standard_error({"n": 50, "accuracy": 1.0}, "accuracy") > 0
    assert standard_error({"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.96}, "accuracy") == pytest.approx(
        0.16 / 3.92
    )
    assert np.isnan(standard_error({"n": 5, "miou": 0.5}, "miou"))
    told = {"classes": ["a", "b"], "confusion": [[0, 0, 90], [0, 1, 10], [1, 0, 20], [1, 1, 80]], "n": 200}
    # As for accuracy, since the classes are about as large: sqrt(0.85 * 0.15 / 200).
    assert standard_error(told, "macro_f1") == pytest.approx(0.0252, rel=0.2)


def test_sentences_are_plain(tmp_path: Path) -> None:
    audit = {"accuracy": 0.8, "accuracy_low": 0.6, "accuracy_high": 0.9}
    said = sentences(outlook(run_of(tmp_path, RISING, audit=audit), target=0.85))
    assert [line.partition(":")[0] for line in said] == ["go on", "forecast", "target", "audit", "classes"]
    assert "at 70 images" in said[1]
    assert said[4] == "classes: 2 found in 60 images, nothing points to more"
    assert all("\n" not in line and "nan" not in line and "inf" not in line for line in said)


@pytest.mark.parametrize(
    ("labels", "said"), [(1, "1"), (99.2, "100"), (101, "110"), (1234, "1,300"), (float("inf"), "never")]
)
def test_labels_are_rounded_up(labels: float, said: str) -> None:
    assert round_up(labels) == said


def test_a_target_out_of_reach_is_called_so(tmp_path: Path) -> None:
    found = outlook(run_of(tmp_path, FLAT), target=0.99)
    assert found.needed is not None
    assert "rather not to be reached" in needed_text(found.needed, 0.99, "macro_f1", "images")


def test_a_target_that_is_reached_is_called_so(tmp_path: Path) -> None:
    found = outlook(run_of(tmp_path, FLAT), target=0.5)
    assert found.needed is not None
    assert needed_text(found.needed, 0.5, "macro_f1", "images") == "macro-F1 of 50.0 % is reached"


def test_rare_classes_are_told(tmp_path: Path) -> None:
    names = ["cat"] * 55 + [f"rare {i}" for i in range(5)]
    found = discovery_of(run_of(tmp_path, RISING, names))
    assert found is not None
    assert discovery_text(found).startswith("6 found in 60 images, probably 8 to ")


def test_status_and_report_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_of(tmp_path, RISING, advice={"target": 0.85})
    facts = status_facts(result)["outlook"]
    assert facts["advice"] == "go on"
    assert facts["next"]["labels"] == 70
    assert facts["target"]["figure"] == 0.85
    print_status(result)
    assert "go on: the next round may bring" in capsys.readouterr().out
    samples = {q.sample_id: Sample(q.sample_id, tmp_path / q.sample_id) for qs in result.queries.values() for q in qs}
    page = run_report(replace(result, samples=samples))
    assert "What to expect" in page
    assert "the rarefaction curve" in page
    assert '"forecast"' in page
