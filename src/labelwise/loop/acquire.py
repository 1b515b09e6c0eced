"""Predict and score as one function per batch, so that a worker returns a few bounded arrays per image and nothing
else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.engine import Engine, Work
from labelwise.errors import SelectionError
from labelwise.models import Model, Want
from labelwise.records import Prediction, Sample
from labelwise.strategies import Recipe, Strategy, assemble

FIELDS = {"probs": "probs", "samples": "samples", "embeddings": "embedding"}
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Acquire:
    """What a worker does with a batch: called once in each worker, gives the function from samples to rows.

    ``want`` is what the model must predict, ``keep`` what of it leaves the worker beside the scores of ``recipe``.
    """

    model: Model
    checkpoint: Path | None
    recipe: Recipe | None
    want: Want
    keep: frozenset[str]

    def __call__(self) -> Work:
        return partial(self._rows, assemble(self.recipe) if self.recipe else None)

    def _rows(self, strategy: Strategy | None, samples: Sequence[Sample]) -> list[Mapping[str, Any]]:
        stream = self.model.predict(self.checkpoint, samples, want=self.want)
        if strategy is not None and strategy.recipe.reduce is not None and self.keep <= {"embeddings"}:
            return [_of_maps(strategy, stream, samples, self.keep)]
        predictions = list(stream)
        arrays = {name: _stacked(predictions, FIELDS[name]) for name in self.want}
        kept = {name: arrays[name] for name in self.keep}
        scores = strategy.score(arrays) if strategy else None
        if scores is not None:
            _check_finite(scores, samples)
            kept["scores"] = scores
        # One row holds a whole batch: rows of single images would cost more than the arithmetic.
        return [kept]


def acquire(
    engine: Engine,
    model: Model,
    checkpoint: Path | None,
    samples: Sequence[Sample],
    *,
    strategy: Strategy | None = None,
    keep: frozenset[str],
) -> Outputs:
    """The kept outputs of all samples, ``(N, ...)`` each, in the order of the samples; "scores" if the strategy has a
    score."""
    needs = strategy.needs if strategy else frozenset()
    if not needs | keep:
        return {}
    work = Acquire(model, checkpoint, strategy.recipe if strategy else None, needs | keep, keep)
    parts = list(engine.map_batches(work, samples, batch_size=model.batch_size))
    outputs = {name: np.concatenate([p[name] for p in parts]) for name in (parts[0] if parts else ())}
    if strategy and "scores" in outputs:
        outputs["scores"] = strategy.finish(outputs["scores"])
    return outputs


def _of_maps(
    strategy: Strategy, stream: Iterator[Prediction], samples: Sequence[Sample], keep: frozenset[str]
) -> Mapping[str, Any]:
    """Images of pixels: of different sizes, and the map of one is enough in memory."""
    values, vectors = [], []
    for found in stream:
        values.append(strategy.score_prediction(found))
        if keep:
            vectors.append(_stacked([found], "embedding"))
    scores = np.array(values, dtype=np.float64)
    _check_finite(scores, samples)
    return {"scores": scores} | ({"embeddings": np.concatenate(vectors)} if keep else {})


def _stacked(predictions: Sequence[Prediction], field: str) -> NDArray[Any]:
    values = [getattr(p, field) for p in predictions]
    if field == "embedding":  # of a map (h, w, d) its mean is the image's vector
        values = [v.mean(axis=(0, 1)) if v.ndim == 3 else v for v in values]
    # The axis of stochastic passes stays in front: (S, N, C).
    return np.stack(values, axis=1 if field == "samples" else 0)


def _check_finite(scores: NDArray[Any], samples: Sequence[Sample]) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise SelectionError(
            f"the score of {samples[bad[0]].id} is not a finite number ({len(bad)} such images): "
            f"look at the score function and the image"
        )
