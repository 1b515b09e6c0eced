"""Scores of the objects in one image: how unsure, how many, and what the model may have missed; torch and numpy."""

from __future__ import annotations

import torch
from torch import Tensor

from labelwise.boxes import overlaps
from labelwise.errors import SelectionError
from labelwise.scoring.uncertainty import on_arrays


@on_arrays
def objectness_least_confidence(confidences: Tensor) -> Tensor:
    """How unsure the model is of each object: 1 - confidence.

    ``confidences`` is ``(N,)`` in 0 to 1; returns ``(N,)`` in 0 to 1. Its mean over an image is Lightly's score of the
    same name.
    """
    return 1 - confidences


@on_arrays
def keypoint_uncertainty(keypoints: Tensor) -> Tensor:
    """How unsure the model is of each object's keypoints: 1 - their mean confidence.

    ``keypoints`` is ``(N, K, 3)``: x, y, confidence of 0 to 1; returns ``(N,)`` in 0 to 1. Its mean over an image is
    Lightly's mean_uncertainty.
    """
    if keypoints.ndim != 3 or keypoints.shape[1] == 0:
        raise SelectionError(f"expected keypoints of shape (N, K, 3), but found {tuple(keypoints.shape)}")
    return 1 - keypoints[..., 2].mean(-1)


@on_arrays
def object_frequency(box_labels: Tensor, *, penalty: float = 0.25) -> Tensor:
    """How much each object adds to the variety of an image: the first of a class counts 1, each further ``penalty``.

    ``box_labels`` is ``(N,)`` class indices; returns ``(N,)`` in ``penalty`` to 1, equal within a class, so that the
    sum over an image is sum over its classes of 1 + penalty (n_c - 1). Scaled over the pool to 0.9 to 1 that is
    Lightly's object_frequency. Raises SelectionError if ``penalty`` is not 0 to 1.
    """
    if not 0 <= penalty <= 1:
        raise SelectionError(f"object_frequency: expected a penalty of 0 to 1, but found {penalty}")
    if not box_labels.numel():
        return box_labels
    found: list[Tensor] = list(torch.unique(box_labels, return_inverse=True, return_counts=True))
    sizes = found[2][found[1]].to(box_labels.dtype)
    return (1 + penalty * (sizes - 1)) / sizes


@on_arrays
def missed_objects(
    boxes: Tensor, confidences: Tensor, *, low: float = 0.05, shown: float = 0.5, iou: float = 0.5
) -> Tensor:
    """What the model nearly saw: the confidence of each box that would not be shown and that no shown box explains.

    ``boxes`` is ``(N, 4)`` x0, y0, x1, y1 in pixels, ``confidences`` ``(N,)``. A box counts if its confidence is at
    least ``low`` and below ``shown``, and no box that is shown, of whatever class, overlaps it by ``iou`` or more
    (intersection over union). Of boxes that overlap each other so much the surest counts. Returns ``(N,)`` in 0 to
    ``shown``, 0 for all others; the sum is about how many objects are missing, if confidences are calibrated.
    Raises SelectionError unless 0 <= low <= shown and 0 < iou <= 1.
    """
    if not (0 <= low <= shown and 0 < iou <= 1):
        raise SelectionError(
            f"missed_objects: expected 0 <= low <= shown and 0 < iou <= 1, found low {low}, shown {shown}, iou {iou}"
        )
    counted = torch.zeros_like(confidences)
    near = torch.nonzero((confidences >= low) & (confidences < shown)).reshape(-1)
    if not len(near):
        return counted
    near = near[_surest_first(boxes[near], confidences[near])]
    faint, bright = boxes[near], boxes[confidences >= shown]
    clear = ~(overlaps(faint[:, None], bright[None]) >= iou).any(1)
    same = (overlaps(faint[:, None], faint[None]) >= iou).cpu().numpy()
    alive = clear.cpu().numpy()
    for i in range(len(near)):
        if alive[i]:
            alive[i + 1 :] &= ~same[i, i + 1 :]
    kept = near[torch.from_numpy(alive).to(near.device)]
    counted[kept] = confidences[kept]
    return counted


def _surest_first(boxes: Tensor, confidences: Tensor) -> Tensor:
    """The order by confidence, equal ones by their corners, so that it does not depend on the order given."""
    order = torch.arange(len(boxes), device=boxes.device)
    for column in (boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -confidences):
        order = order[torch.argsort(column[order], stable=True)]
    return order
