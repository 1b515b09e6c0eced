"""What can be written for other tools: a dataset, what is labelled in a run, or what its model says of the rest."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelwise import catalog
from labelwise.config import Config
from labelwise.data.guess import guess
from labelwise.data.masks import merged
from labelwise.data.roles import Split
from labelwise.errors import RunError
from labelwise.evaluate.abstaining import UNKNOWN, answered
from labelwise.exchange.trained import predicted, proposed
from labelwise.models import Progress
from labelwise.records import Sample, Target, Task
from labelwise.store import Store


@dataclass(frozen=True)
class Content:
    """What is to be written; ``confidences`` say by id how sure a model is of each class or box."""

    task: Task
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    confidences: Mapping[str, Sequence[float]] | None = None


def of_dataset(source: Path, format: str | None) -> Content:
    """A dataset as its reader gives it; what the reader left out is counted."""
    path, options = source, {}
    if format is None:
        found = guess(source)
        path, format, options = found.path, found.format, {} if found.cameras else dict(found.options)
    listing = catalog.resolve("data", format)(path, **options)
    codes = Counter(problem.code for problem in listing.problems)
    first = {problem.code: problem.message for problem in reversed(listing.problems)}
    notes = tuple(f"read with {code}: {count:,}, e.g. {first[code]}" for code, count in sorted(codes.items()))
    return Content(_task_of(listing.samples), listing.samples, listing.classes, notes)


def _task_of(samples: Sequence[Sample]) -> Task:
    target = next((s.target for s in samples if s.target is not None), None)
    if target is None or (target.geometry is None and target.mask is None):
        return "classify"
    return "detect" if target.geometry is not None and target.geometry.shape[1] == 4 else "segment"


def labelled(config: Config, store: Store) -> Content:
    """All that is labelled: the answers of people (the audit sample is for testing), and the test split's truth."""
    by_id = {sample.id: sample for sample in store.samples()}
    samples = []
    splits: tuple[tuple[str, Split], ...] = (("train", "pool"), ("audit", "test"))
    for purpose, split in splits:
        answers: dict[str, list[Target]] = {}
        for id, target in store.answered(purpose):
            answers.setdefault(id, []).append(target)
        samples += [replace(by_id[id], target=merged(targets), split=split) for id, targets in answers.items()]
    samples += [replace(sample, split="test") for sample in store.samples("test") if sample.target is not None]
    if not samples:
        raise RunError(f"{store.path.parent}: nothing is labelled yet; answer some queries first")
    return Content(config.task, samples, _classes(store, samples))


def _classes(store: Store, samples: Iterable[Sample]) -> tuple[str, ...]:
    """The run's classes, and those of answers that its round has not taken over yet."""
    new = {name for sample in samples if sample.target is not None for name in sample.target.classes}
    known = store.classes()
    return (*known, *sorted(new - set(known)))


@contextmanager
def predictions(config: Config, store: Store, confidence: float, progress: Progress) -> Iterator[Content]:
    """What the last model says about the images of the pool that nobody labelled; masks lie in a folder for a while."""
    samples = _unlabelled(store)
    classes = store.classes()
    confidences: dict[str, Sequence[float]] = {}
    told = []
    with tempfile.TemporaryDirectory(prefix="labelwise-") as folder:
        for done, (sample, prediction) in enumerate(predicted(config, store, samples, progress), start=1):
            target, sure = proposed(config.task, prediction, classes, confidence, Path(folder) / f"{done}.png")
            if config.task == "classify" and not answered(np.array([sure]), config.threshold)[0]:
                target = Target((UNKNOWN,))
            told.append(replace(sample, target=target, split=None))
            confidences[sample.id] = sure
        if config.threshold > 0:
            classes = tuple(dict.fromkeys((*classes, UNKNOWN)))
        yield Content(config.task, told, classes, (), None if config.task == "segment" else confidences)


def _unlabelled(store: Store) -> list[Sample]:
    """The images of the pool without an answer."""
    known = {id for id, _ in store.answered()}
    return [sample for sample in store.samples("pool") if sample.id not in known]
