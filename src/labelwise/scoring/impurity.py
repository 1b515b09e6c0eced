"""Uncertainty where classes meet: scores of the pixels of one image that look at their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from labelwise.scoring.uncertainty import entropy, on_arrays


@on_arrays
def ripu(maps: Tensor, *, radius: int = 1) -> Tensor:
    """Region impurity times mean uncertainty. ``maps`` is ``(h, w, C)``; returns ``(h, w)``."""
    return _impurity(maps, radius) * _window(entropy(maps), radius)


@on_arrays
def ripu_pixel(maps: Tensor, *, radius: int = 32) -> Tensor:
    """Region impurity times the pixel's own uncertainty."""
    return _impurity(maps, radius) * entropy(maps)


def _impurity(maps: Tensor, radius: int) -> Tensor:
    votes = torch.nn.functional.one_hot(maps.argmax(-1), maps.shape[-1]).to(maps.dtype)
    shares = torch.stack([_window(votes[..., c], radius) for c in range(maps.shape[-1])], dim=-1)
    return entropy(shares)


def _window(values: Tensor, radius: int) -> Tensor:
    side = 2 * radius + 1
    return torch.nn.functional.avg_pool2d(values[None, None], side, 1, radius, count_include_pad=False)[0, 0]
