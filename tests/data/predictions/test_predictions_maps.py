"""Probability maps: one file a picture, read when asked for; shapes, logits, and pictures that will not do."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelwise.data.predictions import read
from labelwise.errors import DataError

IDS = ("a.jpg", "sub/b.png")
CLASSES = ["sky", "road", "car"]


def probs(seed=0, shape=(4, 5)):
    return np.random.default_rng(seed).dirichlet(np.ones(3), shape).astype(np.float32)


def maps(folder, ids=IDS, classes=CLASSES, **options):
    return read(folder, ids, classes=classes, **options)


def test_maps_are_read_as_they_are_asked_for(tmp_path):
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "a.npy", probs(0).astype(np.float16))
    np.savez_compressed(tmp_path / "sub" / "b.npz", probs=probs(1, (2, 7)), other=np.zeros(3))
    np.save(tmp_path / "c.npy", probs(2))
    found = maps(tmp_path)
    assert (found.task, found.classes, found.ids, found.unknown) == ("segment", tuple(CLASSES), IDS, ("c",))
    for _ in range(2):
        one, two = found
        np.testing.assert_allclose(one.probs, probs(0), atol=1e-3)
        np.testing.assert_allclose(two.probs, probs(1, (2, 7)), atol=1e-6)
        np.testing.assert_allclose(one.probs.sum(-1), 1, atol=1e-6)
    (tmp_path / "sub" / "b.npz").unlink()
    stream = iter(found)
    assert next(stream).id == "a.jpg"
    with pytest.raises(DataError, match=r"b\.npz: expected an array, found"):
        next(stream)


def test_channels_first_must_be_declared(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(probs(), -1, 0))
    with pytest.raises(DataError, match=r"shape \(h, w, 3\), found \(3, 4, 5\); give channels=first"):
        maps(tmp_path)
    np.testing.assert_allclose(next(iter(maps(tmp_path, channels="first"))).probs, probs(), atol=1e-6)


def test_logits_and_sigmoids_must_be_declared(tmp_path):
    logits = np.log(probs()) + 3
    np.save(tmp_path / "a.npy", logits)
    with pytest.raises(DataError, match=r"a\.npy: pixel x 0, y 0: expected probabilities of 0 to 1, .*logits=true"):
        next(iter(maps(tmp_path)))
    np.testing.assert_allclose(next(iter(maps(tmp_path, logits=True))).probs, probs(), atol=1e-5)
    alone = np.full((2, 2, 3), 0.9, np.float32)
    np.save(tmp_path / "a.npy", alone)
    with pytest.raises(DataError, match="sum to 1"):
        next(iter(maps(tmp_path)))
    assert next(iter(maps(tmp_path, independent=True))).independent


def test_a_number_that_is_not_finite_names_the_pixel(tmp_path):
    values = probs()
    values[3, 2, 1] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r"a\.npy: pixel x 2, y 3: expected finite numbers"):
        next(iter(maps(tmp_path)))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 5), np.uint8), "class indices hold no probabilities"),
        (np.zeros((4, 5, 3), np.int64), "class indices hold no probabilities"),
        (np.zeros((4, 5), np.float32), r"shape \(h, w, 3\), found \(4, 5\); mend"),
        (np.zeros((4, 5, 4), np.float32), r"shape \(h, w, 3\), found \(4, 5, 4\); mend"),
        (np.zeros((0, 5, 3), np.float32), r"found \(0, 5, 3\)"),
        (np.array([{}]), "class indices"),
    ],
)
def test_arrays_that_are_no_maps_are_refused_at_once(tmp_path, array, said):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=said) as error:
        maps(tmp_path)
    assert "\n" not in str(error.value)


def test_broken_files(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.npy: expected an array, found"):
        maps(tmp_path)
    (tmp_path / "a.npy").unlink()
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"a\.npz: expected an array, found"):
        maps(tmp_path)
    np.savez(tmp_path / "a.npz", x=probs(), y=probs())
    with pytest.raises(DataError, match="one array, or one called probs, found 2"):
        maps(tmp_path)


def test_a_file_that_is_cut_off_is_told_when_it_is_read(tmp_path):
    np.save(tmp_path / "a.npy", probs())
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-7])
    with pytest.raises(DataError, match=r"a\.npy: expected an array"):
        next(iter(maps(tmp_path)))


def test_pictures_of_class_indices_hold_no_probabilities(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected probabilities in \.npy or \.npz, found a picture"):
        maps(tmp_path)


def test_classes_must_be_declared(tmp_path):
    np.save(tmp_path / "a.npy", probs())
    with pytest.raises(DataError, match="give classes="):
        maps(tmp_path, classes=None)
