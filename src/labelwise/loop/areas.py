"""What is asked inside an image: pixels, windows or superpixels; which are free, and what a map says of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise import catalog
from labelwise.data.images import open_image
from labelwise.data.masks import Mask, read_mask, void_of, write_mask
from labelwise.records import Sample
from labelwise.selection.candidates import box_means
from labelwise.selection.picks import Vectors
from labelwise.selection.pixels import pixel_pick, top_pixels
from labelwise.selection.places import Places
from labelwise.selection.regions import choose_regions
from labelwise.selection.segments import choose_superpixels, score_superpixels, superpixel_means, superpixels
from labelwise.strategies import Recipe

Flags = NDArray[np.bool_]

IDS = 65_535  # of superpixels: as many as 16 bits hold


@dataclass(frozen=True)
class Ask:
    """The unit of a run inside images: a region is a window of ``radius``, or one of ``superpixels`` an image.

    ``cost`` is what a region counts for in the budget: one, or its valid pixels.
    """

    unit: Literal["region", "pixel"]
    radius: int = 1
    superpixels: int | None = None
    compactness: float = 10.0
    cost: Literal["region", "pixel"] = "region"

    @property
    def by_pixels(self) -> bool:
        """True where the budget counts the pixels of regions."""
        return self.unit == "region" and self.cost == "pixel"

    def pixels(self, width: int, height: int) -> int:
        """About how many pixels one of them has in an image of this size."""
        if self.unit == "pixel":
            return 1
        if self.superpixels is not None:
            return max(1, width * height // self.superpixels)
        return (2 * self.radius + 1) ** 2


@dataclass(frozen=True, slots=True)
class Item:
    """One image to choose in: how many at most, what was asked of it before, and the seed of its random numbers.

    ``void`` is the mask file whose void pixels are never asked (a simulated annotator's); ``picture`` where the score
    map is drawn, or None; ``segments`` where its superpixels are kept.
    """

    sample: Sample
    n: int
    asked: tuple[NDArray[Any], ...]
    seed: tuple[int, ...]
    void: bool = False
    picture: Path | None = None
    segments: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Pixels or regions of one image, best first: ``geometry`` (k, 2) pixels, (k, 4) windows or (k,) superpixel ids,
    with the ``scores`` (k,) and the valid unlabelled ``pixels`` (k,) of each."""

    geometry: NDArray[np.int64]
    scores: NDArray[np.float64]
    pixels: NDArray[np.int64]


def find(ask: Ask, recipe: Recipe, scores: NDArray[np.float32], item: Item, rng: np.random.Generator) -> Found:
    """The item's n best pixels or regions that may still be asked; where the budget counts their pixels, those that
    it pays for, and one more."""
    free, name, shape = free_pixels(item, scores.shape), item.sample.id, scores.shape
    if ask.superpixels is not None:
        values, pixels = score_superpixels(scores, segments(ask, item), free=free, name=name)
        chosen = choose_superpixels(len(values) if ask.by_pixels else item.n, values, pixels)
        if ask.by_pixels:
            chosen = chosen[: affordable(pixels[chosen], item.n) + 1]
        return Found(chosen, values[chosen], pixels[chosen])
    places = _places(ask, recipe, scores, item, free, rng)
    geometry = places.boxes(ask.radius, shape) if ask.unit == "region" else places.points
    return Found(geometry, places.scores, places.pixels)


def _places(
    ask: Ask, recipe: Recipe, scores: NDArray[np.float32], item: Item, free: Flags, rng: np.random.Generator
) -> Places:
    name = item.sample.id
    if ask.unit == "region":
        before, radius = _centres(item, scores.shape, ask.radius), ask.radius
        if not ask.by_pixels:
            return choose_regions(item.n, scores, radius=radius, free=free, before=before, name=name)
        budget = item.n + (2 * radius + 1) ** 2  # so that the first that is too much is among them
        found = choose_regions(free.size, scores, radius=radius, free=free, before=before, budget=budget, name=name)
        return found.take(slice(affordable(found.pixels, item.n) + 1))
    if recipe.apart:
        before = np.concatenate([np.empty((0, 2), np.int64), *item.asked])
        return choose_regions(item.n, scores, radius=0, apart=recipe.apart, free=free, before=before, name=name)
    if catalog.split_spec(recipe.select)[0] == "random":
        return pixel_pick(item.n, scores, rng, share=recipe.share or 1.0, free=free, name=name)
    return top_pixels(item.n, scores, free=free, name=name)


def affordable(costs: NDArray[np.integer[Any]], budget: int) -> int:
    """How many, taken in order, a budget pays for: it ends before the first that would be too much."""
    return int(np.searchsorted(np.cumsum(costs, dtype=np.int64), budget, side="right"))


def _centres(item: Item, shape: tuple[int, ...], radius: int) -> NDArray[np.int64]:
    """The centres of the windows asked before; those at the border were clipped."""
    boxes = np.concatenate([np.empty((0, 4), np.int64), *item.asked])
    low, high, size = boxes[:, :2], boxes[:, 2:], np.array([shape[1], shape[0]])
    return np.where(low > 0, low + radius, np.where(high < size, high - 1 - radius, size // 2))


def free_pixels(item: Item, shape: tuple[int, ...]) -> Flags:
    """The pixels of an image that may still be asked."""
    free = np.ones(shape, dtype=bool)
    for geometry in item.asked:
        if geometry.shape[1] == 4:
            for x0, y0, x1, y1 in geometry:
                free[y0:y1, x0:x1] = False
        else:
            free[geometry[:, 1], geometry[:, 0]] = False
    if item.void and item.sample.target is not None and item.sample.target.mask is not None:
        mask = read_mask(item.sample.target.mask, len(item.sample.target.classes), size=item.sample.size)
        free &= mask != void_of(mask)
    return free


def segments(ask: Ask, item: Item) -> Mask:
    """The superpixels of an image ``(h, w)``: made once, and kept beside the run."""
    assert ask.superpixels is not None
    if item.segments is not None and item.segments.is_file():
        return read_mask(item.segments, IDS, size=item.sample.size)
    pixels = np.asarray(open_image(item.sample.path, name=item.sample.id)[0])
    ids: Mask = superpixels(pixels, ask.superpixels, compactness=ask.compactness).astype(np.uint16)
    if item.segments is not None:
        write_mask(item.segments, ids)
    return ids


def outlined(ask: Ask, item: Item, geometry: NDArray[np.int64]) -> NDArray[np.int32]:
    """What is stored of chosen pixels or regions: of superpixels their pixels, (m, 3) x, y and the superpixel's id, in
    the order chosen."""
    if ask.superpixels is None:
        return geometry.astype(np.int32)
    ids = segments(ask, item)
    rank = np.full(int(ids.max()) + 1, -1)
    rank[geometry] = np.arange(len(geometry))
    y, x = np.nonzero(rank[ids] >= 0)
    order = np.argsort(rank[ids[y, x]], kind="stable")
    return np.stack([x, y, ids[y, x].astype(np.int64)], axis=1)[order].astype(np.int32)


def means(ask: Ask, item: Item, features: NDArray[Any], geometry: NDArray[np.int64]) -> Vectors:
    """The mean of features ``(h', w', d)`` over each pixel or region: ``(k, d)`` float32."""
    width, height = item.sample.size
    if ask.superpixels is not None:
        return superpixel_means(features, segments(ask, item))[geometry]
    return box_means(features, _boxes(geometry), (height, width), name=item.sample.id)


def known_means(ask: Ask, item: Item, features: NDArray[Any]) -> Vectors:
    """The same for all that was asked of the image before, in the order asked."""
    width, height = item.sample.size
    parts = [np.empty((0, features.shape[2]), np.float32)]
    for geometry in item.asked:
        if geometry.shape[1] == 3:
            numbers, owners = regions_of(geometry)
            ids = np.full((height, width), -1, np.int64)
            ids[geometry[:, 1], geometry[:, 0]] = owners
            parts.append(superpixel_means(features, ids)[:numbers])
        else:
            parts.append(box_means(features, _boxes(geometry), (height, width), name=item.sample.id))
    return np.concatenate(parts)


def majority(asked: tuple[NDArray[Any], ...], mask: Mask) -> NDArray[np.int64]:
    """The class that most labelled pixels have, in each pixel or region asked; -1 where none is labelled."""
    found: list[int] = []
    for geometry in asked:
        if geometry.shape[1] == 3:
            numbers, owners = regions_of(geometry)
            values = mask[geometry[:, 1], geometry[:, 0]]
            found += [_most(values[owners == number]) for number in range(numbers)]
        else:
            found += [_most(mask[y0:y1, x0:x1].reshape(-1)) for x0, y0, x1, y1 in _boxes(geometry).tolist()]
    return np.array(found, dtype=np.int64)


def regions_of(geometry: NDArray[Any]) -> tuple[int, NDArray[np.int64]]:
    """How many superpixels a geometry (m, 3) holds, and the position of each pixel's in the order they were chosen."""
    ids, first = np.unique(geometry[:, 2], return_index=True)
    position = np.empty(len(ids), np.int64)
    position[np.argsort(first)] = np.arange(len(ids))
    return len(ids), position[np.searchsorted(ids, geometry[:, 2])]


def _most(values: Mask) -> int:
    labelled = values[values != void_of(values)]
    return int(np.bincount(labelled).argmax()) if labelled.size else -1


def _boxes(geometry: NDArray[Any]) -> NDArray[np.int64]:
    """Windows as they are, pixels as windows of one."""
    given = np.asarray(geometry, np.int64)
    return given if given.shape[1] == 4 else np.hstack([given, given + 1])
