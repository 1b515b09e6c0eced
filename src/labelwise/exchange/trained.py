"""The model that a run trained: where a round's lies, what it says of samples, and that as targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.config import Config
from labelwise.data.masks import empty_mask, write_mask
from labelwise.errors import RunError
from labelwise.models import Place, Progress
from labelwise.parts import Parts, build, cache_folder, threads_of
from labelwise.records import Prediction, Sample, Target, Task
from labelwise.store import Store


def model_of(config: Config, store: Store, round: int | None = None) -> tuple[int, Path]:
    """A round that trained a model, the last one if none is named, and its checkpoint. Raises RunError if there is
    none."""
    trained = [step.round for step in store.steps() if step.name == "train"]
    for number in sorted(trained, reverse=True):
        path = config.folder / "rounds" / f"{number:03d}" / "checkpoint"
        if round in (None, number) and path.exists():
            return number, path
    if round is None:
        raise RunError(f"{config.folder}: no model is trained yet: finish a round first")
    raise RunError(
        f"{config.folder}: round {round} has no model; rounds with one: {', '.join(map(str, sorted(trained)))}"
    )


def predicted(
    config: Config, store: Store, samples: Sequence[Sample], progress: Progress
) -> Iterator[tuple[Sample, Prediction]]:
    """What the last round's model says about each of the samples, in their order."""
    _, checkpoint = model_of(config, store)
    parts: Parts = build(config)
    place = Place(config.folder / "model", cache_folder(config), threads_of(config), parts.engine)
    try:
        parts.model.prepare(
            store.samples("pool"), [*store.samples("test"), *store.samples("audit")], place=place, progress=progress
        )
        want = frozenset({"boxes"}) if config.task == "detect" else frozenset({"probs"})
        size = max(1, parts.model.batch_size)
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            yield from zip(batch, parts.model.predict(checkpoint, batch, want=want), strict=True)
            progress(start + len(batch), len(samples), "images predicted")
    finally:
        parts.engine.close()


def proposed(
    task: Task, prediction: Prediction, classes: tuple[str, ...], confidence: float, mask: Path
) -> tuple[Target, list[float]]:
    """A prediction as a target, and how sure the model is of each class or box; ``mask`` is where a map is written."""
    if task == "detect":
        assert prediction.boxes is not None
        assert prediction.labels is not None
        assert prediction.confidences is not None
        keep = np.flatnonzero(prediction.confidences >= confidence)
        keep = keep[np.argsort(-prediction.confidences[keep], kind="stable")]
        names = tuple(classes[int(i)] for i in prediction.labels[keep])
        return Target(names, prediction.boxes[keep].astype(float)), prediction.confidences[keep].tolist()
    probs: Any = prediction.probs
    assert probs is not None, prediction.id
    if task == "classify":
        best = int(probs.argmax())
        return Target((classes[best],)), [float(probs[best])]
    values = empty_mask(probs.shape[0], probs.shape[1], len(classes))
    values[:] = probs.argmax(axis=-1)
    write_mask(mask, values)
    return Target(classes, mask=mask), []
