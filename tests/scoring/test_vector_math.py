"""Exponential and logarithm for compiled loops: their errors over the whole range, and the same value in every lane."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.scoring import vector_math


@vector_math.compiled
def logs(x, out):
    for i in range(x.shape[0]):
        out[i] = vector_math.log(x[i])


@vector_math.compiled
def powers(x, out):
    for i in range(x.shape[0]):
        out[i] = vector_math.exp(x[i])


def every(first, last, step):
    """Floats from one to another, every step-th of all there are."""
    low, high = (np.float32(v).view(np.int32) for v in (first, last))
    return np.arange(low, high, step, dtype=np.int32).view(np.float32)


def test_log_is_within_its_error():
    x = np.concatenate([every(1.2e-38, 3.4e38, 4001), every(0.4, 2.5, 11)])
    out = np.empty_like(x)
    logs(x, out)
    true = np.log(x.astype(np.float64))
    error = np.abs(out - true)
    assert (error <= 2e-7 * np.abs(true) + 1e-300).all()
    assert (error <= 1.1e-7 * np.maximum(1, np.abs(true))).all()
    assert vector_math.log(np.float32(1)) == 0


def test_exp_is_within_its_error_and_ends_below_87():
    x = -np.concatenate([every(1e-30, 87, 997), np.zeros(1, np.float32)])
    out = np.empty_like(x)
    powers(x, out)
    true = np.exp(x.astype(np.float64))
    assert (np.abs(out - true) <= 1e-7 * true).all()
    assert out[-1] == 1
    for low in (-88, -1e30, -np.inf, np.nan):
        assert vector_math.exp(np.float32(low)) == pytest.approx(np.exp(-87.0), rel=1e-6)


@pytest.mark.parametrize("function", [logs, powers])
def test_equal_in_every_lane(function):
    """Whatever the position in an array, and whether or not a whole register is left at its end."""
    r = np.random.default_rng(0)
    x = (r.random(300, dtype=np.float32) + np.float32(1e-3)) * np.float32(-1 if function is powers else 1)
    whole = np.empty_like(x)
    function(x, whole)
    for start in range(0, 40, 3):
        for size in (1, 2, 7, 16, 33, 200):
            part = np.empty(size, np.float32)
            function(x[start : start + size], part)
            np.testing.assert_array_equal(part, whole[start : start + size])
