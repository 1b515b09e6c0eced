"""Detectors: the seam, what they learn, class rows through the suppression, and pictures without anything in them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.ops import box_iou

from labelwise import api, evaluate, testing
from labelwise.data import coco
from labelwise.embedding.backbone import Preprocessing
from labelwise.errors import ModelError
from labelwise.models import Place, Plan
from labelwise.models.detectors import Detector
from labelwise.models.detectors.training import BoxTraining, one_cycle
from labelwise.records import Labelled, Prediction

TINY: dict[str, Any] = {
    "backbone": "mobilenetv2_035", "weights": "none", "size": 64, "channels": 32, "iterations": 4, "train_batch": 2,
}  # fmt: skip
ARCHITECTURES = ("fcos", "retinanet", "faster_rcnn", "ssdlite")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_keeps_the_seam(architecture: str, tmp_path: Path) -> None:
    testing.check_detection_model(lambda: Detector(**TINY, architecture=architecture), tmp_path)


def labelled(folder: Path, count: int = 8) -> list[Labelled]:
    listing = coco.read(testing.make_boxes(folder / "data", count))
    samples = [replace(s, content=f"{i:032x}", size=(64, 48)) for i, s in enumerate(listing.samples)]
    return [Labelled(s, s.target) for s in samples if s.target is not None]


def prepared(folder: Path, **options: Any) -> Detector:
    model = Detector(**(TINY | options))
    model.prepare([], [], place=Place(folder, folder / "cache", 2), progress=testing.quiet)
    return model


def fitted(model: Detector, train: list[Labelled], out: Path, val: Any = (), **more: Any) -> Path:
    given = {"start": None, "plan": Plan(("red", "green"), 0), "seed": 1, "progress": testing.quiet} | more
    return model.fit(train, val, out=out, **given)


def found(model: Detector, checkpoint: Path, items: list[Labelled], *want: str) -> list[Prediction]:
    return list(model.predict(checkpoint, [x.sample for x in items], want=frozenset(want or ("boxes", "probs"))))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_learns_squares(architecture: str, tmp_path: Path) -> None:
    items = labelled(tmp_path, 24)
    model = prepared(
        tmp_path, architecture=architecture, iterations=80, train_batch=4, size=96, lr=3e-3, head_lr=3e-3,
        freeze_norm=False, brightness=0.0, finest=4,
    )  # fmt: skip
    checkpoint = fitted(model, items, tmp_path / "one")
    truths = {x.sample.id: x.target for x in items}
    scores = evaluate.detection(found(model, checkpoint, items, "boxes"), truths, ("red", "green"))
    assert scores.map50 > 0.15


def test_the_whole_row_of_classes_stays_with_its_box(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    for architecture in ARCHITECTURES:
        model = prepared(tmp_path, architecture=architecture, threshold=0.0)
        for p in found(model, fitted(model, items, tmp_path / architecture), items[:3], "boxes", "probs"):
            assert p.probs is not None
            assert p.confidences is not None
            assert p.labels is not None
            assert p.independent
            assert (p.probs.max(axis=1) == p.confidences).all()
            assert (p.probs.argmax(axis=1) == p.labels).all()
            assert (np.diff(p.confidences) <= 0).all(), "the surest first"
            assert ((p.probs >= 0) & (p.probs <= 1)).all()
            assert (p.probs > 0).all(), "also of the classes that did not win"


def test_of_boxes_that_overlap_in_one_class_the_surer_stays(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    model = prepared(tmp_path, threshold=0.0, overlap=0.3, most=50)
    for p in found(model, fitted(model, items, tmp_path / "one"), items[:3]):
        assert p.boxes is not None
        assert p.labels is not None
        assert 0 < len(p.boxes) <= 50
        for label in (0, 1):
            own = torch.from_numpy(p.boxes[p.labels == label])
            apart = box_iou(own, own).fill_diagonal_(0)
            assert not len(own) or float(apart.max()) <= 0.3 + 1e-4


def test_a_detector_that_finds_nothing(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    model = prepared(tmp_path, threshold=0.99)
    for p in found(model, fitted(model, items, tmp_path / "one"), items[:2], "boxes", "probs", "objects"):
        assert p.boxes is not None
        assert p.probs is not None
        assert p.embedding is not None
        assert p.boxes.shape == (0, 4)
        assert p.probs.shape == (0, 2)
        assert p.embedding.shape == (0, 32)


def test_boxes_come_back_in_pixels_of_the_picture(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    wide = {"architecture": "ssdlite", "threshold": 0.0, "most": 10_000, "overlap": 0.99}  # boxes beyond all edges
    small = prepared(tmp_path, **wide)
    checkpoint = fitted(small, items, tmp_path / "one")
    boxes = found(small, checkpoint, items[:1])[0].boxes
    assert boxes is not None
    assert boxes.min() >= 0
    assert boxes[:, 2].max() == pytest.approx(64, abs=0.01)
    assert boxes[:, 3].max() == pytest.approx(48, abs=0.01)
    large = prepared(tmp_path, **wide, size=128)
    again = found(large, checkpoint, items[:1])[0].boxes
    assert again is not None
    assert again[:, 2].max() == pytest.approx(64, abs=0.01)


def test_a_vector_an_image_before_any_training(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    vectors = [
        p.embedding for p in prepared(tmp_path).predict(None, [x.sample for x in items], want=frozenset({"embeddings"}))
    ]
    assert len({v.shape for v in vectors if v is not None}) == 1
    assert vectors[0] is not None
    assert vectors[0].ndim == 1
    again = prepared(tmp_path).predict(None, [items[0].sample], want=frozenset({"embeddings"}))
    assert np.array_equal(next(iter(again)).embedding, vectors[0])


def test_early_stopping_keeps_the_best_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = labelled(tmp_path)
    qualities = iter([0.1, 0.9, 0.5, 0.4, 0.3])
    weights: list[Any] = []
    steps: list[int] = []

    def quality(self: Detector, network: Any, *_: Any) -> float:
        weights.append({k: v.clone() for k, v in network.state_dict().items()})
        return next(qualities)

    monkeypatch.setattr(Detector, "_quality", quality)
    model = prepared(tmp_path, iterations=20, patience=3, validation=0.25)
    checkpoint = fitted(model, items[:6], tmp_path / "one", items[6:], progress=lambda done, *_: steps.append(done))
    assert steps[-1] == 10, "a check every second step; the fifth is the third without gain"
    stored = load_file(checkpoint / "network.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in weights[1].items())


def test_validation_images_without_box_check_nothing(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    empty = [x for x in items if not x.target.classes]
    fitted(prepared(tmp_path, validation=0.25), items[:3], tmp_path / "one", empty)


def test_it_goes_on_from_the_previous_round_only_if_asked(tmp_path: Path) -> None:
    items = labelled(tmp_path)
    first = fitted(prepared(tmp_path), items, tmp_path / "first")
    still = {"iterations": 1, "lr": 1e-12, "head_lr": 1e-12, "weight_decay": 0.0}

    def stored(out: str, **options: Any) -> dict[str, Any]:
        return load_file(
            fitted(prepared(tmp_path, **still, **options), items, tmp_path / out, start=first) / "network.safetensors"
        )

    before = load_file(first / "network.safetensors")
    name = "head.classification_head.cls_logits.weight"
    assert torch.allclose(stored("second", start="previous")[name], before[name], atol=1e-6)
    assert not torch.allclose(stored("third")[name], before[name], atol=1e-6)


def test_flips_move_the_boxes_with_the_picture(tmp_path: Path) -> None:
    items = [x for x in labelled(tmp_path) if x.target.classes]
    model = prepared(tmp_path, flips="both", brightness=0.0)
    training = BoxTraining(
        model, model._create(2), items, Plan(("red", "green"), 0), preprocessing=Preprocessing(), threads=1,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    seen = set()
    for item in items:
        for seed in range(8):
            pixels, boxes, labels = training._prepared((item, seed))
            seen.add(boxes.tobytes())
            (x0, y0, x1, y1), label = boxes[-1].astype(int), labels[-1]
            inside = pixels[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].reshape(-1, 3).mean(axis=0)
            assert inside.argmax() == label, "the square is where its box is; red is channel 0, green 1"
    assert len(seen) > len(items)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 40}, "multiple of 32"),
        ({"finest": 64}, "levels of stride"),
        ({"weights": "nowhere.safetensors"}, "no weight file"),
        ({"backbone": "mobilenet_v99"}, "no network"),
        ({"lr": 1e9, "head_lr": 1e9, "iterations": 30}, "not finite"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        fitted(prepared(tmp_path, **options), labelled(tmp_path), tmp_path / "one")


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = fitted(prepared(tmp_path), labelled(tmp_path), tmp_path / "one")
    other = prepared(tmp_path, architecture="ssdlite")
    with pytest.raises(ModelError, match="another network"):
        found(other, checkpoint, labelled(tmp_path)[:1])


def test_a_schedule_rises_and_falls() -> None:
    shares = [one_cycle(i / 100, 0.1) for i in range(100)]
    assert shares[10] == pytest.approx(1, abs=1e-6)
    assert all(a < b for a, b in itertools.pairwise(shares[:11]))
    assert all(a > b for a, b in itertools.pairwise(shares[10:]))
    assert one_cycle(0.0, 0.0) == 1


def _run(folder: str, kill_at: int) -> None:
    torch.set_num_threads(1)

    def progress(done: int, total: int, what: str) -> None:
        if what == "training steps" and done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    api.run(plan(Path(folder)), report=False, progress=progress)


def plan(folder: Path) -> dict[str, Any]:
    return {
        "name": "run", "task": "detect", "data": {"format": "coco", "path": str(folder.parent / "data"), "test": 0.25},
        "model": {"name": "detector", **TINY}, "budget": {"initial": 4, "per_round": 3, "rounds": 2},
        "out": str(folder), "threads": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_a_killed_training_is_done_again_with_the_same_result(tmp_path: Path) -> None:
    testing.make_boxes(tmp_path / "data", 16)
    whole = api.run(plan(tmp_path / "whole"), report=False)
    context = multiprocessing.get_context("spawn")
    for step in (2, 3):
        process = context.Process(target=_run, args=(str(tmp_path / "killed"), step))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
    result = api.run(plan(tmp_path / "killed"), report=False)
    for r in whole.rounds:
        assert result.picks(r) == whole.picks(r)
        assert result.evaluations["test"][r] == whole.evaluations["test"][r]
