"""Any number of parts in one greedy selection: diversity, weights and balance, each with a strength."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from labelwise.selection.compose import Inputs
from labelwise.selection.diversity import FLOOR, GRID, Diversity
from labelwise.selection.picks import Array, Doubles, Picks, Rows, count
from labelwise.selection.spread import check_least, coral, ended
from labelwise.selection.terms import Part, check_parts, class_counts, weights_of
from labelwise.selection.threads import in_threads
from labelwise.selection.weighted import grown, shares

_compiled = njit(cache=True, nogil=True)


def combined(
    inputs: Inputs,
    *,
    parts: tuple[Part, ...] = (Part("diversity"), Part("score")),
    least_distance: float = 0.0,
) -> Picks:
    """Always the candidate with the highest sum over the parts of strength * log(potential); ties: the lowest row.

    Potentials with S everything labelled or picked, and candidate i: diversity, the sum over S of squared distances to
    the nearest other in S, plus that of i to S; weights (score, similarity, typicality, a column of numbers), their sum
    over S and i; balance, 1 / cross-entropy of the target and the class shares of S and i. With nothing in S diversity
    says nothing; weights that are all 0 never do. Diversity with one part of weights is exactly ``coral``. Ends before
    a pick that would be nearer than ``least_distance`` to S.

    Facts: ``gain_`` and the part's name, its share in what the pick adds to the sum (a part that was at 0 takes all,
    one that the pick works against none); with diversity ``distance`` and ``nearest`` as in ``k_center``. Raises
    SelectionError if a part cannot be used. Lightly's combination of strategies, as recovered from its free engine
    (lightly-mundig 0.1.16).
    """
    n = count(inputs.n, inputs.candidates)
    check_parts(parts, least_distance)
    check_least("combined", least_distance)
    if not len(inputs.candidates):
        return Picks(inputs.candidates, {f"gain_{name}": np.empty(0) for name in _names(parts)})
    spread = next((part for part in parts if part.by == "diversity"), None)
    others = [_Weights(part, inputs) for part in parts if part.by not in ("diversity", "balance")]
    balances = [_Balance(part, inputs) for part in parts if part.by == "balance"]
    if spread and spread.strength >= 0 and not balances and len(others) <= 1 and all(x.strength >= 0 for x in others):
        return _as_coral(n, inputs, parts, spread, others, least_distance)
    terms: list[_Weights | _Balance] = [*others, *balances]
    greedy = _Greedy(n, inputs, spread, terms, least_distance)
    rows, facts, gains = greedy.run()
    order = [term.part for term in terms]
    columns = [len(order) if part is spread else [p is part for p in order].index(True) for part in parts]
    share = shares(gains)[:, columns]
    facts |= {f"gain_{name}": share[:, i] for i, name in enumerate(_names(parts))}
    return Picks(rows, facts, ended(len(rows), n, least_distance))


def _names(parts: tuple[Part, ...]) -> list[str]:
    """The parts' names; the second of one name is called name_2."""
    names: list[str] = []
    for part in parts:
        before = sum(p.name == part.name for p in parts[: len(names)])
        names.append(f"{part.name}_{before + 1}" if before else part.name)
    return names


class _Weights:
    """A part of weights: a potential that is their sum over what is selected."""

    def __init__(self, part: Part, inputs: Inputs) -> None:
        self.part = part
        self.values, self.known = weights_of(part, inputs)
        self.before = float(self.known.sum())
        says = self.values.any() or self.known.any()
        self.strength = part.strength if says else 0.0

    def add_to(self, total: Doubles, here: slice) -> None:
        _add_weights(total[here], self.values[here], self.before, self.strength)

    def take(self, position: int) -> float:
        """Select a candidate; returns what that adds to the sum of all parts."""
        more = self.values[position : position + 1]
        gain = float(grown(self.strength, np.array([self.before]), more)[0])
        self.before += float(more[0])
        return gain


class _Balance:
    """A part of classes: a potential that is high where the shares of what is selected are near the target."""

    def __init__(self, part: Part, inputs: Inputs) -> None:
        self.part, self.strength = part, part.strength
        self.counts, self.known, self.target = class_counts(part, inputs)
        self.counts = np.ascontiguousarray(self.counts)

    def add_to(self, total: Doubles, here: slice) -> None:
        _add_balance(total[here], self.counts[here], self.known, self.target, self.strength)

    def take(self, position: int) -> float:
        """Select a candidate; returns what that adds to the sum of all parts."""
        found, nothing = np.zeros(2), np.zeros(len(self.known))
        states = np.stack([self.known, self.known + self.counts[position]])
        _add_balance(found, states, nothing, self.target, self.strength)
        self.known = states[1]
        return float(found[1] - found[0])


def _as_coral(
    n: int, inputs: Inputs, parts: tuple[Part, ...], spread: Part, others: list[_Weights], least_distance: float
) -> Picks:
    """Diversity with at most one part of weights: coral's own kernels."""
    embeddings = inputs.named(["embeddings"], "combined")["embeddings"]
    weights = np.zeros(len(embeddings))
    strength = 0.0
    for other in others:
        weights[inputs.candidates], weights[inputs.labelled] = other.values, other.known
        strength = other.strength
    picks = coral(
        n, inputs.candidates, inputs.labelled, weights, embeddings,
        diversity=spread.strength, weight=strength, least_distance=least_distance,
    )  # fmt: skip
    facts = dict(picks.facts)
    share = facts.pop("gain_score")
    for part, name in zip(parts, _names(parts), strict=True):
        facts[f"gain_{name}"] = facts["gain_diversity"] if part is spread else share
    return Picks(picks.rows, facts, picks.ended)


class _Greedy:
    """The state of the greedy: sums of the parts, and distances as far as they matter."""

    def __init__(
        self, n: int, inputs: Inputs, spread: Part | None, others: list[_Weights | _Balance], least: float
    ) -> None:
        self.n, self.candidates, self.others, self.least = n, inputs.candidates, others, least
        self.strength = spread.strength if spread else 0.0
        self.left = np.ones(len(self.candidates), np.bool_)
        self.some = bool(len(inputs.labelled))  # is anything selected?
        self.distances: Diversity | None = None
        if spread:
            vectors = inputs.named(["embeddings"], "combined")["embeddings"]
            self.distances = Diversity(vectors, inputs.candidates, inputs.labelled, n, self.strength)

    def run(self) -> tuple[Rows, dict[str, Array], Doubles]:
        """Rows, distances as facts, and what each part (diversity last) adds with each pick, ``(n, t)``."""
        n = self.n
        positions, squared, nearest = np.empty(n, np.int64), np.full(n, np.nan), np.full(n, -1, np.int64)
        gains = np.zeros((n, len(self.others) + 1))
        for i in range(n):
            position = self._best()
            if self.distances is not None and self.some:
                squared[i], nearest[i] = self.distances.of(position)
                if np.sqrt(squared[i]) < self.least:
                    n = i
                    break
                gains[i, -1] = grown(self.strength, np.array([self.distances.before]), squared[i : i + 1])[0]
            positions[i], self.left[position], self.some = position, False, True
            gains[i, :-1] = [other.take(position) for other in self.others]
            if self.distances is not None:
                self.distances.take(position)
        facts: dict[str, Array] = {}
        if self.distances is not None:
            facts = {"distance": np.sqrt(squared[:n]), "nearest": nearest[:n]}
        return self.candidates[positions[:n]], facts, gains[:n]

    def _best(self) -> int:
        """The position of the highest gain; of equal ones the lowest row."""
        rest = np.where(self.left, 0.0, -np.inf)
        active = [other for other in self.others if other.strength]

        def add(here: slice) -> None:
            for other in active:
                other.add_to(rest, here)

        in_threads(add, [slice(a, min(a + 4096, len(rest))) for a in range(0, len(rest), 4096)])
        if self.distances is None or not self.some or not self.strength:
            return int(np.argmax(np.round(rest * GRID)))
        return self.distances.best(rest)


@_compiled
def _add_weights(total: Any, values: Any, before: float, strength: float) -> None:
    for i in range(total.shape[0]):
        total[i] += strength * np.log(max(before + values[i], FLOOR))


@_compiled
def _add_balance(total: Any, counts: Any, known: Any, target: Any, strength: float) -> None:
    """Cross-entropies of the target and the shares of ``known`` with each row of ``counts``; shares from 1e-10.

    A row that counts for nothing has the worst there is: else it would be taken whenever all classes do harm.
    """
    for i in range(total.shape[0]):
        every, own = 0.0, 0.0
        for c in range(known.shape[0]):
            every += known[c] + counts[i, c]
            own += counts[i, c]
        entropy = 0.0
        for c in range(known.shape[0]):
            if target[c] > 0:
                share = (known[c] + counts[i, c]) / every if own > 0 else 0.0
                entropy -= target[c] * np.log(max(share, 1e-10))
        total[i] -= strength * np.log(max(entropy, 1e-10))
