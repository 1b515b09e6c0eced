"""How steadily a detector sees an object when the picture is mirrored; torch functions that take numpy as well."""

from __future__ import annotations

import torch
from torch import Tensor

from labelwise.boxes import overlaps
from labelwise.errors import SelectionError
from labelwise.scoring.uncertainty import on_arrays


@on_arrays
def consistency(
    boxes: Tensor, confidences: Tensor, class_probs: Tensor, flipped: Tensor, *, base: float = 1.3
) -> Tensor:
    """How near an object's steadiness m is to ``base``, where labels help most: 1 - abs(m - base) / 2.

    m = IoU(b, b') + (1 - JS(p, p')) (s + s') / 2, with box b, class probabilities p and confidence s of an object and
    b', p', s' of what is found at it in the mirrored picture; 0 to 2. JS is the Jensen-Shannon divergence (natural
    logarithm) of the probabilities scaled to a sum of 1. ``boxes`` is ``(N, 4)``, ``confidences`` ``(N,)``,
    ``class_probs`` ``(N, C)``, ``flipped`` ``(N, 5 + C)``, 0 where nothing is found; returns ``(N,)`` in 0 to 1. The
    highest of an image is the least abs(m - base), by which CALD chooses. Yu et al. 2022, Consistency-based active
    learning for object detection, equations 2 to 5. Raises SelectionError if shapes do not agree or ``base`` is not 0
    to 2.
    """
    if not 0 <= base <= 2:
        raise SelectionError(f"consistency: expected a base of 0 to 2, but found {base}")
    if flipped.shape[-1] != 5 + class_probs.shape[-1]:
        raise SelectionError(
            f"consistency: expected flipped of shape (N, {5 + class_probs.shape[-1]}), but found {tuple(flipped.shape)}"
        )
    steadiness = overlaps(boxes, flipped[:, :4])
    found = (1 - divergence(class_probs, flipped[:, 5:])) * (confidences + flipped[:, 4]) / 2
    nothing = (flipped == 0).all(dim=-1)
    steadiness = torch.where(nothing, torch.zeros_like(steadiness), steadiness + found)
    return 1 - (steadiness - base).abs() / 2


def divergence(one: Tensor, two: Tensor) -> Tensor:
    """Jensen-Shannon divergence of ``(N, C)`` and ``(N, C)``, each row scaled to a sum of 1: ``(N,)`` in 0 to ln 2."""
    tiny = torch.finfo(one.dtype).tiny
    p, q = (rows / rows.sum(dim=-1, keepdim=True).clamp(min=tiny) for rows in (one, two))
    middle = (p + q) / 2
    parts = [torch.special.xlogy(rows, rows) - torch.special.xlogy(rows, middle) for rows in (p, q)]
    total: Tensor = parts[0] + parts[1]
    return (total.sum(dim=-1) / 2).clamp(min=0)
