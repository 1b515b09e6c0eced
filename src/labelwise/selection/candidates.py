"""From maps to rows: a bounded number of regions per image, each with a score and a vector, for any selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Doubles, Rows, Vectors
from labelwise.selection.regions import choose_regions


@dataclass(frozen=True, slots=True, eq=False)
class RegionRows:
    """Regions of one or many images as rows that a selection chooses from.

    ``scores`` ``(k,)`` float64; ``vectors`` ``(k, d)`` float32; ``images`` ``(k,)`` int64; ``boxes`` ``(k, 4)`` int64
    x0, y0, x1, y1, ends excluded; ``pixels`` ``(k,)`` int64 the valid unlabelled pixels of each. Regions of one image
    do not overlap unless they were asked to.
    """

    scores: Doubles
    vectors: Vectors
    images: Rows
    boxes: Rows
    pixels: Rows

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: Array | slice) -> RegionRows:
        """These rows."""
        return RegionRows(*(getattr(self, f.name)[rows] for f in fields(self)))


def join_rows(parts: Sequence[RegionRows]) -> RegionRows:
    """The rows of several images, one image after the other. Raises SelectionError if vectors differ in length."""
    widths = sorted({part.vectors.shape[1] for part in parts})
    if len(widths) != 1:
        raise SelectionError(f"expected regions with vectors of one length, but found {widths or 'no regions'}")
    return RegionRows(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(RegionRows)))


def region_rows(
    limit: int,
    scores: Array,
    features: Array,
    *,
    image: int = 0,
    radius: int = 1,
    apart: int | None = None,
    free: Array | None = None,
    before: Array | None = None,
    name: str | None = None,
) -> RegionRows:
    """The ``limit`` best regions of an image, each with the mean of the ``features`` within it as its vector.

    ``features`` is ``(h', w', d)``: class probabilities or a network's feature map, as large as ``scores`` ``(h, w)``
    or coarser; a region's vector is the mean over the cells that it touches. Other arguments, and errors, as for
    ``choose_regions``. Which rows of all images are asked about is then an ordinary selection: ``coral`` or
    ``herding`` with ``scores`` and ``embeddings=vectors`` gives regions both uncertain and different.
    """
    _check_features(features, name)
    found = choose_regions(limit, scores, radius=radius, apart=apart, free=free, before=before, name=name)
    height, width = np.asarray(scores).shape
    boxes = found.boxes(radius, (height, width))
    vectors = box_means(features, boxes, (height, width), name=name)
    return RegionRows(found.scores, vectors, np.full(len(found), image, np.int64), boxes, found.pixels)


def box_means(features: Array, boxes: Array, shape: tuple[int, int], *, name: str | None = None) -> Vectors:
    """The mean of ``features`` ``(h', w', d)`` over the cells that each box touches: ``(n, d)`` float32.

    ``boxes`` is ``(n, 4)`` x0, y0, x1, y1, ends excluded, in an image of ``shape`` (h, w). Raises SelectionError,
    naming the image, for features of another shape or that are not finite within a box.
    """
    maps = _check_features(features, name)
    vectors = np.empty((len(boxes), maps.shape[2]), np.float32)
    coarse, fine = np.array([maps.shape[1], maps.shape[0]]), np.array([shape[1], shape[0]])
    corners = np.asarray(boxes, np.int64).reshape(-1, 4)
    cells = np.hstack([corners[:, :2] * coarse // fine, -(-corners[:, 2:] * coarse // fine)])
    for row, (left, top, right, bottom) in enumerate(cells.tolist()):
        vectors[row] = maps[top:bottom, left:right].mean(axis=(0, 1), dtype=np.float64)
    if not np.isfinite(vectors).all():
        raise SelectionError(f"expected finite features, but {name or 'the map'} has others; look at its prediction")
    return vectors


def _check_features(features: Array, name: str | None) -> Array:
    maps = np.asarray(features)
    if maps.ndim != 3 or 0 in maps.shape:
        raise SelectionError(f"expected features of shape (h, w, d), but {name or 'the map'} has {maps.shape}")
    return maps
