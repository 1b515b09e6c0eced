"""Every rule around every selection: exact counts, caps kept, no repeats, the same twice; and water filling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import (
    Inputs,
    apart,
    badge,
    balanced,
    bind,
    centroids,
    coral,
    k_center,
    per_group,
    per_value,
    random,
    shortlist,
    stochastic,
    top,
    typiclust,
    wrap,
)
from labelwise.selection.wrappers import fill

rng = np.random.default_rng
SELECTORS = [top, random, stochastic, k_center, coral, typiclust, centroids, badge]
RULES = {
    "shortlist": lambda inner: wrap(shortlist, inner, {"factor": 2}),
    "balanced": lambda inner: wrap(balanced, inner),
    "apart": lambda inner: wrap(apart, inner, {"distance": 0.1}),
    "per_group": lambda inner: wrap(per_group, inner, {"cap": 2}),
}
STACKS = [
    (),
    *itertools.combinations(RULES, 1),
    *itertools.combinations(RULES, 2),
    tuple(RULES),
    # the other way round: a rule inside must hold for all that the outer one collects
    ("per_group", "apart"),
    ("apart", "balanced"),
    ("per_group", "balanced"),
]


def pool(seed=0, size=60, known=10, **changes):
    """A pool of 60 rows with near-duplicates, groups and uneven classes."""
    generator = rng(seed)
    probs = generator.dirichlet([0.6, 0.3, 0.2], size)
    embeddings = generator.normal(size=(size, 4)).astype(np.float32)
    embeddings[1::2] = embeddings[::2] + 0.01
    labelled = np.sort(generator.choice(size, known, replace=False))
    fields = {
        "n": 12,
        "candidates": np.setdiff1d(np.arange(size), labelled),
        "labelled": labelled,
        "labels": generator.integers(0, 3, known),
        "scores": generator.random(size),
        "probs": probs,
        "embeddings": embeddings,
        "groups": np.arange(size) // 6 - 1,
        "rng": rng(seed + 1),
    }
    return Inputs(**{**fields, **changes})


def stack(select, names):
    selector = bind(select)
    for name in names:
        selector = RULES[name](selector)
    return selector


def cosine_distances(embeddings, rows, others):
    points = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1, keepdims=True)
    return 1 - points[rows] @ points[others].T


def check_rules(inputs, rows, names):
    assert len(set(rows.tolist())) == len(rows) <= min(inputs.n, len(inputs.candidates))
    assert np.isin(rows, inputs.candidates).all()
    if "per_group" in names:
        groups = inputs.groups[rows]
        assert np.bincount(groups[groups >= 0], minlength=1).max() <= 2
    if "apart" in names and len(rows):
        distances = cosine_distances(inputs.embeddings, rows, np.concatenate([inputs.labelled, rows]))
        distances[np.arange(len(rows)), len(inputs.labelled) + np.arange(len(rows))] = 2
        assert distances.min() >= 0.1 - 1e-5


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize("names", STACKS, ids="+".join)
def test_every_selection_under_every_rule(select, names):
    inputs = pool()
    picks = stack(select, names)(inputs)
    check_rules(inputs, picks.rows, names)
    if "apart" not in names:
        assert len(picks.rows) == 12
    assert picks.facts.keys() == bind(select)(pool()).facts.keys()
    assert stack(select, names)(pool()).rows.tolist() == picks.rows.tolist()


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize("names", [(), *itertools.combinations(RULES, 1), tuple(RULES)], ids="+".join)
@pytest.mark.parametrize(
    "case", ["n = 0", "none", "one", "all", "too many", "constant", "equal vectors", "nothing known"]
)
def test_edges(select, names, case):
    changes = {
        "n = 0": {"n": 0},
        "none": {"candidates": np.array([], int)},
        "one": {"candidates": np.array([7]), "labelled": np.array([3]), "labels": np.array([0])},
        "all": {"n": 50},
        "too many": {"n": 500},
        "constant": {"scores": np.ones(60), "probs": np.full((60, 3), 1 / 3)},
        "equal vectors": {"embeddings": np.ones((60, 4), np.float32)},
        "nothing known": {"labelled": np.array([], int), "labels": None, "candidates": np.arange(60)},
    }[case]
    inputs = pool(**changes)
    picks = stack(select, names)(inputs)
    check_rules(inputs, picks.rows, names)
    if not {"apart", "per_group"} & set(names):
        assert len(picks.rows) == min(inputs.n, len(inputs.candidates))


@pytest.mark.parametrize("select", SELECTORS)
def test_rows_outside_may_hold_anything(select):
    inputs = pool(labelled=np.array([], int), labels=None, candidates=np.arange(20, 50))
    clean = stack(select, tuple(RULES))(inputs).rows.tolist()
    broken = {name: getattr(inputs, name).copy() for name in ("scores", "probs", "embeddings")}
    for values in broken.values():
        values[:20] = np.nan
        values[50:] = np.inf
    assert stack(select, tuple(RULES))(inputs.replace(**broken, rng=rng(1))).rows.tolist() == clean


def test_shortlist_keeps_the_best_scored():
    inputs = pool(n=5)
    allowed = inputs.candidates[np.argsort(-inputs.scores[inputs.candidates])[:10]]
    assert set(stack(random, ("shortlist",))(inputs).rows) <= set(allowed)
    with pytest.raises(SelectionError, match="factor of 1 or more"):
        wrap(shortlist, bind(top), {"factor": 0.5})(inputs)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_filling_is_as_level_as_can_be(n, classes):
    have, room = np.array(classes).T
    order = fill(n, have, room)
    quota = np.bincount(order, minlength=len(have))
    assert len(order) == min(n, room.sum())
    assert (quota <= room).all()
    every = [q for q in itertools.product(*(range(r + 1) for r in room)) if sum(q) == len(order)]
    levels = [(sorted(have + np.array(q)), tuple(-x for x in q)) for q in every]
    # of all ways, the one whose sorted levels are highest from below; ties to the lowest class
    assert sorted(have + quota) == max(level for level, _ in levels)
    assert order[: n // 2].tolist() == fill(n // 2, have, room).tolist()


def test_balanced_gives_rare_classes_what_they_lack():
    probs = np.eye(3)[[0] * 40 + [1] * 18 + [2] * 2]
    inputs = pool(
        probs=probs,
        labelled=np.array([0, 1, 2, 40]),
        labels=np.array([0, 0, 0, 1]),
        n=9,
        candidates=np.setdiff1d(np.arange(60), [0, 1, 2, 40]),
    )
    picks = stack(top, ("balanced",))(inputs)
    # labels 3, 1, 0: class 2 has two images only, the other seven bring the rest to 6 and 5
    assert probs[picks.rows].argmax(1).tolist() == [2, 1, 2, 1, 0, 1, 0, 1, 0]


def test_balanced_hands_on_what_a_rule_inside_leaves():
    inputs = pool(probs=np.eye(2)[[0] * 30 + [1] * 30], groups=np.array([0] * 30 + list(range(1, 31))), n=12)
    inputs = inputs.replace(labels=np.zeros(10, int))
    picks = stack(top, ("per_group", "balanced"))(inputs)
    assert len(picks.rows) == 12
    assert (inputs.groups[picks.rows] == 0).sum() <= 2


def plain_caps(scores, candidates, columns, caps, n):
    """The best first, each taken unless a value of it is full."""
    taken = []
    for row in sorted(candidates.tolist(), key=lambda row: (-scores[row], row)):
        values = [(name, columns[name][row]) for name in caps if columns[name][row] not in ("", None)]
        full = any(sum(columns[name][other] == value for other in taken) >= caps[name] for name, value in values)
        if not full and len(taken) < n:
            taken.append(row)
    return taken


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_caps_on_values_are_those_of_a_plain_walk(data):
    size = data.draw(st.integers(0, 30))
    words = st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=size, max_size=size)
    columns = {name: np.array(data.draw(words), dtype=object) for name in ("sequence", "location")}
    caps = {"sequence": data.draw(st.integers(1, 3)), "location": data.draw(st.integers(1, 6))}
    scores = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), dtype=float)
    candidates = np.array(sorted(data.draw(st.sets(st.integers(0, max(0, size - 1))) if size else st.just(set()))), int)
    n = data.draw(st.integers(0, 12))
    inputs = Inputs(n=n, candidates=candidates, rng=np.random.default_rng(0), scores=scores, metadata=columns)
    picks = wrap(per_value, bind(top), {"caps": caps})(inputs)
    assert picks.rows.tolist() == plain_caps(scores, candidates, columns, caps, n)


def test_caps_of_numbers_leave_unknown_ones_free_and_refuse_what_is_not_there():
    columns = {"hour": np.array([1.0, 1.0, np.nan, np.nan, 2.0])}
    inputs = Inputs(n=9, candidates=np.arange(5), rng=np.random.default_rng(0), scores=np.arange(5.0), metadata=columns)
    assert wrap(per_value, bind(top), {"caps": {"hour": 1}})(inputs).rows.tolist() == [4, 3, 2, 1]
    with pytest.raises(SelectionError, match="'day': it has hour"):
        wrap(per_value, bind(top), {"caps": {"day": 1}})(inputs)
    with pytest.raises(SelectionError, match=r"per\.hour"):
        wrap(per_value, bind(top), {"caps": {"hour": 0}})(inputs)


def test_per_group_keeps_the_best_of_each_group():
    scores = np.arange(60.0)
    picks = wrap(per_group, bind(top), {"cap": 1})(
        pool(scores=scores, candidates=np.arange(60), labelled=np.array([], int), labels=None)
    )
    # groups of six, the first without a group
    assert picks.rows.tolist() == [59, 53, 47, 41, 35, 29, 23, 17, 11, 5, 4, 3]


def test_fewer_only_if_the_caps_leave_nothing():
    picks = wrap(per_group, bind(random), {"cap": 2})(pool(n=50, groups=np.arange(60) % 4))
    assert len(picks.rows) == 8
    with pytest.raises(SelectionError, match="cap of 1 or more"):
        wrap(per_group, bind(random), {"cap": 0})(pool())


def test_long_bursts_need_few_passes():
    asked = []

    def counting(n, candidates, scores):
        asked.append(n)
        return top(n, candidates, scores)

    size = 4000
    inputs = Inputs(
        n=100, candidates=np.arange(size), rng=rng(0), scores=-np.arange(size) * 1.0, groups=np.arange(size) // 40
    )
    assert wrap(per_group, bind(counting))(inputs).rows.tolist() == list(range(0, size, 40))
    assert len(asked) <= 12


@pytest.mark.parametrize("select", SELECTORS)
def test_apart_stops_only_when_nothing_is_left(select):
    inputs = pool(n=50)
    picks = stack(select, ("apart",))(inputs)
    check_rules(inputs, picks.rows, ("apart",))
    if len(picks.rows) < 50:
        taken = np.concatenate([inputs.labelled, picks.rows])
        assert (cosine_distances(inputs.embeddings, inputs.candidates, taken).min(1) < 0.1 + 1e-5).all()


def test_apart_refuses_a_distance_that_is_none():
    for distance in (-0.1, 3, float("nan")):
        with pytest.raises(SelectionError, match="cosine distance of 0 to 2"):
            wrap(apart, bind(top), {"distance": distance})(pool())
