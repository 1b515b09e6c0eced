"""The step that chooses a round's images and stores them as queries, with their reasons."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import reasons
from labelwise.loop.acquire import Outputs, acquire
from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.selection.compose import Inputs


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
    wanted = min(goal - int(store.spent()), len(free))
    chosen = _choose(context, round, free, wanted) if wanted > 0 else []
    audit = [
        Query(
            f"{round:03d}-audit-{i:05d}",
            round,
            len(chosen) + i,
            s.id,
            cost=0,
            reason={"drawn": "at random, to estimate the quality"},
            purpose="audit",
        )
        for i, s in enumerate(_audit(context, round))
    ]
    first = len(chosen) + len(audit)
    came = [
        Query(f"{round:03d}-given-{i:05d}", round, first + i, s.id, cost=0, reason={"drawn": "came with its class"})
        for i, s in enumerate(given)
    ]
    with store.transaction():
        store.add_queries([*chosen, *audit, *came])
        store.add_annotations(Annotation(q.id, context.by_id[q.sample_id].target, "data") for q in came)
        store.finish_step(round, "query", time.perf_counter() - began, {"asked": len(chosen), "wanted": max(wanted, 0)})
    if len(chosen) < wanted:
        context.tell(f"round {round}: {len(chosen)} of {wanted} images chosen: the rules of the strategy allow no more")
    return ""


def _audit(context: Context, round: int) -> list[Sample]:
    return context.store.samples("audit") if round == 0 else []


def _choose(context: Context, round: int, free: Sequence[Sample], wanted: int) -> list[Query]:
    checkpoint = last_checkpoint(context, round)
    strategy = context.parts.cold_start if checkpoint is None else context.parts.strategy
    labelled = sorted(labelled_images(context), key=lambda x: x.sample.id)
    samples = sorted([*free, *(x.sample for x in labelled)], key=lambda s: s.id)
    row_of = {s.id: i for i, s in enumerate(samples)}
    candidates = np.array([row_of[s.id] for s in free], dtype=np.int64)
    # The labelled images are looked at again only where distances to them count.
    rows = np.arange(len(samples)) if "embeddings" in strategy.needs else candidates
    keep = strategy.needs - {"samples"} | (frozenset({"probs"}) if checkpoint else frozenset())
    outputs = acquire(
        context.parts.engine, context.parts.model, checkpoint, [samples[i] for i in rows], strategy=strategy, keep=keep
    )
    arrays = {name: _among_all(values, rows, len(samples)) for name, values in outputs.items()}
    classes = context.store.classes()
    inputs = Inputs(
        n=wanted,
        candidates=candidates,
        rng=context.rng(round, "query"),
        labelled=np.array([row_of[x.sample.id] for x in labelled], dtype=np.int64),
        labels=np.array([classes.index(x.target.classes[0]) for x in labelled], dtype=np.int64),
        groups=_group_numbers(samples),
        metadata=_metadata(samples),
        rewards=_rewards(context, round),
        engine=context.parts.engine,
        **arrays,
    )
    picks = strategy.select(inputs)
    if picks.ended:
        context.tell(f"round {round}: {picks.ended}")
    facts = reasons.explain(picks, inputs, ids=[s.id for s in samples], classes=classes)
    _keep_scores(context, round, [s.id for s in free], candidates, arrays)
    return [
        Query(
            f"{round:03d}-{rank:05d}",
            round,
            rank,
            samples[row].id,
            proposal=_proposal(arrays, row, classes),
            reason=reason,
        )
        for rank, (row, reason) in enumerate(zip(picks.rows.tolist(), facts, strict=True))
    ]


def _among_all(values: NDArray[Any], rows: NDArray[np.int64], total: int) -> NDArray[Any]:
    """Values of some rows among all rows; the others are NaN and never looked at."""
    if len(rows) == total:
        return values
    full = np.full((total, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[rows] = values
    return full


def _group_numbers(samples: Sequence[Sample]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array(
        [-1 if s.group is None else numbers.setdefault(s.group, len(numbers)) for s in samples], dtype=np.int64
    )


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


def _metadata(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """What is known of every image without a model: its size in pixels, and the name of its group."""
    sizes = np.array([s.size for s in samples], dtype=np.int64).reshape(-1, 2)
    groups = np.array([s.group or "" for s in samples], dtype=np.str_)
    return {"width": sizes[:, 0], "height": sizes[:, 1], "group": groups}


def _proposal(arrays: Outputs, row: int, classes: tuple[str, ...]) -> Target | None:
    return Target((classes[int(arrays["probs"][row].argmax())],)) if "probs" in arrays else None


def _keep_scores(
    context: Context, round: int, ids: Sequence[str], candidates: NDArray[np.int64], arrays: Outputs
) -> None:
    """Keep the candidates' scores beside the round, for those who want to look at what was not chosen."""
    if "scores" not in arrays:
        return
    folder = context.folder(round)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "candidates.partial.npz"
    np.savez(beside, ids=np.array(ids), scores=arrays["scores"][candidates])
    beside.replace(folder / "candidates.npz")
