"""Forecast of a learning curve: an inverse power law with all the doubt its few points leave, as plain draws.

The model is ``value(n) = top - b (n / last)^-c`` plus noise, for a share between 0 and 1 of which more is better
(inverse power laws: Hestness et al., 2017; for the labels a target needs: Figueroa et al., 2012). Instead of one best
fit, all curves that agree with the points are kept, each as often as it agrees: a grid over ``b`` and ``c``, the level
and the noise drawn from their exact conditional distributions. So a short or noisy curve gives a wide band, never a
sure one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.curves import Curve
from labelwise.errors import DataError
from labelwise.evaluate import tails
from labelwise.records import Floats

Rows = NDArray[np.intp]

FEWEST = 3  # points below which nothing is said
DRAWS = 4000
_STEEPNESS = np.geomspace(0.1, 2.0, 32)  # exponents c: what is seen in practice, and more
_LEFT = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 79)])  # b: what is still to be won after the last point
_BELIEF = 3.0  # points that the assumed noise is worth against what the points themselves scatter
_NOISE = 0.015  # standard deviation of one figure where nobody tells it
_LEAST = 1e-4  # no figure is known better
_TREND = 2.0  # a rise is one from so many standard deviations of the noise on


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the interval that holds it with the probability of the forecast's level."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Needed:
    """Labels that a target needs: median and interval, infinity for "never"; ``never`` is the probability of that."""

    labels: float
    low: float
    high: float
    never: float


@dataclass(frozen=True)
class Forecast:
    """Curves that agree with the points of a learning curve, ``(d,)`` draws of each parameter.

    ``last`` is the number of labels of the last point, ``level`` the probability of its intervals. ``doubt`` says in
    half a sentence why the forecast means little; empty if it is a forecast like any other.
    """

    last: float
    now: Floats
    left: Floats
    steepness: Floats
    noise: Floats
    level: float
    doubt: str = ""

    def curve(self, labels: float) -> Floats:
        """The draws' values ``(d,)`` at a number of labels above 0, without the noise of measuring."""
        if not labels > 0:
            raise DataError(f"a forecast is for a number of labels above 0; found {labels:g}")
        return np.asarray(self.now + self.left * (1 - (labels / self.last) ** -self.steepness))

    def at(self, labels: float) -> Estimate:
        """The figure that a round with so many labels will measure, noise included; within 0 and 1."""
        spread = np.random.default_rng(1).standard_normal(len(self.noise)) * self.noise
        value = self.curve(labels)
        low, high = np.quantile(np.clip(value + spread, 0.0, 1.0), tails(self.level))
        return Estimate(float(np.clip(np.median(value), 0.0, 1.0)), float(low), float(high))

    def gain(self, labels: float) -> Estimate:
        """What so many more labels than the last point's bring to the curve itself; never below 0."""
        return self._quantiles(self.curve(self.last + labels) - self.now)

    def top(self) -> Estimate:
        """What the curve tends to with any number of labels."""
        return self._quantiles(self.now + self.left)

    def needed(self, target: float) -> Needed:
        """Labels from which on the curve itself is at ``target`` or above; the last point's where it is there already.

        Raises DataError unless the target lies between 0 and 1.
        """
        if not 0 < target < 1:
            raise DataError(f"a target lies between 0 and 1, such as 0.9; found {target:g}")
        short = target - self.now
        reached = self.left > short
        share = np.divide(short, self.left, out=np.zeros(len(short)), where=reached & (short > 0))
        with np.errstate(over="ignore"):
            labels = np.where(reached | (short <= 0), self.last * (1 - share) ** (-1 / self.steepness), np.inf)
        quantiles = np.quantile(labels, (*tails(self.level), 0.5), method="inverted_cdf")
        low, high, middle = (float(q) for q in quantiles)
        return Needed(middle, low, high, float(np.isinf(labels).mean()))

    def _quantiles(self, values: Floats) -> Estimate:
        low, high = np.quantile(values, tails(self.level))
        return Estimate(float(np.median(values)), float(low), float(high))


def forecast(curve: Curve, errors: Floats | None = None, *, level: float = 0.9) -> Forecast | None:
    """All inverse power laws that agree with a curve of shares; None with fewer than three points above 0 labels.

    ``errors`` ``(r,)`` are the standard errors of the figures, NaN or 0 where they are not known: a figure known more
    exactly counts for more. How far the points scatter around any such curve counts as well. The same points always
    give the same draws. Raises DataError for values outside 0 to 1.
    """
    tails(level)
    used = curve.labels > 0
    labels, values = curve.labels[used], curve.values[used]
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise DataError(f"a forecast is of a share between 0 and 1; found {values.min():g} to {values.max():g}")
    if len(labels) < FEWEST:
        return None
    known = np.full(len(labels), np.nan) if errors is None else np.asarray(errors, dtype=np.float64)[used]
    weights, noise = _weights(known)
    now, left, steepness, spread = _draws(labels, values, weights, noise)
    rise = left * ((labels[0] / labels[-1]) ** -steepness - 1)
    doubt = ""
    if np.median(rise) < _TREND * np.median(spread):
        doubt = "no rise can be told from chance yet"
    return Forecast(float(labels[-1]), now, left, steepness, spread, level, doubt)


def _weights(errors: Floats) -> tuple[Floats, float]:
    """Relative weights ``(r,)`` with mean 1, and the noise of a point of weight 1."""
    known = np.isfinite(errors) & (errors > 0)
    if not known.any():
        return np.ones(len(errors)), _NOISE
    errors = np.where(known, np.maximum(errors, _LEAST), np.nan)
    typical = float(np.sqrt(np.mean(errors[known] ** 2)))
    weights = 1 / np.where(known, errors, typical) ** 2
    # The rounds' own scatter is in every point alike: none counts more than four times as much as the typical one.
    weights = np.clip(weights * typical**2, 0.25, 4.0)
    weights /= weights.mean()
    return weights, typical


def _draws(labels: Floats, values: Floats, weights: Floats, noise: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Draws ``(d,)`` of level at the last point, what is left to win, exponent and noise, given the points."""
    from scipy.special import ndtr, ndtri
    from scipy.stats import t

    left, steep = (a.ravel() for a in np.meshgrid(_LEFT, _STEEPNESS, indexing="ij"))
    drop = left[:, None] * ((labels / labels[-1]) ** -steep[:, None] - 1)  # (g, r)
    lifted = values + drop
    total = weights.sum()
    level = lifted @ weights / total
    scatter = _BELIEF * noise**2 + (lifted - level[:, None]) ** 2 @ weights
    freedom = _BELIEF + len(labels) - 1
    deviation = np.sqrt(scatter / freedom / total)
    with np.errstate(divide="ignore"):
        # A curve tends to 1 at most, and a level is 0 at least; left is spread evenly, the exponent in its logarithm.
        inside = t.cdf((1 - left - level) / deviation, freedom) - t.cdf(-level / deviation, freedom)
        log = -freedom / 2 * np.log(scatter) + np.log(np.maximum(inside, 0)) + np.log(_cells(_LEFT))[_rows(left)]
    chance = np.exp(log - log.max())
    rng = np.random.default_rng(0)
    node = _systematic(chance, rng)
    spread = np.sqrt(scatter[node] / rng.chisquare(freedom, DRAWS))
    width = spread / np.sqrt(total)
    below, above = (ndtr((end - level[node]) / width) for end in (0.0, 1 - left[node]))
    now = level[node] + width * ndtri(below + rng.random(DRAWS) * (above - below))
    now = np.clip(np.where(np.isfinite(now), now, level[node]), 0.0, 1 - left[node])
    return now, left[node], steep[node], spread


def _cells(points: Floats) -> Floats:
    """How much of the axis each point of a grid stands for."""
    edges = np.concatenate([points[:1], (points[1:] + points[:-1]) / 2, points[-1:]])
    return np.diff(edges)


def _rows(left: Floats) -> Rows:
    return np.asarray(np.searchsorted(_LEFT, left), np.intp)


def _systematic(chance: Floats, rng: np.random.Generator) -> Rows:
    """Rows drawn as often as their chance says, as evenly as can be."""
    ends = np.cumsum(chance)
    places = (rng.random() + np.arange(DRAWS)) / DRAWS * ends[-1]
    return np.asarray(rng.permutation(np.minimum(np.searchsorted(ends, places), len(chance) - 1)), np.intp)
