"""Regions as rows: their vectors are means over the window, and ordinary selections choose among them."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.errors import SelectionError
from labelwise.selection import choose_regions, coral, join_rows, region_rows, within

r = np.random.default_rng(0)


def test_vectors_are_means_over_the_window():
    scores, probs = r.random((20, 30)), r.random((20, 30, 4)).astype(np.float32)
    free = r.random((20, 30)) < 0.8
    found = region_rows(7, scores, probs, image=5, radius=2, free=free, before=np.array([[3, 3]]))
    plain = choose_regions(7, scores, radius=2, free=free, before=np.array([[3, 3]]))
    assert found.scores.tolist() == plain.scores.tolist()
    assert found.pixels.tolist() == plain.pixels.tolist()
    assert found.images.tolist() == [5] * 7
    for (x0, y0, x1, y1), vector in zip(found.boxes, found.vectors, strict=True):
        np.testing.assert_allclose(vector, probs[y0:y1, x0:x1].mean((0, 1)), rtol=1e-6)


def test_coarser_features_are_averaged_over_the_cells_touched():
    scores = np.zeros((16, 24), np.float32)
    scores[7, 8] = 1  # its window spans rows 6 to 8 and columns 7 to 9: cells 0 and 1 of 8 pixels both ways
    features = np.arange(6.0).reshape(2, 3, 1)
    assert region_rows(1, scores, features).vectors.tolist() == [[(0 + 1 + 3 + 4) / 4]]
    assert region_rows(1, scores, features, radius=0).vectors.tolist() == [[1]]


def test_rows_of_many_images_go_through_a_selection():
    parts = [region_rows(10, r.random((20, 20)), r.random((20, 20, 3)), image=i) for i in range(4)]
    rows = join_rows(parts)
    assert len(rows) == 40
    picks = coral(12, np.arange(40), np.array([], int), rows.scores, rows.vectors).rows
    chosen = rows.take(picks)
    assert len(chosen) == 12
    fit = within(chosen.pixels, 50)
    assert chosen.pixels[:fit].sum() <= 50 < chosen.pixels[: fit + 1].sum()


def test_bad_features_and_joins_are_refused():
    scores = r.random((5, 5))
    with pytest.raises(SelectionError, match=r"\(h, w, d\), but d\.png"):
        region_rows(1, scores, np.ones((5, 5)), name="d.png")
    with pytest.raises(SelectionError, match=r"finite features, but d\.png"):
        region_rows(3, scores, np.full((5, 5, 2), np.nan), name="d.png")
    with pytest.raises(SelectionError, match="no regions"):
        join_rows([])
    with pytest.raises(SelectionError, match=r"one length, but found \[2, 3\]"):
        join_rows([region_rows(1, scores, np.ones((5, 5, d))) for d in (2, 3)])
    empty = region_rows(0, scores, np.ones((5, 5, 2)))
    assert empty.vectors.shape == (0, 2)
    assert len(join_rows([empty, empty])) == 0
