"""Training a detection network on labelled boxes: batches, the one-cycle schedule, and the best of its checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelwise.data.ahead import read_ahead
from labelwise.data.images import open_image
from labelwise.embedding.backbone import Preprocessing, device
from labelwise.errors import ModelError
from labelwise.models import Plan, Progress
from labelwise.models.detectors.networks import WITH_BACKGROUND
from labelwise.models.pixelwise import padded
from labelwise.models.training import freeze_norms
from labelwise.records import Labelled

if TYPE_CHECKING:
    from labelwise.models.detectors import Detector

Prepared = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]
CHECKS = 10  # how often a training looks at the validation images
CLIP = 5.0  # the longest gradient


class BoxTraining:
    """One training on labelled boxes; ``check`` gives the quality on validation images, NaN where there are none."""

    def __init__(
        self,
        options: Detector,
        network: Any,
        train: Sequence[Labelled],
        plan: Plan,
        *,
        preprocessing: Preprocessing,
        threads: int,
        rng: np.random.Generator,
        check: Callable[[], float] | None = None,
    ) -> None:
        self.options, self.network, self.train = options, network, train
        self.preprocessing, self.threads, self.rng, self.check = preprocessing, threads, rng, check
        self.index = {name: i + (options.architecture in WITH_BACKGROUND) for i, name in enumerate(plan.classes)}
        body = list(network.backbone.backbone.parameters())
        known = {id(p) for p in body}
        head = [p for p in network.parameters() if id(p) not in known]
        groups = [{"params": body, "lr": options.lr}, {"params": head, "lr": options.head_lr}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
        each = options.iterations if options.epochs is None else options.epochs
        amounts = each if isinstance(each, list) else [each]
        unit = 1 if options.epochs is None else max(1, math.ceil(len(train) / options.train_batch))
        self.steps = unit * amounts[min(plan.round, len(amounts) - 1)]

    def run(self, progress: Progress) -> None:
        """Train for this round's steps; of its checks the best stays, and ``patience`` of them without gain end it."""
        options, best, weights, since = self.options, -math.inf, None, 0
        every = max(1, math.ceil(self.steps / CHECKS))
        self._ready()
        for done, (images, targets) in enumerate(self._batches(), start=1):
            share = one_cycle((done - 1) / self.steps, options.warmup)
            for group, highest in zip(self.optimizer.param_groups, (options.lr, options.head_lr), strict=True):
                group["lr"] = highest * share
            loss: Tensor = sum(self.network(images, targets).values(), start=torch.zeros((), device=device()))
            if not torch.isfinite(loss):
                raise ModelError(f"the training loss is not finite in step {done}: lower model.lr and model.head_lr")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimizer.step()
            progress(done, self.steps, "training steps")
            if self.check is None or (done % every and done < self.steps):
                continue
            quality = self.check()
            self._ready()
            since = 0 if quality > best else since + 1
            if since == 0:
                best, weights = quality, {k: v.clone() for k, v in self.network.state_dict().items()}
            elif since >= options.patience:
                break
        if weights is not None:
            self.network.load_state_dict(weights)

    def _ready(self) -> None:
        self.network.train()
        if self.options.freeze_norm:
            freeze_norms(self.network.backbone.backbone)

    def _batches(self) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
        size = min(self.options.train_batch, len(self.train))
        order: list[Labelled] = []
        while len(order) < self.steps * size:
            order += [self.train[i] for i in self.rng.permutation(len(self.train))]
        seeds = self.rng.integers(2**63, size=self.steps * size)
        items = list(zip(order[: self.steps * size], seeds.tolist(), strict=True))
        ready: list[Prepared] = []
        for item in read_ahead(items, self._prepared, threads=self.threads, window=4 * self.threads):
            ready.append(item)
            if len(ready) == size:
                yield self._tensors(ready)
                ready = []

    def _prepared(self, item: tuple[Labelled, int]) -> Prepared:
        labelled, seed = item
        image = open_image(labelled.sample.path, name=labelled.sample.id)[0]
        pixels = self.options.scaled(image)
        boxes, labels = self._boxes(labelled, (pixels.shape[1] / image.width, pixels.shape[0] / image.height))
        rng = np.random.default_rng(seed)
        height, width = pixels.shape[:2]
        if self.options.flips != "none" and rng.random() < 0.5:
            pixels, boxes = (
                pixels[:, ::-1],
                np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1),
            )
        if self.options.flips == "both" and rng.random() < 0.5:
            pixels, boxes = (
                pixels[::-1],
                np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1),
            )
        if self.options.brightness:
            change = rng.uniform(1 - self.options.brightness, 1 + self.options.brightness)
            pixels = np.clip(pixels * change, 0, 255).astype(np.uint8)
        return pixels, boxes.astype(np.float32), labels

    def _boxes(self, labelled: Labelled, scale: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """True boxes in pixels of the input, and their classes; a box without area teaches nothing."""
        target = labelled.target
        geometry = np.empty((0, 4)) if target.geometry is None else np.asarray(target.geometry, np.float64)
        keep = (geometry[:, 2:] > geometry[:, :2]).all(axis=1)
        labels = np.array([self.index[name] for name in target.classes], dtype=np.int64).reshape(-1)
        return (geometry * np.array([*scale, *scale]))[keep], labels[keep]

    def _tensors(self, ready: Sequence[Prepared]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        images = padded([pixels for pixels, _, _ in ready], self.preprocessing)
        targets = [
            {"boxes": torch.from_numpy(boxes).to(device()), "labels": torch.from_numpy(labels).to(device())}
            for _, boxes, labels in ready
        ]
        return list(images), targets


def one_cycle(share: float, warmup: float) -> float:
    """Share of the highest learning rate at this share of a training: a linear rise, then half a cosine down to 0."""
    if share < warmup:
        return 0.04 + 0.96 * share / warmup
    return max(1e-4, 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup)))))
