"""Runs with models that need no labels: predictions from a file round by round, and proposals in the first round."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api
from labelwise.errors import ConfigError, DataError
from labelwise.results import RunResult
from labelwise.testing.making import make_boxes

KNOWS = '''
"""A detector that finds one box in every picture, without any label."""
from dataclasses import dataclass
import json
import numpy as np
from labelwise.records import Prediction

@dataclass
class Knows:
    sure: float = 0.9
    tasks = frozenset({"detect"})
    provides = frozenset({"boxes"})
    needs_labels = False
    validation = 0.0
    batch_size = 3
    start = "scratch"

    def prepare(self, pool, others, *, place, progress): pass

    def fit(self, train, val, *, out, start, plan, seed, progress):
        out.mkdir(parents=True)
        (out / "classes.json").write_text(json.dumps(plan.classes))
        return out

    def predict(self, checkpoint, samples, *, want):
        assert json.loads((checkpoint / "classes.json").read_text()) == ["red", "green"]
        for s in samples:
            boxes = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
            yield Prediction(s.id, boxes=boxes, labels=np.array([1, 0]), confidences=np.array([self.sure, 0.1]))
'''


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    data = make_boxes(tmp_path / "data", 12)
    (tmp_path / "knows.py").write_text(KNOWS, encoding="utf-8")
    return {
        "name": "ready", "task": "detect", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
        "data": {"format": "coco", "path": str(data)}, "threads": 1,
        "model": f"{tmp_path / 'knows.py'}:Knows",
        "strategy": {"score": "objectness_least_confidence", "reduce": "max", "select": "top"},
        "cold_start": "random", "budget": {"initial": 2, "per_round": 2, "rounds": 3},
    } | changes  # fmt: skip


def results(path: Path, ids: list[str], sure: dict[str, float]) -> None:
    entries = [{"image_id": id, "category_id": 0, "bbox": [1, 2, 9, 9], "score": sure.get(id, 0.99)} for id in ids]
    path.write_text(json.dumps(entries), encoding="utf-8")


def picked(result: RunResult) -> list[set[str]]:
    return [{q.sample_id for q in queries} for queries in result.queries.values()]


def test_predictions_are_read_anew_each_round(tmp_path: Path) -> None:
    tree = config(tmp_path, budget={"initial": 2, "per_round": 2, "rounds": 3})
    ids = sorted(p.name for p in (tmp_path / "data/images").iterdir())
    file = tmp_path / "results.json"
    tree["model"] = {"name": "predictions", "path": str(file), "unchanged": "stop"}
    tree["cold_start"] = tree["strategy"]  # there is something to choose by before any label
    results(file, ids, {ids[3]: 0.5, ids[5]: 0.6})
    result = api.run(tree, report=False, rounds=1)
    pool = {q for queries in picked(result) for q in queries}
    wanted = {id for id in (ids[3], ids[5]) if id not in result_test_ids(result)}
    assert wanted <= pool
    free = [id for id in ids if id not in pool and id not in result_test_ids(result)]
    with pytest.raises(Exception, match="expected new predictions for round 2"):
        api.run(tree, report=False)
    results(file, ids, {free[0]: 0.51, free[2]: 0.52})
    # Round 1 was chosen by the first file; the new one is read in its training, and chooses round 2.
    result = api.run(tree, report=False, rounds=1)
    again = picked(result)[1]
    results(file, ids, {id: 0.5 for id in free if id not in again})
    result = api.run(tree, report=False)
    assert result.state == "finished"
    assert len(picked(result)) == 3
    assert {free[0], free[2]} <= set.union(*picked(result))
    assert all("map" in scores for scores in result.evaluations["test"].values())


def result_test_ids(result: RunResult) -> set[str]:
    from labelwise.store import Store

    with Store(result.folder / "run.db") as store:
        return {s.id for s in store.samples("test")}


def test_proposals_of_another_model_in_round_0(tmp_path: Path) -> None:
    knows = f"{tmp_path / 'knows.py'}:Knows"
    tree = config(tmp_path, proposals={"name": knows, "sure": 0.8}, model={"name": knows, "sure": 0.7})
    result = api.run(tree, report=False)
    for number, queries in result.queries.items():
        for q in queries:
            assert q.proposal is not None
            assert q.proposal.classes == ("green",), number  # the other is not as sure as is shown
            np.testing.assert_array_equal(q.proposal.geometry, [[1, 2, 3, 4]])
    assert (result.folder / "rounds/000/proposals/classes.json").is_file()
    assert not (result.folder / "rounds/001/proposals").exists()


def test_mirrored_pictures_are_looked_at_where_the_score_asks(tmp_path: Path) -> None:
    text = KNOWS.replace('provides = frozenset({"boxes"})', 'provides = frozenset({"boxes", "probs"})')
    text = text.replace("confidences=", "probs=np.array([[0.1, self.sure], [0.9, 0.1]]), confidences=")
    text = text.replace(
        "        for s in samples:", "        print(len(samples), samples[0].path.suffix)\n        for s in samples:"
    )
    shown = []
    for score in ("consistency", "least_confidence"):
        tree = config(tmp_path / score, strategy={"score": score, "reduce": "max"})
        (tmp_path / score / "knows.py").write_text(text, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            result = api.run(tree, report=False)
        assert result.state == "finished"
        shown.append(".bmp" in said.getvalue())
    assert shown == [True, False]


def test_predictions_from_a_file_know_no_mirrored_pictures(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[]", encoding="utf-8")
    tree = config(tmp_path, strategy="box_consistency", model={"name": "predictions", "path": str(tmp_path / "r.json")})
    with pytest.raises(ConfigError, match="strategy needs flipped, but model 'predictions' gives"):
        api.run(tree, report=False)


def test_round_0_is_proposed_by_a_model_that_knows(tmp_path: Path) -> None:
    result = api.run(config(tmp_path), report=False, rounds=1)
    assert all(q.proposal is not None for q in result.queries[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proposals": "detector"}, "proposals: expected a model that needs no labels.*found 'detector'"),
        ({"proposals": "frozen"}, "proposals: expected task=detect and a model that detects"),
        ({"proposals": {"name": "predictions"}}, "the key proposals.path is missing"),
    ],
)
def test_proposals_that_cannot_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        api.run(config(tmp_path, **changes), report=False)


def test_mistakes_of_the_model_for_proposals_name_its_own_key(tmp_path: Path) -> None:
    """It takes itself for the model of the run; advice for that key would break the one that learns."""
    (tmp_path / "model.absent").mkdir()
    given = {"name": "predictions", "path": str(tmp_path / "model.absent"), "format": "maps", "absent": "empty"}
    with pytest.raises(ConfigError, match=r"^proposals\.absent: expected missing"):
        api.run(config(tmp_path, proposals=given), report=False)


def test_figures_of_finished_rounds_are_there_where_a_later_one_ends_in_a_mistake(tmp_path: Path) -> None:
    tree = config(tmp_path, budget={"initial": 2, "per_round": 2, "rounds": 3})
    file = tmp_path / "results.json"
    tree["model"] = {"name": "predictions", "path": str(file), "unchanged": "stop"}
    ids = sorted(p.name for p in (tmp_path / "data/images").iterdir())
    results(file, ids, {ids[3]: 0.5})
    with pytest.raises(DataError, match="expected new predictions for round 2"):
        api.run(tree, report=False)
    lines = (tmp_path / "runs" / tree["name"] / "metrics.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["round", "0"]
