"""How similar rows are to query rows, and selections by that and by typicality."""

from __future__ import annotations

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_stored, count, descending
from labelwise.selection.spread import most_central
from labelwise.selection.typicality import typicality


def most_similar(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    labels: Rows | None = None,
    *,
    like: tuple[int, ...] = (),
    queries: tuple[int, ...] = (),
) -> Picks:
    """The candidates most similar to the query rows; ties go to the lowest row.

    Queries are the rows ``queries``, else the labelled rows of the classes ``like`` (indices), else all labelled rows;
    with nothing labelled, the candidate nearest the candidates' mean. ``embeddings`` is ``(N, d)`` as given. Facts:
    ``similarity``, exp(-d / mean d) with d the Euclidean distance to the nearest query and its mean over candidates
    and labelled rows, and ``query_distance`` d. Raises SelectionError if a vector is not finite or there is no such
    query. Lightly's similarity, as recovered from its free engine (lightly-mundig 0.1.16).
    """
    n = count(n, candidates)
    if not n:
        candidates = candidates[:0]
    rows = np.concatenate([candidates, labelled])
    asked = query_rows(candidates, labelled, labels, embeddings, like, queries)
    distances = query_distances(embeddings, rows, asked)
    order = np.argsort(distances[: len(candidates)], kind="stable")[:n]
    facts = {"similarity": similarity(distances)[order], "query_distance": distances[order]}
    return Picks(candidates[order], facts)


def most_typical(n: int, candidates: Rows, labelled: Rows, embeddings: Array, *, neighbours: int = 20) -> Picks:
    """The candidates whose nearest others are nearest; ties go to the lowest row.

    ``embeddings`` is ``(N, d)`` as given; the ``neighbours`` nearest others are sought among candidates and labelled
    rows. Picks crowd where the pool is densest: use it with ``near_duplicates``, or as a part of ``combined``. Facts:
    ``typical``, the mean of exp(-d / mean d) over the neighbours, 0 to 1. Raises SelectionError if a vector is not
    finite or ``neighbours`` is below 1. Lightly's typicality, as recovered from its free engine (lightly-mundig
    0.1.16).
    """
    if neighbours < 1:
        raise SelectionError(f"most_typical: expected 1 neighbour or more, but found {neighbours}")
    n = count(n, candidates)
    rows = np.sort(np.concatenate([candidates, labelled]))
    values = typicality(embeddings, rows, neighbours)[np.searchsorted(rows, candidates)]
    order = descending(values)[:n]
    return Picks(candidates[order], {"typical": values[order]})


def query_rows(
    candidates: Rows,
    labelled: Rows,
    labels: Rows | None,
    embeddings: Array,
    like: tuple[int, ...],
    queries: tuple[int, ...],
) -> Rows:
    """The rows that others are to be similar to. Raises SelectionError if there are none of the classes asked for."""
    if queries:
        total, found = len(embeddings), np.array(queries, dtype=np.int64)
        if found.min() < 0 or found.max() >= total:
            raise SelectionError(f"similarity: expected query rows from 0 to {total - 1}, but found {list(queries)}")
        return found
    if like:
        if labels is None or not (chosen := np.isin(labels, like)).any():
            raise SelectionError(
                f"similarity: expected labelled rows of class {' or '.join(map(str, like))} (index) to be similar to, "
                f"but found none among {len(labelled)}; label one, or leave 'like' out"
            )
        return labelled[np.flatnonzero(chosen)]
    if len(labelled) or not len(candidates):
        return labelled
    vectors = check_stored(embeddings, candidates)
    return candidates[[most_central(vectors, candidates)]]


def query_distances(embeddings: Array, rows: Rows, queries: Rows) -> Doubles:
    """Euclidean distance of each of ``rows`` to its nearest query, ``(m,)`` float64; infinite without queries."""
    vectors = check_stored(embeddings, np.concatenate([rows, queries]))
    if not len(rows) or not len(queries):
        return np.full(len(rows), np.inf)
    bounds = Bounds(vectors, rows, queries, 0)
    everywhere = np.arange(len(rows))
    bounds.refresh(everywhere, np.zeros(len(rows), np.float32))
    return np.asarray(np.sqrt(bounds.exact(everywhere)))


def similarity(distances: Doubles) -> Doubles:
    """exp(-d / mean d): 1 at a query, and everywhere if all distances are 0."""
    if not len(distances) or not distances.any():
        return np.ones(len(distances))
    found: Doubles = np.exp(-distances / distances.mean())
    return found
