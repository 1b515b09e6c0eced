"""Annotators' effort: every box is accepted, moved, renamed, deleted or added, as a plain count says."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.evaluate.effort import MATCH, SAME, Effort, effort, match, total
from labelwise.records import Target


def boxes(*found: tuple[str, list[float]]) -> Target:
    return Target(tuple(name for name, _ in found), np.array([b for _, b in found], float).reshape(-1, 4))


A, B, C = ("cat", [0, 0, 10, 10]), ("dog", [20, 20, 40, 40]), ("cat", [50, 0, 60, 10])


@pytest.mark.parametrize(
    ("before", "after", "accepted", "moved", "renamed", "added", "deleted"),
    [
        ([A, B], [B, A], 2, 0, 0, 0, 0),
        ([A, B], [], 0, 0, 0, 0, 2),
        ([], [A, B], 0, 0, 0, 2, 0),
        ([], [], 0, 0, 0, 0, 0),
        ([A], [("cat", [0, 0, 10, 10.5])], 1, 0, 0, 0, 0),
        ([A], [("cat", [0, 0, 10, 10.6])], 0, 1, 0, 0, 0),
        ([A], [("dog", [0, 0, 10, 10])], 0, 0, 1, 0, 0),
        ([A], [("dog", [0, 0, 10, 14])], 0, 1, 1, 0, 0),
        ([A], [C], 0, 0, 0, 1, 1),
        ([A, A], [A], 1, 0, 0, 0, 1),
        ([A], [A, A], 1, 0, 0, 1, 0),
        ([A, B, C], [("cat", [0, 0, 10, 12]), ("cat", [20, 20, 40, 40]), ("dog", [90, 90, 99, 99])], 0, 1, 1, 1, 1),
    ],
)
def test_boxes(before, after, accepted, moved, renamed, added, deleted):
    found = effort(boxes(*before), boxes(*after))
    assert (found.accepted, found.moved, found.renamed, found.added, found.deleted) == (
        *(accepted, moved, renamed, added, deleted),
    )
    assert found.proposed == len(before) == found.kept + found.deleted
    assert len(after) == found.kept + found.added
    assert found.corrections == moved + renamed + added + deleted


def test_what_was_left_alone_is_not_taken_for_moved():
    """Another box overlaps more in sum, but the person did not touch the first."""
    before = boxes(("cat", [0, 0, 10, 10]), ("cat", [1, 0, 11, 10]))
    found = effort(before, boxes(("cat", [0, 0, 10, 10])))
    assert (found.accepted, found.deleted, found.moved) == (1, 1, 0)


def test_the_overlap_of_moved_boxes():
    found = effort(boxes(A), boxes(("cat", [0, 0, 10, 5])))
    assert found.mean_iou == pytest.approx(0.5)
    assert math.isnan(effort(boxes(A), boxes()).mean_iou)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    count = draw(st.integers(0, 4))
    corner, side = st.integers(0, 12), st.integers(0, 10)
    made = []
    for _ in range(count):
        x, y, w, h = draw(corner), draw(corner), draw(side), draw(side)
        made.append((draw(st.sampled_from(["a", "b"])), [x, y, x + w, y + h]))
    return boxes(*made)


def plain_iou(one: list[float], two: list[float]) -> float:
    w = min(one[2], two[2]) - max(one[0], two[0])
    h = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(0, w) * max(0, h)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - shared
    return shared / union if union > 0 else 0.0


@settings(max_examples=150, deadline=None)
@given(targets(), targets())
def test_the_matching_is_the_best_of_all(before: Target, after: Target) -> None:
    """Most boxes left as they were, then the highest sum of overlaps: found by trying every way."""

    def worth(i: int, j: int) -> tuple[int, float]:
        one, two = before.geometry[i], after.geometry[j]
        near = bool((abs(one - two) <= SAME).all())
        same = near and before.classes[i] == after.classes[j]
        overlap = plain_iou(one.tolist(), two.tolist())
        return int(same), overlap if overlap >= MATCH or near else 0.0

    n, m = len(before.classes), len(after.classes)
    best = (0, 0.0)
    for order in permutations(range(max(n, m)), n):
        pairs = [worth(i, j) for i, j in enumerate(order) if j < m]
        best = max(best, (sum(p[0] for p in pairs), sum(p[1] for p in pairs)))
    found = [worth(i, j) for i, j in match(before, after)]
    assert sum(p[0] for p in found) == best[0]
    assert sum(p[1] for p in found) == pytest.approx(best[1], abs=1e-4)
    counted = effort(before, after)
    assert counted.accepted == best[0]
    assert counted.kept + counted.deleted == n
    assert counted.kept + counted.added == m


def test_classes_of_images_and_pixels():
    cat, dog = Target(("cat",)), Target(("dog",))
    assert effort(cat, cat).accepted == 1
    assert effort(cat, dog).renamed == 1
    assert effort(None, dog).added == 1
    places = np.array([[0, 0], [1, 0], [2, 0]], np.int32)
    proposed = Target(("a", "b"), places, np.array([0, 1, 0], np.int32))
    answered = Target(("b",), places[:2], np.array([0, 0], np.int32))  # the third shows no class
    found = effort(proposed, answered)
    assert (found.proposed, found.accepted, found.renamed, found.deleted, found.added) == (3, 1, 1, 1, 0)
    assert effort(None, answered).added == 2


def test_a_mask_has_its_time_only_and_efforts_add_up():
    mask = effort(None, Target(("a",), mask=Path("m.png")), 12.5)
    assert mask == Effort(answers=1, seconds=12.5, timed=1)
    both = total([mask, effort(boxes(A), boxes(A)), effort(boxes(A), boxes(), 2.0)])
    assert (both.answers, both.seconds, both.timed, both.accepted, both.deleted) == (3, 14.5, 2, 1, 1)
    assert total([]) == Effort()


def test_boxes_alike_count_as_left_where_the_answers_are_exact_truth():
    before, after = boxes(A), boxes(("cat", [0, 0, 10, 9.2]))
    assert effort(before, after).moved == 1
    assert effort(before, after, alike=0.9).accepted == 1
    assert effort(before, boxes(("cat", [0, 0, 10, 8.9])), alike=0.9).moved == 1
