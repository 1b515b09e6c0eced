"""Superpixels: their scores by the map beneath, choice within a budget of pixels, and how they are made."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection import choose_superpixels, score_superpixels, superpixels
from labelwise.selection.segments import superpixel_means


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.sampled_from(["mean", "sum"]))
def test_scores_equal_a_loop(seed, height, width, reduce):
    r = np.random.default_rng(seed)
    scores, ids = r.random((height, width), dtype=np.float32), r.integers(0, 6, (height, width), dtype=np.int32)
    free = r.random((height, width)) < 0.6
    found, pixels = score_superpixels(scores, ids, reduce=reduce, free=free)
    assert len(found) == len(pixels) == ids.max() + 1
    for i in range(len(found)):
        within = scores[(ids == i) & free].astype(float)
        assert pixels[i] == len(within)
        expected = 0 if len(within) == 0 else getattr(np, reduce)(within)
        assert found[i] == pytest.approx(expected, rel=1e-12)


def test_choice_skips_what_has_no_free_pixels_and_keeps_the_budget():
    scores, pixels = np.array([0.5, 0.9, 0.9, np.nan, 0.1]), np.array([10, 5, 7, 0, 3])
    assert choose_superpixels(9, scores, pixels).tolist() == [1, 2, 0, 4]
    assert choose_superpixels(2, scores, pixels).tolist() == [1, 2]
    assert choose_superpixels(9, scores, pixels, budget=21).tolist() == [1, 2]
    assert choose_superpixels(9, scores, pixels, budget=22).tolist() == [1, 2, 0]
    assert choose_superpixels(9, scores, pixels, budget=4).tolist() == []
    assert choose_superpixels(0, scores, pixels).tolist() == []
    with pytest.raises(SelectionError, match="row 3 has nan"):
        choose_superpixels(1, scores, np.ones(5))


def test_bad_maps_and_ids_are_refused():
    scores = np.ones((3, 4))
    for ids in (np.zeros((4, 3), int), np.zeros((3, 4)), np.full((3, 4), -1)):
        with pytest.raises(SelectionError, match="expected superpixel ids"):
            score_superpixels(scores, ids)
    scores[1, 1] = np.nan
    with pytest.raises(SelectionError, match=r"c\.png has nan"):
        score_superpixels(scores, np.zeros((3, 4), int), name="c.png")
    assert [a.tolist() for a in score_superpixels(np.empty((0, 3)), np.empty((0, 3), int))] == [[], []]


@pytest.mark.parametrize("colours", [True, False])
def test_slic_follows_the_picture(colours):
    pytest.importorskip("skimage")
    image = np.zeros((40, 60), np.uint8)
    image[:, 30:] = 200
    ids = superpixels(np.stack([image] * 3, -1) if colours else image, 12)
    assert ids.shape == (40, 60)
    assert ids.dtype == np.int32
    assert np.unique(ids).tolist() == list(range(ids.max() + 1))
    assert 4 <= ids.max() + 1 <= 24
    assert not set(ids[:, :30].ravel()) & set(ids[:, 30:].ravel())
    with pytest.raises(SelectionError, match="1 superpixel or more"):
        superpixels(image, 0)


def test_missing_package_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[superpixels\]'"):
        superpixels(np.zeros((4, 4), np.uint8), 2)


@pytest.mark.parametrize("coarse", [1, 3])
def test_means_over_superpixels_are_those_of_their_pixels(coarse):
    generator = np.random.default_rng(coarse)
    ids = generator.integers(-1, 6, (12, 18))
    ids[ids == 3] = 2  # a gap
    features = generator.normal(size=(12 // coarse, 18 // coarse, 4)).astype(np.float32)
    fine = features.repeat(coarse, axis=0).repeat(coarse, axis=1)
    found = superpixel_means(features, ids)
    assert found.shape == (6, 4)
    for number in (0, 1, 2, 4, 5):
        np.testing.assert_allclose(found[number], fine[ids == number].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert found[3].tolist() == [0] * 4
    assert superpixel_means(features, np.full((12, 18), -1)).shape == (0, 4)
    with pytest.raises(SelectionError, match="finite features"):
        superpixel_means(np.full((2, 2, 1), np.nan), np.zeros((4, 4), int))
