"""Training a backbone without labels: epochs that are kept as they are done, and go on where they stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.embedding.backbone import NetworkSpec, Preprocessing, create_network, device, feature_length, fingerprint
from labelwise.embedding.selfsup import state
from labelwise.embedding.selfsup.methods import METHODS, Room, make_learner, make_views
from labelwise.embedding.selfsup.settings import Settings, notes
from labelwise.embedding.selfsup.views import Batches, Views, batches_of
from labelwise.errors import DataError, ModelError
from labelwise.ownership import open_explained, owned
from labelwise.records import Sample

Progress = Callable[[int, int, str], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A trained backbone: the file with its weights, and the mean loss of each epoch."""

    weights: Path
    losses: tuple[float, ...]


def train_backbone(
    samples: Sequence[Sample],
    spec: NetworkSpec,
    preprocessing: Preprocessing,
    settings: Settings,
    folder: Path,
    *,
    workers: int = 0,
    progress: Progress,
    tell: Tell,
) -> Trained:
    """Train a timm network on scanned images, by the order of their ids, and write its weights into ``folder``.

    Called again it continues after the last whole epoch, with the result an uninterrupted training would have had (on
    the CPU, to the last bit). ``workers`` processes make the views; 0 makes them in this one. Nobody's random state is
    touched. Raises DataError for fewer than two images, RunChanged for a folder with another training, ModelError if
    the loss is no longer a number.
    """
    import torch

    if len(samples) < 2:
        raise DataError(
            f"expected two images or more to train on, found {len(samples)}: add images or leave out --train"
        )
    start = {"backbone": spec.name, "size": preprocessing.size, "start": fingerprint(spec, preprocessing)}
    about = state.describe(settings.as_dict(), start, samples)
    with owned(folder), open_explained(folder), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if before := state.begin(folder, about):
            tell(_finished(folder, before, len(samples)))
            return Trained(folder / state.BACKBONE, state.read_losses(folder))
        for note in notes(settings, len(samples)):
            tell(note)
        run = _Run(samples, spec, preprocessing, settings, folder, workers)
        losses = run.train(progress, tell)
        return Trained(state.save_backbone(folder, run.learner.backbone), losses)


class _Run:
    """One training in this process: the learner, its optimiser and its schedule."""

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: NetworkSpec,
        preprocessing: Preprocessing,
        settings: Settings,
        folder: Path,
        workers: int,
    ) -> None:
        import torch

        self.settings, self.folder, self.workers = settings, folder, workers
        network = create_network(spec, num_classes=0, size=preprocessing.size)
        room = Room(feature_length(network), settings.width, len(samples))
        torch.manual_seed(settings.seed)
        self.learner = make_learner(settings.method, network, room, settings.loss).to(device())
        make = make_views(settings.method, preprocessing, settings.views, crops=not _one_size(network))
        self.views = Views(samples, make, settings.seed)
        trained = [p for p in self.learner.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr)

    def train(self, progress: Progress, tell: Tell) -> tuple[float, ...]:
        """Train what is left of the epochs; returns the mean loss of each."""
        settings = self.settings
        done = state.restore(self.folder, self.learner, self.optimizer)
        keys = Batches(len(self.views), settings.train_batch, settings.seed, done.epochs, settings.epochs)
        total = keys.steps * settings.epochs
        if done.epochs:
            tell(f"continuing after epoch {done.epochs} of {settings.epochs}")
        progress(keys.steps * done.epochs, total, "training")
        batches = batches_of(self.views, keys, workers=self.workers)
        self.learner.train()
        for epoch in range(done.epochs, settings.epochs):
            begun = time.monotonic()
            loss = self._epoch(epoch, keys.steps, batches, lambda step: progress(step, total, "training"))
            done = state.Progressed(epoch + 1, (*done.losses, loss))
            state.save(self.folder, self.learner, self.optimizer, done)
            tell(f"epoch {epoch + 1} of {settings.epochs}: loss {loss:.4f} ({time.monotonic() - begun:.0f} s)")
        self.learner.eval()
        return done.losses

    def _epoch(self, epoch: int, steps: int, batches: Iterator[list[Any]], stepped: Callable[[int], None]) -> float:
        import torch

        settings, method = self.settings, METHODS[self.settings.method]
        # What the network draws, such as dropped paths, depends on the epoch alone: that is all a resumed one needs.
        torch.manual_seed(settings.seed * 1_000_003 + epoch)
        sum_of_losses = 0.0
        for step in range(epoch * steps, (epoch + 1) * steps):
            share = step / (settings.epochs * steps)
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * _schedule(share, settings.warmup)
            loss = method.step(self.learner, [view.to(device(), non_blocking=True) for view in next(batches)])
            value = float(loss.detach())
            if not math.isfinite(value):
                raise ModelError(
                    f"the loss of {settings.method} is {value} in epoch {epoch + 1}: "
                    f"give a lower lr (now {settings.lr})"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 3.0)
            self.optimizer.step()
            if method.teacher:
                self.learner.follow(1 - (1 - settings.momentum) * (math.cos(math.pi * share) + 1) / 2)
            sum_of_losses += value
            stepped(step + 1)
        return sum_of_losses / steps


def _schedule(share: float, warmup: float) -> float:
    if share < warmup:
        return (share + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _one_size(network: Any) -> bool:
    return bool((getattr(network, "pretrained_cfg", None) or {}).get("fixed_input_size"))


def _finished(folder: Path, before: Any, images: int) -> str:
    count = before["images"]["count"]
    again = "" if count == images else f", on {count} of now {images} images or others"
    return f"trained already{again}: {folder / state.BACKBONE}"
