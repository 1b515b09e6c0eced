"""The conformance suite: everything in the catalogue passes it, and a broken plug-in of each kind is caught."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from labelwise import catalog, testing
from labelwise.annotators.files import Files
from labelwise.annotators.oracle import Oracle
from labelwise.models.frozen import Frozen
from labelwise.models.heads import Logistic, Neighbours
from labelwise.presets import PRESETS
from labelwise.records import Annotation, Prediction, Target
from labelwise.strategies import Recipe

TINY = {"backbone": "test_resnet", "weights": "none", "size": 32}
MODELS = {
    "frozen": TINY,
    "finetune": {**TINY, "epochs": 1, "passes": 3},
    "fpn": {"backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "iterations": 2, "freeze_norm": False},
    "detector": {
        "backbone": "mobilenetv2_035", "weights": "none", "size": 64, "channels": 32, "iterations": 3, "train_batch": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", catalog.TABLES["score"])
def test_every_score_of_the_catalogue(name):
    testing.check_score(catalog.resolve("score", name))


@pytest.mark.parametrize("name", catalog.TABLES["select"])
def test_every_selection_of_the_catalogue(name):
    testing.check_select(catalog.resolve("select", name))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name):
    testing.check_strategy(name)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_under_hard_rules(name):
    testing.check_strategy(dataclasses.replace(PRESETS[name], per_group=2, near_duplicates=0.02))


@pytest.mark.parametrize("name", catalog.TABLES["head"])
def test_every_head_of_the_catalogue(name):
    testing.check_head(lambda: catalog.make("head", name))


# mmseg needs a configuration of its own: tests/models/test_mmseg.py
# metric and those of optional packages are checked in their own tests; predictions learn nothing, not even from a seed.
ELSEWHERE = {"metric", "mmseg", "zero_shot", "transformers", "ultralytics", "predictions", "smp"}


@pytest.mark.parametrize("name", [name for name in catalog.TABLES["model"] if name not in ELSEWHERE])
def test_every_model_of_the_catalogue(name, tmp_path):
    checks = {"fpn": testing.check_segmentation_model, "detector": testing.check_detection_model}
    check = checks.get(name, testing.check_model)
    check(lambda: catalog.make("model", {"name": name, **MODELS[name]}), tmp_path)


def test_a_model_that_continues(tmp_path):
    options = {"name": "finetune", **MODELS["finetune"], "start": "continue"}
    testing.check_model(lambda: catalog.make("model", options), tmp_path)


# Those that need a server are checked beside its stand-in, in their own tests.
ASKED_ELSEWHERE = {"cvat", "label_studio"}


@pytest.mark.parametrize("name", [name for name in catalog.TABLES["annotator"] if name not in ASKED_ELSEWHERE])
def test_every_annotator_of_the_catalogue(name, tmp_path):
    testing.check_annotator(lambda: catalog.make("annotator", name), tmp_path, answer=fill if name == "files" else None)


def fill(queries, desk):
    path = desk.folder / "000" / "annotate.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["class"] = desk.samples[row["path"]].target.classes[0]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


# --- broken ones ---------------------------------------------------------------------------------


def unknown_word(logits):
    return logits


def nothing_asked():
    return 0


def sums_the_batch(probs):
    return probs.max(-1) / probs.sum()


def keeps_classes(probs):
    return probs


def divides_by_zero(probs):
    with np.errstate(all="ignore"):
        return 1 / probs.min(-1)


def wrong_axis(probs):
    return probs.max(1)


def writes_into(probs):
    probs[...] = 0
    return probs.sum(-1)


def draws(probs):
    return np.random.default_rng().random(probs.shape[:-1])


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (unknown_word, "logits"),
        (nothing_asked, "found none"),
        (sums_the_batch, "depends on the batch"),
        (keeps_classes, "one score for each"),
        (divides_by_zero, "finite"),
        (wrong_axis, "last"),
        (writes_into, "changed"),
        (draws, "same scores twice"),
    ],
)
def test_broken_scores_are_caught(score, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_score(score)


def one_too_few(n, candidates):
    return candidates[: max(0, n - 1)]


def any_rows(n, candidates, scores):
    return np.argsort(-np.nan_to_num(scores))[: min(n, len(candidates))]


def the_same_row(n, candidates):
    return np.repeat(candidates[:1], min(n, len(candidates)))


def own_random(n, candidates):
    return np.random.default_rng().permutation(candidates)[:n]


def shuffles_the_input(n, candidates, embeddings):
    embeddings[:] = 0
    return candidates[:n]


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (one_too_few, "expected 1 different rows"),
        (any_rows, "no candidate"),
        (the_same_row, "more than once"),
        (own_random, "draw only from rng"),
        (shuffles_the_input, "embeddings to stay"),
        (unknown_word, "logits"),
    ],
)
def test_broken_selections_are_caught(select, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_select(select)


def test_a_broken_recipe_is_caught():
    with pytest.raises(AssertionError, match="needs scores"):
        testing.check_strategy(Recipe(select="top"))


class Unfinite(Logistic):
    def logits(self, state, features, keep=None):
        return super().logits(state, features, keep) * np.nan


class Pickles(Neighbours):
    def fit(self, features, labels, *, seed):
        return {"model": np.array([object()])}


@pytest.mark.parametrize(("head", "said"), [(Unfinite, "finite"), (Pickles, "array")])
def test_broken_heads_are_caught(head, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_head(head)


def make_frozen(kind=Frozen):
    return kind(backbone="pixels", size=4, head=getattr(kind, "needs_head", "logistic"))


class Backwards(Frozen):
    def predict(self, checkpoint, samples, *, want):
        yield from reversed(list(super().predict(checkpoint, samples, want=want)))


class Unnormalised(Frozen):
    def predict(self, checkpoint, samples, *, want):
        for p in super().predict(checkpoint, samples, want=want):
            yield dataclasses.replace(p, probs=None if p.probs is None else p.probs * 2)


class OverTheBatch(Frozen):
    def predict(self, checkpoint, samples, *, want):
        found = list(super().predict(checkpoint, samples, want=want))
        if "embeddings" in want:
            mean = np.mean([p.embedding for p in found], axis=0)
            found = [dataclasses.replace(p, embedding=p.embedding - mean) for p in found]
        yield from found


class Forgets(Frozen):
    def predict(self, checkpoint, samples, *, want):
        yield from (Prediction(p.id, p.probs) for p in super().predict(checkpoint, samples, want=want))


class WritesPickle(Frozen):
    def fit(self, *args, out, **more):
        super().fit(*args, out=out, **more)
        (out / "model.pth").write_bytes(b"\x80\x04N.")
        return out


class Elsewhere(Frozen):
    def fit(self, *args, out, **more):
        return super().fit(*args, out=out, **more).parent


class Unseeded(Frozen):
    needs_head = {"name": "mlp", "max_iter": 2}  # noqa: RUF012

    def fit(self, *args, seed, **more):
        return super().fit(*args, seed=int(np.random.default_rng().integers(2**31)), **more)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Backwards, "order"),
        (Unnormalised, "sum to 1"),
        (OverTheBatch, "alone and in a batch"),
        (Forgets, "missing"),
        (WritesPickle, "pickle"),
        (Elsewhere, "write and return"),
        (Unseeded, "one seed"),
    ],
)
def test_broken_models_are_caught(kind, said, tmp_path):
    with pytest.raises(AssertionError, match=said):
        testing.check_model(lambda: make_frozen(kind), tmp_path)


def test_a_sound_small_model_passes(tmp_path):
    testing.check_model(make_frozen, tmp_path)


class AnswersAll(Oracle):
    def collect(self, open_queries, desk):
        return [Annotation(f"000-{i:05d}", Target(("blue",)), "x") for i in range(6)]


class Invents(Oracle):
    def collect(self, open_queries, desk):
        return [Annotation(q.id, Target(("purple",)), "x") for q in open_queries]


class SeesPeople(Files):
    def collect(self, open_queries, desk):
        return [Annotation(q.id, Target(("blue",)), "x") for q in open_queries]


class Mute(Oracle):
    def advice(self, open_queries, desk):
        return ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (AnswersAll, "nothing is open"),
        (Invents, "expected classes"),
        (SeesPeople, "before a person"),
        (Mute, "one line"),
    ],
)
def test_broken_annotators_are_caught(kind, said, tmp_path):
    with pytest.raises(AssertionError, match=said):
        testing.check_annotator(kind, tmp_path)
