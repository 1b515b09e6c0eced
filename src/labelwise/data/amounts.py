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
        pixels, areas = _inside(target)
        totals["regions"] += _regions(query)
        totals["pixels"] += pixels
        single = query.geometry is not None and query.geometry.shape[1] == 2
        totals["clicks"] += (clicks or {}).get(query.id, pixels if single else areas)
    return {"images": len(images), **totals}


def _regions(query: Query) -> int:
    if query.geometry is None or query.geometry.shape[1] == 2:
        return 0
    return len(query.geometry) if query.geometry.shape[1] == 4 else len(np.unique(query.geometry[:, 2]))


def _inside(target: Target) -> tuple[int, int]:
    """Valid pixels of a target, and connected areas of one class among them."""
    if target.mask is not None:
        if not target.mask.is_file():
            return 0, 0
        return _of_file(target.mask, target.mask.stat().st_mtime_ns, len(target.classes))
    if target.geometry is None or not len(target.geometry):
        return 0, 0
    x, y = np.asarray(target.geometry, np.int64).T
    values = np.full((int(y.max() - y.min()) + 1, int(x.max() - x.min()) + 1), -1)
    values[y - y.min(), x - x.min()] = target.codes if target.codes is not None else np.arange(len(x))
    return len(x), _areas(values)


@lru_cache(maxsize=100_000)
def _of_file(mask: Path, _changed: int, classes: int) -> tuple[int, int]:
    found = read_mask(mask, classes)
    values = np.where(found == void_of(found), -1, found.astype(np.int64))
    return int((values >= 0).sum()), _areas(values)


def _areas(values: NDArray[Any]) -> int:
    """Connected areas of one value each in ``(h, w)``; below 0 is none."""
    from scipy.ndimage import label

    return sum(int(label(values == value)[1]) for value in np.unique(values) if value >= 0)
