"""GALAXY against a plain walk over the lines, by its rules; and what it finds of rare classes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import galaxy
from labelwise.selection.compose import Inputs, bind
from labelwise.testing import check_select, check_strategy


def plain(n, candidates, labelled, labels, probs, rng):
    """The rules, one line after the other, with lists."""
    classes = probs.shape[1]
    label = dict(zip(labelled, labels, strict=True))
    nodes = [*candidates, *labelled]
    picks = []
    for _ in range(n):
        k = int(rng.integers(classes)) if classes > 2 else 0
        if classes > 2:
            line = sorted(nodes, key=lambda i: (max(probs[i]) - probs[i][k], -max(probs[i]), i))
        else:
            line = sorted(nodes, key=lambda i: (-probs[i][0], i))
        places = [p for p, i in enumerate(line) if i in label]
        free = [p for p, i in enumerate(line) if i not in label]
        pairs = [(a, b) for a, b in pairwise(places) if (label[line[a]] == k) != (label[line[b]] == k)]
        stretches = [(b - a - 1, a, b) for a, b in pairs if b - a > 1]
        if stretches:
            _, a, b = min(stretches)
            place = (a + b) // 2
        elif pairs:
            place = min(nearest(pairs, free))[1]
        else:
            place = free[0] if all(label[line[p]] != k for p in places) else free[-1]
        picks.append(line[place])
        label[line[place]] = int(np.argmax(probs[line[place]]))
    return picks


def nearest(pairs, free):
    """(steps, place) of the first candidate on either side of every pair of touching labels."""
    for a, b in pairs:
        yield from ((a - p, p) for p in [p for p in free if p < a][-1:])
        yield from ((p - b, p) for p in [p for p in free if p > b][:1])


def call(n, labelled, labels, probs, seed=0):
    labelled = np.array(labelled, np.int64)
    candidates = np.setdiff1d(np.arange(len(probs)), labelled)
    inputs = Inputs(n, candidates, np.random.default_rng(seed), labelled, np.array(labels, np.int64), probs=probs)
    return bind(galaxy)(inputs), candidates


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(2, 4), st.integers(0, 6), st.booleans())
def test_picks_are_those_of_a_plain_walk(seed, size, classes, known, coarse):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(classes), size)
    if coarse:  # many ties
        probs = np.eye(classes)[rng.integers(classes, size=size)] * 0.5 + 0.5 / classes
    labelled = np.sort(rng.permutation(size)[: min(known, size)])
    labels = rng.integers(-1, classes + 1, len(labelled))
    found, candidates = call(size, labelled, labels, probs, seed)
    expected = plain(
        len(candidates), candidates.tolist(), labelled.tolist(), labels.tolist(), probs, np.random.default_rng(seed)
    )
    assert found.rows.tolist() == expected


def test_the_shortest_stretch_is_halved():
    probs = np.stack([np.linspace(1, 0, 12), np.linspace(0, 1, 12)], axis=1)
    found, _ = call(3, [0, 4, 11], [0, 1, 1], probs)
    assert found.rows.tolist() == [2, 3, 5]  # rows 2 and 3 are said to be of class 0
    assert found.facts["between"].tolist() == [3, 1, -1]
    assert found.facts["sought_class"].tolist() == [0, 0, 0]


def test_a_class_without_labels_is_sought_where_it_is_likeliest():
    probs = np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0.4, 0.5, 0.1]])
    for seed in range(20):
        found, _ = call(1, [0], [0], probs, seed)
        if found.facts["sought_class"][0] == 2:
            assert found.rows[0] == 2
            break
    else:
        raise AssertionError("class 2 was never sought")


def test_rare_classes_get_their_share():
    """Two common classes overlap, and the smallest margins are all there; two rare ones are confused with class 1."""
    rng = np.random.default_rng(1)
    truth = rng.choice(4, 3000, p=[0.48, 0.48, 0.02, 0.02])
    logits = rng.normal(0, 1, (3000, 4)) + np.array([3.0, 3.0, 0.0, 0.0])
    logits[np.arange(3000), truth] += np.array([0.3, 0.3, 3.5, 3.5])[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labelled = np.concatenate([np.flatnonzero(truth == k)[:3] for k in range(4)])
    found, candidates = call(100, labelled, truth[labelled], probs)
    two = np.sort(probs, axis=1)[:, -2:]
    by_margin = candidates[np.argsort((two[:, 1] - two[:, 0])[candidates])[:100]]
    assert (truth[found.rows] > 1).sum() > 2 * (truth[by_margin] > 1).sum()


def test_conformance_and_bad_input():
    check_select(galaxy)
    check_strategy("galaxy")
    check_strategy("rare_and_new")
    found, _ = call(0, [], [], np.ones((3, 1)))
    assert found.rows.tolist() == []
    found, _ = call(9, [], [], np.ones((3, 1)))
    assert sorted(found.rows.tolist()) == [0, 1, 2]
    with pytest.raises(SelectionError, match="sum to 1"):
        call(1, [0], [0], np.array([[0.5, 0.9], [0.5, 0.5]]))
    with pytest.raises(SelectionError, match="expected probabilities of 2 classes for labelled rows, found 3"):
        galaxy(
            1,
            np.array([0]),
            np.array([1]),
            np.array([0]),
            np.full((2, 2), 0.5),
            np.full((1, 3), 1 / 3),
            np.random.default_rng(),
        )
