"""Nearest neighbours and typicality equal a plain search over all pairs, with ties, duplicates and offsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection.neighbours import nearest_others
from labelwise.selection.typicality import typicality


def plain(embeddings, rows, k):
    """All pairs in float64, sorted by distance, then by position."""
    points = embeddings[rows].astype(np.float64)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, : min(k, len(rows) - 1)]
    return order, np.take_along_axis(squared, order, axis=1)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 30), st.integers(1, 25), st.sampled_from([0.0, 1.0, 1e3])
)
def test_equals_a_plain_search(seed, size, width, k, offset):
    rng = np.random.default_rng(seed)
    embeddings = (rng.normal(size=(size + 3, width)) + offset).astype(np.float32)
    if seed % 3 == 0:  # a grid with many ties and duplicates
        embeddings = rng.integers(0, 3, (size + 3, width)).astype(np.float32) + np.float32(offset)
    rows = np.sort(rng.permutation(size + 3)[:size])
    nearest, squared = nearest_others(embeddings, rows, k)
    order, expected = plain(embeddings, rows, k)
    np.testing.assert_allclose(squared, expected, rtol=1e-12)
    if seed % 3 == 0:
        assert nearest.tolist() == order.tolist()


def test_more_rows_than_a_block_and_distances_that_rounding_hides():
    rng = np.random.default_rng(0)
    embeddings = (1000 + 1e-3 * rng.normal(size=(3000, 8))).astype(np.float32)
    nearest, squared = nearest_others(embeddings, np.arange(3000), 5)
    some = np.arange(0, 3000, 371)
    points = embeddings.astype(np.float64)
    for i in some:
        distances = ((points - points[i]) ** 2).sum(axis=1)
        distances[i] = np.inf
        np.testing.assert_allclose(squared[i], np.sort(distances)[:5], rtol=1e-12)
        assert (distances[nearest[i]] == squared[i]).all() or np.allclose(distances[nearest[i]], squared[i])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 20))
def test_typicality_is_the_formula(seed, size, k):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(size, 4)).astype(np.float32)
    distances = np.sqrt(plain(embeddings, np.arange(size), k)[1])
    expected = np.exp(-distances / distances.mean()).mean(axis=1)
    np.testing.assert_allclose(typicality(embeddings, np.arange(size), k), expected, rtol=1e-12)


def test_typicality_of_nothing_one_and_equal_rows():
    assert typicality(np.ones((3, 2), np.float32), np.array([], int)).tolist() == []
    assert typicality(np.ones((3, 2), np.float32), np.array([1])).tolist() == [1.0]
    assert typicality(np.ones((3, 2), np.float32), np.arange(3)).tolist() == [1.0] * 3


def test_bad_vectors_name_the_row():
    embeddings = np.ones((4, 2), np.float32)
    embeddings[2, 0] = np.nan
    with pytest.raises(SelectionError, match="row 2 has"):
        typicality(embeddings, np.arange(4))


def test_typicality_equals_lightlys_engine():
    engine = pytest.importorskip("lightly_mundig")
    embeddings = np.random.default_rng(1).normal(size=(80, 6)).astype(np.float32)
    maker = engine.Typicality(embeddings.tolist())
    expected = maker.calculate_typicality(20)
    np.testing.assert_allclose(typicality(embeddings, np.arange(80)), expected, rtol=1e-5)
