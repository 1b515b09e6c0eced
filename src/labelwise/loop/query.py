"""The step that chooses a round's images, regions or pixels and stores them as queries, with their reasons."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import reasons
from labelwise.loop.acquire import Outputs, acquire
from labelwise.loop.columns import Columns, group_numbers
from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.loop.detecting import forget, look, proposals
from labelwise.loop.query_inside import choose_inside
from labelwise.loop.ready import first_proposals, known_checkpoint
from labelwise.records import UNITS, Annotation, Query, Sample, Target, Unit
from labelwise.results.candidates import CANDIDATES
from labelwise.selection.compose import Inputs
from labelwise.strategies import Strategy

BOXES = 10.0  # that an image is taken to have before any is answered


def query(context: Context, round: int, goal: int) -> str:
    """Choose images until the labelled ones are ``goal``; in round 0 also ask the audit sample and take what the data
    knows."""
    began = time.perf_counter()
    store = context.store
    asked = store.asked()
    unasked = [s for s in store.samples("pool") if s.id not in asked]
    given = [] if context.parts.annotator.simulated or round > 0 else [s for s in unasked if s.target is not None]
    known = {s.id for s in given}
    free = [s for s in unasked if s.id not in known]
    wanted = goal - int(store.spent())
    if context.parts.unit in ("image", "box"):
        wanted = min(_images_for(context, wanted), len(free))
        chosen = _choose(context, round, free, wanted) if wanted > 0 else []
    else:
        chosen = choose_inside(context, round, wanted, goal) if wanted > 0 else []
    audit = [
        Query(
            f"{round:03d}-audit-{i:05d}",
            round,
            len(chosen) + i,
            s.id,
            unit=_whole(context),
            cost=0,
            reason={"drawn": "at random, to estimate the quality"},
            purpose="audit",
        )
        for i, s in enumerate(_audit(context, round))
    ]
    first = len(chosen) + len(audit)
    came = [
        Query(
            f"{round:03d}-given-{i:05d}",
            round,
            first + i,
            s.id,
            unit=_whole(context),
            cost=0,
            reason={"drawn": "came labelled"},
        )
        for i, s in enumerate(given)
    ]
    with store.transaction():
        store.add_queries([*chosen, *audit, *came])
        store.add_annotations(Annotation(q.id, context.by_id[q.sample_id].target, "data") for q in came)
        amount = len(chosen) if context.parts.unit == "box" else int(sum(q.cost for q in chosen))
        store.finish_step(round, "query", time.perf_counter() - began, {"asked": amount, "wanted": max(wanted, 0)})
    if context.parts.unit == "image":
        forget(context, round)
    if amount < wanted:
        context.tell(f"round {round}: {amount} of {wanted} {_fewer(context, round)}")
    return ""


def _fewer(context: Context, round: int) -> str:
    """What fewer were chosen of than were wanted, and why."""
    parts = context.parts
    strategy = parts.cold_start if last_checkpoint(context, round) is None else parts.strategy
    if parts.unit in ("image", "box"):
        return "images chosen: the rules of the strategy allow no more"
    if context.config.budget.cost == "pixel":
        return "pixels chosen: the next region does not fit in; what is left goes to the next round"
    why = "the rules of the strategy allow" if strategy.compares else "the images have room for"
    return f"{UNITS[parts.unit]} chosen: {why} no more"


def ask_more(context: Context, round: int, goal: int) -> bool:
    """Of boxes, which are counted once an image is answered: choose further images for a round that is not full yet.

    False if there is nothing more to choose.
    """
    store = context.store
    asked = store.asked()
    free = [s for s in store.samples("pool") if s.id not in asked]
    wanted = min(_images_for(context, goal - int(store.spent())), len(free))
    first = 1 + max((q.rank for q in store.queries(round)), default=-1)
    chosen = _choose(context, round, free, wanted, first) if wanted > 0 else []
    with store.transaction():
        store.add_queries(chosen)
    return bool(chosen)


def _whole(context: Context) -> Unit:
    """What a query for a whole image is counted in."""
    return "box" if context.parts.unit == "box" else "image"


def _images_for(context: Context, wanted: int) -> int:
    """How many images to choose for what is wanted: of boxes, as many as would hold these at the mean so far."""
    if context.parts.unit != "box" or wanted <= 0:
        return wanted
    counts = [len(target.classes) for _, target in context.store.answered()]
    mean = max(1.0, sum(counts) / len(counts)) if counts else BOXES
    return max(1, int(wanted / mean))


def _audit(context: Context, round: int) -> list[Sample]:
    return context.store.samples("audit") if round == 0 else []


def _choose(context: Context, round: int, free: Sequence[Sample], wanted: int, first: int = 0) -> list[Query]:
    begun, checkpoint = last_checkpoint(context, round) is not None, known_checkpoint(context, round)
    strategy = context.parts.strategy if begun else context.parts.cold_start
    labelled = sorted(labelled_images(context), key=lambda x: x.sample.id)
    samples = sorted([*free, *(x.sample for x in labelled)], key=lambda s: s.id)
    row_of = {s.id: i for i, s in enumerate(samples)}
    candidates = np.array([row_of[s.id] for s in free], dtype=np.int64)
    boxes, classes = context.config.task == "detect", context.store.classes()
    if boxes:
        arrays = look(context, round, checkpoint, strategy, samples, candidates, labelled)
    else:
        arrays = _arrays(context, checkpoint, strategy, samples, candidates)
    inputs = Inputs(
        n=wanted,
        candidates=candidates,
        rng=context.rng(round, "query"),
        labelled=np.array([row_of[x.sample.id] for x in labelled], dtype=np.int64),
        # An image of several boxes has no class of its own.
        labels=None if boxes else np.array([classes.index(x.target.classes[0]) for x in labelled], dtype=np.int64),
        groups=group_numbers(samples),
        metadata=Columns(samples),
        rewards=_rewards(context, round),
        engine=context.parts.engine,
        **arrays,
    )
    picks = strategy.select(inputs)
    if picks.ended:
        context.tell(f"round {round}: {picks.ended}")
    facts = reasons.explain(picks, inputs, ids=[s.id for s in samples], classes=classes)
    _keep_scores(context, round, [s.id for s in free], candidates, arrays)
    chosen = [samples[row] for row in picks.rows]
    if boxes and context.parts.proposals is not None and not begun:
        proposed = first_proposals(context, round, chosen)
    elif boxes:
        proposed = proposals(context, round, checkpoint, strategy, chosen)
    else:
        proposed = _proposals(arrays, picks.rows, chosen, classes)
    return [
        Query(
            f"{round:03d}-{rank:05d}",
            round,
            rank,
            sample.id,
            _whole(context),
            cost=0.0 if _whole(context) == "box" else 1.0,
            proposal=proposed.get(sample.id),
            reason=reason,
        )
        for rank, (sample, reason) in enumerate(zip(chosen, facts, strict=True), start=first)
    ]


def _arrays(
    context: Context,
    checkpoint: Path | None,
    strategy: Strategy,
    samples: Sequence[Sample],
    candidates: NDArray[np.int64],
) -> Outputs:
    """What the selection asks for of whole images, over all samples."""
    # The labelled images are looked at again only where distances to them count, or what the model says of them.
    every = "embeddings" in strategy.needs or "labelled_probs" in strategy.uses
    rows = np.arange(len(samples)) if every else candidates
    keep = strategy.needs - {"samples"} | (frozenset({"probs"}) if checkpoint else frozenset())
    if context.config.task == "segment":  # maps never leave the worker
        keep = keep & {"embeddings"}  # which are the means of theirs
    outputs = acquire(
        context.parts.engine, context.parts.model, checkpoint, [samples[i] for i in rows], strategy=strategy, keep=keep
    )
    return {name: _among_all(values, rows, len(samples)) for name, values in outputs.items()}


def _among_all(values: NDArray[Any], rows: NDArray[np.int64], total: int) -> NDArray[Any]:
    """Values of some rows among all rows; the others are NaN and never looked at."""
    if len(rows) == total:
        return values
    full = np.full((total, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[rows] = values
    return full


def _rewards(context: Context, round: int) -> tuple[dict[str, float], ...]:
    """For each earlier round and arm of a bandit: the share of its answers that were not what the model had said."""
    answers = context.store.annotations()
    rounds = []
    for earlier in range(round):
        surprises: dict[str, list[bool]] = {}
        for q in context.store.queries(earlier):
            answer = answers[q.id].target if q.id in answers else None
            if "arm" in q.reason and answer is not None:
                known = q.proposal is not None and q.proposal.classes == answer.classes
                surprises.setdefault(str(q.reason["arm"]), []).append(not known)
        rounds.append({arm: sum(values) / len(values) for arm, values in surprises.items()})
    return tuple(rounds)


def _proposals(
    arrays: Outputs, rows: NDArray[np.int64], chosen: Sequence[Sample], classes: tuple[str, ...]
) -> dict[str, Target]:
    """The most probable class of each image that is asked."""
    if "probs" not in arrays:
        return {}
    best = arrays["probs"][rows].argmax(axis=1)
    return {sample.id: Target((classes[i],)) for sample, i in zip(chosen, best.tolist(), strict=True)}


def _keep_scores(
    context: Context, round: int, ids: Sequence[str], candidates: NDArray[np.int64], arrays: Outputs
) -> None:
    """Keep the candidates' scores and classes beside the round, to look at what was not chosen too."""
    kept: dict[str, NDArray[Any]] = {"scores": arrays["scores"][candidates]} if "scores" in arrays else {}
    if "probs" in arrays and arrays["probs"].ndim == 2:
        probs = arrays["probs"][candidates]
        kept |= {"predicted": probs.argmax(axis=1), "confidences": probs.max(axis=1, initial=0).astype(np.float32)}
    if not kept:
        return
    folder = context.folder(round)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "candidates.partial.npz"
    np.savez(beside, ids=np.array(ids, dtype=np.str_), **kept)  # type: ignore[arg-type]
    beside.replace(folder / CANDIDATES)
