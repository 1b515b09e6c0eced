"""What can be picked from without a run: the pictures of a folder, each content once, or a file of vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.catalog import checked_options
from labelwise.data import images_folder
from labelwise.data.listing import Listing
from labelwise.data.scan import find_duplicates, scan
from labelwise.errors import DataError, ModelError
from labelwise.records import Problem, Sample, left_out

Vectors = NDArray[Any]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The images one can pick from, and what was left out.

    ``ids`` (N), with ``samples`` (N) where there are files and ``embeddings`` ``(N, d)`` where they were asked for, in
    this order. ``copies`` names for every exact copy that was left out the image it is a copy of.
    """

    ids: tuple[str, ...]
    samples: tuple[Sample, ...] = ()
    embeddings: Vectors | None = None
    problems: tuple[Problem, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None

    @property
    def summary(self) -> str:
        """How many images there are, and how many were left out for which reason, in one line."""
        kept = set(self.ids)
        left = left_out(self.problems, kept)
        why = ", ".join(f"{count:,} {code}" for code, count in left.most_common())
        what = "images" if self.samples else "vectors"
        return f"{what}: {len(self.ids):,}" + (f"; {left.total():,} left out ({why})" if left else "")


def vectors_pool(vectors: tuple[Sequence[str], Vectors] | None, source: Path | None) -> Pool:
    """The pool of a file of vectors alone: its ids, its rows. Raises DataError for an id that stands there twice."""
    assert vectors is not None, "no folder and no vectors"
    ids, rows = vectors
    _check_ids(ids, source)
    return Pool(tuple(ids), embeddings=rows)


def list_folder(images: Path | str, *, group: str | None = None) -> Listing:
    """The pictures of a folder, not looked into yet; ``group`` is "folder" or a regular expression with one group."""
    return images_folder.read(images, group=group)


def folder_pool(
    listing: Listing,
    *,
    embed: bool,
    features: Mapping[str, Any] | None = None,
    vectors: tuple[Sequence[str], Vectors] | None = None,
    source: Path | None = None,
    cache: Path,
    threads: int,
    progress: Progress,
) -> Pool:
    """The pool of a folder's pictures; unreadable files and exact copies are left out and listed.

    With ``embed`` it has vectors: those given in ``vectors`` (ids and ``(M, d)``, joined by id), or those that
    ``features`` mean (words of the model ``frozen``: backbone, weights, size, ...), computed where the table in
    ``cache`` lacks them. Raises DataError if nothing is left, ModelError for a backbone that cannot be used.
    """
    if embed and vectors is None:
        good, bad, table = _embedded(listing, features or {}, cache, threads, progress)
    else:
        good, bad = _scanned(listing, threads, progress)
    copies = find_duplicates(good)
    if not good:
        raise DataError(
            f"{listing.root}: expected images, found none that can be read ({len(bad)} cannot: {bad[0].message})"
        )
    first = {s.content: s.id for s in reversed(good)}
    same = {s.id: first[s.content] for s in good if first[s.content] != s.id}
    kept = [s for s in good if s.id not in same]
    rows: Vectors | None = None
    missing: list[Problem] = []
    if embed and vectors is None:
        rows = table.lookup([s.content for s in kept])
    elif embed and vectors is not None:
        kept, rows, missing = _joined(kept, *vectors, source)
    notes = [Problem(s.id, s.note.split(":")[0], f"{s.id}: used, {s.note}") for s in kept if s.note]
    problems = (*listing.problems, *bad, *copies, *missing, *notes)
    return Pool(tuple(s.id for s in kept), tuple(kept), rows, problems, same, listing.root)


def _scanned(listing: Listing, threads: int, progress: Progress) -> tuple[list[Sample], list[Problem]]:
    good: list[Sample] = []
    bad: list[Problem] = []
    total = len(listing.samples)
    for verdict in scan(listing.samples, threads=threads, progress=lambda done: progress(done, total, "images")):
        (bad if isinstance(verdict, Problem) else good).append(verdict)  # type: ignore[arg-type]
    return good, bad


def _embedded(
    listing: Listing, features: Mapping[str, Any], cache: Path, threads: int, progress: Progress
) -> tuple[list[Sample], list[Problem], Any]:
    from labelwise.embedding.extractor import make_extractor
    from labelwise.embedding.intake import take_in

    try:
        extractor = make_extractor(**checked_options("features", make_extractor, features))
    except ModelError as error:  # which speaks of a run's configuration
        raise ModelError(str(error).replace("model.", "")) from error
    table = extractor.table(cache)
    good, bad = take_in(listing.samples, extractor, table, threads=threads, progress=progress)
    return good, bad, table


def _joined(
    samples: Sequence[Sample], ids: Sequence[str], vectors: Vectors, source: Path | None
) -> tuple[list[Sample], Vectors, list[Problem]]:
    """The samples that have a vector, in the order of the vectors; the vectors; a Problem for each that has none.

    The samples are put in order, since the vectors may fill half of the memory.
    """
    _check_ids(ids, source)
    by_id = {sample.id: sample for sample in samples}
    rows = np.array([i for i, name in enumerate(ids) if name in by_id], np.int64)
    if not len(rows):
        raise DataError(
            f"{source}: expected vectors of these images, found none: the first image is {samples[0].id!r}, the first "
            f"vector {ids[0]!r}; ids are paths relative to the folder of images"
        )
    kept = [by_id[ids[i]] for i in rows]
    known = {sample.id for sample in kept}
    missing = [
        Problem(s.id, "no_vector", f"{s.id}: no vector in {source}; left out") for s in samples if s.id not in known
    ]
    whole = int(rows[-1] - rows[0]) == len(rows) - 1
    return kept, vectors[rows[0] : rows[-1] + 1] if whole else vectors[rows], missing


def _check_ids(ids: Sequence[str], source: Path | None) -> None:
    if len(ids) == 0:
        raise DataError(f"{source}: expected vectors, found none; check the file")
    if len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise DataError(f"{source}: expected each id once, found {twice!r} twice; remove one of its vectors")
