"""Choosing windows of one image by their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int32]
Map = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


def choose(
    scores: Map, free: Flags, n: int, *, radius: int, share: float = 1.0, apart: int | None = None, rng: Any = None
) -> Points:
    apart = 2 * radius if apart is None else apart
    left = np.where(free, scores, -np.inf).astype(np.float64)
    if radius:
        for y, x in zip(*np.nonzero(~free), strict=True):
            left[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = -np.inf
    found = []
    for _ in range(n):
        at = int(left.argmax())
        y, x = divmod(at, scores.shape[1])
        if not np.isfinite(left[y, x]):
            break
        found.append((x, y))
        left[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = -np.inf
    return np.array(found, np.int32).reshape(-1, 2)


def windows(centres: Points, shape: tuple[int, int], radius: int) -> Points:
    x, y = centres.T
    h, w = shape
    return np.stack(
        [
            np.maximum(x - radius, 0),
            np.maximum(y - radius, 0),
            np.minimum(x + radius + 1, w),
            np.minimum(y + radius + 1, h),
        ],
        axis=1,
    ).astype(np.int32)


def means(probs: Map, geometry: Points) -> NDArray[np.float32]:
    return np.stack([probs[y0:y1, x0:x1].mean(axis=(0, 1)) for x0, y0, x1, y1 in geometry.tolist()])
