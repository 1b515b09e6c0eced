"""What every step of the loop works with, and what it reads of the run's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelwise.config import Config
from labelwise.data.masks import merged
from labelwise.models import Progress
from labelwise.parts import Parts
from labelwise.records import Labelled, Sample, Target
from labelwise.store import STEPS, Store


@dataclass
class Context:
    """A run at work. ``tell`` gets a line when something is worth saying, ``progress`` follows long work."""

    config: Config
    parts: Parts
    store: Store
    progress: Progress
    tell: Callable[[str], None]
    by_id: Mapping[str, Sample]

    def rng(self, round: int, step: str) -> np.random.Generator:
        """The step's own random numbers."""
        return np.random.default_rng([self.config.seed, round, STEPS.index(step)])

    def folder(self, round: int) -> Path:
        """The round's folder."""
        return self.config.folder / "rounds" / f"{round:03d}"


def labelled_images(context: Context, purpose: str = "train") -> list[Labelled]:
    """The labelled images of a purpose in the order they were first asked, each with all its answers as one target."""
    answers: dict[str, list[Target]] = {}
    for sample, target in context.store.answered(purpose):
        answers.setdefault(sample, []).append(target)
    return [Labelled(context.by_id[sample], merged(targets)) for sample, targets in answers.items()]


def last_checkpoint(context: Context, before: int) -> Path | None:
    """The checkpoint of the last round before ``before`` that trained a model."""
    for round in range(before - 1, -1, -1):
        path = context.folder(round) / "checkpoint"
        if path.exists() and context.store.is_done(round, "train"):
            return path
    return None
