"""Rules that any selection can be put under: shortlist, class balance, a share of empty images, caps per group or per
value of metadata, no near-duplicates.

Each takes the selector it constrains and the inputs first, then the words of the vocabulary it needs; see compose.wrap.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection.compose import Inputs, Selector
from labelwise.selection.picks import (
    Array,
    Picks,
    Rows,
    Vectors,
    check_embeddings,
    check_probs,
    check_scores,
    chunks,
    count,
    descending,
    join,
    unit,
)
from labelwise.selection.terms import column

_PATIENCE = 4  # times a rule asks only for what is missing; then it asks for twice as many each time
_BLOCK = 1024  # rows that a block of candidates is compared with at a time

Mask = NDArray[np.bool_]


def shortlist(inner: Selector, inputs: Inputs, scores: Array, *, factor: float = 10.0) -> Picks:
    """Let only the ``factor`` x n best-scored candidates reach the inner selection (at least n of them).

    Raises SelectionError if ``factor`` is below 1 or a candidate's score is not finite.
    Zhdanov 2019, Diverse mini-batch active learning, section 3 (there beta).
    """
    if not factor >= 1:
        raise SelectionError(f"shortlist: expected a factor of 1 or more, but found {factor}")
    values = check_scores(scores, inputs.candidates)
    size = min(len(values), math.ceil(factor * count(inputs.n, inputs.candidates)))
    return inner(inputs.replace(candidates=np.sort(inputs.candidates[descending(values)[:size]])))


def balanced(inner: Selector, inputs: Inputs, probs: Array, labels: Rows) -> Picks:
    """Share n over the predicted classes so that labels plus picks per class become as level as possible.

    The inner selection runs once per class, among the candidates predicted as it, on that class's share. Picks are
    ordered so that every beginning of the list is shared out in the same way. Ties go to the lowest class.
    After Bengar et al. 2022, Class-balanced active learning for image classification (there an optimisation problem).
    """
    count(inputs.n, inputs.candidates)  # refuses a negative n
    parts = []
    while inputs.n and len(inputs.candidates):
        predicted = check_probs(probs, inputs.candidates).argmax(axis=1)
        classes = probs.shape[1]
        assert inputs.labels is not None
        have = np.bincount(inputs.labels[(inputs.labels >= 0) & (inputs.labels < classes)], minlength=classes)
        order = fill(inputs.n, have, np.bincount(predicted, minlength=classes))
        found, short = _per_class(inner, inputs, predicted, order)
        parts.append(found)
        after = inputs.after(found.rows)
        # a rule inside gave a class fewer than its share: nothing more can be had there, the rest goes to the others
        spent = inputs.candidates[np.isin(predicted, short)]
        inputs = after.replace(candidates=np.setdiff1d(after.candidates, spent, assume_unique=True))
    return join(parts)


def fill(n: int, have: Sequence[int] | Array, room: Sequence[int] | Array) -> NDArray[np.int64]:
    """Classes in the order in which n units go to them, always to the one that has least and still has room.

    ``have`` and ``room`` are ``(C,)``; returns ``(min(n, sum(room)),)`` class indices; ties go to the lowest class.
    """
    levels = [(int(level), index) for index, level in enumerate(have) if room[index] > 0]
    left = [int(value) for value in room]
    heapq.heapify(levels)
    order: list[int] = []
    while levels and len(order) < n:
        level, index = heapq.heappop(levels)
        order.append(index)
        left[index] -= 1
        if left[index]:
            heapq.heappush(levels, (level + 1, index))
    return np.array(order, dtype=np.int64)


def _per_class(inner: Selector, inputs: Inputs, predicted: Array, order: Array) -> tuple[Picks, list[int]]:
    """Picks in ``order`` of classes, and the classes that gave fewer than their share."""
    parts: list[Picks] = []
    positions: list[Array] = []
    short: list[int] = []
    so_far = inputs
    for index in np.unique(order):
        places = np.flatnonzero(order == index)
        picks = inner(so_far.replace(n=len(places), candidates=inputs.candidates[predicted == index]))
        if len(picks.rows) < len(places):
            short.append(int(index))
        parts.append(picks)
        positions.append(places[: len(picks.rows)])
        so_far = so_far.after(picks.rows)
    return join(parts).take(np.argsort(np.concatenate(positions), kind="stable")), short


def empty_quota(
    inner: Selector,
    inputs: Inputs,
    empty: Array,
    rng: np.random.Generator,
    *,
    share: float = 0.1,
    by: Literal["random", "missed"] = "random",
) -> Picks:
    """Take ``share`` of the picks from the images where the model found nothing, the others by the inner selection.

    ``empty`` is ``(N,)`` bool. Of every beginning of t picks floor(share t + 1/2) are empty, those of earlier rules in
    the same call counted in; never more than there are, and more only if nothing else is left. They are drawn at
    random, or (``missed``) by their score, equal ones at random. Fact: ``drawn``. Raises SelectionError if ``share`` is
    not 0 to 1. Why: a model blind to a scene has no box to be unsure about.
    """
    if not 0 <= share <= 1:
        raise SelectionError(f"empty_quota: expected a share of 0 to 1, but found {share}")
    count(inputs.n, inputs.candidates)  # refuses a negative n
    mask = np.asarray(empty, dtype=bool)
    blank = rng.permutation(inputs.candidates[mask[inputs.candidates]])
    others = inputs.candidates[~mask[inputs.candidates]]
    if by == "missed" and len(blank):
        scores = inputs.named(("scores",), "empty_quota")["scores"]
        order = np.sort(blank)
        wanted = dict(zip(order.tolist(), check_scores(scores, order).tolist(), strict=True))
        blank = blank[descending(np.array([wanted[row] for row in blank.tolist()]))]
    turns = _turns(inputs.n, share, len(inputs.picked), int(mask[inputs.picked].sum()), len(blank), len(others))
    rest = inner(inputs.replace(n=int((~turns).sum()), candidates=others))
    return _woven(turns, blank[: int(turns.sum())], rest)


def _turns(n: int, share: float, before: int, have: int, blank: int, others: int) -> Mask:
    """For each of n picks, whether it is an empty image; ``before`` picks came earlier, ``have`` of them empty."""
    turns: list[bool] = []
    for t in range(before + 1, before + 1 + min(n, blank + others)):
        due = have < math.floor(share * t + 0.5 + 1e-9)
        turn = bool(blank and (due or not others))
        turns.append(turn)
        have, blank, others = have + turn, blank - turn, others - (not turn)
    return np.array(turns, dtype=bool)


def _woven(turns: Mask, blank: Rows, rest: Picks) -> Picks:
    """Both kinds of picks in their turns; a fact of one kind is NaN for the other."""
    if not len(blank):
        return rest
    places = np.argsort(turns, kind="stable")  # the others' turns, then the empty ones'
    places = np.concatenate([places[: len(rest.rows)], places[len(turns) - len(blank) :]])
    drawn = np.full(len(places), math.nan, dtype=object)
    drawn[len(rest.rows) :] = "from the images without detection"
    facts = {"drawn": drawn}
    for name, told in rest.facts.items():
        values = facts.setdefault(name, np.full(len(places), math.nan, dtype=object))
        values[: len(rest.rows)] = told.tolist()
    return Picks(np.concatenate([rest.rows, blank]), facts).take(np.argsort(places))


def per_group(inner: Selector, inputs: Inputs, groups: Rows, *, cap: int = 1) -> Picks:
    """Take at most ``cap`` rows of a group in one call; rows of group -1 are free.

    A hard rule: fewer than n are picked if the caps leave nothing more. ``groups`` is ``(N,)``, for example burst or
    camera. Raises SelectionError if ``cap`` is below 1.
    """
    return _capped(inner, inputs, {"per_group": (groups, cap)})


def per_value(inner: Selector, inputs: Inputs, metadata: Mapping[str, Array], *, caps: Mapping[str, int]) -> Picks:
    """Take at most so many rows of one value of a column in one call, for several columns at once; rows whose value is
    not known (an empty word, NaN) are free.

    A hard rule: fewer than n are picked if the caps leave nothing more. ``caps`` is by name of the metadata, for
    example ``{"sequence": 1, "location": 10}``. Raises SelectionError if a cap is below 1 or a column is missing.
    """
    return _capped(inner, inputs, {f"per.{name}": (_coded(column(name, metadata)), cap) for name, cap in caps.items()})


def _coded(values: Array) -> Rows:
    """A number for each different value, -1 where it is not known."""
    codes: dict[Any, int] = {}
    return np.array(
        [-1 if v is None or v == "" or v != v else codes.setdefault(v, len(codes)) for v in values.tolist()], np.int64
    )


def _capped(inner: Selector, inputs: Inputs, caps: Mapping[str, tuple[Rows, int]]) -> Picks:
    """Take at most ``cap`` rows of each number, for each (numbers ``(N,)``, cap); a number below 0 is free."""
    for name, (_, cap) in caps.items():
        if cap < 1:
            raise SelectionError(f"{name}: expected a cap of 1 or more, but found {cap}")
    rules = [(np.asarray(numbers), cap, int(numbers.max(initial=0)) + 1) for numbers, cap in caps.values()]

    def keep(now: Inputs, fresh: Rows) -> Mask:
        good = np.ones(len(now.candidates), dtype=bool)
        for numbers, cap, size in rules:
            taken = numbers[now.picked]
            own = numbers[now.candidates]
            good &= (own < 0) | (np.bincount(taken[taken >= 0], minlength=size)[own] < cap)
        return good

    def walk(now: Inputs, rows: Rows) -> Mask:
        sizes = [_sizes(numbers[now.picked]) for numbers, _, _ in rules]
        good = np.ones(len(rows), dtype=bool)
        for i, row in enumerate(rows.tolist()):
            own = [int(numbers[row]) for numbers, _, _ in rules]
            good[i] = all(n < 0 or counts[n] < cap for n, counts, (_, cap, _) in zip(own, sizes, rules, strict=True))
            if good[i]:
                for n, counts in zip(own, sizes, strict=True):
                    counts[n] += 1
        return good

    return _obey(inner, inputs, keep, walk)


def apart(inner: Selector, inputs: Inputs, embeddings: Array, *, distance: float = 0.05) -> Picks:
    """Take no row whose cosine distance to a labelled row or to an earlier pick is below ``distance``.

    A hard rule: fewer than n are picked if it leaves nothing more. Cosine distance is 1 - cos, 0 to 2; a zero vector
    is at distance 1 of everything. Raises SelectionError if a vector is not finite or ``distance`` is not in 0 to 2.
    """
    if not 0 <= distance <= 2:
        raise SelectionError(f"apart: expected a cosine distance of 0 to 2, but found {distance}")
    vectors = check_embeddings(embeddings, np.concatenate([inputs.candidates, inputs.labelled]))

    def keep(now: Inputs, fresh: Rows) -> Mask:
        return _far(vectors, now.candidates, fresh, distance)

    def walk(now: Inputs, rows: Rows) -> Mask:
        directions = unit(vectors[rows])
        good = np.zeros(len(rows), dtype=bool)
        for i, direction in enumerate(directions):
            good[i] = not (1 - directions[:i][good[:i]] @ direction < distance).any()
        return good

    return _obey(inner, inputs, keep, walk)


def _obey(
    inner: Selector,
    inputs: Inputs,
    keep: Callable[[Inputs, Rows], Mask],
    walk: Callable[[Inputs, Rows], Mask],
) -> Picks:
    """Ask, walk what is offered in its order, take what the rule allows, and ask again without what it forbids.

    ``keep(inputs, fresh)`` tells which candidates are still allowed now that ``fresh`` rows are labelled or picked;
    ``walk(inputs, rows)`` which of the offered rows are, one after the other. The first offered row always is, so
    this ends; asking for more and more keeps the number of passes small where nearly everything is forbidden.
    """
    count(inputs.n, inputs.candidates)  # refuses a negative n
    parts: list[Picks] = []
    fresh = inputs.labelled
    for attempt in itertools.count():
        inputs = inputs.replace(candidates=inputs.candidates[keep(inputs, fresh)])
        asked = min(inputs.n << max(0, attempt - _PATIENCE), len(inputs.candidates))
        if asked == 0 and parts:
            break
        offered = inner(inputs.replace(n=asked))
        taken = offered.take(np.flatnonzero(walk(inputs, offered.rows))[: inputs.n])
        parts.append(taken)
        if len(taken.rows) == 0:
            break
        fresh = taken.rows
        inputs = inputs.after(fresh)
    return join(parts)


def _sizes(groups: Rows) -> Counter[int]:
    return Counter(groups[groups >= 0].tolist())


def _far(vectors: Vectors, candidates: Rows, others: Rows, distance: float) -> Mask:
    """Which candidates are at least ``distance`` (cosine) from all ``others``."""
    good = np.ones(len(candidates), dtype=bool)
    for block in chunks(len(others) and len(candidates), 8192):
        directions = unit(vectors[candidates[block]])
        for part in chunks(len(others), _BLOCK):
            cosines = directions @ unit(vectors[others[part]]).T
            good[block] &= ~(1 - cosines < distance).any(axis=1)
    return good
