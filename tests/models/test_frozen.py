"""A frozen backbone with a head: cached features, checkpoints, one prediction whatever the batch, MC-dropout."""

from __future__ import annotations

import dataclasses
import pickle
from functools import partial

import numpy as np
import pytest
from PIL import Image

from labelwise import testing
from labelwise.embedding import plain
from labelwise.errors import DataError, ModelError
from labelwise.models import Place, Plan
from labelwise.models.finetune import Finetune
from labelwise.models.frozen import Frozen
from labelwise.models.metric import Metric
from labelwise.records import Labelled

ALL = frozenset({"probs", "samples", "embeddings"})
NETWORK = {"backbone": "test_resnet", "weights": "none", "size": 32}
KINDS = {"pixels": {"backbone": "pixels", "size": 4}, "edges": {"backbone": "edges"}, "network": NETWORK}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return testing.make_images(tmp_path_factory.mktemp("images"), 40)


def place_in(folder, name="run"):
    (folder / name).mkdir(exist_ok=True)
    return Place(folder / name, folder / "cache", 2)


def prepared(folder, samples, name="run", told=None, **options):
    model = Frozen(**options)
    progress = testing.quiet if told is None else lambda *args: told.append(args)
    model.prepare(samples[:30], samples[30:], place=place_in(folder, name), progress=progress)
    return model


def fitted(model, samples, out, seed=1, classes=("blue", "red")):
    train = [Labelled(s, s.target) for s in samples[:20]]
    return model.fit(train, [], out=out, start=None, plan=Plan(classes, 0), seed=seed, progress=testing.quiet)


@pytest.mark.parametrize("kind", [Frozen, partial(Metric, weights="none"), partial(Finetune, weights="none")])
def test_samples_are_offered_where_passes_differ(kind):
    assert "samples" in kind().provides
    assert "samples" not in kind(passes=1).provides
    assert "samples" not in kind(dropout=0.0).provides


def test_neighbours_have_nothing_to_drop():
    assert "samples" not in Frozen(head="knn").provides


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_does_not_depend_on_its_batch(kind, tmp_path, samples):
    model = prepared(tmp_path, samples, **KINDS[kind])
    checkpoint = fitted(model, samples, tmp_path / "c")
    whole = list(model.predict(checkpoint, samples, want=ALL))
    assert [p.id for p in whole] == [s.id for s in samples]
    assert whole[0].probs.shape == (2,)
    assert whole[0].samples.shape == (20, 2)
    assert whole[0].embedding.ndim == 1
    for size in (1, 7):
        parts = [p for i in range(0, 40, size) for p in model.predict(checkpoint, samples[i : i + size], want=ALL)]
        for one, two in zip(parts, whole, strict=True):
            assert np.allclose(one.probs, two.probs, atol=1e-5)
            assert np.allclose(one.samples, two.samples, atol=1e-5)
            assert np.allclose(one.embedding, two.embedding, atol=1e-5)
    right = [p.probs.argmax() == (s.target.classes[0] == "red") for p, s in zip(whole, samples, strict=True)]
    assert kind == "edges" or np.mean(right) > 0.9  # the two classes differ in colour, which edges do not see
    assert np.std([p.samples for p in whole], axis=1).max() > 0


def test_only_what_is_wanted_is_predicted_and_without_a_checkpoint_embeddings_alone(tmp_path, samples):
    model = prepared(tmp_path, samples, **KINDS["pixels"])
    checkpoint = fitted(model, samples, tmp_path / "c")
    only = next(model.predict(checkpoint, samples[:1], want=frozenset({"probs"})))
    assert only.samples is None
    assert only.embedding is None
    assert next(model.predict(None, samples[:1], want=ALL)).probs is None
    assert next(model.predict(None, samples[:1], want=ALL)).embedding.shape == (16,)


def test_features_are_computed_once_for_all_runs(tmp_path, samples):
    told = []
    prepared(tmp_path, samples[:20], told=told, **NETWORK)
    assert told[-1] == (20, 20, "features")
    told.clear()
    model = prepared(tmp_path, samples, "other", told, **NETWORK)
    assert [t[:2] for t in told] == [(20, 20)]
    told.clear()
    again = prepared(tmp_path, samples, told=told, **NETWORK)
    assert told == []
    want = frozenset({"embeddings"})
    assert next(again.predict(None, samples[:1], want=want)).embedding.shape == (model._table.dim,)
    for change in ({"size": 48}, {"resize": "crop"}, {"mean": (0.0, 0.0, 0.0)}, {"interpolation": "nearest"}):
        told.clear()
        prepared(tmp_path, samples, "third", told, **(NETWORK | change))
        assert told, f"{change} must not take the features of another preprocessing"


def test_two_files_with_the_same_bytes_share_a_vector(tmp_path, samples):
    twin = dataclasses.replace(samples[0], id="twin.png")
    model = prepared(tmp_path, [*samples, twin], **KINDS["pixels"])
    assert len(model._table) == 40
    one, two = model.predict(None, [samples[0], twin], want=frozenset({"embeddings"}))
    assert np.array_equal(one.embedding, two.embedding)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_reloads_in_a_new_object_and_in_a_worker(kind, tmp_path, samples, monkeypatch):
    model = prepared(tmp_path, samples, **KINDS[kind])
    checkpoint = fitted(model, samples, tmp_path / "c")
    expected = [p.probs for p in model.predict(checkpoint, samples, want=ALL)]
    fresh = prepared(tmp_path, samples, **KINDS[kind])
    copy = pickle.loads(pickle.dumps(model))
    # A worker looks up features: building the network again would take its seconds in every round.
    monkeypatch.setattr("labelwise.embedding.extractor.create_network", None)
    for other in (fresh, copy):
        found = [p.probs for p in other.predict(checkpoint, samples, want=ALL)]
        assert np.array_equal(found, expected)


def test_features_are_standardised_over_the_pool_only(tmp_path, samples):
    model = prepared(tmp_path, samples, **KINDS["pixels"])
    vectors = np.array([p.embedding for p in model.predict(None, samples[:30], want=frozenset({"embeddings"}))])
    assert np.allclose(vectors.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(vectors.std(axis=0), 1, atol=1e-4)


def test_a_feature_that_is_the_same_in_the_whole_pool_does_not_blow_up(tmp_path):
    samples = testing.make_images(tmp_path / "images", 6, size=4)
    for sample in samples:
        pixels = np.asarray(Image.open(sample.path)).copy()
        pixels[0, 0] = 255 if sample is samples[5] else 0
        Image.fromarray(pixels).save(sample.path)
    model = Frozen(backbone="pixels", size=4)
    model.prepare(samples[:5], samples[5:], place=place_in(tmp_path), progress=testing.quiet)
    (found,) = model.predict(None, samples[5:], want=frozenset({"embeddings"}))
    assert np.abs(found.embedding).max() < 100


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_the_same_seed_gives_the_same_checkpoint(head, tmp_path, samples):
    model = prepared(tmp_path, samples, head={"name": head, "max_iter": 10}, **KINDS["pixels"])
    for name, seed in (("a", 1), ("b", 1)):
        fitted(model, samples, tmp_path / name, seed)
    one, two = (np.load(tmp_path / n / "head.npz") for n in "ab")
    assert sorted(one.files) == sorted(two.files)
    assert all(np.array_equal(one[k], two[k]) for k in one.files)


def test_a_class_added_between_rounds_and_names_in_any_script(tmp_path, samples):
    model = prepared(tmp_path, samples, **KINDS["pixels"])
    for classes in (("blue", "red"), ("blue", "red", "夜"), ("ø", "blue", "red")):
        checkpoint = fitted(model, samples, tmp_path / "-".join(classes), classes=classes)
        (found,) = model.predict(checkpoint, samples[:1], want=frozenset({"probs"}))
        assert found.probs.shape == (len(classes),)
        assert classes[int(found.probs.argmax())] == "blue"


def test_what_a_head_cannot_give_is_not_provided():
    assert "samples" in Frozen(backbone="pixels").provides
    assert "samples" not in Frozen(backbone="pixels", head="knn").provides


def test_an_image_that_was_not_prepared_or_is_gone(tmp_path, samples):
    model = prepared(tmp_path, samples[:20], **KINDS["pixels"])
    with pytest.raises(DataError, match="no vector"):
        list(model.predict(None, samples[30:], want=frozenset({"embeddings"})))
    gone = dataclasses.replace(samples[0], path=tmp_path / "gone.png", content="ab" * 16)
    with pytest.raises(DataError, match=r"000.png could be read before"):
        prepared(tmp_path, [*samples[:20], gone], **KINDS["pixels"])


def test_features_that_are_not_finite_name_the_image_and_are_not_kept(tmp_path, samples, monkeypatch):
    def broken(pixels):
        vectors = np.ones((len(pixels), 16), np.float32)
        vectors[2:3] = np.nan
        return vectors

    monkeypatch.setitem(plain.FEATURES, "pixels", plain.Feature(16, broken))
    with pytest.raises(ModelError, match=r"002\.png"):
        prepared(tmp_path, samples[:20], **KINDS["pixels"])
    assert not (tmp_path / "cache" / "keys.bin").exists()
