"""What the read verbs print: status, comparisons and the catalogue, as tables for people and as plain facts for --json."""

from __future__ import annotations

import math
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from labelwise import catalog
from labelwise.config import strategy_text
from labelwise.curves import area_under, mean_curve, paired_difference
from labelwise.errors import ConfigError
from labelwise.results import Comparison, RunResult
from labelwise.strategies import PRESETS

HEADLINE = "macro_f1"
_KINDS = {"scores": "score", "selects": "select", "models": "model", "heads": "head", "annotators": "annotator", "engines": "engine", "data": "data"}


def status_facts(result: RunResult) -> dict[str, Any]:
    """Where a run stands, as plain data."""
    rounds: list[dict[str, Any]] = []
    for number in result.rounds:
        scores = result.evaluations[result.split].get(number, {})
        figures: dict[str, float] = {name: scores[name] for name in ("accuracy", "macro_f1", "ece", "nll") if name in scores}
        steps = [s for s in ("query", "annotate", "train", "evaluate") if s in result.seconds[number]]
        rounds.append({"round": number, "labels": result.labels(number), "steps": steps, "split": result.split, **figures})
    waiting = [q for queries in result.queries.values() for q in queries if q.id not in result.annotations]
    return {
        "run": str(result.folder),
        "state": result.state,
        "message": result.message,
        "strategy": strategy_text(result.config.strategy),
        "images": result.split_sizes,
        "left_out": sum(p.id not in result.samples for p in result.problems),
        "waiting_for": len(waiting),
        "rounds": rounds,
    }


def print_status(result: RunResult) -> None:
    """Print where a run stands."""
    facts = status_facts(result)
    images = ", ".join(f"{count} {split}" for split, count in sorted(facts["images"].items()))
    console = _console()
    console.print(f"{facts['run']}: {facts['state']}, {facts['message']}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{facts['strategy']}; images: {images}; {facts['left_out']} left out", highlight=False, markup=False, soft_wrap=True)
    table = _table("round", "labels", "accuracy", "macro-F1", "ECE", "steps done")
    for r in facts["rounds"]:
        table.add_row(str(r["round"]), str(r["labels"]), *(_figure(r.get(m)) for m in ("accuracy", "macro_f1", "ece")), " ".join(r["steps"]))
    console.print(table)


def comparison_facts(comparison: Comparison) -> dict[str, Any]:
    """Arms with their final figures, areas and labels saved, as plain data; None where there is nothing to say."""
    arms = {}
    for arm, results in comparison.arms.items():
        curves = list(comparison.curves(arm, HEADLINE).values())
        mean = mean_curve(curves)
        facts: dict[str, Any] = {"seeds": len(results), "labels": mean.labels[-1], HEADLINE: mean.values[-1], "area": area_under(mean)}
        accuracy = mean_curve(list(comparison.curves(arm, "accuracy").values()))
        facts["accuracy"] = accuracy.values[-1]
        saved = comparison.saved(arm)
        if saved is not None and comparison.baseline is not None:
            random = comparison.curves(comparison.baseline, HEADLINE)
            difference = paired_difference(comparison.curves(arm, HEADLINE), random, at=float(mean.labels[-1]))
            facts |= {
                "labels_for_baseline_quality": saved.needed,
                "share_of_labels": saved.ratio,
                "share_low": saved.low,
                "share_high": saved.high,
                "difference": difference.mean,
                "difference_se": difference.standard_error,
            }
        arms[arm] = {k: _finite(v) for k, v in facts.items()}
    return {"baseline": comparison.baseline, "metric": HEADLINE, "arms": arms}


def print_comparison(comparison: Comparison) -> None:
    """Print one line an arm."""
    facts = comparison_facts(comparison)
    table = _table("strategy", "seeds", "labels", "accuracy", "macro-F1", "area", f"to match {facts['baseline']}", "share (95 %)")
    for arm, f in facts["arms"].items():
        table.add_row(
            arm, str(f["seeds"]), f"{f['labels']:,.0f}", _figure(f["accuracy"]), _figure(f[HEADLINE]), _figure(f["area"]), *_saved_cells(f, arm == facts["baseline"])
        )
    _console().print(table)


def _saved_cells(facts: dict[str, Any], is_baseline: bool) -> tuple[str, str]:
    if is_baseline or "share_of_labels" not in facts:
        return "", ""
    if facts["share_of_labels"] is None:
        return "not reached", ""
    low, high = (("?" if v is None else f"{v:.0%}") for v in (facts["share_low"], facts["share_high"]))
    return f"{facts['labels_for_baseline_quality']:,.0f}", f"{facts['share_of_labels']:.0%} ({low} to {high})"


def catalogue(kind: str = "") -> dict[str, dict[str, str]]:
    """Names that a configuration can use, by kind, each with a line about it. Raises ConfigError for an unknown kind."""
    kinds = ["strategies", *_KINDS]
    if kind and kind not in kinds:
        raise ConfigError(f"unknown kind {kind!r}: {catalog.suggest(kind, kinds)}")
    found: dict[str, dict[str, str]] = {}
    for name in [kind] if kind else kinds:
        if name == "strategies":
            found[name] = {preset: f"{recipe.summary} {recipe.paper}" for preset, recipe in PRESETS.items()}
        else:
            found[name] = {entry: _first_line(_KINDS[name], entry) for entry in catalog.TABLES[_KINDS[name]]}
    return found


def print_catalogue(found: dict[str, dict[str, str]]) -> None:
    """Print the names by kind."""
    console = _console()
    for kind, entries in found.items():
        table = _table(kind, "")
        for name, about in entries.items():
            table.add_row(name, about)
        console.print(table)


def _first_line(kind: str, name: str) -> str:
    return (catalog.resolve(kind, name).__doc__ or "").strip().split("\n")[0]


def _finite(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    return float(value) if math.isfinite(value) and not isinstance(value, int) else value if isinstance(value, int) else None


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        left = i == 0 or column in ("", "steps done")
        table.add_column(column, overflow="fold", no_wrap=i == 0, justify="left" if left else "right")
    return table


def _console() -> Console:
    # A pipe has no width of its own: wide enough for every table.
    return Console(width=None if sys.stdout.isatty() else 120)
