"""Which labels people should look at again, after a round: those that held-out predictions contradict.

A model repeats the labels it was trained on, so only predictions that did not know a label say something of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.evaluate.suspects import suspects
from labelwise.loop.acquire import acquire
from labelwise.loop.context import Context, labelled_images
from labelwise.loop.train import set_apart
from labelwise.records import Labelled
from labelwise.store.second_looks import Suspect

FOLDS = 5
_LEAST = 10  # labelled images: with fewer nothing is sure
_FOLDED = "by models that were trained without it"
_APART = "by the model of the round, which did not train on it"


def find_suspects(context: Context, round: int, checkpoint: Path) -> list[Suspect] | None:
    """Labels of whole images that are probably wrong, most suspect first; None where they are not looked for.

    A model with a method ``folded``, such as `frozen`, predicts every image by a copy that was trained without it; of
    others the predictions on the images set apart for validation are used, which are others in every round. A label
    whose class the model met nowhere else is not judged.
    """
    labelled = labelled_images(context)
    if context.config.task != "classify" or context.parts.annotator.simulated or len(labelled) < _LEAST:
        return None
    classes, rng = context.store.classes(), context.rng(round, "evaluate")
    labels = np.array([classes.index(x.target.classes[0]) for x in labelled], dtype=np.int64)
    predict = getattr(context.parts.model, "folded", None)
    if predict is not None:
        folds, how = _folds(labelled, rng), _FOLDED
        probs = predict(labelled, folds, classes, seed=int(rng.integers(2**31)))
    else:
        held = {x.sample.id for x in set_apart(context, round, labelled)}
        folds, how = np.array([0 if x.sample.id in held else -1 for x in labelled]), _APART
        model, engine = context.parts.model, context.parts.engine
        apart = [x.sample for x in labelled if x.sample.id in held]
        if not apart:
            return None
        probs = np.zeros((len(labelled), len(classes)))
        probs[folds == 0] = acquire(engine, model, checkpoint, apart, keep=frozenset({"probs"}))["probs"]
    rows = np.flatnonzero((folds >= 0) & _met_elsewhere(labels, folds))
    query_of = {q.sample_id: q.id for q in context.store.queries() if q.purpose == "train"}
    return [
        Suspect(
            labelled[row].sample.id,
            query_of[labelled[row].sample.id],
            round,
            classes[labels[row]],
            classes[int(probs[row].argmax())],
            float(probs[row, labels[row]]),
            how,
        )
        for row in rows[suspects(labels[rows], probs[rows])].tolist()
    ]


def _met_elsewhere(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the class of each row occurs in another fold as well."""
    return np.array(
        [bool(((labels == label) & (folds != fold)).any()) for label, fold in zip(labels, folds, strict=True)]
    )


def _folds(labelled: Sequence[Labelled], rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each image ``(n,)``: classes shared out evenly, whole groups on one side."""
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(labelled):
        groups.setdefault(item.sample.group or item.sample.id, []).append(i)
    names = [list(groups)[i] for i in rng.permutation(len(groups))]
    # Sorted by class, dealt out in turn: each fold has about the same share of each class.
    names.sort(key=lambda name: labelled[groups[name][0]].target.classes[0])
    folds = np.zeros(len(labelled), dtype=np.int64)
    for turn, name in enumerate(names):
        folds[groups[name]] = turn % FOLDS
    return folds
