"""Two selections beside each other: how many, what they share, of which classes, and how well each covers the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.web.columns import Column
from labelwise.web.explored import Explored
from labelwise.web.vectors import nearest

Rows = NDArray[np.int64]
_MOST = 2 * 10**8  # distances that are computed at once; beyond, the images covered are a sample
_NOT_TOLD = ("round", "rank", "width", "height")
_BY = ("label", "truth", "prediction", "group", "folder", "split")


def compare(explored: Explored, first: Rows, second: Rows) -> dict[str, Any]:
    """Two selections of rows as plain values: ``sizes``, what they share, ``balance`` by a column, ``numbers`` (means),
    and ``coverage``: the distance from every image to the nearest of each selection, and between the two."""
    both = np.intersect1d(first, second)
    union = len(first) + len(second) - len(both)
    _, columns = explored.columns()
    return {
        "sizes": [len(first), len(second)],
        "both": len(both),
        "union": union,
        "jaccard": len(both) / union if union else None,
        "balance": [_balance(columns[name], first, second) for name in _BY if name in columns],
        "numbers": [
            {"title": c.title, "means": [_mean(c.data[first]), _mean(c.data[second])], "form": c.form}
            for c in columns.values()
            if c.values is None and c.form != "time" and c.name not in _NOT_TOLD
        ],
        "coverage": _coverage(explored, first, second),
    }


def _balance(column: Column, first: Rows, second: Rows) -> dict[str, Any]:
    assert column.values is not None
    counts = [np.bincount(column.data[rows] + 1, minlength=len(column.values) + 1) for rows in (first, second)]
    order = np.argsort(-(counts[0] + counts[1])[1:], kind="stable")[:40]
    return {
        "title": column.title,
        "classes": column.classes,
        "rows": [
            [column.values[i], int(counts[0][i + 1]), int(counts[1][i + 1]), int(i)]
            for i in order
            if counts[0][i + 1] or counts[1][i + 1]
        ],
        "missing": [int(c[0]) for c in counts],
        "evenness": [_evenness(c[1:]) for c in counts],
    }


def _evenness(counts: NDArray[np.int64]) -> float | None:
    """The entropy of the classes over that of all classes alike, 0 to 1."""
    total, classes = counts.sum(), len(counts)
    if not total or classes < 2:
        return None
    shares = counts[counts > 0] / total
    return float((shares * np.log(1 / shares)).sum() / np.log(classes))


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _coverage(explored: Explored, first: Rows, second: Rows) -> dict[str, Any] | None:
    vectors = explored.vectors
    if vectors.state != "ready":
        return None
    ids = explored.ids()
    places = [vectors.positions([ids[i] for i in rows]) for rows in (first, second)]
    if not all(len(p) for p in places):
        return None
    n, largest = len(vectors.matrix), max(map(len, places))
    seen = np.arange(n)
    if n * largest > _MOST:
        seen = np.sort(np.random.default_rng(0).permutation(n)[: max(1000, _MOST // largest)])
    matrix = vectors.matrix[seen]
    told: dict[str, Any] = {"images": len(seen), "of": n, "mean": [], "farthest": []}
    for place in places:
        distance = nearest(matrix, vectors.matrix[place])
        told["mean"].append(float(distance.mean()))
        told["farthest"].append(float(distance.max()))
    few = [p[:20_000] for p in places]
    if len(few[0]) * len(few[1]) <= _MOST:
        told["between"] = [
            float(nearest(vectors.matrix[few[0]], vectors.matrix[few[1]]).mean()),
            float(nearest(vectors.matrix[few[1]], vectors.matrix[few[0]]).mean()),
        ]
    return told
