"""What a selection returns, and the checks every selection makes on what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.selection import kernels
from labelwise.selection.threads import in_threads

Rows = NDArray[np.int64]
Array = NDArray[Any]
Doubles = NDArray[np.float64]
Vectors = NDArray[np.float32]

_CHUNK = 2048  # rows handled at a time where a float64 copy of all vectors would be needed
_GRID = 2.0**20


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """The rows chosen, best first, and what explains each of them.

    ``rows`` is ``(n,)`` int64 without repeats; ``facts`` holds arrays by name, each aligned with ``rows``
    (NaN, or -1 for a row number, where a fact does not apply to a pick). ``ended`` says why there are fewer picks than
    were asked for, where an end condition of the selection was met.
    """

    rows: Rows
    facts: Mapping[str, Array] = field(default_factory=dict)
    ended: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", np.asarray(self.rows, dtype=np.int64))
        for name, values in self.facts.items():
            assert len(values) == len(self.rows), f"fact {name} has {len(values)} values for {len(self.rows)} picks"

    def take(self, positions: Array) -> Picks:
        """The picks at these positions (indices or a mask), with their facts."""
        facts = {name: values[positions] for name, values in self.facts.items()}
        return Picks(self.rows[positions], facts, self.ended)


def join(parts: Sequence[Picks]) -> Picks:
    """One after the other; keeps the facts that all parts with picks have, and the last word on why they ended."""
    ended = next((part.ended for part in reversed(parts) if part.ended), "")
    parts = [part for part in parts if len(part.rows)] or list(parts[:1])
    if not parts:
        return Picks(no_rows(), ended=ended)
    names = [name for name in parts[0].facts if all(name in part.facts for part in parts)]
    facts = {name: np.concatenate([part.facts[name] for part in parts]) for name in names}
    return Picks(np.concatenate([part.rows for part in parts]), facts, ended)


def no_rows() -> Rows:
    """An empty set of rows."""
    return np.empty(0, dtype=np.int64)


def count(n: int, candidates: Rows) -> int:
    """How many can be picked: n, but no more than there are candidates. Raises SelectionError if n is negative."""
    if n < 0:
        raise SelectionError(f"expected a number of picks of 0 or more, but found {n}")
    return min(int(n), len(candidates))


def descending(values: Array) -> NDArray[np.intp]:
    """Positions from the highest value to the lowest; equal values keep their order (lowest row first)."""
    return np.argsort(-values, kind="stable")


def on_grid(values: Array) -> Doubles:
    """The nearest multiples of 2^-20: up to a billion of them below 8 add up exactly, in any order.

    So sums of equal numbers tie exactly, whatever rounding the numbers came through.
    """
    return np.asarray(np.round(np.asarray(values, dtype=np.float64) * _GRID) / _GRID)


def sampled(n: int, candidates: Rows, limit: int, rng: np.random.Generator) -> Rows:
    """The candidates, or max(``limit``, n) of them drawn at random, ascending, if there are more."""
    if len(candidates) <= max(limit, n):
        return candidates
    return np.sort(rng.choice(candidates, max(limit, n), replace=False))


def check_scores(scores: Array, rows: Rows, names: Sequence[str] | None = None) -> Doubles:
    """The scores at ``rows`` as float64 ``(k,)``, once they are known to be finite.

    ``scores`` is ``(N,)``; ``names`` (N image ids) makes the message name the image instead of the row.
    Raises SelectionError, naming the first row with a score that is not finite.
    """
    array = np.asarray(scores)
    if array.ndim != 1:
        raise SelectionError(f"expected scores of shape (N,), one per row, but found {array.shape}; reduce them first")
    _check_rows("scores", len(array), rows)
    values = array[rows].astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise SelectionError(
            f"expected finite scores, but {_which(rows, bad, names)} has {values[bad[0]]}"
            f"{_others(bad)}; look at the prediction it comes from, or leave it out of the candidates"
        )
    return values


def check_embeddings(embeddings: Array, rows: Rows, names: Sequence[str] | None = None) -> Vectors:
    """The embeddings as float32 ``(N, d)`` (no copy if they are), once those at ``rows`` are known to be finite.

    Raises SelectionError, naming the first row whose vector is not finite or too large to be squared in float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return check_stored(embeddings, rows, names).astype(np.float32, copy=False)


def check_stored(embeddings: Array, rows: Rows, names: Sequence[str] | None = None) -> Array:
    """The embeddings as they are stored, ``(N, d)`` float32 or float16 (others as float32), checked the same way."""
    array = check_finite(embeddings, rows, names)
    with np.errstate(over="ignore", invalid="ignore"):
        return array if array.dtype == np.float16 else array.astype(np.float32, copy=False)


def check_finite(embeddings: Array, rows: Rows, names: Sequence[str] | None = None) -> Array:
    """The embeddings ``(N, d)`` as they are, never copied, checked the same way."""
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.shape[1] == 0:
        raise SelectionError(f"expected embeddings of shape (N, d), one vector per row, but found {array.shape}")
    _check_rows("embeddings", len(array), rows)
    with np.errstate(over="ignore", invalid="ignore"):
        bad = np.flatnonzero(~np.isfinite(_squared_norms(array, rows)))
    if len(bad):
        finite = np.isfinite(array[rows[bad[0]]]).all()
        what, remedy = (
            ("numbers too large to be squared in float32", "scale the vectors, for example to length 1")
            if finite
            else ("a number that is not finite", "compute its vector again, or leave it out of the candidates")
        )
        raise SelectionError(
            f"expected finite embeddings, but {_which(rows, bad, names)} has {what}{_others(bad)}; {remedy}"
        )
    return array


def _squared_norms(array: Array, rows: Rows) -> Vectors:
    """Squared lengths of some rows in float32."""
    out: Vectors = np.empty(len(rows), np.float32)

    def measure(part: slice) -> None:
        kernels.squared_lengths(*compiled_rows(array, rows[part]), out[part])

    in_threads(measure, list(chunks(len(rows), _CHUNK)))
    return out


def check_probs(probs: Array, rows: Rows, names: Sequence[str] | None = None) -> Doubles:
    """The probabilities at ``rows`` as float64 ``(k, C)``, once each is known to be a distribution.

    Raises SelectionError, naming the first row that is not finite, is negative, or does not sum to 1 within 0.01.
    """
    array = np.asarray(probs)
    if array.ndim != 2 or array.shape[1] == 0:
        raise SelectionError(f"expected probs of shape (N, C), class axis last, but found {array.shape}")
    _check_rows("probs", len(array), rows)
    values = array[rows].astype(np.float64)
    with np.errstate(invalid="ignore"):
        good = (values >= -1e-6).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= 0.01)
    bad = np.flatnonzero(~good)
    if len(bad):
        raise SelectionError(
            f"expected probabilities that are not negative and sum to 1, but {_which(rows, bad, names)} holds "
            f"{np.array2string(values[bad[0]], precision=3, threshold=6)}{_others(bad)}; "
            "if these are logits, apply softmax first"
        )
    return values


def squared_norms(vectors: Vectors) -> Vectors:
    """Squared length of every row, ``(N,)``, without a copy of the vectors."""
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors), dtype=np.float32)


def unit(vectors: Vectors) -> Vectors:
    """A copy with every row scaled to length 1; zero rows stay zero."""
    lengths = np.sqrt(squared_norms(vectors))
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths[:, None], dtype=np.float32)


def squared_distances(vectors: Array, rows: Rows, point: Array) -> Doubles:
    """Squared Euclidean distance from each of ``rows`` to ``point``, by differences in float64: 0 for equal ones."""
    out = np.empty(len(rows))
    centre = point.astype(np.float64)
    for part in chunks(len(rows), _CHUNK):
        difference = vectors[rows[part]] - centre
        out[part] = np.einsum("ij,ij->i", difference, difference)
    return out


def compiled_rows(vectors: Array, rows: Rows) -> tuple[Vectors, Rows]:
    """Rows as compiled code reads them, in an array of float32: the vectors themselves, or a copy of these rows."""
    if vectors.dtype == np.float32 and vectors.flags.c_contiguous:
        return vectors, rows
    return np.take(vectors, rows, axis=0).astype(np.float32, copy=False), np.arange(len(rows))


def chunks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover range(total)."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _check_rows(name: str, length: int, rows: Rows) -> None:
    if len(rows) and (int(rows.max()) >= length or int(rows.min()) < 0):
        raise SelectionError(
            f"expected {name} for rows up to {int(rows.max())}, but found {length} rows; "
            "all arrays of one selection have the same rows"
        )


def _which(rows: Rows, bad: NDArray[np.intp], names: Sequence[str] | None) -> str:
    row = int(rows[bad[0]])
    return f"row {row}" if names is None else names[row]


def _others(bad: NDArray[np.intp]) -> str:
    return f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
