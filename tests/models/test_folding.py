"""Folded normalisation: the same function, and left alone where it would not be."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from labelwise.models.folding import fold_norms
from labelwise.models.pixelwise import Pyramid


def unsettled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, scales and shifts as a training leaves them."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.3, 3, generator=random)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=random)
                module.bias.data.normal_(0, 0.3, generator=random)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def changes(network: nn.Module, images: Tensor) -> float:
    """The largest difference that folding makes, as a share of the largest number."""
    with torch.inference_mode():
        before = network(images).double()
        fold_norms(network)
        return float((network(images).double() - before).abs().max() / before.abs().max())


@pytest.mark.parametrize("backbone", ["mobilenetv2_035", "resnet10t", "convnext_atto"])
def test_a_pyramid_stays_the_same_function(backbone: str) -> None:
    network = unsettled(Pyramid(timm.create_model(backbone, features_only=True), 8, 3, 0.1))
    assert changes(network, torch.randn(2, 3, 64, 96)) < 1e-4
    assert norms(network) == 0


class Odd(nn.Module):
    """Normalisations that may not be folded, or only one of them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=2)
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        if self.kind == "used twice":
            return self.norm(y) + y
        if self.kind == "called twice":
            return self.two(self.norm(self.two(self.norm(y))))
        if self.kind == "before":
            return self.two(self.norm(torch.relu(y)))
        if self.kind == "not traced" and float(x.sum()) > 1e9:
            return y
        return self.other(self.two(self.norm(y)))


@pytest.mark.parametrize(
    ("kind", "left"), [("used twice", 2), ("called twice", 2), ("before", 2), ("not traced", 2), ("plain", 0)]
)
def test_only_what_alone_uses_a_convolution_is_folded(kind: str, left: int) -> None:
    network = unsettled(Odd(kind))
    assert changes(network, torch.randn(2, 3, 12, 12)) < 1e-5
    assert norms(network) == left


def test_a_norm_in_training_or_without_statistics_is_left() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    assert fold_norms(network) == 0
    assert fold_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()) == 0
