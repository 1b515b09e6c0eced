"""Presets and recipes: what they need, what they refuse, and that each picks exactly n and the same twice."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, SelectionError
from labelwise.presets import PRESETS, preset
from labelwise.selection import Inputs
from labelwise.strategies import Recipe, assemble

WHOLE = [name for name, recipe in PRESETS.items() if recipe.reduce is None and recipe.unit is None]


def predictions(size=40):
    rng = np.random.default_rng(0)
    samples = rng.dirichlet(np.full(3, 0.5), (5, size))
    return {"probs": samples.mean(0), "samples": samples, "embeddings": rng.normal(size=(size, 4)).astype(np.float32)}


def boxes(provided, size=40):
    rng = np.random.default_rng(3)
    owners = np.arange(size).repeat(np.arange(size) % 3)
    found = {"owners": owners, "object_labels": owners % 2, "object_scores": rng.random(len(owners))}
    if "objects" in provided:
        found["objects"] = rng.normal(size=(len(owners), 4)).astype(np.float32)
    return found if "boxes" in provided else {}


def inputs(arrays, scores, n=7, provided=()):
    return Inputs(
        n=n,
        candidates=np.arange(5, 40),
        labelled=np.arange(5),
        labels=np.array([0, 0, 1, 0, 2]),
        rng=np.random.default_rng(1),
        scores=scores,
        probs=arrays.get("probs"),
        embeddings=arrays.get("embeddings"),
        groups=np.arange(40) // 5,
        empty=np.arange(40) % 4 == 0,
        **boxes(provided),
    )


@pytest.mark.parametrize("name", WHOLE)
def test_every_preset_picks_exactly_n_from_no_more_than_it_needs(name):
    strategy = assemble(preset(name))
    arrays = {key: value for key, value in predictions().items() if key in strategy.needs}
    scores = strategy.score(arrays)
    first = strategy.select(inputs(arrays, scores, provided=strategy.needs))
    assert len(set(first.rows.tolist())) == 7
    assert first.rows.tolist() == strategy.select(inputs(arrays, scores, provided=strategy.needs)).rows.tolist()
    assert strategy.recipe.paper
    assert strategy.recipe.summary.endswith(".")


@pytest.mark.parametrize("name", WHOLE)
def test_every_preset_takes_every_rule(name):
    recipe = dataclasses.replace(preset(name), score=preset(name).score or "entropy", shortlist=3, balance=True)
    strategy = assemble(dataclasses.replace(recipe, per_group=2, near_duplicates=0.01))
    arrays = predictions()
    assert strategy.uses >= {"scores", "probs", "labels", "groups", "embeddings"}
    rows = strategy.select(inputs(arrays, strategy.score(arrays), provided=strategy.needs)).rows
    assert len(rows) == 7
    assert np.bincount(rows // 5).max() <= 2


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("random", set()),
        ("margin", {"probs"}),
        ("bald", {"samples"}),
        ("typiclust", {"embeddings"}),
        ("badge", {"probs", "embeddings"}),
        ("margin_spread", {"probs", "embeddings"}),
        ("object_k_center", {"boxes", "objects"}),
        ("ppal", {"boxes", "objects", "probs"}),
        ("class_balanced", {"boxes"}),
        ("cald", {"boxes", "flipped", "probs"}),
    ],
)
def test_needs_are_known_before_anything_runs(name, needed):
    assert assemble(preset(name)).needs == needed


def test_scores_stay_tensors_and_are_checked():
    strategy = assemble(preset("margin"))
    assert isinstance(strategy.score({"probs": torch.full((4, 2), 0.5)}), torch.Tensor)
    assert assemble(preset("random")).score({}) is None
    with pytest.raises(SelectionError, match="needs probs"):
        strategy.score({"samples": np.ones((2, 4, 2))})
    with pytest.raises(SelectionError, match=r"each of 4 rows of probs, but found shape \(4, 5\)"):
        strategy.score({"probs": np.full((4, 5, 2), 0.5)})


def test_unknown_words_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown strategy 'margn': did you mean 'margin'\?"):
        preset("margn")
    with pytest.raises(ConfigError, match="did you mean 'k_center'"):
        assemble(Recipe(select="k_centre"))
    with pytest.raises(ConfigError, match=r"strategy\.select\.betta"):
        assemble(Recipe(score="margin", select={"name": "stochastic", "betta": 2}))
    with pytest.raises(ConfigError, match=r"strategy\.select\.kind"):
        assemble(Recipe(score="margin", select={"name": "stochastic", "kind": "cube"}))
    with pytest.raises(ConfigError, match="mapping with 'name'"):
        assemble(Recipe(select={"beta": 2}))
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        assemble(Recipe(score="margin", reduce="means"))
    with pytest.raises(ConfigError, match=r"strategy\.reduce\.share"):
        assemble(Recipe(score="margin", reduce={"name": "top", "share": "much"}))


def test_scores_that_nothing_gives_are_refused():
    with pytest.raises(ConfigError, match="select 'top' needs scores"):
        assemble(Recipe(select="top"))
    with pytest.raises(ConfigError, match="shortlist"):
        assemble(Recipe(select="k_center", shortlist=3))
    assert assemble(Recipe(select="top"), given={"scores"}).needs == frozenset()


def test_a_file_of_your_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def first_class(probs, *, power=1.0):\n    return probs[..., 0] ** power\n"
        "def last(n, candidates):\n    return candidates[::-1][:n]\n"
        "def wrong(n, candidates, vectors):\n    return candidates[:n]\n"
        "def blind():\n    return 0\n"
    )
    score = {"name": f"{file}:first_class", "power": 2}
    strategy = assemble(Recipe(score=score, select=f"{file}:last"))
    arrays = predictions()
    np.testing.assert_array_equal(strategy.score(arrays), arrays["probs"][:, 0] ** 2)
    assert strategy.select(inputs(arrays, None)).rows.tolist() == [39, 38, 37, 36, 35, 34, 33]
    with pytest.raises(ConfigError, match="wrong: parameter 'vectors'"):
        assemble(Recipe(select=f"{file}:wrong"))
    with pytest.raises(ConfigError, match="blind: expected a parameter named probs or samples"):
        assemble(Recipe(score=f"{file}:blind"))
    for module in [name for name in sys.modules if name.startswith("labelwise_plugin_mine")]:
        del sys.modules[module]
