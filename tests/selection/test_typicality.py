"""typicality and the exact neighbours under it equal plain float64 ones, with and without rounded products."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import halves
from labelwise.selection.neighbours import nearest_others
from labelwise.selection.typicality import typicality

rng = np.random.default_rng
KINDS = {
    "gaussian": lambda r, size, width: r.normal(size=(size, width)),
    "duplicates": lambda r, size, width: r.normal(size=(max(1, size // 4), width))[
        r.integers(0, max(1, size // 4), size)
    ],
    "equal": lambda r, size, width: np.ones((size, width)),
    "grid": lambda r, size, width: r.integers(0, 3, (size, width)),
    "offset": lambda r, size, width: 1000 + r.normal(size=(size, width)),
    "tiny": lambda r, size, width: 1e-18 * r.normal(size=(size, width)),
    "huge": lambda r, size, width: 1e18 * r.normal(size=(size, width)) / np.sqrt(width),
}


@pytest.fixture(params=["float32", "halves"])
def products(request, monkeypatch):
    """Both ways of multiplying."""
    monkeypatch.setattr(halves, "device", lambda work: "cpu" if request.param == "halves" else None)
    return request.param


def plain(embeddings, rows, k):
    """All distances in float64; nearest first, equal ones by position."""
    x = np.asarray(embeddings)[rows].astype(np.float64)
    squared = ((x[:, None] - x) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    k = min(k, max(0, len(rows) - 1))
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squared, order, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_float64(kind, products):
    for seed in range(6):
        r = rng(seed)
        size, width, k = int(r.integers(2, 500)), int(r.integers(1, 60)), int(r.integers(1, 30))
        x = KINDS[kind](r, size + 5, width).astype(np.float32)
        rows = np.sort(r.permutation(size + 5)[:size])
        nearest, squared = nearest_others(x, rows, k)
        expected = plain(x, rows, k)
        np.testing.assert_allclose(squared, expected[1], rtol=1e-12)
        if kind != "offset":  # there the reference's own sums tie or not by rounding
            assert np.array_equal(nearest, expected[0])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(1, 8), st.integers(1, 25))
def test_typicality_is_the_formula(seed, size, width, k):
    x = rng(seed).integers(0, 4, (size, width)).astype(np.float32)
    found = typicality(x, np.arange(size), k)
    distances = np.sqrt(plain(x, np.arange(size), k)[1])
    mean = distances.mean() if distances.size and distances.any() else 1.0
    expected = np.exp(-distances / mean).mean(axis=1) if distances.size else np.ones(size)
    assert found == pytest.approx(expected, rel=1e-12)


def test_more_rows_than_a_product_has(products):
    r = rng(0)
    x = (r.normal(size=(60, 24))[r.integers(0, 60, 3000)] + 0.1 * r.normal(size=(3000, 24))).astype(np.float32)
    x[1000:1400] = x[0]  # more equal ones than wait for their exact distance
    nearest, squared = nearest_others(x, np.arange(3000), 20)
    assert (squared[1000] == 0).all()
    assert nearest[1000].tolist() == [0, *range(1001, 1020)]
    for i in r.choice(3000, 40, replace=False):
        away = ((x[i].astype(float) - x) ** 2).sum(1)
        away[i] = np.inf
        assert nearest[i].tolist() == np.argsort(away, kind="stable")[:20].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_stored_and_mapped_vectors(dtype, tmp_path, products):
    x = rng(1).normal(size=(700, 16)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped, rows = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(0, 700, 2)
    assert np.array_equal(nearest_others(mapped, rows, 7)[0], plain(x, rows, 7)[0])


def test_memory_does_not_grow_with_the_square(products):
    x = rng(2).normal(size=(9000, 8)).astype(np.float32)
    nearest_others(x[:300], np.arange(300), 5)  # compiled beforehand
    tracemalloc.start()
    nearest_others(x, np.arange(9000), 5)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 9000 * 9000 * 2 / 2


def test_none_one_and_bad():
    x = np.ones((3, 2), np.float32)
    assert nearest_others(x, np.arange(1), 5)[0].shape == (1, 0)
    assert typicality(x, np.array([], np.int64)).shape == (0,)
    assert typicality(x, np.array([1])).tolist() == [1]
    assert typicality(x, np.arange(3)).tolist() == [1, 1, 1]
    x[2, 0] = np.nan
    assert typicality(x, np.arange(2)).tolist() == [1, 1]
    with pytest.raises(SelectionError, match="row 2"):
        typicality(x, np.arange(3))


def test_equals_lightlys_engine():
    engine = pytest.importorskip("lightly_mundig")
    x = rng(4).normal(size=(300, 12)).astype(np.float32)
    expected = engine.Typicality(x.tolist()).calculate_typicality(20)
    np.testing.assert_allclose(typicality(x, np.arange(300)), expected, atol=1e-6)
