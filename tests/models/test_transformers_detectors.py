"""Detectors of transformers: the seam, what they learn, probabilities with and without no object, new classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelwise import evaluate, testing
from labelwise.data import coco
from labelwise.errors import ModelError
from labelwise.models import Place, Plan
from labelwise.models.detr_training import targets
from labelwise.models.transformers_detectors import TransformersDetector, class_probabilities, network_for
from labelwise.records import Labelled, Target
from labelwise.testing import quiet
from labelwise.testing.making import make_boxes

Save = Callable[..., str]
KINDS = ("rt_detr", "detr", "deformable", "yolos")
FAST: dict[str, Any] = {"epochs": 1, "lr": 1e-3, "backbone_lr": 1e-3, "threshold": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def squares(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> list[Labelled]:
    listing = coco.read(make_boxes(folder, count, size=size))
    return [Labelled(replace(s, size=size), s.target) for s in listing.samples if s.target is not None]


def fit(
    model: TransformersDetector, train: list[Labelled], out: Path, val: list[Labelled] | None = None, **more: Any
) -> Path:
    model.prepare([], [], place=Place(out.parent, out.parent, 1), progress=quiet)
    given = {"start": None, "plan": Plan(("red", "green"), 0), "seed": 1, "progress": quiet} | more
    return model.fit(train, val or [], out=out, **given)


@pytest.mark.transformers
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_keeps_the_seam(kind: str, tmp_path: Path, tiny_detector: Save) -> None:
    folder = tiny_detector(tmp_path / "weights", kind)
    start = "previous" if kind == "detr" else "scratch"
    testing.check_detection_model(lambda: TransformersDetector(folder, start=start, **FAST), tmp_path / "check")


@pytest.mark.transformers
@pytest.mark.slow
def test_coloured_squares_are_learnt(tmp_path: Path, tiny_detector: Save) -> None:
    items = squares(tmp_path / "data", 40)
    model = TransformersDetector(
        tiny_detector(tmp_path / "w"), epochs=25, lr=2e-3, backbone_lr=2e-3, train_batch=8, freeze_norm=False
    )
    classes = ("red", "green")
    quality = []
    for name, train in (("one", items[1:2]), ("many", items[:32])):
        checkpoint = fit(replace(model, epochs=1 if name == "one" else 25), train, tmp_path / name)
        found = model.predict(checkpoint, [x.sample for x in items[32:]], want=frozenset({"boxes"}))
        quality.append(evaluate.detection(found, {x.sample.id: x.target for x in items[32:]}, classes).map50)
    assert quality[0] < 0.1
    assert quality[1] > 0.2


@pytest.mark.transformers
def test_training_stops_early_and_keeps_the_best_epoch(tmp_path: Path, tiny_detector: Save) -> None:
    items = squares(tmp_path / "data", 6)
    model = TransformersDetector(tiny_detector(tmp_path / "w"), epochs=30, patience=2, lr=1e-2, backbone_lr=1e-2)
    out = fit(model, items[1:3], tmp_path / "out", items[3:])
    about = json.loads((out / "about.json").read_text(encoding="utf-8"))
    judged = [loss for _, loss in about["loss"]]
    assert about["epochs"] == len(judged) < 30
    assert judged[-3] == min(judged)
    network = network_for(str(out), ("red", "green"), "checkpoint").eval()
    from labelwise.models.detr_training import DetrTraining

    again = DetrTraining(
        model, network, items[1:3], items[3:], ("red", "green"), processor=model._processor(model.weights), threads=1,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert again._validate() == pytest.approx(min(judged), rel=1e-3)


@pytest.mark.transformers
@pytest.mark.parametrize("kind", ["rt_detr", "detr"])
def test_a_class_that_is_added_keeps_the_rows_of_the_others(kind: str, tmp_path: Path, tiny_detector: Save) -> None:
    items = squares(tmp_path / "data", 4)
    model = TransformersDetector(tiny_detector(tmp_path / "w", kind), start="previous", **FAST)
    out = fit(model, items, tmp_path / "out")
    before = network_for(str(out), ("red", "green"), "checkpoint").state_dict()
    after = network_for(str(out), ("red", "green", "blue"), "checkpoint").state_dict()
    grown = [name for name in before if before[name].shape != after[name].shape]
    assert grown
    for name in grown:
        torch.testing.assert_close(after[name][:2], before[name][:2])
        if len(before[name]) == 3:
            torch.testing.assert_close(after[name][3], before[name][2])
    with pytest.raises(ModelError, match="expected the classes red, green first, found green, red"):
        network_for(str(out), ("green", "red"), "checkpoint")


@pytest.mark.transformers
def test_pictures_of_many_shapes_are_never_filled_up(tmp_path: Path, tiny_detector: Save) -> None:
    """DETR takes any shape: a batch of three shapes learns as well as one, and gives what each gives alone."""
    items = [x for n, size in enumerate(((64, 48), (48, 64), (80, 40))) for x in squares(tmp_path / str(n), 3, size)]
    model = TransformersDetector(tiny_detector(tmp_path / "w", "detr"), train_batch=9, **FAST)
    out = fit(model, items, tmp_path / "out")
    want = frozenset({"boxes", "probs"})
    whole = list(model.predict(out, [x.sample for x in items], want=want))
    for item, p in zip(items, whole, strict=True):
        alone = next(model.predict(out, [item.sample], want=want))
        np.testing.assert_allclose(np.sort(alone.confidences), np.sort(p.confidences), atol=1e-4)
        np.testing.assert_allclose(p.probs.sum(axis=1), 1, atol=1e-5)
        assert not p.independent
        assert (p.confidences <= p.probs.max(axis=1) + 1e-6).all()


@pytest.mark.transformers
def test_vectors_of_pictures_need_no_training(tmp_path: Path, tiny_detector: Save) -> None:
    items = squares(tmp_path / "data", 3)
    for kind in KINDS:
        model = TransformersDetector(tiny_detector(tmp_path / kind, kind), size=32)
        model.prepare([], [], place=Place(tmp_path, tmp_path, 1), progress=quiet)
        found = list(model.predict(None, [x.sample for x in items], want=frozenset({"embeddings"})))
        assert {np.shape(p.embedding) for p in found} == {(32,)}
        assert not np.allclose(found[0].embedding, found[1].embedding)


def test_class_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0], [-1.0, 3.0]])
    probs, sure, independent = class_probabilities(logits, 2)
    assert independent
    np.testing.assert_allclose(probs, 1 / (1 + np.exp(-logits.numpy())), atol=1e-6)
    np.testing.assert_allclose(sure, probs.max(dim=1).values)
    logits = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 3.0, 9.0]])  # the last is no object
    probs, sure, independent = class_probabilities(logits, 2)
    assert not independent
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sure, shares[:, :2].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(probs, shares[:, :2] / shares[:, :2].sum(axis=1, keepdims=True), atol=1e-6)


def test_targets() -> None:
    target = Target(("b", "a", "a"), np.array([[10.0, 5, 30, 15], [0, 0, 45, 20], [7, 7, 7, 9]]))
    made = targets(target, ("a", "b"), (40, 20))
    assert made["class_labels"].tolist() == [1, 0]
    np.testing.assert_allclose(made["boxes"], [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    none = targets(Target((), np.zeros((0, 4))), ("a",), (40, 20))
    assert none["boxes"].shape == (0, 4)
    assert none["class_labels"].shape == (0,)


@pytest.mark.transformers
def test_weights_of_another_network(tmp_path: Path, tiny_detector: Save) -> None:
    from safetensors.torch import save_file

    folder = Path(tiny_detector(tmp_path / "w", "detr"))
    save_file({"nothing": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    model = TransformersDetector(str(folder))
    with pytest.raises(ModelError, match=r"holds no weights for .* these are of another network"):
        model.prepare([], [], place=Place(tmp_path, tmp_path, 1), progress=quiet)


@pytest.mark.transformers
def test_a_learning_rate_that_is_too_high(tmp_path: Path, tiny_detector: Save) -> None:
    items = squares(tmp_path / "data", 4)
    model = TransformersDetector(tiny_detector(tmp_path / "w", "detr"), epochs=9, lr=1e20, backbone_lr=1e20, warmup=0)
    with pytest.raises(ModelError, match=r"the loss is not finite in epoch \d: lower model.lr"):
        fit(model, items, tmp_path / "out")
