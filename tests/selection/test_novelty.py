"""Discovery against a plain greedy, and finding a class that nobody has labelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import k_center, novel
from labelwise.testing import check_select


def plain(n, candidates, labelled, probs, vectors):
    vectors = vectors.astype(np.float64)
    said = {i: int(np.argmax(probs[i])) for i in candidates}
    if len(labelled):
        centres = list(labelled)
    else:
        mean = vectors[candidates].mean(axis=0)
        centres = [min(candidates, key=lambda i: (((vectors[i] - mean) ** 2).sum(), i))]

    def far(i, others):
        return min(np.sqrt(((vectors[i] - vectors[j]) ** 2).sum()) for j in others)

    first = {i: far(i, centres) for i in candidates}
    usual = {}
    for k in set(said.values()):
        own = [first[i] for i in candidates if said[i] == k]
        usual[k] = float(np.median(own)) or float(np.mean(own)) or np.inf
    picks = []
    while len(picks) < n:
        left = [i for i in candidates if i not in picks]
        values = {i: min([first[i], *([far(i, picks)] if picks else [])]) / usual[said[i]] for i in left}
        picks.append(min(left, key=lambda i: (-values[i], i)))
    return picks


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 4), st.booleans())
def test_picks_are_those_of_a_plain_greedy(seed, size, known, whole):
    rng = np.random.default_rng(seed)
    vectors = (
        rng.integers(0, 4, (size, 2)).astype(np.float32) if whole else rng.normal(size=(size, 3)).astype(np.float32)
    )
    probs = rng.dirichlet(np.ones(3), size)
    labelled = np.sort(rng.permutation(size)[: min(known, size - 1)]).astype(np.int64)
    candidates = np.setdiff1d(np.arange(size), labelled)
    found = novel(len(candidates), candidates, labelled, probs, vectors)
    assert found.rows.tolist() == plain(len(candidates), candidates.tolist(), labelled.tolist(), probs, vectors)


def test_a_new_class_is_found_beside_one_that_varies():
    """Class 0 varies a lot, class 1 hardly; ten rows of a class nobody knows are taken for class 1."""
    rng = np.random.default_rng(0)
    wide, tight = rng.normal(0, 8, (300, 8)), rng.normal(0, 0.3, (300, 8)) + 40
    new = rng.normal(0, 0.3, (10, 8)) + 40 + np.array([5.0, *[0] * 7])
    vectors = np.concatenate([wide, tight, new]).astype(np.float32)
    probs = np.repeat([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]], [300, 300, 10], axis=0)
    labelled = np.concatenate([np.arange(20), np.arange(300, 320)])
    candidates = np.setdiff1d(np.arange(610), labelled)
    assert novel(1, candidates, labelled, probs, vectors).rows[0] >= 600
    spread = k_center(20, candidates, labelled, vectors).rows
    assert (spread >= 600).sum() == 0  # farthest first never leaves class 0
    assert novel(20, candidates, labelled, probs, vectors).facts["novelty"][0] > 4


def test_conformance_and_bad_input():
    check_select(novel)
    rows = np.arange(3)
    same = novel(3, rows, np.arange(0), np.ones((3, 1)), np.ones((3, 2), np.float32))
    assert same.rows.tolist() == [0, 1, 2]
    assert same.facts["novelty"].tolist() == [0, 0, 0]
    with pytest.raises(SelectionError, match="not finite"):
        novel(1, rows, np.arange(0), np.ones((3, 1)), np.full((3, 2), np.nan, np.float32))
    with pytest.raises(SelectionError, match="sum to 1"):
        novel(1, rows, np.arange(0), np.zeros((3, 2)), np.ones((3, 2), np.float32))
