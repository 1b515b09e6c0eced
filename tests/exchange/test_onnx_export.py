"""Exported models: the same probabilities as the run's, alone and in any batch, in a process without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import labelwise
from labelwise import testing
from labelwise.config import load
from labelwise.errors import ConfigError, ModelError, RunError
from labelwise.exchange.exporting import export
from labelwise.exchange.trained import predicted
from labelwise.ownership import owned
from labelwise.store import Store

NETWORK = {"backbone": "test_resnet", "weights": "none", "size": 32}
MODELS = {
    "frozen": {"name": "frozen", **NETWORK},
    "frozen-crop-knn": {"name": "frozen", **NETWORK, "resize": "crop", "head": {"name": "knn", "k": 3}},
    "pixels": {"name": "frozen", "backbone": "pixels", "size": 6, "head": "mlp"},
    "finetune": {"name": "finetune", **NETWORK, "epochs": 1},
    "metric": {"name": "metric", **NETWORK, "dim": 8, "epochs": 1, "head": {"name": "mlp", "hidden": [9]}},
    "projection": {"name": "metric", **NETWORK, "dim": 8, "trained": "projection", "head": "logistic"},
}
# What a user's process does that has neither torch nor labelwise: all alone, all at once, and in batches of three.
PROGRAM = """
import json, sys
for name in ("torch", "timm", "labelwise", "sklearn"):
    sys.modules[name] = None
import numpy as np, onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["labelwise"])
how = about["input"]
def pixels(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB").convert(how["mode"])
    if how["resize"] == "crop":
        left, top = ((side - min(image.size)) // 2 for side in image.size)
        image = image.crop((left, top, left + min(image.size), top + min(image.size)))
    return np.asarray(image.resize((how["size"],) * 2, Image.Resampling[how["interpolation"].upper()]))
every = np.stack([pixels(path) for path in sys.argv[2:]])
def run(batches):
    return np.concatenate([session.run(["probs"], {"pixels": b})[0] for b in batches]).tolist()
sizes = [[every[i : i + n] for i in range(0, len(every), n)] for n in (1, 3, len(every))]
print(json.dumps({"about": about, "probs": [run(batches) for batches in sizes]}))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    for i, sample in enumerate(testing.make_images(folder / "made", 40, classes=3)):
        place = folder / "images" / sample.target.classes[0] / sample.id
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(sample.path) as picture:
            picture.convert("RGB").resize((40 + int(rng.integers(20)), 33 + i % 9)).save(place)
    return folder / "images"


def ran(folder, images, model="pixels", **more):
    config = {
        "name": model,
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "data": {"format": "class_folders", "path": str(images)},
        "model": MODELS[model],
        "budget": {"initial": 15, "per_round": 5, "rounds": 2},
        "threshold": 0.6,
        "strategy": "margin",
        "cold_start": "random",  # they compile nothing
        **more,
    }
    return labelwise.run(config, report=False)


@pytest.mark.onnx
@pytest.mark.parametrize("model", MODELS)
def test_a_prediction_is_the_same_alone_in_any_batch_and_in_the_run(model, tmp_path, images):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    result = ran(tmp_path, images, model)
    place = tmp_path / "out" / "model.onnx"
    done = export(result.folder, place, format="onnx")
    assert done.images == 20
    config = load(result.folder)
    with Store(result.folder / "run.db", read_only=True) as store:
        samples = store.samples()[:14]
        expected = np.array([p.probs for _, p in predicted(config, store, samples, testing.quiet)])
        classes = list(store.classes())
    paths = [str(images / s.id) for s in samples]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place), *paths], capture_output=True, text=True, check=True
    )
    told = json.loads(run.stdout)
    assert told["about"]["classes"] == classes
    assert (told["about"]["round"], told["about"]["threshold"]) == (1, 0.6)
    alone, threes, whole = (np.array(p) for p in told["probs"])
    assert np.abs(alone - whole).max() < 1e-5
    assert np.abs(threes - whole).max() < 1e-5
    assert np.abs(whole - expected).max() < 1e-5
    example = [sys.executable, str(tmp_path / "out" / "model.example.py"), *paths]
    lines = subprocess.run(example, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [classes[p.argmax()] if p.max() >= 0.6 else "unknown" for p in whole]
    assert [line.split("\t")[:2] for line in lines] == [list(pair) for pair in zip(paths, names, strict=True)]
    assert sorted(p.name for p in place.parent.iterdir()) == ["model.example.py", "model.onnx"]


@pytest.mark.onnx
def test_a_round_is_exported_while_somebody_works_on_the_run(tmp_path, images):
    pytest.importorskip("onnxscript")
    result = ran(tmp_path, images)
    partial = result.folder / "rounds" / "002" / "checkpoint.partial"
    partial.mkdir(parents=True)
    with owned(result.folder):
        export(result.folder, tmp_path / "first.onnx", format="onnx", round=0, threshold=0.9)
    program = "import onnx, sys; print(onnx.load(sys.argv[1]).metadata_props[0].value)"
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "first.onnx")], capture_output=True, text=True, check=True
    )
    about = json.loads(told.stdout)
    assert (about["round"], about["threshold"]) == (0, 0.9)
    with pytest.raises(RunError, match="choose another name"):
        export(result.folder, tmp_path / "first.onnx", format="onnx")
    with pytest.raises(RunError, match="round 7 has no model; rounds with one: 0, 1"):
        export(result.folder, tmp_path / "b.onnx", format="onnx", round=7)
    with pytest.raises(RunError, match=r"ends with \.onnx"):
        export(result.folder, tmp_path / "model", format="onnx")
    assert not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_exported_is_told(tmp_path, images, monkeypatch):
    result = ran(tmp_path, images, model="pixels", name="edges", budget={"initial": 9, "rounds": 1})
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[onnx\]'"):
        export(result.folder, tmp_path / "m.onnx", format="onnx")
    with pytest.raises(ConfigError, match="did you mean"):
        export(result.folder, tmp_path / "m.onnx", format="onx")
    assert not (tmp_path / "m.onnx").exists()


def test_features_that_are_no_network_and_models_that_do_not_say_how_are_told(tmp_path):
    from labelwise.models.frozen import Frozen
    from labelwise.models.heads import Fitted, Scaling
    from labelwise.models.whole import whole_of

    ones = np.ones(128, np.float32)
    state = {"seen": np.array([0]), "temperature": np.ones(1, np.float32)}
    Fitted(state, Scaling(ones, ones), ("fox",)).save(tmp_path, {})
    with pytest.raises(ModelError, match="'edges' cannot be exported"):
        whole_of(Frozen(backbone="edges"), "frozen", tmp_path)
    with pytest.raises(ModelError, match="'own' cannot be exported"):
        whole_of(object(), "own", tmp_path)


def test_a_head_of_a_single_class_is_sure_of_it(tmp_path):
    from labelwise.models.frozen import Frozen
    from labelwise.models.heads import Fitted, Scaling
    from labelwise.models.whole import whole_of

    ones = np.ones(16, np.float32)
    state = {"seen": np.array([1]), "temperature": np.ones(1, np.float32)}
    Fitted(state, Scaling(ones, ones), ("fox", "wolf")).save(Path(tmp_path), {})
    whole = whole_of(Frozen(backbone="pixels", size=4), "frozen", tmp_path)
    assert whole.probs([np.zeros((4, 4), np.uint8)]).tolist() == [[0.0, 1.0]]
