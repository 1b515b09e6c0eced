"""The step that trains on all labelled images and puts the checkpoint in its place, whole or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.models import Plan, Progress
from labelwise.records import Labelled


def train(context: Context, round: int, goal: int) -> str:
    """Train and keep the checkpoint; without any labelled image there is nothing to train."""
    began = time.perf_counter()
    store, model, folder = context.store, context.parts.model, context.folder(round)
    labelled = labelled_images(context)
    rng = context.rng(round, "train")
    learn, validate = _split(labelled, model.validation, rng)
    source = _source(context, round)
    if learn or source:
        previous = last_checkpoint(context, round) if model.start != "scratch" else None
        beside, place = folder / "checkpoint.partial", folder / "checkpoint"
        plan, seed = Plan(store.classes(), round, source), int(rng.integers(2**31))
        fit = partial(model.fit, learn, validate, out=beside, start=previous, plan=plan, seed=seed)
        context.parts.engine.run(partial(_fit, fit, beside), progress=context.progress)
        # A checkpoint that is there already was written by a process killed before it could say so.
        shutil.rmtree(place, ignore_errors=True)
        beside.replace(place)
    with store.transaction():
        store.finish_step(
            round, "train", time.perf_counter() - began, {"labelled": len(labelled), "validation": len(validate)}
        )
    return ""


def set_apart(context: Context, round: int, labelled: Sequence[Labelled]) -> list[Labelled]:
    """The images that a round's training had as validation, of those labelled at the end of that round."""
    return _split(labelled, context.parts.model.validation, context.rng(round, "train"))[1]


def _source(context: Context, round: int) -> tuple[Labelled, ...] | None:
    """What this round learns from beside the pool: nothing of a source it has left behind, None without one."""
    source = context.config.source
    if source is None:
        return None
    used = source.last_round is None or round <= source.last_round
    samples = context.store.samples("source") if used else []
    return tuple(Labelled(s, s.target) for s in samples if s.target is not None)


def _fit(fit: Callable[..., Path], out: Path, *, progress: Progress) -> None:
    """Train from an empty folder: whoever began before, here or on another machine, may have died in the middle."""
    shutil.rmtree(out, ignore_errors=True)
    fit(progress=progress)


def _split(
    labelled: Sequence[Labelled], share: float, rng: np.random.Generator
) -> tuple[list[Labelled], list[Labelled]]:
    """Set about ``share`` of the labelled images apart, whole groups on one side; at least one group stays for
    training."""
    members: dict[str, list[Labelled]] = {}
    for item in labelled:
        members.setdefault(item.sample.group or item.sample.id, []).append(item)
    names = list(members)
    apart: set[str] = set()
    taken = 0
    for index in rng.permutation(len(names))[:-1]:
        size = len(members[names[index]])
        if taken + size / 2 > share * len(labelled):
            break
        apart.add(names[index])
        taken += size
    learn = [x for name in names if name not in apart for x in members[name]]
    return learn, [x for name in names if name in apart for x in members[name]]
