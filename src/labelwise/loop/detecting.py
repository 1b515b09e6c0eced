"""What a detector finds in many images: predicted once, kept on the disk batch by batch, and read as rows of objects.

A process killed in the middle predicts only what is missing. Whole predictions are held for one batch at a time; of
each image stay its score and, where the selection asks for them, its objects.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.engine import Work
from labelwise.loop.acquire import acquire
from labelwise.loop.context import Context
from labelwise.loop.difficulty import calibrated
from labelwise.models import Model, Want
from labelwise.models.mirrored import predicted
from labelwise.records import Labelled, Prediction, Sample, Target
from labelwise.scoring.images import found_nothing
from labelwise.strategies import Strategy

_ARRAYS = ("boxes", "labels", "confidences", "probs", "embedding", "flipped")  # of a prediction, one entry a box
_OBJECTS = frozenset({"objects", "owners", "object_labels", "object_scores"})
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Detect:
    """What a worker does with a batch of images: predict their boxes."""

    model: Model
    checkpoint: Path
    want: Want

    def __call__(self) -> Work:
        return self._predictions

    def _predictions(self, samples: Sequence[Sample]) -> list[Prediction]:
        return list(predicted(self.model, self.checkpoint, samples, self.want))


def detections(
    context: Context, folder: Path, checkpoint: Path, samples: Sequence[Sample], want: Want
) -> Iterator[Prediction]:
    """A prediction for each sample, in any order: those that ``folder`` holds, and the others, which go there.

    What is wanted must be the same for all calls with one folder.
    """
    missing = {s.id: s for s in samples}
    shards = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    for shard in shards:
        for prediction in _read(shard):
            if missing.pop(prediction.id, None) is not None:
                yield prediction
    model, done = context.parts.model, len(samples) - len(missing)
    work = Detect(model, checkpoint, want)
    found = context.parts.engine.map_batches(work, list(missing.values()), batch_size=model.batch_size)
    number, held = len(shards), list[Prediction]()
    for count, prediction in enumerate(chain(found, [None]), start=done):
        held += [] if prediction is None else [prediction]
        if held and (prediction is None or len(held) == model.batch_size):
            _write(folder / f"{number:06d}.npz", held)
            number += 1
            yield from held
            held = []
        context.progress(min(count + 1, len(samples)), len(samples), "images looked through")


def _write(path: Path, predictions: Sequence[Prediction]) -> None:
    """Predictions of a batch in one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.array([p.id for p in predictions], dtype=np.str_),
        "counts": np.array([0 if p.boxes is None else len(p.boxes) for p in predictions]),
        "independent": np.array([p.independent for p in predictions]),
    }
    for name in _ARRAYS:
        values = [getattr(p, name) for p in predictions]
        if all(v is not None for v in values):
            some = [v for v in values if len(v)] or values[:1]  # what is empty may not know its length
            arrays[name] = np.concatenate(some)
    beside = path.with_suffix(".partial")
    with beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    beside.replace(path)


def _read(path: Path) -> Iterator[Prediction]:
    with np.load(path, allow_pickle=False) as stored:
        ids, counts, independent = (stored[name] for name in ("ids", "counts", "independent"))
        arrays = {name: stored[name] for name in _ARRAYS if name in stored.files}
    ends = np.cumsum(counts)
    for id, start, end, alone in zip(ids.tolist(), ends - counts, ends, independent.tolist(), strict=True):
        yield Prediction(id, independent=alone, **{name: values[start:end] for name, values in arrays.items()})


def prediction_folder(context: Context, round: int) -> Path:
    """Where the predictions for a round's choice lie until it is made."""
    return context.folder(round) / "predictions"


def forget(context: Context, round: int) -> None:
    """Remove the predictions of a round: of the images asked the proposals are kept, of the others nothing."""
    shutil.rmtree(prediction_folder(context, round), ignore_errors=True)


def look(
    context: Context,
    round: int,
    checkpoint: Path | None,
    strategy: Strategy,
    samples: Sequence[Sample],
    candidates: Rows,
    labelled: Sequence[Labelled],
) -> dict[str, NDArray[Any]]:
    """What the selection asks for, by its words, over all ``samples``; rows of ``candidates`` are scored."""
    arrays: dict[str, NDArray[Any]] = {}
    model, engine = context.parts.model, context.parts.engine
    if "embeddings" in strategy.needs:
        arrays |= acquire(engine, model, checkpoint, samples, keep=frozenset({"embeddings"}))
    if checkpoint is None or not strategy.needs - {"embeddings"}:
        return arrays
    row_of, want = {s.id: i for i, s in enumerate(samples)}, _want(strategy)
    find = partial(detections, context, prediction_folder(context, round), checkpoint, want=want)
    strategy = calibrated(context, round, strategy, find)
    # Faint boxes are no objects where the selection does not weigh them by their confidence.
    objects = _Objects(row_of, 0.0 if "object_scores" in strategy.uses else context.config.shown)
    stream = find([samples[i] for i in candidates])
    empty = np.zeros(len(samples), dtype=bool)
    passing = _passing(stream, strategy, objects, empty, row_of)
    if strategy.recipe.score is None:
        for _ in passing:
            pass
    else:
        scored = strategy.score_stream(passing, context.store.classes())
        arrays["scores"] = np.full(len(samples), np.nan)
        arrays["scores"][[row_of[id] for id in scored.ids]] = scored.values
    arrays["empty"] = empty
    if "objects" in strategy.uses:
        for prediction in find([x.sample for x in labelled]):
            objects.add(prediction)
    elif strategy.uses & _OBJECTS:
        objects.add_known(labelled, context.store.classes())
    return arrays | (objects.arrays() if strategy.uses & _OBJECTS else {})


def _want(strategy: Strategy) -> Want:
    """What is asked of the model for boxes; its vectors of boxes and of images are asked for apart."""
    return (strategy.needs | {"boxes"}) - {"embeddings"}


def _passing(
    stream: Iterable[Prediction],
    strategy: Strategy,
    objects: _Objects,
    empty: NDArray[np.bool_],
    row_of: Mapping[str, int],
) -> Iterator[Prediction]:
    """The stream; what the selection needs of each prediction is kept as it passes."""
    for prediction in stream:
        empty[row_of[prediction.id]] = found_nothing(prediction, strategy.recipe.shown)
        if strategy.uses & _OBJECTS:
            objects.add(prediction)
        yield prediction


@dataclass
class _Objects:
    """Objects of images as they come by; ``least`` is the confidence from which a box is one."""

    row_of: Mapping[str, int]
    least: float
    parts: dict[int, dict[str, NDArray[Any]]] = field(default_factory=dict)

    def add(self, prediction: Prediction) -> None:
        """Take the objects of a prediction."""
        assert prediction.confidences is not None
        keep = prediction.confidences >= self.least
        part = {"object_labels": prediction.labels, "object_scores": prediction.confidences}
        if prediction.embedding is not None and prediction.embedding.ndim == 2:
            part["objects"] = prediction.embedding
        found = {name: values[keep] for name, values in part.items() if values is not None}
        self.parts[self.row_of[prediction.id]] = found

    def add_known(self, labelled: Sequence[Labelled], classes: Sequence[str]) -> None:
        """Take the true objects of labelled images, where no vectors are asked for."""
        index = {name: i for i, name in enumerate(classes)}
        for item in labelled:
            labels = np.array([index[name] for name in item.target.classes], dtype=np.int64)
            self.parts[self.row_of[item.sample.id]] = {"object_labels": labels, "object_scores": np.ones(len(labels))}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All objects, image after image in the order of their rows."""
        order = sorted(self.parts)
        counts = [len(self.parts[row]["object_labels"]) for row in order]
        found: dict[str, NDArray[Any]] = {"owners": np.array(order, dtype=np.int64).repeat(counts)}
        for name, kind in (("object_labels", np.int64), ("object_scores", np.float64), ("objects", np.float32)):
            values = [self.parts[row][name] for row in order if name in self.parts[row]]
            some = [v for v in values if len(v)] or values[:1]
            if some:
                found[name] = np.concatenate(some).astype(kind)
        return found


def proposals(
    context: Context, round: int, checkpoint: Path | None, strategy: Strategy, samples: Sequence[Sample]
) -> dict[str, Target]:
    """The boxes to propose for images that are asked: those shown, under the names of their classes."""
    if checkpoint is None:
        return {}
    classes = context.store.classes()
    stream = detections(context, prediction_folder(context, round), checkpoint, samples, _want(strategy))
    return {p.id: shown_boxes(p, context.config.shown, classes) for p in stream}


def shown_boxes(prediction: Prediction, least: float, classes: Sequence[str]) -> Target:
    """The boxes of a prediction that are at least so sure, as a target."""
    assert prediction.boxes is not None
    assert prediction.labels is not None
    assert prediction.confidences is not None
    keep = prediction.confidences >= least
    # A tenth of a pixel is more than anybody sees.
    boxes = np.asarray(prediction.boxes[keep], dtype=np.float64).round(1)
    return Target(tuple(classes[i] for i in prediction.labels[keep]), boxes)
