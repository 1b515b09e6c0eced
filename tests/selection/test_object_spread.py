"""object_k_center equals a plain float64 greedy over images, by the farthest object and by the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import object_k_center

NONE = np.array([], dtype=np.int64)


def reference(n, candidates, labelled, objects, owners, over):
    """Every distance in float64, one loop at a time."""
    points = objects.astype(np.float64)
    of = {row: np.flatnonzero(owners == row) for row in [*candidates, *labelled]}
    covered = [i for row in labelled for i in of[row]]
    left, picks = [row for row in candidates if len(of[row])], []
    if not covered and left and n:
        mean = np.concatenate([points[of[row]] for row in left]).mean(axis=0)
        central = {row: ((points[of[row]] - mean) ** 2).sum(axis=1).min() for row in left}
        # rounding must not decide between those equally near
        first = next(row for row in left if central[row] <= min(central.values()) * (1 + 1e-9))
        picks, covered = [first], list(of[first])
    while len(picks) < n and len(picks) < len(left):
        best, best_value = None, -1.0
        for row in left:
            if row in picks:
                continue
            near = [min(((points[i] - points[c]) ** 2).sum() for c in covered) for i in of[row]]
            value = max(near) if over == "max" else math.fsum(near) / len(near)
            if value > best_value:
                best, best_value = row, value
        picks.append(best)
        covered += list(of[best])
    empty = [row for row in candidates if not len(of[row])]
    return [*picks, *empty[: n - len(picks)]]


def scene(seed, images, known, width, whole):
    rng = np.random.default_rng(seed)
    owners = np.arange(images + known).repeat(rng.integers(0, 5, images + known))
    objects = rng.integers(0, 4, (len(owners), width)) if whole else rng.normal(size=(len(owners), width))
    rows = rng.permutation(images + known)
    return np.sort(rows[known:]), rows[:known], objects.astype(np.float32), owners


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 14), st.integers(0, 6), st.sampled_from(["max", "mean"]), st.booleans())
@example(seed=6424, images=9, known=0, over="max", whole=True)  # two objects equally near the mean
def test_equals_plain_greedy(seed, images, known, over, whole):
    candidates, labelled, objects, owners = scene(seed, images, known, 3, whole)
    n = seed % (images + 3)
    picks = object_k_center(n, candidates, labelled, objects, owners, over=over)
    assert picks.rows.tolist() == reference(min(n, images), candidates, labelled, objects, owners, over)


@pytest.mark.parametrize("over", ["max", "mean"])
@pytest.mark.parametrize("offset", [0, 100])
def test_equals_plain_greedy_through_several_blocks(over, offset, monkeypatch):
    monkeypatch.setattr("labelwise.selection.farthest._BLOCK", 8)
    monkeypatch.setattr("labelwise.selection.object_spread._IMAGES", 4)
    monkeypatch.setattr("labelwise.selection.object_spread._GROUP", 8)
    for whole in (True, False):
        candidates, labelled, objects, owners = scene(5, 36, 8, 4, whole)
        objects = objects + np.float32(offset)
        expected = reference(24, candidates, labelled, objects, owners, over)
        assert object_k_center(24, candidates, labelled, objects, owners, over=over).rows.tolist() == expected


def test_facts_say_which_object_is_how_far_from_which():
    objects = np.array([[0, 0], [1, 0], [0, 9], [0, 2], [5, 0], [5, 1]], np.float32)
    owners = np.array([0, 1, 1, 2, 3, 3])
    picks = object_k_center(3, np.array([1, 2, 3]), np.array([0]), objects, owners)
    assert picks.rows.tolist() == [1, 3, 2]
    assert picks.facts["object"].tolist() == [1, 1, 0]
    assert picks.facts["object_distance"].tolist() == pytest.approx([9, math.sqrt(17), 2])
    assert picks.facts["nearest"].tolist() == [0, 1, 0]
    assert picks.facts["near_object"].tolist() == [0, 0, 0]
    mean = object_k_center(1, np.array([1, 2, 3]), np.array([0]), objects, owners, over="mean")
    assert mean.rows.tolist() == [1]
    assert mean.facts["mean_squared_distance"].tolist() == [41]


def test_lightlys_rule_parts_from_the_farthest_object():
    objects = np.array([[0.0], [10], [0], [6], [6]], np.float32)
    owners = np.array([0, 1, 1, 2, 2])
    assert object_k_center(1, np.array([1, 2]), np.array([0]), objects, owners).rows.tolist() == [1]
    assert object_k_center(1, np.array([1, 2]), np.array([0]), objects, owners, over="mean").rows.tolist() == [1]
    objects[1] = 8
    assert object_k_center(1, np.array([1, 2]), np.array([0]), objects, owners, over="mean").rows.tolist() == [2]


@pytest.mark.parametrize("over", ["max", "mean"])
def test_one_image_of_a_thousand_boxes_and_images_without_any(over):
    rng = np.random.default_rng(0)
    owners = np.concatenate([np.full(1000, 2), [4]])
    objects = rng.normal(size=(1001, 8)).astype(np.float32)
    picks = object_k_center(5, np.arange(6), NONE, objects, owners, over=over)
    assert sorted(picks.rows[:2].tolist()) == [2, 4]
    assert picks.rows[2:].tolist() == [0, 1, 3]
    assert picks.facts["object"][2:].tolist() == [-1, -1, -1]
    assert np.isnan(picks.facts["object_distance"][2:]).all()
    nothing = object_k_center(3, np.arange(4), NONE, np.empty((0, 8)), NONE, over=over)
    assert nothing.rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("over", ["max", "mean"])
def test_equal_boxes_tie_in_row_order(over):
    owners = np.arange(8).repeat(3)
    picks = object_k_center(8, np.arange(8), NONE, np.ones((24, 5), np.float32), owners, over=over)
    assert picks.rows.tolist() == list(range(8))


def test_equal_means_tie_whatever_the_order_of_their_objects():
    rng = np.random.default_rng(1)
    part = rng.normal(size=(7, 6)).astype(np.float32)
    objects = np.concatenate([np.zeros((1, 6), np.float32), *(part[rng.permutation(7)] for _ in range(9))])
    owners = np.concatenate([[0], np.arange(1, 10).repeat(7)])
    picks = object_k_center(9, np.arange(1, 10), np.array([0]), objects, owners, over="mean")
    assert picks.rows.tolist() == list(range(1, 10))


def test_renumbered_rows_give_the_same_images():
    candidates, labelled, objects, owners = scene(3, 20, 0, 4, False)
    order = np.random.default_rng(0).permutation(20)  # new row of each image
    place = np.argsort(order[owners], kind="stable")
    for over in ("max", "mean"):
        before = object_k_center(9, candidates, labelled, objects, owners, over=over).rows
        after = object_k_center(9, candidates, labelled, objects[place], order[owners][place], over=over).rows
        some = np.isin(before, owners)
        assert order[before[some]].tolist() == after[: some.sum()].tolist()


def test_what_cannot_be_used_is_named():
    objects = np.ones((4, 2), np.float32)
    objects[2, 1] = np.nan
    with pytest.raises(SelectionError, match="object 1 of row 5 has a number that is not finite"):
        object_k_center(1, np.array([4, 5]), NONE, objects, np.array([4, 5, 5, 7]))
    assert object_k_center(1, np.array([4]), NONE, objects, np.array([4, 5, 5, 7])).rows.tolist() == [4]
    with pytest.raises(SelectionError, match="over 'max' or 'mean'"):
        object_k_center(1, np.array([4]), NONE, objects, np.array([4, 5, 5, 7]), over="median")
