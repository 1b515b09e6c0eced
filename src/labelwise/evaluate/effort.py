"""What annotators did to the boxes that were proposed: accepted, moved, renamed, added, deleted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError
from labelwise.records import Target

DEEDS = ("accepted", "moved", "renamed", "added", "deleted")
SAME, UNCHANGED = 0.5, 0.9  # overlap from which two boxes are one object, and from which a box was left as it was


def box_effort(proposal: Target | None, answer: Target) -> Counter[str]:
    """How many boxes of a proposal were accepted, moved, renamed or deleted, and how many added to it.

    A proposed and an answered box are one object if they overlap (intersection over union) by 0.5 or more; each has one
    partner at most, the largest overlaps first. Of a pair: ``renamed`` if the class differs, else ``moved`` if the
    overlap is below 0.9, else ``accepted``. Without a proposal all is added. Raises DataError for other targets.
    """
    proposed = Target((), np.empty((0, 4))) if proposal is None else proposal
    found: Counter[str] = Counter(dict.fromkeys(DEEDS, 0))
    pairs = _pairs(_overlaps(_boxes(proposed), _boxes(answer)))
    for i, j, overlap in pairs:
        same = proposed.classes[i] == answer.classes[j]
        found["renamed" if not same else "accepted" if overlap >= UNCHANGED else "moved"] += 1
    found["deleted"] = len(proposed.classes) - len(pairs)
    found["added"] = len(answer.classes) - len(pairs)
    return found


def _boxes(target: Target) -> NDArray[np.float64]:
    if target.geometry is None or target.geometry.shape[1] != 4:
        raise DataError("expected boxes, found another kind of target; is the task detect?")
    return np.asarray(target.geometry, np.float64)


def _overlaps(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    corner, far = np.maximum(one[:, None, :2], two[None, :, :2]), np.minimum(one[:, None, 2:], two[None, :, 2:])
    shared = (far - corner).clip(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (one, two)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _pairs(overlaps: NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """Partners by falling overlap, equal ones by their places."""
    rows, columns = np.nonzero(overlaps >= SAME)
    order = np.lexsort((columns, rows, -overlaps[rows, columns]))
    used: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((i, j, float(overlaps[i, j])))
    return pairs
