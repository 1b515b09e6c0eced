"""How hard each class is for the model, measured on labelled images, and the weights that strategies take from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labelwise.boxes import overlaps
from labelwise.loop.context import Context, labelled_images
from labelwise.loop.train import set_apart
from labelwise.records import Labelled, Prediction, Sample
from labelwise.strategies import Strategy, assemble

XI = 0.6  # exponent of the probability in a detection's quality, 1 - XI that of its overlap


def calibrated(
    context: Context, round: int, strategy: Strategy, find: Callable[[Sequence[Sample]], Iterable[Prediction]]
) -> Strategy:
    """The strategy with weights by class where it asks for class_weights "difficulty"; else as it is.

    The difficulty is 1 - the quality on the labelled images set apart for validation; for a class without a box there,
    on all labelled images; 1 for a class without any. ``find`` predicts; images of the pool have no part in it.
    """
    if strategy.recipe.class_weights != "difficulty":
        return strategy
    from labelwise.scoring.difficulty import class_weights  # torch

    labelled, classes = labelled_images(context), context.store.classes()
    held = set_apart(context, round - 1, labelled)
    quality = class_quality(find([x.sample for x in held]), held, classes)
    if np.isnan(quality).any():
        own = {x.sample.id for x in held}
        others = [x for x in labelled if x.sample.id not in own]
        quality = np.where(np.isnan(quality), class_quality(find([x.sample for x in others]), others, classes), quality)
    difficulty = 1 - np.nan_to_num(quality, nan=0.0)
    weights = class_weights(difficulty.clip(0, 1).tolist())
    told = ", ".join(f"{name} {d:.2f}" for name, d in zip(classes, difficulty, strict=True))
    if not context.store.queries(round):  # once a round, also where it chooses several times
        context.tell(f"round {round}: difficulty of classes, 0 to 1: {told}")
    return assemble(replace(strategy.recipe, class_weights=dict(zip(classes, weights, strict=True))))


def class_quality(
    predictions: Iterable[Prediction], truths: Sequence[Labelled], classes: Sequence[str]
) -> NDArray[np.float64]:
    """How well the true boxes of each class are found, 0 to 1 ``(C,)``; NaN for a class without a true box.

    Of each true box: the highest p^0.6 * overlap^0.4 over the predicted boxes, p the probability of the true class,
    overlap the intersection over union. After Yang, Huang & Crowley 2024 (PPAL), section 3.2, in training.
    """
    index = {name: i for i, name in enumerate(classes)}
    by_id = {x.sample.id: x.target for x in truths}
    total, count = np.zeros(len(classes)), np.zeros(len(classes))
    for p in predictions:
        target = by_id[p.id]
        if target.geometry is None or not len(target.classes):
            continue
        labels = np.array([index[name] for name in target.classes])
        best = np.zeros(len(labels))
        if p.boxes is not None and len(p.boxes):
            overlap = overlaps(target.geometry[:, None].astype(float), p.boxes[None].astype(float))
            quality = _probability(p, labels, len(classes)) ** XI * overlap ** (1 - XI)
            best = quality.max(axis=1)
        total += np.bincount(labels, best, minlength=len(classes))
        count += np.bincount(labels, minlength=len(classes))
    return np.asarray(np.divide(total, count, out=np.full(len(classes), np.nan), where=count > 0))


def _probability(p: Prediction, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """The probability ``(true boxes, predicted boxes)`` that each predicted box has for the class of each true one."""
    assert p.boxes is not None
    full: NDArray[np.float64] = np.zeros((len(p.boxes), classes))
    if p.probs is not None:
        full[:, : p.probs.shape[1]] = p.probs
    elif p.labels is not None and p.confidences is not None:
        full[np.arange(len(full)), p.labels] = p.confidences
    return np.asarray(full[:, labels].T.clip(0, 1), dtype=np.float64)
