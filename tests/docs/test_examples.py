"""The examples run as they stand, and what they show keeps the rules of its seam."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from labelwise import catalog, testing

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SAID = {
    "array_picking.py": ["margin: rows", "k_center: rows", "balanced_herding: rows", "entropy: rows", "Score 0."],
    "own_annotator.py": ["waiting: waiting for 40 annotations", "finished: 20 labels"],
    "own_model.py": ["round 2: 60 labels"],
    "own_strategy.py": ["round 2: 60 labels"],
}


def loaded(name: str) -> Any:
    return catalog.load_file(FOLDER / name)


def test_every_example_is_listed() -> None:
    assert sorted(p.name for p in FOLDER.glob("*.py")) == sorted(SAID)


@pytest.mark.parametrize("name", SAID)
def test_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    said = capsys.readouterr().out
    for text in SAID[name]:
        assert text in said


def test_own_strategy_conforms() -> None:
    module = loaded("own_strategy.py")
    testing.check_score(module.gini)
    testing.check_score(module.gini, power=0.5)
    testing.check_select(module.mixed)
    testing.check_select(module.mixed, share=1.0)


def test_own_model_conforms(tmp_path: Path) -> None:
    testing.check_model(loaded("own_model.py").NearestMean, tmp_path)


def test_own_annotator_conforms(tmp_path: Path) -> None:
    def answer(queries: Any, desk: Any) -> None:
        path = desk.folder / "000" / "answers.json"
        path.write_text(json.dumps({q.sample_id: "blue" for q in queries[1:]} | {queries[0].sample_id: None}))

    testing.check_annotator(loaded("own_annotator.py").Json, tmp_path, answer=answer)
