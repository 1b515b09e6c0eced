"""Folding batch normalisation into the convolution before it: the same function in fewer steps, to predict with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn


def fold_norms(network: nn.Module) -> int:
    """Fold every batch normalisation that alone uses a convolution's result into it, in place; returns how many.

    Where they are is read off the network's graph; a network whose graph cannot be traced stays as it is. For networks
    in eval mode that will not be trained: results differ by rounding only.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception:  # whatever a network does in its forward that a graph cannot hold
        return 0
    named = dict(network.named_modules())
    called = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    folded = 0
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        convolution, norm = named[str(before.target)], named[str(node.target)]
        once = called[str(before.target)] == called[str(node.target)] == 1
        if once and isinstance(convolution, nn.Conv2d) and _foldable(norm):
            _fold(convolution, norm)
            network.set_submodule(str(node.target), _rest(norm))
            folded += 1
    return folded


class _Tracer(torch.fx.Tracer):
    """Goes into all modules but convolutions and normalisations, also where these are a library's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def _foldable(norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and not norm.training and norm.running_mean is not None


def _fold(convolution: nn.Conv2d, norm: Any) -> None:
    """w' = w g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + beta, in float64."""
    with torch.no_grad():
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        mean = norm.running_mean.double()
        bias = -mean if convolution.bias is None else convolution.bias.double() - mean
        shift = bias * scale if norm.bias is None else bias * scale + norm.bias
        weight = convolution.weight
        weight.copy_(weight.double() * scale.view(-1, 1, 1, 1))
        convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)


def _rest(norm: Any) -> nn.Module:
    """What a normalisation does beside normalising: timm's hold a dropout and an activation."""
    return nn.Sequential(*(getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)))
