"""Discovery of new classes: rows that are farther from every label than is usual for what the model takes them for."""

from __future__ import annotations

import heapq

import numpy as np

from labelwise.selection.likeness import query_distances, query_rows
from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    check_probs,
    check_stored,
    count,
    squared_distances,
)


def novel(n: int, candidates: Rows, labelled: Rows, probs: Array, embeddings: Array) -> Picks:
    """One after the other, the candidate that is farthest from everything labelled or picked, measured by what is usual
    for its predicted class.

    Novelty is the Euclidean distance to the nearest labelled or picked row, divided by the median over the candidates
    of the same predicted class of the distance to the nearest labelled row (their mean where the median is 0). So a
    class that varies much does not take all picks, as it does farthest first; what fits no known class is far for any
    that the model gives it. Ties go to the lowest row; without labels distances are those to the candidate nearest the
    mean. ``probs`` is ``(N, C)``, ``embeddings`` ``(N, d)``. Facts: ``novelty``. Raises SelectionError if a number is
    not finite.
    """
    n = count(n, candidates)
    classes = check_probs(probs, candidates).argmax(axis=1)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    if not n:
        return Picks(candidates[:0], {"novelty": np.zeros(0)})
    distances = query_distances(vectors, candidates, query_rows(candidates, labelled, None, vectors, (), ()))
    positions, novelty = _greedy(n, candidates, vectors, distances, _usual(distances, classes))
    return Picks(candidates[positions], {"novelty": novelty})


def _usual(distances: Doubles, classes: Rows) -> Doubles:
    """For each candidate the usual distance of its class; infinite where all are 0: nothing in it is new."""
    usual = np.full(len(distances), np.inf)
    for number in np.unique(classes):
        members = classes == number
        own = distances[members]
        value = float(np.median(own)) or float(np.sort(own).mean())
        usual[members] = value or np.inf
    return usual


def _greedy(n: int, candidates: Rows, vectors: Array, distances: Doubles, usual: Doubles) -> tuple[Rows, Doubles]:
    """Positions and novelties of the picks; a row is measured against later picks only when it is about to be taken."""
    waiting = [(-value, place, 0) for place, value in enumerate((distances / usual).tolist())]
    heapq.heapify(waiting)
    chosen, novelty = list[int](), list[float]()
    while len(chosen) < n:
        value, place, seen = heapq.heappop(waiting)
        if seen == len(chosen):
            chosen.append(place)
            novelty.append(-value)
            continue
        others = candidates[np.array(chosen[seen:])]
        nearest = float(np.sqrt(squared_distances(vectors, others, vectors[candidates[place]]).min()))
        heapq.heappush(waiting, (max(value, -nearest / usual[place]), place, len(chosen)))
    return np.array(chosen, dtype=np.int64), np.array(novelty)
