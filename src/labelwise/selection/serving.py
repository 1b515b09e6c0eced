"""Greedy facility location without a graph: which rows serve a given crowd of clients best."""

from __future__ import annotations

import heapq

import numpy as np

from labelwise.selection.picks import Array, Doubles, Rows, chunks, on_grid

_CELLS = 1 << 22  # similarities held at a time
_BLOCK = 32  # gains that are brought up to date together


def cosines(vectors: Array, crowd: Doubles) -> Doubles:
    """max(0, cosine) of every row to every client, ``(b, w)``, rounded to 1e-6 so that sums tie exactly.

    ``crowd`` ``(w, d)`` has rows of length 1 (or 0).
    """
    points = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt((points**2).sum(axis=1, keepdims=True))
    return on_grid(np.maximum(points / np.where(lengths > 0, lengths, 1) @ crowd.T, 0))


def serve(n: int, vectors: Array, crowd: Doubles, covered: Doubles) -> tuple[Rows, Doubles]:
    """Up to n positions in ``vectors`` ``(b, d)`` that raise the clients' similarity most, and what each won.

    ``covered`` ``(w,)`` is the similarity that clients have already. Ties go to the lowest row. Gains only fall, so
    that an old one is a bound and few are computed again (Minoux 1978).
    """
    covered = covered.copy()
    heap: list[tuple[float, int, int]] = []
    for part in chunks(len(vectors), max(1, _CELLS // max(len(crowd), 1))):
        gains = np.maximum(cosines(vectors[part], crowd) - covered, 0).sum(axis=1)
        heap += [(-gain, part.start + i, 0) for i, gain in enumerate(gains.tolist())]
    heapq.heapify(heap)
    picks: list[int] = []
    values: list[float] = []
    while heap and len(picks) < n:
        if heap[0][2] == len(picks):
            bound, position, _ = heapq.heappop(heap)
            picks.append(position)
            values.append(-bound)
            covered = np.maximum(covered, cosines(vectors[position : position + 1], crowd)[0])
            continue
        old: list[int] = []
        while heap and len(old) < _BLOCK and heap[0][2] < len(picks):
            old.append(heapq.heappop(heap)[1])
        gains = np.maximum(cosines(vectors[old], crowd) - covered, 0).sum(axis=1)
        for position, gain in zip(old, gains.tolist(), strict=True):
            heapq.heappush(heap, (-gain, position, len(picks)))
    return np.array(picks, dtype=np.int64), np.array(values)


def value_of(centres: Array, crowd: Doubles) -> float:
    """The sum over the clients of the similarity to the most similar of ``centres`` ``(m, d)``."""
    best = np.zeros(len(crowd))
    for part in chunks(len(centres), max(1, _CELLS // max(len(crowd), 1))):
        best = np.maximum(best, cosines(centres[part], crowd).max(axis=0))
    return float(best.sum())
