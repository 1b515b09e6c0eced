"""Training a network on labelled pixels: the pyramid, sparse and dense labels at the network's size, and its state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from labelwise.data.ahead import read_ahead
from labelwise.data.images import open_image
from labelwise.data.masks import Mask, empty_mask, target_mask, void_of
from labelwise.embedding.backbone import Preprocessing, device, save_tensors, to_input
from labelwise.errors import ModelError
from labelwise.models import Plan, Progress
from labelwise.models.adaptation import local_consistency, negative_learning
from labelwise.models.training import freeze_norms, load_optimizer, save_optimizer
from labelwise.records import Labelled, Target

if TYPE_CHECKING:
    from labelwise.models.fpn import Fpn

STRIDE = 32  # pictures are filled up to a multiple of it
VOID = -100  # as torch's losses call it
COUNTED = 200  # masks of a source whose classes are counted


class Pyramid(nn.Module):
    """Backbone levels of stride 4 to 32, brought to ``channels``, enlarged to stride 4 and summed; then classified.

    After Kirillov et al. 2019, Panoptic feature pyramid networks, figure 3, without its steps of enlarging.
    """

    def __init__(self, backbone: Any, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        strides = backbone.feature_info.reduction()
        self.levels = [i for i, stride in enumerate(strides) if stride >= 4]
        widths = [backbone.feature_info.channels()[i] for i in self.levels]
        self.stride = strides[self.levels[0]]
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels)) for width in widths
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.drop = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def fused(self, images: Tensor) -> Tensor:
        """Features ``(n, channels, h / 4, w / 4)`` of images ``(n, 3, h, w)``, h and w multiples of 32."""
        found = self.backbone(images)
        levels = [side(found[i]) for side, i in zip(self.lateral, self.levels, strict=True)]
        shape = levels[0].shape[-2:]
        total = levels[0]
        for level in levels[1:]:
            total = total + nn.functional.interpolate(level, shape, mode="bilinear", align_corners=False)
        fused: Tensor = self.smooth(torch.relu(total))
        return fused

    def enlarged(self, logits: Tensor) -> Tensor:
        """Logits at the size of the input."""
        return nn.functional.interpolate(logits, scale_factor=self.stride, mode="bilinear", align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, C, h, w)`` of images ``(n, 3, h, w)``."""
        return self.enlarged(self.classifier(self.drop(self.fused(images))))


def padded(pictures: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing) -> Tensor:
    """Pictures ``(h, w, 3)`` as one input, filled up at the right and below with the mean colour to 32s."""
    height = -(-max(p.shape[0] for p in pictures) // STRIDE) * STRIDE
    width = -(-max(p.shape[1] for p in pictures) // STRIDE) * STRIDE
    fill = np.array(preprocessing.mean) * 255
    whole = np.empty((len(pictures), height, width, 3), np.uint8)
    whole[:] = fill.round()
    for place, picture in zip(whole, pictures, strict=True):
        place[: picture.shape[0], : picture.shape[1]] = picture
    inputs: Tensor = to_input(list(whole), preprocessing, device())
    return inputs


def feature_map(features: Tensor, inner: Sequence[int], stride: int) -> NDArray[np.float32]:
    """Features ``(1, d, ...)`` of a filled-up input as a map ``(h', w', d)`` of its first ``inner`` (h, w) pixels."""
    found = features[0, :, : -(-inner[0] // stride), : -(-inner[1] // stride)].float()
    return np.asarray(found.permute(1, 2, 0).contiguous().cpu().numpy())


def scaled_labels(target: Target, classes: Sequence[str], size: tuple[int, int], to: tuple[int, int]) -> Mask:
    """A target as a mask of another size ``to`` (width, height); of points none is lost, however much smaller it is.

    Where two points fall on one pixel the later one counts. Dense masks are scaled to the nearest pixel.
    """
    if target.geometry is None or target.geometry.shape[1] != 2 or size == to:
        mask = target_mask(target, classes, size)
        return mask if size == to else np.asarray(Image.fromarray(mask).resize(to, Image.Resampling.NEAREST))
    mask = empty_mask(to[1], to[0], len(classes))
    at = {name: i for i, name in enumerate(classes)}
    numbers = np.array([at[name] for name in target.classes])
    x, y = (target.geometry * np.array(to) // np.array(size)).astype(np.int64).T
    mask[y, x] = numbers if target.codes is None else numbers[target.codes]
    return mask


class Losses:
    """What a step minimises: of the pool's images, and of a source's beside them."""

    def __init__(self, options: Fpn, pool: Tensor | None, source: Tensor | None) -> None:
        self.options = options
        self.pool, self.source = pool, source  # weights of the classes

    def of_pool(self, logits: Tensor, labels: Tensor, adapting: bool) -> Tensor:
        """Cross-entropy of the labelled pixels; where the network is adapting, also what each pixel surely is not."""
        loss = _cross_entropy(logits, labels, self.pool)
        if adapting and self.options.negative:
            loss = loss + self.options.negative * negative_learning(logits, below=self.options.negative_below)
        return loss

    def of_source(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, and the consistency of neighbours on the borders of classes."""
        loss = _cross_entropy(logits, labels, self.source)
        if self.options.consistency:
            loss = loss + self.options.consistency * local_consistency(logits, labels, void=VOID)
        return loss


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over labelled pixels; 0 where there are none, which would not be a number otherwise."""
    if not bool((labels != VOID).any()):
        return logits.sum() * 0
    return nn.functional.cross_entropy(logits, labels, weight, ignore_index=VOID)


class PixelTraining:
    """One training on labelled pixels: network, optimiser, one-cycle schedule, and the number of steps done so far."""

    def __init__(
        self,
        options: Fpn,
        network: Pyramid,
        train: Sequence[Labelled],
        plan: Plan,
        *,
        preprocessing: Preprocessing,
        threads: int,
        rng: np.random.Generator,
    ) -> None:
        self.options, self.network, self.classes = options, network, plan.classes
        self.preprocessing, self.threads, self.rng = preprocessing, threads, rng
        self.train = [x for x in train if x.target.mask is not None or len(x.target.classes)]
        self.source, self.adapting = list(plan.source or ()), plan.source is not None
        body = list(network.backbone.parameters())
        known = {id(p) for p in body}
        head = [p for p in network.parameters() if id(p) not in known]
        groups = [{"params": body, "lr": options.lr}, {"params": head, "lr": options.head_lr}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
        self.step = 0
        each = options.iterations if options.iterations is not None else options.epochs
        unit = 1 if options.iterations is not None else self._steps_per_epoch()
        amounts = each if isinstance(each, list) else [each]
        self.steps = unit * amounts[min(plan.round, len(amounts) - 1)]
        listed = unit * (sum(amounts) if isinstance(each, list) else each)
        self.total = listed if options.start == "continue" else self.steps

    def _steps_per_epoch(self) -> int:
        return max(1, math.ceil(len(self.train or self.source) / self.options.train_batch))

    def run(self, progress: Progress) -> None:
        """Train for this round's steps."""
        losses = Losses(self.options, *(self._class_weights(x) for x in (self.train, self.source)))
        scaler = torch.amp.GradScaler(enabled=device() == "cuda")
        self.network.train()
        if self.options.freeze_norm:
            freeze_norms(self.network.backbone)
        side = self.rng.spawn(1)[0]
        of_pool = self._batches(self.train, self.steps, self.rng) if self.train else repeat(None, self.steps)
        of_source = self._batches(self.source, self.steps, side) if self.source else repeat(None, self.steps)
        for done, (own, given) in enumerate(zip(of_pool, of_source, strict=True), start=1):
            share = self._schedule(self.step / max(1, self.total))
            for group, highest in zip(
                self.optimizer.param_groups, (self.options.lr, self.options.head_lr), strict=True
            ):
                group["lr"] = highest * share
            with torch.autocast(device(), enabled=device() == "cuda"):
                loss: Any = torch.zeros((), device=device())
                if own is not None:
                    loss = loss + losses.of_pool(self.network(own[0]), own[1], self.adapting)
                if given is not None:
                    loss = loss + losses.of_source(self.network(given[0]), given[1])
            if not torch.isfinite(loss):
                raise ModelError(f"the training loss is not finite in step {done}: lower model.lr and model.head_lr")
            self.optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            scaler.step(self.optimizer)
            scaler.update()
            self.step += 1
            progress(done, self.steps, "training steps")

    def _schedule(self, share: float) -> float:
        warmup = self.options.warmup
        if share < warmup:
            return 0.04 + 0.96 * share / warmup
        return max(0.0, 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup))))) + 1e-4

    def _batches(
        self, images: Sequence[Labelled], steps: int, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size = min(self.options.train_batch, len(images))
        order: list[Labelled] = []
        while len(order) < steps * size:
            order += [images[i] for i in rng.permutation(len(images))]
        seeds = rng.integers(2**63, size=steps * size)
        items = list(zip(order[: steps * size], seeds.tolist(), strict=True))
        ready: list[tuple[NDArray[np.uint8], Mask]] = []
        for pair in read_ahead(items, self._prepared, threads=self.threads, window=4 * self.threads):
            ready.append(pair)
            if len(ready) == size:
                yield self._tensors(ready)
                ready = []

    def _prepared(self, item: tuple[Labelled, int]) -> tuple[NDArray[np.uint8], Mask]:
        labelled, seed = item
        image = open_image(labelled.sample.path, name=labelled.sample.id)[0]
        to = self.options.size or image.size
        pixels = np.asarray(image if to == image.size else image.resize(to, Image.Resampling.BILINEAR))
        mask = scaled_labels(labelled.target, self.classes, image.size, to)
        if not self.options.augment:
            return pixels, mask
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5:
            pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        return np.clip(pixels * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8), mask

    def _tensors(self, ready: Sequence[tuple[NDArray[np.uint8], Mask]]) -> tuple[Tensor, Tensor]:
        images = padded([pixels for pixels, _ in ready], self.preprocessing)
        labels = np.full((len(ready), *images.shape[-2:]), VOID, np.int64)
        for place, (_, mask) in zip(labels, ready, strict=True):
            inside = place[: mask.shape[0], : mask.shape[1]]
            inside[:] = np.where(mask == void_of(mask), VOID, mask.astype(np.int64))
        return images, torch.from_numpy(labels).to(device())

    def _class_weights(self, images: Sequence[Labelled]) -> Tensor | None:
        """1 / ln(1.02 + share of the labelled pixels), Paszke et al. 2016, ENet, section 4; of many dense masks some
        tell enough."""
        if self.options.class_weights != "enet" or not images:
            return None
        counts = np.zeros(len(self.classes))
        dense = [x for x in images if x.target.mask is not None]
        some = dense[:: max(1, len(dense) // COUNTED)] if images is self.source else images
        for item in some:
            mask = target_mask(item.target, self.classes, item.sample.size)
            counts += np.bincount(mask[mask != void_of(mask)], minlength=len(self.classes))
        share = counts / max(1, counts.sum())
        return torch.tensor(1 / np.log(1.02 + share), dtype=torch.float32, device=device())

    def save(self, out: Path) -> None:
        """Write the network, and the optimiser where the next round goes on with it; nothing is pickled."""
        save_tensors(self.network.state_dict(), out / "network.safetensors", {})
        if self.options.start == "continue":
            save_optimizer(self.optimizer, out)

    def restore(self, checkpoint: Path) -> None:
        """Take over the optimiser and the number of steps of a checkpoint."""
        load_optimizer(self.optimizer, checkpoint)
        self.step = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["step"]
