"""The metric model: when its network learns, what a checkpoint holds, and that it learns."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import numpy as np
import pytest

import labelwise
from labelwise import testing
from labelwise.data import class_folders
from labelwise.data.digits import make_digits
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Place, Plan, metric
from labelwise.models.heads import read_fitted
from labelwise.models.metric import NETWORK, Metric
from labelwise.records import Labelled

WHOLE = {"backbone": "test_resnet", "weights": "none", "size": 32, "dim": 8, "epochs": 1, "finetune_epochs": 1}
PROJECTION = {"backbone": "pixels", "size": 4, "trained": "projection", "dim": 6, "lr": 1e-2, "epochs": 3}
KINDS = {"network": WHOLE, "projection": PROJECTION}
HEAD = {"head": "logistic"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return testing.make_images(tmp_path_factory.mktemp("images"), 40)


def prepared(folder, samples, **options):
    (folder / "run").mkdir(exist_ok=True)
    model = Metric(**options)
    place = Place(folder / "run", folder / "cache", 1)
    model.prepare(samples[:30], samples[30:], place=place, progress=testing.quiet)
    return model


def fitted(model, samples, out, n=20, start=None, seed=1):
    train = [Labelled(s, s.target) for s in samples[:n]]
    return model.fit(train, [], out=out, start=start, plan=Plan(("blue", "red"), 0), seed=seed, progress=testing.quiet)


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_seam(kind, tmp_path):
    testing.check_model(partial(Metric, **KINDS[kind], **HEAD), tmp_path)


def test_defaults_are_those_of_the_reference_system():
    model = Metric()
    assert (model.dim, model.loss, model.margin, model.mining, model.scale) == (256, "triplet", 1.0, "random", "minmax")
    assert (model.epochs, model.lr, model.weight_decay, model.loader) == (5, 1e-5, 5e-4, "single")
    assert (model.finetune_every, model.finetune_epochs, model.finetune_lr) == (2000, 20, 1e-4)
    assert (model.finetune_weight_decay, model.finetune_loader) == (0.0, "balanced")
    assert (model.classes_per_batch, model.images_per_class, model.train_batch) == (20, 10, 128)
    assert model._head.hidden == (150, 100)
    assert model._head.max_iter == 2000


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_learns_again_only_when_enough_labels_have_come(kind, tmp_path, samples):
    model = prepared(tmp_path, samples, **KINDS[kind], **HEAD, finetune_every=8, margin=1000.0)
    first = fitted(model, samples, tmp_path / "0", n=10)
    second = fitted(model, samples, tmp_path / "1", n=17, start=first)
    third = fitted(model, samples, tmp_path / "2", n=18, start=second)
    bytes_of = [(c / NETWORK).read_bytes() for c in (first, second, third)]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]
    assert [json.loads((c / "about.json").read_text())["trained_on"] for c in (first, second, third)] == [10, 10, 18]
    scalings = [read_fitted(c).scaling for c in (first, second, third)]
    assert np.array_equal(scalings[0].factor, scalings[1].factor)
    assert not np.array_equal(scalings[0].factor, scalings[2].factor)
    tables = list((tmp_path / "run" / "embeddings").glob("*"))
    assert len(tables) == (2 if kind == "network" else 0)  # computed anew only where the network changed


def test_scaled_embeddings_of_the_pool_fill_0_to_1_and_do_not_depend_on_what_is_predicted(tmp_path, samples):
    model = prepared(tmp_path, samples, **PROJECTION, **HEAD)
    checkpoint = fitted(model, samples, tmp_path / "0")
    want = frozenset({"embeddings", "probs"})
    pool = list(model.predict(checkpoint, samples[:30], want=want))
    vectors = np.array([p.embedding for p in pool])
    assert np.allclose(vectors.min(axis=0), 0, atol=1e-5)
    assert np.allclose(vectors.max(axis=0), 1, atol=1e-5)
    alone = next(model.predict(checkpoint, samples[:1], want=want))
    assert np.allclose(alone.embedding, vectors[0], atol=1e-5)
    assert alone.probs == pytest.approx(pool[0].probs, abs=1e-5)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    listing = class_folders.read(make_digits(tmp_path_factory.mktemp("digits")))
    chosen = [s for name in "3589" for s in [x for x in listing.samples if x.target.classes == (name,)][:40]]
    mixed = [chosen[i] for i in np.random.default_rng(0).permutation(len(chosen))]
    return [dataclasses.replace(s, content=f"{i:032x}") for i, s in enumerate(mixed)]


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "softmax", "supcon"])
def test_training_brings_images_of_a_class_together(loss, tmp_path, digits):
    if loss == "supcon":
        pytest.importorskip("pytorch_metric_learning")

    def apart(epochs):
        options = {**PROJECTION, "size": 8, "epochs": epochs, "lr": 0.01, "scale": "none", "margin": 20.0, "dim": 8}
        model = prepared(tmp_path, digits, **options, **HEAD, loss=loss)
        train = [Labelled(s, s.target) for s in digits[:80]]
        plan = Plan(("3", "5", "8", "9"), 0)
        out = tmp_path / f"{loss}{epochs}"
        model.fit(train, [], out=out, start=None, plan=plan, seed=1, progress=testing.quiet)
        found = model.predict(out, digits[80:], want=frozenset({"embeddings"}))
        vectors = np.array([p.embedding / np.linalg.norm(p.embedding) for p in found])
        names = np.array([s.target.classes[0] for s in digits[80:]])
        means = np.array([vectors[names == c].mean(axis=0) for c in plan.classes])
        within = np.mean(
            [((vectors[names == c] - m) ** 2).sum(1).mean() for c, m in zip(plan.classes, means, strict=True)]
        )
        return means.var(axis=0).sum() / within  # between classes to within, of images that were not trained on

    assert apart(60) > 1.5 * apart(0)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("loader", ["single", "balanced"])
def test_any_number_of_labels_is_a_beginning(n, loader, tmp_path, samples):
    model = prepared(tmp_path, samples, **WHOLE, **HEAD, loader=loader)
    checkpoint = fitted(model, samples, tmp_path / "0", n=n)
    assert sum(1 for _ in model.predict(checkpoint, samples, want=frozenset({"probs"}))) == len(samples)


def test_what_cannot_be_trained_is_told_before_anything_runs():
    with pytest.raises(ConfigError, match="trained: projection"):
        Metric(backbone="edges")
    with pytest.raises(ConfigError, match=r"model\.mining"):
        Metric(mining="hard_pair")
    with pytest.raises(ConfigError, match=r"model\.head"):
        Metric(head={"name": "mlp", "hiden": [3]})


def test_a_loss_that_grows_beyond_numbers_is_told(tmp_path, samples):
    model = prepared(tmp_path, samples, **{**PROJECTION, "lr": 1e25, "epochs": 5}, **HEAD, margin=1000.0)
    with pytest.raises(ModelError, match=r"lower model\.lr"):
        fitted(model, samples, tmp_path / "0")


def test_one_state_of_the_network_is_one_file(tmp_path, samples):
    model = prepared(tmp_path, samples, **WHOLE, **HEAD)
    first = fitted(model, samples, tmp_path / "0", n=4)
    second = fitted(model, samples, tmp_path / "1", n=6, start=first)
    assert (first / NETWORK).stat().st_ino == (second / NETWORK).stat().st_ino


def test_a_run_killed_while_the_network_learns_again_ends_as_one_that_was_not(tmp_path, monkeypatch):
    made = testing.make_images(tmp_path / "made", 60, classes=3)
    for sample in made:
        place = tmp_path / "images" / sample.target.classes[0] / sample.id
        place.parent.mkdir(parents=True, exist_ok=True)
        sample.path.rename(place)
    model = {"name": "metric", **PROJECTION, **HEAD, "finetune_every": 8, "margin": 50.0}
    config = {
        "cache": str(tmp_path / "cache"),
        "out": str(tmp_path / "runs"),
        "data": {"format": "class_folders", "path": str(tmp_path / "images")},
        "model": model,
        "strategy": "margin",
        "cold_start": "random",
        "budget": {"initial": 8, "per_round": 8, "rounds": 3},
    }
    whole = labelwise.run({**config, "name": "whole"}, report=False)
    calls = []
    real = metric.train

    def dying(*args, **more):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(metric, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        labelwise.run({**config, "name": "killed"}, report=False)
    again = labelwise.run({**config, "name": "killed"}, report=False)
    assert len(calls) == 4
    assert [again.picks(r) for r in range(3)] == [whole.picks(r) for r in range(3)]
    for name in ("accuracy", "nll"):
        assert [again.evaluations["test"][r][name] for r in range(3)] == pytest.approx(
            [whole.evaluations["test"][r][name] for r in range(3)]
        )
