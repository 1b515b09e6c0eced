"""A trained classifier as one network: from the pixels of a picture to probabilities, for use without labelwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelwise.embedding.backbone import Preprocessing
from labelwise.errors import ModelError
from labelwise.models import Model
from labelwise.models.entry import Entry, Pixels


@dataclass(frozen=True)
class Whole:
    """``network`` takes uint8 pixels ``(n, size, size, 3)`` (or ``(n, size, size)``) and gives probabilities ``(n, C)``
    in the order of ``classes``, and embeddings ``(n, d)``; it is on the CPU and in eval mode."""

    network: nn.Module
    entry: Entry
    classes: tuple[str, ...]
    temperature: float

    def probs(self, pixels: list[Pixels]) -> NDArray[np.float32]:
        """Probabilities ``(n, C)`` of a batch."""
        with torch.inference_mode():
            found: Tensor = self.network(torch.from_numpy(np.stack(pixels)))[0]
        return np.asarray(found.numpy())


def whole_of(model: Model, name: str, checkpoint: Path) -> Whole:
    """A model's checkpoint as one network. Raises ModelError for a model that cannot say how it is one."""
    made = getattr(model, "whole", None)
    if made is None:
        raise ModelError(f"model {name!r} cannot be exported or used on other images: use frozen, finetune or metric")
    found: Whole = made(checkpoint)
    found.network.cpu().eval()
    return found


class FromPixels(nn.Module):
    """Normalised pixels, features of a ``body``, and what a ``top`` makes of them."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, top: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.body, self.top = body, top
        for name, value in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Any:
        """Probabilities and embeddings."""
        return self.top(self.body((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std))


class GreyPixels(nn.Module):
    """The plain features "pixels": the grey picture itself, 0 to 1."""

    def __init__(self, top: nn.Module) -> None:
        super().__init__()
        self.top = top

    def forward(self, pixels: Tensor) -> Any:
        """Probabilities and embeddings."""
        return self.top(pixels.flatten(1).float() / 255)


class Pooled(nn.Module):
    """A fine-tuned timm network: its pooled features, and probabilities at a temperature."""

    def __init__(self, network: Any, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and embeddings."""
        pooled = self.network.forward_head(self.network.forward_features(inputs), pre_logits=True)
        logits = self.network.get_classifier()(pooled).float() / self.temperature
        return logits.softmax(dim=-1), pooled
