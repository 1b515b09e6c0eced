"""The report of one run: what every label bought, which images were chosen and why, and what it was made with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwise.evaluate import METRICS
from labelwise.records import Problem, Task
from labelwise.report import figures, thumbnails, words
from labelwise.report.outlook import discovery_chart, forecast_traces, sentences
from labelwise.report.pages import render
from labelwise.report.views import PickView, RoundView, RunView

_PAIRS = 12  # most frequent confusions shown
_FILES = 200  # names of left-out files shown per verdict


def run_page(view: RunView, *, picture_bytes: int = thumbnails.BYTES_IN_ALL) -> str:
    """The report of one run as a self-contained HTML page.

    ``picture_bytes`` bounds all thumbnails together; plotly adds 4.8 MB. Unreadable pictures become placeholders.
    """
    evaluated = [r for r in view.rounds if r.metrics]
    last = evaluated[-1] if evaluated else None
    return render(
        "run.html",
        view=view,
        facts=_facts(view),
        metrics=_metrics(evaluated, view.task),
        rows=[_row(r, list(dict.fromkeys(unit for r in view.rounds for unit in r.amounts))) for r in view.rounds],
        efforts=_efforts(view),
        agreement=_agreement(view),
        boxes=view.task == "detect",
        steps=list(dict.fromkeys(step for r in view.rounds for step in r.seconds)),
        last=last,
        expected=sentences(view.outlook) if view.outlook else [],
        charts=_charts(view, evaluated, last),
        pairs=_worst_pairs(last, view.classes),
        unseen=_without_support(last),
        per_class=_per_class(view, last),
        rounds=_picks(view.rounds, picture_bytes, view.pictures),
        problems=_by_verdict(view.problems),
    )


def _charts(view: RunView, evaluated: Sequence[RoundView], last: RoundView | None) -> dict[str, figures.Figure]:
    charts: dict[str, figures.Figure] = {}
    if evaluated:
        series = {m: [_finite(r.metrics.get(m)) for r in evaluated] for m in _all_metrics(evaluated, view.task)}
        beyond = forecast_traces(view.outlook) if view.outlook and view.outlook.metric == next(iter(series)) else ()
        charts["curve"] = figures.learning_curve([r.labels for r in evaluated], series, view.unit, beyond)
    if view.outlook and view.outlook.discovery and (found := discovery_chart(view.outlook.discovery)):
        charts["discovery"] = found
    if last and last.confusion is not None and np.asarray(last.confusion).size:
        charts["confusion"] = figures.confusion_map(np.asarray(last.confusion), view.classes)
    counted = next((r for r in reversed(view.rounds) if r.class_counts), None)
    if counted:
        charts["balance"] = figures.class_balance(
            {c: counted.class_counts.get(c, 0) for c in view.classes}, view.judged
        )
    if last and last.recall and last.class_counts:
        charts["recall"] = figures.recall_by_labels(
            last.recall, last.class_counts, last.support, (view.figure, view.judged)
        )
    if last and last.abstention:
        charts["abstention"] = figures.abstention(last.abstention, view.threshold)
    timed = [r for r in view.rounds if r.seconds]
    if timed:
        charts["timings"] = figures.timings([r.round for r in timed], [r.seconds for r in timed])
    return charts


def _facts(view: RunView) -> list[dict[str, str]]:
    """The key numbers at the top: a name, a value, a remark."""
    evaluated = [r for r in view.rounds if r.metrics]
    labels = view.rounds[-1].labels if view.rounds else 0
    total = view.counts.get("pool", 0)
    of_pool = total if view.unit == "images" else 0
    share = f"{labels / total:.1%} of {total:,} in the pool".replace("%", " %") if of_pool else ""
    facts = [{"name": f"labelled {view.unit}", "value": f"{labels:,}", "note": share}]
    for metric in METRICS[view.task][:2][::-1]:
        known = [r for r in evaluated if math.isfinite(r.metrics.get(metric, math.nan))]
        if known:
            facts.append(_quality(metric, known))
    seconds = sum(sum(r.seconds.values()) for r in view.rounds)
    facts.append({"name": "rounds", "value": str(len(view.rounds)), "note": ""})
    if seconds:
        facts.append({"name": "computing time", "value": words.duration(seconds), "note": "without people's time"})
    return facts


def _quality(metric: str, known: Sequence[RoundView]) -> dict[str, str]:
    last, best = known[-1], max(known, key=lambda r: r.metrics[metric])
    value = words.amount(metric, last.metrics[metric])
    low, high = (last.metrics.get(f"{metric}_{end}", math.nan) for end in ("low", "high"))
    if math.isfinite(low) and math.isfinite(high):
        note = f"95 % interval {100 * low:.1f}–{100 * high:.1f} %"
    elif best is last:
        note = "its best so far"
    else:
        note = f"best {words.amount(metric, best.metrics[metric])} at {best.labels:,} labels"
    return {"name": words.title(metric), "value": value, "note": note}


def _agreement(view: RunView) -> list[dict[str, str]]:
    """Figures of how far people agree: a name, a value, a remark; none unless several have answered the same."""
    found = view.agreement
    if found is None or not found.queries:
        return []
    what = {"classify": "images", "segment": "pixels", "detect": "pairs of boxes"}[view.task]
    rows = [
        ("the same class", words.percent(found.same), f"of {found.items:,} {what}", found.same),
        ("Cohen's kappa", f"{found.kappa:.2f}", "two people; 1: full agreement, 0: as by chance", found.kappa),
        ("Krippendorff's alpha", f"{found.alpha:.2f}", "any number of people; 1: full, 0: as by chance", found.alpha),
        ("mean IoU", f"{found.overlap:.2f}", "of pairs of answers; 1: the same places", found.overlap),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note, known in rows if math.isfinite(known)]


def _efforts(view: RunView) -> list[dict[str, str]]:
    """A row for each round with answers to proposals, or whose time was measured."""
    rows = []
    for r in view.rounds:
        found = r.effort
        if not found.proposed and not found.timed:
            continue
        counts = ("proposed", "accepted", "moved", "renamed", "added", "deleted")
        row = {name: f"{getattr(found, name):,}" for name in counts}
        row["share"] = words.percent(found.accepted / found.proposed) if found.proposed else words.NOTHING
        row["iou"] = f"{found.mean_iou:.2f}" if math.isfinite(found.mean_iou) else words.NOTHING
        row["seconds"] = f"{found.seconds / found.timed:.1f}" if found.timed else words.NOTHING
        rows.append({"round": str(r.round), **row})
    return rows


def _all_metrics(rounds: Sequence[RoundView], task: Task) -> list[str]:
    """The metrics of all rounds, the one that the forecast is about first."""
    known = list(dict.fromkeys(metric for r in rounds for metric in r.metrics))
    return [m for m in METRICS[task] if m in known] + [m for m in known if m not in METRICS[task]]


def _metrics(rounds: Sequence[RoundView], task: Task) -> list[str]:
    return [m for m in _all_metrics(rounds, task) if not m.endswith(("_low", "_high"))]


def _row(view: RoundView, units: Sequence[str]) -> dict[str, Any]:
    answered = [p for p in view.picks if p.answer is not None and p.proposal is not None]
    right, of = sum(p.answer == p.proposal for p in answered), len(answered)
    if view.effort.proposed:  # of boxes each counts by itself
        right, of = view.effort.accepted, view.effort.proposed
    return {
        "round": view.round,
        "labels": view.labels,
        "picks": len(view.picks),
        "right": f"{right} of {of}" if of else words.NOTHING,
        "amounts": {unit: view.amounts.get(unit) for unit in units},
        "metrics": view.metrics,
        "seconds": words.duration(sum(view.seconds.values())) if view.seconds else words.NOTHING,
        "steps": view.seconds,
    }


def _worst_pairs(last: RoundView | None, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent confusions: truth, prediction, count, share of the truth's test images."""
    if last is None or last.confusion is None or not np.asarray(last.confusion).size:
        return []
    counts = np.asarray(last.confusion)
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    found = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j] > 0]
    return [
        {"truth": classes[i], "called": classes[j], "count": int(wrong[i, j]), "of": int(counts[i].sum())}
        for i, j in found
    ]


def _without_support(last: RoundView | None) -> list[str]:
    return [name for name, n in last.support.items() if n == 0] if last else []


def _per_class(view: RunView, last: RoundView | None) -> list[dict[str, Any]]:
    if last is None or not last.recall:
        return []
    return [
        {
            "name": name,
            "labels": last.class_counts.get(name, 0),
            "support": last.support.get(name, 0),
            "recall": words.percent(last.recall.get(name, math.nan)),
            "precision": words.percent(last.precision.get(name, math.nan)),
            "iou": words.percent(last.iou.get(name, math.nan)),
        }
        for name in view.classes
    ]


def _maps(view: RoundView) -> list[dict[str, Any]]:
    """The pictures of what was chosen inside images, as data URIs."""
    paths = [path for m in view.maps for path in (m.chosen, m.score) if path is not None]
    uris = dict(zip(paths, thumbnails.data_uris(paths, edge=thumbnails.LARGE), strict=True))
    return [
        {"id": m.sample_id, "chosen": m.chosen and uris[m.chosen], "score": m.score and uris[m.score]}
        for m in view.maps
    ]


def _picks(rounds: Sequence[RoundView], picture_bytes: int, drawn: int) -> list[dict[str, Any]]:
    """Rounds newest first, each with the cards it shows; pictures of the newest rounds are paid for first.

    With boxes to see in them they are larger, and ``drawn`` a round.
    """
    chosen = [r for r in reversed(rounds) if r.picks]
    boxes = any(p.boxes for r in chosen for p in r.picks)
    each = min(drawn, thumbnails.allowance(len(chosen))) if boxes else thumbnails.allowance(len(chosen))
    shown = [r.picks[:each] for r in chosen]
    edge = thumbnails.LARGE if boxes else thumbnails.EDGE
    pictures = iter(
        thumbnails.data_uris(((p.path, p.crop) for picks in shown for p in picks), picture_bytes, edge=edge)
    )
    return [
        {
            "round": r.round,
            "count": len(r.picks),
            "more": len(r.picks) - len(picks),
            "answered": sum(p.answer is not None for p in r.picks),
            "cards": [_card(p, next(pictures)) for p in picks],
            "maps": _maps(r),
            "boxes": boxes,
            "judged": any(p.proposal is not None and p.answer is not None and p.boxes is None for p in r.picks),
        }
        for r, picks in zip(chosen, shown, strict=True)
    ]


def _card(pick: PickView, picture: str | None) -> dict[str, Any]:
    mark, said = "none", "not answered"
    if pick.answer is not None:
        mark, said = "new", pick.answer
        if pick.proposal is not None and pick.boxes is None:
            mark = "right" if pick.answer == pick.proposal else "wrong"
    return {"pick": pick, "picture": picture, "mark": mark, "said": said}


def _by_verdict(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    groups: Mapping[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.code].append(problem)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {"code": code, "count": len(found), "shown": found[:_FILES], "more": max(0, len(found) - _FILES)}
        for code, found in ordered
    ]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
