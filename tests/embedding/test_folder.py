"""Vectors of a folder: every readable image once, nothing computed twice, and what is left out is named."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelwise
from labelwise.embedding import folder as module
from labelwise.embedding.files import read_vectors
from labelwise.errors import ConfigError, DataError, ModelError

TINY: dict[str, Any] = {"backbone": "test_resnet", "weights": "none", "size": 32, "threads": 1}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven pictures of several sizes and modes at several depths, one a copy, and two files that are none."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name, mode, size in (
        ("a.png", "RGB", (40, 30)),
        ("deep/er/b, c.jpg", "L", (33, 64)),
        ("deep/d.png", "RGBA", (8, 8)),
        ("ä ö.webp", "RGB", (200, 10)),
        ("e.tif", "I;16", (20, 20)),
        ("one.png", "RGB", (1, 1)),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        channels = {"RGB": (3,), "RGBA": (4,)}.get(mode, ())
        kind = np.uint16 if mode == "I;16" else np.uint8
        Image.fromarray(rng.integers(0, 255, (*size[::-1], *channels)).astype(kind)).save(root / name)
    (root / "copy.png").write_bytes((root / "a.png").read_bytes())
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (root / "empty.png").write_bytes(b"")
    return root


@pytest.mark.parametrize("how", [{"backbone": "edges"}, {"backbone": "pixels"}, TINY])
def test_every_image_has_a_vector(images: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    found = labelwise.embed(images, out=tmp_path / "x.parquet", cache=tmp_path / "cache", **how)
    ids = ["a.png", "copy.png", "deep/d.png", "deep/er/b, c.jpg", "e.tif", "one.png", "ä ö.webp"]
    assert found.ids == ids
    assert [(p.id, p.code) for p in found.problems] == [("broken.jpg", "truncated"), ("empty.png", "empty_file")]
    assert found.computed == 6
    assert (found.weights, found.losses) == (None, ())
    back_ids, back = read_vectors(tmp_path / "x.parquet")
    assert back_ids == ids
    np.testing.assert_array_equal(back, found.vectors)
    np.testing.assert_array_equal(back[0], back[1])
    assert len(np.unique(back, axis=0)) == 6


def test_the_second_time_nothing_is_computed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    (images / "a.png").rename(images / "renamed.png")
    Image.new("RGB", (9, 9), "red").save(images / "new.png")
    asked: list[list[str]] = []
    real = module.fill
    monkeypatch.setattr(module, "fill", lambda t, s, *a, **k: (asked.append([x.id for x in s]), real(t, s, *a, **k)))
    second = labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    assert asked == [["new.png"]]
    assert (first.computed, second.computed) == (6, 1)
    np.testing.assert_array_equal(first.vectors[0], second.vectors[second.ids.index("renamed.png")])
    labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    assert len(asked) == 1


def test_a_run_and_embed_share_their_cache(images: Path, tmp_path: Path) -> None:
    from labelwise.models import Place
    from labelwise.models.frozen import Frozen

    labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    model = Frozen(backbone="test_resnet", weights="none", size=32)
    place = Place(tmp_path, tmp_path / "cache", 1)
    model._place = place
    assert len(model._table) == 6


def test_half(images: Path, tmp_path: Path) -> None:
    full = labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    half = labelwise.embed(images, cache=tmp_path / "cache", half=True, out=tmp_path / "x.npy", **TINY)
    assert half.vectors.dtype == read_vectors(tmp_path / "x.npy")[1].dtype == np.float16
    np.testing.assert_allclose(half.vectors, full.vectors, rtol=2e-3, atol=1e-3)


def test_options_reach_the_network(images: Path, tmp_path: Path) -> None:
    given = [{}, {"options": {"output_stride": 8}}, {"size": 48}, {"resize": "crop"}, {"mean": [0.4] * 3}]
    found = [labelwise.embed(images, cache=tmp_path / "cache", **(TINY | one)) for one in given]
    assert [f.computed for f in found] == [6] * 5
    assert all(not np.array_equal(found[0].vectors, f.vectors) for f in found[1:])


def test_a_network_whose_features_are_longer_than_its_maps(images: Path, tmp_path: Path) -> None:
    how = TINY | {"backbone": "mobilenetv3_small_050"}
    assert labelwise.embed(images, cache=tmp_path / "cache", **how).vectors.shape == (7, 1024)


def test_mistakes(images: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    for root, part in ((tmp_path / "none", "found none"), (tmp_path / "bad", r"none that can be read \(1 cannot")):
        with pytest.raises(DataError, match=part):
            labelwise.embed(root, backbone="edges")
    with pytest.raises(DataError, match="lightly's CSV forbids"):
        labelwise.embed(images, backbone="edges", out=tmp_path / "x.csv", cache=tmp_path / "cache")
    with pytest.raises(ModelError, match="no weight file"):
        labelwise.embed(images, backbone="test_resnet", weights="nowhere.pth")
    with pytest.raises(ConfigError, match="expected a network to train, found 'edges'"):
        labelwise.embed(images, backbone="edges", train=1)


def test_a_bad_name_of_the_result_is_met_before_the_work(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scan", lambda *a, **k: pytest.fail("scanned"))
    with pytest.raises(DataError, match="suffix"):
        labelwise.embed(images, backbone="edges", out="x.pickle")


def test_without_lightly_the_way_out_is_named(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "lightly":
            raise ModuleNotFoundError("No module named 'lightly'", name="lightly")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[lightly\]'"):
        labelwise.embed(images, train=1, **TINY)
    assert labelwise.embed(images, cache=images.parent / "cache", **TINY).computed == 6
