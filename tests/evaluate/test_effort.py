"""What annotators did to proposed boxes, against a plain count and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import DataError
from labelwise.evaluate import DEEDS, box_effort
from labelwise.records import Target


def target(*boxes: tuple[str, float, float, float, float]) -> Target:
    return Target(tuple(b[0] for b in boxes), np.array([b[1:] for b in boxes], float).reshape(-1, 4))


def test_each_deed() -> None:
    proposal = target(("a", 0, 0, 10, 10), ("a", 20, 0, 30, 10), ("a", 40, 0, 50, 10), ("a", 60, 0, 70, 10))
    answer = target(("a", 0, 0, 10, 10), ("a", 20, 0, 30, 7), ("b", 40, 0, 50, 10), ("b", 80, 0, 90, 10))
    found = box_effort(proposal, answer)
    assert dict(found) == {"accepted": 1, "moved": 1, "renamed": 1, "added": 1, "deleted": 1}


def test_nothing_proposed_and_nothing_there() -> None:
    answer = target(("a", 0, 0, 10, 10))
    assert box_effort(None, answer)["added"] == 1
    assert box_effort(answer, target())["deleted"] == 1
    assert sum(box_effort(target(), target()).values()) == 0
    with pytest.raises(DataError, match="expected boxes"):
        box_effort(None, Target(("a",)))


def test_of_two_proposals_of_one_object_the_nearer_is_its_partner() -> None:
    proposal = target(("a", 0, 0, 10, 6), ("a", 0, 0, 10, 10))
    found = box_effort(proposal, target(("a", 0, 0, 10, 10)))
    assert (found["accepted"], found["deleted"]) == (1, 1)


boxes = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_every_box_is_counted_once(
    one: list[tuple[str, int, int, int, int]], two: list[tuple[str, int, int, int, int]]
) -> None:
    proposal, answer = (target(*((n, x, y, x + w, y + h) for n, x, y, w, h in part)) for part in (one, two))
    found = box_effort(proposal, answer)
    kept = found["accepted"] + found["moved"] + found["renamed"]
    assert set(found) == set(DEEDS)
    assert kept + found["deleted"] == len(one)
    assert kept + found["added"] == len(two)
    assert box_effort(answer, answer)["accepted"] == len(two) or len(set(two)) < len(two)
