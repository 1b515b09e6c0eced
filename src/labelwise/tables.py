"""What the read verbs print: status, comparisons and the catalogue, as tables for people and as plain facts for
--json."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise import catalog
from labelwise.advice import Outlook, outlook
from labelwise.config import strategy_text
from labelwise.curves import Curve, Difference, area_under, mean_curve, paired_difference
from labelwise.errors import ConfigError
from labelwise.presets import PRESETS
from labelwise.records import left_out
from labelwise.report import words
from labelwise.report.outlook import sentences
from labelwise.report.statements import saving
from labelwise.results import RunResult
from labelwise.results.comparison import Comparison
from labelwise.store import STEPS

if TYPE_CHECKING:
    from labelwise.embedding.folder import Embedded

_KINDS = {
    "scores": "score",
    "reduces": "reduce",
    "selects": "select",
    "models": "model",
    "heads": "head",
    "annotators": "annotator",
    "engines": "engine",
    "data": "data",
    "predictions": "predictions",
}


def status_facts(result: RunResult) -> dict[str, Any]:
    """Where a run stands, as plain data."""
    rounds: list[dict[str, Any]] = []
    for number in result.rounds:
        scores = result.evaluations[result.split].get(number, {})
        figures: dict[str, float] = {name: scores[name] for name in result.metrics if name in scores}
        steps = [s for s in STEPS if s in result.seconds[number]]
        rounds.append(
            {"round": number, "labels": result.labels(number), "steps": steps, "split": result.split, **figures}
        )
    waiting = [q for queries in result.queries.values() for q in queries if q.id not in result.annotations]
    return {
        "run": str(result.folder),
        "state": result.state,
        "message": result.message,
        "strategy": strategy_text(result.config.strategy),
        "images": result.split_sizes,
        "left_out": left_out(result.problems, result.samples).total(),
        "waiting_for": len(waiting),
        "rounds": rounds,
        "outlook": outlook_facts(outlook(result)),
    }


def outlook_facts(found: Outlook) -> dict[str, Any]:
    """What a run lets expect, as plain data; None where nothing can be said."""
    facts: dict[str, Any] = {"advice": found.advice, "reason": found.reason, "metric": found.metric}
    if found.forecast is not None and found.gain is not None:
        labels = found.forecast.last + found.step
        facts["next"] = {"labels": labels, **asdict(found.forecast.at(labels)), "level": found.forecast.level}
        facts["gain"] = asdict(found.gain)
    if found.needed is not None:
        needed = {key: _finite(value) for key, value in asdict(found.needed).items()}
        facts["target"] = {"figure": found.target, **needed}
    if found.discovery is not None:
        facts["classes"] = {"images": found.discovery.units, **asdict(found.discovery.richness())}
    return facts


def print_status(result: RunResult) -> None:
    """Print where a run stands."""
    facts = status_facts(result)
    order = ("pool", "test", "audit")
    images = ", ".join(f"{facts['images'][split]} {split}" for split in order if split in facts["images"])
    print(f"{facts['run']}: {facts['state']}, {facts['message']}")
    print(f"{facts['strategy']}; images: {images or 'none yet'}; {facts['left_out']} left out")
    rows = [
        [
            str(r["round"]),
            str(r["labels"]),
            *(_figure(r.get(m)) for m in result.metrics[:3]),
            " ".join(r["steps"]),
        ]
        for r in facts["rounds"]
    ]
    if rows:
        _print_table(["round", "labels", *map(words.title, result.metrics[:3]), "steps done"], rows)
        for sentence in sentences(outlook(result)):
            print(sentence)


def comparison_facts(comparison: Comparison) -> dict[str, Any]:
    """Arms with their final figures, areas and labels saved, as plain data; None where there is nothing to say."""
    arms = {}
    headline, second = comparison.metrics[:2]
    for arm, results in comparison.arms.items():
        curves = list(comparison.curves(arm, headline).values())
        mean = mean_curve(curves)
        facts: dict[str, Any] = {
            "seeds": len(results),
            "labels": mean.labels[-1],
            headline: mean.values[-1],
            second: mean_curve(list(comparison.curves(arm, second).values())).values[-1],
            "area": area_under(mean),
        }
        saved = comparison.saved(arm)
        if saved is not None and comparison.baseline is not None:
            difference = _difference(comparison.curves(arm, headline), comparison.curves(comparison.baseline, headline))
            facts |= {
                "labels_for_baseline_quality": saved.needed,
                "share_of_labels": saved.ratio,
                "share_low": saved.low,
                "share_high": saved.high,
                "difference": difference.mean if difference else None,
                "difference_se": difference.standard_error if difference else None,
            }
            facts |= {f"share_of_{u}": s.ratio for u in comparison.units[1:] if (s := comparison.saved(arm, "", u))}
        arms[arm] = {k: _finite(v) for k, v in facts.items()}
    return {"baseline": comparison.baseline, "metric": headline, "arms": arms}


def _difference(arm: Mapping[int, Curve], random: Mapping[int, Curve]) -> Difference | None:
    """The difference at the most labels that all seeds of both reach: boxes are counted by whole images, so that
    budgets end a little apart. None where they have no number of labels in common."""
    curves = [*arm.values(), *random.values()]
    end = float(min(curve.labels[-1] for curve in curves))
    return paired_difference(arm, random, at=end) if end >= max(curve.labels[0] for curve in curves) else None


def print_comparison(comparison: Comparison) -> None:
    """Print one line an arm, and what each saved against the baseline."""
    arms = comparison_facts(comparison)["arms"]
    headline, second = comparison.metrics[:2]
    rows = [
        [arm, str(f["seeds"]), f"{f['labels']:,.0f}", *(_figure(f[name]) for name in (second, headline, "area"))]
        for arm, f in arms.items()
    ]
    _print_table(["strategy", "seeds", "labels", words.title(second), words.title(headline), "area"], rows)
    several = len(comparison.units) > 1  # boxes as well as images: then each sentence says which
    for arm in comparison.arms:
        for unit in comparison.units:
            saved = comparison.saved(arm, headline, unit if unit != comparison.units[0] else "")
            if saved is not None and comparison.baseline is not None:
                said = saving(arm, comparison.baseline, headline, saved, unit if several else "labels")
                print(textwrap.fill(said, _width(), subsequent_indent="  "))


def embedding_facts(found: Embedded, out: Path) -> dict[str, Any]:
    """What an embedding of a folder gave, as plain data."""
    return {
        "out": str(out),
        "images": len(found.ids),
        "dim": int(found.vectors.shape[1]),
        "dtype": str(found.vectors.dtype),
        "computed": found.computed,
        "left_out": [{"id": p.id, "code": p.code, "message": p.message} for p in found.problems],
        "weights": None if found.weights is None else str(found.weights),
        "losses": list(found.losses),
    }


def print_embedding(found: Embedded, out: Path) -> None:
    """Print what an embedding of a folder gave, with a line for every file left out."""
    for problem in found.problems:
        print(f"left out, {problem.code}: {problem.message}")
    known = len(found.ids) - found.computed
    print(
        f"{len(found.ids)} images, {found.vectors.shape[1]} numbers each ({found.computed} computed, {known} known or "
        f"copies; {len(found.problems)} left out)"
    )
    if found.weights is not None:
        print(f"trained backbone: {found.weights} (for --weights, or model.weights=)")
    print(f"embeddings: {out}")


def catalogue(kind: str = "") -> dict[str, dict[str, str]]:
    """Names that a configuration can use, by kind, each with a line about it. Raises ConfigError for an unknown
    kind."""
    kinds = ["strategies", *_KINDS]
    if kind and kind not in kinds:
        raise ConfigError(f"unknown kind {kind!r}: {catalog.suggest(kind, kinds)}")
    found: dict[str, dict[str, str]] = {}
    for name in [kind] if kind else kinds:
        if name == "strategies":
            found[name] = {preset: f"{recipe.summary} ({recipe.paper})" for preset, recipe in PRESETS.items()}
        else:
            found[name] = {entry: _first_sentence(_KINDS[name], entry) for entry in catalog.TABLES[_KINDS[name]]}
    return found


def print_catalogue(found: dict[str, dict[str, str]]) -> None:
    """Print the names by kind."""
    for number, (kind, entries) in enumerate(found.items()):
        print("\n" * (number > 0) + f"{kind}:")
        column = max(map(len, entries)) + 4
        for name, about in entries.items():
            print(
                textwrap.fill(about, _width(), initial_indent=f"  {name}".ljust(column), subsequent_indent=" " * column)
            )


def _first_sentence(kind: str, name: str) -> str:
    """The first sentence about a name, in one line and without marks."""
    text = (catalog.resolve(kind, name).__doc__ or "").strip().split("\n\n")[0]
    return re.split(r"(?<=[a-z0-9)]\.)(?<!al\.)\s", " ".join(text.replace("``", "").split()), maxsplit=1)[0]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Columns two blanks apart; numbers to the right, the first and a last column of words to the left."""
    table = [headings, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    words = {0} | ({len(headings) - 1} if headings[-1] == "steps done" else set())
    for row in table:
        cells = [
            cell.ljust(w) if i in words else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _width() -> int:
    # A pipe has no width of its own.
    return min(120, shutil.get_terminal_size((120, 0)).columns)
