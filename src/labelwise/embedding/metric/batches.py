"""Which images make the batches of an epoch: plain, or P classes with K images each; at any number of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def single(n: int, size: int, rng: np.random.Generator) -> list[Rows]:
    """All ``n`` images once, in a new order, in batches of at most ``size`` that differ by one at most."""
    return np.array_split(rng.permutation(n), max(1, math.ceil(n / size))) if n else []


def balanced(labels: Rows, classes: int, images: int, rng: np.random.Generator) -> list[Rows]:
    """Batches of ``classes`` classes with ``images`` images each, as many as an epoch of the ``labels`` ``(n,)`` needs.

    Where fewer classes are labelled, all of them make a batch. A class gives its images in a new order, one after the
    other, and begins anew when they are used up: one with fewer than ``images`` shows some twice in a batch. At least
    one batch, unless there is no label.
    """
    if not len(labels):
        return []
    names = np.unique(labels)
    width = min(classes, len(names))
    streams = {int(name): _endless(np.flatnonzero(labels == name), rng) for name in names}
    turns = _endless(names, rng)
    batches = []
    for _ in range(math.ceil(len(labels) / (width * images))):
        chosen: dict[int, None] = {}
        while len(chosen) < width:  # where the order begins anew, a class may come up that is in already
            chosen[next(turns)] = None
        batches.append(np.array([next(streams[name]) for name in chosen for _ in range(images)], np.int64))
    return batches


def _endless(values: Rows, rng: np.random.Generator) -> Iterator[int]:
    """All values in a random order, then in another one, for ever."""
    while True:
        yield from (int(v) for v in rng.permutation(values))
