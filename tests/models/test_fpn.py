"""The feature pyramid: where a round begins, what is carried on, and what sparse labels become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labelwise.data import image_masks
from labelwise.data.images import open_image
from labelwise.data.masks import points_of, target_mask
from labelwise.errors import ConfigError
from labelwise.models import Place, Plan, pixelwise
from labelwise.models.fpn import Fpn
from labelwise.models.training import load_weights
from labelwise.records import Labelled
from labelwise.testing.making import make_masks, quiet

SMALL: dict[str, Any] = {
    "backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "train_batch": 2, "iterations": [2, 3, 1],
    "lr": 1e-3, "head_lr": 4e-3, "warmup": 0.5,
}  # fmt: skip


@pytest.fixture
def labelled(tmp_path: Path) -> list[Labelled]:
    listing = image_masks.read(make_masks(tmp_path / "data", 4))
    samples = [replace(s, content=f"{i:032x}", size=(48, 32)) for i, s in enumerate(listing.samples)]
    found = []
    for i, sample in enumerate(samples):
        assert sample.target is not None
        mask = target_mask(sample.target, listing.classes, (48, 32))
        some = np.random.default_rng(i).random(mask.shape) < 0.05
        found.append(Labelled(sample, points_of(mask, some, listing.classes)))
    return found


def made(folder: Path, **options: Any) -> Fpn:
    model = Fpn(**{**SMALL, **options})
    model.prepare([], [], place=Place(folder, folder, 1), progress=quiet)
    return model


def fit(
    model: Fpn,
    train: list[Labelled],
    out: Path,
    round: int = 0,
    start: Path | None = None,
    seed: int = 1,
    more: tuple[str, ...] = (),
) -> Path:
    plan = Plan(("blue", "red", "green", *more), round)
    return model.fit(train, [], out=out, start=start, plan=plan, seed=seed, progress=quiet)


class Watched(pixelwise.PixelTraining):
    """A training that writes down where it begins, and the rates of every step."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def run(self, progress: Any) -> None:
        moments = {i: {k: v.clone() for k, v in s.items()} for i, s in self.optimizer.state.items()}
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        begin = {
            "weights": {k: v.clone() for k, v in self.network.state_dict().items()},
            "moments": {i: moments[p] for i, p in enumerate(order) if p in moments},
            "step": self.step,
            "rates": [],
        }
        self.seen.append(begin)

        def look(done: int, total: int, what: str) -> None:
            begin["rates"].append([group["lr"] for group in self.optimizer.param_groups])

        super().run(look)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr("labelwise.models.fpn.PixelTraining", Watched)
    monkeypatch.setattr(Watched, "seen", [])
    return Watched.seen


def rounds(model: Fpn, labelled: list[Labelled], folder: Path) -> list[Path]:
    found: list[Path] = []
    for round in range(3):
        found.append(fit(model, labelled, folder / f"{round}", round, found[-1] if found else None))
    return found


def test_a_training_that_continues_keeps_weights_optimiser_and_schedule(
    seen: list[dict[str, Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    folders = rounds(made(tmp_path, start="continue"), labelled, tmp_path)
    assert [begin["step"] for begin in seen] == [0, 2, 5]
    assert [json.loads((f / "about.json").read_text("utf-8"))["step"] for f in folders] == [2, 5, 6]
    for folder, begin in zip(folders[:-1], seen[1:], strict=True):
        weights, moments = load_file(folder / "network.safetensors"), load_file(folder / "optimizer.safetensors")
        assert all(torch.equal(value, begin["weights"][name]) for name, value in weights.items())
        carried = {f"{i}.{k}": v for i, values in begin["moments"].items() for k, v in values.items()}
        assert carried.keys() == moments.keys()
        assert all(torch.equal(value, carried[name]) for name, value in moments.items())
        assert all(int(v["step"]) == begin["step"] for v in begin["moments"].values())
        assert any(v["exp_avg"].abs().max() > 0 for v in begin["moments"].values())
    # One cycle over the 6 steps of all rounds: up over the first half, down over the second.
    shares = np.arange(6) / 6
    rising, falling = 0.04 + 0.96 * shares / 0.5, 0.5 * (1 + np.cos(np.pi * (shares - 0.5) / 0.5)) + 1e-4
    expected = np.where(shares < 0.5, rising, falling)
    rates = np.array([rate for begin in seen for rate in begin["rates"]])
    assert np.allclose(rates, expected[:, None] * [1e-3, 4e-3])


@pytest.mark.parametrize("start", ["scratch", "previous"])
def test_a_training_that_begins_anew_has_a_schedule_of_its_own(
    start: Any, seen: list[dict[str, Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    first, *_ = rounds(made(tmp_path, start=start), labelled, tmp_path)
    assert [begin["step"] for begin in seen] == [0, 0, 0]
    assert not seen[1]["moments"]
    assert seen[0]["rates"][0] == seen[1]["rates"][0] == seen[2]["rates"][0]
    assert not (first / "optimizer.safetensors").exists()
    weights = load_file(first / "network.safetensors")
    same = all(torch.equal(value, seen[1]["weights"][name]) for name, value in weights.items())
    assert same is (start == "previous")


def test_a_continued_training_outlasts_its_list_at_the_lowest_rate(
    seen: list[dict[str, Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    folders = rounds(made(tmp_path, start="continue", iterations=[1, 1]), labelled, tmp_path)
    assert json.loads((folders[-1] / "about.json").read_text("utf-8"))["step"] == 3
    assert np.allclose(seen[2]["rates"], [[1e-7, 4e-7]])


@pytest.mark.parametrize("length", [{"iterations": 5}, {"iterations": None}, {"iterations": None, "epochs": 3}])
def test_a_training_that_continues_must_know_its_rounds(length: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"start=continue: expected .* as a list") as raised:
        Fpn(**{**SMALL, "start": "continue", **length})
    assert "\n" not in str(raised.value)


def test_no_point_is_lost_however_small_the_network_sees_it(labelled: list[Labelled]) -> None:
    item = labelled[0]
    assert item.target.geometry is not None
    mask = pixelwise.scaled_labels(item.target, ("blue", "red", "green"), (48, 32), (6, 4))
    places = {(int(x) // 8, int(y) // 8) for x, y in item.target.geometry}
    assert {(int(x), int(y)) for y, x in np.argwhere(mask != 255)} == places


@pytest.mark.parametrize(
    ("options", "several"),
    [
        ({}, True),
        ({"dropout": 0.0}, False),
        ({"passes": 1}, False),
        ({"dropout": 0.0, "passes": 1, "sampling": "flips"}, True),
        ({"dropout": 0.0, "sampling": "both"}, True),
        ({"passes": 1, "sampling": "both"}, False),
    ],
)
def test_samples_are_offered_where_passes_differ(options: dict[str, Any], several: bool, tmp_path: Path) -> None:
    assert ("samples" in made(tmp_path, **options).provides) is several


@pytest.mark.parametrize("size", [None, (64, 64), (24, 20)])
@pytest.mark.parametrize("more", [(), tuple("abcdefgh")], ids=["few classes", "many"])
def test_predictions_are_those_of_the_network_as_trained(
    size: tuple[int, int] | None, more: tuple[str, ...], labelled: list[Labelled], tmp_path: Path
) -> None:
    model, classes = made(tmp_path, size=size, freeze_norm=False), 3 + len(more)
    checkpoint = fit(model, labelled, tmp_path / "out", more=more)
    network = model._create(classes)
    load_weights(network, checkpoint, classes)
    network.eval()
    samples = [x.sample for x in labelled]
    found = list(model.predict(checkpoint, samples, want=frozenset({"probs", "samples"})))
    for sample, prediction in zip(samples, found, strict=True):
        pixels = model._scaled(open_image(sample.path)[0])
        with torch.inference_mode():
            logits = network(pixelwise.padded([pixels], model._preprocessing(network)))
        logits = logits[:, :, : pixels.shape[0], : pixels.shape[1]]
        expected = torch.nn.functional.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)[0].softmax(0)
        assert prediction.probs is not None
        assert prediction.samples is not None
        assert prediction.probs.shape == (32, 48, classes)
        np.testing.assert_allclose(prediction.probs, expected.permute(1, 2, 0).numpy(), atol=1e-4)
        assert prediction.samples.shape == (8, 32, 48, classes)
        np.testing.assert_allclose(prediction.samples.sum(axis=-1), 1, atol=1e-5)
