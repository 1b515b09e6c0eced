"""The examples run as they stand, and what they show keeps the rules of its seam."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import catalog, read_predictions, testing

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
    assert sorted(p.name for p in FOLDER.glob("*.py")) == sorted([*SAID, "coco_results_from_onnx.py"])


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


def test_coco_results_from_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that sees one object twice, and nothing in dark pictures: one box, in the picture's pixels."""

    class Session:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def get_inputs(self) -> list[Any]:
            return [SimpleNamespace(name="images", shape=[1, 3, 64, 64])]

        def run(self, _: None, given: dict[str, Any]) -> list[Any]:
            assert given["images"].shape == (1, 3, 64, 64)
            raw = np.zeros((1, 64 + 16 + 4, 7), np.float32)
            if given["images"][0, :, 0, 0].sum() > 0:
                raw[0, 64 + 5] = [0, 0, np.log(2), np.log(1), 0.8, 0.5, 0.25]  # stride 16, column 1, row 1
                raw[0, 64 + 6] = [-1, 0, np.log(2), np.log(1), 0.7, 0.5, 0.25]  # column 2: the same place
            return [raw]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (128, 96), "white").save("photos/a.png")
    Image.new("RGB", (128, 96), "black").save("photos/b.png")
    Path("photos/c.png").write_bytes(b"broken")
    Path("classes.txt").write_text("cat\ndog\n")
    monkeypatch.setattr(sys, "argv", ["example", "net.onnx", "classes.txt", "photos", "r.json"])
    loaded("coco_results_from_onnx.py").main()
    found = read_predictions("r.json", ["a.png", "b.png"], annotations="r_images.json")
    assert (found.classes, found.missing, found.without_detection) == (("cat", "dog"), (), ("b.png",))
    first = next(p for p in found if p.id == "a.png")
    np.testing.assert_allclose(first.boxes, [[0, 16, 64, 48]])  # centre (16, 16), 32 x 16, twice as large
    np.testing.assert_allclose(first.confidences, [0.4])
