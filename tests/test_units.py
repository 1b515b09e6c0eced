"""Reductions: plain references, ranges, order, kinds of array, and units without elements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwise import catalog, testing
from labelwise.errors import SelectionError
from labelwise.units import highest, mean, top, total

ALL = [mean, highest, total, top]
values = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=9), elements=st.floats(0, 1)
)


@pytest.mark.parametrize("name", catalog.TABLES["reduce"])
def test_every_reduction_of_the_catalogue(name):
    testing.check_reduce(catalog.resolve("reduce", name))


@settings(deadline=None, max_examples=60)
@given(values, st.floats(0.01, 1), st.integers(1, 12))
def test_equal_to_plain_sums(array, share, k):
    ranked = sorted(array.reshape(-1).tolist(), reverse=True)
    count = min(len(ranked), max(1, math.ceil(share * len(ranked) - 1e-9)))
    expected = {
        mean: sum(ranked) / len(ranked),
        highest: ranked[0],
        total: sum(ranked),
    }
    for reduce, value in expected.items():
        assert reduce(array) == pytest.approx(value, abs=1e-12)
    assert top(array, share=share) == pytest.approx(sum(ranked[:count]) / count, abs=1e-12)
    few = ranked[:k]
    assert top(array, k=k) == pytest.approx(sum(few) / len(few), abs=1e-12)
    assert mean(array) - 1e-12 <= top(array, share=share) <= highest(array) + 1e-12


@pytest.mark.parametrize("reduce", ALL)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0)])
def test_nothing_gives_0(reduce, shape):
    assert reduce(np.zeros(shape)) == 0


@pytest.mark.parametrize("reduce", ALL)
def test_tensors_stay_tensors_and_nan_is_not_hidden(reduce):
    assert isinstance(reduce(torch.rand(4, 3)), torch.Tensor)
    assert isinstance(reduce(np.ones(3, np.float32)), np.ndarray)
    assert np.isnan(reduce(np.array([0.1, np.nan, 0.5])))


def test_a_share_that_is_whole_in_decimals():
    assert top(np.arange(30.0), share=0.1) == 28  # three of thirty, though 0.1 x 30 is above 3 in binary
    assert top(np.arange(5.0), share=1) == 2


@pytest.mark.parametrize("options", [{"share": 0}, {"share": 1.1}, {"share": float("nan")}, {"k": 0}])
def test_bad_options(options):
    with pytest.raises(SelectionError, match="top: expected"):
        top(np.ones(3), **options)


def last(values):
    return values.reshape(-1)[-1]


def keeps(values):
    return values


def divides(values):
    return values.sum() / values.size if values.size else np.float64("nan")


@pytest.mark.parametrize(
    ("reduce", "said"), [(lambda probs: 0, "probs"), (keeps, "one number"), (divides, "finite number")]
)
def test_broken_reductions_are_caught(reduce, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_reduce(reduce)


def test_a_reduction_by_order_is_caught():
    with pytest.raises(AssertionError, match="order"):
        testing.check_reduce(lambda values: last(values) if values.size else np.float64(0))
