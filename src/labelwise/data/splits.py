"""Choosing the test split once, at random: stratified by class, or by whole groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from labelwise.errors import DataError
from labelwise.records import Sample

DRAWS = 64  # random orders of groups that are tried; fewer where groups are very many
VISITS = 500_000  # groups looked at over all draws, so that 10^6 groups take seconds


def choose_test(samples: Iterable[Sample], share: float, *, seed: int) -> set[str]:
    """Return the ids of the test split, about ``share`` (0 to below 1) of the samples; the same for a seed and ids.

    Without groups: exactly scikit-learn's ``train_test_split(range(n), test_size=share, stratify=classes,
    random_state=seed)`` over the samples in id order. A class with one member stays out of the test; where some
    samples have no truth, only those with one are drawn from; with no truth or several classes per image the draw is
    plain. With groups (a sample without one is its own): whole groups, size and class shares as near as found among
    ``DRAWS`` random orders. No class ever loses its last training member.

    Raises DataError for a share out of range, or if nothing can be set aside (one group; every class or group the
    only one).
    """
    if not 0 <= share < 1:
        raise DataError(f"test share: expected 0 up to below 1, found {share}; 0.2 sets a fifth aside")
    ordered = sorted(samples, key=lambda sample: sample.id)
    if share == 0:
        return set()
    if any(sample.group is not None for sample in ordered):
        return _by_group(ordered, share, np.random.default_rng(seed))
    drawn_from = [sample for sample in ordered if sample.target is not None] or ordered
    return _by_class(drawn_from, share, seed)


def _by_class(samples: Sequence[Sample], share: float, seed: int) -> set[str]:
    labels = _labels(samples)
    counts = Counter(labels)
    several = [i for i, label in enumerate(labels) if counts[label] > 1]
    if not several:
        raise DataError(
            f"test share: expected a class with two images or more, found {len(samples)} images, each alone in its "
            "class; add images or set the share to 0"
        )
    kept = [labels[i] for i in several]
    test = _stratified(kept, share, seed)
    return {samples[several[i]].id for i in _with_training(kept, test)}


def _stratified(labels: list[str], share: float, seed: int) -> list[int]:
    n, classes = len(labels), set(labels)
    size = int(np.ceil(share * n))
    stratify = labels if min(size, n - size) >= len(classes) and classes != {""} else None
    if n - size < 1:  # scikit-learn refuses an empty training part; one member comes back below
        return list(range(n))
    _, test = train_test_split(range(n), test_size=share, stratify=stratify, random_state=seed)
    return list(test)


def _with_training(labels: list[str], test: list[int]) -> list[int]:
    """Give each class that lies wholly in the test one member back: the last drawn."""
    inside, total = Counter(labels[i] for i in test), Counter(labels)
    back = {label: i for i in test if inside[label := labels[i]] == total[label]}
    return [i for i in test if back.get(labels[i]) != i]


def _labels(samples: Sequence[Sample]) -> list[str]:
    """One class name per sample; "" for all if any has none, several or boxes: then there is nothing to stratify by."""
    targets = [sample.target for sample in samples if sample.target is not None]
    plain = [target.classes[0] for target in targets if target.geometry is None and len(target.classes) == 1]
    return plain if len(plain) == len(samples) else [""] * len(samples)


def _by_group(samples: Sequence[Sample], share: float, rng: np.random.Generator) -> set[str]:
    keys = [("group", sample.group) if sample.group is not None else ("alone", sample.id) for sample in samples]
    names = {key: code for code, key in enumerate(sorted(set(keys)))}
    if len(names) == 1:
        raise DataError(
            f"test share: expected two groups or more, found only {keys[0][1]!r}, and a group cannot be cut; "
            "name finer groups, leave groups out, or set the share to 0"
        )
    groups = np.array([names[key] for key in keys])
    classes = _class_codes(samples)
    best = _best_draw(groups, classes, share, rng)
    if not best.any():
        raise DataError(
            f"test share: expected groups that share their classes, found {len(names)} groups that each have the only "
            "images of some class; name finer groups, leave groups out, or set the share to 0"
        )
    return {sample.id for sample, taken in zip(samples, best[groups], strict=True) if taken}


def _class_codes(samples: Sequence[Sample]) -> NDArray[np.intp]:
    """One number per sample for its first class; samples without truth count as a class of their own."""
    targets = [sample.target for sample in samples]
    names = [target.classes[0] if target is not None and target.classes else "" for target in targets]
    codes: NDArray[np.intp] = np.unique(np.array(names), return_inverse=True)[1]
    return codes


def _best_draw(
    groups: NDArray[np.intp], classes: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """The draw, True per group in the test, that is nearest to the size and class shares asked for."""
    sizes = np.bincount(groups)
    members = _classes_of(groups, classes)
    overall = np.bincount(classes) / len(classes)
    best, least = np.zeros(len(sizes), bool), np.inf
    for _ in range(max(4, min(DRAWS, VISITS // len(sizes)))):
        taken = _draw(sizes, members, share * len(groups), rng.permutation(len(sizes)))
        inside = np.bincount(classes[taken[groups]], minlength=len(overall))
        if not inside.any():
            continue
        off = abs(inside.sum() / len(groups) - share) + 0.5 * np.abs(inside / inside.sum() - overall).sum()
        if off < least:
            best, least = taken, off
    return best


def _classes_of(groups: NDArray[np.intp], classes: NDArray[np.intp]) -> list[list[int]]:
    """The class codes of each group, and -1 for all, which keeps the last group out of the test."""
    members = [[-1] for _ in range(int(groups.max()) + 1)]
    for group, code in np.unique(np.stack([groups, classes], axis=1), axis=0).tolist():
        members[group].append(code)
    return members


def _draw(
    sizes: NDArray[np.intp], members: list[list[int]], wanted: float, order: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Take groups in this order while they bring the size nearer and leave every class a group in training."""
    left = Counter(code for codes in members for code in codes)
    taken = np.zeros(len(sizes), bool)
    total, smallest, size_of = 0, int(sizes.min()), sizes.tolist()
    for group in order.tolist():
        if 2 * (wanted - total) <= smallest and total:
            break
        nearer = abs(total + size_of[group] - wanted) < abs(total - wanted) or not total
        if nearer and all(left[code] > 1 for code in members[group]):
            taken[group] = True
            total += size_of[group]
            left.subtract(members[group])
    return taken
