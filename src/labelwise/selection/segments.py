"""Superpixels as regions: making them, scoring them by the map beneath, and choosing them within a budget of pixels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection.picks import Array, Doubles, Rows, Vectors, check_scores, descending
from labelwise.selection.places import check_number, read_map


def superpixels(image: NDArray[Any], n: int, *, compactness: float = 10.0) -> NDArray[np.int32]:
    """About n connected superpixels of an image: ``(h, w)`` int32 ids from 0 on, without gaps (SLIC).

    ``image`` is ``(h, w, 3)`` or ``(h, w)``, uint8 or floats in 0 to 1. A higher ``compactness`` makes them squarer.
    Raises ConfigError if scikit-image is not installed. Achanta et al. 2012, SLIC superpixels compared to
    state-of-the-art superpixel methods.
    """
    try:
        from skimage.segmentation import slic
    except ImportError:
        raise ConfigError(
            "superpixels need scikit-image, which is not installed: pip install 'labelwise[superpixels]'"
        ) from None
    if image.ndim not in (2, 3) or 0 in image.shape or n < 1:
        raise SelectionError(f"expected an image (h, w, 3) and 1 superpixel or more, found {image.shape} and {n}")
    colours = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image  # so that compactness means the same
    found = slic(colours, n_segments=n, compactness=compactness, start_label=0)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape).astype(np.int32)


def score_superpixels(
    scores: Array,
    ids: Array,
    *,
    reduce: Literal["mean", "sum"] = "mean",
    free: Array | None = None,
    name: str | None = None,
) -> tuple[Doubles, Rows]:
    """The mean or sum of the scores over each superpixel's free pixels ``(m,)``, and how many those are ``(m,)``.

    ``scores`` is ``(h, w)``; ``ids`` ``(h, w)`` integers from 0 to m - 1; ``free`` ``(h, w)`` bool marks the valid,
    unlabelled pixels (None: all). A superpixel without any has score 0 and 0 pixels. Raises SelectionError, naming the
    image, if a free pixel's score is not finite or the ids do not fit.
    """
    given = read_map(scores, free, name)
    numbers = np.asarray(ids)
    if numbers.shape != given.scores.shape or numbers.dtype.kind not in "iu" or (numbers.size and numbers.min() < 0):
        raise SelectionError(
            f"expected superpixel ids, integers of 0 or more of shape {given.scores.shape}, but {given.name} has "
            f"{numbers.dtype} of {numbers.shape}"
        )
    given.between(np.inf, np.inf, 0)  # refuses numbers that are not finite
    count = int(numbers.max()) + 1 if numbers.size else 0
    chosen = numbers[given.free]
    pixels = np.bincount(chosen, minlength=count)
    totals: Doubles = np.bincount(chosen, weights=given.scores[given.free], minlength=count).astype(np.float64)
    if reduce == "mean":
        totals = totals / np.maximum(pixels, 1)
    return totals, np.asarray(pixels, np.int64)


def superpixel_means(features: Array, ids: Array) -> Vectors:
    """The mean of the features over the pixels of each superpixel: ``(m, d)`` float32.

    ``features`` is ``(h', w', d)``, as large as ``ids`` ``(h, w)`` or coarser: a pixel has those of the cell that it
    lies in. Pixels with an id below 0 belong to none; a superpixel without pixels has zeros. Raises SelectionError if
    a feature that counts is not finite.
    """
    from scipy.sparse import coo_array

    maps, numbers = np.asarray(features), np.asarray(ids)
    (height, width), (high, wide) = numbers.shape, maps.shape[:2]
    rows = np.arange(height) * high // height
    columns = np.arange(width) * wide // width
    cells = (rows[:, None] * wide + columns)[numbers >= 0]
    owners = numbers[numbers >= 0].astype(np.int64)
    count = int(owners.max()) + 1 if len(owners) else 0
    weights = coo_array((np.ones(len(owners)), (owners, cells)), shape=(count, high * wide)).tocsr()
    totals = weights @ maps.reshape(high * wide, -1).astype(np.float64)
    means = totals / np.maximum(np.bincount(owners, minlength=count), 1)[:, None]
    if not np.isfinite(means).all():
        raise SelectionError("expected finite features, found others in a superpixel; look at the prediction")
    return np.asarray(means, np.float32)


def choose_superpixels(n: int, scores: Array, pixels: Array, *, budget: int | None = None) -> Rows:
    """Ids of the n superpixels with the highest scores that have free pixels, best first; ties go to the lowest id.

    ``scores`` and ``pixels`` are ``(m,)``, as from ``score_superpixels``. ``budget`` in pixels ends the choice before
    the first superpixel that would go beyond it. Raises SelectionError if a score is not finite.
    """
    counts = np.asarray(pixels, np.int64)
    rows = np.flatnonzero(counts > 0)
    best = rows[descending(check_scores(scores, rows))][: check_number(n, "superpixels")]
    if budget is None:
        return best
    return best[: int(np.searchsorted(np.cumsum(counts[best]), budget, side="right"))]
