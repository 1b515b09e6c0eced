"""Exponential and logarithm in float32 for compiled loops: arithmetic without branches, which compilers vectorise.

No operation is fused and none is reordered: a number gives the same result in every lane, at every position and on
every processor. Errors are the largest found over all floats of the range (tests/scoring/test_vector_math.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# no "fastmath": equal input must give equal output; "numpy" leaves out the check for division by zero
compiled = njit(cache=True, nogil=True, error_model="numpy")

_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum is log 2; the first has few bits
_ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_LEAST = np.float32(-87.0)
# Taylor's for exp on half a binary step either side of 0, and twice the series of atanh for log
_E3, _E4, _E5 = np.float32(1.6666665e-1), np.float32(4.1665795e-2), np.float32(8.3334519e-3)
_E6, _E7 = np.float32(1.3981999e-3), np.float32(1.9875691e-4)
_L3, _L5, _L7, _L9 = np.float32(2 / 3), np.float32(2 / 5), np.float32(2 / 7), np.float32(2 / 9)
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_STEP, _BIAS = np.int32(23), np.int32(127)


@compiled
def log(x: Any) -> Any:
    """Natural logarithm of a normal positive float32, within 2e-7 of its size and 1.1e-7 of max(1, its size).

    For 0, numbers below 1.2e-38, infinities and NaN the result is finite and means nothing.
    """
    bits = np.float32(x).view(np.int32)
    power = (bits - _ROOT_HALF) >> _STEP  # x = m 2^power, m in sqrt(1/2) .. sqrt(2)
    m = np.int32(bits - (power << _STEP)).view(np.float32)
    s = (m - _ONE) / (m + _ONE)  # log m = 2 atanh s
    t = s * s
    series = ((_L9 * t + _L7) * t + _L5) * t + _L3
    n = np.float32(power)
    return n * _LN2_HIGH + (n * _LN2_LOW + (s * t * series + _TWO * s))


@compiled
def exp(x: Any) -> Any:
    """e to a float32 of 0 or less, within 1e-7 of its size; below -87 (and for NaN) it is e^-87, about 1.6e-38."""
    x = x if x > _LEAST else _LEAST
    power = np.int32(x * _LOG2_E - _HALF)  # rounds to the nearest, for it cuts off towards 0
    n = np.float32(power)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    series = ((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _HALF
    scale = np.int32((power + _BIAS) << _STEP).view(np.float32)
    return ((series * r) * r + r + _ONE) * scale
