"""Vectors of boxes: what is cut out, computed once, decoded once, batched over images; and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelwise.embedding import objects as module
from labelwise.embedding.extractor import plain_extractor
from labelwise.embedding.objects import Crop, embed_objects
from labelwise.errors import DataError, ModelError
from labelwise.records import Sample
from labelwise.testing import make_images

EXTRACTOR = plain_extractor("pixels", size=4, interpolation=None)


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "images", 4, size=40)


def counted(monkeypatch):
    """Counts of decoded images and of computed batches from here on."""
    seen = {"opened": [], "batches": []}
    real = module.open_image
    monkeypatch.setattr(module, "open_image", lambda path: (seen["opened"].append(path.name), real(path))[1])

    def compute(batch):
        seen["batches"].append(len(batch))
        return EXTRACTOR.compute(batch)

    return seen, dataclasses.replace(EXTRACTOR, compute=compute)


def test_vectors_are_those_of_the_crops_in_the_order_of_the_samples(images, tmp_path):
    boxes = {images[2].id: np.array([[0, 0, 10, 10], [5.5, 6, 30, 20]]), images[0].id: np.array([[1, 2, 39, 38]])}
    vectors, owners = embed_objects(images, boxes, EXTRACTOR, cache=tmp_path, crop=Crop(0.1))
    assert owners.tolist() == [0, 2, 2]
    expected = []
    for sample, cut in ((images[0], (0, 0, 40, 40)), (images[2], (0, 0, 11, 11)), (images[2], (3, 4, 33, 22))):
        expected.append(EXTRACTOR.compute([EXTRACTOR.prepare(Image.open(sample.path).crop(cut))])[0])
    assert np.array_equal(vectors, np.stack(expected))


def test_nothing_is_computed_twice_and_an_image_is_opened_once(images, tmp_path, monkeypatch):
    seen, extractor = counted(monkeypatch)
    boxes = {s.id: np.array([[i, j, i + 9, j + 9] for i in range(5) for j in range(5)], float) for s in images}
    told = []

    def run(**more):
        return embed_objects(images, boxes, extractor, cache=tmp_path, progress=lambda *x: told.append(x), **more)

    first, owners = run()
    assert sorted(seen["opened"]) == sorted(s.path.name for s in images)
    assert seen["batches"] == [32, 32, 32, 4]  # 100 boxes of four images
    assert told[-1] == (100, 100, "object features")
    again, _ = run(threads=2)
    assert np.array_equal(first, again)
    assert (len(seen["opened"]), len(seen["batches"])) == (4, 4)
    boxes[images[1].id] = np.concatenate([boxes[images[1].id], [[0, 0, 40, 40], [0, 0, 40.04, 39.96]]])
    grown, owners = run()
    assert seen["opened"][4:] == [images[1].path.name]
    assert seen["batches"][4:] == [1]  # both are the whole image, to a tenth of a pixel
    assert np.array_equal(grown[owners != 1], first[np.arange(4).repeat(25) != 1])
    run(crop=Crop(0.2))
    assert seen["batches"][5:] == [32, 32, 32, 5]


def test_copies_share_their_vectors(images, tmp_path, monkeypatch):
    seen, extractor = counted(monkeypatch)
    copy = dataclasses.replace(images[0], id="copy.png")
    boxes = {s.id: np.array([[0, 0, 20, 20]]) for s in (images[0], copy)}
    vectors, owners = embed_objects([images[0], copy], boxes, extractor, cache=tmp_path)
    assert seen["batches"] == [1]
    assert np.array_equal(vectors[0], vectors[1])
    assert owners.tolist() == [0, 1]


def test_no_boxes_at_all(images, tmp_path):
    for boxes in ({}, {images[0].id: np.empty((0, 4))}):
        vectors, owners = embed_objects(images, boxes, EXTRACTOR, cache=tmp_path)
        assert vectors.shape == (0, EXTRACTOR.dim)
        assert owners.tolist() == []
    assert embed_objects([], {}, EXTRACTOR, cache=tmp_path)[0].shape == (0, EXTRACTOR.dim)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([5, 5, 5, 9], "box 1 .* no area inside the image of 40 x 40"),
        ([9, 9, 5, 5], "no area"),
        ([50, 50, 60, 60], "no area"),
        ([-9, -9, -1, -1], "no area"),
        ([0, 0, np.nan, 9], "no area"),
        ([1, 1, 1.04, 9], "no area"),
    ],
)
def test_degenerate_boxes_are_named(images, tmp_path, box, message):
    with pytest.raises(DataError, match=f"{images[1].id}: .*{message}"):
        embed_objects(images, {images[1].id: np.array([[0, 0, 9, 9], box], float)}, EXTRACTOR, cache=tmp_path)


def test_other_mistakes_are_named(images, tmp_path):
    with pytest.raises(DataError, match="'elsewhere', which is none of them"):
        embed_objects(images, {"elsewhere": np.ones((1, 4))}, EXTRACTOR, cache=tmp_path)
    with pytest.raises(DataError, match=r"boxes of shape \(n, 4\)"):
        embed_objects(images, {images[0].id: np.ones((2, 3))}, EXTRACTOR, cache=tmp_path)
    with pytest.raises(DataError, match="scan them"):
        embed_objects([Sample("x", images[0].path)], {"x": np.ones((1, 4))}, EXTRACTOR, cache=tmp_path)
    with pytest.raises(DataError, match="padding of 0 to 10"):
        Crop(-0.1)
    broken = dataclasses.replace(
        EXTRACTOR, name="nan", compute=lambda batch: np.full((len(batch), 16), np.nan, np.float32)
    )
    with pytest.raises(ModelError, match=rf"no finite features for {images[0].id} box \[0.0, 0.0, 9.0, 9.0\]"):
        embed_objects(images, {images[0].id: np.array([[0, 0, 9, 9]])}, broken, cache=tmp_path)
    images[0].path.unlink()
    with pytest.raises(DataError, match="could be read before, but not now"):
        embed_objects(images, {images[0].id: np.array([[0, 0, 9, 9]])}, EXTRACTOR, cache=tmp_path)


def test_a_failure_keeps_what_is_done(images, tmp_path, monkeypatch):
    seen, extractor = counted(monkeypatch)
    boxes = {s.id: np.array([[j, j, j + 9, j + 9] for j in range(20)], float) for s in images}
    data = images[3].path.read_bytes()
    images[3].path.unlink()
    with pytest.raises(DataError):
        embed_objects(images, boxes, extractor, cache=tmp_path)
    images[3].path.write_bytes(data)
    embed_objects(images, boxes, extractor, cache=tmp_path)
    assert sum(seen["batches"]) == 80


@given(
    st.tuples(*[st.floats(-5, 45)] * 4),
    st.floats(0, 3),
    st.booleans(),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_crops_lie_in_the_image_and_hold_the_box(corners, padding, square, size):
    x0, x1, y0, y1 = *sorted(corners[:2]), *sorted(corners[2:])
    left, top, right, bottom = Crop(padding, square).around((x0, y0, x1, y1), size)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    if x1 > 0 and x0 < size[0]:
        assert left <= max(x0, 0) + 1e-6
        assert right >= min(x1, size[0]) - 1e-6


def test_padding_is_a_share_of_the_box_and_square_keeps_the_aspect():
    assert Crop(0.1).around((10, 10, 30, 20), (100, 100)) == (8, 9, 32, 21)
    assert Crop(0).around((10, 10, 30, 20), (100, 100)) == (10, 10, 30, 20)
    assert Crop(0.1, square=True).around((10, 10, 30, 20), (100, 100)) == (8, 3, 32, 27)
    assert Crop(0.1, square=True).around((0, 0, 20, 10), (100, 100)) == (0, 0, 22, 17)
