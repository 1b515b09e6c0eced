"""Every selection of the catalogue under every rule, on pools that are small, equal, tiny, or of one class."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from labelwise import catalog
from labelwise.reasons import explain, sentence
from labelwise.selection import Inputs, bind
from labelwise.selection.compose import needs
from labelwise.strategies import Recipe, assemble

RULES = {
    "shortlist": {"shortlist": 2.0},
    "balance": {"balance": True},
    "near_duplicates": {"near_duplicates": 0.05},
    "per_group": {"per_group": 2},
    "per": {"per": {"place": 3}},
    "threshold": {"threshold": ["score >= 0.2", "place != bog"]},
}
HARD = {"near_duplicates", "per_group", "per", "threshold"}
CASES = {
    "plain": {},
    "nothing labelled": {"labelled": np.array([], int), "labels": None, "candidates": np.arange(26)},
    "too many": {"n": 99},
    "equal scores": {"scores": np.full(26, 0.5)},
    "scores of 0": {"scores": np.zeros(26)},
    "duplicates": {"embeddings": np.ones((26, 3), np.float32)},
    "one class": {"probs": np.ones((26, 1)), "labels": np.zeros(4, int)},
    "one candidate": {"candidates": np.array([9])},
    "no candidates": {"candidates": np.array([], int)},
    "none asked": {"n": 0},
}


def pool(**changes):
    r = np.random.default_rng(0)
    labelled = np.array([3, 8, 14, 20])
    owners = np.arange(26).repeat(np.arange(26) % 4)
    fields = {
        "n": 6,
        "candidates": np.setdiff1d(np.arange(26), labelled),
        "rng": np.random.default_rng(1),
        "labelled": labelled,
        "labels": np.array([0, 1, 1, 0]),
        "scores": r.random(26),
        "probs": r.dirichlet([0.6, 0.3, 0.2], 26),
        "embeddings": r.normal(size=(26, 3)).astype(np.float32),
        "groups": np.arange(26) // 5 - 1,
        "metadata": {"place": np.array(["lake", "wood", "bog", ""])[np.arange(26) % 4]},
        "owners": owners,
        "objects": r.normal(size=(len(owners), 4)).astype(np.float32),
        "object_labels": np.arange(len(owners)) % 3 - 1,
        "object_scores": r.random(len(owners)),
    }
    return Inputs(**{**fields, **changes})


# no rule and all of them meet every case, each rule alone two of them
PAIRS = [
    *itertools.product([(), tuple(RULES)], CASES),
    *itertools.product(itertools.combinations(RULES, 1), ["too many", "duplicates"]),
]


@pytest.mark.parametrize(("rules", "case"), PAIRS)
@pytest.mark.parametrize("select", catalog.TABLES["select"])
def test_every_selection_under_every_rule(select, rules, case):
    if case == "scores of 0" and "threshold" in rules:
        pytest.skip("no candidate meets the threshold: test_conditions")
    options = {key: value for rule in rules for key, value in RULES[rule].items()}
    ready = assemble(Recipe(select=select, **options), given={"scores"})
    inputs = pool(**CASES[case])
    picks = ready.select(inputs)
    rows, size = picks.rows, min(inputs.n, len(inputs.candidates))
    assert len(set(rows.tolist())) == len(rows) <= size
    assert np.isin(rows, inputs.candidates).all()
    assert len(rows) == size or HARD & set(rules) or picks.ended
    if "per_group" in rules:
        groups = inputs.groups[rows]
        assert np.bincount(groups[groups >= 0], minlength=1).max() <= 2
    if "per" in rules:
        places = inputs.metadata["place"][rows]
        assert max(np.unique(places[places != ""], return_counts=True)[1], default=0) <= 3
    if "threshold" in rules:
        assert (inputs.scores[rows] >= 0.2).all()
        assert not (inputs.metadata["place"][rows] == "bog").any()
    assert ready.select(pool(**CASES[case])).rows.tolist() == rows.tolist()
    assert all(sentence(reason) for reason in explain(picks, inputs))


@pytest.mark.parametrize("select", catalog.TABLES["select"])
def test_rows_in_another_order_give_the_same_images(select):
    """Only ties may tell rows apart, and what is drawn by chance."""
    function = catalog.resolve("select", select)
    inputs = pool()
    if select in ("random", "stochastic", "badge", "mixture", "bandit", "hierarchical", "deduplicate"):
        pytest.skip("draws by row")
    if select in (
        "typiclust",
        "centroids",
        "cluster_margin",
        "informative_diverse",
        "margin_cluster_mean",
        "probcover",
    ):
        pytest.skip("k-means begins with rows drawn by chance")
    if "owners" in needs(function):
        pytest.skip("objects lie image after image: test_object_*")
    if select in ("robust_k_center", "max_herding"):
        pytest.skip("of few candidates some cover equally much: a tie")
    order = np.random.default_rng(5).permutation(26)
    place = np.argsort(order)
    moved = inputs.replace(
        candidates=np.sort(place[inputs.candidates]),
        labelled=place[inputs.labelled],
        scores=inputs.scores[order],
        probs=inputs.probs[order],
        embeddings=inputs.embeddings[order],
        rng=np.random.default_rng(1),
    )
    found = bind(function)(moved).rows
    assert order[found].tolist() == bind(function)(inputs).rows.tolist()
