"""From what a detector gives to a record: boxes within the image, one of each object, the surest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.models import Want
from labelwise.records import Prediction

if TYPE_CHECKING:
    from torch import Tensor


def record(
    id: str,
    size: tuple[int, int],
    boxes: Tensor,
    probs: Tensor,
    *,
    want: Want,
    confidences: Tensor | None = None,
    independent: bool = False,
    objects: Tensor | None = None,
    vectors: Callable[[Tensor], Tensor] | None = None,
    image: Tensor | None = None,
    threshold: float = 0.05,
    overlap: float = 1.0,
    most: int = 300,
) -> Prediction:
    """The prediction of one image, holding what is wanted.

    ``size`` is (width, height) of the image, ``boxes`` ``(N, 4)`` x0, y0, x1, y1 in its pixels, ``probs`` ``(N, C)``,
    ``confidences`` ``(N,)`` (the highest of ``probs`` if None), ``objects`` ``(N, d)`` or ``vectors``, which makes
    them for the rows that stay, ``image`` ``(d,)``. Boxes are cut at the image's edges; left out are those without
    area, those less sure than ``threshold`` and, of those that overlap by more than ``overlap`` (intersection over
    union) with the same most probable class, all but the surest. The ``most`` surest stay, in falling order. A vector
    is that of each object where ``objects`` are wanted, else that of the image.
    """
    import torch

    labels = probs.argmax(dim=-1) if probs.shape[-1] else torch.zeros(len(probs), dtype=torch.int64)
    sure = (probs.amax(dim=-1) if confidences is None else confidences).clamp(0, 1)
    edges = torch.tensor([*size, *size], dtype=boxes.dtype, device=boxes.device)
    boxes = torch.minimum(boxes.clamp(min=0), edges)
    keep = torch.nonzero((sure >= threshold) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)).reshape(-1)
    keep = keep[torch.argsort(sure[keep], descending=True, stable=True)]
    if overlap < 1 and len(keep):
        keep = keep[_apart(boxes[keep], labels[keep], overlap)]
    keep = keep[:most]

    def array(value: Tensor | None) -> Any:
        return None if value is None else np.ascontiguousarray(value[keep].detach().float().cpu().numpy())

    embedding = None
    if "objects" in want:
        embedding = array(objects) if vectors is None else vectors(keep).detach().float().cpu().numpy()
    elif "embeddings" in want and image is not None:
        embedding = image.detach().float().cpu().numpy()
    return Prediction(
        id,
        probs=array(probs) if "probs" in want else None,
        embedding=embedding,
        boxes=array(boxes),
        labels=labels[keep].cpu().numpy(),
        confidences=array(sure),
        independent=independent,
    )


def corners(boxes: Tensor, width: float, height: float) -> Tensor:
    """Boxes ``(N, 4)`` of centre and size in shares as x0, y0, x1, y1, in units of ``width`` and ``height``."""
    import torch

    centre, half = boxes[:, :2], boxes[:, 2:].clamp(min=0) / 2
    scale = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
    return torch.cat([centre - half, centre + half], dim=1) * scale


def _apart(boxes: Tensor, labels: Tensor, iou: float) -> Tensor:
    """The rows that stay, ascending: rows come surest first, and torchvision's order among equals is not promised."""
    import torch
    from torchvision.ops import batched_nms

    order = -torch.arange(len(boxes), dtype=torch.float32, device=boxes.device)  # strictly falling, whatever the ties
    kept: Tensor = batched_nms(boxes.float(), order, labels, iou).sort().values
    return kept
