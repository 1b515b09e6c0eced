"""Spread over objects: farthest first where an image brings all its objects, by its farthest object or their mean."""

from __future__ import annotations

from typing import Literal

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection import object_kernels
from labelwise.selection.farthest import FIRST_STEP, next_limit, next_step, surely_farthest
from labelwise.selection.nearest import Bounds
from labelwise.selection.owned import Owned, check_objects, owned, then_empty, with_objects
from labelwise.selection.picks import Array, Doubles, Picks, Rows, chunks, count, squared_distances

_IMAGES = 256  # images that are kept up to date at a time, for the mean
_GROUP = 512  # centres that images are compared with before images are dropped
_PLACES = 42  # binary places below the largest distance that a mean counts; 2^11 objects then add up exactly


def object_k_center(
    n: int,
    candidates: Rows,
    labelled: Rows,
    objects: Array,
    owners: Rows,
    *,
    over: Literal["max", "mean"] = "max",
) -> Picks:
    """Farthest first over objects: the image whose objects are farthest from every object labelled or picked so far.

    ``objects`` is ``(M, d)``, float32 or float16, ``owners`` ``(M,)`` the row of the image each belongs to, ascending;
    distances are squared Euclidean on the vectors as given, in float64. An image counts with its farthest object
    (``over`` "max") or with the mean over its objects ("mean", to 2^-42 of the largest distance); once it is picked,
    all its objects are covered. Ties go to the lowest row. Objects of labelled rows are covered from the start; with
    none of them the first pick owns the object nearest the mean of all. Images without objects come last.

    Facts: ``object``, the number of the farthest object in its image, its ``object_distance`` to the nearest covered
    one, number ``near_object`` of row ``nearest``; for "mean" also ``mean_squared_distance``. Raises SelectionError if
    a vector is not finite. Sener & Savarese 2018, algorithm 1, on objects; "mean" is the rule of Lightly's subpart
    diversity.
    """
    if over not in ("max", "mean"):
        raise SelectionError(f"object_k_center: expected over 'max' or 'mean', but found {over!r}")
    n = count(n, candidates)
    images, empty = with_objects(owners, candidates)
    known = owned(owners, labelled).objects
    vectors = check_objects(objects, owners, np.concatenate([images.objects, known]))
    wanted = min(n, len(images.rows))
    room = int(np.sort(images.counts)[::-1][:wanted].sum())
    walk = _Walk(Bounds(vectors, images.objects, known, room), images, wanted)
    if wanted and not len(known):
        position = _central(vectors, walk.bounds.candidates)
        walk.take(int(walk.of[position]), position, np.nan, -1)
    if walk.done < wanted:
        (_by_farthest if over == "max" else _by_mean)(walk)
    return then_empty(walk.picks(owners, mean=over == "mean"), empty, n)


class _Walk:
    """What is picked so far, and why. Positions count the objects of candidates, image after image."""

    def __init__(self, bounds: Bounds, images: Owned, n: int) -> None:
        self.bounds, self.images, self.n = bounds, images, n
        self.of, self.begins = images.owner, images.begins
        self.image, self.position, self.number = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
        self.squared, self.mean = np.empty(n), np.full(n, np.nan)
        self.done = 0

    def span(self, image: int) -> Rows:
        """Positions of an image's objects."""
        return np.arange(self.begins[image], self.begins[image + 1])

    def take(self, image: int, position: int, squared: float, number: int, mean: float = np.nan) -> None:
        """Pick an image for one of its objects: all of them become centres."""
        i = self.done
        self.image[i], self.position[i], self.squared[i], self.number[i] = image, position, squared, number
        self.mean[i] = mean
        self.bounds.take(self.span(image))
        self.done += 1

    def picks(self, owners: Rows, *, mean: bool) -> Picks:
        """The picked rows with their facts."""
        centre = self.bounds.centres[np.maximum(self.number, 0)] if self.n else self.number
        nearest = owners[centre] if self.n else self.number
        first = self.number < 0
        facts: dict[str, Array] = {
            "object": self.position - self.begins[self.image],
            "object_distance": np.sqrt(self.squared),
            "nearest": np.where(first, -1, nearest),
            "near_object": np.where(first, -1, centre - np.searchsorted(owners, nearest)),
        }
        if mean:
            facts["mean_squared_distance"] = self.mean
        return Picks(self.images.rows[self.image], facts)


def _by_farthest(walk: _Walk) -> None:
    """Picks by the farthest object: a block of the farthest objects, filled again when it is used up."""
    bounds, step = walk.bounds, FIRST_STEP
    bounds.begin()
    while walk.done < walk.n:
        limit = next_limit(bounds, float(bounds.bound.max()), step)
        block = bounds.above(limit)
        step = next_step(step, len(block))
        if len(block):
            _farthest_of_block(walk, block, limit)


def _farthest_of_block(walk: _Walk, block: Rows, limit: float) -> None:
    bounds = walk.bounds
    block, value, floor, floor_row = surely_farthest(bounds, block, limit)
    order = np.argsort(block)  # so that argmax finds the lowest row of equal values
    block, value = block[order], value[order]
    near, points = bounds.near[block].astype(np.int64), bounds.gather(bounds.candidates[block])
    while walk.done < walk.n and len(block):
        best = int(value.argmax())
        if not (value[best] > floor or (value[best] == floor and bounds.candidates[block[best]] < floor_row)):
            break
        image, first = int(walk.of[block[best]]), bounds.count
        walk.take(image, int(block[best]), value[best], int(near[best]))
        rest = walk.of[block] != image
        block, value, near, points = block[rest], value[rest], near[rest], points[rest]
        centres = bounds.gather(bounds.candidates[walk.span(image)])
        object_kernels.approach_all(points, value, near, centres, first, bounds.margin)
        rest = value >= floor
        if not rest.all():
            bounds.put(block[~rest], value[~rest], near[~rest], bounds.count)
            block, value, near, points = block[rest], value[rest], near[rest], points[rest]
    bounds.put(block, value, near, bounds.count)


def _by_mean(walk: _Walk) -> None:
    """Picks by the mean over objects: a block of images that are up to date, all others surely below its best."""
    bounds, step, unit = walk.bounds, FIRST_STEP, _unit(walk)
    bounds.begin()
    while walk.done < walk.n:
        means = _mean_bounds(walk)
        limit = next_limit(bounds, float(means.max()), step)
        images = np.flatnonzero(means >= limit)
        for stop in range(_GROUP, bounds.count + _GROUP, _GROUP):
            everything, bounds.count = bounds.count, min(stop, bounds.count)
            positions = _positions(walk, images)
            bounds.refresh(positions, np.zeros(len(positions), np.float32))
            bounds.count = everything
            images = images[_mean_bounds(walk)[images] >= limit]
        step = next_step(step, len(images), _IMAGES)
        if len(images):
            _mean_of_block(walk, images, limit, unit)


def _mean_of_block(walk: _Walk, images: Rows, limit: float, unit: float) -> None:
    bounds = walk.bounds
    # a mean of float32 bounds may itself be rounded; the last term is for means that are cut to whole units
    floor, floor_image = (bounds.ceiling(limit) * (1 + 1e-9) + unit if limit > 0 else -1.0), -1
    positions = _positions(walk, images)
    value, counts = bounds.exact(positions), walk.images.counts[images]
    if len(images) > 2 * _IMAGES:
        mean = _means(value, counts, unit)
        order = np.lexsort((images, -mean))
        after = order[_IMAGES]
        if mean[after] >= floor:
            floor, floor_image = float(mean[after]), int(images[after])
        images, keep = np.sort(images[order[:_IMAGES]]), np.zeros(len(images), np.bool_)
        keep[order[:_IMAGES]] = True
        value, positions, counts = value[keep.repeat(counts)], _positions(walk, images), walk.images.counts[images]
    near, points = bounds.near[positions].astype(np.int64), bounds.gather(bounds.candidates[positions])
    free = np.ones(len(images), np.bool_)
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    while walk.done < walk.n and free.any():
        mean = np.where(free, _means(value, counts, unit), -1.0)
        best = int(mean.argmax())
        if not (mean[best] > floor or (mean[best] == floor and images[best] < floor_image)):
            break
        own = slice(begins[best], begins[best + 1])
        at, first = begins[best] + int(value[own].argmax()), bounds.count
        walk.take(int(images[best]), int(positions[at]), value[at], int(near[at]), float(mean[best]))
        free[best], value[own] = False, 0
        object_kernels.approach_all(points, value, near, points[own].copy(), first, bounds.margin)
    left = free.repeat(counts)
    bounds.put(positions[left], value[left], near[left], bounds.count)


def _positions(walk: _Walk, images: Rows) -> Rows:
    """Positions of all objects of these images."""
    counts = walk.images.counts[images]
    before = np.cumsum(counts) - counts
    return np.asarray((walk.begins[images] - before).repeat(counts) + np.arange(counts.sum()))


def _mean_bounds(walk: _Walk) -> Doubles:
    """Mean of each image's bounds, ``(images,)``; -1 for picked ones."""
    total = np.add.reduceat(walk.bounds.bound.astype(np.float64), walk.begins[:-1])
    return np.asarray(np.where(total < 0, -1.0, total / walk.images.counts))


def _means(value: Doubles, counts: Rows, unit: float) -> Doubles:
    """Means of values that are cut to whole units: the sums are exact, so that equal objects tie in any order."""
    begins = np.cumsum(counts) - counts
    return np.asarray(np.add.reduceat(np.floor(value / unit), begins) * unit / counts)


def _unit(walk: _Walk) -> float:
    """A power of two that is 2^-42 of the largest squared distance, or a little more."""
    bounds = walk.bounds
    rows = np.concatenate([bounds.candidates, bounds.centres[: bounds.count]])
    centre = _mean(bounds.vectors, rows)
    farthest = max(
        float(squared_distances(bounds.vectors, rows[part], centre).max()) for part in chunks(len(rows), 65536)
    )
    return float(2.0 ** np.ceil(np.log2(max(4 * farthest, 1e-30)))) * 2.0**-_PLACES


def _mean(vectors: Array, rows: Rows) -> Doubles:
    total = np.zeros(vectors.shape[1])
    for part in chunks(len(rows), 2048):
        total += vectors[rows[part]].sum(axis=0, dtype=np.float64)
    return total / len(rows)


def _central(vectors: Array, rows: Rows) -> int:
    """Position of the object nearest the mean of these; of those equally near, rounding apart, the first."""
    squared = squared_distances(vectors, rows, _mean(vectors, rows))
    return int(np.argmax(squared <= squared.min() * (1 + 1e-12)))
