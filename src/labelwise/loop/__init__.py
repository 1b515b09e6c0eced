"""The round state machine: query -> annotate -> train -> evaluate, each step once, each in one transaction.

A step is a function of the configuration, the seed, the round and what earlier steps stored; nothing else. So running again is resuming,
and a run that was killed in between ends with the same picks and figures as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from labelwise import config as configuration
from labelwise.config import Config
from labelwise.errors import RunChanged
from labelwise.loop.annotate import annotate
from labelwise.loop.context import Context, exhausted, spent
from labelwise.loop.intake import take_in
from labelwise.loop.judge import judge
from labelwise.loop.query import query
from labelwise.loop.train import train
from labelwise.models import Place, Progress
from labelwise.parts import Parts, build, cache_folder, threads_of
from labelwise.store import SETUP, Store, open_explained, owned

# A step does its work and commits it; what it returns is what people are waited for, or nothing.
STEPS: Mapping[str, Callable[[Context, int, int], str]] = {"query": query, "annotate": annotate, "train": train, "evaluate": judge}


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
) -> Outcome:
    """Begin a run, or continue it where it stopped, until its budget is spent or people must answer.

    ``rounds`` stops after so many rounds have finished in this call. Raises RunLocked if another process works on the run, RunChanged if it
    began with another configuration, RunError if its folder cannot be written.
    """
    parts = build(config)
    with owned(config.folder), open_explained(config.folder), Store(config.folder / "run.db") as store:
        _same_configuration(config, store)
        context = _set_up(config, parts, store, progress, tell)
        outcome = _rounds(context, rounds)
        store.set_setting("state", outcome.state)
        store.set_setting("message", outcome.message)
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
        beside.unlink(missing_ok=True)
        with Store(common / "run.db") as source:
            source.copy_to(beside)
        with Store(beside) as copy:
            copy.set_setting("config", configuration.dump(config))
        beside.replace(target)


def _same_configuration(config: Config, store: Store) -> None:
    """Keep the configuration a run begins with, and refuse another one later."""
    file = config.folder / "config.yaml"
    known = store.setting("config")
    if known:
        changed = configuration.differing_keys(configuration.load(yaml.safe_load(known)), config)
        if changed:
            raise RunChanged(
                f"{config.folder} began with another configuration ({'; '.join(changed)}): "
                f"put these keys back to continue it, or give name=NEW to begin another run"
            )
    store.set_setting("config", configuration.dump(config))
    beside = file.with_suffix(".partial")
    beside.write_text(configuration.dump(config), encoding="utf-8")
    beside.replace(file)


def _set_up(config: Config, parts: Parts, store: Store, progress: Progress, tell: Callable[[str], None]) -> Context:
    """Read the data once, and let the model prepare itself."""
    began = time.perf_counter()
    if not store.is_done(SETUP, "read"):
        intake = take_in(config, parts.read(), progress=progress)
        with store.transaction():
            store.add_samples(intake.samples)
            store.add_problems(intake.problems)
            store.add_classes(intake.classes)
            store.set_setting("created", time.strftime("%Y-%m-%d %H:%M:%S"))
            store.finish_step(SETUP, "read", time.perf_counter() - began)
    began = time.perf_counter()
    pool, others = store.samples("pool"), [*store.samples("test"), *store.samples("audit")]
    place = Place(config.folder, cache_folder(config), threads_of(config))
    parts.model.prepare(pool, others, place=place, progress=progress)
    if not store.is_done(SETUP, "prepare"):
        store.finish_step(SETUP, "prepare", time.perf_counter() - began)
    return Context(config, parts, store, progress, tell, {s.id: s for s in [*pool, *others]})


def _rounds(context: Context, limit: int | None) -> Outcome:
    config, store = context.config, context.store
    goals = config.budget.cumulative(len(store.samples("pool")))
    finished_here = 0
    for round, goal in enumerate(goals):
        if store.is_done(round, "evaluate"):
            continue
        if limit is not None and finished_here >= limit:
            return Outcome("stopped", f"stopped before round {round} of {len(goals)}: run again to go on", config.folder)
        for step, do in STEPS.items():
            if store.is_done(round, step):
                continue
            waiting = do(context, round, goal)
            if waiting:
                return Outcome("waiting", waiting, config.folder)
        finished_here += 1
        _say_round(context, round, len(goals))
        if exhausted(store):
            return Outcome("finished", f"every image of the pool has been asked, in round {round}", config.folder)
    return Outcome("finished", f"the budget is spent after {len(goals)} rounds", config.folder)


def _say_round(context: Context, round: int, total: int) -> None:
    scores = context.store.evaluations("test").get(round) or context.store.evaluations("audit").get(round) or {}
    figures = ", ".join(f"{name} {scores[name]:.3f}" for name in ("accuracy", "macro_f1") if name in scores)
    context.tell(f"round {round} of 0..{total - 1}: {spent(context.store)} labels" + (f", {figures}" if figures else ""))
