"""Objects and the images they belong to: spans, checks, and images without any object, which come last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_stored


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """Images and their objects: those of ``rows[i]`` are ``starts[i]`` to ``starts[i] + counts[i]`` of all objects."""

    rows: Rows
    starts: Rows
    counts: Rows

    @property
    def objects(self) -> Rows:
        """``(m,)`` numbers of the objects, image after image."""
        return self.starts.repeat(self.counts) + np.arange(self.counts.sum()) - self.begins[:-1].repeat(self.counts)

    @property
    def owner(self) -> Rows:
        """``(m,)`` for each of ``objects`` the position of its image in ``rows``."""
        return np.arange(len(self.rows)).repeat(self.counts)

    @property
    def begins(self) -> Rows:
        """Where each image's part of ``objects`` begins, and the end of the last, ``(images + 1,)``."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])


def owned(owners: Rows, rows: Rows) -> Owned:
    """The objects of these rows, in their order."""
    starts = np.searchsorted(owners, rows, side="left").astype(np.int64)
    return Owned(rows, starts, np.searchsorted(owners, rows, side="right").astype(np.int64) - starts)


def with_objects(owners: Rows, rows: Rows) -> tuple[Owned, Rows]:
    """The rows that own an object, with their objects, and the rows that own none."""
    found = owned(owners, rows)
    some = found.counts > 0
    return Owned(rows[some], found.starts[some], found.counts[some]), rows[~some]


def then_empty(picks: Picks, empty: Rows, n: int) -> Picks:
    """The picks, and after them as many images without objects as are still asked for, the lowest rows first.

    Facts of the latter are NaN, or -1 for whole numbers.
    """
    more = empty[: n - len(picks.rows)]
    if not len(more):
        return picks
    facts = {
        name: np.concatenate([v, np.full(len(more), -1 if v.dtype.kind in "iu" else np.nan, v.dtype)])
        for name, v in picks.facts.items()
    }
    return Picks(np.concatenate([picks.rows, more]), facts)


def check_owners(
    owners: Rows, objects: Array | None = None, labels: Array | None = None, scores: Array | None = None
) -> Rows:
    """The owners as int64 ``(M,)``, once they ascend and all that is given beside them has M entries.

    Raises SelectionError with what does not fit.
    """
    found = np.asarray(owners)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise SelectionError(
            f"expected owners as row numbers of shape (M,), one per object, but found {found.dtype} {found.shape}"
        )
    found = found.astype(np.int64, copy=False)
    if len(found) and (found[0] < 0 or (np.diff(found) < 0).any()):
        raise SelectionError("expected owners ascending from 0 or more; sort objects by the row of their image")
    for name, values in (("objects", objects), ("object_labels", labels), ("object_scores", scores)):
        if values is not None and (np.ndim(values) < 1 or len(values) != len(found)):
            raise SelectionError(
                f"expected {name} and owners of one length, one entry per object, "
                f"but found {np.shape(values)} and {len(found)} owners"
            )
    return found


def check_objects(objects: Array, owners: Rows, which: Rows) -> Array:
    """The objects' vectors as they are stored, ``(M, d)``, once those at ``which`` are known to be finite.

    Raises SelectionError, naming the first object whose vector cannot be used.
    """
    return check_stored(objects, which, ObjectNames(owners))


def check_object_labels(labels: Array, which: Rows) -> Rows:
    """Class numbers ``(k,)`` of these objects as int64; -1 stands for a class that is not known.

    Raises SelectionError if they are no whole numbers.
    """
    found = np.asarray(labels)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise SelectionError(f"expected object_labels as whole numbers of shape (M,), but found {found.dtype}")
    return np.maximum(found[which].astype(np.int64), -1)


def check_object_scores(scores: Array, owners: Rows, which: Rows) -> Doubles:
    """The scores of these objects as float64 ``(k,)``, once they are finite and not negative.

    Raises SelectionError, naming the first object whose score is not.
    """
    if np.ndim(scores) != 1:
        raise SelectionError(f"expected object_scores of shape (M,), one per object, but found {np.shape(scores)}")
    values = np.asarray(scores)[which].astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise SelectionError(
            f"expected finite object_scores of 0 or more, but {ObjectNames(owners)[int(which[bad[0]])]} has "
            f"{values[bad[0]]}; look at the prediction it comes from"
        )
    return values


class ObjectNames(Sequence[str]):
    """What objects are called in messages: "object 2 of row 17" (both count from 0)."""

    def __init__(self, owners: Rows) -> None:
        self._owners = owners

    def __len__(self) -> int:
        return len(self._owners)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self._owners[index]
        return f"object {index - int(np.searchsorted(self._owners, row))} of row {row}"
