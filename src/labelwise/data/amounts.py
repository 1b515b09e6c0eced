"""How much answers about images, regions and pixels hold: valid pixels, connected areas, pixels of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.masks import read_mask, void_of
from labelwise.records import Query, Target


def amounts(answered: Iterable[tuple[Query, Target]], clicks: dict[str, int] | None = None) -> dict[str, int]:
    """What was labelled, by name: ``images``, ``regions``, valid ``pixels`` and ``clicks``.

    ``regions`` are windows and superpixels that were asked. ``clicks`` are those counted by query; where nobody counted
    them, the fewest that name all: one for each pixel asked by itself, and one for each connected area of one class in
    a region or image.
    """
    images: set[str] = set()
    totals = Counter({"regions": 0, "pixels": 0, "clicks": 0})
    for query, target in answered:
        images.add(query.sample_id)
        single = query.geometry is not None and query.geometry.shape[1] == 2
        pixels, areas = _inside(target, not single)
        totals["regions"] += _regions(query)
        totals["pixels"] += pixels
        totals["clicks"] += (clicks or {}).get(query.id, pixels if single else areas)
    return {"images": len(images), **totals}


def _regions(query: Query) -> int:
    if query.geometry is None or query.geometry.shape[1] == 2:
        return 0
    return len(query.geometry) if query.geometry.shape[1] == 4 else len(np.unique(query.geometry[:, 2]))


def _inside(target: Target, areas: bool) -> tuple[int, int]:
    """Valid pixels of a target, and connected areas of one class among them if they are asked for, else 0."""
    if target.mask is not None:
        if not target.mask.is_file():
            return 0, 0
        return _of_file(target.mask, target.mask.stat().st_mtime_ns, len(target.classes))
    if target.geometry is None or not areas:
        return (0 if target.geometry is None else len(target.geometry)), 0
    codes = target.codes if target.codes is not None else np.unique(target.classes, return_inverse=True)[1]
    return len(target.geometry), connected_areas(np.asarray(target.geometry), codes)


@lru_cache(maxsize=100_000)
def _of_file(mask: Path, _changed: int, classes: int) -> tuple[int, int]:
    values = read_mask(mask, classes)
    y, x = np.nonzero(values != void_of(values))
    return len(x), connected_areas(np.stack([x, y], axis=1), values[y, x])


def connected_areas(points: NDArray[Any], codes: NDArray[Any]) -> int:
    """How many areas pixels ``(n, 2)``, x before y, make whose neighbours in a row or column have one class ``(n,)``.

    Each pixel is there once. Works on runs of pixels in rows, which are few, and not on the picture, which may be
    large and nearly empty.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(points):
        return 0
    x, y = points.T.astype(np.int64)
    width = int(x.max()) + 2  # a row's end is no neighbour of the next one's begin
    places = y * width + x
    if not (np.diff(places) > 0).all():
        order = np.argsort(places)
        places, codes = places[order], codes[order]
    begins = np.flatnonzero(np.append(True, (np.diff(places) != 1) | (codes[1:] != codes[:-1])))
    first, last, kind = places[begins], places[np.append(begins[1:], len(places)) - 1], codes[begins]
    # the runs of the next row that a run touches follow each other
    low = np.searchsorted(last, first + width)
    many = np.maximum(0, np.searchsorted(first, last + width, side="right") - low)
    above = np.repeat(np.arange(len(first)), many)
    below = np.arange(len(above)) - np.repeat(np.cumsum(many) - many, many) + low[above]
    joined = kind[above] == kind[below]
    edges = (np.ones(int(joined.sum()), bool), (above[joined], below[joined]))
    return int(connected_components(coo_array(edges, shape=(len(first),) * 2), directed=False)[0])
