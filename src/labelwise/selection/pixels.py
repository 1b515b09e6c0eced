"""Choosing pixels of one image by their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int32]
Map = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


def draw(scores: Map, free: Flags, n: int, *, share: float, rng: np.random.Generator) -> Points:
    rows = np.flatnonzero(free)
    k = min(len(rows), max(n, int(share * scores.size)))
    values = scores.reshape(-1)[rows]
    best = rows[np.argsort(-values, kind="stable")[:k]]
    return _points(rng.choice(best, min(n, len(best)), replace=False), scores.shape[1])


def top(scores: Map, free: Flags, n: int, *, apart: int = 0) -> Points:
    if apart:
        from labelwise.selection import regions

        return regions.choose(scores, free, n, radius=0, apart=apart)
    rows = np.flatnonzero(free)
    values = scores.reshape(-1)[rows]
    return _points(rows[np.argsort(-values, kind="stable")[:n]], scores.shape[1])


def _points(rows: NDArray[np.int64], width: int) -> Points:
    return np.stack([rows % width, rows // width], axis=1).astype(np.int32)
