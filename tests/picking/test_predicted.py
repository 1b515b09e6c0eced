"""Predictions of a file as arrays in the order of the images, whatever order they come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.errors import DataError
from labelwise.picking import predicted
from labelwise.picking.predicted import HeaderSizes, suited
from labelwise.presets import preset
from labelwise.records import Sample
from labelwise.strategies import Recipe, assemble


def results(folder: Path, scores: dict[str, list[float]]) -> Path:
    entries = [
        {"image_id": n, "category_id": 0, "bbox": [0, 0, 2, 2], "score": s} for n, all in scores.items() for s in all
    ]
    (folder / "r.json").write_text(json.dumps(entries))
    return folder / "r.json"


def test_scores_in_the_order_of_the_ids(tmp_path: Path) -> None:
    path = results(tmp_path, {"b": [0.9], "c": [0.6, 0.5], "a": [0.7]})
    found = predicted.read({"path": path, "absent": "empty"}, ["a", "b", "c", "d"], ["cat"])
    ready = assemble(suited(preset("box_least_confidence"), "detect"))
    arrays = found.arrays(["d", "c", "a"], ready)
    assert arrays["empty"].tolist() == [True, False, False]
    assert arrays["scores"][1] > arrays["scores"][2] > 0
    found.look_at(["c"], ready)
    assert [(b.label, b.confidence, b.decisive) for b in found.boxes("c")] == [
        ("cat", pytest.approx(0.5), True),
        ("cat", pytest.approx(0.6), False),
    ]
    assert found.boxes("a") == ()
    assert any("without detection" in note for note in found.notes)


def test_probabilities_in_the_order_of_the_ids(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("path,x,y\nb,0.25,0.75\na,1,0\n")
    found = predicted.read(tmp_path / "p.csv", ["a", "b"], None)
    assert found.of_classes
    np.testing.assert_allclose(found.arrays(["b", "a"], assemble(preset("margin")))["probs"], [[0.25, 0.75], [1, 0]])
    with pytest.raises(DataError, match="found none for c"):
        predicted.read(tmp_path / "p.csv", ["a", "b", "c"], None).arrays(["a", "c"], assemble(preset("margin")))


def test_a_strategy_without_score_takes_nothing_of_boxes(tmp_path: Path) -> None:
    found = predicted.read(results(tmp_path, {"a": [0.3, 0.8]}), ["a"], ["cat"])
    ready = assemble(suited(preset("k_center"), "detect"))
    assert found.arrays(["a"], ready) == {}
    found.look_at(["a"], ready)
    assert [(b.confidence, b.decisive) for b in found.boxes("a")] == [
        (pytest.approx(0.3), False),
        (pytest.approx(0.8), False),
    ]


def test_the_reduction_that_a_task_needs() -> None:
    assert suited(Recipe(score="margin"), "detect").reduce == "max"
    assert suited(Recipe(score="margin"), "segment").reduce == "mean"
    assert suited(Recipe(score="margin"), "classify").reduce is None
    assert suited(Recipe(score="margin", reduce="sum"), "detect").reduce == "sum"
    assert suited(Recipe(select="random"), "detect").reduce is None


def test_sizes_come_from_the_headers(tmp_path: Path) -> None:
    Image.new("L", (7, 3)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    sizes = HeaderSizes([Sample("a.png", tmp_path / "a.png"), Sample("b.png", tmp_path / "b.png")])
    assert (sizes["a.png"], sizes.get("b.png"), sizes.get("c.png")) == ((7, 3), None, None)
    assert list(sizes) == ["a.png", "b.png"]
    assert len(sizes) == 2
