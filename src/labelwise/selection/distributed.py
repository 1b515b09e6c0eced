"""Selections in two rounds over parts of a pool that no machine holds whole: farthest first, and facility location.

First each part is selected from by itself, wherever an engine runs that; then the selections together are selected
from. Only picks travel, n of each part. The result depends on the parts, never on where or in which order they run.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from labelwise.errors import SelectionError
from labelwise.selection.compose import Batches, Here
from labelwise.selection.picks import (
    Array,
    Picks,
    Rows,
    Vectors,
    check_embeddings,
    check_stored,
    count,
    no_rows,
)
from labelwise.selection.serving import cosines, serve, value_of
from labelwise.selection.spread import k_center

CLIENTS = 2000  # images that stand for the pool in facility location


@dataclass(frozen=True, eq=False)
class Part:
    """Candidates of a pool: their numbers ``rows`` ``(b,)``, ascending, and ``read()``, which gives their vectors ``(b,
    d)`` where the part is worked on; it must be picklable where an engine has workers."""

    rows: Rows | range
    read: Callable[[], Array]

    def vectors(self) -> Array:
        """The vectors, checked. Raises SelectionError naming the row of the pool."""
        found = self.read()
        if len(found) != len(self.rows):
            raise SelectionError(f"expected {len(self.rows)} vectors in a part of the pool, found {len(found)}")
        return check_stored(found, np.arange(len(found)), _Names(self.rows))


class _Names(Sequence[str]):
    """How a part's rows are called in messages."""

    def __init__(self, rows: Rows | range) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        return f"row {self._rows[position]}"


def two_round_k_center(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    engine: Batches,
    *,
    partitions: PositiveInt = 8,
    factor: float = 1.0,
) -> Picks:
    """Farthest first in two rounds: in each of ``partitions`` parts of the pool, then among what those gave.

    Everything lies within four times the best possible radius of a labelled or picked row (one round on one machine:
    twice). With ``factor`` above 1 each part gives that many times n, which brings the result nearer to one machine's.
    Parts are consecutive candidates; of a memory-mapped file each worker reads its own. ``embeddings`` and facts are
    those of ``k_center``, the facts among the rows of the second round. Raises SelectionError if a vector is not finite
    or ``factor`` is below 1.
    Malkomes et al. 2015, Fast distributed k-center clustering with outliers on massive data; the factor is that of
    Ceccarello, Pietracaprina & Pucci 2019, Solving k-center clustering (with outliers) in MapReduce and streaming.
    """
    parts = _parts(embeddings, np.array_split(candidates, partitions))
    known = check_embeddings(embeddings, labelled)[labelled]
    return k_center_of_parts(n, parts, labelled, known, engine=engine, factor=factor)[0]


def two_round_facility_location(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    engine: Batches,
    rng: np.random.Generator,
    *,
    partitions: PositiveInt = 8,
    clients: PositiveInt = CLIENTS,
) -> Picks:
    """Facility location in two rounds (GreeDi): greedy in each of ``partitions`` random parts, then among those picks.

    What is raised is the sum of max(0, cosine) to the most similar picked or labelled row over ``clients`` rows drawn
    from the pool, which stand for it (all of them if it has no more). Of the second round's picks and the best part's
    own the better ones are taken. Their sum is at least (1 - 1/e) / ``partitions`` of the best possible one and of the
    order of 1 / min(sqrt(n), ``partitions``) of it; over random parts (1 - 1/e) / 2 of it on average. Ties go to the
    lowest row. Facts: ``newly_covered`` as in ``facility_location``, a share of the clients. Raises SelectionError if a
    vector is not finite.
    Mirzasoleiman et al. 2013, Distributed submodular maximization; Barbosa et al. 2015, The power of randomization.
    """
    shares = [np.sort(part) for part in np.array_split(rng.permutation(candidates), partitions)]
    known = check_embeddings(embeddings, labelled)[labelled]
    seed = int(rng.integers(2**31))
    return facility_location_of_parts(n, _parts(embeddings, shares), known, engine=engine, clients=clients, seed=seed)[
        0
    ]


def k_center_of_parts(
    n: int,
    parts: Sequence[Part],
    labelled: Rows | None = None,
    known: Array | None = None,
    *,
    engine: Batches | None = None,
    factor: float = 1.0,
) -> tuple[Picks, Vectors]:
    """``two_round_k_center`` over parts that are read where they are worked on; the picks and their vectors ``(n, d)``.

    ``known`` ``(m, d)`` are the vectors of the rows ``labelled``. No machine holds more than one part (twice, while it
    is worked on) or the parts' picks.
    """
    if not factor >= 1:
        raise SelectionError(f"two_round_k_center: expected a factor of 1 or more, but found {factor}")
    n, parts = _counted(n, parts)
    if n == 0:
        return Picks(no_rows(), {"distance": np.empty(0), "nearest": no_rows()}), _no_vectors()
    labelled = no_rows() if labelled is None else labelled
    each = n if len(parts) == 1 else int(np.ceil(factor * n))
    first = partial(_mapped, partial(_spread_part, each, known))
    found = list((engine or Here()).map_batches(first, parts, batch_size=1))
    if len(found) == 1:
        rows, vectors, distance, nearest = found[0]
    else:
        pool, points = _together(found)
        rows, vectors, distance, nearest = _spread_part(n, known, Part(pool, lambda: points))
    of_labelled = nearest <= -2
    nearest[of_labelled] = labelled[-2 - nearest[of_labelled]]
    return Picks(rows, {"distance": distance, "nearest": nearest}), vectors


def facility_location_of_parts(
    n: int,
    parts: Sequence[Part],
    known: Array | None = None,
    *,
    engine: Batches | None = None,
    clients: int = CLIENTS,
    seed: int = 0,
) -> tuple[Picks, Vectors]:
    """``two_round_facility_location`` over parts that are read where they are worked on; picks and vectors ``(n, d)``.

    ``known`` ``(m, d)`` are the vectors of what is labelled. A worker holds its part, and similarities of some
    thousand rows to the ``clients`` at a time.
    """
    n, parts = _counted(n, parts)
    if n == 0:
        return Picks(no_rows(), {"newly_covered": np.empty(0)}), _no_vectors()
    engine = engine or Here()
    crowd = _clients(parts, known, clients, seed, engine)
    covered = np.zeros(len(crowd)) if known is None or not len(known) else cosines(known, crowd).max(axis=0)
    first = partial(_mapped, partial(_serve_part, n, crowd, covered))
    found = list(engine.map_batches(first, parts, batch_size=1))
    best = max(found, key=lambda f: float(f[2].sum()))  # the first of equal ones
    if len(found) > 1:
        pool, points = _together(found)
        second = _serve_part(n, crowd, covered, Part(pool, lambda: points))
        if len(best[0]) < n or second[2].sum() >= best[2].sum():
            best = second
    rows, vectors, gains = best
    return Picks(rows, {"newly_covered": gains / len(crowd)}), vectors


def radius(parts: Sequence[Part], centres: Array, *, engine: Batches | None = None) -> float:
    """The largest Euclidean distance of a candidate to the nearest of ``centres`` ``(m, d)``."""
    parts = [part for part in parts if len(part.rows)]
    first = partial(_mapped, partial(_spread_part, 1, centres))
    return max((float(f[2][0]) for f in (engine or Here()).map_batches(first, parts, batch_size=1)), default=0.0)


def served(parts: Sequence[Part], centres: Array, *, clients: int = CLIENTS, seed: int = 0) -> float:
    """The share of the clients' similarity that ``centres`` ``(m, d)`` serve, 0 to 1: what facility location raises."""
    crowd = _clients(parts, None, clients, seed, Here())
    return value_of(centres, crowd) / max(len(crowd), 1)


def _mapped(function: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Iterable[Any]]:
    return partial(map, function)


def _spread_part(n: int, known: Array | None, part: Part) -> tuple[Rows, Vectors, NDArray[np.float64], Rows]:
    """Farthest first in one part: rows, vectors, and the facts; ``nearest`` is -2 - i for the i-th known vector."""
    vectors = part.vectors()
    begun = 0 if known is None else len(known)
    points = vectors if known is None or not begun else np.concatenate([known.astype(vectors.dtype), vectors])
    picks = k_center(n, np.arange(begun, len(points)), np.arange(begun), points)
    rows = np.asarray(part.rows)
    near = picks.facts["nearest"]
    nearest = np.where(near < 0, -1, np.where(near < begun, -2 - near, rows[np.maximum(near - begun, 0)]))
    return rows[picks.rows - begun], points[picks.rows].astype(np.float32), picks.facts["distance"], nearest


def _serve_part(
    n: int, crowd: NDArray[np.float64], covered: NDArray[np.float64], part: Part
) -> tuple[Rows, Vectors, NDArray[np.float64]]:
    """Facility location in one part: rows, vectors, and what each won."""
    vectors = part.vectors()
    positions, gains = serve(n, vectors, crowd, covered)
    return np.asarray(part.rows)[positions], vectors[positions].astype(np.float32), gains


def _together(found: Sequence[tuple[Any, ...]]) -> tuple[Rows, Vectors]:
    """The picks of all parts, ascending by row, so that ties go to the lowest."""
    rows, vectors = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    order = np.argsort(rows)
    return rows[order], vectors[order]


def _clients(parts: Sequence[Part], known: Array | None, size: int, seed: int, engine: Batches) -> NDArray[np.float64]:
    """Directions of rows drawn from the parts and from what is known, ``(size, d)``; of all if there are no more."""
    ends = np.cumsum([len(part.rows) for part in parts])
    total = int(ends[-1]) + (0 if known is None else len(known))
    drawn = np.arange(total)
    if size < total:
        drawn = np.sort(np.random.default_rng(seed).choice(total, size, replace=False))
    starts = np.concatenate([[0], ends[:-1]])
    items = [(p, drawn[(drawn >= s) & (drawn < e)] - s) for p, s, e in zip(parts, starts, ends, strict=True)]
    items = [item for item in items if len(item[1])]
    found = list(engine.map_batches(partial(_mapped, _some), items, batch_size=1))
    if known is not None:
        found.append(known[drawn[drawn >= ends[-1]] - ends[-1]].astype(np.float64))
    points = np.concatenate(found)
    lengths = np.sqrt((points**2).sum(axis=1, keepdims=True))
    return np.asarray(points / np.where(lengths > 0, lengths, 1))


def _some(item: tuple[Part, Rows]) -> NDArray[np.float64]:
    part, positions = item
    return np.asarray(part.vectors()[positions], dtype=np.float64)


def _counted(n: int, parts: Sequence[Part]) -> tuple[int, list[Part]]:
    parts = [part for part in parts if len(part.rows)]
    return count(n, np.empty(sum(len(part.rows) for part in parts), np.int8)), parts


def _no_vectors() -> Vectors:
    return np.empty((0, 0), np.float32)


def _parts(embeddings: Array, shares: Sequence[Rows]) -> list[Part]:
    """Parts of an array; of a memory-mapped file only the name travels."""
    base: Any = embeddings.base  # of a view of a mapped file this is another array, and its offset is not known
    if isinstance(embeddings, np.memmap) and isinstance(base, mmap.mmap) and embeddings.filename:
        place = (Path(embeddings.filename).resolve(), embeddings.dtype.str, embeddings.shape, embeddings.offset)
        return [Part(rows, partial(_of_file, *place, rows)) for rows in shares if len(rows)]
    return [Part(rows, partial(_itself, embeddings[rows])) for rows in shares if len(rows)]


def _of_file(path: Path, dtype: str, shape: tuple[int, ...], offset: int, rows: Rows) -> Array:
    return np.asarray(np.memmap(path, dtype, "r", offset, shape)[rows])


def _itself(vectors: Array) -> Array:
    return vectors
