"""Learning from a labelled source beside the pool with mmsegmentation: pairs of pictures, and RIPU's losses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS
from torch import Tensor, nn

from labelwise import mmlab
from labelwise.errors import ModelError
from labelwise.models.adaptation import local_consistency, negative_learning

Part = Literal["first", "second", "all"]
SOURCE, POOL, WHOLE = "first", "second", "all"  # of a batch of pairs, and of a batch of one kind


class Pairs:
    """A dataset of pairs: each picture of the pool, in its order, with one of the source drawn at random."""

    def __init__(self, source: Any, pool: Any) -> None:
        self.source, self.pool, self.metainfo = source, pool, pool.metainfo

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        # mmengine seeds this generator in each of the loader's processes
        return self.source[random.randrange(len(self.source))], self.pool[index]


def side_by_side(pairs: Sequence[tuple[Any, Any]]) -> Any:
    """A batch of pairs as one batch: first all pictures of the source, then all of the pool."""
    return pseudo_collate([*(first for first, _ in pairs), *(second for _, second in pairs)])


def _half(values: Tensor, part: str) -> Tensor:
    middle = len(values) // 2
    return {SOURCE: values[:middle], POOL: values[middle:]}.get(part, values)


def _both_classes(logits: Tensor) -> Tensor:
    """Logits of two classes where the network has one output."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


@MODELS.register_module(force=True)
class LocalConsistencyLoss(nn.Module):  # type: ignore[misc, unused-ignore]
    """RIPU's local consistency of one ``part`` of each batch; see `labelwise.models.adaptation.local_consistency`."""

    loss_name = "loss_consistency"

    def __init__(self, loss_weight: float = 0.1, part: Part = "first") -> None:
        super().__init__()
        self.loss_weight, self.part = loss_weight, part

    def forward(self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255, **_: Any) -> Tensor:
        """The loss of logits ``(n, C, h, w)`` and labels ``(n, h, w)``."""
        found = _both_classes(_half(logits, self.part))
        return self.loss_weight * local_consistency(found, _half(labels, self.part), void=ignore_index)


@MODELS.register_module(force=True)
class NegativeLearningLoss(nn.Module):  # type: ignore[misc, unused-ignore]
    """RIPU's negative learning of one ``part`` of each batch; see `labelwise.models.adaptation.negative_learning`."""

    loss_name = "loss_negative"

    def __init__(self, loss_weight: float = 1.0, below: float = 0.05, part: Part = "second") -> None:
        super().__init__()
        self.loss_weight, self.below, self.part = loss_weight, below, part

    def forward(self, logits: Tensor, labels: Tensor, **_: Any) -> Tensor:
        """The loss of logits ``(n, C, h, w)``; labels do not matter."""
        return self.loss_weight * negative_learning(_both_classes(_half(logits, self.part)), below=self.below)


@MODELS.register_module(force=True)
class EachDomainLoss(nn.Module):  # type: ignore[misc, unused-ignore]
    """A loss of the source's half of a batch plus that of the pool's: few labels count as much as many."""

    def __init__(self, loss: dict[str, Any]) -> None:
        super().__init__()
        self.loss = MODELS.build(loss)
        self.loss_name = self.loss.loss_name

    def forward(self, logits: Tensor, labels: Tensor, *, weight: Any = None, **given: Any) -> Any:
        """The sum of both."""
        return sum(
            self.loss(
                _half(logits, part),
                _half(labels, part),
                weight=None if weight is None else _half(weight, part),
                **given,
            )
            for part in (SOURCE, POOL)
        )


def adapted(model: dict[str, Any], source: bool, pool: bool, losses: tuple[float, float, float]) -> None:
    """Give the heads of a model's configuration what they learn by, from a ``source``, a ``pool`` or pairs of both.

    ``losses`` are the weights of consistency and of negative learning, and the probability below which it acts. Losses
    that the configuration names itself stay as they are.
    """
    consistency, negative, below = losses
    heads = mmlab.heads(model)
    beside = model.get("auxiliary_head") or []
    for head in [*heads, *(beside if isinstance(beside, (list, tuple)) else [beside])]:
        if not head.get("loss_decode"):
            raise ModelError("learning from a source needs decode heads with loss_decode, found one without")
        given = head["loss_decode"]
        listed = [dict(one) for one in (given if isinstance(given, (list, tuple)) else [given])]
        named = {mmlab.type_name(one["type"]) for one in listed}
        own = [one for one in listed if mmlab.type_name(one["type"]) in (LOCAL, NEGATIVE)]
        rest = [one for one in listed if one not in own]
        head["loss_decode"] = [{"type": EachDomainLoss, "loss": one} for one in rest] if source and pool else rest
        if head is heads[-1]:
            own += [{"type": LOCAL, "loss_weight": consistency}] if LOCAL not in named and consistency else []
            more = {"type": NEGATIVE, "loss_weight": negative, "below": below}
            own += [more] if NEGATIVE not in named and negative else []
        kinds = {LOCAL: source, NEGATIVE: pool}
        sides = {} if source and pool else {"part": WHOLE}
        head["loss_decode"] += [{**one, **sides} for one in own if kinds[mmlab.type_name(one["type"])]]


LOCAL, NEGATIVE = LocalConsistencyLoss.__name__, NegativeLearningLoss.__name__
