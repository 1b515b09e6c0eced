"""Reading runs: counts, curves and arms from what the store holds."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from labelwise import api
from labelwise.config import Config, Data
from labelwise.data.digits import make_scenes
from labelwise.errors import RunError
from labelwise.records import Annotation, Query, Target
from labelwise.results import RunResult, open_run
from labelwise.results.comparison import compared, run_folders
from labelwise.store import Store


def a_result(**changes: Any) -> RunResult:
    """Three rounds: two labelled and one skipped in round 0, one labelled in round 1, nothing answered in round 2."""
    queries = {
        0: [Query(f"0{i}", 0, i, f"s{i}") for i in range(3)] + [Query("0a", 0, 3, "a0", purpose="audit")],
        1: [Query("10", 1, 0, "s3")],
        2: [Query("20", 2, 0, "s4")],
    }
    classes = {"00": "cat", "01": "dog", "02": None, "0a": "cat", "10": "cat"}
    scores = {r: {"macro_f1": 0.5 + r / 10, "accuracy": 0.6, "ece": 0.1, "nll": 1.0, "n": 7} for r in (0, 1)}
    strategy = changes.pop("strategy", "margin")
    seed = changes.pop("seed", 0)
    result = RunResult(
        folder=Path(changes.pop("folder", "runs/x")),
        config=Config.model_validate(
            {
                "name": "x",
                "data": Data(format="f", path=Path("p")),
                "strategy": strategy,
                "seed": seed,
                **changes.pop("config", {}),
            }
        ),
        state="waiting",
        message="waiting for 1",
        created="",
        classes=("cat", "dog"),
        split_sizes={"pool": 5, "test": 7},
        samples={},
        test_ids=frozenset({"t"}),
        problems=[],
        queries=queries,
        annotations={q: Annotation(q, Target((c,)) if c else None) for q, c in classes.items()},
        evaluations={"test": scores, "audit": {}},
        seconds={-1: {"read": 1.0}, 0: {"query": 1.5, "train": 2.0}, 1: {"query": 0.5}, 2: {"query": 0.1}},
    )
    return dataclasses.replace(result, **changes)


def test_counts() -> None:
    result = a_result()
    assert result.rounds == [0, 1, 2]
    assert [result.labels(r) for r in result.rounds] == [2, 3, 3]
    assert result.class_counts(1) == {"cat": 2, "dog": 1}
    assert result.picks(0) == ["s0", "s1", "s2"]
    assert result.picks(9) == []


def test_curves() -> None:
    curve = a_result().curve("macro_f1")
    assert curve is not None
    assert (list(curve.labels), list(curve.values)) == ([2, 3], [0.5, 0.6])
    assert a_result(evaluations={"test": {}, "audit": {}}).curve("macro_f1") is None


def test_the_split_is_the_one_with_figures() -> None:
    scores = a_result().evaluations["test"]
    assert a_result().split == "test"
    assert a_result(evaluations={"test": {}, "audit": scores}).split == "audit"
    assert a_result(evaluations={"test": scores, "audit": scores}).split == "test"


def test_metrics_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(a_result().metrics_csv())))
    assert [r["labels"] for r in rows] == ["2", "3"]
    assert rows[1]["macro_f1"] == "0.600000"
    assert rows[0]["seconds_query"] == "1.500"
    assert rows[0]["seconds_annotate"] == "0.000"


def test_arms_are_named_by_what_tells_them_apart() -> None:
    def names(*results: RunResult) -> list[str]:
        return list(compared(results).arms)

    cold = {"cold_start": "random"}
    assert names(a_result(), a_result(strategy="random")) == ["margin", "random"]
    assert names(a_result(), a_result(config=cold)) == ["margin+typiclust", "margin+random"]
    assert names(a_result(), a_result(config=cold), a_result(strategy="badge")) == [
        "margin+typiclust",
        "margin+random",
        "badge",
    ]
    assert names(a_result(strategy={"name": "margin", "per_group": 1})) == ["margin (per_group=1)"]
    models = [a_result(config={"model": {"name": "frozen", "head": head}}) for head in ("knn", "mlp")]
    assert names(*models) == ["margin, frozen head=knn", "margin, frozen head=mlp"]
    assert len(set(names(*models, a_result(config=cold)))) == 3


def test_seeds_and_baseline() -> None:
    comparison = compared([a_result(seed=1), a_result(), a_result(strategy="random")])
    assert sorted(comparison.arms["margin"]) == [0, 1]
    assert comparison.baseline == "random"
    assert compared([a_result()]).baseline is None
    assert compared([a_result(), a_result(strategy="random")], "margin").baseline == "margin"
    with pytest.raises(RunError, match="no runs of the baseline 'k_center'"):
        compared([a_result()], "k_center")


def test_an_arm_is_never_lost_under_anothers_name() -> None:
    """All that differs is an option of the annotator: nothing names it, so the two clash and are refused."""
    with pytest.raises(RunError, match="same strategy with the same seed"):
        compared([a_result(), a_result(folder="runs/y", config={"annotator": {"name": "oracle", "noise": 0.2}})])


def test_folders(tmp_path: Path) -> None:
    table = make_scenes(tmp_path, count=60)
    tree = {
        "name": "data",
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "budget": {"initial": 4, "rounds": 1},
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
    }
    folder = api.run(tree, report=False).folder
    # A run may be called "data"; beside the arms of a simulation that is what they begin from.
    assert run_folders([folder, folder]) == [folder]
    with pytest.raises(RunError, match="no run in"):
        run_folders([tmp_path / "runs"])
    result = open_run(folder)
    assert (result.state, result.labels(0)) == ("finished", 4)
    assert set(result.samples) >= result.test_ids
    assert open_run(str(folder)) == result


def test_effort_of_each_round() -> None:
    result = a_result()
    proposals = {"00": "cat", "01": "cat", "02": "dog", "0a": "cat"}
    queries = {
        0: [dataclasses.replace(q, proposal=Target((proposals[q.id],))) for q in result.queries[0]],
        **{r: result.queries[r] for r in (1, 2)},
    }
    answers = {
        id: dataclasses.replace(a, seconds=2.5 if id in ("00", "02") else None) for id, a in result.annotations.items()
    }
    answers["10"] = dataclasses.replace(answers["10"], annotator="data")
    result = dataclasses.replace(result, queries=queries, annotations=answers)
    found = result.effort(0)
    assert (found.proposed, found.accepted, found.renamed, found.answers, found.timed) == (3, 2, 1, 3, 1)
    assert result.effort(1).answers == result.effort(2).answers == 0
    rows = list(csv.DictReader(io.StringIO(result.metrics_csv())))
    names = ("accepted", "moved", "renamed", "added", "deleted", "seconds_people")
    assert [[row[name] for name in names] for row in rows] == [["2", "0", "1", "0", "0", "2.5"], [*"00000", ""]]


def test_a_run_in_its_first_moment(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "run.db")) as empty:
        empty.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(RunError, match=r"run\.db: a run in its first moment: look again"):
        open_run(folder)
    (folder / "run.db").unlink()
    Store(folder / "run.db").close()
    with pytest.raises(RunError, match=r"run: a run in its first moment: look again"):
        open_run(folder)
