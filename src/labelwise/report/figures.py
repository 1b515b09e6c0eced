"""Charts as plain plotly dictionaries; colours are names ("@0", "@ink") that the page turns into those of its theme."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from labelwise.curves import Band, Curve
from labelwise.report import words

Figure = dict[str, Any]
"""``data`` and ``layout`` as plotly takes them; ``choices`` of what to show; ``matrix`` for a confusion matrix."""
COLOURS = 7
DASHES = ("solid", "dash", "dot", "dashdot")
_LABELS = 24  # characters of a class name on an axis
_SHORT = 14  # characters of a name beside a point
_NAMED = 40  # characters of a name in a legend
_MANY = 60  # points or bars from which on they are drawn small


def text(name: str, limit: int | None = None) -> str:
    """A user's name as plotly shows it literally (plotly reads a little HTML), cut to ``limit`` characters."""
    return html.escape(name if limit is None else short(name, limit), quote=False)


def short(name: str, limit: int) -> str:
    """A name of at most ``limit`` characters, the last an ellipsis where it is cut."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def colour(index: int) -> str:
    """The palette's colour for the ``index``-th series; it repeats after seven, where ``dash`` tells them apart."""
    return f"@{index % COLOURS}"


def dash(index: int) -> str:
    """The line style that goes with ``colour``."""
    return DASHES[index // COLOURS % len(DASHES)]


def figure(data: list[dict[str, Any]], height: int, **layout: Any) -> Figure:
    """A chart of ``height`` pixels with the house's margins; ``layout`` goes to plotly."""
    margin = {"l": 62, "r": 16, "t": 40 if layout.get("showlegend") else 14, "b": 48}
    return {"data": data, "layout": {"height": height, "margin": margin, "showlegend": False, **layout}, "choices": []}


def value_axis(metric: str) -> dict[str, Any]:
    """The axis of a metric: per cent for shares. None is below 0, nor is an axis where all that is drawn is 0."""
    axis: dict[str, Any] = {
        "title": {"text": text(words.title(metric))},
        "automargin": True,
        "rangemode": "nonnegative",
    }
    return {**axis, "tickformat": "~%"} if words.is_share(metric) else axis


def hover(metric: str) -> str:
    """The number format of a metric's value in a hover text."""
    return "%{y:.1%}" if words.is_share(metric) else "%{y:.3f}"


def line(x: Sequence[float], y: Sequence[float | None], name: str, paint: str, **more: Any) -> dict[str, Any]:
    """A line with points, small where there are many."""
    marker = {"color": paint, "size": 6 if len(x) <= _MANY else 3}
    look = {"line": {"color": paint, "width": 2.25}, "marker": marker, "mode": "lines+markers"}
    return {"type": "scatter", "x": list(x), "y": list(y), "name": text(name), **look, **more}


def ribbon(x: Sequence[float], low: Sequence[float], high: Sequence[float], paint: str, **more: Any) -> dict[str, Any]:
    """A filled band between two lines, not named in the legend; a bar where it would have no width."""
    outline = {"x": [*x, *reversed(x)], "y": [*high, *reversed(low)]}
    look = {"fill": "toself", "fillcolor": f"{paint}/0.16", "line": {"width": 0, "color": paint}, "hoverinfo": "skip"}
    if len(x) == 1:
        look |= {"fill": "none", "line": {"width": 10, "color": f"{paint}/0.16"}}
    return {"type": "scatter", "mode": "lines", "showlegend": False, **outline, **look, **more}


def learning_curve(
    labels: Sequence[int],
    metrics: Mapping[str, Sequence[float | None]],
    unit: str,
    beyond: Sequence[dict[str, Any]] = (),
) -> Figure:
    """Metrics over labels, one at a time, the first at first; ``x_low`` and ``x_high`` become the band of ``x``.

    ``beyond`` are traces shown with the first metric.
    """
    shown = [m for m in metrics if not m.endswith(("_low", "_high"))]
    chart = figure([], 380, xaxis={"title": {"text": f"labelled {text(unit)}"}, "rangemode": "tozero"})
    owner: list[str] = []
    for metric in shown:
        low, high = metrics.get(f"{metric}_low"), metrics.get(f"{metric}_high")
        if low and high:
            rows = [(x, a, b) for x, a, b in zip(labels, low, high, strict=True) if a is not None and b is not None]
            if rows:
                x, a, b = zip(*rows, strict=True)
                chart["data"].append(ribbon(x, a, b, "@0", visible=metric == shown[0]))
                owner.append(metric)
        template = f"%{{x:,}} {text(unit)}<br>{hover(metric)}<extra></extra>"
        look = {"hovertemplate": template, "visible": metric == shown[0]}
        chart["data"].append(line(labels, metrics[metric], words.title(metric), "@0", **look))
        owner.append(metric)
    chart["data"] += beyond
    owner += shown[:1] * len(beyond)
    chart["choices"] = [
        {"label": words.title(m), "visible": [o == m for o in owner], "layout": {"yaxis": value_axis(m)}} for m in shown
    ]
    chart["layout"]["yaxis"] = value_axis(shown[0]) if shown else {}
    return chart


def confusion_map(counts: NDArray[Any], classes: Sequence[str]) -> Figure:
    """The confusion matrix ``(C, C)`` in three orders; the page colours each cell by its share of the row."""
    given, support = list(range(len(classes))), counts.sum(axis=1)
    recall = [float(counts[i, i] / support[i]) if support[i] else math.inf for i in given]
    orders = {
        "order given": given,
        "most test images first": sorted(given, key=lambda i: -int(support[i])),
        "lowest recall first": sorted(given, key=lambda i: recall[i]),
    }
    chart = figure([], 560, xaxis={"title": {"text": "predicted"}}, yaxis={"title": {"text": "truth"}})
    chart["matrix"] = {
        "counts": counts.astype(int).tolist(),
        "names": [text(name) for name in classes],
        "ticks": [short(name, _LABELS) for name in classes],  # the page cuts them further and makes them text
    }
    chart["choices"] = [{"label": label, "order": order} for label, order in orders.items()]
    return chart


def class_balance(counts: Mapping[str, int], unit: str) -> Figure:
    """Labels so far by class, most first."""
    rows = sorted(counts.items(), key=lambda item: -item[1])
    names = [text(name, _LABELS) for name, _ in rows]
    place = list(range(len(rows)))
    bars: dict[str, Any] = {
        "type": "bar", "x": place, "y": [n for _, n in rows], "marker": {"color": "@0"},
        "customdata": [text(name) for name, _ in rows], "hovertemplate": "%{customdata}: %{y:,}<extra></extra>",
    }  # fmt: skip
    if len(rows) < 6:
        bars["width"] = 0.4
    named = len(rows) <= 24
    below = {"tickvals": place, "ticktext": names, "autotickangles": [0, -40, -90]} if named else {"ticks": ""}
    title = "class" if named else f"{len(rows):,} classes, most labels first"
    classes = {"title": {"text": title}, "showgrid": False}
    axis = {**classes, **below, "showticklabels": named, "automargin": True}
    left = {"title": {"text": f"labelled {text(unit)}"}, "rangemode": "tozero", "automargin": True}
    return figure([bars], 330, xaxis=axis, yaxis=left, bargap=0.25)


def recall_by_labels(
    recall: Mapping[str, float],
    counts: Mapping[str, int],
    support: Mapping[str, int],
    named: tuple[str, str] = ("recall", "images"),
) -> Figure:
    """Recall of each class over its labels so far (logarithmic, 0 set apart); larger points have more test images.

    ``named`` says what is shown in place of recall, and what is tested on. Of at most 12 classes those are named whose
    names have room.
    """
    names = [n for n, r in recall.items() if math.isfinite(r) and support.get(n, 1) > 0]
    have = [counts.get(n, 0) for n in names]
    most = max(have, default=1)
    ends = math.log10(0.38), math.log10(max(most, 2) * 1.6)
    across = [(math.log10(max(n, 0.5)) - ends[0]) / (ends[1] - ends[0]) for n in have]
    shorts = [short(n, _SHORT) for n in names]
    places = _rooms(across, [recall[n] for n in names], shorts) if len(names) <= 12 else [None] * len(names)
    widest, grow = max((support.get(n, 0) for n in names), default=0) or 1, 9 if len(names) <= 12 else 4
    size = [6 + grow * (support.get(n, 0) / widest) ** 0.5 for n in names]
    points = {
        "type": "scatter", "mode": "markers+text", "cliponaxis": False,
        "x": [max(n, 0.5) for n in have], "y": [recall[n] for n in names],
        "text": [text(n) if place else "" for n, place in zip(shorts, places, strict=True)],
        "textposition": [place or "top center" for place in places],
        "customdata": [[text(n), k, support.get(n, 0)] for n, k in zip(names, have, strict=True)],
        "marker": {"color": "@1", "size": size, "opacity": 0.75},
        "hovertemplate": "%{customdata[0]}<br>" + named[0] + " %{y:.1%}, %{customdata[1]:,} labels<br>"
        "%{customdata[2]:,} test " + named[1] + "<extra></extra>",
    }  # fmt: skip
    ticks = [(0.5, "0")] + [(t, f"{t:,}") for e in range(7) for t in (10**e, 3 * 10**e) if t <= most * 1.2]
    below = {
        "type": "log", "title": {"text": f"labelled {text(named[1])} of the class"}, "tickvals": [t for t, _ in ticks],
        "ticktext": [name for _, name in ticks], "range": list(ends),
    }  # fmt: skip
    left: dict[str, Any] = {"title": {"text": named[0]}, "tickformat": ".0%", "range": [-0.06, 1.12], "dtick": 0.25}
    left |= {"tick0": 0, "automargin": True}
    return figure([points], 330, xaxis=below, yaxis=left)


def _rooms(x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> list[str | None]:
    """Where the name of each point stands so that none covers another or a point, None where there is no room.

    ``x`` and ``y`` are parts of the axes; the sizes are those of letters on a narrow screen.
    """
    wide, high = 0.028, 0.075  # a letter, a line
    taken = [(a - 0.02, b - 0.03, a + 0.02, b + 0.03) for a, b in zip(x, y, strict=True)]
    found: list[str | None] = []
    for i, (a, b, name) in enumerate(zip(x, y, names, strict=True)):
        size = wide * len(name)
        for place, left, low in (
            ("top center", a - size / 2, b + 0.03),
            ("middle left", a - size - 0.03, b - high / 2),
            ("middle right", a + 0.03, b - high / 2),
            ("bottom center", a - size / 2, b - 0.03 - high),
        ):
            box = (left, low, left + size, low + high)
            others = (t for j, t in enumerate(taken) if j != i)
            if left >= 0 and box[2] <= 1.03 and low >= -0.1 and not any(_overlap(box, other) for other in others):
                taken.append(box)
                found.append(place)
                break
        else:
            found.append(None)
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def timings(rounds: Sequence[int], seconds: Sequence[Mapping[str, float]]) -> Figure:
    """Stacked bars of the seconds per step in each round."""
    steps = list(dict.fromkeys(step for row in seconds for step in row))
    data = [
        {
            "type": "bar", "name": text(step), "x": list(rounds), "y": [row.get(step, 0.0) for row in seconds],
            "marker": {"color": colour(i)}, "hovertemplate": "round %{x}: %{y:.2f} s<extra>" + text(step) + "</extra>",
        }
        for i, step in enumerate(steps)
    ]  # fmt: skip
    below = {"title": {"text": "round"}, "showgrid": False, "tickformat": "d"}
    if len(rounds) <= 20:
        below["dtick"] = 1
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
    more = {"barmode": "stack", "showlegend": True, "legend": legend, "bargap": 0.35 if len(rounds) <= _MANY else 0}
    left = {"title": {"text": "seconds"}, "automargin": True}
    return figure([*data], 300, xaxis=below, yaxis=left, **more)


def abstention(curve: Sequence[Sequence[float]], threshold: float) -> Figure:
    """Coverage and accuracy over the threshold, and where it is now; rows of ``curve`` are threshold, coverage and
    accuracy."""
    x, coverage, accuracy = (list(column) for column in zip(*curve, strict=True))
    template = "from %{x:.2f} on: %{y:.1%}"
    data = [
        line(x, values, name, paint, mode="lines", hovertemplate=f"{template}<extra>{name}</extra>")
        for values, name, paint in ((accuracy, "accuracy", "@0"), (coverage, "coverage", "@1"))
    ]
    if threshold > 0:
        data.append(line([threshold] * 2, [0, 1], "threshold", "@grey", mode="lines", hoverinfo="skip"))
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    below = {"title": {"text": "threshold"}, "range": [0, 1]}
    left = {"title": {"text": "share of test images"}, "tickformat": ".0%", "rangemode": "tozero", "automargin": True}
    return figure(data, 300, xaxis=below, yaxis=left, showlegend=True, legend=legend)


@dataclass(frozen=True, slots=True)
class Look:
    """The unit on the axis, and each arm's colour: the baseline grey and dashed, the others by the palette."""

    unit: str
    arms: tuple[str, ...]
    baseline: str | None

    def of(self, arm: str) -> tuple[str, str]:
        """Colour and line style of an arm."""
        if arm == self.baseline:
            return "@grey", "dash"
        index = [a for a in self.arms if a != self.baseline].index(arm)
        return colour(index), dash(index)


def arms_chart(metric: str, bands: Mapping[str, Band], curves: Mapping[str, Mapping[int, Curve]], look: Look) -> Figure:
    """Mean curve and band of every arm, or each seed's own curve."""
    below = {"title": {"text": f"labelled {text(look.unit)}"}, "rangemode": "tozero"}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    chart = figure([], 420, xaxis=below, yaxis=value_axis(metric), showlegend=True, legend=legend)
    single: list[bool] = []
    for arm, mean in bands.items():
        (paint, style), said = look.of(arm), short(arm, _NAMED)
        name = {"hovertemplate": f"%{{x:,}}: {hover(metric)}<extra>{text(arm)}</extra>"}
        if mean.seeds > 1:
            chart["data"].append(ribbon(mean.labels.tolist(), mean.low.tolist(), mean.high.tolist(), paint))
            single.append(False)
        stroke = {"color": paint, "width": 2.25, "dash": style}
        chart["data"].append(line(mean.labels.tolist(), mean.mean.tolist(), said, paint, **{**name, "line": stroke}))
        single.append(False)
        for place, (seed, curve) in enumerate(curves[arm].items()):
            thin = {"color": paint, "width": 1.2, "dash": style}
            tag = {"hovertemplate": f"%{{x:,}}: {hover(metric)}<extra>{text(arm)}, seed {seed}</extra>"}
            more = {"mode": "lines", "line": thin, "showlegend": place == 0, "legendgroup": text(arm), **tag}
            chart["data"].append(line(curve.labels.tolist(), curve.values.tolist(), said, paint, **more, visible=False))
            single.append(True)
    chart["choices"] = [
        {"label": "mean and 95 % interval", "visible": [not s for s in single]},
        {"label": "every seed", "visible": single},
    ]
    return chart
