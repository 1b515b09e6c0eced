"""Learning curves over labels: areas, bands over seeds, labels saved, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labelwise.errors import DataError
from labelwise.evaluate import checked_level, tails
from labelwise.records import Floats


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
        low, high = (float(q) for q in np.quantile(drawn, tails(level), method="inverted_cdf"))
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

    return float(t.ppf(0.5 + checked_level(level) / 2, freedom))
