"""Fine-tuning: it learns, repeats itself, goes on where it stopped, and predicts the same in any batch."""

from __future__ import annotations

import hashlib
import json
import pickle
import resource
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labelwise import testing
from labelwise.data import class_folders
from labelwise.embedding.backbone import save_tensors
from labelwise.errors import ModelError
from labelwise.models import Place, Plan
from labelwise.models import training as trainings
from labelwise.models.finetune import Finetune
from labelwise.records import Labelled, Target

ALL = frozenset({"probs", "samples", "embeddings"})
CLASSES = ("blue", "red")
TINY = {"backbone": "test_resnet", "weights": "none", "size": 32, "epochs": 2, "passes": 4, "train_batch": 8}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return testing.make_images(tmp_path_factory.mktemp("images"), 24)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prepared(folder, **options):
    model = Finetune(**(TINY | options))
    model.prepare([], [], place=Place(folder, folder / "cache", 2), progress=testing.quiet)
    return model


def fitted(model, samples, out, *, val=(), start=None, seed=1, classes=CLASSES, progress=testing.quiet):
    train, val = ([Labelled(s, s.target) for s in part] for part in (samples, val))
    return model.fit(train, val, out=out, start=start, plan=Plan(classes, 0), seed=seed, progress=progress)


def digest(checkpoint):
    return hashlib.sha256((checkpoint / "network.safetensors").read_bytes()).hexdigest()


def about(checkpoint):
    return json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))


def probs(model, checkpoint, samples):
    return np.array([p.probs for p in model.predict(checkpoint, samples, want=frozenset({"probs"}))])


def test_it_learns_two_colours(tmp_path, samples):
    model = prepared(tmp_path, epochs=6, lr=3e-3)
    checkpoint = fitted(model, samples[:16], tmp_path / "c", val=samples[16:20])
    truth = [CLASSES.index(s.target.classes[0]) for s in samples]
    assert (probs(model, checkpoint, samples).argmax(axis=1) == truth).all()
    assert about(checkpoint)["temperature"] > 0


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "mobilenetv2_050"])
def test_a_prediction_does_not_depend_on_its_batch(backbone, tmp_path, samples):
    more = {"network": {"img_size": 32}} if backbone == "test_vit" else {}
    model = prepared(tmp_path, backbone=backbone, epochs=1, **more)
    checkpoint = fitted(model, samples[:9], tmp_path / "c")
    whole = list(model.predict(checkpoint, samples[:9], want=ALL))
    alone = [next(model.predict(checkpoint, [s], want=ALL)) for s in samples[:9]]
    for one, two in zip(alone, whole, strict=True):
        assert one.id == two.id
        assert one.samples.shape == (4, 2)
        assert np.allclose(one.probs, two.probs, atol=1e-5)
        assert np.allclose(one.samples, two.samples, atol=1e-5)
        assert np.allclose(one.embedding, two.embedding, atol=1e-5 * max(1, np.abs(two.embedding).max()))
    (bare,) = model.predict(None, samples[:1], want=ALL)
    assert bare.probs is None
    assert bare.embedding.shape == whole[0].embedding.shape


def test_the_same_seed_gives_the_same_weights_byte_for_byte(tmp_path, samples):
    torch.manual_seed(1)
    one = fitted(prepared(tmp_path), samples[:10], tmp_path / "a")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = fitted(prepared(tmp_path), samples[:10], tmp_path / "b")
    assert torch.equal(torch.get_rng_state(), state)
    other = fitted(prepared(tmp_path), samples[:10], tmp_path / "c", seed=2)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)


def test_a_checkpoint_reloads_in_a_new_object_and_in_a_worker(tmp_path, samples):
    model = prepared(tmp_path)
    checkpoint = fitted(model, samples[:8], tmp_path / "c", val=samples[8:12])
    expected = probs(model, checkpoint, samples)
    for other in (prepared(tmp_path), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(probs(other, checkpoint, samples), expected)
    second = fitted(model, samples[:8], tmp_path / "d", seed=9)
    assert not np.array_equal(probs(model, second, samples), expected)
    assert np.array_equal(probs(model, checkpoint, samples), expected)


@pytest.mark.parametrize("start", ["scratch", "previous", "continue"])
def test_where_a_round_begins(start, tmp_path, samples, monkeypatch):
    begun = []

    def remember(training, epoch, scaler):
        begun.append({k: v.clone() for k, v in training.network.state_dict().items()})
        begun.append(len(training.optimizer.state_dict()["state"]))

    model = prepared(tmp_path, start=start, epochs=1)
    first = fitted(model, samples[:8], tmp_path / "a")
    monkeypatch.setattr(trainings.Training, "_epoch", remember)
    second = fitted(model, samples[:8], tmp_path / "b", start=first)
    taken = all(torch.equal(v, begun[0][k]) for k, v in load_file(first / "network.safetensors").items())
    assert taken is (start != "scratch")
    assert (begun[1] > 0) is (start == "continue")
    assert (second / "optimizer.safetensors").exists() is (start == "continue")
    assert about(second)["epochs"] == (2 if start == "continue" else 1)


@pytest.mark.parametrize("start", ["previous", "continue"])
def test_a_class_added_between_rounds_keeps_what_was_learnt(start, tmp_path, samples):
    model = prepared(tmp_path, start=start, epochs=6, lr=3e-3)
    first = fitted(model, samples[:16], tmp_path / "a")
    grown = fitted(model, samples[:16], tmp_path / "b", start=first, classes=(*CLASSES, "夜"))
    found = probs(model, grown, samples)
    assert found.shape == (24, 3)
    truth = [CLASSES.index(s.target.classes[0]) for s in samples]
    assert (found.argmax(axis=1) == truth).mean() > 0.9
    with pytest.raises(ModelError, match="does not fit"):
        fitted(model, samples[:16], tmp_path / "c", start=grown)


def test_early_stopping_keeps_the_best_epoch(tmp_path, samples, monkeypatch):
    told = []
    losses = iter([0.9, 0.2, 0.5, 0.6, 0.7])
    weights = []

    def validate(training):
        weights.append(next(iter(training.network.state_dict().values())).clone())
        # The loss of these logits for class 0 is as given.
        loss = next(losses, 0.2)
        return torch.tensor([[0.0, float(np.log(np.exp(loss) - 1))]]), torch.tensor([0])

    monkeypatch.setattr(trainings.Training, "_validate", validate)
    model = prepared(tmp_path, epochs=10, patience=2)
    checkpoint = fitted(model, samples[:8], tmp_path / "c", val=samples[8:12], progress=lambda *args: told.append(args))
    assert [t[0] for t in told] == [1, 2, 3, 4]
    kept = load_file(checkpoint / "network.safetensors").values()
    assert any(torch.equal(v, weights[1]) for v in kept)
    assert not any(torch.equal(v, weights[i]) for v in kept for i in (0, 2, 3))


@pytest.mark.parametrize("count", [1, 9, 17])
def test_a_rest_of_one_image_can_be_trained_on(count, tmp_path, samples):
    model = prepared(tmp_path, epochs=1)
    checkpoint = fitted(model, samples[:count], tmp_path / "c")
    assert np.allclose(probs(model, checkpoint, samples).sum(axis=1), 1, atol=1e-5)


def test_a_single_class(tmp_path, samples):
    model = prepared(tmp_path, epochs=1)
    blue = [s for s in samples if s.target == Target(("blue",))][:4]
    assert (probs(model, fitted(model, blue, tmp_path / "c", classes=("blue",)), blue) == 1).all()


def test_nothing_pickled_and_no_trace_of_the_parts(tmp_path, samples):
    checkpoint = fitted(prepared(tmp_path, start="continue", epochs=1), samples[:4], tmp_path / "c")
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        "about.json",
        "network.safetensors",
        "optimizer.safetensors",
    ]


def test_a_full_disk_is_an_error_of_the_system(tmp_path, samples):
    training = fitted(prepared(tmp_path, epochs=1), samples[:4], tmp_path / "c")
    quiet, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_tensors(load_file(training / "network.safetensors"), tmp_path / "full.safetensors", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, quiet)


def test_a_loss_that_is_not_finite_says_what_to_change(tmp_path, samples, monkeypatch):
    nan = torch.tensor([[float("nan"), 0.0]])
    monkeypatch.setattr(trainings.Training, "_validate", lambda training: (nan, torch.tensor([0])))
    with pytest.raises(ModelError, match=r"lower model\.lr"):
        fitted(prepared(tmp_path), samples[:4], tmp_path / "c", val=samples[4:6])


def test_a_new_classifier_begins_undecided(tmp_path, samples):
    """Some networks draw it so large that the first steps destroy their features (mobilenetv2_100 ended at chance)."""
    model = Finetune("mobilenetv2_100", weights="none", size=32)
    network = model._network_to_train(None, ("a", "b", "c"))
    logits = network(torch.rand(2, 3, 32, 32))
    assert torch.equal(logits, torch.zeros(2, 3))


@pytest.mark.slow
def test_pretrained_features_survive_training_on_few_labels(tmp_path, shared_data):
    """With the default learning rates 150 labels of CIFAR-10 are worth far more than chance (0.1)."""
    weights = shared_data.parent / "weights" / "mobilenetv2_100_same.safetensors"
    if not weights.exists():
        pytest.skip("shared weights absent")
    listing = class_folders.read(shared_data / "cifar10_test" / "images")
    chosen = [listing.samples[i] for i in np.random.default_rng(0).permutation(len(listing.samples))[:350]]
    half = (0.5, 0.5, 0.5)
    model = Finetune(
        "mobilenetv2_100", str(weights), {"pad_type": "same"}, size=64, mean=half, std=half, epochs=10, validation=0
    )
    model.prepare([], [], place=Place(tmp_path, tmp_path / "cache", 2), progress=testing.quiet)
    checkpoint = fitted(model, chosen[:150], tmp_path / "c", classes=listing.classes)
    truth = [listing.classes.index(s.target.classes[0]) for s in chosen[150:]]
    assert np.mean(probs(model, checkpoint, chosen[150:]).argmax(axis=1) == truth) > 0.35
