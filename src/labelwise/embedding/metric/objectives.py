"""Losses of embeddings as torch modules. Distances are Euclidean, and embeddings are not brought to length 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def squared_distances(embeddings: Tensor) -> Tensor:
    """Squared Euclidean distances ``(n, n)`` of embeddings ``(n, d)``."""
    centred = embeddings - embeddings.mean(dim=0, keepdim=True).detach()  # far from 0 the products would cancel
    squares = centred.square().sum(dim=1)
    return (squares[:, None] + squares[None, :] - 2 * centred @ centred.T).clamp_min(0)


def pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of rows, the smaller row first: those of one class and those of two; ``(p, 2)`` each."""
    rows = torch.triu_indices(len(labels), len(labels), 1, device=labels.device).T
    same = labels[rows[:, 0]] == labels[rows[:, 1]]
    return rows[same], rows[~same]


class Triplet(nn.Module):
    """Mean of ``max(0, d²(a, p) - d²(a, n) + margin)`` with a negative for each pair of a class (Schroff et al. 2015).

    Of the negatives with a loss v above 0 "random" draws one, "hardest" takes the one with the largest, "semi_hard"
    draws one with v below the margin. Pairs without such a negative count nothing.
    """

    def __init__(self, margin: float, mining: str, generator: torch.Generator) -> None:
        super().__init__()
        self.margin, self.mining, self.generator = margin, mining, generator

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor | None:
        """The loss; None where no pair has a negative to learn from."""
        anchors = pairs(labels)[0]
        squared = squared_distances(embeddings)
        other = labels[anchors[:, :1]] != labels[None, :]
        values = squared[anchors[:, 0], anchors[:, 1]][:, None] - squared[anchors[:, 0]] + self.margin
        fit = other & (values > 0)
        if self.mining == "semi_hard":
            fit &= values < self.margin
        found = fit.any(dim=1)
        if not found.any():
            return None
        if self.mining == "hardest":
            rank = values.detach()
        else:  # the largest of random numbers is a uniform draw
            rank = torch.rand(values.shape, generator=self.generator).to(values.device)
        chosen = rank.masked_fill(~fit, -torch.inf).argmax(dim=1, keepdim=True)
        return values.gather(1, chosen)[found].mean()


class Contrastive(nn.Module):
    """Mean of ``d²`` over pairs of one class and ``max(0, margin - d)²`` over pairs of two (Hadsell et al. 2006).

    "random" draws as many pairs of two classes as there are of one, "hard_pair" takes the nearest of them, "all" all.
    """

    def __init__(self, margin: float, mining: str, generator: torch.Generator) -> None:
        super().__init__()
        self.margin, self.mining, self.generator = margin, mining, generator

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor | None:
        """The loss; None where there is no pair."""
        squared = squared_distances(embeddings)
        alike, apart = pairs(labels)
        near, far = squared[alike[:, 0], alike[:, 1]], squared[apart[:, 0], apart[:, 1]]
        if self.mining != "all" and 0 < len(near) < len(far):
            order = torch.rand(len(far), generator=self.generator) if self.mining == "random" else far.detach()
            far = far[order.argsort()[: len(near)].to(far.device)]
        terms = torch.cat([near, (self.margin - far.clamp_min(1e-12).sqrt()).clamp_min(0).square()])
        return terms.mean() if len(terms) else None


class Softmax(nn.Module):
    """Cross-entropy of a linear classifier on the rectified embedding; it is thrown away afterwards."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(dim, classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss."""
        return nn.functional.cross_entropy(self.classifier(embeddings.relu()), labels)


class FromLibrary(nn.Module):
    """A loss of pytorch-metric-learning."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor | None:
        """The loss; None where the batch holds one class, or no two images of one: nothing to compare."""
        alike, apart = pairs(labels)
        if not len(apart) or not (len(alike) or list(self.loss.parameters())):
            return None
        found: Tensor = self.loss(embeddings, labels)
        return found


class Embedder(nn.Module):
    """A backbone, and a linear projection of its standardised features to the embedding.

    ``mean`` and ``std`` ``(features,)`` belong to features that are not trained; else they change nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, features: int, dim: int) -> None:
        super().__init__()
        self.backbone, self.projection = backbone, nn.Linear(features, dim)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings ``(n, dim)`` of the backbone's inputs."""
        found: Tensor = self.projection((self.backbone(inputs) - self.mean) / self.std)
        return found
