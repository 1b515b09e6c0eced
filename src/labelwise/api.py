"""The whole of labelwise from Python, with the words of the command line: check, run, simulate, compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from labelwise import config as configuration
from labelwise import loop
from labelwise.annotators import Annotator
from labelwise.config import Config
from labelwise.engine import Engine, Work
from labelwise.engine.local import Local
from labelwise.errors import ConfigError, RunLocked
from labelwise.exchange.publishing import write_back
from labelwise.loop.intake import check_truth
from labelwise.models import Progress
from labelwise.ownership import replace_text
from labelwise.parts import build
from labelwise.progress import ProgressFile
from labelwise.records import UNITS, Problem, Unit
from labelwise.report.fill import compare_report, run_report
from labelwise.results import RunResult, open_run
from labelwise.results.comparison import COMMON, Comparison, compared, run_folders

Tell = Callable[[str], None]
Source = str | Path | Mapping[str, Any]
LOCK_SECONDS = 20.0
_TOLD = 3  # problems of a kind that are told in full
_SEEN = 5.0  # seconds in which every page that is open has looked once more


def _quiet(*_: Any) -> None:
    """Say nothing."""


def check(source: Source, overrides: Iterable[str] | Mapping[str, Any] = ()) -> list[str]:
    """Read a configuration, build what it names and list its data without decoding: the facts, one line each.

    Raises LabelwiseError with one line for the first thing that cannot work.
    """
    config = configuration.load(source, overrides)
    parts = build(config)
    listing = parts.read()
    known = sum(s.target is not None for s in listing.samples)
    groups = {s.group for s in listing.samples} - {None}
    strategy, start = (configuration.strategy_text(s) for s in (config.strategy, config.cold_start))
    facts = [
        f"data: {len(listing.samples)} images, {len(listing.classes)} classes, {known} images with a known "
        + {"classify": "class", "detect": "truth", "segment": "mask"}[config.task]
        + (f", {len(groups)} groups" if groups else ""),
        f"model: {config.model.name}, gives {', '.join(sorted(parts.model.provides))}",
        f"strategy: {strategy}; round 0 by {start}",
    ]
    if parts.annotator.simulated:
        check_truth(listing.samples, config.task)
    if parts.read_source is not None:
        facts.append(f"source: {len(parts.read_source().samples)} images")
    unused = sum(s.split in ("test", "unused") for s in listing.samples)
    if not any(s.split == "test" for s in listing.samples):
        unused += round(config.data.test * known)
    pool = len(listing.samples) - unused - config.audit
    if pool < 1:
        raise ConfigError(
            f"audit={config.audit} leaves no image of {len(listing.samples)} to choose from: give a smaller number"
        )
    facts.append(_budget_fact(config, parts.unit, pool))
    notes = [*configuration.notes(source, overrides), *_problem_notes(listing.problems)]
    return [*facts, *(f"note: {note}" for note in notes)]


def _problem_notes(problems: Iterable[Problem]) -> Iterator[str]:
    """The first few problems of each kind, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(problem.code, []).append(problem.message)
    for code, messages in kinds.items():
        yield from messages[:_TOLD]
        if len(messages) > _TOLD:
            yield f"{code}: {len(messages) - _TOLD:,} more of this kind"


def _budget_fact(config: Config, unit: Unit, pool: int) -> str:
    budget = config.budget
    if unit == "image":
        goals = budget.cumulative(pool)
        rounds = "1 round" if len(goals) == 1 else f"{len(goals)} rounds"
        return f"budget: {rounds}, {goals[0]} to {goals[-1]} labels of about {pool} images"
    # How many pixels there are is known once the images have been read.
    times = " of every image" if budget.per_image else ""
    rounds = f"{budget.rounds} round{'s' if budget.rounds > 1 else ''}, " if budget.rounds else ""
    return f"budget: {rounds}{budget.initial} then {budget.per_round} {UNITS[unit]}{times} of about {pool} images"


def run(
    source: Source,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    rounds: int | None = None,
    report: bool = True,
    progress: Progress = _quiet,
    tell: Tell = _quiet,
    wait: bool | float | None = None,
) -> RunResult:
    """Begin a run or continue it; returns it as it stands when its budget is spent or people must answer.

    ``source`` is a YAML file, an mmengine configuration (.py), a run's folder or a dictionary, ``overrides`` change it
    by dotted keys. ``wait``: stay until people have answered, and look every so many seconds (True: at the annotator's
    own pace); None: as the annotator wants. Raises LabelwiseError.
    """
    config = configuration.load(source, overrides)
    for note in configuration.notes(source, overrides):
        tell(f"note: {note}")
    kept = ProgressFile(config.folder, progress)
    try:
        outcome = loop.run(
            config,
            rounds=rounds,
            progress=kept,
            tell=tell,
            after_round=lambda: write_back(config, tell, kept),
            wait=wait,
            beside=lambda annotator: _page_of(config, annotator, tell) if wait is not False else nullcontext(),
        )
    finally:
        kept.close()
    tell(outcome.message)
    result = open_run(outcome.folder)
    write_outputs(result, report=report)
    return result


@contextmanager
def _page_of(config: Config, annotator: Annotator, tell: Tell) -> Iterator[None]:
    """The page of a run while it is at work, where its annotator asks there."""
    if not getattr(annotator, "page", False):
        yield
        return
    from labelwise.web.serving import open_in_browser, serving

    with serving(config.folder, port=getattr(annotator, "port", None), stays=_SEEN) as address:
        tell(f"the page: {address}")
        if getattr(annotator, "open", False):
            open_in_browser(address)
        yield
    tell(f"the page is closed; 'labelwise serve {config.folder}' shows it again")


def write_outputs(result: RunResult, *, report: bool = True) -> None:
    """Write metrics.csv and the report beside the run."""
    replace_text(result.folder / "metrics.csv", result.metrics_csv())
    if report:
        replace_text(result.folder / "report.html", run_report(result))


def compare(
    folders: Sequence[str | Path], *, baseline: str = "random", out: str | Path | None = None, tell: Tell = _quiet
) -> Comparison:
    """Compare runs: those of one strategy with several seeds form an arm. With ``out`` the report is written there.

    A folder may be a run's or one that holds runs, as ``simulate`` leaves it. Raises RunError for a folder without
    runs, for runs without figures, and for runs on different test images.
    """
    comparison = compared([open_run(f) for f in run_folders(folders)], baseline)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        replace_text(Path(out), compare_report(comparison))
        tell(f"report: {out}")
    return comparison


def simulate(
    source: Source,
    strategies: Sequence[str],
    *,
    seeds: int = 5,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    workers: int = 1,
    progress: Progress = _quiet,
    tell: Tell = _quiet,
) -> Comparison:
    """Run each strategy with each of ``seeds`` seeds side by side on one test split; again: what is missing.

    A strategy is a preset; "preset+cold_start" also says how round 0 is chosen (``margin+random``), else it is as the
    configuration says; the arm "random" is random from the start. Runs lie in ``out/name/<strategy>-<seed>``, the
    report in ``out/name/report.html``. ``workers`` processes share the machine's cores; where the configuration names
    another engine than ``local``, its workers do the runs, each of them on one.
    """
    base = configuration.load(source, overrides)
    engine = _engine_of_arms(base, workers)
    if not build(base).annotator.simulated:
        raise ConfigError(f"simulate needs annotator=oracle, found {base.annotator.name!r}")
    if not strategies:
        raise ConfigError("expected strategies to simulate, found none: give one or more, such as margin,random")
    if (base.folder / "run.db").exists():
        raise ConfigError(
            f"{base.folder} holds a run: give the simulation a name of its own, such as name={base.name}-arms"
        )
    configs = [
        _arm(base, name, seed) for seed in range(base.seed, base.seed + seeds) for name in dict.fromkeys(strategies)
    ]
    for config in configs:
        build(config)
    # Data and features do not depend on strategy and seed: they are taken in once, and every arm begins from there.
    common = configuration.changed(
        base, {"name": f"{base.name}/{COMMON}", "strategy": "random", "cold_start": "random", "seed": 0}
    )
    loop.run(common, rounds=0, progress=progress)
    for config in configs:
        loop.adopt(config, common.folder)
    try:
        lines = engine.map_batches(_arm_worker, configs, batch_size=1)
        for done, (config, line) in enumerate(zip(configs, lines, strict=True), start=1):
            progress(done, len(configs), "runs")
            tell(f"{config.folder.name}: {line}")
    finally:
        engine.close()
    return compare([c.folder for c in configs], baseline="random", out=base.folder / "report.html", tell=tell)


def _engine_of_arms(base: Config, workers: int) -> Engine:
    if base.engine.name == "local":
        return Local(workers if workers > 1 else 0)
    if workers > 1:
        raise ConfigError(
            f"workers={workers} is for the local engine: with engine={base.engine.name} set engine.workers instead"
        )
    return build(base).engine


def _arm(base: Config, name: str, seed: int) -> Config:
    strategy, _, cold = name.partition("+")
    if strategy == "random":
        cold = cold or "random"
    changes: dict[str, Any] = {"strategy": strategy, "seed": seed, "name": f"{base.name}/{name}-{seed:02d}"}
    if base.engine.name != "local":  # a run that a worker does is done there: its engine must not ask for more workers
        changes["engine"] = "local"
    return configuration.changed(base, changes | ({"cold_start": cold} if cold else {}))


def _arm_worker() -> Work:
    return _run_arms


def _run_arms(configs: Sequence[Config]) -> list[str]:
    lines = []
    for config in configs:
        outcome = _run_arm(config)
        write_outputs(open_run(outcome.folder), report=False)
        lines.append(outcome.message)
    return lines


def _run_arm(config: Config) -> loop.Outcome:
    # The worker that had this run before may be dying still, on a node that the cluster has given up.
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return loop.run(config)
        except RunLocked:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
