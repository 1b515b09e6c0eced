"""Looking once at ids and vectors that come from outside: each id once, every number finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.listing import shown
from labelwise.errors import DataError

Array = NDArray[Any]
Vectors = NDArray[np.float32] | NDArray[np.float16]

CHUNK_BYTES = 2**25  # of vectors looked at or moved at a time


def rows_at_a_time(dim: int) -> int:
    """How many rows of ``dim`` float32 make a chunk."""
    return max(1, CHUNK_BYTES // (4 * max(dim, 1)))


def chunks(vectors: Array) -> Iterator[tuple[int, Array]]:
    """The rows of an array ``(n, d)``, some at a time, each chunk with the number of its first row."""
    step = rows_at_a_time(vectors.shape[1])
    for start in range(0, len(vectors), step):
        yield start, vectors[start : start + step]


def check_rows(path: Path, block: Array, start: int, where: str = "row", ids: Sequence[str] = ()) -> None:
    """Raises DataError for the first row of a block that holds a number that is not finite; ``start`` is the number
    of its first row."""
    bad = ~np.isfinite(block).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        value = block[row][~np.isfinite(block[row])][0]
        whose = f" ({shown(ids[row])})" if ids else ""
        raise DataError(
            f"{path}: expected finite numbers, found {value} in {where} {start + row}{whose}; mend or remove it"
        )


def check_ids(path: Path, ids: Sequence[str], where: str = "row", first: int = 0) -> None:
    """Raises DataError if there is no id, or one is empty or there twice; ``first`` is the number of the first row."""
    if not ids:
        raise DataError(f"{path}: expected embeddings, found no rows")
    if len(set(ids)) == len(ids) and "" not in ids:
        return
    seen: dict[str, int] = {}
    for row, id in enumerate(ids, start=first):
        if not id:
            raise DataError(f"{path}: expected an id in every row, found none in {where} {row}; name the image")
        if id in seen:
            raise DataError(
                f"{path}: expected each id once, found {shown(id)} in {where}s {seen[id]} and {row}; remove one"
            )
        seen[id] = row
