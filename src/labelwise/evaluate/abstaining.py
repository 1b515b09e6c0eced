"""A classifier that may say "unknown": what a threshold costs and buys; and a round's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError
from labelwise.records import Floats

Ints = NDArray[np.integer[Any]]
UNKNOWN = "unknown"  # what is written for a prediction below the threshold
STEPS = 100  # thresholds of a curve lie 1 / STEPS apart


def answered(probs: Floats, threshold: float) -> Any:
    """Which predictions ``(n, C)`` are sure enough to be told, ``(n,)``: the highest probability reaches the threshold.

    Half a millionth is forgiven, for a probability that was rounded on its way. Raises DataError unless the threshold
    lies in 0..1.
    """
    return np.asarray(probs).max(axis=1) >= checked_threshold(threshold) - 5e-7


def checked_threshold(threshold: float) -> float:
    """The threshold, if it lies in 0..1. Raises DataError otherwise."""
    if not 0 <= threshold <= 1:
        raise DataError(f"a threshold lies between 0 and 1, such as 0.8; found {threshold}")
    return threshold


def abstention_curve(probs: Floats, truth: Ints) -> list[list[float]]:
    """``[threshold, coverage, accuracy]`` for thresholds from 0 up in steps of 1 / 100, as long as anything is covered.

    Coverage is the share of the images that are answered, accuracy the share of the answered that are right. ``probs``
    ``(n, C)``, ``truth`` ``(n,)`` indices, -1 for a class outside them: never right.
    """
    probs, truth = np.asarray(probs), np.asarray(truth)
    right = probs.argmax(axis=1) == truth if len(truth) else np.zeros(0, bool)
    found = []
    for threshold in np.arange(STEPS + 1) / STEPS:
        told = answered(probs, float(threshold)) if len(truth) else right
        if not told.any():
            break
        found.append([float(threshold), float(told.mean()), float(right[told].mean())])
    return found


def round_results(probs: Floats, truth: Ints, classes: Sequence[str], threshold: float = 0.0) -> dict[str, Any]:
    """What is told of one round's classifier at a threshold, as plain data.

    Classes are those that occur in the truth or are predicted, in the order of ``classes``. ``confusion``: rows truth,
    columns prediction, with a last column for "unknown" where the threshold is above 0. ``accuracy`` and
    ``micro_recall`` are the share of all images that are right, ``micro_precision`` that of the answered ones;
    ``macro_precision`` and ``macro_recall`` are means over the classes, where nothing to count is 0; of each class the
    values are None there. ``truth`` as for `abstention_curve`; images of a class outside ``classes`` are in no row.
    """
    probs, truth = np.asarray(probs), np.asarray(truth)
    n, count = len(truth), len(classes)
    told = answered(probs, threshold) if n else np.zeros(0, bool)
    predicted = np.where(told, probs.argmax(axis=1), count) if n else np.zeros(0, np.int64)
    known = truth >= 0
    table = np.bincount(truth[known] * (count + 1) + predicted[known], minlength=count * (count + 1))
    confusion = table.reshape(count, count + 1)
    support, called = confusion.sum(axis=1), np.bincount(predicted, minlength=count + 1)[:count]
    hits = confusion[:, :count].diagonal()
    seen: list[int] = np.flatnonzero((support > 0) | (called > 0)).tolist()
    rows = np.array(seen, np.int64)
    precision, recall = hits / np.maximum(called, 1), hits / np.maximum(support, 1)
    columns = [*seen, count] if threshold > 0 else list(seen)
    return {
        "n": n,
        "threshold": threshold,
        "answered": int(told.sum()),
        "accuracy": _share(hits.sum(), n),
        "micro_precision": _share(hits.sum(), told.sum()),
        "micro_recall": _share(hits.sum(), n),
        "macro_precision": _mean(precision[rows]),
        "macro_recall": _mean(recall[rows]),
        "classes": [
            {
                "name": classes[i],
                "images": int(support[i]),
                "predicted": int(called[i]),
                "right": int(hits[i]),
                "precision": _share(hits[i], called[i]),
                "recall": _share(hits[i], support[i]),
            }
            for i in seen
        ],
        "confusion": {
            "rows": [classes[i] for i in seen],
            "columns": [classes[i] if i < count else UNKNOWN for i in columns],
            "counts": confusion[rows][:, np.array(columns, np.int64)].tolist(),
        },
    }


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
