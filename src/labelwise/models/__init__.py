"""What learns from labels. One file per framework; a model speaks records only, so that the loop knows no framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from labelwise.engine import Engine
from labelwise.engine import Progress as Progress
from labelwise.engine.local import Local
from labelwise.records import Labelled, Prediction, Sample, Task

Want = frozenset[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model keeps things: ``home`` in the run's folder, ``cache`` shared by all runs; the threads it may use,
    and the engine for what it prepares in batches."""

    home: Path
    cache: Path
    threads: int
    engine: Engine = field(default_factory=Local)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training must know beside its data: the class axis, and the round.

    ``source`` is a labelled set beside the pool to learn from as well (domain adaptation): None where there is none,
    empty in rounds that leave it out. Models that can are told by an attribute ``adapts`` that is True.
    """

    classes: tuple[str, ...]
    round: int
    source: tuple[Labelled, ...] | None = None


class Model(Protocol):
    """The seam between the loop and a framework.

    A model that needs no labels (a zero-shot detector) says so with an attribute ``needs_labels = False``: its ``fit``
    is then called without any before round 0, and writes what it needs, such as the classes.

    ``provides`` is a subset of {"probs", "samples", "embeddings", "boxes", "objects", "reconstruction"}; "objects"
    are vectors of boxes. ``validation`` is the share of the labelled
    images it wants apart for early stopping (0: none), ``batch_size`` how many images one call of ``predict`` gets.
    A model may also have ``judged(checkpoint, round, figures)``: it is told what each round's checkpoint achieved, by
    split, once at least.
    """

    @property
    def tasks(self) -> frozenset[Task]: ...
    @property
    def provides(self) -> frozenset[str]: ...
    @property
    def validation(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def start(self) -> Literal["scratch", "previous", "continue"]: ...

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Do once what every round needs (compute features, look at weights); called before anything else.

        ``others`` are the test and audit images: they may be read, but nothing may be learnt from them.
        """
        ...

    def fit(
        self,
        train: Sequence[Labelled],
        val: Sequence[Labelled],
        *,
        out: Path,
        start: Path | None,
        plan: Plan,
        seed: int,
        progress: Progress,
    ) -> Path:
        """Train on the labelled images and write a checkpoint to ``out``; ``start`` is the last round's, if there is
        one."""
        ...

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Predictions in the order of the samples, holding what is wanted; without a checkpoint only embeddings can be
        had."""
        ...


def provided_by(model: Model) -> frozenset[str]:
    """All that can be had from a model: a detector that looks at pictures can also be shown mirrored ones.

    An attribute ``looks = False`` says that a model sees no picture (predictions from a file).
    """
    mirrored = {"boxes", "probs"} <= model.provides and getattr(model, "looks", True)
    return model.provides | ({"flipped"} if mirrored else frozenset())


def samples_of(passes: int, dropout: bool) -> frozenset[str]:
    """ "samples" where MC-dropout tells passes apart: several of them, with something to drop."""
    return frozenset({"samples"}) if passes > 1 and dropout else frozenset()


def knows_already(model: Model) -> bool:
    """True if a model needs no labels: it says something before round 0."""
    return getattr(model, "needs_labels", True) is False
