"""Agreement: textbook values, plain references, boxes and masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.agreement import agreement, cohen_kappa, krippendorff_alpha, overlap
from labelwise.data.masks import write_mask
from labelwise.records import Target


def test_cohens_kappa_of_the_textbook():
    # Two readers of 50 proposals: 20 both yes, 15 both no, 5 and 10 apart (po 0.7, pe 0.5).
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_cohens_kappa_as_another_library(pairs):
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*pairs, strict=True)
    ours = cohen_kappa(first, second)
    if len(set(first) | set(second)) < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(cohen_kappa_score(first, second))


# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", the data of section C: nominal alpha 0.743.
OBSERVERS = """
1 2 3 3 2 1 4 1 2 * * *
1 2 3 3 2 2 4 1 2 5 * 3
* 3 3 3 2 3 4 2 2 5 1 *
1 2 3 3 2 4 4 1 2 5 1 *
"""


def test_krippendorffs_alpha_of_its_author():
    rows = [line.split() for line in OBSERVERS.split("\n") if line]
    units = [{str(i): v for i, v in enumerate(unit) if v != "*"} for unit in zip(*rows, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def plain_alpha(units):
    """One minus observed over expected disagreement, over all ordered pairs of values."""
    units = [list(u.values()) for u in units if len(u) > 1]
    values = [v for u in units for v in u]
    n = len(values)
    observed = sum(sum(a != b for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / n
    expected = sum(a != b for a, b in itertools.permutations(values, 2)) / (n * (n - 1))
    return 1 - observed / expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 4), st.integers(0, 2), max_size=5), min_size=1, max_size=15))
def test_krippendorffs_alpha_as_the_plain_reference(units):
    ours = krippendorff_alpha(units)
    if len({v for u in units if len(u) > 1 for v in u.values()}) < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(plain_alpha(units))


def boxes(*rows):
    return Target(tuple(r[0] for r in rows), np.array([r[1:] for r in rows], float).reshape(-1, 4))


def test_overlap_of_boxes():
    a = boxes(("cat", 0, 0, 10, 10), ("dog", 20, 20, 30, 30))
    assert overlap(a, a) == 1
    assert overlap(a, boxes(("cat", 0, 0, 10, 5))) == pytest.approx(0.25)  # half of one box, of two
    assert overlap(a, boxes(("dog", 0, 0, 10, 10), ("dog", 20, 20, 30, 30))) == pytest.approx(1 / 3)
    assert overlap(a, boxes()) == 0
    assert overlap(boxes(), boxes()) == 1


def test_overlap_of_masks_and_points(tmp_path):
    one, other = np.full((4, 4), 255, np.uint8), np.full((4, 4), 255, np.uint8)
    one[:2], other[1:3] = 0, 0
    write_mask(tmp_path / "a.png", one)
    write_mask(tmp_path / "b.png", other)
    a, b = Target(("x",), mask=tmp_path / "a.png"), Target(("y", "x"), mask=tmp_path / "b.png")
    assert overlap(a, a) == 1
    assert overlap(a, b) == 0  # the same pixels of another class
    assert overlap(a, Target(("x",), mask=tmp_path / "b.png")) == pytest.approx(4 / 12)
    p = Target(("x", "y"), np.array([[0, 0], [1, 0]]), np.array([0, 1]))
    q = Target(("y",), np.array([[0, 0], [1, 0]]), np.array([0, 0]))
    assert overlap(p, q) == 0.5


def test_agreement_of_answers():
    cat, dog = Target(("cat",)), Target(("dog",))
    answers = [
        {"ann": cat, "ben": cat}, {"ann": cat, "ben": dog}, {"ann": dog, "ben": dog}, {"ann": dog, "ben": None},
        {"ann": dog}, {},
    ]  # fmt: skip
    found = agreement(answers)
    assert (found.queries, found.annotators, found.items) == (3, ("ann", "ben"), 3)
    assert found.same == pytest.approx(2 / 3)
    assert found.kappa == pytest.approx(cohen_kappa("ccd", "cdd"))
    assert math.isnan(found.overlap)
    three = agreement([*answers, {"cyd": cat, "ann": cat}])
    assert math.isnan(three.kappa)
    assert three.alpha > 0
    assert agreement([{"ann": cat}]).queries == 0


def test_agreement_of_boxes_and_pixels():
    a, b = boxes(("cat", 0, 0, 10, 10)), boxes(("dog", 0, 0, 10, 8), ("cat", 50, 50, 60, 60))
    found = agreement([{"ann": a, "ben": b}, {"ann": a, "ben": a}])
    assert (found.items, found.same) == (2, 0.5)  # one matched pair of each query
    assert found.overlap == pytest.approx(0.5)
    p = Target(("x", "y"), np.array([[0, 0], [1, 0]]), np.array([0, 1]))
    q = Target(("x",), np.array([[0, 0]]), np.array([0]))  # the other pixel shows no class
    pixels = agreement([{"ann": p, "ben": q}])
    assert (pixels.items, pixels.same) == (2, 0.5)
