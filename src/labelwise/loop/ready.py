"""Models that know something before any label is given: a zero-shot detector, or predictions from a file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from labelwise.engine import Progress
from labelwise.loop.context import Context, last_checkpoint
from labelwise.loop.detecting import Detect, shown_boxes
from labelwise.models import Model, Plan, knows_already
from labelwise.parts import proposing
from labelwise.records import Sample, Target


def known_checkpoint(context: Context, before: int) -> Path | None:
    """The last checkpoint before a round; in the first round that of a model that needs no labels, if it is one."""
    last = last_checkpoint(context, before)
    if last is None and knows_already(context.parts.model):
        return _made(context, context.parts.model, context.folder(before) / "known")
    return last


def first_proposals(context: Context, round: int, samples: Sequence[Sample]) -> dict[str, Target]:
    """What the model for proposals finds in images that are asked before the run's own model has learnt anything."""
    model = context.parts.proposals
    if model is None or not samples:
        return {}
    with proposing(context.config):
        checkpoint = _made(context, model, context.folder(round) / "proposals")
    work = Detect(model, checkpoint, frozenset({"boxes"}))
    found: dict[str, Target] = {}
    classes = context.store.classes()
    for prediction in context.parts.engine.map_batches(work, samples, batch_size=model.batch_size):
        found[prediction.id] = shown_boxes(prediction, context.config.shown, classes)
        context.progress(len(found), len(samples), "images proposed for")
    return found


def _made(context: Context, model: Model, place: Path) -> Path:
    """The checkpoint of a model that needs no labels, made once."""
    if not place.exists():
        beside = place.with_name(f"{place.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        progress: Progress = context.progress
        plan = Plan(context.store.classes(), 0)
        model.fit([], [], out=beside, start=None, plan=plan, seed=0, progress=progress)
        beside.replace(place)
    return place
