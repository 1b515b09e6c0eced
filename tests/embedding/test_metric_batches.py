"""Batches of an epoch: every image, every class, at any number of labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.embedding.metric.batches import balanced, single

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(lambda x: np.array(x, np.int64))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(2, 128), st.integers(0, 5))
def test_plain_batches_hold_every_image_once_and_are_alike_in_size(n, size, seed):
    batches = single(n, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches)) == list(range(n))
    sizes = [len(b) for b in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(LABELS, st.integers(2, 20), st.integers(2, 10), st.integers(0, 5))
def test_balanced_batches_have_the_same_number_of_each_of_their_classes(labels, classes, images, seed):
    batches = balanced(labels, classes, images, np.random.default_rng(seed))
    width = min(classes, len(np.unique(labels)))
    assert len(batches) == max(1, math.ceil(len(labels) / (width * images)))
    for batch in batches:
        names, counts = np.unique(labels[batch], return_counts=True)
        assert len(names) == width
        assert set(counts) == {images}
    # No class comes again before all others have come, no image before the others of its class have.
    turns = np.unique(np.concatenate([np.unique(labels[b]) for b in batches]), return_counts=True)[1]
    assert turns.max() - (turns.min() if len(turns) == len(np.unique(labels)) else 0) <= 1
    used = np.bincount(np.concatenate(batches), minlength=len(labels))
    for name in np.unique(labels):
        assert np.ptp(used[labels == name]) <= 1


@pytest.mark.parametrize("labels", [[0], [3, 3, 3], [0, 1], list(range(30))])
def test_few_labels_one_class_and_classes_with_one_image_still_make_batches(labels):
    batches = balanced(np.array(labels), 20, 10, np.random.default_rng(0))
    assert batches
    assert all(len(b) == min(20, len(set(labels))) * 10 for b in batches)


def test_no_label_makes_no_batch():
    rng = np.random.default_rng(0)
    assert single(0, 8, rng) == balanced(np.array([], np.int64), 20, 10, rng) == []
