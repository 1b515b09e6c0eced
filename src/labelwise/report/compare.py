"""The report of a comparison: several strategies over several seeds, measured against a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from labelwise.curves import Band, Curve, Saved, area_under, band, labels_saved, mean_curve, paired_difference
from labelwise.errors import DataError
from labelwise.report import figures, statements, words
from labelwise.report.pages import render
from labelwise.report.views import CompareView

Curves = Mapping[int, Curve]


def compare_page(view: CompareView) -> str:
    """The comparison as a self-contained HTML page: per metric a chart, statements and a table.

    Values are compared at the labels all arms reach. The bootstrap draws with a fixed seed, so the same view gives the
    same page.
    """
    seeds = {arm: len(by_seed) for arm, by_seed in view.arms.items()}
    views = (view, *view.others)
    several = bool(view.others)
    sections = [s for v in views for s in (_section(v, metric, several) for metric in v.metrics) if s]
    return render("compare.html", view=view, sections=sections, seeds=seeds, notes=_notes(view, seeds))


def _section(view: CompareView, metric: str, several: bool) -> dict[str, Any] | None:
    arms = {arm: {s: m[metric] for s, m in by_seed.items() if metric in m} for arm, by_seed in view.arms.items()}
    arms = {arm: curves for arm, curves in arms.items() if curves}
    if not arms:
        return None
    look = figures.Look(view.unit, tuple(view.arms), view.baseline)
    bands = {arm: _possible(metric, band(list(curves.values()))) for arm, curves in arms.items()}
    base = arms.get(view.baseline) if view.baseline else None
    unit = view.unit if several else "labels"  # where there are several, it says which
    rows = [_row(arm, arms, base, metric, view.baseline, unit) for arm in _ordered(arms, view.baseline)]
    return {
        "metric": metric if view.others or not several else f"{metric}-{view.unit}",
        "title": words.title(metric),
        "several": several,
        "unit": unit,
        "lower": words.lower_is_better(metric),
        "chart": figures.arms_chart(metric, bands, arms, look),
        "rows": rows,
        "sentences": [row["sentence"] for row in rows if row["sentence"]],
        "at": words.whole(_end(arms)),
        "level": words.whole(_reach(base)) if base else None,
    }


def _possible(metric: str, found: Band) -> Band:
    """A band cut to the values that the metric can have: a t-interval of few seeds reaches far beyond them."""
    top = 1.0 if words.is_share(metric) else math.inf
    return replace(found, low=np.clip(found.low, 0, top), high=np.clip(found.high, 0, top))


def _row(
    arm: str, arms: Mapping[str, Curves], base: Curves | None, metric: str, name: str | None, unit: str
) -> dict[str, Any]:
    curves, end = arms[arm], _end(arms)
    row: dict[str, Any] = {"arm": arm, "seeds": len(curves), "baseline": arm == name, "sentence": None, "saved": None}
    row["final"], row["spread"] = _final(metric, curves, end)
    start = max(c.labels[0] for by_seed in arms.values() for c in by_seed.values())
    row["area"] = words.amount(metric, _area(mean_curve(list(curves.values())), start, end))
    if base is None or name is None or arm == name:
        return row
    try:
        saved = labels_saved(_upward(curves, metric), _upward(base, metric), rng=np.random.default_rng(0))
        difference = paired_difference(curves, base, end)
    except DataError as error:
        return {**row, "sentence": f"{arm} cannot be compared with {name}: {error}"}
    saved = _shown(saved, metric)
    most = "≤ " if saved.at_start and math.isfinite(saved.needed) else ""
    row["saved"] = {"needed": most + words.whole(saved.needed), "ratio": most + statements.ratio(saved.ratio)}
    row["saved"]["range"] = statements.ratio_range(saved)
    row["difference"] = statements.end_difference(metric, difference)
    row["sentence"] = statements.saving(arm, name, metric, saved, unit)
    return row


def _final(metric: str, curves: Curves, end: float) -> tuple[str, str]:
    """Mean at the end, and the standard deviation over seeds; dashes if some seed does not go there."""
    if any(not c.labels[0] <= end <= c.labels[-1] for c in curves.values()):
        return words.NOTHING, words.NOTHING
    values = np.array([np.interp(end, c.labels, c.values) for c in curves.values()])
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return words.amount(metric, float(values.mean())), words.gap(metric, spread, signed=False)


def _area(curve: Curve, start: float, end: float) -> float:
    """Area under the part of a curve between the labels that all arms cover; NaN if there is none."""
    if not curve.labels[0] <= start <= end <= curve.labels[-1]:
        return float("nan")
    inside = curve.labels[curve.labels > start]
    labels = np.concatenate([[start], inside])
    return area_under(Curve(labels, np.interp(labels, curve.labels, curve.values)), up_to=end)


def _end(arms: Mapping[str, Curves]) -> float:
    """The most labels that every arm and seed reaches."""
    return float(min(_reach(curves) for curves in arms.values()))


def _reach(curves: Curves) -> float:
    return float(min(c.labels[-1] for c in curves.values()))


def _upward(curves: Curves, metric: str) -> dict[int, Curve]:
    """The curves so that more is better."""
    sign = -1.0 if words.lower_is_better(metric) else 1.0
    return {seed: Curve(c.labels, sign * np.asarray(c.values)) for seed, c in curves.items()}


def _shown(saved: Saved, metric: str) -> Saved:
    return replace(saved, quality=-saved.quality) if words.lower_is_better(metric) else saved


def _ordered(arms: Mapping[str, Curves], baseline: str | None) -> list[str]:
    return sorted(arms, key=lambda arm: arm == baseline)


def _notes(view: CompareView, seeds: Mapping[str, int]) -> list[str]:
    notes = []
    if view.baseline is None or view.baseline not in view.arms:
        notes.append("There is no random arm, so this page cannot say what a strategy saves.")
    if seeds and min(seeds.values()) < statements.ENOUGH_SEEDS:
        notes.append(f"Some arms have fewer than {statements.ENOUGH_SEEDS} seeds: differences may be chance.")
    if not any(view.arms.values()):
        notes.append("No curves yet: run at least one strategy.")
    return notes
