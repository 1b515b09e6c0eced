"""hierarchical: its cut against the definition by recursion, the chances of a draw, exact counts and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import hierarchical
from labelwise.selection.tree import _Tree

NONE = np.array([], dtype=np.int64)


def plain_cut(children, total, label_of, classes, beta):
    """Dasgupta & Hsu's definition, one node at a time: {node: weight}."""

    def below(node):
        return [node] if node < total else [leaf for child in children[node - total] for leaf in below(child)]

    def facts(node):
        seen = [label_of[leaf] for leaf in below(node) if leaf in label_of]
        if not seen:
            return [1 / classes] * classes, [0.0] * classes, [1.0] * classes
        share = [seen.count(c) / len(seen) for c in range(classes)]
        width = [1 / len(seen) + (p * (1 - p) / len(seen)) ** 0.5 for p in share]
        pairs = list(zip(share, width, strict=True))
        return share, [max(p - d, 0) for p, d in pairs], [min(p + d, 1) for p, d in pairs]

    def errors(node):
        share, low, high = facts(node)
        result = {}
        for c in range(classes):
            if 1 - low[c] < beta * min(1 - high[o] for o in range(classes) if o != c):
                result[c] = 1 - share[c]
        return result

    def best(node, may):
        """Least error, and the nodes that give it."""
        own = errors(node)
        score, nodes = min(own.values(), default=1.0), [node]
        if node >= total:
            parts = [best(int(child), may and bool(own)) for child in children[node - total]]
            sizes = [len(below(int(child))) for child in children[node - total]]
            apart = sum(size * part[0] for size, part in zip(sizes, parts, strict=True)) / sum(sizes)
            if may and own and apart < score - 1e-12:
                score, nodes = apart, parts[0][1] + parts[1][1]
        return score, nodes

    return best(2 * total - 2, True)[1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), beta=st.sampled_from([1.0, 2.0, 5.0]), classes=st.sampled_from([2, 3]))
def test_the_cut_is_that_of_the_definition(seed, beta, classes):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, 40)
    points = 3 * np.eye(4)[truth] + rng.normal(size=(40, 4))
    labels = np.where(rng.random(25) < 0.9, truth[15:], rng.integers(-1, classes, 25))
    tree = _Tree.of(points, labels, 15)
    known = {15 + i: int(label) for i, label in enumerate(labels) if label >= 0}
    parts = tree.cut(beta)
    assert parts.nodes.tolist() == plain_cut(tree.children, 40, known, tree.counts.shape[1], beta)
    assert sorted(leaf for node in parts.nodes for leaf in tree.leaves(node)) == list(range(40))


def test_mixed_parts_are_drawn_more_than_pure_ones():
    """Two far clusters, one with labels that agree, one with a quarter of another class."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (60, 2)), rng.normal(9, 0.1, (60, 2))]).astype(np.float32)
    labelled = np.r_[0:20, 60:80]
    labels = np.r_[np.zeros(20, int), (np.arange(20) % 4 > 0).astype(int)]
    candidates = np.setdiff1d(np.arange(120), labelled)
    rows = [hierarchical(4, candidates, labelled, labels, points, np.random.default_rng(s)).rows for s in range(30)]
    assert np.mean(np.concatenate(rows) >= 60) > 0.7


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_every_row_once_with_equal_vectors_and_no_labels(size):
    same = np.ones((size, 3), dtype=np.float32)
    picks = hierarchical(size, np.arange(size), NONE, NONE, same, np.random.default_rng(0))
    assert sorted(picks.rows.tolist()) == list(range(size))
    assert picks.facts["part_size"].tolist() == [size] * size


def test_one_class_and_a_sample():
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    labelled = np.arange(10)
    rows = [
        hierarchical(6, np.arange(10, 40), labelled, np.zeros(10, int), points, np.random.default_rng(1), limit=8).rows
        for _ in range(2)
    ]
    assert rows[0].tolist() == rows[1].tolist()
    assert len(set(rows[0].tolist())) == 6


def test_bad_input_is_refused():
    points = np.ones((4, 2), dtype=np.float32)
    with pytest.raises(SelectionError, match="beta"):
        hierarchical(1, np.arange(4), NONE, NONE, points, np.random.default_rng(0), beta=0.5)
    points[2] = np.nan
    with pytest.raises(SelectionError, match="row 2"):
        hierarchical(1, np.arange(4), NONE, NONE, points, np.random.default_rng(0))
