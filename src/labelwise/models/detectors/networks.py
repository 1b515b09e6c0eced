"""Detection networks of torchvision on a timm backbone: levels of features, and what is built on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from labelwise.errors import ModelError

Architecture = Literal["fcos", "retinanet", "faster_rcnn", "ssdlite"]
_REPRESENTATION = 256  # length of Faster R-CNN's vector of a box before its classes
_POOLED = 3  # cells a side that a box is read in, for its vector
# Architectures whose class 0 is the background.
WITH_BACKGROUND = frozenset({"faster_rcnn", "ssdlite"})


class Levels(nn.Module):
    """A timm backbone and a feature pyramid (Lin et al. 2017): levels of stride ``finest`` and above, equally wide."""

    def __init__(self, backbone: Any, channels: int, finest: int) -> None:
        super().__init__()
        strides = backbone.feature_info.reduction()
        self.at = [i for i, stride in enumerate(strides) if stride >= finest]
        if not self.at:
            raise ModelError(
                f"model.finest={finest}: the backbone has levels of stride {', '.join(map(str, strides))}; give one of "
                "these"
            )
        self.strides = [int(strides[i]) for i in self.at]
        self.backbone = backbone
        widths = backbone.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork([widths[i] for i in self.at], channels)
        self.out_channels = channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Levels ``(n, channels, h, w)`` by name, the finest first."""
        found = self.backbone(images)
        levels: dict[str, Tensor] = self.pyramid(OrderedDict((str(i), found[i]) for i in self.at))
        return levels

    def summary(self, images: Tensor) -> Tensor:
        """One vector ``(n, d)`` an image: the mean of the backbone's coarsest level."""
        coarsest: Tensor = self.backbone(images)[self.at[-1]]
        return coarsest.mean(dim=(2, 3))


class AsGiven(nn.Module):
    """In place of torchvision's own scaling and padding: pictures come as inputs of one size."""

    def forward(self, images: Sequence[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """The batch as torchvision's networks want it."""
        import torch

        sizes = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
        return ImageList(torch.stack(list(images)), sizes), targets

    def postprocess(self, result: Any, *_: Any) -> Any:
        """Nothing is scaled back."""
        return result


def build(architecture: Architecture, backbone: Any, *, classes: int, channels: int, finest: int) -> Any:
    """The network for so many classes; weights beyond the backbone's are drawn from torch's random state."""
    levels = Levels(backbone, channels, finest)
    network = _BUILDERS[architecture](levels, classes)
    network.transform = AsGiven()
    network.regions = MultiScaleRoIAlign([str(i) for i in levels.at], _POOLED, sampling_ratio=2)
    return network


def _fcos(levels: Levels, classes: int) -> Any:
    anchors = AnchorGenerator(tuple((stride,) for stride in levels.strides), ((1.0,),) * len(levels.strides))
    return FCOS(levels, classes, anchor_generator=anchors)


def _retinanet(levels: Levels, classes: int) -> Any:
    sizes = tuple(tuple(int(4 * stride * 2 ** (k / 3)) for k in range(3)) for stride in levels.strides)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    # Without normalisation this head learns too slowly for the few steps of a round.
    norm = partial(nn.GroupNorm, 32)
    head = RetinaNetHead(levels.out_channels, anchors.num_anchors_per_location()[0], classes, norm)
    return RetinaNet(levels, classes, anchor_generator=anchors, head=head)


def _faster_rcnn(levels: Levels, classes: int) -> Any:
    sizes = tuple((4 * stride, 8 * stride) for stride in levels.strides)
    width = levels.out_channels
    return FasterRCNN(
        levels,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign([str(i) for i in levels.at], 7, sampling_ratio=2),
        box_head=TwoMLPHead(width * 49, _REPRESENTATION),
        box_predictor=FastRCNNPredictor(_REPRESENTATION, classes + 1),
        rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_test=300,
    )


def _ssdlite(levels: Levels, classes: int) -> Any:
    count = len(levels.strides)
    anchors = DefaultBoxGenerator([[2, 3]] * count, min_ratio=0.1, max_ratio=0.8, steps=levels.strides)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    head = SSDLiteHead([levels.out_channels] * count, anchors.num_anchors_per_location(), classes + 1, norm)
    return SSD(levels, anchors, (320, 320), classes + 1, head=head)


_BUILDERS: Mapping[str, Callable[[Levels, int], Any]] = {
    "fcos": _fcos,
    "retinanet": _retinanet,
    "faster_rcnn": _faster_rcnn,
    "ssdlite": _ssdlite,
}
