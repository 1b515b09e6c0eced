"""Plain sentences and charts about what a run lets expect: forecast, target, classes to come, advice."""

from __future__ import annotations

import math

import numpy as np

from labelwise.advice import Outlook
from labelwise.curves import Curve
from labelwise.discovery import Discovery
from labelwise.forecast import Forecast, Needed
from labelwise.report import figures, words
from labelwise.report.figures import Figure

AHEAD = 1.0  # the forecast is drawn this many times the labels so far beyond them
_POINTS = 24


def sentences(outlook: Outlook) -> list[str]:
    """What can be expected, one sentence each, the advice first."""
    said = [f"{outlook.advice}: {outlook.reason}"]
    if outlook.forecast is not None:
        labels = outlook.forecast.last + outlook.step
        ahead = outlook.forecast.at(labels)
        bounds = f"{_range(outlook.metric, ahead.low, ahead.high)} ({_level(outlook.forecast)} interval)"
        said.append(f"forecast: {words.phrase(outlook.metric)} {bounds} at {words.whole(labels)} {outlook.unit}")
    if outlook.needed is not None and outlook.target is not None:
        said.append(f"target: {needed_text(outlook.needed, outlook.target, outlook.metric, outlook.unit)}")
    if outlook.audited is not None:
        bounds = _range("accuracy", outlook.audited.low, outlook.audited.high)
        said.append(
            f"audit: accuracy {words.percent(outlook.audited.value)} (95 % interval {bounds}), "
            "on images drawn at random"
        )
    if outlook.discovery is not None and outlook.discovery.units:
        said.append(f"classes: {discovery_text(outlook.discovery)}")
    return said


def needed_text(needed: Needed, target: float, metric: str, unit: str) -> str:
    """How many labels a target needs: "macro-F1 of 90.0 % with about 300 images (210 to 480)"."""
    goal = f"{words.phrase(metric)} of {words.percent(target)}"
    if needed.low == needed.high < math.inf:
        return f"{goal} is reached"
    if math.isinf(needed.labels):
        chance = words.percent(1 - needed.never, 0)
        return f"{goal} is rather not to be reached with more {unit} (chance {chance})"
    return f"{goal} with about {round_up(needed.labels)} {unit} ({round_up(needed.low)} to {round_up(needed.high)})"


def discovery_text(discovery: Discovery) -> str:
    """How many classes were found, and how many there may be: "12 found in 300 images, probably 13 to 21 in all"."""
    found = f"{discovery.found} found in {words.count(discovery.units, 'images')}"
    bounds = discovery.richness()
    low, high = math.ceil(bounds.low - 0.5), math.ceil(bounds.high - 0.5)
    if high <= discovery.found:
        return f"{found}, nothing points to more"
    return f"{found}, probably {max(low, discovery.found)} to {high} in all"


def round_up(labels: float) -> str:
    """A number of labels with two significant digits, upwards; "never" for infinity."""
    if math.isinf(labels):
        return "never"
    unit = 10 ** max(0, math.floor(math.log10(max(labels, 1))) - 1)
    number = math.ceil(labels / unit) * unit
    return f"{number:,.0f}" if number < 1e9 else "more than 1,000,000,000"


def ahead(
    curve: Curve, found: Forecast, target: Needed | None = None, left: float = math.inf
) -> dict[str, list[float]]:
    """The forecast as a line: ``labels``, ``value``, ``low`` and ``high``, from the last point to as far again, as long
    as there are labels ``left`` to give."""
    last = float(curve.labels[-1])
    end = last * (1 + AHEAD)
    if target is not None and math.isfinite(target.labels):
        end = min(max(end, 1.1 * target.labels), 5 * last)
    labels = np.linspace(last, min(end, last + left), _POINTS)
    told = [found.at(float(n)) for n in labels]
    return {
        "labels": labels.tolist(),
        "value": [e.value for e in told],
        "low": [e.low for e in told],
        "high": [e.high for e in told],
    }


def labels_left(outlook: Outlook) -> float:
    """How many labels can still be given; infinity where that is not known."""
    return math.inf if outlook.left is None or outlook.unit != "images" else float(outlook.left)


def forecast_traces(outlook: Outlook) -> list[dict[str, object]]:
    """The forecast as traces of the learning curve: its band, then its line."""
    if outlook.forecast is None or outlook.curve is None:
        return []
    found = ahead(outlook.curve, outlook.forecast, outlook.needed, labels_left(outlook))
    stroke = {"color": "@1", "width": 2, "dash": "dot"}
    told = f"forecast for %{{x:,.0f}} {figures.text(outlook.unit)}<br>{figures.hover(outlook.metric)}<extra></extra>"
    return [
        figures.ribbon(found["labels"], found["low"], found["high"], "@1"),
        figures.line(found["labels"], found["value"], "forecast", "@1", mode="lines", line=stroke, hovertemplate=told),
    ]


def discovery_chart(discovery: Discovery) -> Figure | None:
    """The classes expected in so many of the answered images (rarefaction); None with fewer than two images."""
    if discovery.units < 2:
        return None
    labels, classes = discovery.curve()
    told = {"hovertemplate": "%{x:,} images: %{y:.1f} classes<extra></extra>", "mode": "lines"}
    below = {"title": {"text": "answered images"}, "rangemode": "tozero"}
    left = {"title": {"text": "classes found"}, "rangemode": "tozero", "automargin": True}
    curve = figures.line([float(n) for n in labels], classes.tolist(), "classes", "@2", **told)
    return figures.figure([curve], 300, xaxis=below, yaxis=left)


def _range(metric: str, low: float, high: float) -> str:
    if words.is_share(metric):
        return f"{100 * low:.1f}–{100 * high:.1f} %"
    return f"{low:.3f}–{high:.3f}"


def _level(found: Forecast) -> str:
    return words.percent(found.level, 0)
