"""Labels that are probably wrong, found by confident learning from predictions that did not know them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError
from labelwise.records import Floats

Ints = NDArray[np.integer]


def confident_joint(labels: Ints, probs: Floats) -> Ints:
    """Counts ``(C, C)`` of rows by given label and by the class that they confidently are.

    A row is confidently of a class whose probability reaches that class's threshold: the mean of it over the rows with
    that label; of several, the most probable (Northcutt et al. 2021, equations 1 and 2). ``labels`` ``(n,)`` are class
    indices, ``probs`` ``(n, C)`` predictions of models that were not trained on the row.
    """
    confident = _confident(labels, probs)
    joint = np.zeros((probs.shape[1], probs.shape[1]), dtype=np.int64)
    sure = confident >= 0
    np.add.at(joint, (labels[sure], confident[sure]), 1)
    return joint


def suspects(labels: Ints, probs: Floats) -> list[int]:
    """Rows whose label is probably wrong: confidently of another class, which is also the most probable one.

    The least probable label comes first, by its margin to the class that the row seems to be; ties go to the lowest
    row (the ranking by normalised margin of Northcutt et al. 2021). Raises DataError for arrays that do not fit.
    """
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise DataError(f"expected labels (n,) and probabilities (n, C), found {labels.shape} and {probs.shape}")
    if not len(labels):
        return []
    confident, best = _confident(labels, probs), probs.argmax(axis=1)
    wrong = np.flatnonzero((confident >= 0) & (confident != labels) & (best != labels))
    margin = probs[wrong, labels[wrong]].astype(np.float64) - probs[wrong, best[wrong]]
    return [int(row) for row in wrong[np.argsort(margin, kind="stable")]]


def thresholds(labels: Ints, probs: Floats) -> Floats:
    """The mean probability of each class over the rows labelled with it ``(C,)``; infinite for a class without any."""
    sums, counts = np.zeros(probs.shape[1]), np.bincount(labels, minlength=probs.shape[1])
    np.add.at(sums, labels, probs[np.arange(len(labels)), labels].astype(np.float64))
    means: Floats = np.divide(sums, counts, out=np.full(len(sums), np.inf), where=counts > 0)
    return means


def _confident(labels: Ints, probs: Floats) -> Ints:
    """The class that each row confidently is, -1 for none."""
    reached = probs >= thresholds(labels, probs)
    best = np.where(reached, probs, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1)
