"""The step that judges a round's model on the test split and on the audit sample."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import evaluate
from labelwise.data.masks import target_mask
from labelwise.engine import Work
from labelwise.evaluate.abstaining import abstention_curve, round_results
from labelwise.loop.acquire import acquire
from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.loop.detecting import detections
from labelwise.loop.suspects import find_suspects
from labelwise.models import Model
from labelwise.records import Labelled, Prediction, Task
from labelwise.report.results import write_results


def judge(context: Context, round: int, goal: int) -> str:
    """Evaluate and store the figures; a run without a test split has those of the audit sample only."""
    began = time.perf_counter()
    store = context.store
    checkpoint = last_checkpoint(context, round + 1)
    test = [Labelled(s, s.target) for s in store.samples("test") if s.target is not None]
    splits = {"test": test, "audit": labelled_images(context, "audit")}
    judged = JUDGES[context.config.task]
    found = {
        split: judged(context, checkpoint, items, split, round)
        for split, items in splits.items()
        if items and checkpoint
    }
    told = getattr(context.parts.model, "judged", None)
    if told is not None and checkpoint is not None and found:
        told(checkpoint, round, found)
    doubted = find_suspects(context, round, checkpoint) if checkpoint is not None else None
    with store.transaction():
        if doubted is not None:
            store.second_looks.set_suspects(doubted)
        for split, scores in found.items():
            store.add_evaluation(round, split, scores)
        store.finish_step(round, "evaluate", time.perf_counter() - began)
    return ""


def _classified(
    context: Context, checkpoint: Path, items: Sequence[Labelled], split: str, round: int
) -> dict[str, Any]:
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
    figures["abstention"] = abstention_curve(probs, truth)
    if split == "test" or not any(s.target is not None for s in context.store.samples("test")):
        counts = Counter(x.target.classes[0] for x in labelled_images(context))
        told = round_results(probs, truth, classes, context.config.threshold)
        about = {"round": round, "split": split, "labels": sum(counts.values()), "macro_f1": scores.macro_f1}
        write_results(context.folder(round), {**about, **told}, counts)
    return figures | (
        _intervals(truth, probs.argmax(axis=1), context.rng(round, "evaluate")) if split == "audit" else {}
    )


@dataclass(frozen=True)
class Confusion:
    """What a worker does with a batch of labelled images: predict, and count pixels by truth and prediction."""

    model: Model
    checkpoint: Path
    classes: tuple[str, ...]

    def __call__(self) -> Work:
        return self._counts

    def _counts(self, items: Sequence[Labelled]) -> list[NDArray[np.int64]]:
        found = self.model.predict(self.checkpoint, [x.sample for x in items], want=frozenset({"probs"}))
        return [self._count(item, prediction) for item, prediction in zip(items, found, strict=True)]

    def _count(self, item: Labelled, prediction: Prediction) -> NDArray[np.int64]:
        assert prediction.probs is not None
        truth = target_mask(item.target, self.classes, item.sample.size)
        return evaluate.pixel_confusion(prediction.probs.argmax(axis=-1), truth, len(self.classes))


def _segmented(context: Context, checkpoint: Path, items: Sequence[Labelled], split: str, round: int) -> dict[str, Any]:
    classes, model = context.store.classes(), context.parts.model
    counts = context.parts.engine.map_batches(Confusion(model, checkpoint, classes), items, batch_size=model.batch_size)
    total = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for done, count in enumerate(counts, start=1):
        total += count
        context.progress(done, len(items), f"{split} images judged")
    scores = evaluate.segmentation(total, classes, len(items))
    names = ("n", "miou", "pixel_accuracy", "class_accuracy", "classes", "iou", "recall", "precision", "support")
    return {name: getattr(scores, name) for name in names} | {"confusion": _sparse(scores.confusion)}


def _detected(context: Context, checkpoint: Path, items: Sequence[Labelled], split: str, round: int) -> dict[str, Any]:
    classes, folder = context.store.classes(), context.folder(round) / f"judged_{split}"
    truths = {x.sample.id: x.target for x in items}
    found = detections(context, folder, checkpoint, [x.sample for x in items], frozenset({"boxes"}))
    # In the order of the images: which of two equally sure boxes comes first must not depend on an interruption.
    by_id = {p.id: p for p in found}
    scores = evaluate.detection((by_id[id] for id in truths), truths, classes)
    shutil.rmtree(folder, ignore_errors=True)
    names = ("n", "boxes", "map", "map50", "map75", "map_small", "map_medium", "map_large", "classes", "ap", "ap50")
    return {name: getattr(scores, name) for name in (*names, "support")} | {"highest_recall": scores.recall}


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


# How the predictions of each task are judged.
JUDGES: Mapping[Task, Callable[[Context, Path, Sequence[Labelled], str, int], dict[str, Any]]] = {
    "classify": _classified,
    "detect": _detected,
    "segment": _segmented,
}
