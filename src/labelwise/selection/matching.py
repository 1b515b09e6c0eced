"""How far images are from each other by their objects, matched within classes (PPAL), and picks by that distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from labelwise.errors import SelectionError
from labelwise.selection import object_kernels
from labelwise.selection.owned import (
    Owned,
    check_object_labels,
    check_object_scores,
    check_objects,
    owned,
    then_empty,
    with_objects,
)
from labelwise.selection.picks import Array, Doubles, Picks, Rows, Vectors, chunks, count, on_grid, sampled
from labelwise.selection.threads import in_threads

_CELLS = 2**21  # similarities held at a time
_FARTHEST = 2.0  # between an object and an image without an object of its class
_IMAGES = 128  # images that a thread looks at together
_LABELLED = 256  # labelled images that are looked at together


def ppal(
    n: int,
    candidates: Rows,
    labelled: Rows,
    objects: Array,
    owners: Rows,
    object_labels: Rows,
    object_scores: Array,
    rng: np.random.Generator,
    *,
    threshold: float = 0.05,
    updates: int = 100,
    limit: int = 5000,
) -> Picks:
    """Spread over images by category-conditioned matching of their objects: k-centres, moved to medoids (PPAL).

    ``objects`` is ``(M, d)`` and scaled to length 1, ``object_labels`` ``(M,)`` their classes, ``object_scores``
    ``(M,)`` their confidences w; objects not above ``threshold`` are left out. The distance from image i to j is
    sum_b w_b min over objects of j of the class of b of (1 - cos) / sum_b w_b, 2 where j has none of that class; both
    ways are averaged. Centres are taken farthest first, from the labelled images on (without any, from the image with
    the least sum of distances), then moved to the medoids of what is nearest to them, at most ``updates`` times.
    Labelled images stay centres where they are; a labelled object without a finite score counts 1. Put it behind a
    ``shortlist`` of uncertain images; of more than ``limit`` candidates (or n) a random sample is used, since all
    their distances are kept. Distances are rounded to 1e-6; ties go to the lowest row; images without objects come
    last.

    Facts: ``distance`` to the ``nearest`` labelled or earlier picked row, ``stands_for``, the images nearest to it.
    Raises SelectionError if a vector or score is not finite. Yang, Huang & Crowley 2024, Plug and play active learning
    for object detection, section 3.3, without the original's zero distance between objects of equal rank.
    """
    if not 0 <= threshold < np.inf:
        raise SelectionError(f"ppal: expected a threshold of 0 or more, but found {threshold}")
    n = count(n, candidates)
    everything, own = with_objects(owners, candidates)[0].objects, owned(owners, labelled).objects
    scores = np.zeros(len(owners))
    scores[everything] = check_object_scores(object_scores, owners, everything)
    given = np.asarray(object_scores, dtype=np.float64)[own]
    scores[own] = np.where(np.isfinite(given), given, 1.0)
    kept = np.flatnonzero(scores > threshold)
    images, _ = with_objects(owners[kept], candidates)
    images = with_objects(owners[kept], sampled(n, images.rows, limit, rng))[0]
    known, _ = with_objects(owners[kept], labelled)
    vectors = check_objects(objects, owners, kept[np.concatenate([images.objects, known.objects])])
    labels = check_object_labels(object_labels, np.arange(len(owners)))
    mine = [_boxes(vectors, labels, scores, kept, of) for of in (images, known)]
    apart = matching_distances(mine[0], mine[0])
    near, whose = _to_labelled(mine[0], mine[1])
    picks = _k_centres(min(n, len(images.rows)), apart, near)
    picks, assigned = _medoids(picks, apart, near, updates)
    facts = _facts(picks, apart, near, known.rows[whose] if len(known.rows) else whose, images.rows)
    facts["stands_for"] = np.bincount(assigned[assigned >= 0], minlength=len(picks))
    chosen = images.rows[picks]
    return then_empty(Picks(chosen, facts), np.setdiff1d(candidates, images.rows), n)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Objects of some images, image after image: ``vectors`` ``(m, d)`` of any length, class, weight above 0, image.

    ``owner`` ``(m,)`` ascends from 0 to ``images`` - 1; every image has an object.
    """

    vectors: Array
    labels: Rows
    weights: Doubles
    owner: Rows
    images: int

    def part(self, images: slice) -> Boxes:
        """Those of consecutive images, numbered from 0 again."""
        span = slice(*np.searchsorted(self.owner, [images.start, images.stop]))
        owner = self.owner[span] - images.start
        return Boxes(self.vectors[span], self.labels[span], self.weights[span], owner, images.stop - images.start)


def matching_distances(one: Boxes, two: Boxes) -> Vectors:
    """Category-conditioned matching distance of all images of one to all of two, ``(a, b)`` float32 in 0 to 2.

    Memory beside the result: four times as much, the vectors in float64, and some MB of similarities.
    """
    same = one is two
    there, back = np.zeros((one.images, two.images)), np.zeros((one.images, two.images))
    classes = [
        (mine, mine if same else _of_class(two, label))
        for label in np.intersect1d(one.labels, two.labels)
        for mine in [_of_class(one, label)]
    ]

    def match(part: slice) -> None:  # writes into the rows of these images only
        for mine, theirs in classes:
            _match(mine.part(part), theirs, same, there, back)

    # small products cost more to share out than to do
    in_threads(match, list(chunks(one.images, _IMAGES)), lambda: threadpool_limits(1, "blas"))
    if same:
        there += back.T
        back = there.T
    there = there / np.bincount(one.owner, one.weights, minlength=one.images)[:, None]
    back = back / np.bincount(two.owner, two.weights, minlength=two.images)
    found = np.asarray(on_grid(_FARTHEST - (there + back) / 2), dtype=np.float32)
    if same:
        np.fill_diagonal(found, 0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _OfClass:
    """Objects of one class, image after image: those of ``rows[i]`` are ``begins[i]:begins[i + 1]``."""

    vectors: Doubles
    weights: Doubles
    rows: Rows
    begins: Rows

    def part(self, images: slice) -> _OfClass:
        """Those of consecutive images."""
        first, stop = np.searchsorted(self.rows, [images.start, images.stop])
        span, begins = slice(self.begins[first], self.begins[stop]), self.begins[first : stop + 1]
        return _OfClass(self.vectors[span], self.weights[span], self.rows[first:stop], begins - begins[0])

    def past(self, image: int) -> _OfClass:
        """Those of this image and all after it."""
        first = int(np.searchsorted(self.rows, image))
        start, begins = self.begins[first], self.begins[first:]
        return _OfClass(self.vectors[start:], self.weights[start:], self.rows[first:], begins - start)


def _match(mine: _OfClass, theirs: _OfClass, same: bool, there: Doubles, back: Doubles) -> None:
    """Add the matches of these objects of one class; of two images of one set, each pair is looked at once."""
    if same and len(mine.rows):
        theirs = theirs.past(int(mine.rows[0]))
    most = int(np.diff(mine.begins).max(initial=1))
    for part in chunks(len(mine.rows), max(1, _CELLS // max(1, len(theirs.vectors)) // most)):
        rows = slice(mine.begins[part.start], mine.begins[part.stop])
        object_kernels.add_matches(
            mine.vectors[rows] @ theirs.vectors.T,
            *(mine.begins[part.start : part.stop + 1] - rows.start, mine.rows[part], mine.weights[rows]),
            *(theirs.begins, theirs.rows, theirs.weights),
            *(same, there, back),
        )


def _of_class(boxes: Boxes, label: np.int64) -> _OfClass:
    which = np.flatnonzero(boxes.labels == label)
    rows, begins = np.unique(boxes.owner[which], return_index=True)
    # in float64, so that equal distances are equal after rounding, whatever else is in the product
    vectors = boxes.vectors[which].astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return _OfClass(
        vectors / np.where(lengths > 0, lengths, 1), boxes.weights[which], rows, np.append(begins, len(which))
    )


def _boxes(vectors: Array, labels: Rows, scores: Doubles, kept: Rows, of: Owned) -> Boxes:
    which = kept[of.objects]
    return Boxes(vectors[which], labels[which], scores[which], of.owner, len(of.rows))


def _to_labelled(mine: Boxes, known: Boxes) -> tuple[Vectors, Rows]:
    """Distance of each image to the nearest labelled one, and which that is; infinity and 0 if there is none."""
    near, whose = np.full(mine.images, np.inf, np.float32), np.zeros(mine.images, np.int64)
    for part in chunks(known.images, _LABELLED):
        apart = matching_distances(mine, known.part(part))
        nearest = apart.argmin(axis=1)
        found = apart[np.arange(mine.images), nearest]
        closer = found < near
        near[closer], whose[closer] = found[closer], nearest[closer] + part.start
    return near, whose


def _k_centres(n: int, apart: Vectors, near: Vectors) -> Rows:
    """Farthest first, from what is labelled on."""
    picks, to = np.empty(n, np.int64), near.copy()
    for i in range(n):
        picks[i] = np.argmax(to) if np.isfinite(to).any() else np.argmin(apart.sum(axis=1, dtype=np.float64))
        to = np.minimum(to, apart[picks[i]])
        to[picks[: i + 1]] = -1
    return picks


def _medoids(picks: Rows, apart: Vectors, near: Vectors, updates: int) -> tuple[Rows, Rows]:
    """Centres moved to the medoids of what is nearest to them, and whose each image is (-1: a labelled one's)."""
    assigned = _assigned(picks, apart, near)
    for _ in range(updates):
        moved = picks.copy()
        for i in range(len(picks)):
            members = np.flatnonzero(assigned == i)
            moved[i] = members[apart[np.ix_(members, members)].sum(axis=1, dtype=np.float64).argmin()]
        if (moved == picks).all():
            break
        picks = moved
        assigned = _assigned(picks, apart, near)
    return picks, assigned


def _assigned(picks: Rows, apart: Vectors, near: Vectors) -> Rows:
    if not len(picks):
        return np.full(len(near), -1)
    to = apart[picks]
    whose = to.argmin(axis=0)
    whose[to[whose, np.arange(len(near))] > near] = -1
    whose[picks] = np.arange(len(picks))
    return np.asarray(whose)


def _facts(picks: Rows, apart: Vectors, near: Vectors, labelled: Rows, rows: Rows) -> dict[str, Array]:
    """Distance to the nearest of labelled and earlier picks, and its row; NaN and -1 if there is none."""
    distance, nearest = np.full(len(picks), np.nan), np.full(len(picks), -1, np.int64)
    for i, pick in enumerate(picks):
        if np.isfinite(near[pick]):
            distance[i], nearest[i] = near[pick], labelled[pick]
        before = apart[pick, picks[:i]]
        if i and not before.min() >= distance[i]:
            distance[i], nearest[i] = before.min(), rows[picks[before.argmin()]]
    return {"distance": distance, "nearest": nearest}
