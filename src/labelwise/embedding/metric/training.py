"""Training an embedding on labelled images or on features, in epochs of plain or balanced batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.embedding.metric.batches import balanced, single
from labelwise.errors import ModelError

Loader = Literal["single", "balanced"]
Inputs = Callable[[Sequence[NDArray[np.int64]]], Iterator[Any]]


@dataclass(frozen=True)
class Course:
    """How one training goes: epochs of Adam from a fresh state, and how batches are made.

    ``classes`` x ``images`` is the size of a balanced batch, ``batch`` that of a plain one.
    """

    epochs: int
    lr: float
    weight_decay: float
    loader: Loader
    classes: int
    images: int
    batch: int

    def batches(self, labels: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """The rows of each batch of one epoch."""
        if self.loader == "single":
            return single(len(labels), self.batch, rng)
        return balanced(labels, self.classes, self.images, rng)


def train(
    network: Any,
    objective: Any,
    labels: NDArray[np.int64],
    inputs: Inputs,
    course: Course,
    *,
    before_epoch: Callable[[], None],
    rng: np.random.Generator,
    progress: Callable[[int, int, str], None],
) -> list[float]:
    """Train ``network`` in place for ``objective``; gives the mean loss of each epoch, 0 where nothing was to learn.

    ``inputs`` gives the network's input for each batch of rows, ``before_epoch`` sets the network's mode. Raises
    ModelError if the loss is no longer a number.
    """
    import torch

    from labelwise.embedding.backbone import device

    parameters = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(
        [p for p in parameters if p.requires_grad], lr=course.lr, weight_decay=course.weight_decay
    )
    targets = torch.from_numpy(labels)
    losses = []
    for epoch in range(course.epochs):
        before_epoch()
        found = []
        batches = course.batches(labels, rng)
        for rows, given in zip(batches, inputs(batches), strict=True):
            if len(rows) < 2:  # a single image can be compared with none
                continue
            vectors = network(given)
            loss = objective(vectors, targets[torch.from_numpy(rows)].to(device()))
            value = 0.0 if loss is None else float(loss.detach())
            if not math.isfinite(value) or not bool(torch.isfinite(vectors.detach().square().sum())):
                raise ModelError(
                    f"the embedding is no longer finite in epoch {epoch + 1}: lower model.lr or finetune_lr"
                )
            if loss is None:
                continue
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            found.append(value)
        losses.append(float(np.mean(found)) if found else 0.0)
        progress(epoch + 1, course.epochs, "epochs of the embedding")
    return losses
