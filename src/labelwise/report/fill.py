"""From a run's results to the report's views, and to the page."""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from labelwise import config as configuration
from labelwise.advice import outlook
from labelwise.curves import Curve
from labelwise.data.masks import class_counts
from labelwise.reasons import sentence
from labelwise.records import Query, Target, left_out
from labelwise.report.compare import compare_page
from labelwise.report.maps import CHOSEN, map_folder
from labelwise.report.run import run_page
from labelwise.report.views import BoxesView, CompareView, MapView, PickView, RoundView, RunView
from labelwise.results import RunResult
from labelwise.results.comparison import Comparison
from labelwise.store import SETUP

_JUDGED = {"classify": "images", "segment": "pixels", "detect": "boxes"}
_SHOWN = ("labelwise", "torch", "torchvision", "timm", "scikit-learn", "numpy", "pillow")


def run_report(result: RunResult) -> str:
    """The report of one run as HTML."""
    return run_page(run_view(result))


def compare_report(comparison: Comparison, title: str = "") -> str:
    """The report of several runs as HTML."""
    return compare_page(compare_view(comparison, title))


def run_view(result: RunResult) -> RunView:
    """What the report of a run shows."""
    strategy = configuration.strategy_text(result.config.strategy)
    return RunView(
        name=result.config.name,
        state=f"{result.state}: {result.message}",
        task=result.config.task,
        unit=result.unit,
        judged=_JUDGED[result.config.task],
        figure="AP" if result.config.task == "detect" else "recall",
        pictures=result.config.pictures,
        agreement=result.agreement if result.shared else None,
        threshold=result.config.threshold,
        classes=result.classes,
        strategy=f"{strategy}, round 0 by {configuration.strategy_text(result.config.cold_start)}",
        model=_model_text(result),
        config_yaml=configuration.dump(result.config),
        versions=versions(),
        created=result.created,
        rounds=tuple(_round_view(result, r) for r in result.rounds),
        problems=tuple(result.problems),
        duplicates=sum("duplicate" in p.code for p in result.problems),
        counts=_counts(result),
        outlook=outlook(result),
    )


def compare_view(comparison: Comparison, title: str = "") -> CompareView:
    """What the report of several runs shows."""
    first = next(iter(next(iter(comparison.arms.values())).values()))
    name = title or first.config.name.partition("/")[0]
    yaml = configuration.dump(first.config)
    views = [
        CompareView(name, unit, metrics, _arms(comparison, metrics, unit), comparison.baseline, yaml, versions())
        for unit in comparison.units
        for metrics in [comparison.metrics if unit == comparison.units[0] else comparison.metrics[:1]]
    ]
    return replace(views[0], others=tuple(views[1:]))


def _arms(comparison: Comparison, metrics: tuple[str, ...], unit: str) -> dict[str, dict[int, dict[str, Curve]]]:
    return {
        arm: {
            seed: {m: c for m in metrics if (c := result.curve(m, unit)) is not None}
            for seed, result in results.items()
        }
        for arm, results in comparison.arms.items()
    }


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the figures."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in _SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _model_text(result: RunResult) -> str:
    model = result.config.model
    shown = {
        k: v["name"] if isinstance(v, dict) else v
        for k, v in model.options.items()
        if k in ("backbone", "head", "start")
    }
    return ", ".join([model.name, *(f"{k} {v}" for k, v in shown.items())])


def _counts(result: RunResult) -> dict[str, int]:
    answers = result.annotations.values()
    counts = {
        "pool": result.split_sizes.get("pool", 0),
        f"labelled {result.unit}": result.labels(max(result.rounds, default=0)),
        "source": result.split_sizes.get("source", 0),
        "test": result.split_sizes.get("test", 0),
        "audit": result.split_sizes.get("audit", 0),
        "skipped": sum(a.skipped for a in answers),
        "left out": left_out(result.problems, result.samples).total(),
    }
    return {name: count for name, count in counts.items() if count or name == "pool" or name.startswith("labelled")}


def _round_view(result: RunResult, round: int) -> RoundView:
    scores: dict[str, Any] = result.evaluations[result.split].get(round, {})
    classes = scores.get("classes", [])
    by_class = scores.get("recall", scores.get("ap", []))
    recall = {c: r for c, r in zip(classes, by_class, strict=True) if np.isfinite(r)}
    return RoundView(
        round=round,
        labels=result.labels(round),
        metrics={k: v for k, v in scores.items() if k.startswith(result.metrics) and np.isfinite(v)},
        recall=recall,
        precision=dict(zip(classes, scores.get("precision", [np.nan] * len(classes)), strict=True)),
        support=dict(zip(classes, scores.get("support", []), strict=True)),
        confusion=_confusion(scores, len(result.classes)) if "confusion" in scores else None,
        abstention=scores.get("abstention", ()),
        class_counts=dict(result.class_counts(round)),
        seconds=(result.seconds.get(SETUP, {}) if round == 0 else {}) | result.seconds.get(round, {}),
        picks=tuple(_pick(result, q) for q in result.queries.get(round, [])),
        maps=_maps(result, round),
        effort=result.effort(round),
        amounts={unit: result.amount(round, unit) for unit in result.units[1:]}
        | {name: n for name, n in scores.get("labelled", {}).items() if n and name != result.unit},
        iou={c: v for c, v in zip(classes, scores.get("iou", []), strict=False) if np.isfinite(v)},
    )


def _confusion(scores: dict[str, Any], size: int) -> Any:
    """The dense matrix on all classes of the run, those that came later included."""
    matrix = np.zeros((size, size), dtype=np.int64)
    for truth, prediction, count in scores["confusion"]:
        matrix[truth, prediction] = count
    return matrix


def _maps(result: RunResult, round: int) -> tuple[MapView, ...]:
    """The pictures that the query step drew, by image."""
    folder = map_folder(result.folder, round)
    if not folder.is_dir():
        return ()
    by_content = {s.content: s.id for s in result.samples.values()}
    names = sorted({file.stem.removesuffix(CHOSEN) for file in folder.glob("*.png")} & by_content.keys())
    found = [(folder / f"{name}.png", folder / f"{name}{CHOSEN}.png", by_content[name]) for name in names]
    return tuple(
        MapView(id, score if score.is_file() else None, chosen if chosen.is_file() else None)
        for score, chosen, id in sorted(found, key=lambda row: row[2])
    )


def _answer(target: Target) -> str:
    """A target in a few words: its class, or its classes with their counts."""
    if target.geometry is None and target.mask is None:
        return target.classes[0]
    counts = class_counts(target)
    if not counts:
        return "nothing"
    return ", ".join(f"{name} {counts[name]:,}" for name in sorted(counts, key=lambda name: (-counts[name], name))[:4])


def _pick(result: RunResult, query: Query) -> PickView:
    answer = result.annotations.get(query.id)
    return PickView(
        sample_id=query.sample_id,
        path=result.samples[query.sample_id].path,
        rank=query.rank,
        reason=sentence(query.reason),
        proposal=_answer(query.proposal) if query.proposal and query.geometry is None else None,
        answer=_answer(answer.target) if answer and answer.target else None,
        boxes=_boxes(result, query) if result.config.task == "detect" else None,
        crop=result.samples[query.sample_id].crop,
    )


def _boxes(result: RunResult, query: Query) -> BoxesView:
    answer = result.annotations.get(query.id)
    return BoxesView(
        result.samples[query.sample_id].size, _corners(query.proposal), _corners(answer.target if answer else None)
    )


def _corners(target: Target | None) -> tuple[tuple[str, float, float, float, float], ...]:
    if target is None or target.geometry is None:
        return ()
    corners = zip(target.classes, target.geometry.tolist(), strict=True)
    return tuple((name, x0, y0, x1 - x0, y1 - y0) for name, (x0, y0, x1, y1) in corners)
