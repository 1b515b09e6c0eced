"""Quality of one model on one set of images: metrics, calibration, and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError, ModelError
from labelwise.evaluate.boxes import BoxScores as BoxScores
from labelwise.evaluate.boxes import detection as detection
from labelwise.records import Floats, Task

# The figures that make a learning curve, in the order they are shown; the first is what arms are compared by.
METRICS: Mapping[Task, tuple[str, ...]] = {
    "classify": ("macro_f1", "accuracy", "ece", "nll"),
    "segment": ("miou", "pixel_accuracy", "class_accuracy"),
    "detect": ("map", "map50", "map75"),
}
Ints = NDArray[np.integer[Any]]
CALIBRATION_BINS = 15
_TINY = float(np.finfo(np.float64).eps)  # no probability is taken to be less: one sample loses 36.04 nats at most
_CHUNK = 200  # bootstrap draws held in memory at once


@dataclass(frozen=True, slots=True)
class Scores:
    """Quality of class probabilities against the truth; ``C`` is the number of names in ``classes``.

    ``macro_f1`` is the mean F1 over the classes that occur in the truth (never predicted: F1 = 0). ``ece`` is the
    expected calibration error, ``nll`` the mean negative log likelihood in nats. ``recall`` ``(C,)`` is NaN for a class
    without truth, ``precision`` ``(C,)`` NaN for one never predicted. ``confusion`` ``(C, C)``: rows truth, columns
    prediction. ``unknown`` samples have a truth outside ``classes``: errors in every mean, but in no row. With
    ``n = 0`` all means are NaN.
    """

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    nll: float
    classes: tuple[str, ...]
    recall: Floats
    precision: Floats
    support: Ints
    confusion: Ints
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval ``[low, high]`` at ``level``; NaN where nothing is known."""

    value: float
    low: float
    high: float
    level: float = 0.95


def classification(probs: Floats, truth: Ints, classes: Sequence[str]) -> Scores:
    """Score class probabilities against the truth.

    ``classes`` are the union of the model's classes and all others the truth names. ``probs`` ``(n, c)``, ``c <= C``,
    rows summing to 1, belong to the first ``c`` of them: the others have probability 0. ``truth`` ``(n,)`` holds
    indices into ``classes``, or -1 for a class outside them. Calibration: top probability in 15 bins of equal width,
    open on the left (Guo et al., 2017, eq. 3). Raises ModelError for impossible probabilities, DataError for a truth
    out of range.
    """
    probs, truth = np.asarray(probs, dtype=np.float64), np.asarray(truth)
    count = len(classes)
    _check(probs, truth, count)
    n, known = len(truth), truth >= 0
    if n == 0:
        nan, blank = float("nan"), np.full(count, np.nan)
        empty = np.zeros((count, count), dtype=np.int64)
        return Scores(0, nan, nan, nan, nan, tuple(classes), blank, blank.copy(), empty.sum(1), empty)
    predicted = probs.argmax(axis=1)
    confusion = _confusion(truth[known], predicted[known], count)
    support, called, hits = confusion.sum(1), np.bincount(predicted, minlength=count), confusion.diagonal()
    full = np.zeros((n, count + 1))  # the last column is read by truth -1: probability 0
    full[:, : probs.shape[1]] = probs
    loss = -np.log(np.clip(full[np.arange(n), truth], _TINY, 1.0))
    return Scores(
        n=n,
        accuracy=float(hits.sum() / n),
        macro_f1=float(_macro_f1(support[None], called[None], hits[None], np.array([(~known).any()]))[0]),
        ece=_calibration_error(probs.max(axis=1), predicted == truth),
        nll=float(loss.mean()),
        classes=tuple(classes),
        recall=_ratio(hits, support),
        precision=_ratio(hits, called),
        support=support,
        confusion=confusion,
        unknown=int((~known).sum()),
    )


@dataclass(frozen=True, slots=True)
class MapScores:
    """Quality of a segmentation over the pixels of ``n`` images; void pixels count nowhere.

    ``miou`` is the mean intersection over union of the classes that occur in truth or prediction, ``pixel_accuracy``
    the share of right pixels, ``class_accuracy`` the mean recall of the classes in the truth. ``iou``, ``recall`` and
    ``precision`` are ``(C,)``, NaN where there is nothing to count; ``confusion`` ``(C, C)``: rows truth, columns
    prediction. Without a pixel all means are NaN.
    """

    n: int
    miou: float
    pixel_accuracy: float
    class_accuracy: float
    classes: tuple[str, ...]
    iou: Floats
    recall: Floats
    precision: Floats
    support: Ints
    confusion: Ints


def pixel_confusion(predicted: Ints, truth: Ints, classes: int) -> NDArray[np.int64]:
    """Counts ``(C, C)`` of one image, rows truth, columns prediction.

    ``predicted`` and ``truth`` are ``(h, w)`` class indices; where the truth is no class (void) nothing is counted.
    """
    if predicted.shape != truth.shape:
        raise DataError(f"expected a prediction of the truth's shape {truth.shape}, found {predicted.shape}")
    known = truth < classes
    return _confusion(truth[known].astype(np.int64), predicted[known].astype(np.int64), classes)


def segmentation(confusion: Ints, classes: Sequence[str], n: int) -> MapScores:
    """Score summed pixel counts ``(C, C)`` of ``n`` images (Long et al. 2015, section 5)."""
    support, called, hits = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    iou, recall = _ratio(hits, support + called - hits), _ratio(hits, support)
    return MapScores(
        n=n,
        miou=_mean(iou),
        pixel_accuracy=float(_ratio(hits.sum(), support.sum())),
        class_accuracy=_mean(recall),
        classes=tuple(classes),
        iou=iou,
        recall=recall,
        precision=_ratio(hits, called),
        support=support,
        confusion=confusion,
    )


def _mean(values: Floats) -> float:
    """The mean of what is known; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share, such as accuracy on a random audit sample; n = 0: [0, 1] (Wilson, 1927)."""
    from scipy.stats import norm

    if not 0 <= successes <= n:
        raise DataError(f"expected between 0 and n = {n} successes, found {successes}")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, level)
    share, z = successes / n, float(norm.ppf(0.5 + checked_level(level) / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Interval(share, float(low), float(high), level)


def macro_f1_interval(
    truth: Ints, predicted: Ints, *, rng: np.random.Generator, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Macro-F1 on an audit sample with its percentile bootstrap interval; both arrays ``(n,)``, -1 for unknown.

    Each draw averages over the classes it contains, so classes with fewer than about five samples make the interval
    unreliable. No samples: value NaN, interval [0, 1]. Raises DataError if the lengths differ.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise DataError(f"expected one prediction per truth, found {predicted.shape} and {truth.shape}")
    if not len(truth):
        return Interval(float("nan"), 0.0, 1.0, checked_level(level))
    values, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    pairs, counts = np.unique(codes.reshape(2, -1), axis=1, return_counts=True)
    row, column = np.eye(len(values))[pairs[0]], np.eye(len(values))[pairs[1]]
    hit = row * (pairs[0] == pairs[1])[:, None]

    def scored(weights: Any) -> Floats:
        return _macro_f1(weights @ row, weights @ column, weights @ hit, np.zeros(len(weights), dtype=bool))

    share = counts / counts.sum()
    sizes = [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
    drawn = [scored(rng.multinomial(len(truth), share, size=size)) for size in sizes]
    low, high = np.quantile(np.concatenate(drawn), tails(level))
    return Interval(float(scored(counts[None])[0]), float(low), float(high), level)


def _check(probs: Floats, truth: Ints, count: int) -> None:
    if truth.ndim != 1 or probs.ndim != 2 or len(probs) != len(truth) or probs.shape[1] > count:
        raise DataError(f"expected probs (n, c <= {count}) and truth (n,), found {probs.shape} and {truth.shape}")
    if not len(truth):
        return
    if not np.isfinite(probs).all() or probs.shape[1] == 0 or probs.min() < 0 or abs(probs.sum(1) - 1).max() > 1e-3:
        raise ModelError("class probabilities must be finite, at least 0 and sum to 1; look at the model's output")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < -1 or truth.max() >= count:
        raise DataError(f"truth must be whole numbers from -1 to {count - 1}, found {truth.min()} to {truth.max()}")


def _confusion(truth: Ints, predicted: Ints, count: int) -> NDArray[np.int64]:
    return np.asarray(np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count))


def _ratio(top: Any, bottom: Any) -> Floats:
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=np.asarray(bottom) > 0))


def _macro_f1(support: Any, called: Any, hits: Any, stranger: NDArray[np.bool_]) -> Floats:
    """Macro-F1 per row of ``(d, C)`` counts; a ``stranger`` (truth outside them) is one more class with F1 = 0."""
    f1 = 2 * hits / np.maximum(support + called, 1)
    return np.asarray((f1 * (support > 0)).sum(1) / np.maximum((support > 0).sum(1) + stranger, 1))


def _calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def tails(level: float) -> tuple[float, float]:
    """The two quantiles that bound a confidence level."""
    return (1 - checked_level(level)) / 2, (1 + level) / 2


def checked_level(level: float) -> float:
    """The level, if it lies between 0 and 1. Raises DataError otherwise."""
    if not 0 < level < 1:
        raise DataError(f"a confidence level lies between 0 and 1, such as 0.95; found {level}")
    return level
