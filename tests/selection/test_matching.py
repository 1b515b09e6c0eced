"""ppal: its distances equal the pairwise loops over boxes, its picks k-centres and medoids on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import ppal
from labelwise.selection.matching import Boxes, matching_distances
from labelwise.selection.picks import on_grid

NONE = np.array([], dtype=np.int64)


def one_way(a, b):
    """PPAL's category-conditioned matching of the boxes of one image with those of another, box by box."""
    total = weight = 0.0
    for vector, label, score in a:
        least = 2.0
        for other, other_label, _ in b:
            if label == other_label:
                least = min(least, 1 - float(vector @ other) / (np.linalg.norm(vector) * np.linalg.norm(other)))
        total, weight = total + score * least, weight + score
    return total / weight


def between(a, b):
    return (one_way(a, b) + one_way(b, a)) / 2


def scene(seed, images, classes=3, whole=False):
    rng = np.random.default_rng(seed)
    owners = np.arange(images).repeat(rng.integers(0, 5, images))
    objects = rng.integers(1, 4, (len(owners), 3)) if whole else rng.normal(size=(len(owners), 3))
    return objects, owners, rng.integers(-1, classes, len(owners)), rng.random(len(owners)), rng


def boxes_of(row, objects, owners, labels, scores, threshold=0.05):
    return [(objects[i], labels[i], scores[i]) for i in np.flatnonzero((owners == row) & (scores > threshold))]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_distances_equal_the_pairwise_loops(seed, some, others):
    objects, owners, labels, scores, _ = scene(seed, some + others)
    sides = []
    for rows in (range(some), range(some, some + others)):
        rows = [row for row in rows if row in owners]
        if not rows:
            return
        which = np.flatnonzero(np.isin(owners, rows))
        unit = objects[which] / np.linalg.norm(objects[which], axis=1, keepdims=True)
        owner = np.searchsorted(rows, owners[which])
        boxes = Boxes(unit.astype(np.float32), labels[which], scores[which] + 0.1, owner, len(rows))
        plain = [[(objects[i], labels[i], scores[i] + 0.1) for i in np.flatnonzero(owners == row)] for row in rows]
        sides.append((boxes, plain))
    (one, plain_one), (two, plain_two) = sides
    expected = [[between(a, b) for b in plain_two] for a in plain_one]
    assert np.allclose(matching_distances(one, two), expected, atol=2e-6)
    within = matching_distances(one, one)
    assert np.allclose(within, [[between(a, b) for b in plain_one] for a in plain_one], atol=2e-6)
    assert np.array_equal(within, within.T)
    assert (np.diag(within) == 0).all()


def test_small_chunks_change_nothing(monkeypatch):
    objects, owners, labels, scores, _ = scene(0, 40)
    unit = (objects / np.linalg.norm(objects, axis=1, keepdims=True)).astype(np.float32)
    _, owner = np.unique(owners, return_inverse=True)
    boxes = Boxes(unit, labels, scores, owner, owner.max() + 1)
    whole = matching_distances(boxes, boxes)
    monkeypatch.setattr("labelwise.selection.matching._CELLS", 64)
    monkeypatch.setattr("labelwise.selection.matching._IMAGES", 2)
    assert np.allclose(matching_distances(boxes, boxes), whole, atol=1e-6)
    assert np.allclose(matching_distances(boxes, boxes.part(slice(3, 11))), whole[:, 3:11], atol=1e-6)


def reference(n, candidates, labelled, objects, owners, labels, scores, updates):
    """k-centres and medoids on distances from the loops over pairs of boxes."""
    known = [boxes_of(row, objects, owners, labels, np.nan_to_num(scores, nan=1.0)) for row in labelled]
    known = [b for b in known if b]
    rows = [row for row in candidates if boxes_of(row, objects, owners, labels, scores)]
    plain = [boxes_of(row, objects, owners, labels, scores) for row in rows]
    apart = np.array([[on_grid(between(a, b)) if a is not b else 0.0 for b in plain] for a in plain])
    near = np.array([min((on_grid(between(a, b)) for b in known), default=np.inf) for a in plain])
    picks = []
    while len(picks) < min(n, len(rows)):
        to = [min([near[i], *(apart[i][p] for p in picks)]) for i in range(len(rows))]
        if not picks and not known:
            picks.append(int(np.argmin(apart.sum(axis=1))))
        else:
            picks.append(max((i for i in range(len(rows)) if i not in picks), key=lambda i: (to[i], -i)))
    for _ in range(updates):
        whose = []
        for i in range(len(rows)):
            to = [apart[i][p] for p in picks]
            best = int(np.argmin(to)) if to else -1
            whose.append(picks.index(i) if i in picks else -1 if best < 0 or to[best] > near[i] else best)
        moved = []
        for number in range(len(picks)):
            members = [i for i in range(len(rows)) if whose[i] == number]
            moved.append(min(members, key=lambda i: (sum(apart[i][m] for m in members), i)))
        if moved == picks:
            break
        picks = moved
    chosen = [rows[i] for i in picks]
    return [*chosen, *[row for row in candidates if row not in rows][: n - len(chosen)]]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(0, 4), st.sampled_from([0, 1, 100]))
def test_equals_the_plain_algorithm(seed, images, known, updates):
    objects, owners, labels, scores, rng = scene(seed, images + known)
    rows = rng.permutation(images + known)
    candidates, labelled = np.sort(rows[known:]), rows[:known]
    scores[np.isin(owners, labelled) & (rng.random(len(owners)) < 0.5)] = np.nan
    n = int(rng.integers(0, images + 1))
    picks = ppal(n, candidates, labelled, objects, owners, labels, scores, rng, updates=updates)
    assert picks.rows.tolist() == reference(n, candidates, labelled, objects, owners, labels, scores, updates)


def test_equal_rank_in_two_images_is_no_match():
    objects = np.array([[1.0, 0], [0, 1]])  # the original makes the distance of box 0 to box 0 zero
    boxes = Boxes(objects.astype(np.float32), np.zeros(2, int), np.ones(2), np.arange(2), 2)
    assert matching_distances(boxes, boxes).tolist() == [[0, 1], [1, 0]]


def test_facts_speak_of_labelled_and_earlier_picks():
    objects, owners = np.array([[1, 0], [1, 0.01], [0, 1], [1, 1], [0, -1]], float), np.arange(5)
    given = (objects, owners, np.zeros(5, int), np.ones(5), None)
    picks = ppal(2, np.arange(1, 5), np.array([0]), *given, updates=0)
    assert picks.rows.tolist() == [2, 4]
    assert picks.facts["nearest"].tolist() == [0, 0]
    assert picks.facts["distance"].tolist() == [1, 1]
    assert picks.facts["stands_for"].tolist() == [2, 1]  # itself, and one that is as near to the labelled one
    first = ppal(1, np.arange(1, 5), NONE, *given)
    assert np.isnan(first.facts["distance"][0])
    assert first.facts["nearest"].tolist() == [-1]
    assert first.facts["stands_for"].tolist() == [4]


def test_equal_boxes_one_class_unknown_classes_and_images_below_the_threshold():
    owners = np.arange(6).repeat(4)
    ones, rng = np.ones((24, 3)), np.random.default_rng(0)
    for label in (-1, 0):
        picks = ppal(6, np.arange(6), NONE, ones, owners, np.full(24, label), np.ones(24), rng)
        assert picks.rows.tolist() == list(range(6))
    scores = np.where(owners % 2, 0.01, 1.0)
    assert ppal(5, np.arange(6), NONE, ones, owners, owners, scores, rng).rows.tolist() == [0, 2, 4, 1, 3]
    assert ppal(2, np.arange(6), NONE, ones * 0, owners, owners * 0, scores, rng).rows.tolist() == [0, 2]


def test_a_thousand_boxes_in_one_image_and_more_images_than_the_limit():
    rng = np.random.default_rng(0)
    owners = np.concatenate([np.zeros(1000, int), np.arange(1, 30)])
    objects, labels = rng.normal(size=(1029, 4)), rng.integers(0, 3, 1029)
    for n in (3, 12, 30):
        rows = ppal(n, np.arange(30), NONE, objects, owners, labels, np.ones(1029), rng, limit=10).rows
        assert len(set(rows.tolist())) == n


def test_options_and_vectors_are_checked():
    with pytest.raises(SelectionError, match="threshold of 0 or more"):
        ppal(1, NONE, NONE, np.ones((0, 1)), NONE, NONE, np.ones(0), None, threshold=-1)
    with pytest.raises(SelectionError, match="object 0 of row 1"):
        ppal(1, np.arange(2), NONE, np.array([[1.0], [np.nan]]), np.arange(2), np.arange(2), np.ones(2), None)
