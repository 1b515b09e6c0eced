"""class_balanced and class_divergence equal plain references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import class_balanced, class_divergence

NONE = np.array([], dtype=np.int64)


def reference(n, candidates, labelled, owners, labels, target=None):
    rows = [*candidates, *labelled]
    seen = labels[np.isin(owners, rows) & (labels >= 0)]
    classes = seen.max(initial=-1) + 1 if target is None else len(target)
    goal = np.isin(np.arange(classes), seen).astype(float) if target is None else np.array(target, float)
    goal /= max(goal.sum(), 1)
    counts = {row: np.bincount(labels[(owners == row) & (labels >= 0)], minlength=classes) for row in rows}
    have = sum((counts[row] for row in labelled), np.zeros(classes))
    left, picks = [row for row in candidates if counts[row].sum()], []
    while len(picks) < min(n, len(left)):
        gaps = {}
        for row in left:
            if row not in picks:
                share = np.clip((have + counts[row]) / (have + counts[row]).sum(), 1e-10, None)
                gaps[row] = np.round(-(goal * np.log(share)).sum(), 10)
        picks.append(min(gaps, key=lambda row: (gaps[row], row)))
        have = have + counts[picks[-1]]
    return [*picks, *[row for row in candidates if row not in left][: n - len(picks)]]


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), st.integers(0, 14), st.integers(0, 5), st.booleans())
def test_equals_plain_greedy(seed, images, known, uneven):
    rng = np.random.default_rng(seed)
    owners = np.arange(images + known).repeat(rng.integers(0, 6, images + known))
    labels = rng.integers(-1, 4, len(owners))
    rows = rng.permutation(images + known)
    candidates, labelled = np.sort(rows[known:]), rows[:known]
    target = [4.0, 0.0, 1.0, 2.0, 1.0] if uneven else None
    n = int(rng.integers(0, images + 1))
    picks = class_balanced(n, candidates, labelled, owners, labels, target=target)
    assert picks.rows.tolist() == reference(n, candidates, labelled, owners, labels, target)


def test_rare_classes_come_first_and_the_gap_closes():
    owners = np.arange(10).repeat(2)
    labels = np.array([0, 0] * 8 + [1, 1] * 2)
    picks = class_balanced(4, np.arange(1, 10), np.array([0]), owners, labels)
    assert picks.rows.tolist() == [8, 1, 9, 2] or picks.rows.tolist() == [8, 9, 1, 2]
    assert picks.facts["class_gap"][0] == pytest.approx(0)
    assert (picks.facts["class_gap"] >= 0).all()


def test_images_without_objects_or_with_unknown_ones_come_last():
    owners, labels = np.array([1, 1, 3]), np.array([-1, -1, 2])
    picks = class_balanced(4, np.arange(4), NONE, owners, labels)
    assert picks.rows.tolist() == [3, 0, 1, 2]
    assert np.isnan(picks.facts["class_gap"][1:]).all()
    assert class_balanced(2, np.arange(4), NONE, NONE, NONE).rows.tolist() == [0, 1]
    assert class_balanced(2, np.arange(4), NONE, NONE, NONE, target=[1, 1]).rows.tolist() == [0, 1]


@pytest.mark.parametrize("target", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0], [np.nan, 1.0, 1.0], []])
def test_targets_that_do_not_fit(target):
    with pytest.raises(SelectionError, match="class_balanced: expected"):
        class_balanced(1, np.arange(2), NONE, np.array([0, 1]), np.array([0, 2]), target=target)


def divergences(candidates, labelled, owners, labels, scores):
    """Jensen-Shannon divergence by row, one class and one image at a time."""
    rows = [*candidates, *labelled]
    classes = labels[np.isin(owners, rows)].max(initial=0) + 1
    counts = [[int(((owners == row) & (labels == c)).sum()) for c in range(classes)] for row in labelled]
    mean = np.mean(counts, axis=0) if counts else np.zeros(classes)
    found = {}
    for row in candidates:
        if ((owners == row) & (labels >= 0)).any():
            highest = [max(scores[(owners == row) & (labels == c)], default=0.0) for c in range(classes)]
            p, q = (np.exp(v) / np.exp(v).sum() for v in (np.array(highest), mean))
            parts = [a * np.log(2 * a / (a + b)) + b * np.log(2 * b / (a + b)) for a, b in zip(p, q, strict=True)]
            found[row] = sum(parts) / 2
    return found


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), st.integers(0, 14), st.integers(0, 5))
def test_divergence_equals_a_plain_one(seed, images, known):
    rng = np.random.default_rng(seed)
    owners = np.arange(images + known).repeat(rng.integers(0, 6, images + known))
    labels, scores = rng.integers(-1, 4, len(owners)), rng.random(len(owners))
    rows = rng.permutation(images + known)
    candidates, labelled = np.sort(rows[known:]), rows[:known]
    n = int(rng.integers(0, images + 1))
    expected = divergences(candidates, labelled, owners, labels, scores)
    picks = class_divergence(n, candidates, labelled, owners, labels, scores)
    order = [*sorted(expected, key=lambda row: -expected[row]), *[r for r in candidates if r not in expected]]
    assert picks.rows.tolist() == order[:n]
    facts = [expected.get(row, np.nan) for row in order[:n]]
    np.testing.assert_allclose(picks.facts["class_divergence"], facts, atol=1e-12)


def test_classes_unlike_the_labelled_ones_come_first():
    owners, labels = np.arange(5), np.array([0, 0, 1, 2, -1])
    picks = class_divergence(4, np.arange(1, 5), np.array([0]), owners, labels, np.array([1, 0.9, 0.9, 0.95, 1]))
    assert picks.rows.tolist() == [3, 2, 1, 4]  # the last has no object of a known class
    assert np.isnan(picks.facts["class_divergence"][-1])


def test_divergence_of_very_many_objects_stays_a_number():
    owners, labels = np.array([0] * 2000 + [1]), np.array([0] * 2000 + [1])
    picks = class_divergence(1, np.array([1]), np.array([0]), owners, labels, np.ones(2001))
    assert 0 < picks.facts["class_divergence"][0] <= np.log(2)


@pytest.mark.parametrize("score", [np.nan, -0.5])
def test_divergence_names_a_score_it_cannot_use(score):
    with pytest.raises(SelectionError, match=r"object 0 of row 1 has"):
        class_divergence(1, np.arange(2), NONE, np.array([0, 1]), np.array([0, 2]), np.array([0.5, score]))


def test_divergence_without_objects():
    assert class_divergence(2, np.arange(4), NONE, NONE, NONE, np.array([])).rows.tolist() == [0, 1]
