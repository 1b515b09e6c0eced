"""What a run's figures let expect: the next round's gain, the labels a target needs, further classes; whether to stop.

Advice never stops a run. It says stop only where the figures have levelled off and no further classes are to be
expected (both, after Kurinchi-Vendhan and Beery, 2026), or where the target is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from labelwise.curves import Curve
from labelwise.discovery import Discovery, discovered
from labelwise.evaluate import Interval, macro_f1_interval
from labelwise.forecast import FEWEST, Estimate, Forecast, Needed, forecast
from labelwise.records import Floats
from labelwise.results import RunResult

SURE = 0.95  # how sure a target must be reached
NEW_CLASSES = 0.5  # classes expected in a round, below which discovery counts as done
_DRAWS = 200  # of the bootstrap that gives a figure's standard error
_MANY = 100  # classes from which on the bootstrap would take long: the error is then taken to be unknown
_Z = 1.96


@dataclass(frozen=True)
class Outlook:
    """What can be expected of a run, as it stands.

    ``metric`` is the task's first figure and ``curve`` its learning curve with the standard ``errors`` of its points
    (NaN: not known), None before the first. ``forecast`` is None with too few points. ``step`` is the number of labels
    that the next round is taken to have, ``gain`` what it brings, ``left`` the images of the pool that nobody was asked
    yet, None where only parts of them are asked; with none left there is nothing to forecast. ``discovery`` is None
    where classes are not counted. ``audited`` is the share of right answers on the audit sample, if there is one.
    ``advice`` is "stop", "go on" or "wait" (nothing can be said yet), ``reason`` one sentence.
    """

    metric: str
    unit: str
    curve: Curve | None
    errors: Floats
    forecast: Forecast | None
    step: int
    left: int | None
    gain: Estimate | None
    target: float | None
    needed: Needed | None
    discovery: Discovery | None
    new_classes: float
    audited: Interval | None
    advice: Literal["stop", "go on", "wait"]
    reason: str


def outlook(result: RunResult, target: float | None = None) -> Outlook:
    """What a run's figures let expect; ``target`` takes the place of the configuration's."""
    metric, target = result.metrics[0], target if target is not None else result.config.advice.target
    curve = result.curve(metric)
    errors = _errors_on(result, metric, curve)
    left = _left(result)
    found = forecast(curve, errors) if curve is not None and left != 0 else None
    step = _step(result)
    if left and result.unit == "images":
        step = min(step, left)
    gain = found.gain(step) if found is not None else None
    needed = found.needed(target) if found is not None and target is not None else None
    discovery = discovery_of(result)
    images = _step(result, images=True) if left is None else min(_step(result, images=True), left)
    new = discovery.new(images) if discovery is not None else 0.0
    advice, reason = _advice(result, curve, found, gain, target, discovery, new)
    if left == 0:
        advice, reason = "stop", "every image of the pool has been asked"
    return Outlook(
        metric=metric,
        unit=result.unit,
        curve=curve,
        errors=errors,
        forecast=found,
        step=step,
        left=left,
        gain=gain,
        target=target,
        needed=needed,
        discovery=discovery,
        new_classes=new,
        audited=audited(result),
        advice=advice,
        reason=reason,
    )


def discovery_of(result: RunResult) -> Discovery | None:
    """The classes found in the images that people answered; None for masks, whose classes are known before."""
    if result.config.task == "segment":
        return None
    seen: dict[str, set[str]] = {}
    for queries in result.queries.values():
        for query in queries:
            answer = result.annotations.get(query.id)
            if answer is not None and answer.target is not None:
                seen.setdefault(query.sample_id, set()).update(answer.target.classes)
    return discovered(sorted(classes) for classes in seen.values())


def audited(result: RunResult) -> Interval | None:
    """The share of right predictions on the audit sample with its 95 % interval: drawn at random, so without bias."""
    rounds = result.evaluations["audit"]
    scores = rounds[max(rounds)] if rounds else {}
    if "accuracy_low" not in scores:
        return None
    return Interval(*(float(scores[f"accuracy{end}"]) for end in ("", "_low", "_high")))


def standard_error(scores: Mapping[str, Any], metric: str) -> float:
    """The standard error of a round's figure, as far as its judged images tell; NaN where it is not known."""
    if f"{metric}_low" in scores:
        return float(scores[f"{metric}_high"] - scores[f"{metric}_low"]) / (2 * _Z)
    n = int(scores.get("n", 0))
    if metric == "accuracy" and n:
        share = (scores["accuracy"] * n + 2) / (n + 4)  # never 0: Agresti and Coull, 1998
        return float(np.sqrt(share * (1 - share) / (n + 4)))
    if metric != "macro_f1" or not scores.get("confusion") or len(scores["classes"]) > _MANY:
        return float("nan")
    cells = np.array(scores["confusion"])
    truth, predicted = np.repeat(cells[:, 0], cells[:, 2]), np.repeat(cells[:, 1], cells[:, 2])
    bounds = macro_f1_interval(truth, predicted, rng=np.random.default_rng(0), draws=_DRAWS)
    return float(bounds.high - bounds.low) / (2 * _Z)


def _errors_on(result: RunResult, metric: str, curve: Curve | None) -> Floats:
    """Standard errors at the points of the curve."""
    if curve is None:
        return np.zeros(0)
    by_labels = {result.labels(r): standard_error(s, metric) for r, s in result.evaluations[result.split].items()}
    return np.array([by_labels[int(labels)] for labels in curve.labels])


def _step(result: RunResult, *, images: bool = False) -> int:
    """Labels, or images, that the last finished round brought: what the next one is taken to bring."""
    count = result.images if images else result.labels
    done = sorted(result.evaluations[result.split]) or result.rounds
    totals = [count(r) for r in done][-2:]
    return max(1, totals[-1] - totals[0] if len(totals) > 1 else totals[-1]) if totals else 1


def _left(result: RunResult) -> int | None:
    """Images of the pool that nobody was asked yet; None where only parts of images are asked."""
    pool = result.split_sizes.get("pool", 0)
    if not pool or result.unit not in ("images", "boxes"):
        return None
    queries = (query for round in result.queries.values() for query in round)
    return max(0, pool - len({q.sample_id for q in queries if q.purpose == "train" and q.id in result.annotations}))


def _advice(
    result: RunResult,
    curve: Curve | None,
    found: Forecast | None,
    gain: Estimate | None,
    target: float | None,
    discovery: Discovery | None,
    new: float,
) -> tuple[Literal["stop", "go on", "wait"], str]:
    points = 0 if curve is None else len(curve.labels)
    if found is None or gain is None:
        return "wait", f"a forecast needs {FEWEST} judged rounds, and there are {points}"
    if target is not None and float((found.now >= target).mean()) >= SURE:
        return "stop", f"the target of {_percent(target)} is reached"
    least = result.config.advice.least_gain
    if gain.high >= least:
        doubt = f", though {found.doubt}" if found.doubt else ""
        return "go on", f"the next round may bring {_points(gain.low)} to {_points(gain.high)} points{doubt}"
    level = f"the next round is expected to bring less than {_points(least)} points"
    if discovery is not None and new >= NEW_CLASSES:
        seen = "1 class was" if discovery.once == 1 else f"{discovery.once} classes were"
        return "go on", f"{level}, but {seen} seen only once: about {new:.1f} new ones may come in it"
    classes = ", and no new class" if discovery is not None else ""
    return "stop", f"{level}{classes}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
