"""Training a network on labelled images: epochs, early stopping, temperature, and its state without a pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelwise.embedding.backbone import Preprocessing, device, read_pixels, save_tensors, to_input
from labelwise.errors import ModelError
from labelwise.models import Progress
from labelwise.models.heads import fit_temperature
from labelwise.records import Labelled

if TYPE_CHECKING:
    from labelwise.models.finetune import Finetune

EVAL_BATCH = 32


def load_weights(network: Any, checkpoint: Path, classes: int) -> None:
    """Load a checkpoint; classes added since then keep the fresh rows of the new classifier."""
    from safetensors.torch import load_file

    state = load_file(checkpoint / "network.safetensors")
    own = network.state_dict()
    for name, value in state.items():
        if value.shape != own[name].shape:
            if value.shape[1:] != own[name].shape[1:] or len(value) > len(own[name]):
                raise ModelError(
                    f"{checkpoint} does not fit the network: {name} has shape {tuple(value.shape)}, expected "
                    f"{tuple(own[name].shape)}"
                )
            grown = own[name].clone()
            grown[: len(value)] = value
            state[name] = grown
    network.load_state_dict(state)


def batches(items: Sequence[Any], pixels: Iterator[Any], size: int) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Items and their pixels, ``size`` at a time."""
    for first in range(0, len(items), size):
        batch = items[first : first + size]
        yield batch, [next(pixels) for _ in batch]


class Training:
    """One training: network, optimiser, schedule and the best epoch so far."""

    def __init__(
        self,
        options: Finetune,
        network: Any,
        train: Sequence[Labelled],
        val: Sequence[Labelled],
        classes: tuple[str, ...],
        *,
        preprocessing: Preprocessing,
        threads: int,
        rng: np.random.Generator,
    ) -> None:
        import torch

        self.options, self.network, self.train, self.val = options, network, train, val
        self.classes, self.preprocessing, self.threads, self.rng = classes, preprocessing, threads, rng
        head = list(network.get_classifier().parameters())
        body = [p for p in network.parameters() if all(p is not q for q in head)]
        groups = [{"params": body, "lr": options.lr}, {"params": head, "lr": options.head_lr}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
        self.first_epoch = 0
        self.temperature = 1.0

    def run(self, progress: Progress) -> None:
        """Train, keep the weights of the best validation epoch, and fit the temperature."""
        import torch

        options = self.options
        scaler = torch.amp.GradScaler(enabled=device() == "cuda")
        best, best_loss, since = None, math.inf, 0
        for epoch in range(options.epochs):
            self._epoch(epoch, scaler)
            progress(epoch + 1, options.epochs, "epochs")
            if not self.val:
                continue
            logits, labels = self._validate()
            loss = float(torch.nn.functional.cross_entropy(logits, labels))
            if not math.isfinite(loss):
                raise ModelError(
                    f"the validation loss is not finite in epoch {epoch}: lower model.lr (now {options.lr})"
                )
            since = 0 if loss < best_loss else since + 1
            if since == 0:
                best, best_loss = {k: v.clone() for k, v in self.network.state_dict().items()}, loss
            elif since >= options.patience:
                break
        if best is not None:
            self.network.load_state_dict(best)
            logits, labels = self._validate()
            self.temperature = fit_temperature(logits.numpy(), labels.numpy())

    def _epoch(self, epoch: int, scaler: Any) -> None:
        import torch

        options = self.options
        self.network.train()
        freeze = options.freeze_norm if options.freeze_norm is not None else options.weights != "none"
        if freeze or len(self.train) == 1:  # one image has no variance to normalise by
            freeze_norms(self.network)
        order = [self.train[i] for i in self.rng.permutation(len(self.train))]
        pixels = read_pixels([x.sample for x in order], self.preprocessing.pixels, threads=self.threads)
        steps = math.ceil(len(order) / options.train_batch)
        # Batches of nearly one size: a last one of a single image would have no variance to normalise by.
        for step, (batch, images) in enumerate(batches(order, pixels, math.ceil(len(order) / steps))):
            share = self._schedule((epoch * steps + step) / (options.epochs * steps))
            for group, highest in zip(self.optimizer.param_groups, (options.lr, options.head_lr), strict=True):
                group["lr"] = highest * share
            inputs = to_input(
                [augmented(p, self.rng) if options.augment else p for p in images], self.preprocessing, device()
            )
            labels = self._labels(batch).to(device())
            with torch.autocast(device(), enabled=device() == "cuda"):
                pooled = self.network.forward_head(self.network.forward_features(inputs), pre_logits=True)
                pooled = torch.nn.functional.dropout(pooled, options.dropout)
                loss = torch.nn.functional.cross_entropy(self.network.get_classifier()(pooled), labels)
            self.optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            scaler.step(self.optimizer)
            scaler.update()

    def _schedule(self, share: float) -> float:
        warmup = self.options.warmup if self.first_epoch == 0 else 0.0
        if share < warmup:
            return (share + 1e-3) / warmup
        falling = 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
        # A training that continues goes on at the low end of its schedule instead of beginning it again.
        return falling if self.first_epoch == 0 else 0.1 + 0.1 * falling

    def _validate(self) -> tuple[Any, Any]:
        import torch

        self.network.eval()
        logits = []
        with torch.inference_mode():
            pixels = read_pixels([x.sample for x in self.val], self.preprocessing.pixels, threads=self.threads)
            for _, images in batches(self.val, pixels, EVAL_BATCH):
                logits.append(self.network(to_input(images, self.preprocessing, device())).float().cpu())
        return torch.cat(logits), self._labels(self.val)

    def _labels(self, batch: Sequence[Labelled]) -> Any:
        import torch

        return torch.tensor([self.classes.index(x.target.classes[0]) for x in batch])

    def save(self, out: Path) -> None:
        """Write network, optimiser and what is needed to use them; nothing is pickled."""
        save_tensors(self.network.state_dict(), out / "network.safetensors", {})
        if self.options.start == "continue":
            save_optimizer(self.optimizer, out)
        about = {
            "classes": self.classes,
            "backbone": self.options.backbone,
            "temperature": self.temperature,
            "epochs": self.first_epoch + self.options.epochs,
        }
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")

    def restore(self, checkpoint: Path) -> None:
        """Take over the optimiser and the number of epochs of a checkpoint."""
        load_optimizer(self.optimizer, checkpoint)
        self.first_epoch = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["epochs"]


def save_optimizer(optimizer: Any, out: Path) -> None:
    """Write an optimiser's moments into a checkpoint."""
    state = optimizer.state_dict()["state"]
    flat = {f"{i}.{k}": v for i, values in state.items() for k, v in values.items()}
    save_tensors(flat, out / "optimizer.safetensors", {})


def load_optimizer(optimizer: Any, checkpoint: Path) -> None:
    """Take over an optimiser's moments from a checkpoint, wherever they still fit."""
    from safetensors.torch import load_file

    state: dict[int, dict[str, Any]] = {}
    for name, value in load_file(checkpoint / "optimizer.safetensors").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    # A classifier that grew by a class has new shapes: its moments begin anew.
    fitting = {i: s for i, s in state.items() if s["exp_avg"].shape == parameters[i].shape}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": fitting})


def freeze_norms(network: Any) -> None:
    """Let batch normalisation keep the statistics it has."""
    import torch

    # Running statistics of small labelled sets are worse than those the weights came with.
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def augmented(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random flip, a shift by at most an eighth, and brightness within 20 %."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    size = pixels.shape[0]
    reach = size // 8
    top, left = rng.integers(0, 2 * reach + 1, 2)
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    shifted = padded[top : top + size, left : left + size]
    return np.asarray(np.clip(shifted * rng.uniform(0.8, 1.2), 0, 255), np.uint8)
