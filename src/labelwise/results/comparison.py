"""Runs beside each other: found in folders, sorted into arms, measured against a baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelwise import config as configuration
from labelwise.catalog import suggest
from labelwise.config import Config
from labelwise.curves import Curve, Saved, labels_saved
from labelwise.errors import DataError, RunError
from labelwise.results import RunResult

COMMON = "data"  # beside the arms of a simulation: what they all begin from, no run of its own


@dataclass(frozen=True)
class Comparison:
    """Runs by arm and seed. ``baseline`` names the arm that others are measured against, None if there is none."""

    arms: dict[str, dict[int, RunResult]]
    baseline: str | None

    @property
    def _first(self) -> RunResult:
        return next(iter(next(iter(self.arms.values())).values()))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The figures of the runs' task, the one that arms are compared by first."""
        return self._first.metrics

    def curves(self, arm: str, metric: str, unit: str = "") -> dict[int, Curve]:
        """The learning curves of an arm by seed, over labels in the budget's unit or another."""
        found = {seed: result.curve(metric, unit) for seed, result in self.arms[arm].items()}
        return {seed: curve for seed, curve in found.items() if curve is not None}

    @property
    def units(self) -> tuple[str, ...]:
        """What the runs' curves can be drawn over, the unit of the budget first."""
        return self._first.units

    def saved(self, arm: str, metric: str = "", unit: str = "") -> Saved | None:
        """Labels that an arm needs for the baseline's final quality in a metric (the first); None without baseline.

        ``unit``: another one than the budget's; None also where the curves have nothing in common over it.
        """
        if self.baseline is None or arm == self.baseline:
            return None
        metric = metric or self.metrics[0]
        rng = np.random.default_rng(0)
        ours, theirs = self.curves(arm, metric, unit), self.curves(self.baseline, metric, unit)
        try:
            return labels_saved(ours, theirs, rng=rng)
        except DataError:
            if not unit:
                raise
            return None  # budgets in one unit need have no range in common in another


def run_folders(folders: Iterable[str | Path]) -> list[Path]:
    """The runs among these folders and in them. Raises RunError for a folder that holds none."""
    found: list[Path] = []
    for folder in map(Path, folders):
        inside = sorted(p.parent for p in folder.glob("*/run.db") if p.parent.name != COMMON)
        runs = [folder] if (folder / "run.db").is_file() else inside
        if not runs:
            raise RunError(f"no run in {folder}: expected run.db in it, or folders with one")
        found += runs
    return list(dict.fromkeys(found))


def compared(results: Iterable[RunResult], baseline: str = "random") -> Comparison:
    """Sort runs into arms by strategy, cold start and model; the last two are named where they tell arms apart.

    A comparison without runs of the strategy "random" has no baseline. Raises RunError if the runs cannot be compared
    or another baseline is not among them.
    """
    arms: dict[tuple[str, str, str], dict[int, RunResult]] = {}
    first: RunResult | None = None
    for result in results:
        if result.curve(result.metrics[0]) is None:
            raise RunError(f"{result.folder} has no figures yet ({result.message}): run it to the end of a round first")
        first = first or result
        if result.config.task != first.config.task or result.unit != first.unit:
            raise RunError(
                f"{first.folder} and {result.folder} cannot be compared: one counts {first.unit} "
                f"({first.config.task}), the other {result.unit} ({result.config.task})"
            )
        if _judged_on(result) != _judged_on(first):
            raise RunError(
                f"{first.folder} and {result.folder} are judged on different images: their figures cannot be compared"
            )
        arm = arms.setdefault(_traits(result.config), {})
        if result.config.seed in arm:
            raise RunError(
                f"{arm[result.config.seed].folder} and {result.folder} are the same strategy with the same seed: "
                f"give one of them"
            )
        arm[result.config.seed] = result
    named = dict(zip(_arm_names(list(arms)), arms.values(), strict=True))
    if baseline not in named and baseline != "random":
        raise RunError(f"no runs of the baseline {baseline!r}: {suggest(baseline, named)}")
    return Comparison(named, baseline if baseline in named else None)


def _traits(config: Config) -> tuple[str, str, str]:
    """What makes two runs the same arm: strategy, cold start, model."""
    model = config.model
    options = ", ".join(f"{k}={v}" for k, v in sorted(model.options.items()))
    strategy, start = (configuration.strategy_text(s) for s in (config.strategy, config.cold_start))
    return strategy, start, f"{model.name} {options}".strip()


def _arm_names(arms: list[tuple[str, str, str]]) -> list[str]:
    """The strategy alone where that is enough, else with "+cold start", else with the model too."""
    starts: dict[str, set[str]] = {}
    for strategy, start, _ in arms:
        starts.setdefault(strategy, set()).add(start)
    names = [f"{strategy}+{start}" if len(starts[strategy]) > 1 else strategy for strategy, start, _ in arms]
    models = [model for _, _, model in arms]
    return [f"{n}, {model}" if names.count(n) > 1 else n for n, model in zip(names, models, strict=True)]


def _judged_on(result: RunResult) -> tuple[str, frozenset[str]]:
    if result.split == "test":
        return "test", result.test_ids
    return "audit", frozenset(
        q.sample_id for queries in result.queries.values() for q in queries if q.purpose == "audit"
    )
