"""Bisection between labelled rows of different classes, on one line for each class: GALAXY, for rare classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Picks, Rows, check_probs, count

_Places = NDArray[np.int64]


def galaxy(
    n: int,
    candidates: Rows,
    labelled: Rows,
    labels: Rows,
    probs: Array,
    labelled_probs: Array,
    rng: np.random.Generator,
) -> Picks:
    """For each pick a class drawn at random, and on its line the middle between two labels that differ.

    A class's line holds candidates and labelled rows, the surest of the class first: in order of p_k - max p, then of
    max p, then of the row (two classes: one line, in order of p_0). Of all stretches of candidates between a labelled
    row of the class and one of another class the shortest is halved; if none is left, the candidate nearest to where
    two such labels touch is taken; if they touch nowhere, that nearest to the end of the line where labels of the class
    (else of the others) are missing. Ties go to the front of the line. So every class gets as many questions at its
    border, however rare it is. Nobody answers before all are asked: a pick counts as the class the model says.

    ``probs`` is ``(N, C)``, ``labelled_probs`` ``(m, C)`` for the labelled rows, ``labels`` ``(m,)`` class indices (a
    class beyond C, or -1, is another one on every line). Facts: ``sought_class``, ``between``: the candidates on the
    stretch, or -1. Raises SelectionError if probabilities are none. Zhang, Katz-Samuels & Nowak 2022, GALAXY:
    graph-based active learning at the extreme, algorithm 3; there answers come one by one, classes without a label are
    sought at random.
    """
    n = count(n, candidates)
    values = check_probs(probs, candidates)
    known = check_probs(labelled_probs, np.arange(len(labelled)))
    if len(labelled) and known.shape[1] != values.shape[1]:
        raise SelectionError(
            f"galaxy: expected probabilities of {values.shape[1]} classes for labelled rows, found {known.shape[1]}"
        )
    classes = values.shape[1]
    whole = np.concatenate([values, known]) if len(known) else values
    rows = np.concatenate([candidates, labelled])
    said = np.concatenate([values.argmax(axis=1), labels]).astype(np.int64)
    asked: list[int] = []
    facts: list[tuple[int, int]] = []
    lines: dict[int, _Line] = {}
    for _ in range(n):
        sought = int(rng.integers(classes)) if classes > 2 else 0
        if sought not in lines:
            order = _order(whole, rows, sought)
            taken = np.concatenate([np.arange(len(candidates), len(rows)), np.array(asked, np.int64)])
            lines[sought] = _Line.of(order, said == sought, taken)
        place, between = lines[sought].next()
        node = int(lines[sought].order[place])
        asked.append(node)
        facts.append((sought, between))
        for line in lines.values():
            line.take(node)
    found = np.array(facts, dtype=np.int64).reshape(-1, 2)
    return Picks(candidates[np.array(asked, np.int64)], {"sought_class": found[:, 0], "between": found[:, 1]})


def _order(probs: Array, rows: Rows, sought: int) -> _Places:
    """Positions along the line of a class."""
    if probs.shape[1] == 2:
        return np.lexsort((rows, -probs[:, 0]))
    best = probs.max(axis=1)
    return np.lexsort((rows, -best, best - probs[:, sought]))


@dataclass(slots=True)
class _Line:
    """One class's line: ``order`` gives the node at each place, ``rank`` the place of each node, ``inside`` whether a
    node is of the class; ``places`` are those of labelled nodes, ascending."""

    order: NDArray[np.int32]
    rank: NDArray[np.int32]
    inside: NDArray[np.bool_]
    places: _Places

    @classmethod
    def of(cls, order: _Places, inside: NDArray[np.bool_], taken: _Places) -> _Line:
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return cls(order.astype(np.int32), rank, inside, np.sort(rank[taken]).astype(np.int64))

    def take(self, node: int) -> None:
        """Count a node as labelled."""
        place = int(self.rank[node])
        self.places = np.insert(self.places, int(np.searchsorted(self.places, place)), place)

    def next(self) -> tuple[int, int]:
        """The place to ask for, and how many candidates lie on the stretch that it halves (-1: it halves none)."""
        places, inside = self.places, self.inside[self.order[self.places]]
        lengths, differ = np.diff(places) - 1, inside[1:] != inside[:-1]
        open_ones = np.flatnonzero(differ & (lengths > 0))
        if len(open_ones):
            at = int(open_ones[np.argmin(lengths[open_ones])])
            return int(places[at] + places[at + 1]) // 2, int(lengths[at])
        cuts = np.flatnonzero(differ)
        return (self._beside(cuts) if len(cuts) else self._missing(inside)), -1

    def _beside(self, cuts: _Places) -> int:
        """The candidate nearest to where two labels that differ touch; the one in front of equally near ones."""
        places, last = self.places, len(self.order) - 1
        new = np.concatenate([[True], np.diff(places) > 1])  # where a run of labelled places begins
        begins = places[np.flatnonzero(new)]
        ends = places[np.append(np.flatnonzero(new)[1:] - 1, len(places) - 1)]
        run = np.cumsum(new)[cuts] - 1
        before, after = begins[run] - 1, ends[run] + 1
        found = np.concatenate([before, after])
        steps = np.concatenate([places[cuts] - before, after - places[cuts + 1]])
        inside = (found >= 0) & (found <= last)
        found, steps = found[inside], steps[inside]
        return int(found[np.lexsort((found, steps))[0]])

    def _missing(self, inside: NDArray[np.bool_]) -> int:
        """The candidate nearest to the end of the line where labels are missing."""
        free = np.ones(len(self.order), dtype=bool)
        free[self.places] = False
        at = np.flatnonzero(free)
        return int(at[0] if not inside.any() else at[-1])
