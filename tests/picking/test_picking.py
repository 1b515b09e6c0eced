"""pick on plain arrays: defaults, exact numbers, what it refuses, and its sentences."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from labelwise.errors import ConfigError, SelectionError
from labelwise.picking import pick
from labelwise.presets import PRESETS
from labelwise.strategies import Recipe

rng = np.random.default_rng


def arrays(size=30):
    generator = rng(0)
    samples = generator.dirichlet(np.full(3, 0.5), (4, size))
    embeddings = generator.normal(size=(size, 4))
    return {"probs": samples.mean(0), "samples": samples, "embeddings": embeddings}


def test_scores_alone_give_the_highest():
    picked = pick(2, scores=[0.1, 0.9, 0.5, 0.9], labelled=[1])
    assert picked.indices.tolist() == [3, 2]
    assert picked.reasons == ["Score 0.9, rank 1 of 3.", "Score 0.5, rank 2 of 3."]
    assert picked.facts[0] == {"score": 0.9, "score_rank": 1, "score_of": 3}


def test_defaults_follow_what_is_given():
    given = arrays()
    margin, typical = pick(5, probs=given["probs"]), pick(5, embeddings=given["embeddings"])
    assert margin.indices.tolist() == pick(5, probs=given["probs"], strategy="margin").indices.tolist()
    assert typical.indices.tolist() == pick(5, embeddings=given["embeddings"], strategy="typiclust").indices.tolist()
    bald = pick(5, samples=given["samples"], strategy="bald")
    assert pick(5, samples=given["samples"]).indices.tolist() == bald.indices.tolist()


def boxes(size=30):
    owners = np.arange(size).repeat(np.arange(size) % 3)
    vectors = rng(2).normal(size=(len(owners), 4))
    return {
        "objects": vectors,
        "owners": owners,
        "object_labels": owners % 2,
        "object_scores": rng(3).random(len(owners)),
    }


WHOLE = [name for name, recipe in PRESETS.items() if recipe.reduce is None and recipe.unit is None]


@pytest.mark.parametrize("name", WHOLE)
def test_every_preset_gives_n_rows_and_a_sentence_for_each(name):
    labels = np.arange(3)
    picked = pick(9, **arrays(), **boxes(), labelled=[4, 2, 9], labels=labels, strategy=name, seed=3)
    again = pick(9, **arrays(), **boxes(), labelled=[4, 2, 9], labels=labels, strategy=name, seed=3)
    assert picked.indices.tolist() == again.indices.tolist()
    assert picked.reasons == again.reasons
    assert len(set(picked.indices.tolist()) - {2, 4, 9}) == 9
    assert all(text[0].isupper() and text.endswith(".") and "nan" not in text for text in picked.reasons)
    json.dumps(picked.facts, allow_nan=False)


def test_given_scores_take_the_place_of_the_strategys():
    given = arrays()
    scores = rng(1).random(30)
    top = pick(3, scores=scores, probs=given["probs"], strategy="margin")
    assert top.indices.tolist() == np.argsort(-scores)[:3].tolist()
    spread = pick(3, scores=scores, embeddings=given["embeddings"], strategy="margin_spread", shortlist=2)
    assert set(spread.indices) <= set(np.argsort(-scores)[:6])


@pytest.mark.parametrize("name", [name for name, recipe in PRESETS.items() if recipe.reduce is not None])
def test_presets_for_objects_take_scores_and_refuse_one_prediction_an_image(name):
    with pytest.raises(SelectionError) as error:
        pick(3, probs=arrays()["probs"], strategy=name, empty=np.zeros(30, bool))
    assert "\n" not in str(error.value)
    empty = np.arange(30) >= 20
    picked = pick(10, scores=rng(1).random(30), empty=empty, **boxes(), strategy=name, seed=1)
    assert int(empty[picked.indices].sum()) == 1 or PRESETS[name].empty != "quota"
    json.dumps(picked.facts, allow_nan=False)


def test_a_share_of_images_without_detection():
    scores, empty = np.linspace(1, 0, 40), np.arange(40) % 2 == 1
    picked = pick(8, scores=scores, empty=empty, strategy="box_margin", empty_share=0.5)
    assert picked.indices[~empty[picked.indices]].tolist() == [0, 2, 4, 6]
    told = [fact.get("drawn") for fact in picked.facts]
    assert told == [None if not e else "from the images without detection" for e in empty[picked.indices]]
    with pytest.raises(SelectionError, match="needs empty"):
        pick(8, scores=scores, strategy="box_margin")
    with pytest.raises(SelectionError, match=r"mask of shape \(40,\)"):
        pick(8, scores=scores, empty=[1, 2], strategy="box_margin")


def test_rules_and_options():
    scores = np.arange(12.0)
    groups = ["a"] * 6 + ["b"] * 4 + ["", None]
    assert pick(4, scores=scores, groups=groups, per_group=1).indices.tolist() == [11, 10, 9, 5]
    assert pick(3, scores=scores, groups=np.arange(12) // 6, per_group=1).indices.tolist() == [11, 5]
    own = Recipe(score="margin", select={"name": "stochastic", "kind": "softmax"})
    assert pick(3, scores=scores, strategy=own, beta=1000.0).indices.tolist() == [11, 10, 9]
    with pytest.raises(ConfigError, match=r"strategy\.select\.alpha"):
        pick(3, scores=scores, alpha=2)
    with pytest.raises(ConfigError, match="unknown strategy"):
        pick(3, scores=scores, strategy="corall")
    with pytest.raises(ConfigError, match="needs scores"):
        pick(3, **arrays(), strategy=Recipe(select="top"))


def test_more_than_there_are_is_refused():
    with pytest.raises(SelectionError, match="asked for 100, only 80 are not labelled; ask for 80 or fewer"):
        pick(100, scores=np.ones(90), labelled=np.arange(10))
    assert len(pick(80, scores=np.ones(90), labelled=np.arange(10)).indices) == 80
    assert pick(0, scores=[]).indices.tolist() == []
    assert pick(0, scores=[1.0], labelled=[True]).reasons == []
    with pytest.raises(SelectionError, match="0 or more"):
        pick(-1, scores=[1.0])


def test_masks_and_row_numbers_are_the_same():
    mask = np.zeros(30, dtype=bool)
    mask[[3, 7]] = True
    embeddings = arrays()["embeddings"]
    one = pick(4, embeddings=embeddings, labelled=mask, strategy="k_center")
    two = pick(4, embeddings=embeddings, labelled=[7, 3], strategy="k_center")
    assert one.indices.tolist() == two.indices.tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give at least one"),
        ({"scores": [1.0, 2.0], "groups": [0]}, "scores has 2 and groups 1"),
        ({"scores": [[1.0]]}, r"scores of shape \(N,\)"),
        ({"scores": 1.0}, "found none"),
        ({"samples": np.ones(3)}, "found none|samples of shape"),
        ({"scores": [1.0, 2.0], "samples": np.ones((2, 2))}, r"samples of shape \(S, N, C\)"),
        ({"scores": [1.0, np.nan]}, "row 1 has nan"),
        ({"probs": [[0.5, 0.5], [3.0, -2.0]]}, "row 1 holds .*softmax"),
        ({"probs": [[0.5, 0.5], [np.nan, 1.0]]}, "row 1"),
        ({"samples": [[[0.5, 0.5]], [[2.0, 0.5]]]}, "row 0 holds"),
        ({"embeddings": [[1.0], [np.inf]]}, "row 1"),
        ({"scores": [1.0], "labelled": [1]}, "from 0 to 0"),
        ({"scores": [1.0, 1.0], "labelled": [True]}, r"mask of labelled of shape \(2,\)"),
        ({"scores": [1.0, 1.0], "labelled": [0.5]}, "row numbers or a mask"),
        ({"scores": [1.0, 1.0], "labelled": [0, 0]}, "repeated"),
        ({"probs": [[1.0, 0.0]] * 2, "labelled": [0], "strategy": "balanced_margin"}, "needs labels"),
        ({"probs": [[1.0, 0.0]] * 2, "strategy": "badge"}, "needs embeddings"),
        ({"scores": [1.0, 1.0], "per_group": 1}, "needs groups"),
    ],
)
def test_what_does_not_fit_is_said(given, message):
    with pytest.raises(SelectionError, match=message):
        pick(1, **given)


def test_labelled_rows_need_no_score_or_prediction():
    scores = np.array([np.nan, 1.0, 2.0])
    probs = np.array([[np.nan, np.nan], [0.5, 0.5], [0.9, 0.1]])
    assert pick(2, scores=scores, labelled=[0]).indices.tolist() == [2, 1]
    assert pick(2, probs=probs, labelled=[0]).indices.tolist() == [1, 2]


@pytest.mark.parametrize("strategy", ["k_center", "coral"])
def test_half_precision_vectors_on_the_disk_are_not_copied(strategy, tmp_path):
    x = np.random.default_rng(0).normal(size=(40_000, 128)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped, scores = np.load(tmp_path / "x.npy", mmap_mode="r"), np.random.default_rng(1).random(40_000)
    given = {"scores": scores} if strategy == "coral" else {}
    pick(2, embeddings=x[:200], strategy=Recipe(select=strategy), **{k: v[:200] for k, v in given.items()})
    tracemalloc.start()
    found = pick(20, embeddings=mapped, strategy=Recipe(select=strategy), **given)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.indices) == 20
    assert most < x.nbytes  # a float32 copy would be twice that


def test_ids_and_classes_name_what_reasons_speak_of() -> None:
    vectors = np.array([[0.0], [1], [5]])
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    picked = pick(
        2, probs=probs, embeddings=vectors, labelled=[0], strategy="k_center", ids=["a", "b", "c"], classes="xy"
    )
    assert [f["nearest"] for f in picked.facts] == ["a", "a"]
    assert [f["class"] for f in picked.facts] == ["x", "y"]
    assert "image, a" in picked.reasons[0]
    with pytest.raises(SelectionError, match="but b has"):
        pick(1, embeddings=np.array([[0], [np.nan]]), strategy="k_center", ids=["a", "b"])
    with pytest.raises(SelectionError, match="ids 2"):
        pick(1, embeddings=vectors, ids=["a", "b"])


def test_ids_alone_are_enough_for_chance() -> None:
    assert sorted(pick(3, strategy="random", ids=["a", "b", "c"]).indices) == [0, 1, 2]


def test_another_score_and_checked_rules() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    by_name = pick(5, probs=probs, strategy="margin", score="entropy")
    np.testing.assert_array_equal(by_name.indices, pick(5, probs=probs, strategy="entropy").indices)
    with pytest.raises(ConfigError, match=r"strategy\.per_group"):
        pick(5, probs=probs, strategy="margin", per_group="some")
    with pytest.raises(ConfigError, match="found both"):
        pick(5, scores=probs[:, 0], strategy="margin", score="entropy")


def test_wide_vectors_are_never_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """float16 vectors as they lie on the disk: neither the checks nor the reasons make float32 of them all."""
    vectors = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float16)
    tracemalloc.start()
    pick(5, scores=np.arange(4000), embeddings=vectors, strategy="k_center")  # compiles what it needs
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    pick(5, scores=np.arange(4000), embeddings=vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < vectors.nbytes + 2**19  # a chunk of 2,048 rows at a time
