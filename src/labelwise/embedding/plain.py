"""Features that need no network and no weights: for tiny pictures, and for a first look offline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]
Vectors = NDArray[np.float32]

CELLS, DIRECTIONS = 4, 8


@dataclass(frozen=True)
class Feature:
    """``compute`` turns grey pictures ``(n, size, size)`` into vectors ``(n, d)``; ``size`` suits it best."""

    size: int
    compute: Callable[[Grey], Vectors]


def grey(image: Image.Image, size: int, resample: int) -> Grey:
    """The picture as ``(size, size)`` uint8."""
    return np.asarray(image.convert("L").resize((size, size), Image.Resampling(resample)))


def pixels(pictures: Grey) -> Vectors:
    """The pictures themselves, ``(n, size * size)``, 0 to 1."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def edges(pictures: Grey) -> Vectors:
    """How strong edges of each direction are in each cell of a 4 x 4 grid, ``(n, 128)``, scaled to length 1.

    Dalal & Triggs 2005, Histograms of oriented gradients, without overlapping blocks.
    """
    n, size = len(pictures), pictures.shape[1] // CELLS * CELLS
    down, right = np.gradient(pictures[:, :size, :size].astype(np.float32), axis=(1, 2))
    strength = np.hypot(down, right)
    turn = (np.arctan2(down, right) / (2 * np.pi) + 0.5) * DIRECTIONS
    direction = turn.astype(np.int64) % DIRECTIONS
    side = size // CELLS
    found = np.empty((n, CELLS, CELLS, DIRECTIONS), np.float32)
    for k in range(DIRECTIONS):
        found[..., k] = np.where(direction == k, strength, 0).reshape(n, CELLS, side, CELLS, side).sum(axis=(2, 4))
    vectors = found.reshape(n, -1)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)


FEATURES = {"pixels": Feature(16, pixels), "edges": Feature(32, edges)}
