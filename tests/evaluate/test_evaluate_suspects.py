"""Confident learning: against a plain reference, and on labels that were made wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import DataError
from labelwise.evaluate.suspects import confident_joint, suspects, thresholds


def plain(labels, probs):
    """Northcutt et al. 2021, spelt out row by row."""
    classes = range(probs.shape[1])
    limit = {}
    for c in classes:
        own = [float(probs[i, c]) for i in range(len(labels)) if labels[i] == c]
        limit[c] = sum(own) / len(own) if own else float("inf")
    joint = np.zeros((probs.shape[1], probs.shape[1]), int)
    found = []
    for i, label in enumerate(labels):
        sure = [c for c in classes if probs[i, c] >= limit[c]]
        if not sure:
            continue
        meant = max(sure, key=lambda c: (probs[i, c], -c))
        joint[label, meant] += 1
        top = max(classes, key=lambda c: (probs[i, c], -c))
        if meant != label and top != label:
            found.append((float(probs[i, label]) - float(probs[i, top]), i))
    return joint, [i for _, i in sorted(found)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 5))
def test_as_the_plain_reference(seed, n, classes):
    rng = np.random.default_rng(seed)
    # Quarters, so that sums are exact and ties occur.
    counts = rng.multinomial(4, np.full(classes, 1 / classes), n)
    probs, labels = counts / 4, rng.integers(0, classes, n)
    joint, found = plain(labels, probs)
    assert confident_joint(labels, probs).tolist() == joint.tolist()
    assert suspects(labels, probs) == found


def test_labels_made_wrong_come_first():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    probs = rng.dirichlet(np.ones(3), 300) * 0.4
    probs[np.arange(300), truth] += 0.6
    labels = truth.copy()
    wrong = rng.choice(300, 20, replace=False)
    labels[wrong] = (truth[wrong] + 1) % 3
    found = suspects(labels, probs)
    assert set(found) <= set(wrong)
    assert len(found) >= 12


def test_edges():
    assert suspects(np.zeros(0, int), np.zeros((0, 3))) == []
    assert suspects(np.array([0]), np.array([[0.1, 0.9]])) == []  # nobody says what a sure 1 looks like
    assert thresholds(np.array([0, 0]), np.array([[0.5, 0.5], [1, 0]])).tolist() == [0.75, np.inf]
    with pytest.raises(DataError, match=r"\(n, C\)"):
        suspects(np.zeros(2, int), np.zeros((3, 2)))
