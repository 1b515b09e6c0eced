"""Training a detector of transformers on labelled boxes: its own loss, early stopping, and no padding anywhere."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from labelwise.data.ahead import read_ahead
from labelwise.data.images import open_image
from labelwise.embedding.backbone import device
from labelwise.errors import ModelError
from labelwise.models import Progress
from labelwise.models.detectors.training import one_cycle
from labelwise.models.hub import as_input, parts, same_shapes
from labelwise.models.training import freeze_norms
from labelwise.records import Labelled, Target

if TYPE_CHECKING:
    from labelwise.models.transformers_detectors import TransformersDetector

Ready = tuple[NDArray[np.float32], dict[str, NDArray[Any]]]
_CLIP = 0.1  # of the gradient's norm, as DETR, RT-DETR and their kin are trained


class DetrTraining:
    """One training: network, optimiser, the epochs done, their losses (training, validation), and the best of them."""

    def __init__(
        self,
        options: TransformersDetector,
        network: Any,
        train: Sequence[Labelled],
        val: Sequence[Labelled],
        classes: tuple[str, ...],
        *,
        processor: Any,
        threads: int,
        rng: np.random.Generator,
    ) -> None:
        import torch

        self.options, self.network, self.train, self.val = options, network, train, val
        self.classes, self.processor, self.threads, self.rng = classes, processor, threads, rng
        body = [p for name, p in network.named_parameters() if "backbone" in name and p.requires_grad]
        known = {id(p) for p in body}
        head = [p for p in network.parameters() if id(p) not in known and p.requires_grad]
        groups = [{"params": head, "lr": options.lr}, {"params": body, "lr": options.backbone_lr}]
        self.highest = (options.lr, options.backbone_lr)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
        self.epochs = 0
        self.losses: list[tuple[float, float | None]] = []

    def run(self, progress: Progress) -> None:
        """Train, and leave the network as it was in the best epoch."""
        best, lowest, since = None, math.inf, 0
        for epoch in range(self.options.epochs):
            learnt = self._epoch(epoch)
            judged = self._validate() if self.val else None
            self.epochs = epoch + 1
            self.losses.append((learnt, judged))
            progress(epoch + 1, self.options.epochs, "epochs")
            if judged is None:
                continue
            since = 0 if judged < lowest else since + 1
            if since == 0:
                best, lowest = copy.deepcopy(self.network.state_dict()), judged
            elif since >= self.options.patience:
                break
        if best is not None:
            self.network.load_state_dict(best)
        self.network.eval()

    def _epoch(self, epoch: int) -> float:
        import torch

        self.network.train()
        if self.options.freeze_norm:
            freeze_norms(self.network)
        order = [self.train[i] for i in self.rng.permutation(len(self.train))]
        steps = math.ceil(len(order) / self.options.train_batch)
        total = 0.0
        for step, batch in enumerate(self._batches(order, augment=True)):
            share = one_cycle((epoch * steps + step) / (self.options.epochs * steps), self.options.warmup)
            for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
                group["lr"] = highest * share
            self.optimizer.zero_grad(set_to_none=True)
            for loss, images in self._losses(batch):
                (loss * (images / len(batch))).backward()
                total += float(loss.detach()) * images
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
            self.optimizer.step()
        return self._finite(total / len(order), epoch)

    def _validate(self) -> float:
        import torch

        self.network.eval()
        total = 0.0
        with torch.inference_mode():
            for batch in self._batches(list(self.val), augment=False):
                total += sum(float(loss) * images for loss, images in self._losses(batch))
        return self._finite(total / len(self.val), self.epochs)

    def _losses(self, batch: Sequence[Ready]) -> Iterator[tuple[Any, int]]:
        """The mean loss of the pictures of one shape, and how many these are: pictures are never filled up."""
        import torch

        for places in same_shapes(batch, len(batch)):
            pixels = torch.from_numpy(np.stack([batch[i][0] for i in places])).to(device())
            labels = [{k: torch.from_numpy(v).to(device()) for k, v in batch[i][1].items()} for i in places]
            try:
                loss = self.network(pixel_values=pixels, labels=labels).loss
            except ValueError as error:  # matching boxes that are not finite
                raise ModelError(self._advice(self.epochs)) from error
            yield loss, len(places)

    def _finite(self, loss: float, epoch: int) -> float:
        if not math.isfinite(loss):
            raise ModelError(self._advice(epoch))
        return loss

    def _advice(self, epoch: int) -> str:
        return f"the loss is not finite in epoch {epoch}: lower model.lr (now {self.options.lr:g})"

    def _batches(self, items: Sequence[Labelled], *, augment: bool) -> Iterator[Sequence[Ready]]:
        seeds = self.rng.integers(2**63, size=len(items)).tolist() if augment else [None] * len(items)
        size = self.options.train_batch
        work = read_ahead(
            list(zip(items, seeds, strict=True)), self._ready, threads=self.threads, window=2 * max(size, self.threads)
        )
        for part in parts(items, size):
            yield [next(work) for _ in part]

    def _ready(self, item: tuple[Labelled, int | None]) -> Ready:
        labelled, seed = item
        image = open_image(labelled.sample.path, name=labelled.sample.id)[0]
        labels = targets(labelled.target, self.classes, image.size)
        if seed is not None:
            image = self._changed(image, labels["boxes"], np.random.default_rng(seed))
        return as_input(image, self.processor), labels

    def _changed(self, image: Image.Image, boxes: NDArray[Any], rng: np.random.Generator) -> Image.Image:
        """The picture flipped and brightened at random; its boxes are flipped in place."""
        flips, reach = self.options.flips, self.options.brightness
        for axis, turn, wanted in (
            (0, Image.Transpose.FLIP_LEFT_RIGHT, flips != "none"),
            (1, Image.Transpose.FLIP_TOP_BOTTOM, flips == "both"),
        ):
            if wanted and rng.random() < 0.5:
                image = image.transpose(turn)
                boxes[:, axis] = 1 - boxes[:, axis]
        return ImageEnhance.Brightness(image).enhance(float(rng.uniform(1 - reach, 1 + reach)))


def targets(target: Target, classes: Sequence[str], size: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """True boxes as the losses of transformers take them: centre and size in shares ``(n, 4)``, and class indices."""
    at = {name: i for i, name in enumerate(classes)}
    labels = np.array([at[name] for name in target.classes], np.int64)
    corners = np.zeros((0, 4)) if target.geometry is None else np.asarray(target.geometry, np.float64).reshape(-1, 4)
    edges = np.array([*size, *size], np.float64)
    shares = corners.clip(0, edges) / edges
    real = (shares[:, 2:] > shares[:, :2]).all(axis=1)  # a box without area teaches nothing
    shares, labels = shares[real], labels[real]
    boxes = np.concatenate([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], axis=1)
    return {"class_labels": labels, "boxes": boxes.astype(np.float32)}
