"""The round state machine: query -> annotate -> train -> evaluate, each step once, each in one transaction.

A step is a function of the configuration, the seed, the round and what earlier steps stored; nothing else. So running
again is resuming, and a run that was killed in between ends with the same picks and figures as one that was not.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import yaml

from labelwise import config as configuration
from labelwise.annotators import Annotator
from labelwise.config import Config
from labelwise.errors import ConfigError, RunChanged
from labelwise.evaluate import METRICS
from labelwise.loop.annotate import annotate
from labelwise.loop.columns import check_columns
from labelwise.loop.context import Context, last_checkpoint
from labelwise.loop.intake import check_truth, summary, take_in, take_in_source
from labelwise.loop.judge import judge
from labelwise.loop.query import query
from labelwise.loop.query_inside import ask_of
from labelwise.loop.train import train
from labelwise.loop.waiting import Wait, pause_of, until_answered
from labelwise.models import Place, Progress
from labelwise.ownership import open_explained, owned, replace_text
from labelwise.parts import Parts, build, cache_folder, proposing, threads_of
from labelwise.records import UNITS
from labelwise.report import words
from labelwise.results import open_run
from labelwise.store import SETUP, STEPS, Store

MODEL = "model"  # the folder of what a model keeps for itself
# A step does its work and commits it; what it returns is what people are waited for, or nothing.
DO: Mapping[str, Callable[[Context, int, int], str]] = dict(zip(STEPS, (query, annotate, train, judge), strict=True))


@dataclass(frozen=True)
class Outcome:
    """How a call ended: ``state`` is "finished", "waiting" or "stopped"; ``message`` says why, in one line."""

    state: str
    message: str
    folder: Path


def run(
    config: Config,
    *,
    rounds: int | None = None,
    progress: Progress = lambda done, total, what: None,
    tell: Callable[[str], None] = lambda line: None,
    after_round: Callable[[], None] = lambda: None,
    wait: Wait = None,
    beside: Callable[[Annotator], AbstractContextManager[object]] = lambda annotator: nullcontext(),
) -> Outcome:
    """Begin a run, or continue it where it stopped, until its budget is spent or people must answer.

    ``rounds`` stops after so many rounds have finished in this call; ``after_round`` is called when one has, and at the
    end, where queries may be open. ``wait`` for people instead of returning: True, False, the seconds between two
    looks, or None as the annotator wants. ``beside`` gives what is to be there while the run is at work, from the
    moment on that its store is. Raises RunLocked if another process works on the
    run, RunChanged if it began with another configuration, RunError if its folder cannot be written.
    """
    parts = build(config)
    pause = pause_of(parts.annotator, wait)
    with owned(config.folder), open_explained(config.folder):
        _same_configuration(config)
        try:
            return _continue(config, parts, rounds, progress, tell, after_round, pause, beside)
        finally:
            parts.engine.close()


def _continue(
    config: Config,
    parts: Parts,
    rounds: int | None,
    progress: Progress,
    tell: Callable[[str], None],
    after_round: Callable[[], None],
    pause: float | None,
    beside: Callable[[Annotator], AbstractContextManager[object]],
) -> Outcome:
    with Store(config.folder / "run.db") as store:
        _keep_configuration(config, store)
        with beside(parts.annotator):
            context = _set_up(config, parts, store, progress, tell)
            outcome = _rounds(context, rounds, after_round, pause)
            store.set_setting("state", outcome.state)
            store.set_setting("message", outcome.message)
            after_round()
            return outcome


def adopt(config: Config, common: Path) -> None:
    """Let a run that has not begun start from what another run has taken in: its images, splits and verdicts.

    The two must differ in nothing that decides these. Does nothing if the run has begun.
    """
    target = config.folder / "run.db"
    with owned(config.folder), open_explained(config.folder):
        if target.exists():
            return
        beside = target.with_suffix(".partial")
        _remove(beside)
        with Store(common / "run.db") as source:
            source.copy_to(beside)
        with Store(beside) as copy:
            _keep_configuration(config, copy)
        beside.replace(target)


def _remove(database: Path) -> None:
    """Remove a database with what SQLite lays beside it: a log that stayed would be read into the next one."""
    for tail in ("", "-wal", "-shm"):
        database.with_name(database.name + tail).unlink(missing_ok=True)


def _same_configuration(config: Config) -> None:
    """Refuse another configuration than the run began with; before its first query there is nothing to lose, and it
    begins anew."""
    file = config.folder / "run.db"
    if not file.exists():
        return
    with Store(file) as store:
        known, begun = store.setting("config"), any(step.round != SETUP for step in store.steps())
    changed = configuration.differing_keys(configuration.load(yaml.safe_load(known)), config) if known else []
    if changed and begun:
        raise RunChanged(
            f"{config.folder} began with another configuration ({'; '.join(changed)}): "
            f"put these keys back to continue it, or give name=NEW to begin another run"
        )
    if changed:
        shutil.rmtree(config.folder / MODEL, ignore_errors=True)
        _remove(file)


def _keep_configuration(config: Config, store: Store) -> None:
    """Write down the configuration, in the store for comparing and beside it for people."""
    text = configuration.dump(config)
    with store.transaction():
        store.set_setting("config", text)
        store.set_setting("state", "unfinished")
        store.set_setting("message", "at work, or interrupted: run it again to resume")
    replace_text(config.folder / "config.yaml", text)


def _set_up(config: Config, parts: Parts, store: Store, progress: Progress, tell: Callable[[str], None]) -> Context:
    """Read the data once, and let the model prepare itself."""
    began = time.perf_counter()
    if not store.is_done(SETUP, "read"):
        listing = parts.read()
        if parts.annotator.simulated:
            check_truth(listing.samples, config.task)
        intake = take_in(config, listing, progress=progress)
        if parts.read_source is not None:
            intake = take_in_source(config, parts.read_source(), intake, progress=progress)
        with store.transaction():
            store.add_samples(intake.samples)
            store.add_problems(intake.problems)
            store.add_classes(intake.classes)
            store.set_setting("created", time.strftime("%Y-%m-%d %H:%M:%S"))
            store.finish_step(SETUP, "read", time.perf_counter() - began)
        tell(summary(intake))
    began = time.perf_counter()
    pool, others = store.samples("pool"), [*store.samples("test"), *store.samples("audit")]
    for strategy in (parts.strategy, parts.cold_start):
        check_columns(strategy, pool)
    place = Place(config.folder / MODEL, cache_folder(config), threads_of(config), parts.engine)
    place.home.mkdir(exist_ok=True)
    parts.model.prepare(pool, others, place=place, progress=progress)
    if parts.proposals is not None and not store.is_done(0, "query"):
        place = replace(place, home=config.folder / MODEL / "proposals")
        place.home.mkdir(exist_ok=True)
        with proposing(config):
            parts.proposals.prepare(pool, [], place=place, progress=progress)
    if not store.is_done(SETUP, "prepare"):
        store.finish_step(SETUP, "prepare", time.perf_counter() - began)
    return Context(config, parts, store, progress, tell, {s.id: s for s in [*pool, *others]})


def _rounds(context: Context, limit: int | None, after_round: Callable[[], None], pause: float | None) -> Outcome:
    folder, store = context.config.folder, context.store
    pool = {s.id for s in store.samples("pool")}
    goals = context.config.budget.cumulative(_capacity(context), len(pool))
    images = context.parts.unit in ("image", "box")
    finished_here = 0
    for round, goal in enumerate(goals):
        if store.is_done(round, "evaluate"):
            continue
        if images and not store.is_done(round, "query") and store.asked() >= pool:
            break
        if limit is not None and finished_here >= limit:
            return Outcome("stopped", f"stopped before round {round} of {len(goals)}: run again to go on", folder)
        for step, do in DO.items():
            if store.is_done(round, step):
                continue
            waiting = until_answered(context, round, partial(do, context, round, goal), pause, after_look=after_round)
            if waiting:
                return Outcome("waiting", waiting, folder)
        finished_here += 1
        _say_round(context, round, len(goals) - round - 1)
        if round + 1 < len(goals):
            replace_text(folder / "metrics.csv", open_run(folder).metrics_csv())  # for whoever looks while it goes on
            after_round()
    why = (
        "every image of the pool has been asked"
        if images and store.asked() >= pool
        else f"the budget is spent after {_count(len(goals), 'round')}"
    )
    return Outcome("finished", why, folder)


def _capacity(context: Context) -> int:
    """How many images, boxes, regions or pixels the pool holds."""
    pool, unit = context.store.samples("pool"), context.parts.unit
    if unit == "image":
        return len(pool)
    if unit == "box":
        return _boxes(context)
    ask = ask_of(context.config, unit)
    pixels = sum(s.size[0] * s.size[1] for s in pool)
    return pixels if ask.by_pixels else pixels // max(1, min((ask.pixels(*s.size) for s in pool), default=1))


def _boxes(context: Context) -> int:
    """How many boxes the pool holds; nobody knows where people label it: then more than anybody asks for."""
    if context.parts.annotator.simulated:
        return sum(len(s.target.classes) for s in context.store.samples("pool") if s.target is not None)
    budget = context.config.budget
    amounts = budget.per_round if isinstance(budget.per_round, list) else [budget.per_round]
    if any(isinstance(amount, str) for amount in (budget.initial, budget.total, *amounts)):
        raise ConfigError("budget: a share of the pool's boxes is not known before they are labelled; give numbers")
    return 10**9


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say_round(context: Context, round: int, left: int) -> None:
    scores = context.store.evaluations("test").get(round) or context.store.evaluations("audit").get(round) or {}
    first = METRICS[context.config.task][:2]
    figures = ", ".join(f"{words.phrase(name)} {scores[name]:.3f}" for name in first if name in scores)
    unit = "pixel" if context.config.budget.cost == "pixel" else context.parts.unit
    number = len(context.store.answered()) if unit == "image" else int(context.store.spent())
    labels = _count(number, "label") if unit == "image" else f"{number} labelled {UNITS[unit] if number != 1 else unit}"
    if not figures:
        trained = last_checkpoint(context, round + 1) is not None
        figures = "no test images or audit sample to judge the model on" if trained else "no model yet"
    context.tell(f"round {round}: {labels}, {figures}" + (f" ({_count(left, 'round')} to go)" if left else ""))
