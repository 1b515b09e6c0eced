"""Compiled inner loops of the selections over objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from labelwise.selection.kernels import TINY, _rounded, exact

_compiled = njit(cache=True, nogil=True)


@_compiled
def approach_all(points: Any, value: Any, near: Any, centres: Any, first: int, margin: float) -> None:
    """Bring exact squared distances ``value`` ``(b,)`` up to date with further centres, numbered from ``first``."""
    for i in range(points.shape[0]):
        for j in range(centres.shape[0]):
            if not value[i] > 0:
                break
            if not _rounded(points[i], centres[j]) > value[i] * (1 + margin) + TINY:
                squared = exact(points[i], centres[j])
                if squared < value[i]:
                    value[i], near[i] = squared, first + j


@_compiled
def add_matches(
    similar: Any, begins: Any, images: Any, weights: Any, other_begins: Any, others: Any, other_weights: Any,
    same: bool, there: Any, back: Any,
) -> None:  # fmt: skip
    """Add each object's weight times 1 + its best similarity to the objects of an image of the other side.

    ``similar`` is ``(b, m)``. Rows ``begins[i]:begins[i + 1]`` belong to image ``images[i]`` and weigh ``weights``
    ``(b,)``; columns likewise. What the rows gain is added to ``there`` (images of the rows, of the columns), what the
    columns gain to ``back`` (the same shape). With ``same`` only pairs of an image and a later one are looked at.
    """
    best = np.empty(similar.shape[1], similar.dtype)
    for i in range(images.shape[0]):
        first = 0
        while same and first < others.shape[0] and others[first] <= images[i]:
            first += 1
        best[:] = similar[begins[i]]
        for a in range(begins[i], begins[i + 1]):
            for c in range(other_begins[first], similar.shape[1]):
                best[c] = max(best[c], similar[a, c])
            for k in range(first, others.shape[0]):
                most = similar[a, other_begins[k]]
                for c in range(other_begins[k] + 1, other_begins[k + 1]):
                    most = max(most, similar[a, c])
                there[images[i], others[k]] += weights[a] * (np.float64(most) + 1)
        for k in range(first, others.shape[0]):
            for c in range(other_begins[k], other_begins[k + 1]):
                back[images[i], others[k]] += other_weights[c] * (np.float64(best[c]) + 1)


@_compiled
def cover(serves: Any, similarity: Any, covered: Any) -> None:
    """Raise what is ``covered`` ``(m,)`` to the similarity of these objects; ``serves`` ``(b, k)``, -1: nothing."""
    for i in range(serves.shape[0]):
        for j in range(serves.shape[1]):
            at = serves[i, j]
            if at >= 0:
                covered[at] = max(covered[at], similarity[i, j])


@_compiled
def joint_gain(serves: Any, similarity: Any, weights: Any, covered: Any, scratch: Any) -> float:
    """Weight that some objects would newly cover together; ``scratch`` ``(m,)`` is 0 before and after."""
    total = 0.0
    for i in range(serves.shape[0]):
        for j in range(serves.shape[1]):
            at = serves[i, j]
            if at >= 0:
                before = max(covered[at], scratch[at])
                if similarity[i, j] > before:
                    total += weights[at] * (similarity[i, j] - before)
                    scratch[at] = similarity[i, j]
    for i in range(serves.shape[0]):
        for j in range(serves.shape[1]):
            if serves[i, j] >= 0:
                scratch[serves[i, j]] = 0
    return total


@_compiled
def best_alone(serves: Any, similarity: Any, weights: Any, covered: Any) -> int:
    """Which of some objects would newly cover most by itself; the lowest of equal ones."""
    best, most = 0, -1.0
    for i in range(serves.shape[0]):
        total = 0.0
        for j in range(serves.shape[1]):
            at = serves[i, j]
            if at >= 0 and similarity[i, j] > covered[at]:
                total += weights[at] * (similarity[i, j] - covered[at])
        if total > most:
            best, most = i, total
    return best


@_compiled
def least_entropy(
    begins: Any, classes: Any, amounts: Any, sizes: Any, free: Any, have: Any, target: Any, logs: Any
) -> Any:
    """Cross-entropy of ``target`` ``(C,)`` and the class shares of ``have`` ``(C,)`` plus each image, ``(images,)``.

    Image i adds ``amounts`` of ``classes`` at ``begins[i]:begins[i + 1]``, ``sizes[i]`` in all; ``logs`` holds the
    logarithms of whole numbers, first that of the least share. Images that are not ``free`` get infinity.
    """
    found = np.empty(sizes.shape[0])
    sum_have = 0
    base, reached = 0.0, 0.0
    for c in range(have.shape[0]):
        sum_have += have[c]
        if have[c] > 0:
            base += target[c] * logs[have[c]]
            reached += target[c]
    for i in range(sizes.shape[0]):
        if not free[i]:
            found[i] = np.inf
            continue
        inside, share = base, reached
        for j in range(begins[i], begins[i + 1]):
            c = classes[j]
            if have[c] > 0:
                inside += target[c] * (logs[have[c] + amounts[j]] - logs[have[c]])
            else:
                inside += target[c] * logs[amounts[j]]
                share += target[c]
        found[i] = share * logs[sum_have + sizes[i]] - inside - (1 - share) * logs[0]
    return found
