"""How far several people agree who answered the same queries: kappa, alpha, and the overlap of boxes and masks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from labelwise.boxes import overlaps
from labelwise.data.masks import read_mask, void_of
from labelwise.evaluate.effort import match
from labelwise.records import Target

VOID = "-"  # the label of a pixel without a class; no answer is given by nobody, so it cannot be mistaken for one
Ratings = Mapping[str, Hashable]  # of one item, by annotator


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement over ``queries`` that at least two of the ``annotators`` answered; skipped answers are left out.

    ``items`` are what is compared: images, boxes (pairs), or pixels. ``same`` is the share of pairs of answers that are
    the same, ``alpha`` Krippendorff's, ``kappa`` Cohen's where there are just two annotators; ``overlap`` the mean IoU
    of pairs of answers with boxes or masks, 0 to 1. What does not apply is NaN.
    """

    queries: int
    annotators: tuple[str, ...]
    items: int
    same: float = math.nan
    kappa: float = math.nan
    alpha: float = math.nan
    overlap: float = math.nan


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement of two annotators on the same items beyond chance: 1 full, 0 as by chance (Cohen, 1960).

    NaN without items, or where both say one class only, so that chance agrees fully as well.
    """
    n = len(first)
    if n != len(second) or not n:
        return math.nan
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    one, other = Counter(first), Counter(second)
    chance = sum(one[label] * other[label] for label in one) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def krippendorff_alpha(items: Sequence[Ratings]) -> float:
    """Krippendorff's alpha for nominal labels, any number of annotators, some of whom may not have seen an item.

    1 full agreement, 0 as by chance (Krippendorff, Content Analysis, chapter 11; the coincidence matrix). Items with
    fewer than two labels say nothing. NaN without any, or where only one class was ever used.
    """
    pairable = [Counter(ratings.values()) for ratings in items if len(ratings) > 1]
    totals: Counter[Hashable] = Counter()
    apart = 0.0
    for counts in pairable:
        m = counts.total()
        totals.update(counts)
        apart += (m * m - sum(c * c for c in counts.values())) / (m - 1)
    n = totals.total()
    chance = n * n - sum(c * c for c in totals.values())
    return 1 - (n - 1) * apart / chance if chance else math.nan


def overlap(first: Target, second: Target) -> float:
    """How alike two answers to one query are, 0 to 1; two that are empty are alike.

    Boxes: the sum of the IoU of matched boxes of one class, over all boxes (matched ones once). Masks: the mean IoU of
    the classes in either. Points: the share of the places in either at which both say the same. Else: the same class.
    """
    if first.mask is not None and second.mask is not None:
        return _mask_overlap(first, second)
    if first.geometry is None or second.geometry is None:
        return float(first.classes == second.classes)
    if first.geometry.shape[1] == 4:
        return _box_overlap(first, second)
    one, other = points(first), points(second)
    every = one.keys() | other.keys()
    return sum(one.get(p) == other.get(p) for p in every) / len(every) if every else 1.0


def points(target: Target) -> dict[tuple[int, int], str]:
    """The class at each point of a target."""
    assert target.geometry is not None
    codes = range(len(target.classes)) if target.codes is None else target.codes.tolist()
    places = (tuple(place) for place in target.geometry.astype(int).tolist())
    return {(x, y): target.classes[code] for (x, y), code in zip(places, codes, strict=True)}


def agreement(answers: Sequence[Mapping[str, Target | None]]) -> Agreement:
    """Agreement of answers: for each query the target of each annotator, None for skipped."""
    given = [{who: target for who, target in query.items() if target is not None} for query in answers]
    shared = [query for query in given if len(query) > 1]
    people = tuple(sorted({who for query in shared for who in query}))
    if not shared:
        return Agreement(0, people, 0)
    items = [item for query in shared for item in _items(query)]
    pairs = [pair for query in shared for pair in combinations(query.values(), 2)]
    areas = [overlap(a, b) for a, b in pairs if a.mask is not None or a.geometry is not None]
    labels = [pair for item in items for pair in combinations(item.values(), 2)]
    kappa = math.nan
    if len(people) == 2:
        both = [item for item in items if len(item) == 2]
        kappa = cohen_kappa([item[people[0]] for item in both], [item[people[1]] for item in both])
    return Agreement(
        len(shared),
        people,
        len(items) or len(areas),
        sum(a == b for a, b in labels) / len(labels) if labels else math.nan,
        kappa,
        krippendorff_alpha(items),
        float(np.mean(areas)) if areas else math.nan,
    )


def _items(query: Mapping[str, Target]) -> list[dict[str, str]]:
    """What was labelled by each of a query's annotators: the image, or pixels; of boxes, those that two have found."""
    if all(target.geometry is None and target.mask is None for target in query.values()):
        return [{who: target.classes[0] for who, target in query.items()}]
    if any(target.mask is not None for target in query.values()):
        return []
    if any(target.geometry is not None and target.geometry.shape[1] == 4 for target in query.values()):
        return [
            {one: query[one].classes[i], other: query[other].classes[j]}
            for one, other in combinations(query, 2)
            for i, j in match(query[one], query[other])
        ]
    labels = {who: points(target) for who, target in query.items()}
    places = sorted({place for found in labels.values() for place in found})
    return [{who: found.get(place, VOID) for who, found in labels.items()} for place in places]


def _box_overlap(first: Target, second: Target) -> float:
    assert first.geometry is not None
    assert second.geometry is not None
    pairs = [(i, j) for i, j in match(first, second) if first.classes[i] == second.classes[j]]
    every = len(first.geometry) + len(second.geometry) - len(pairs)
    one, other = np.asarray(first.geometry, float), np.asarray(second.geometry, float)
    shared = sum(float(overlaps(one[i], other[j])) for i, j in pairs)
    return shared / every if every else 1.0


def _mask_overlap(first: Target, second: Target) -> float:
    assert first.mask is not None
    assert second.mask is not None
    one, other = (read_mask(t.mask, len(t.classes)) for t in (first, second) if t.mask is not None)
    found = []
    for name in dict.fromkeys((*first.classes, *second.classes)):
        a = _where(one, first, name)
        b = _where(other, second, name)
        union = int((a | b).sum())
        if union:
            found.append(int((a & b).sum()) / union)
    return float(np.mean(found)) if found else 1.0


def _where(mask, target: Target, name: str):  # type: ignore[no-untyped-def]
    value = target.classes.index(name) if name in target.classes else void_of(mask)
    return (mask == value) & (mask != void_of(mask))
