"""Features without a network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelwise.embedding.plain import FEATURES, edges, grey, pixels


def test_pixels_are_the_picture():
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert np.array_equal(pixels(picture), np.arange(16, dtype=np.float32)[None] / np.float32(255))


def test_edges_are_the_sums_of_gradients_by_cell_and_direction():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    down, right = np.gradient(picture.astype(np.float32))
    wanted = np.zeros((4, 4, 8))
    for y in range(32):
        for x in range(32):
            angle = np.arctan2(down[y, x], right[y, x]) / (2 * np.pi) + 0.5
            wanted[y // 8, x // 8, int(angle * 8) % 8] += np.hypot(down[y, x], right[y, x])
    assert edges(picture[None])[0] == pytest.approx(wanted.ravel() / np.linalg.norm(wanted), abs=1e-5)


@pytest.mark.parametrize("kind", sorted(FEATURES))
@pytest.mark.parametrize("size", [4, 7, 32])
def test_every_picture_gives_finite_numbers_that_do_not_depend_on_the_batch(kind, size):
    pictures = np.random.default_rng(1).integers(0, 256, (3, size, size)).astype(np.uint8)
    pictures[0] = 7
    vectors = FEATURES[kind].compute(pictures)
    assert np.isfinite(vectors).all()
    assert np.array_equal(FEATURES[kind].compute(pictures[1:2])[0], vectors[1])


def test_grey_resizes_any_picture():
    assert grey(Image.new("RGB", (5, 9), (255, 0, 0)), 8, 2).shape == (8, 8)
