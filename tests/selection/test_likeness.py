"""most_similar, most_typical and deduplicate: the formulas, queries, ties and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import deduplicate, most_similar, most_typical

NOTHING = np.array([], int)


def problem(seed, size, known):
    r = np.random.default_rng(seed)
    x = r.normal(size=(size + known, 3)).astype(np.float32)
    if seed % 3 == 0:
        x = x[r.integers(0, size + known, size + known)]
    rows = r.permutation(size + known)
    return np.sort(rows[known:]), rows[:known], x


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 8))
def test_the_most_similar_are_the_nearest_to_what_is_labelled(seed, size, known):
    candidates, labelled, x = problem(seed, size, known)
    rows = np.concatenate([candidates, labelled])
    d = np.sqrt(((x[rows].astype(float)[:, None] - x[labelled].astype(float)) ** 2).sum(-1)).min(1)
    picks = most_similar(size, candidates, labelled, x)
    assert picks.rows.tolist() == candidates[np.argsort(np.round(d[:size], 12), kind="stable")].tolist()
    if d.any():
        expected = np.exp(-d / d.mean())[: len(candidates)]
        np.testing.assert_allclose(picks.facts["similarity"], expected[np.searchsorted(candidates, picks.rows)])


def test_queries_by_row_by_class_and_none():
    x = np.array([[0], [10], [1], [9], [5]], np.float32)
    candidates, labelled, labels = np.array([2, 3, 4]), np.array([0, 1]), np.array([0, 1])
    assert most_similar(1, candidates, labelled, x, labels, like=(1,)).rows.tolist() == [3]
    assert most_similar(3, candidates, labelled, x, labels, queries=(4,)).rows.tolist() == [4, 2, 3]
    assert most_similar(1, candidates, NOTHING, x).rows.tolist() == [4]  # the most central
    with pytest.raises(SelectionError, match=r"class 2 \(index\).*label one"):
        most_similar(1, candidates, labelled, x, labels, like=(2,))
    with pytest.raises(SelectionError, match="query rows from 0 to 4"):
        most_similar(1, candidates, labelled, x, queries=(9,))


def test_the_most_typical_come_first_and_ties_go_to_the_lowest_row():
    x = np.array([[9], [0], [0.1], [-0.1], [5], [5]], np.float32)
    picks = most_typical(6, np.arange(6), NOTHING, x, neighbours=1)
    assert picks.rows.tolist()[:2] == [4, 5]
    assert picks.rows.tolist()[-1] == 0
    assert (np.diff(picks.facts["typical"]) <= 0).all()
    assert most_typical(2, np.arange(3), NOTHING, np.ones((3, 2), np.float32)).rows.tolist() == [0, 1]
    with pytest.raises(SelectionError, match="1 neighbour or more"):
        most_typical(1, np.arange(6), NOTHING, x, neighbours=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 6), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
def test_deduplicate_is_a_walk_over_rows(seed, size, known, distance):
    candidates, labelled, x = problem(seed, size, known)
    before, expected = list(labelled), []
    for row in candidates:
        gaps = np.sqrt(((x[before].astype(float) - x[row].astype(float)) ** 2).sum(1))
        if not (gaps < distance).any():
            before.append(row)
            expected.append(int(row))
    n = seed % (size + 2)
    picks = deduplicate(n, candidates, labelled, x, distance=distance)
    assert picks.rows.tolist() == expected[:n]
    assert bool(picks.ended) == (len(expected) < min(n, size))


def test_deduplicate_over_several_lots_and_at_the_threshold():
    line = (np.arange(5000)[:, None] // 2).astype(np.float32)
    everything = deduplicate(5000, np.arange(5000), NOTHING, line, distance=1.0)  # equal is kept
    assert everything.rows.tolist() == list(range(0, 5000, 2))
    assert deduplicate(5000, np.arange(5000), NOTHING, line, distance=1.5).rows.tolist() == list(range(0, 5000, 4))
    with pytest.raises(SelectionError, match="least_distance of 0 or more"):
        deduplicate(1, np.arange(2), NOTHING, line[:2], distance=-1)
