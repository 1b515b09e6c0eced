"""The step that judges a round's model on the test split and on the audit sample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import evaluate
from labelwise.loop.acquire import acquire
from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.records import Labelled


def judge(context: Context, round: int, goal: int) -> str:
    """Evaluate and store the figures; a run without a test split has those of the audit sample only."""
    began = time.perf_counter()
    store = context.store
    checkpoint = last_checkpoint(context, round + 1)
    test = [Labelled(s, s.target) for s in store.samples("test") if s.target is not None]
    splits = {"test": test, "audit": labelled_images(context, "audit")}
    found = {
        split: _judged(context, checkpoint, items, split, round)
        for split, items in splits.items()
        if items and checkpoint
    }
    with store.transaction():
        for split, scores in found.items():
            store.add_evaluation(round, split, scores)
        store.finish_step(round, "evaluate", time.perf_counter() - began)
    return ""


def _judged(context: Context, checkpoint: Path, items: Sequence[Labelled], split: str, round: int) -> dict[str, Any]:
    classes = context.store.classes()
    model, engine = context.parts.model, context.parts.engine
    probs = acquire(engine, model, checkpoint, [x.sample for x in items], keep=frozenset({"probs"}))["probs"]
    index = {c: i for i, c in enumerate(classes)}
    truth = np.array([index.get(x.target.classes[0], -1) for x in items])
    scores = evaluate.classification(probs, truth, classes)
    figures = {
        name: getattr(scores, name)
        for name in ("n", "accuracy", "macro_f1", "ece", "nll", "classes", "recall", "precision", "support")
    }
    figures["confusion"] = _sparse(scores.confusion)
    return figures | (
        _intervals(truth, probs.argmax(axis=1), context.rng(round, "evaluate")) if split == "audit" else {}
    )


def _intervals(truth: NDArray[np.int64], predicted: NDArray[np.int64], rng: np.random.Generator) -> dict[str, float]:
    accuracy = evaluate.interval(int((predicted == truth).sum()), len(truth))
    macro = evaluate.macro_f1_interval(truth, predicted, rng=rng)
    return {
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "macro_f1_low": macro.low,
        "macro_f1_high": macro.high,
    }


def _sparse(confusion: NDArray[Any]) -> list[list[int]]:
    """The counts above 0 as [truth, prediction, count]: of 121 x 121 cells few are."""
    return [[int(r), int(c), int(confusion[r, c])] for r, c in zip(*np.nonzero(confusion), strict=True)]
