"""What an annotator had to do to a proposal: leave it, move a box, name another class, add, delete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.boxes import overlaps
from labelwise.records import Target

SAME = 0.5  # pixels by which a corner may differ in a box that was left as it was
MATCH = 0.1  # IoU from which on a box counts as moved, not as deleted and drawn anew
ALIKE = 0.9  # IoU from which on a person would have left a box, where a simulated annotator gives the exact truth


@dataclass(frozen=True, slots=True)
class Effort:
    """Counts of answers against proposals; their elements are images, boxes or pixels.

    Of the ``proposed`` elements those in both are ``accepted`` (untouched), ``moved`` (another place), ``renamed``
    (another class, wherever it is) or both moved and renamed; the others were ``deleted``. ``added`` are answers
    without a proposal. ``overlap`` is the sum of the IoU of all boxes in both, which are ``kept``. ``answers`` counts
    the answers, ``seconds`` the time they took where it is known, in ``timed`` of them.
    """

    proposed: int = 0
    accepted: int = 0
    moved: int = 0
    renamed: int = 0
    added: int = 0
    deleted: int = 0
    kept: int = 0
    overlap: float = 0.0
    answers: int = 0
    seconds: float = 0.0
    timed: int = 0

    @property
    def corrections(self) -> int:
        """Things done: boxes moved, added and deleted, and classes named anew."""
        return self.moved + self.renamed + self.added + self.deleted

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the boxes in proposal and answer, 0 to 1; NaN without any."""
        return self.overlap / self.kept if self.kept else float("nan")

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Effort)))


def effort(proposal: Target | None, answer: Target, seconds: float | None = None, *, alike: float = 1.0) -> Effort:
    """What it took to make ``answer`` of ``proposal`` (None: nothing was proposed).

    Boxes are matched one to one: those left as they were first (same class, corners within half a pixel), then so that
    the sum of the IoU is highest (Kuhn, 1955), among pairs with an IoU of at least 0.1. One with an IoU of at least
    ``alike`` counts as not moved: a simulated annotator does not leave boxes alone, as people would. An image's class,
    and pixels at the same place, are accepted or renamed. Of a mask nothing is told but its time.
    """
    time = Effort(answers=1, seconds=seconds or 0.0, timed=int(seconds is not None))
    if answer.mask is not None:
        return time
    if answer.geometry is None:
        if proposal is None or proposal.geometry is not None or proposal.mask is not None:
            return time + Effort(added=1)
        right = int(proposal.classes == answer.classes)
        return time + Effort(proposed=1, accepted=right, renamed=1 - right, kept=1, overlap=1.0)
    if proposal is None or proposal.geometry is None or proposal.geometry.shape[1] != answer.geometry.shape[1]:
        return time + Effort(added=len(answer.geometry))
    points = answer.geometry.shape[1] == 2
    return time + (_points(proposal, answer) if points else _boxes(proposal, answer, alike))


def total(efforts: Iterable[Effort]) -> Effort:
    """The sum of many."""
    return sum(efforts, Effort())


def _names(target: Target) -> NDArray[np.str_]:
    names = np.array(target.classes, dtype=str)
    return names if target.codes is None else names[target.codes]


def _points(proposal: Target, answer: Target) -> Effort:
    assert proposal.geometry is not None
    assert answer.geometry is not None
    before, after = _keys(proposal.geometry), _keys(answer.geometry)
    both, at, now = np.intersect1d(before, after, return_indices=True)
    right = int((_names(proposal)[at] == _names(answer)[now]).sum())
    return Effort(
        proposed=len(before),
        accepted=right,
        renamed=len(both) - right,
        added=len(after) - len(both),
        deleted=len(before) - len(both),
        kept=len(both),
        overlap=float(len(both)),
    )


def _keys(points: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each place."""
    places = np.asarray(points, np.int64)
    return np.asarray(places[:, 0] + (places[:, 1] << 32))


def _boxes(proposal: Target, answer: Target, alike: float) -> Effort:
    assert proposal.geometry is not None
    assert answer.geometry is not None
    pairs = match(proposal, answer)
    before, after = np.asarray(proposal.geometry, float), np.asarray(answer.geometry, float)
    moved = renamed = accepted = 0
    overlap = 0.0
    for i, j in pairs:
        shared = float(overlaps(before[i], after[j]))
        elsewhere = bool((abs(before[i] - after[j]) > SAME).any()) and not (alike < 1 and shared >= alike)
        other = proposal.classes[i] != answer.classes[j]
        moved, renamed, accepted = moved + elsewhere, renamed + other, accepted + (not elsewhere and not other)
        overlap += shared
    kept = len(pairs)
    return Effort(len(before), accepted, moved, renamed, len(after) - kept, len(before) - kept, kept, overlap)


def match(proposal: Target, answer: Target) -> list[tuple[int, int]]:
    """Which box of the proposal became which of the answer: pairs of rows, in the order of the proposal."""
    before = np.asarray(proposal.geometry, float)
    after = np.asarray(answer.geometry, float)
    if not len(before) or not len(after):
        return []
    same_place = (abs(before[:, None] - after[None]) <= SAME).all(axis=-1)
    same_class = np.array(proposal.classes)[:, None] == np.array(answer.classes)[None]
    shared = overlaps(before[:, None], after[None])
    # Left as it was is worth more than any sum of overlaps; the same class decides between equals.
    worth = shared + 1e-6 * same_class + (same_place & same_class) * (2.0 + min(len(before), len(after)))
    worth[(shared < MATCH) & ~same_place] = 0.0
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0]
