"""Quality of one model on one test set, and of learning curves over labels: metrics, areas, intervals, labels saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError, ModelError
from labelwise.records import Floats

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


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve: ``values`` ``(r,)`` of one metric over ``labels`` ``(r,)``, ascending strictly from 0 or more.

    Raises DataError if it is empty, not ascending, or holds a number that is not finite.
    """

    labels: Floats
    values: Floats

    def __post_init__(self) -> None:
        labels, values = (np.asarray(a, dtype=np.float64) for a in (self.labels, self.values))
        if labels.ndim != 1 or labels.shape != values.shape or not labels.size:
            raise DataError(f"a curve needs one value per label, at least one; found {labels.shape}, {values.shape}")
        if not (np.isfinite(labels).all() and np.isfinite(values).all()):
            raise DataError("a curve holds a number that is not finite; leave out the rounds that were not evaluated")
        if labels[0] < 0 or (np.diff(labels) <= 0).any():
            raise DataError(f"a curve's labels must ascend strictly from 0 or more; found {labels.tolist()}")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class Band:
    """Mean of several curves with its t-interval over seeds, all ``(r,)``; the bounds are NaN for one seed."""

    labels: Floats
    mean: Floats
    low: Floats
    high: Floats
    seeds: int


@dataclass(frozen=True, slots=True)
class Saved:
    """Labels an arm ``needed`` for the ``quality`` that random has at ``of`` labels; ``ratio = needed / of``.

    ``low`` and ``high`` bound the ratio (bootstrap over seeds); infinity means "not reached", NaN only one seed.
    ``at_start``: the arm's first point was good enough already: ``needed`` is an upper bound. ``missed`` is the share
    of bootstrap draws in which the arm never got there.
    """

    needed: float
    of: float
    ratio: float
    low: float
    high: float
    quality: float
    seeds: int
    paired: bool
    at_start: bool = False
    missed: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean difference arm - random at equal labels, its standard error and t-interval (NaN for one seed)."""

    mean: float
    standard_error: float
    low: float
    high: float
    seeds: int
    paired: bool


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


def interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share, such as accuracy on a random audit sample; n = 0: [0, 1] (Wilson, 1927)."""
    from scipy.stats import norm

    if not 0 <= successes <= n:
        raise DataError(f"expected between 0 and n = {n} successes, found {successes}")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, level)
    share, z = successes / n, float(norm.ppf(0.5 + _checked(level) / 2))
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
        return Interval(float("nan"), 0.0, 1.0, _checked(level))
    values, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    pairs, counts = np.unique(codes.reshape(2, -1), axis=1, return_counts=True)
    row, column = np.eye(len(values))[pairs[0]], np.eye(len(values))[pairs[1]]
    hit = row * (pairs[0] == pairs[1])[:, None]

    def scored(weights: Any) -> Floats:
        return _macro_f1(weights @ row, weights @ column, weights @ hit, np.zeros(len(weights), dtype=bool))

    share = counts / counts.sum()
    sizes = [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
    drawn = [scored(rng.multinomial(len(truth), share, size=size)) for size in sizes]
    low, high = np.quantile(np.concatenate(drawn), _tails(level))
    return Interval(float(scored(counts[None])[0]), float(low), float(high), level)


def area_under(curve: Curve, up_to: float | None = None) -> float:
    """Mean height of a curve: trapezoid area over its label range, in the metric's unit; one point gives its value.

    ``up_to`` ends the range at that many labels (interpolated); DataError if the curve does not reach so far.
    """
    end = curve.labels[-1] if up_to is None else float(up_to)
    value = _value_at(curve, end)
    inside = curve.labels < end
    labels, values = np.append(curve.labels[inside], end), np.append(curve.values[inside], value)
    if len(labels) == 1:
        return value
    return float(((values[1:] + values[:-1]) / 2 * np.diff(labels)).sum() / (end - labels[0]))


def labels_needed(curve: Curve, level: float) -> float:
    """Labels at which a curve first reaches ``level``, interpolated; its first if it starts there; inf if never."""
    return float(_first_crossing(curve.labels, curve.values[None], np.array([level]))[0])


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean of curves over their common label range; where their labels differ, at all of them, interpolated."""
    labels, values = _stack(curves)
    return Curve(labels, values.mean(axis=0))


def band(curves: Sequence[Curve], level: float = 0.95) -> Band:
    """Mean curve with Student's t-interval of the mean over seeds, at each number of labels on its own."""
    labels, values = _stack(curves)
    mean, half = values.mean(axis=0), _half_width(values, level)
    return Band(labels, mean, mean - half, mean + half, len(values))


def labels_saved(
    arm: Mapping[int, Curve],
    random: Mapping[int, Curve],
    *,
    rng: np.random.Generator,
    at: float | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> Saved:
    """Labels an arm needs for the quality random has at ``at`` labels (default: random's last), as a ratio of ``at``.

    Curves by seed, higher is better. Percentile bootstrap over seeds: if both arms have the same seeds they are drawn
    together (paired), else each on its own; random's quality is computed anew in every draw.
    """
    paired = set(arm) == set(random)
    seeds = (sorted(arm), sorted(random))
    arm_labels, arm_values = _stack([arm[s] for s in seeds[0]])
    labels, values = _stack([random[s] for s in seeds[1]])
    of = float(labels[-1] if at is None else at)
    if of <= 0:
        raise DataError(f"labels saved are a ratio of random's labels, which must be positive; found {of:g}")
    levels = np.array([_value_at(Curve(labels, v), of) for v in values])
    mean, quality = arm_values.mean(axis=0), float(levels.mean())
    needed = float(_first_crossing(arm_labels, mean[None], np.array([quality]))[0])
    few = min(len(arm_values), len(values))
    low = high = missed = float("nan")
    if few > 1:
        first = _weights(rng, len(arm_values), draws)
        second = first if paired else _weights(rng, len(values), draws)
        drawn = _first_crossing(arm_labels, first @ arm_values, second @ levels) / of
        low, high = (float(q) for q in np.quantile(drawn, _tails(level), method="inverted_cdf"))
        missed = float(np.isinf(drawn).mean())
    return Saved(needed, of, needed / of, low, high, quality, few, paired, bool(mean[0] >= quality), missed)


def paired_difference(
    arm: Mapping[int, Curve], random: Mapping[int, Curve], at: float, level: float = 0.95
) -> Difference:
    """Mean of arm - random at ``at`` labels over the seeds both have; with none in common, of two groups (Welch)."""
    common = sorted(set(arm) & set(random))
    first = np.array([_value_at(arm[s], at) for s in common or sorted(arm)])
    second = np.array([_value_at(random[s], at) for s in common or sorted(random)])
    if not len(first) or not len(second):
        raise DataError("a difference needs at least one curve in both arms")
    mean = float(first.mean() - second.mean())
    few = min(len(first), len(second))
    if few < 2:
        return Difference(mean, float("nan"), float("nan"), float("nan"), few, bool(common))
    error, freedom = _standard_error(first, second, paired=bool(common))
    half = _quantile_t(level, freedom) * error
    return Difference(mean, error, mean - half, mean + half, few, bool(common))


def _check(probs: Floats, truth: Ints, count: int) -> None:
    if truth.ndim != 1 or probs.ndim != 2 or len(probs) != len(truth) or probs.shape[1] > count:
        raise DataError(f"expected probs (n, c <= {count}) and truth (n,), found {probs.shape} and {truth.shape}")
    if not len(truth):
        return
    if not np.isfinite(probs).all() or probs.shape[1] == 0 or probs.min() < 0 or abs(probs.sum(1) - 1).max() > 1e-3:
        raise ModelError("class probabilities must be finite, at least 0 and sum to 1; look at the model's output")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < -1 or truth.max() >= count:
        raise DataError(f"truth must be whole numbers from -1 to {count - 1}, found {truth.min()} to {truth.max()}")


def _confusion(truth: Ints, predicted: Ints, count: int) -> Ints:
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


def _value_at(curve: Curve, at: float) -> float:
    if not curve.labels[0] <= at <= curve.labels[-1]:
        raise DataError(f"the curve runs from {curve.labels[0]:g} to {curve.labels[-1]:g} labels, not to {at:g}")
    return float(np.interp(at, curve.labels, curve.values))


def _stack(curves: Sequence[Curve]) -> tuple[Floats, Floats]:
    """Labels ``(r,)`` all curves cover, and their values there ``(S, r)``."""
    if not curves:
        raise DataError("expected at least one curve, found none")
    start, end = max(c.labels[0] for c in curves), min(c.labels[-1] for c in curves)
    if start > end:
        raise DataError("the curves have no range of labels in common; compare runs with overlapping budgets")
    labels = np.unique(np.concatenate([c.labels for c in curves]))
    labels = labels[(labels >= start) & (labels <= end)]
    return labels, np.stack([np.interp(labels, c.labels, c.values) for c in curves])


def _first_crossing(labels: Floats, values: Floats, levels: Floats) -> Floats:
    """Labels ``(d,)`` at which each row of ``values`` ``(d, r)`` first reaches its level; inf if it does not."""
    reached = values >= levels[:, None]
    right, row = reached.argmax(axis=1), np.arange(len(values))
    left = np.maximum(right - 1, 0)
    below, above = values[row, left], values[row, right]
    share = np.divide(levels - below, above - below, out=np.ones(len(values)), where=(right > 0) & (above > below))
    crossing = labels[left] + share * (labels[right] - labels[left])
    return np.where(reached.any(axis=1), crossing, np.inf)


def _weights(rng: np.random.Generator, seeds: int, draws: int) -> Floats:
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds


def _half_width(values: Floats, level: float) -> Floats:
    seeds = len(values)
    if seeds < 2:
        return np.full(values.shape[1], np.nan)
    return np.asarray(_quantile_t(level, seeds - 1) * values.std(axis=0, ddof=1) / np.sqrt(seeds))


def _standard_error(first: Floats, second: Floats, *, paired: bool) -> tuple[float, float]:
    if paired:
        return float((first - second).std(ddof=1) / np.sqrt(len(first))), len(first) - 1
    parts = np.array([a.var(ddof=1) / len(a) for a in (first, second)])
    total = float(parts.sum())
    freedom = total**2 / float((parts**2 / (np.array([len(first), len(second)]) - 1)).sum()) if total else 1.0
    return float(np.sqrt(total)), freedom


def _quantile_t(level: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + _checked(level) / 2, freedom))


def _tails(level: float) -> tuple[float, float]:
    return (1 - _checked(level)) / 2, (1 + level) / 2


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"a confidence level lies between 0 and 1, such as 0.95; found {level}")
    return level
