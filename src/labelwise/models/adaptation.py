"""Losses of active domain adaptation: what a network learns from a labelled source and an unlabelled target beside the
labels, after RIPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def local_consistency(logits: Tensor, labels: Tensor, *, void: int) -> Tensor:
    """How far class probabilities are from the mean of their 3 x 3 window, on the borders between classes.

    ``logits`` is ``(n, C, h, w)``, ``labels`` ``(n, h, w)``, ``void`` their value for no class. A pixel lies on a
    border if it has a class and one of its eight neighbours another one, or none. The mean over these pixels of
    sum_c |p_c - mean p_c|, with the edge of the picture repeated; 0 where there is none. Xie et al. 2022, Towards
    fewer annotations (RIPU), equation 7. The published code takes the picture's frame for a border as well, overlooks
    pixels whose neighbours add up to eight times their class, and is not a number without borders.
    """
    border = class_borders(labels, void)
    if not bool(border.any()):
        return logits.sum() * 0
    probs = logits.float().softmax(dim=1)
    mean = nn.functional.avg_pool2d(nn.functional.pad(probs, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (probs - mean).abs().sum(dim=1)[border].mean()


def class_borders(labels: Tensor, void: int) -> Tensor:
    """The pixels ``(n, h, w)`` with a class of which one of the eight neighbours has another one, or none."""
    height, width = labels.shape[-2:]
    around = nn.functional.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].to(labels.dtype)
    border = torch.zeros_like(labels, dtype=torch.bool)
    for down in range(3):
        for right in range(3):
            near = around[..., down : down + height, right : right + width]
            border |= near != labels
    return border & (labels != void)


def negative_learning(logits: Tensor, *, below: float = 0.05) -> Tensor:
    """The mean of -log(1 - p) over all probabilities p under ``below``: what a pixel surely is not.

    ``logits`` is ``(n, C, h, w)``; p is a softmax over classes. 0 where no probability is that low (the published code
    divides by zero there). Xie et al. 2022, Towards fewer annotations (RIPU), equation 8.
    """
    probs = logits.float().softmax(dim=1)
    low = probs < below
    if not bool(low.any()):
        return logits.sum() * 0
    return -torch.log1p(-probs[low]).mean()
