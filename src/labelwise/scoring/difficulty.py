"""Uncertainty of single objects, weighted by how difficult their class is for the model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from labelwise.errors import SelectionError
from labelwise.scoring.uncertainty import _check, on_arrays


@on_arrays
def difficulty_entropy(
    probs: Tensor, *, difficulty: list[float] | None = None, strength: float = 0.2, alpha: float = 0.3
) -> Tensor:
    """Binary entropy of the best class's probability in nats, times a weight that grows with the class's difficulty.

    ``probs`` is ``(..., C)``, class axis last; returns ``(...)`` in 0 to (1 + ``strength``) log 2. ``difficulty`` holds
    d in 0 (easy) to 1 for each of the C classes, for example 1 - precision on labelled validation images; default 1 for
    all. The weight is 1 + ``strength`` * ``alpha`` * log(1 + (e^(1/``alpha``) - 1) d): 1 to 1 + ``strength``, steep at
    first for a small ``alpha``. Raises SelectionError if an option does not fit.
    Yang, Huang & Crowley 2024, Plug and play active learning for object detection, section 3.2; sum it over the boxes
    of an image.
    """
    _check("probs", probs, 1)
    best, label = probs.max(-1)
    weights = class_weights(difficulty or [1.0] * probs.shape[-1], strength=strength, alpha=alpha)
    if len(weights) != probs.shape[-1]:
        raise SelectionError(
            f"difficulty_entropy: expected a difficulty for each of {probs.shape[-1]} classes, found {len(weights)}"
        )
    of_best = torch.tensor(weights, dtype=probs.dtype, device=probs.device)[label]
    # a prediction of several labels may be a little above 1; below, 0 log 0 = 0, and NaN stays NaN
    nats: Tensor = torch.special.entr(best) + torch.special.entr((1 - best).clamp(min=0))
    return nats * of_best


def class_weights(difficulty: Sequence[float], *, strength: float = 0.2, alpha: float = 0.3) -> list[float]:
    """The weight of each class from its difficulty in 0 to 1: 1 to 1 + ``strength`` (see ``difficulty_entropy``).

    Raises SelectionError for a difficulty outside 0 to 1, or an option out of range.
    """
    if not (0 <= strength < math.inf and 0.01 <= alpha < math.inf):
        raise SelectionError(
            f"difficulty_entropy: expected strength of 0 or more and alpha of 0.01 or more, found {strength}, {alpha}"
        )
    for number, d in enumerate(difficulty):
        if not 0 <= d <= 1:
            raise SelectionError(f"difficulty_entropy: expected difficulties in 0 to 1, but class {number} has {d}")
    return [1 + strength * alpha * math.log1p(math.expm1(1 / alpha) * d) for d in difficulty]
