"""Runs that train by mmsegmentation: what the loss sees, where a round begins, and the same picks when run again."""

from __future__ import annotations

import json
import logging
import pickle
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api
from labelwise.errors import LabelwiseError
from labelwise.models import Place, Plan
from labelwise.models.mmseg import MMSeg
from labelwise.records import Labelled, Sample, Target
from labelwise.results import RunResult
from labelwise.store import Store
from labelwise.testing import quiet

pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]


def picks(result: RunResult) -> dict[str, list[Any]]:
    return {
        q.id: [q.sample_id, None if q.geometry is None else q.geometry.tolist()]
        for r in result.queries.values()
        for q in r
    }


@pytest.fixture
def labelled(mmseg_config: Write, tmp_path: Path) -> list[Labelled]:
    """Points of three pictures, made by hand."""
    mmseg_config(name="other.py")
    rng = np.random.default_rng(0)
    items = []
    for i in range(3):
        path = tmp_path / "data" / "images" / f"{i:03d}.png"
        xy = np.stack([rng.permutation(48)[:9], rng.integers(0, 32, 9)], axis=1)
        target = Target(("red", "green", "blue"), xy, np.arange(9) % 3)
        items.append(Labelled(Sample(f"images/{i:03d}.png", path, size=(48, 32)), target))
    return items


def made(path: Path, folder: Path, **options: Any) -> MMSeg:
    model = MMSeg(path, **options)
    folder.mkdir(parents=True, exist_ok=True)
    model.prepare([], [], place=Place(folder, folder, 1), progress=quiet)
    return model


def fit(model: MMSeg, items: list[Labelled], out: Path, round: int = 0, start: Path | None = None) -> Path:
    plan = Plan(("blue", "red", "green"), round)
    return model.fit(items, [], out=out, start=start, plan=plan, seed=5, progress=quiet)


SPY = """
from mmengine.registry import HOOKS
from mmengine.hooks import Hook
SEEN = []
@HOOKS.register_module(force=True)
class Spy(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        lr = runner.optim_wrapper.get_lr()["lr"][0]
        for sample in data_batch["data_samples"]:
            SEEN.append((sample.img_path, sample.gt_sem_seg.data[0].numpy().copy(), lr, runner.iter))
"""


@pytest.fixture
def spied(mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Any]]:
    """A configuration whose batches are kept; pictures are neither scaled nor cut nor turned."""
    (tmp_path / "spy_of_batches.py").write_text(SPY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import spy_of_batches  # type: ignore[import-not-found]

    path = mmseg_config(
        "custom_imports = dict(imports=['spy_of_batches'], allow_failed_imports=False)",
        "custom_hooks = [dict(type='Spy')]",
        "train_dataloader['dataset']['pipeline'] = [p for p in train_pipeline if not p['type'].startswith('Random')]",
        "data_preprocessor['size'] = (32, 48)",
        "model['data_preprocessor'] = data_preprocessor",
    )
    spy_of_batches.SEEN.clear()
    return path, spy_of_batches.SEEN


def test_the_loss_sees_the_labels_and_nothing_else(
    spied: tuple[Path, list[Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    path, seen = spied
    dense = tmp_path / "answer.png"
    from PIL import Image

    Image.fromarray(np.full((32, 48), 1, np.uint8)).save(dense)
    whole = Labelled(labelled[2].sample, Target(("blue", "red", "green"), mask=dense))
    box = Target(("green",), np.array([[4, 5, 7, 9]]))
    fit(made(path, tmp_path / "home"), [labelled[0], Labelled(labelled[1].sample, box), whole], tmp_path / "out")
    assert len(seen) == 6 * 4
    names = [Path(p).name for p, *_ in seen]
    assert set(names) == {"000.png", "001.png", "002.png"}
    maps = {Path(p).name: found for p, found, *_ in seen}
    points = labelled[0].target
    assert points.geometry is not None
    assert points.codes is not None
    expected = np.full((32, 48), 255)
    for (x, y), code in zip(points.geometry, points.codes, strict=True):
        expected[y, x] = ("blue", "red", "green").index(points.classes[code])
    assert np.array_equal(maps["000.png"], expected)
    assert (expected != 255).sum() == 9
    window = np.full((32, 48), 255)
    window[5:9, 4:7] = 2
    assert np.array_equal(maps["001.png"], window)
    assert (maps["002.png"] == 1).all()


@pytest.mark.parametrize("keep", [True, False])
def test_no_point_is_lost_where_pictures_become_small(
    spied: tuple[Path, list[Any]], labelled: list[Labelled], mmseg_config: Write, tmp_path: Path, keep: bool
) -> None:
    path, seen = spied
    text = path.read_text(encoding="utf-8")
    small = "dict(type='RandomResize', scale=(12, 8), ratio_range=(1.0, 1.0), keep_ratio=False)"
    path.write_text(f"{text}\ntrain_dataloader['dataset']['pipeline'].insert(2, {small})", encoding="utf-8")
    fit(made(path, tmp_path / "home", keep_points=keep), labelled, tmp_path / "out")
    counts = {Path(p).name: int((found != 255).sum()) for p, found, *_ in seen}
    for item in labelled:
        assert item.target.geometry is not None
        cells = {(int(x) // 4, int(y) // 4) for x, y in item.target.geometry}
        assert (counts[item.sample.path.name] == len(cells)) is keep


def test_points_are_put_back_where_they_fall() -> None:
    from labelwise.models.mmseg.labels import with_points

    labels = np.full((6, 9), 255, np.uint8)
    labels[0, 1], labels[4, 4], labels[5, 5] = 1, 2, 3
    scaled = labels[::3, ::3].copy()
    assert (scaled == 255).all()
    assert with_points(labels, scaled, 255).tolist() == [[1, 255, 255], [255, 3, 255]]
    assert (scaled == 255).all()
    twice = labels.repeat(2, axis=0).repeat(2, axis=1)
    assert (with_points(labels, twice, 255) == twice).all()
    dense = np.arange(54, dtype=np.uint8).reshape(6, 9)
    assert (with_points(dense, dense[::2, ::2], 255) == dense[::2, ::2]).all()


def test_a_dataset_without_masks_can_be_learnt_from(
    spied: tuple[Path, list[Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    path, seen = spied
    for file in (tmp_path / "data" / "masks").iterdir():
        file.unlink()
    fit(made(path, tmp_path / "home"), labelled, tmp_path / "out")
    assert all((found != 255).sum() == 9 for _, found, *_ in seen)


def test_a_continued_training_keeps_optimiser_and_schedule(
    spied: tuple[Path, list[Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    path, seen = spied
    model = made(path, tmp_path / "home", start="continue", length=[2, 3, 1])
    checkpoint: Path | None = None
    for round in range(3):
        checkpoint = fit(model, labelled, tmp_path / f"out{round}", round, checkpoint)
    iterations = [i for *_, i in seen[::4]]
    assert iterations == [0, 1, 2, 3, 4, 5]
    rates = [lr for *_, lr, _ in seen[::4]]
    assert np.allclose(rates, 0.01 * (1 - np.arange(6) / 5), atol=1e-6), "one straight line over all rounds"
    seen.clear()
    fit(made(path, tmp_path / "home"), labelled, tmp_path / "whole")
    assert np.allclose(rates, [lr for *_, lr, _ in seen[::4]]), "as in one long training"
    known = json.loads((tmp_path / "out2" / "training.json").read_text(encoding="utf-8"))
    assert known["iter"] == 6
    from safetensors.torch import load_file

    assert len(load_file(tmp_path / "out2" / "optimizer.safetensors")) > 10


def test_the_schedule_is_stretched_to_each_round(
    spied: tuple[Path, list[Any]], labelled: list[Labelled], tmp_path: Path
) -> None:
    path, seen = spied
    model = made(path, tmp_path / "home", length=[3, 2])
    fit(model, labelled, tmp_path / "out", 0)
    fit(model, labelled, tmp_path / "next", 1)
    assert np.allclose([lr for *_, lr, _ in seen[::4]], [0.01, 0.005, 0, 0.01, 0], atol=1e-6)


def test_where_a_round_begins(mmseg_config: Write, labelled: list[Labelled], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = mmseg_config("optim_wrapper['optimizer']['lr'] = 0.0")
    first = load_file(fit(made(path, tmp_path / "home"), labelled, tmp_path / "a") / "network.safetensors")
    plan = Plan(("blue", "red", "green"), 1)

    def again(start: Any) -> Any:
        model, out = made(path, tmp_path / "home", start=start), tmp_path / start
        model.fit(labelled, [], out=out, start=tmp_path / "a", plan=plan, seed=6, progress=quiet)
        return load_file(out / "network.safetensors")

    weight = "decode_head.conv_seg.weight"
    assert (again("previous")[weight] == first[weight]).all(), "with a rate of 0 the weights stay as they came"
    assert (again("scratch")[weight] != first[weight]).any()


@pytest.mark.parametrize("mode", ["pixel", "region", "image"])
def test_a_run_killed_between_steps_ends_with_the_same_picks(mmseg_config: Write, tmp_path: Path, mode: str) -> None:
    path = mmseg_config()
    both = [f"runner.sample_mode={mode}", "model.start=continue"]
    whole = api.run(path, [*both, f"work_dir={tmp_path / 'whole'}"], report=False)
    for _ in range(3):
        parts = api.run(path, [*both, f"work_dir={tmp_path / 'parts'}"], rounds=1, report=False)
    assert picks(whole) == picks(parts)
    assert whole.evaluations["test"] == parts.evaluations["test"]
    amounts = {"pixel": [36, 84], "region": [12, 30], "image": [2, 4]}
    expected = [n * (9 if mode == "region" else 1) for n in amounts[mode]]
    got = [sum(whole.class_counts(r).values()) for r in whole.rounds] if mode == "pixel" else None
    assert got in (None, expected)
    assert [int(whole.labels(r)) for r in whole.rounds] == amounts[mode]
    if mode == "pixel":
        assert [len(q.geometry) for q in whole.queries[0] if q.geometry is not None] == [4] * 9, "evenly"


def test_vectors_of_regions_come_from_the_last_layer(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path
) -> None:
    path = mmseg_config()
    model = made(path, tmp_path / "home")
    checkpoint = fit(model, labelled, tmp_path / "out")
    sample = labelled[0].sample
    found = next(iter(model.predict(checkpoint, [sample], want=frozenset({"probs", "embeddings"}))))
    alone = next(iter(model.predict(checkpoint, [sample], want=frozenset({"probs"}))))
    assert found.embedding is not None
    assert found.embedding.ndim == 3
    assert np.allclose(found.probs, alone.probs)
    changes = ["strategy=spread_regions", "runner.sample_mode=region", f"work_dir={tmp_path / 'run'}"]
    result = api.run(path, [*changes, "budget.initial=12", "budget.per_round=7"], report=False)
    assert [result.labels(r) for r in result.rounds] == [12, 19]
    assert result.queries[1][0].reason["mean_distance"] > 0


def test_an_epoch_based_irregular_workflow(mmseg_config: Write, tmp_path: Path) -> None:
    path = mmseg_config(
        "train_dataloader.update(batch_size=3, sampler=dict(type='DefaultSampler', shuffle=True))",
        "train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=1)",
        "param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=4, by_epoch=True)]",
        "workflow = [(('train', 2), ('query', 1)), (('train', 1), ('query', 1)), (('train', 1),)]",
        "active_learning['reset_each_round'] = False",
    )
    result = api.run(path, report=False)
    assert list(result.rounds) == [0, 1, 2]
    states = [
        json.loads((tmp_path / "work" / "rounds" / f"{r:03d}" / "checkpoint" / "training.json").read_text("utf-8"))
        for r in range(3)
    ]
    assert [s["epoch"] for s in states] == [2, 3, 4]
    assert [s["iter"] for s in states] == [6, 9, 12], "nine pictures are three batches an epoch"


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize(
    ("workflow", "trained"),
    [
        ("[('train', 2), ('query', 1)]", [2, 4, 6]),
        ("[(('train', 3), ('query', 1)), (('train', 1), ('val', 1), ('query', 1)), (('train', 2),)]", [3, 4, 6]),
    ],
)
def test_a_workflow_trains_as_long_as_it_says(
    mmseg_config: Write, tmp_path: Path, workflow: str, trained: list[int], by_epoch: bool
) -> None:
    """K x sample_rounds in all, and one query fewer than rounds; a tuple a round where they differ."""
    epochs = (
        "train_dataloader.update(batch_size=3, sampler=dict(type='DefaultSampler', shuffle=True))",
        "train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=1)",
        "param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=6, by_epoch=True)]",
    )
    path = mmseg_config(
        *(epochs if by_epoch else ()),
        f"workflow = {workflow}",
        "active_learning.update(reset_each_round=False, heuristic='entropy', visualize=dict(size=2, overlay=False))",
        "active_learning['visualize']['dir'] = str(__import__('pathlib').Path(work_dir).parent / 'pictures')",
        "active_learning['settings']['pixel'].update(sample_evenly=False, sample_threshold=False)",
        "runner['sample_rounds'] = 3",
    )
    result = api.run(path, report=False)
    states = [
        json.loads((tmp_path / "work" / "rounds" / f"{r:03d}" / "checkpoint" / "training.json").read_text("utf-8"))
        for r in result.rounds
    ]
    assert [s["epoch" if by_epoch else "iter"] for s in states] == trained
    assert not by_epoch or [s["iter"] for s in states] == [3 * n for n in trained]
    assert [int(result.labels(r)) for r in result.rounds] == [36, 84, 132], "two queries after the initial labels"
    amounts = [len(q.geometry) for q in result.queries[1] if q.geometry is not None]
    assert sum(amounts) == 48
    assert len(set(amounts)) > 1 or len(amounts) < 9, "the best of the whole pool are not evenly spread"
    pictures = [p for p in (tmp_path / "pictures" / "round1").rglob("*.png") if "_uncertainty" not in p.name]
    assert len(pictures) == min(2, len(amounts)) > 0, "of images in which something was chosen"
    from PIL import Image

    assert {Image.open(p).size for p in pictures} == {(96, 32)}, "what was chosen beside the picture"


def test_pictures_go_where_visualize_says(mmseg_config: Write, tmp_path: Path) -> None:
    api.run(mmseg_config(), report=False)
    assert len(list((tmp_path / "pictures" / "round0").rglob("*.png"))) == 1
    names = [p.name for p in (tmp_path / "pictures" / "round1").rglob("*.png")]
    assert len(names) == 2
    assert sum(n.endswith("_uncertainty.png") for n in names) == 1


def test_predictions_are_probabilities_at_the_pictures_size(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path
) -> None:
    slide = "model['test_cfg'] = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))"
    for name, lines in (("whole", ()), ("slide", (slide,))):
        model = made(mmseg_config(*lines), tmp_path / name)
        checkpoint = fit(model, labelled, tmp_path / name / "out")
        samples = [x.sample for x in labelled]
        want = frozenset({"probs", "samples"})
        found = list(model.predict(checkpoint, samples, want=want))
        assert [f.id for f in found] == [s.id for s in samples]
        for one in found:
            assert one.probs is not None
            assert one.samples is not None
            assert one.probs.shape == (32, 48, 3)
            assert np.allclose(one.probs.sum(axis=-1), 1, atol=1e-5)
            assert one.samples.shape == (8, 32, 48, 3)
            assert one.samples.std(axis=0).max() > 0
        alone = next(iter(pickle.loads(pickle.dumps(model)).predict(checkpoint, samples[2:], want=want)))
        assert np.allclose(alone.probs, found[2].probs, atol=1e-6)
        assert np.allclose(alone.samples, found[2].samples, atol=1e-6)


def test_mirror_images_are_averaged(mmseg_config: Write, labelled: list[Labelled], tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    model = made(mmseg_config(), tmp_path / "home")
    checkpoint = fit(model, labelled, tmp_path / "out")
    sample = labelled[0].sample
    mirror = tmp_path / "mirror.png"
    ImageOps.mirror(Image.open(sample.path)).save(mirror)

    def probs(path: Path, **options: Any) -> Any:
        found = made(mmseg_config(), tmp_path / "home", **options)
        return next(iter(found.predict(checkpoint, [replace(sample, path=path)], want=frozenset({"probs"})))).probs

    plain, mirrored = probs(sample.path), probs(mirror)[:, ::-1]
    assert not np.allclose(plain, mirrored, atol=1e-4)
    assert np.allclose(probs(sample.path, flip=True), (plain + mirrored) / 2, atol=1e-5)


def test_a_network_comes_back_as_it_was_trained(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor, also the running means of normalisation, in the predictor and at the start of the next round."""
    import torch

    from labelwise.models.mmseg import rounds

    states: list[dict[str, Any]] = []
    train = rounds.RoundRunner.train

    def spied(self: Any) -> Any:
        load = self.load_or_resume

        def and_look() -> None:
            load()
            states.append({k: v.clone() for k, v in self.model.state_dict().items()})

        self.load_or_resume = and_look
        model = train(self)
        states.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return model

    monkeypatch.setattr(rounds.RoundRunner, "train", spied)
    model = made(mmseg_config(), tmp_path / "home", start="continue", length=[2, 2])
    first = fit(model, labelled, tmp_path / "a")
    fit(model, labelled, tmp_path / "b", 1, first)
    _, trained, begun, _ = states
    assert trained.keys() == begun.keys()
    assert all(torch.equal(trained[name], begun[name]) for name in trained)
    loaded = model._load(first).network.state_dict()
    assert all(torch.equal(trained[name], loaded[name]) for name in trained)


def test_a_head_of_one_channel_speaks_of_two_classes(mmseg_config: Write, tmp_path: Path) -> None:
    path = mmseg_config(
        "model['decode_head'].update(num_classes=2, out_channels=1, threshold=0.3)",
        "model['decode_head']['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)",
    )
    image = tmp_path / "data" / "images" / "000.png"
    sample = Sample("images/000.png", image, size=(48, 32))
    item = Labelled(sample, Target(("no", "yes"), np.array([[1, 1], [5, 5]]), np.array([0, 1])))
    model = made(path, tmp_path / "home")
    out = tmp_path / "out"
    model.fit([item], [], out=out, start=None, plan=Plan(("no", "yes"), 0), seed=1, progress=quiet)
    probs = next(iter(model.predict(out, [sample], want=frozenset({"probs"})))).probs
    assert probs is not None
    assert probs.shape == (32, 48, 2)
    assert np.allclose(probs.sum(axis=-1), 1)


def test_the_process_stays_as_it_was(mmseg_config: Write, labelled: list[Labelled], tmp_path: Path) -> None:
    import torch
    import torch.multiprocessing as processes

    def facts() -> list[Any]:
        state = np.random.get_state()  # noqa: NPY002
        handlers = [list(logging.getLogger(n).handlers) for n in (None, "mmengine")]
        return [
            *(random.getstate(), state[1].tolist(), torch.get_rng_state().tolist(), handlers),  # type: ignore[union-attr]
            *(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)),
            *(torch.backends.cudnn.benchmark, processes.get_start_method(allow_none=True)),
        ]

    model = made(mmseg_config(), tmp_path / "home")
    fit(model, labelled, tmp_path / "warm")
    before = facts()
    out = fit(model, labelled, tmp_path / "out")
    assert facts() == before
    assert len(list((out / "mmengine").rglob("*.log"))) == 1
    a, b = ((tmp_path / name / "network.safetensors").read_bytes() for name in ("warm", "out"))
    assert a == b, "the same seed gives the same network"
    assert not [f for f in out.rglob("*") if f.suffix in (".pth", ".pkl")]


def test_nothing_is_printed(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = made(mmseg_config(), tmp_path / "home")
    checkpoint = fit(model, labelled, tmp_path / "out")
    list(model.predict(checkpoint, [labelled[0].sample], want=frozenset({"probs"})))
    assert capfd.readouterr() == ("", "")


def test_load_from_begins_every_round(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file

    still = "optim_wrapper['optimizer']['lr'] = 0.0"
    first = load_file(
        fit(made(mmseg_config(still), tmp_path / "a"), labelled, tmp_path / "a" / "out") / "network.safetensors"
    )
    torch.save({"state_dict": first}, tmp_path / "given.pth")
    path = mmseg_config(still, f"load_from = {str(tmp_path / 'given.pth')!r}")
    plan, out = Plan(("blue", "red", "green"), 1), tmp_path / "b" / "out"
    made(path, tmp_path / "b").fit(labelled, [], out=out, start=None, plan=plan, seed=9, progress=quiet)
    weight = "decode_head.conv_seg.weight"
    assert (load_file(out / "network.safetensors")[weight] == first[weight]).all()
    assert capfd.readouterr() == ("", "")


def test_another_training_is_not_continued(mmseg_config: Write, tmp_path: Path) -> None:
    api.run(mmseg_config(), rounds=1, report=False)
    with pytest.raises(LabelwiseError, match="another training") as caught:
        api.run(mmseg_config("optim_wrapper['optimizer']['lr'] = 0.5"), report=False)
    assert "\n" not in str(caught.value)
    api.run(mmseg_config("default_hooks['logger']['interval'] = 5"), rounds=1, report=False)


@pytest.mark.parametrize("line", ["model['backbone']['depht'] = 18", "load_from = 'no/such/weights.pth'"])
def test_a_slip_shows_before_anyone_labels(mmseg_config: Write, tmp_path: Path, line: str) -> None:
    with pytest.raises(LabelwiseError, match=r"depht|no/such/weights\.pth"):
        api.run(mmseg_config(line), report=False)
    with Store(tmp_path / "work" / "run.db") as store:
        assert not store.asked()
    api.run(mmseg_config(), rounds=1, report=False)


def test_a_configuration_is_mended_where_nothing_was_learnt(mmseg_config: Write, tmp_path: Path) -> None:
    """What people labelled in round 0 is not lost to a slip that only the training shows."""
    with pytest.raises(LabelwiseError, match="traceback"):
        api.run(mmseg_config("model['decode_head']['in_channels'] = 63"), report=False)
    with Store(tmp_path / "work" / "run.db") as store:
        asked = store.asked()
        assert asked
    api.run(mmseg_config(), rounds=1, report=False)
    with Store(tmp_path / "work" / "run.db") as store:
        assert store.asked() == asked
        assert store.is_done(0, "evaluate")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model['decode_head']['num_classes'] = 5", "num_classes=3"),
        ("model['backbone']['type'] = 'NoNet'", "NoNet"),
        ("train_dataloader['dataset']['pipeline'] = [train_pipeline[0], train_pipeline[-1]]", "LoadAnnotations"),
        ("train_cfg.pop('max_iters'); workflow = None", "max_iters"),
        ("optim_wrapper['optimizer']['lr'] = float('inf')", "not finite"),
        ("model['decode_head']['in_channels'] = 63", "traceback"),
        ("load_from = '/no/such/weights.pth'", "no/such/weights"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    mmseg_config: Write, labelled: list[Labelled], tmp_path: Path, line: str, words: str
) -> None:
    with pytest.raises(LabelwiseError, match=words) as caught:
        fit(made(mmseg_config(line), tmp_path / "home"), labelled, tmp_path / "out")
    assert "\n" not in str(caught.value)
