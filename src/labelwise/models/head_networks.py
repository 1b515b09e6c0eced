"""Heads as torch modules, for a model that is exported whole: the arithmetic of `labelwise.models.heads` once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelwise.errors import ModelError
from labelwise.models.heads import Fitted, Head


def linear(weight: NDArray[Any], bias: NDArray[Any]) -> nn.Linear:
    """A layer with these weights ``(out, in)``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def perceptron(layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> nn.Sequential:
    """Layers of weights and biases with ReLU between them."""
    parts: list[nn.Module] = []
    for weight, bias in layers:
        parts += [linear(weight, bias), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class NearestVotes(nn.Module):
    """Logs of the votes of the nearest labelled features."""

    features: Tensor
    votes: Tensor

    def __init__(self, state: Mapping[str, NDArray[Any]], k: int, softness: float) -> None:
        super().__init__()
        features = torch.from_numpy(np.array(state["features"]))
        self.k, self.softness = min(k, len(features)), softness
        self.register_buffer("features", features.T.contiguous())
        labels = torch.from_numpy(np.array(state["labels"]))
        votes = nn.functional.one_hot(labels, len(state["weights"])).float()
        self.register_buffer("votes", votes * torch.from_numpy(np.array(state["weights"])))

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits ``(n, classes)``."""
        unit = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        similarity, nearest = torch.topk(unit @ self.features, self.k, dim=1)
        weights = ((similarity - 1) / self.softness).exp()
        return ((weights[..., None] * self.votes[nearest]).sum(dim=1) + 1e-6).log()


class Calibrated(nn.Module):
    """From features to probabilities on the whole class axis: scaling, a head's logits, temperature, softmax.

    ``seen`` are the classes that the head knows; all others have probability 0. A single one has probability 1.
    """

    offset: Tensor
    factor: Tensor
    places: Tensor

    def __init__(self, logits: nn.Module | None, fitted: Fitted) -> None:
        super().__init__()
        self.logits = logits
        self.temperature = float(fitted.state["temperature"][0])
        self.register_buffer("offset", torch.from_numpy(np.array(fitted.scaling.offset)))
        self.register_buffer("factor", torch.from_numpy(np.array(fitted.scaling.factor)))
        seen = torch.from_numpy(np.array(fitted.state["seen"]))
        self.register_buffer("places", nn.functional.one_hot(seen, len(fitted.classes)).float())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities ``(n, C)`` and the scaled features ``(n, d)``."""
        scaled = (features - self.offset) / self.factor
        if self.logits is None:
            return (scaled[:, :1] * 0).exp() @ self.places, scaled
        return (self.logits(scaled) / self.temperature).softmax(dim=1) @ self.places, scaled


def calibrated(head: Head, name: str, fitted: Fitted) -> Calibrated:
    """A fitted head as a module. Raises ModelError for a head that does not say how it is one."""
    if len(fitted.state["seen"]) < 2:
        return Calibrated(None, fitted)
    made = getattr(head, "network", None)
    if made is None:
        raise ModelError(
            f"the head {name} cannot be exported: it needs a method network(state) that gives a torch module"
        )
    return Calibrated(made(fitted.state), fitted)
