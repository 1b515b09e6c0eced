"""From the scores of elements (boxes, pixels) to the score of their unit: the reductions.

Each takes the scores of one unit's elements in an array of any shape, ``(N,)`` boxes or ``(h, w)`` pixels, and gives
one number that does not depend on their order. A unit without elements gives 0: nothing was found that wants a label.
Torch functions that take and give numpy as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import SelectionError
from labelwise.scoring.uncertainty import on_arrays


@on_arrays
def mean(values: Tensor) -> Tensor:
    """The mean over the elements: how doubtful the unit is as a whole, however many elements it has.

    ``values`` has any shape; returns ``()`` within their range, 0 without elements. Lightly's rule for pixels.
    """
    return values.mean() if values.numel() else values.sum()


@on_arrays
def highest(values: Tensor) -> Tensor:
    """The highest element: one doubtful box or pixel is enough.

    ``values`` has any shape; returns ``()``, 0 without elements. Lightly's rule for boxes.
    """
    return values.max() if values.numel() else values.sum()


@on_arrays
def total(values: Tensor) -> Tensor:
    """The sum over the elements: what all labels of the unit are worth together; favours crowded images.

    ``values`` has any shape; returns ``()``, 0 without elements. Yang, Huang & Crowley 2024 (PPAL), for boxes.
    """
    return values.sum()


@on_arrays
def top(values: Tensor, *, share: float = 0.1, k: int | None = None) -> Tensor:
    """The mean of the highest elements: ``k`` of them, or this ``share``, rounded up (at least one).

    ``values`` has any shape; returns ``()`` between mean and highest, 0 without elements. Raises SelectionError if
    ``share`` is not above 0 and at most 1, or ``k`` below 1.
    """
    if not 0 < share <= 1 or (k is not None and k < 1):
        raise SelectionError(f"top: expected a share above 0 and at most 1 and k of 1 or more, found {share} and {k}")
    size = values.numel()
    if not size:
        return values.sum()
    # a share such as 0.1 of 30 is a little more than 3 in binary
    wanted = math.ceil(share * size - 1e-9) if k is None else k
    return values.reshape(-1).topk(max(1, min(size, wanted))).values.mean()


def each(values: Any, reduce: Callable[..., Any]) -> Any:
    """The reduction of each row of ``values`` ``(N, ...)``: ``(N,)``, numpy or tensor as given."""
    if isinstance(values, np.ndarray):
        return np.array([reduce(row) for row in values], dtype=values.dtype)
    return torch.stack([reduce(row) for row in values]) if len(values) else values.new_zeros(0)
