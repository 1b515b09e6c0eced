"""Covering objects within their classes: facility location where an image brings all its objects."""

from __future__ import annotations

import heapq

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection import object_kernels
from labelwise.selection.owned import (
    check_object_labels,
    check_object_scores,
    check_objects,
    owned,
    then_empty,
    with_objects,
)
from labelwise.selection.picks import Array, Doubles, Picks, Rows, chunks, count, on_grid

_CELLS = 2**21  # similarities held at a time


def object_coverage(
    n: int,
    candidates: Rows,
    labelled: Rows,
    objects: Array,
    owners: Rows,
    object_labels: Rows,
    object_scores: Array,
    rng: np.random.Generator,
    *,
    neighbours: int = 100,
    limit: int = 50_000,
) -> Picks:
    """Pick greedily the image whose objects raise the sum of w_o times the best cosine to a covered object most.

    The sum runs over the candidates' objects o; its weight w_o is its score in ``object_scores`` ``(M,)``, as a share
    of the highest; only objects of the same class in ``object_labels`` ``(M,)`` cover it, those of labelled and picked
    images. ``objects`` is ``(M, d)``, scaled to length 1. An object serves its ``neighbours`` nearest of its class
    only, with similarity max(0, cos); similarities and weights are rounded to 1e-6, so that gains are exact. Ties go
    to the lowest row. Where candidates have more than ``limit`` objects, images are drawn at random until they do
    (n of them at least). Images without objects come last. Memory grows with objects times ``neighbours``.

    Facts: ``newly_covered``, the weight won as a share of all weight, and ``object``, the number in its image of the
    object that wins most by itself. Raises SelectionError if a vector or score is not finite, or ``neighbours`` is
    below 1. Facility location with classes kept apart, as in Lee et al. 2024, Coreset selection for object detection;
    weights as in Bae, Sutherland & Oliveira 2025, Uncertainty herding.
    """
    if neighbours < 1:
        raise SelectionError(f"object_coverage: expected neighbours of 1 or more, but found {neighbours}")
    n = count(n, candidates)
    images, empty = with_objects(owners, candidates)
    if len(images.objects) > limit:
        order = rng.permutation(len(images.rows))
        size = max(n, int(np.searchsorted(np.cumsum(images.counts[order]), limit, side="right")))
        images, _ = with_objects(owners, np.sort(images.rows[order[:size]]))
    free, known = images.objects, owned(owners, labelled).objects
    which = np.concatenate([free, known])
    vectors = check_objects(objects, owners, which)
    labels = check_object_labels(object_labels, which)
    weights = check_object_scores(object_scores, owners, free)
    weights = on_grid(weights / max(float(weights.max(initial=0)), 1e-300))
    serves, similarity = _graph(vectors, which, labels, len(free), neighbours)
    covered = np.zeros(len(free))
    object_kernels.cover(serves[len(free) :], similarity[len(free) :], covered)
    picks, gains, best = _greedy(min(n, len(images.rows)), images.begins, serves, similarity, weights, covered)
    facts = {"newly_covered": gains / max(float(weights.sum()), 1e-300), "object": best}
    return then_empty(Picks(images.rows[picks], facts), empty, n)


def _graph(vectors: Array, which: Rows, labels: Rows, free: int, neighbours: int) -> tuple[Rows, Doubles]:
    """For each object the nearest free ones of its class, itself included, ``(m, k)`` (-1: none), and their cosine.

    The first ``free`` of ``which`` can be served, all can serve.
    """
    k = min(neighbours, free)
    serves, similarity = np.full((len(which), k), -1, np.int64), np.zeros((len(which), k))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        targets = of_class[of_class < free]
        here = min(k, len(targets))
        points = _unit(vectors, which[targets])
        for part in chunks(len(of_class) if here else 0, max(1, _CELLS // max(1, len(targets)))):
            some = of_class[part]
            cosines = on_grid(_unit(vectors, which[some]) @ points.T)
            if here < len(targets):
                nearest = np.argpartition(-cosines, here - 1, axis=1)[:, :here]
            else:
                nearest = np.broadcast_to(np.arange(here), cosines.shape)
            serves[some, :here] = targets[nearest]
            similarity[some, :here] = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0)
    return serves, similarity


def _unit(vectors: Array, rows: Rows) -> Doubles:
    """These vectors in float64, scaled to length 1; zero vectors stay zero."""
    found = vectors[rows].astype(np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1))


def _greedy(
    n: int, begins: Rows, serves: Rows, similarity: Doubles, weights: Doubles, covered: Doubles
) -> tuple[Rows, Doubles, Rows]:
    """Picks by lazy evaluation (Minoux 1978): gains only fall, so an old one is an upper bound."""
    scratch = np.zeros(len(covered))

    def gain(image: int) -> float:
        own = slice(begins[image], begins[image + 1])
        return float(object_kernels.joint_gain(serves[own], similarity[own], weights, covered, scratch))

    heap = [(-gain(image), image, 0) for image in range(len(begins) - 1)]
    heapq.heapify(heap)
    picks, gains, best = np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)
    done = 0
    while done < n:
        bound, image, turn = heapq.heappop(heap)
        if turn < done:
            heapq.heappush(heap, (-gain(image), image, done))
            continue
        own = slice(begins[image], begins[image + 1])
        picks[done], gains[done] = image, -bound
        best[done] = object_kernels.best_alone(serves[own], similarity[own], weights, covered)
        object_kernels.cover(serves[own], similarity[own], covered)
        done += 1
    return picks, gains, best
