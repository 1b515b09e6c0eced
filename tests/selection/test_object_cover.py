"""object_coverage equals a plain greedy facility location over objects of one class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import object_coverage
from labelwise.selection.picks import on_grid

NONE = np.array([], dtype=np.int64)


def similarities(objects, labels):
    points = objects.astype(np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1)
    same = labels[:, None] == labels[None, :]
    return np.where(same, np.maximum(on_grid(points @ points.T), 0), 0)


def reference(n, candidates, labelled, objects, owners, labels, scores):
    similar = similarities(objects, labels)
    of = {row: np.flatnonzero(owners == row) for row in [*candidates, *labelled]}
    left = [row for row in candidates if len(of[row])]
    free = np.concatenate([of[row] for row in left]) if left else NONE
    weights = on_grid(scores[free] / max(scores[free].max(initial=0), 1e-300))
    covered = np.zeros(len(free))
    for row in labelled:
        for i in of[row]:
            covered = np.maximum(covered, similar[i, free])
    picks = []
    while len(picks) < min(n, len(left)):
        gains = {}
        for row in left:
            if row not in picks:
                best = np.max([similar[i, free] for i in of[row]], axis=0)
                gains[row] = float((weights * np.maximum(best - covered, 0)).sum())
        best = max(gains, key=lambda row: (gains[row], -row))
        picks.append(best)
        for i in of[best]:
            covered = np.maximum(covered, similar[i, free])
    empty = [row for row in candidates if not len(of[row])]
    return [*picks, *empty[: n - len(picks)]]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 14), st.integers(0, 5), st.booleans())
def test_equals_plain_greedy(seed, images, known, whole):
    rng = np.random.default_rng(seed)
    owners = np.arange(images + known).repeat(rng.integers(0, 5, images + known))
    objects = rng.integers(-1, 3, (len(owners), 2)) if whole else rng.normal(size=(len(owners), 3))
    labels, scores = rng.integers(-1, 3, len(owners)), rng.integers(0, 4, len(owners)) / 4
    rows = rng.permutation(images + known)
    candidates, labelled = np.sort(rows[known:]), rows[:known]
    n = int(rng.integers(0, images + 1))
    picks = object_coverage(n, candidates, labelled, objects, owners, labels, scores, rng)
    assert picks.rows.tolist() == reference(n, candidates, labelled, objects, owners, labels, scores)


def test_only_the_nearest_of_the_class_are_served():
    rng = np.random.default_rng(0)
    owners, labels = np.arange(30).repeat(2), np.arange(60) % 3
    objects, scores = rng.normal(size=(60, 4)), np.ones(60)
    similar = similarities(objects, labels)
    for i in range(60):
        similar[i, np.argsort(-similar[i])[4:]] = 0
    gains = [np.max(similar[2 * row : 2 * row + 2], axis=0).sum() for row in range(30)]
    picks = object_coverage(1, np.arange(30), NONE, objects, owners, labels, scores, rng, neighbours=4)
    assert picks.rows.tolist() == [int(np.argmax(gains))]
    assert picks.facts["newly_covered"][0] == pytest.approx(max(gains) / 60)


def test_a_class_is_covered_by_its_own_only_and_weights_decide():
    objects = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    owners, labels, scores = np.arange(4), np.array([0, 0, 1, 1]), np.array([np.nan, 1, 0.5, 0.2])
    picks = object_coverage(3, np.array([1, 2, 3]), np.array([0]), objects, owners, labels, scores, None)
    assert picks.rows.tolist() == [2, 3, 1]
    assert picks.facts["object"].tolist() == [0, 0, 0]
    assert picks.facts["newly_covered"][-1] == 0


def test_weights_that_are_all_0_and_more_objects_than_the_limit():
    owners = np.arange(40).repeat(3)
    objects = np.random.default_rng(0).normal(size=(120, 3))
    zeros = np.zeros(120)
    picks = object_coverage(
        4, np.arange(40), NONE, objects, owners, np.zeros(120, int), zeros, np.random.default_rng(0)
    )
    assert picks.rows.tolist() == [0, 1, 2, 3]
    for n in (2, 30, 40):
        rows = object_coverage(
            n, np.arange(40), NONE, objects, owners, np.zeros(120, int), zeros + 1, np.random.default_rng(0), limit=20
        ).rows
        assert len(set(rows.tolist())) == n
    with pytest.raises(SelectionError, match="neighbours of 1 or more"):
        object_coverage(1, np.arange(2), NONE, objects, owners, owners, zeros, None, neighbours=0)
