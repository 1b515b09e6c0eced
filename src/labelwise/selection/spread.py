"""Selections that cover the space of vectors: farthest first, alone or weighed against scores."""

from __future__ import annotations

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.farthest import farthest
from labelwise.selection.kernels import add_up, distances_to, too_near
from labelwise.selection.nearest import Bounds
from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    check_scores,
    check_stored,
    chunks,
    compiled_rows,
    count,
)
from labelwise.selection.threads import in_threads
from labelwise.selection.weighted import coral_picks, grown, selected_from, shares

_LOT = 2048  # candidates that are handled at a time


def k_center(n: int, candidates: Rows, labelled: Rows, embeddings: Array, *, least_distance: float = 0.0) -> Picks:
    """Farthest first: always the candidate farthest from everything labelled or picked; ties go to the lowest row.

    ``embeddings`` is ``(N, d)``, float32 or float16 (read as it is, also memory-mapped); distances are Euclidean on the
    vectors as given, and picks are those of float64. With nothing labelled the first pick is the candidate nearest the
    candidates' mean. Ends before a pick that would be nearer than ``least_distance``. Facts: ``distance`` to the
    ``nearest`` labelled or earlier picked row (NaN and -1 for that first pick). Raises SelectionError if a vector is
    not finite or ``least_distance`` is negative.
    Sener & Savarese 2018, Active learning for convolutional neural networks: a core-set approach, algorithm 1;
    Gonzalez 1985 (at most twice the best possible radius).
    """
    n = count(n, candidates)
    check_least("k_center", least_distance)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    bounds = Bounds(vectors, candidates, labelled, n)
    positions, distances, nearest = np.empty(n, np.int64), np.full(n, np.nan), np.full(n, -1, np.int64)
    begun, end = int(n > 0 and len(labelled) == 0), n
    if begun:
        positions[0] = most_central(vectors, candidates)
        bounds.take(positions[:1])
    if n > begun:
        found, squared, numbers = farthest(bounds, n - begun, least_distance)
        end = begun + len(found)
        positions[begun:end], distances[begun:end], nearest[begun:end] = (
            found,
            np.sqrt(squared),
            bounds.centres[numbers],
        )
    facts = {"distance": distances[:end], "nearest": nearest[:end]}
    return Picks(candidates[positions[:end]], facts, ended(end, n, least_distance))


def coral(
    n: int,
    candidates: Rows,
    labelled: Rows,
    scores: Array,
    embeddings: Array,
    *,
    diversity: float = 1.0,
    weight: float = 1.0,
    least_distance: float = 0.0,
) -> Picks:
    """Spread and scores together: the candidate with the highest product of two growing sums; ties: the lowest row.

    With S everything labelled or picked, that is ``diversity * log(sum of d(j)^2 over S + d(i)^2) + weight *
    log(sum of w(j) over S + w(i))``: ``d(j)`` is the Euclidean distance from j to its nearest other in S, ``d(i)`` from
    candidate i to S, ``w`` the scores ``(N,)``, not negative; a labelled row without a score (NaN) counts with the
    candidates' mean. ``embeddings`` is ``(N, d)`` as for ``k_center``. A strength of 0 leaves its term out, and so do
    scores that are all 0. With nothing labelled the first pick is the highest score. Ends before a pick that would be
    nearer than ``least_distance``. Facts: ``distance`` to the ``nearest`` labelled or earlier picked row (NaN and -1
    for that first pick); ``gain_diversity`` and ``gain_score``, their shares in what the pick adds to the two terms (a
    sum that was 0 before takes all). Raises SelectionError if a vector or a candidate's score is not finite, or a
    score or an option is negative.
    Lightly's CORAL, as recovered from its free engine (lightly-mundig 0.1.16), which rounds to float32.
    """
    n = count(n, candidates)
    check_least("coral", least_distance)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    weights, known, strengths = _coral_weights(scores, candidates, labelled, (diversity, weight))
    bounds = Bounds(vectors, candidates, labelled, n)
    selected = selected_from(vectors, labelled, known, n, strengths, bounds)
    positions, distances, nearest = np.empty(n, np.int64), np.full(n, np.nan), np.full(n, -1, np.int64)
    sums, end = np.zeros((n, 2)), n
    begun = int(n > 0 and len(labelled) == 0)
    if begun:
        positions[0] = np.argmax(weights) if strengths[1] else 0
        selected.add(bounds.gather(candidates[positions[:1]]), weights[positions[:1]])
        bounds.take(positions[:1])
    if n > begun:
        (found, squared, numbers), before = coral_picks(bounds, weights, selected, n - begun, least_distance)
        end = begun + len(found)
        positions[begun:end], distances[begun:end], nearest[begun:end] = (
            found,
            np.sqrt(squared),
            bounds.centres[numbers],
        )
        sums[begun:end] = before
    positions, distances, nearest = positions[:end], distances[:end], nearest[:end]
    gains = [grown(strengths[0], sums[:end, 0], np.nan_to_num(distances) ** 2)]
    gains.append(grown(strengths[1], sums[:end, 1], weights[positions]))
    share = shares(np.stack(gains, axis=1))
    facts = {"distance": distances, "nearest": nearest, "gain_diversity": share[:, 0], "gain_score": share[:, 1]}
    return Picks(candidates[positions], facts, ended(end, n, least_distance))


def deduplicate(n: int, candidates: Rows, labelled: Rows, embeddings: Array, *, distance: float = 0.1) -> Picks:
    """The lowest row of every lot of near-duplicates, in order of rows: one is left out if it is nearer to one before.

    A candidate is taken unless its Euclidean distance to a labelled row or to one taken before is below ``distance``
    (equal is kept); ``embeddings`` is ``(N, d)`` as for ``k_center``, so with vectors of length 1 distances are 0 to 2.
    Ends where nothing is left: ask for as many as there are candidates to have them all. Facts: none of its own.
    Raises SelectionError if a vector is not finite or ``distance`` is negative.
    """
    n = count(n, candidates)
    check_least("deduplicate", distance)
    vectors = check_stored(embeddings, np.concatenate([candidates, labelled]))
    bounds = Bounds(vectors, candidates, labelled, len(candidates))
    limit = float(np.float32(distance**2 * (1 - 2 * bounds.margin)))
    taken: list[int] = []
    for part in chunks(len(candidates), _LOT):
        if len(taken) >= n:
            break
        places = np.arange(part.start, part.stop)
        places = _far_enough(bounds, places, limit, distance)
        taken += _walk(bounds, places, distance)
    rows = candidates[np.array(taken[:n], dtype=np.int64)]
    return Picks(rows, {}, ended(len(rows), n, distance))


def _far_enough(bounds: Bounds, places: Rows, limit: float, distance: float) -> Rows:
    """Those of these candidates that are not too near to a centre."""
    if not bounds.count:
        return places
    bounds.refresh(places, np.full(len(places), limit, np.float32))
    places = places[bounds.seen[places] == bounds.count]
    return places[np.sqrt(bounds.exact(places)) >= distance]


def _walk(bounds: Bounds, places: Rows, distance: float) -> list[int]:
    """Take these candidates in their order, unless they are too near to one taken here before."""
    points = bounds.gather(bounds.candidates[places])
    near = too_near(points, distance, bounds.margin)
    bounds.take(places[~near])
    return [int(place) for place in places[~near]]


def check_least(who: str, least_distance: float) -> None:
    """Raises SelectionError, naming ``who`` was asked, for an end condition that is no distance."""
    if not 0 <= least_distance < np.inf:
        raise SelectionError(f"{who}: expected a least_distance of 0 or more, but found {least_distance}")


def ended(found: int, n: int, least_distance: float) -> str:
    """Why there are fewer than n picks; empty if there are not."""
    return (
        "" if found == n else f"every other candidate is nearer than {least_distance:g} to a labelled image or a pick"
    )


def _coral_weights(
    scores: Array, candidates: Rows, labelled: Rows, strengths: tuple[float, float]
) -> tuple[Doubles, Doubles, tuple[float, float]]:
    """Scores of the candidates and of the labelled rows, and the strengths, 0 for scores that say nothing."""
    for name, strength in zip(("diversity", "weight"), strengths, strict=True):
        if not 0 <= strength < np.inf:
            raise SelectionError(f"coral: expected a {name} of 0 or more, but found {strength}")
    wanted = check_scores(scores, candidates)
    mean = wanted.mean() if len(wanted) else 0.0
    known = check_scores(np.where(np.isfinite(scores), scores, mean), labelled)
    rows, values = np.concatenate([candidates, labelled]), np.concatenate([wanted, known])
    if (values < 0).any():
        row = rows[np.flatnonzero(values < 0)[0]]
        raise SelectionError(
            f"coral: expected scores of 0 or more, but row {row} has {scores[row]}; "
            "add a constant, or take the exponential"
        )
    if not values.any():
        strengths = strengths[0], 0.0
    return values[: len(candidates)], values[len(candidates) :], strengths


def most_central(vectors: Array, candidates: Rows) -> int:
    """Position of the candidate nearest the candidates' mean."""
    parts = list(chunks(len(candidates), _LOT))
    totals, squared = np.zeros((len(parts), vectors.shape[1])), np.empty(len(candidates))

    def add(part: slice) -> None:
        add_up(*compiled_rows(vectors, candidates[part]), totals[part.start // _LOT])

    def compare(part: slice) -> None:
        distances_to(mean, *compiled_rows(vectors, candidates[part]), squared[part])

    in_threads(add, parts)
    mean = totals.sum(axis=0) / len(candidates)
    in_threads(compare, parts)
    return int(np.argmin(squared))
