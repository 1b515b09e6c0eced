"""Zero-shot detectors: prompts and classes, boxes in pixels of any image, and what is said offline."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise import api, testing
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Place, Plan
from labelwise.models.zero_shot import ZeroShot, asked, best_of_prompts
from labelwise.records import Prediction, Sample
from labelwise.testing import quiet
from labelwise.testing.making import make_boxes

Save = Callable[..., str]
ALL = frozenset({"probs", "boxes", "objects"})
SHAPES = ((40, 20), (20, 40), (30, 30), (40, 20), (33, 9))


def pictures(folder: Path, shapes: tuple[tuple[int, int], ...] = SHAPES) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for i, (width, height) in enumerate(shapes):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(path.name, path, size=(width, height)))
    return samples


def fitted(
    folder: Path, weights: str, classes: tuple[str, ...] = ("car", "traffic_light"), **options: object
) -> tuple[ZeroShot, Path]:
    model = ZeroShot(weights, threshold=0.0, **options)  # type: ignore[arg-type]
    model.prepare([], [], place=Place(folder, folder, 2), progress=quiet)
    return model, model.fit([], [], out=folder / "c", start=None, plan=Plan(classes, 0), seed=0, progress=quiet)


def equal(one: list[Prediction], two: list[Prediction]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a.id == b.id
        for name in ("boxes", "probs", "confidences", "embedding"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-4)


def test_prompts() -> None:
    words, owners = asked(["car", "red_light", "dog"], {"car": ["car", "a van"], "dog": []}, "a photo of a {}")
    assert words == ["car", "a van", "a photo of a red light"]
    assert owners == [0, 0, 1]
    assert asked(["Ampel"], {"Ampel": "traffic light"}, "{}") == (["traffic light"], [0])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"cra": "car"}, "unknown class 'cra': did you mean 'car'"),
        ({"car": [" "]}, "model.prompts.car: expected words"),
        ({"car": "wheels", "bike": "wheels"}, "'wheels' stands for 'car' and for 'bike'"),
        ({"car": [], "bike": []}, "expected a prompt for at least one class"),
    ],
)
def test_prompts_that_mean_nothing(prompts: dict[str, str | list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asked(["car", "bike"], prompts, "{}")


@pytest.mark.parametrize("template", ["a photo", "{} and {}"])
def test_template_without_its_place(template: str) -> None:
    with pytest.raises(ConfigError, match=r"one \{\} where the class stands"):
        ZeroShot(template=template)


def test_best_of_prompts() -> None:
    import torch

    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.4, 0.9]])

    np.testing.assert_allclose(best_of_prompts(scores, [0, 0, 2], 4), [[0.7, 0, 0.2, 0], [0.5, 0, 0.9, 0]])


@pytest.mark.transformers
@pytest.mark.parametrize("family", ["v2", "v1", "dino"])
def test_every_family_keeps_the_seam(family: str, tmp_path: Path, tiny_owl: Save, tiny_dino: Save) -> None:
    save = tiny_dino if family == "dino" else tiny_owl
    folder = save(tmp_path / "w", "OwlViT") if family == "v1" else save(tmp_path / "w")
    testing.check_detection_model(lambda: ZeroShot(folder, threshold=0.1), tmp_path / "check", learns=False)


@pytest.mark.transformers
def test_record_is_that_of_the_network_alone_and_in_any_batch(tmp_path: Path, tiny_owl: Save, tiny_dino: Save) -> None:
    samples = pictures(tmp_path)
    folders = [tiny_owl(tmp_path / "v2"), tiny_owl(tmp_path / "v1", "OwlViT"), tiny_dino(tmp_path / "dino")]
    for number, folder in enumerate(folders):
        model, checkpoint = fitted(tmp_path / f"run{number}", folder, prompts={"car": ["car", "a van"]}, batch_size=2)
        whole = list(model.predict(checkpoint, samples, want=ALL))
        assert [p.id for p in whole] == [s.id for s in samples]
        for sample, p in zip(samples, whole, strict=True):
            assert p.independent
            assert p.boxes is not None
            assert p.probs is not None
            assert p.embedding is not None
            assert len(p.boxes) >= 1
            assert (p.boxes[:, 2:] <= sample.size).all()
            np.testing.assert_allclose(p.probs.max(axis=1), p.confidences, atol=1e-6)
            assert (np.diff(p.confidences) <= 0).all()
            assert (p.labels == p.probs.argmax(axis=1)).all()
        equal([next(model.predict(checkpoint, [s], want=ALL)) for s in samples], whole)
        equal(list(pickle.loads(pickle.dumps(model)).predict(checkpoint, samples, want=ALL)), whole)
        vectors = [p.embedding for p in model.predict(None, samples, want=frozenset({"embeddings"}))]
        assert len({np.shape(v) for v in vectors}) == 1
        np.testing.assert_allclose(vectors[0], next(model.predict(None, samples[:1], want=ALL)).embedding, atol=1e-5)


@pytest.mark.transformers
def test_padding_of_owlv2_is_taken_out(tmp_path: Path, tiny_owl: Save) -> None:
    """A wide picture and the same on a grey square hold the same boxes: both are what the network saw."""
    sample = pictures(tmp_path, ((40, 20),))[0]
    square = Image.new("RGB", (40, 40), (128, 128, 128))
    square.paste(Image.open(sample.path))
    square.save(tmp_path / "square.png")
    model, checkpoint = fitted(tmp_path / "run", tiny_owl(tmp_path / "v2"), overlap=1.0)
    wide, filled = model.predict(checkpoint, [sample, Sample("s", tmp_path / "square.png", size=(40, 40))], want=ALL)
    assert filled.boxes is not None
    assert filled.confidences is not None
    inside = filled.boxes[:, 1] < 20  # what lies in the padding is no box of the picture
    assert 0 < inside.sum() < len(inside)
    np.testing.assert_allclose(wide.boxes, np.minimum(filled.boxes[inside], [40, 20, 40, 20]), atol=1e-4)
    np.testing.assert_allclose(wide.confidences, filled.confidences[inside], atol=1e-6)


@pytest.mark.transformers
def test_as_the_networks_own_post_processing(tmp_path: Path, tiny_owl: Save) -> None:
    """On a square picture, where nothing is padded, boxes and scores are those that transformers itself gives."""
    import torch

    sample = pictures(tmp_path, ((32, 32),))[0]
    model, checkpoint = fitted(tmp_path / "r", tiny_owl(tmp_path / "v2"), ("car", "dog"), template="{}", overlap=1.0)
    found = next(model.predict(checkpoint, [sample], want=ALL))
    network, processor = model._load()
    made = processor(images=Image.open(sample.path), text=[["car", "dog"]], return_tensors="pt")
    with torch.inference_mode():
        out = network(**made)
    their = processor.post_process_grounded_object_detection(out, threshold=0.0, target_sizes=[(32, 32)])[0]
    boxes = their["boxes"].numpy().clip(0, 32)
    real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    order = np.argsort(-their["scores"].numpy()[real], kind="stable")
    np.testing.assert_allclose(found.confidences, their["scores"].numpy()[real][order], atol=1e-5)
    assert found.boxes is not None
    np.testing.assert_allclose(np.sort(found.boxes, axis=0), np.sort(boxes[real], axis=0), atol=1e-3)


@pytest.mark.transformers
def test_a_prompt_is_as_sure_as_its_surest_token(tmp_path: Path, tiny_dino: Save) -> None:
    """The tiny tokenizer has a token for each letter: [CLS] c a r . d o g s . [SEP]."""
    import torch

    sample = pictures(tmp_path, ((64, 64),))[0]
    model, checkpoint = fitted(tmp_path / "r", tiny_dino(tmp_path / "dino"), ("Car", "dogs"), overlap=1.0)
    found = next(model.predict(checkpoint, [sample], want=ALL))
    network, processor = model._load()
    made = processor(images=Image.open(sample.path), text=[["car", "dogs"]], return_tensors="pt")
    with torch.inference_mode():
        tokens = network(**made).logits[0].sigmoid().numpy()
    wanted = np.stack([tokens[:, 1:4].max(axis=1), tokens[:, 5:9].max(axis=1)], axis=1)
    assert found.probs is not None
    assert len(found.probs) == len(wanted)
    np.testing.assert_allclose(np.sort(found.probs, axis=0), np.sort(wanted, axis=0), atol=1e-5)


@pytest.mark.transformers
def test_class_without_prompt_is_never_found(tmp_path: Path, tiny_owl: Save) -> None:
    model, checkpoint = fitted(tmp_path / "r", tiny_owl(tmp_path / "v2"), prompts={"car": []})
    found = next(model.predict(checkpoint, pictures(tmp_path), want=ALL))
    assert found.probs is not None
    assert (found.probs[:, 0] == 0).all()
    assert (found.labels == 1).all()


@pytest.mark.transformers
def test_what_is_asked_is_met_before_any_image(tmp_path: Path, tiny_owl: Save, tiny_dino: Save) -> None:
    with pytest.raises(ModelError, match=r"at most 32 tokens, found more in 'xxx"):
        fitted(tmp_path / "a", tiny_owl(tmp_path / "v2"), prompts={"car": "x" * 40})
    with pytest.raises(ModelError, match=r"at most 64 tokens, found \d+ in 40 prompts"):
        fitted(tmp_path / "b", tiny_dino(tmp_path / "dino"), classes=tuple(f"class {i}" for i in range(40)))


@pytest.mark.transformers
def test_a_full_stop_does_not_end_a_prompt(tmp_path: Path, tiny_dino: Save) -> None:
    folder = tiny_dino(tmp_path / "dino")
    sample = pictures(tmp_path)[:1]
    one, two = [
        list(model.predict(checkpoint, sample, want=ALL))
        for model, checkpoint in (
            fitted(tmp_path / str(i), folder, prompts={"car": text}) for i, text in enumerate(("e. coli.", "E coli"))
        )
    ]
    equal(one, two)


@pytest.mark.transformers
def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    pytest.importorskip("transformers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    model = ZeroShot("somebody/nothing-like-this")
    place = Place(tmp_path, tmp_path, 1)
    with pytest.raises(
        ModelError, match="hf download somebody/nothing-like-this --local-dir nothing-like-this"
    ) as told:
        model.prepare([], [], place=place, progress=quiet)
    assert "\n" not in str(told.value)
    with pytest.raises(ModelError, match="expected a folder of weights, found none"):
        ZeroShot(str(tmp_path / "nowhere")).prepare([], [], place=place, progress=quiet)


@pytest.mark.transformers
def test_weights_of_something_else(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.BertConfig(hidden_size=8).save_pretrained(tmp_path / "bert")
    place = Place(tmp_path, tmp_path, 1)
    with pytest.raises(ModelError, match=r"expected a zero-shot detector .* found 'bert'"):
        ZeroShot(str(tmp_path / "bert")).prepare([], [], place=place, progress=quiet)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded as AutoConfig"):
        ZeroShot(str(tmp_path / "empty")).prepare([], [], place=place, progress=quiet)


@pytest.mark.transformers
def test_runs_from_zero_labels(tmp_path: Path, tiny_owl: Save, tiny_detector: Save) -> None:
    """A zero-shot detector as the model of a run, and as the source of proposals for one that learns."""
    folder = tiny_owl(tmp_path / "w")
    sees = {"name": "zero_shot", "weights": folder, "prompts": {"red": ["red", "a red square"]}, "threshold": 0.01}
    tree = {
        "task": "detect", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "threads": 1,
        "data": {"format": "coco", "path": str(make_boxes(tmp_path / "data", 8))},
        "strategy": "box_entropy", "cold_start": "box_entropy", "budget": {"initial": 2, "per_round": 2, "rounds": 2},
        "shown": 0.0,
    }  # fmt: skip
    result = api.run({"name": "sees", **tree, "model": sees}, report=False)
    assert [len(q) for q in result.queries.values()] == [2, 2]
    assert all(q.proposal is not None and len(q.proposal.classes) for qs in result.queries.values() for q in qs)
    assert all("map" in scores for scores in result.evaluations["test"].values())
    learns = {"name": "transformers", "weights": tiny_detector(tmp_path / "d", "detr"), "epochs": 1, "threshold": 0.0}
    tree |= {"name": "learns", "cold_start": "random", "strategy": "box_consistency"}
    second = api.run({**tree, "model": learns, "proposals": sees}, report=False)
    assert second.state == "finished"
    for queries in second.queries.values():
        assert all(q.proposal is not None and q.proposal.geometry is not None for q in queries)
    # In round 0 the boxes are those of the zero-shot detector.
    model, checkpoint = fitted(tmp_path / "again", folder, ("red", "green"), prompts=sees["prompts"])
    first = second.queries[0][0]
    sample = Sample(first.sample_id, tmp_path / "data/images" / first.sample_id, size=(64, 48))
    found = next(model.predict(checkpoint, [sample], want=ALL))
    assert found.confidences is not None
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes[found.confidences >= 0.01], first.proposal.geometry, atol=0.06)


@pytest.mark.transformers
def test_prompts_of_an_unknown_class_end_a_run_in_one_line(tmp_path: Path, tiny_owl: Save) -> None:
    tree = {
        "name": "wrong", "task": "detect", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
        "data": {"format": "coco", "path": str(make_boxes(tmp_path / "data", 8))}, "cold_start": "random",
        "model": {"name": "zero_shot", "weights": tiny_owl(tmp_path / "w"), "prompts": {"rot": "red"}},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"model\.prompts: unknown class 'rot'"):
        api.run(tree, report=False)
