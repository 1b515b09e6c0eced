"""Segmentation with reconstruction on one vision transformer: its parts, its warm-up, its pictures, MPS in a run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api
from labelwise import config as configuration
from labelwise.errors import LabelwiseError
from labelwise.models import Place, Plan
from labelwise.models.mmseg import MMSeg
from labelwise.parts import build
from labelwise.records import Labelled, Sample, Target
from labelwise.testing import quiet

pytestmark = [
    pytest.mark.mmseg,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(importlib.util.find_spec("mmseg") is None, reason="mmsegmentation absent"),
]

Write = Callable[..., Path]

MULTI = """
model = dict(
    type="MultiTaskSegmentor", data_preprocessor=data_preprocessor, mae_config=dict(mask_ratio=0.5),
    backbone=dict(
        type="SharedVisionTransformer", img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=2, num_heads=2,
        with_cls_token=False, final_norm=True, pos_embed_type="learnable",
    ),
    decode_head=dict(
        type="FCNHead", in_channels=16, channels=16, num_convs=0, concat_input=False, num_classes=3, dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="MaskDecodeHead", img_size=(32, 32), patch_size=8, in_channels=16, channels=8, embed_dims=8, num_layers=1,
        num_heads=2, num_classes=3, pos_embed_type="fixed", norm_cfg=dict(type="LN"), align_corners=False,
        loss_decode=dict(type="ReconstructionLoss", loss_weight=2.0),
    ),
    train_cfg=dict(), test_cfg=dict(mode="whole"),
)
runner["type"] = "MultiTaskActiveRunner"
visualizer = dict(type="SegLocalVisualizer", name="visualizer", vis_backends=[dict(type="LocalVisBackend")])
"""


@pytest.fixture
def multi(mmseg_config: Write) -> Write:
    """The small configuration with a small MultiTaskSegmentor in it."""
    return lambda *lines, **options: mmseg_config(MULTI, *lines, **options)


def network(**changes: Any) -> Any:
    """The network of the configuration above, made by hand."""
    import torch
    from mmengine.config import ConfigDict

    from labelwise import mmlab

    with mmlab.scope(ConfigDict()):
        from mmseg.registry import MODELS

        from labelwise.models.mmseg import multitask

        multitask.register()
        scope: dict[str, Any] = {"data_preprocessor": {"type": "SegDataPreProcessor", "size": (32, 32)}, "runner": {}}
        exec(MULTI, scope)
        config = scope["model"]
        for key, value in changes.items():
            branch, _, last = key.rpartition("__")
            (config[branch] if branch else config)[last] = value
        torch.manual_seed(0)
        model = MODELS.build(config)
        model.init_weights()
        return model.eval()


# --- patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "size"), [(8, 12, 4), (4, 4, 4), (6, 9, 3)])
def test_patches_and_back(height: int, width: int, size: int) -> None:
    import torch

    from labelwise.models.mmseg.patches import as_image, as_patches, padded

    images = torch.rand(2, 3, height, width)
    patches = as_patches(images, size)
    columns = width // size
    for index in range(patches.shape[1]):
        y, x = divmod(index, columns)
        cut = images[:, :, y * size : (y + 1) * size, x * size : (x + 1) * size]
        assert torch.equal(patches[:, index], cut.reshape(2, -1))
    assert torch.equal(as_image(patches, (height // size, columns), size), images)
    grown = padded(images[..., :-1], size)
    assert grown.shape == images.shape
    assert (grown[..., -1] == 0).all()


@pytest.mark.parametrize(("count", "together"), [(16, 8), (16, 12), (7, 3), (5, 1), (2, 1), (9, 4)])
def test_every_patch_is_hidden_and_never_with_too_many(count: int, together: int) -> None:
    from labelwise.models.mmseg.patches import hidden_sets

    sets = [s.tolist() for s in hidden_sets(count, together, 3)]
    assert all(len(set(s)) == together for s in sets)
    assert set().union(*sets) == set(range(count))
    assert len(sets) == -(-count // together)
    assert sets == [s.tolist() for s in hidden_sets(count, together, 3)]
    assert count < 5 or sets != [s.tolist() for s in hidden_sets(count, together, 4)]


@pytest.mark.parametrize(
    ("length", "window", "step", "found"),
    [(10, 4, 2, [0, 2, 4, 6]), (9, 4, 2, [0, 2, 4, 5]), (4, 4, 2, [0]), (3, 4, 2, [0])],
)
def test_windows_cover_an_image(length: int, window: int, step: int, found: list[int]) -> None:
    from labelwise.models.mmseg.patches import starts

    assert starts(length, window, step) == found


def test_fixed_places_differ_and_can_be_of_another_grid() -> None:
    from labelwise.models.mmseg.patches import fixed_places, resized_places

    places = fixed_places(3, 5, 16)[0]
    assert places.shape == (15, 16)
    assert len({tuple(p.tolist()) for p in places}) == 15
    assert places.abs().max() <= 1
    wider = resized_places(places[None], (3, 5), (6, 10))
    assert wider.shape == (1, 60, 16)
    assert resized_places(places[None], (3, 5), (3, 5)).equal(places[None])


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls_token", [True, False])
def test_all_patches_shown_are_seen_as_the_segmentation_sees_them(cls_token: bool) -> None:
    import torch

    model = network(backbone__with_cls_token=cls_token)
    images = torch.randn(2, 3, 32, 48)
    order = torch.arange(24).expand(2, -1)
    with torch.no_grad():
        whole = model.backbone(images)[-1].flatten(2).transpose(1, 2)
        assert torch.allclose(model.backbone.visible(images, order), whole, atol=1e-5)
        turned = model.backbone.visible(images, order.flip(1))
        assert torch.allclose(turned.flip(1), whole, atol=1e-5), "tokens come in the order they were asked for"


def test_what_is_hidden_is_not_looked_at() -> None:
    import torch

    model = network()
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, :8, :8] = 9.0  # patch 0
    kept = torch.tensor([[1, 3, 6, 10]])
    with torch.no_grad():
        assert torch.equal(model.backbone.visible(images, kept), model.backbone.visible(changed, kept))
        assert torch.equal(model._reconstruct(images, kept)[0], model._reconstruct(changed, kept)[0])


def test_the_loss_is_that_of_the_hidden_patches() -> None:
    import torch

    from labelwise.models.mmseg.multitask import ReconstructionLoss

    rng = np.random.default_rng(0)
    found, wanted = rng.normal(size=(2, 2, 5, 12)).astype(np.float32)
    hidden = np.array([[1, 0, 1, 0, 0], [0, 0, 1, 1, 1]], np.float32)
    expected = np.mean([np.mean((found[b, i] - wanted[b, i]) ** 2) for b in range(2) for i in range(5) if hidden[b, i]])
    loss = ReconstructionLoss(loss_weight=3.0)(*map(torch.from_numpy, (found, wanted, hidden)))
    assert float(loss) == pytest.approx(3 * expected, rel=1e-5)


def test_errors_are_those_of_windows_and_hidden_patches() -> None:
    """The plain way: every window, every set of hidden patches, every pixel by itself."""
    import torch

    from labelwise.models.mmseg.patches import hidden_sets

    model = network(mae_config={"mask_ratio": 0.75})
    image = torch.randn(1, 3, 40, 52)
    total, times = np.zeros((40, 52)), np.zeros((40, 52))
    with torch.no_grad():
        for y in (0, 8):
            for x in (0, 16, 20):
                window = image[:, :, y : y + 32, x : x + 32]
                for hidden in hidden_sets(16, 12, 0):
                    kept = torch.tensor([[i for i in range(16) if i not in hidden.tolist()]])
                    patches = model.auxiliary_head(model.backbone.visible(window, kept), kept, (4, 4))[0]
                    for index in hidden.tolist():
                        top, left = 8 * (index // 4), 8 * (index % 4)
                        made = patches[index].reshape(3, 8, 8).numpy()
                        true = window[0, :, top : top + 8, left : left + 8].numpy()
                        place = (slice(y + top, y + top + 8), slice(x + left, x + left + 8))
                        total[place] += (0.5 * (made - true) ** 2).mean(axis=0)
                        times[place] += 1
    assert times.min() >= 1
    np.testing.assert_allclose(model.reconstruction_errors(image)[0].numpy(), total / times, rtol=1e-4)
    twice = model.reconstruction_errors(torch.cat([image, image.flip(3)]))
    np.testing.assert_allclose(twice[0].numpy(), total / times, rtol=1e-4)


def test_pictures_smaller_than_a_window() -> None:
    import torch

    model = network()
    errors = model.reconstruction_errors(torch.randn(1, 3, 21, 30))
    assert errors.shape == (1, 21, 30)
    assert torch.isfinite(errors).all()


def test_shown_patches_stay_as_they_are() -> None:
    import torch

    model = network()
    images = torch.randn(2, 3, 30, 32)
    made, hidden = model.reconstructed(images)
    assert made.shape == images.shape
    assert hidden.shape == (2, 1, 30, 32)
    assert 0.4 < hidden.mean() < 0.6
    assert torch.equal(made * (1 - hidden), images * (1 - hidden))
    assert not torch.equal(made, images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mae_config": {"mask_ratio": 1.0}}, "mask_ratio"),
        ({"backbone__type": "VisionTransformer", "backbone__pos_embed_type": None}, "SharedVisionTransformer"),
        ({"auxiliary_head": None}, "MaskDecodeHead"),
        ({"auxiliary_head__patch_size": 16}, "patch_size"),
        ({"backbone__pos_embed_type": "rotary"}, "learnable or fixed"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    if change.get("backbone__type") == "VisionTransformer":
        change = {
            "backbone": {
                "type": "VisionTransformer",
                "img_size": (32, 32),
                "patch_size": 8,
                "embed_dims": 16,
                "num_heads": 2,
            }
        }
    with pytest.raises(LabelwiseError, match=words) as caught:
        network(**change)
    assert "\n" not in str(caught.value)


# --- training --------------------------------------------------------------------------------------------------------


def items(folder: Path, count: int = 4) -> list[Labelled]:
    """Pictures with a few points."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        path = folder / "data" / "images" / f"{i:03d}.png"
        xy = np.stack([rng.permutation(48)[:9], rng.integers(0, 32, 9)], axis=1)
        target = Target(("red", "green", "blue"), xy, np.arange(9) % 3)
        found.append(Labelled(Sample(f"images/{i:03d}.png", path, size=(48, 32)), target))
    return found


def fitted(path: Path, folder: Path, **options: Any) -> tuple[MMSeg, Path]:
    model = MMSeg(path, **options)
    folder.mkdir(parents=True, exist_ok=True)
    train = items(path.parent)
    model.prepare([x.sample for x in train], [], place=Place(folder, folder, 1), progress=quiet)
    plan = Plan(("blue", "red", "green"), 0)
    return model, model.fit(train, [], out=folder / "out", start=None, plan=plan, seed=5, progress=quiet)


def logged(out: Path) -> list[dict[str, Any]]:
    files = sorted((out / "mmengine").rglob("scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def test_both_tasks_are_learnt_together(multi: Write, tmp_path: Path) -> None:
    _, out = fitted(multi(), tmp_path / "home")
    rows = logged(out)
    assert len(rows) == 6
    for row in rows:
        assert row["loss"] == pytest.approx(row["decode.loss_ce"] + row["reconstruct.loss_mae"], rel=1e-5)
        assert row["reconstruct.loss_mae"] > 0


def test_the_weight_of_the_reconstruction(multi: Write, tmp_path: Path) -> None:
    first = logged(fitted(multi(), tmp_path / "a")[1])[0]
    line = "model['auxiliary_head']['loss_decode']['loss_weight'] = 6.0"
    second = logged(fitted(multi(line), tmp_path / "b")[1])[0]
    assert second["reconstruct.loss_mae"] == pytest.approx(3 * first["reconstruct.loss_mae"], rel=1e-4)
    assert second["decode.loss_ce"] == pytest.approx(first["decode.loss_ce"], rel=1e-4)


def test_the_warm_up_learns_without_labels_and_once(multi: Write, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = multi("optim_wrapper['optimizer']['lr'] = 0.05")
    model, out = fitted(path, tmp_path / "home", warmup=3)
    warm = tmp_path / "home" / "warmup"
    rows = logged(warm)
    assert len(rows) == 3, "four pictures are one batch an epoch"
    assert all("decode.loss_ce" not in row for row in rows)
    start = load_file(warm / "network.safetensors")
    written = (warm / "network.safetensors").stat().st_mtime_ns
    plan = Plan(("blue", "red", "green"), 1)
    model.fit(items(tmp_path), [], out=tmp_path / "home" / "b", start=out, plan=plan, seed=6, progress=quiet)
    assert (warm / "network.safetensors").stat().st_mtime_ns == written
    still = multi("optim_wrapper['optimizer']['lr'] = 0.0", name="still.py")
    again = MMSeg(still, warmup=3)
    again._place, again._pool = Place(tmp_path / "home", tmp_path, 1), ()
    again.fit(items(tmp_path), [], out=tmp_path / "c", start=None, plan=plan, seed=6, progress=quiet)
    same = load_file(tmp_path / "c" / "network.safetensors")
    assert all((same[name] == start[name]).all() for name in start), "each round begins from the warm network"


def test_an_interrupted_warm_up_begins_anew(multi: Write, tmp_path: Path) -> None:
    path = multi()
    _, whole = fitted(path, tmp_path / "whole", warmup=3)
    model, home = MMSeg(path, warmup=3), tmp_path / "torn"
    home.mkdir()
    train, plan = items(path.parent), Plan(("blue", "red", "green"), 0)
    model.prepare([x.sample for x in train], [], place=Place(home, home, 1), progress=quiet)

    def stop(done: int, total: int, what: str) -> None:
        assert what == "iterations of the warm-up"
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(train, [], out=home / "out", start=None, plan=plan, seed=5, progress=stop)
    assert not (home / "warmup").exists()
    out = model.fit(train, [], out=home / "out", start=None, plan=plan, seed=5, progress=quiet)
    a, b = ((place / "network.safetensors").read_bytes() for place in (whole, out))
    assert a == b


def test_both_tasks_with_a_warm_up_in_two_processes(multi: Write, tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = multi("val_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=test_pipeline))")
    _, out = fitted(path, tmp_path / "home", warmup=1, processes=2, reconstructions=made, validate_every=3)
    assert len([row for row in logged(out) if "loss" in row]) == 6, "one rank writes what both learn"
    assert (tmp_path / "home/warmup/network.safetensors").is_file()
    assert {p.parent.parent.name for p in made.rglob("*.png")} == {"warmup", "round0"}


def test_pictures_of_reconstructions(multi: Write, tmp_path: Path) -> None:
    fitted(multi(), tmp_path / "home", warmup=1, reconstructions=tmp_path / "made")
    names = sorted(p.relative_to(tmp_path / "made").as_posix() for p in (tmp_path / "made").rglob("*.png"))
    assert names == [
        *(f"round0/iter6/sample_{i}.png" for i in range(4)),
        *(f"warmup/iter1/sample_{i}.png" for i in range(4)),
    ]
    picture = np.asarray(Image.open(tmp_path / "made" / names[0]))
    assert picture.shape == (32, 96, 3)
    # the test pipeline makes 72 x 48 of 48 x 32, and the window is in the middle
    scaled = Image.open(tmp_path / "data" / "images" / "000.png").resize((72, 48), Image.Resampling.BILINEAR)
    true = np.asarray(scaled)[8:40, 20:52].astype(int)
    assert np.abs(picture[:, :32].astype(int) - true).mean() < 12
    grey = (picture[:, 32:64] == 128).all(axis=-1)
    assert 0.4 < grey.mean() < 0.6
    shown = ~grey
    assert (picture[:, 32:64][shown] == picture[:, :32][shown]).all()
    assert (picture[:, 64:][shown] == picture[:, :32][shown]).all()
    assert (picture[:, 64:][grey] != picture[:, :32][grey]).any()


def test_looking_on_changes_nothing(multi: Write, tmp_path: Path) -> None:
    validation = "val_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=test_pipeline))"
    path = multi(validation)
    _, plain = fitted(path, tmp_path / "a")
    _, watched = fitted(path, tmp_path / "b", validate_every=2, reconstructions=tmp_path / "made")
    a, b = ((out / "network.safetensors").read_bytes() for out in (plain, watched))
    assert a == b
    rows = [row for row in logged(watched) if "val/decode.loss_ce" in row]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(row["val/reconstruct.loss_mae"] > 0 for row in rows)
    assert rows[0]["val/decode.loss_ce"] != rows[-1]["val/decode.loss_ce"]


def test_validation_losses_of_any_network(mmseg_config: Write, tmp_path: Path) -> None:
    backends = "visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])"
    path = mmseg_config(
        "val_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=test_pipeline))", backends
    )
    _, out = fitted(path, tmp_path / "home", validate_every=3)
    assert [row["step"] for row in logged(out) if "val/decode.loss_ce" in row] == [3, 6]


# --- the configuration and whole runs --------------------------------------------------------------------------------


def loaded(path: Path, *changes: str) -> Any:
    config = configuration.load(path, list(changes))
    build(config)
    return config


def test_the_keys_of_a_multi_task_run(multi: Write, tmp_path: Path) -> None:
    assert loaded(multi()).model.options["reconstructions"] == str(tmp_path / "work" / "reconstructed_images")
    lines = ("mae_viz_dir = 'mae_warmup_images'", "mae_warmup_epochs = 4", "mask_dir = 'x'")
    options = loaded(multi(*lines)).model.options
    assert options["reconstructions"] == str(tmp_path / "work" / "mae_warmup_images")
    assert options["warmup"] == 4
    heuristic = "active_learning['heuristic'] = 'mps'"
    assert loaded(multi(heuristic)).strategy.score == {"name": "mps_ripu", "radius": 1}
    cfg = "active_learning['heuristic_cfg'] = dict(k=2, use_entropy={}, categories=3, crop_size=(32, 32))"
    assert loaded(multi(heuristic, cfg.format(True))).strategy.score == {"name": "mps_ripu", "radius": 2}
    assert loaded(multi(heuristic, cfg.format(False))).strategy.score == "mps"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model['type'] = 'EncoderDecoder'", "needs model.type='MultiTaskSegmentor'"),
        ("model['type'] = runner['type'] = 'EncoderDecoder'", "expected ActiveLearningRunner or"),
        ("active_learning.update(heuristic='mps', heuristic_cfg=dict(crop_size=(64, 64)))", r"img_size=\(32, 32\)"),
        ("active_learning.update(heuristic='mps', heuristic_cfg=dict(cropsize=1))", "did you mean 'crop_size'"),
        ("active_learning.update(heuristic='mps', heuristic_cfg=dict(k=0))", "heuristic_cfg.k"),
        ("mae_viz_dir = 3", "name of a folder"),
        ("mae_warmup_epochs = -1", "mae_warmup_epochs: expected a number"),
        ("mae_warmup_epochs = 2.5", "mae_warmup_epochs: expected a number"),
        ("multitask_validation_iter = 'often'", "multitask_validation_iter: expected a number"),
        ("multitask_validation_iter = 5", "needs val_dataloader"),
        ("runner['warmup_only'] = True", "warmup_only: .* set mae_warmup_epochs"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(multi: Write, line: str, words: str) -> None:
    path = multi(line)
    with pytest.raises(LabelwiseError, match=words) as caught:
        loaded(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_network_without_reconstruction_has_no_mps(mmseg_config: Write) -> None:
    config = configuration.load(mmseg_config(), ["strategy.score=mps"])
    with pytest.raises(LabelwiseError, match="needs reconstruction"):
        build(config)


@pytest.mark.parametrize("mode", ["pixel", "region", "image"])
def test_a_run_with_mps(multi: Write, tmp_path: Path, mode: str) -> None:
    path = multi("active_learning['heuristic'] = 'mps'", "mae_warmup_epochs = 1", "mae_viz_dir = 'mae'")
    changes = [f"runner.sample_mode={mode}"]
    whole = api.run(path, [*changes, f"work_dir={tmp_path / 'whole'}"], report=False)
    for _ in range(2):
        parts = api.run(path, [*changes, f"work_dir={tmp_path / 'parts'}"], rounds=1, report=False)
    for round in (0, 1):
        ours, theirs = ([(q.sample_id, str(q.geometry)) for q in r.queries[round]] for r in (whole, parts))
        assert ours == theirs
    amounts = {"pixel": [36, 84], "region": [12, 30], "image": [2, 4]}
    assert [int(whole.labels(r)) for r in whole.rounds] == amounts[mode]
    assert whole.evaluations["test"] == parts.evaluations["test"]
    assert len(list((tmp_path / "whole" / "mae" / "warmup").rglob("*.png"))) > 0
    assert len(list((tmp_path / "whole" / "mae" / "round1").rglob("*.png"))) > 0
