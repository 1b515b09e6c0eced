"""What a detection network found in an image: boxes, each with the probabilities of all classes and its vector.

torchvision keeps one class and its score of each box; here the whole row of classes goes through the suppression of
overlapping boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image

if TYPE_CHECKING:
    from labelwise.models.detectors import Detector

CANDIDATES = 1000  # surest boxes of an image that the suppression looks at


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Boxes of one image, surest first: ``boxes`` ``(N, 4)`` x0, y0, x1, y1 in pixels of the input, ``probs`` ``(N,
    C)`` the probability of each class alone, ``vectors`` ``(N, d)`` features of the pyramid at the box."""

    boxes: Tensor
    probs: Tensor
    vectors: Tensor


def find(network: Any, options: Detector, image: Tensor, size: tuple[int, ...]) -> Rows:
    """Boxes in an input ``(1, 3, h, w)`` whose picture fills ``size`` (height, width) at its upper left corner.

    Of ``options``: ``threshold``, the least probability of a box's best class; ``overlap``, the intersection over union
    at which the surer of two boxes of one class stays; ``most``, how many boxes stay.
    """
    features = network.backbone(image)
    boxes, probs = _HEADS[options.architecture](network, image, features)
    best, labels = probs.max(dim=1)
    boxes = clip_boxes_to_image(boxes, (size[0], size[1]))
    keep = torch.nonzero((best > options.threshold) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)).reshape(-1)
    keep = keep[best[keep].argsort(descending=True, stable=True)[:CANDIDATES]]
    keep = keep[batched_nms(boxes[keep], best[keep], labels[keep], options.overlap)[: options.most]]
    boxes, probs = boxes[keep], probs[keep]
    if not len(keep):
        return Rows(boxes, probs, probs.new_zeros((0, network.backbone.out_channels)))
    pooled = network.regions(features, [boxes], [(int(image.shape[-2]), int(image.shape[-1]))])
    return Rows(boxes, probs, pooled.mean(dim=(2, 3)))


def _fcos(network: Any, image: Tensor, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    levels = list(features.values())
    found = network.head(levels)
    anchors = network.anchor_generator(_images(image), levels)[0]
    # As FCOS scores boxes: the class, and how far in the middle of its object the place lies.
    probs = (found["cls_logits"][0].sigmoid() * found["bbox_ctrness"][0].sigmoid()).sqrt()
    return network.box_coder.decode(found["bbox_regression"][0], anchors), probs


def _retinanet(network: Any, image: Tensor, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    levels = list(features.values())
    found = network.head(levels)
    anchors = network.anchor_generator(_images(image), levels)[0]
    return network.box_coder.decode_single(found["bbox_regression"][0], anchors), found["cls_logits"][0].sigmoid()


def _ssdlite(network: Any, image: Tensor, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    levels = list(features.values())
    found = network.head(levels)
    anchors = network.anchor_generator(_images(image), levels)[0]
    boxes = network.box_coder.decode_single(found["bbox_regression"][0], anchors)
    return boxes, found["cls_logits"][0].softmax(dim=-1)[:, 1:]


def _faster_rcnn(network: Any, image: Tensor, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    heads, images = network.roi_heads, _images(image)
    proposals, _ = network.rpn(images, features)
    pooled = heads.box_head(heads.box_roi_pool(features, proposals, images.image_sizes))
    logits, regression = heads.box_predictor(pooled)
    probs = logits.softmax(dim=-1)[:, 1:]
    boxes = heads.box_coder.decode(regression, proposals)[:, 1:]
    # A box for each class: that of the surest class is the one that stays.
    return boxes[torch.arange(len(boxes), device=boxes.device), probs.argmax(dim=1)], probs


def _images(image: Tensor) -> ImageList:
    return ImageList(image, [(int(image.shape[-2]), int(image.shape[-1]))])


_HEADS: Mapping[str, Callable[[Any, Tensor, dict[str, Tensor]], tuple[Tensor, Tensor]]] = {
    "fcos": _fcos,
    "retinanet": _retinanet,
    "faster_rcnn": _faster_rcnn,
    "ssdlite": _ssdlite,
}
