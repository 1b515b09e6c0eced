"""What can be picked from: joined by id, in the order of the vectors, without a copy of them where none is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.errors import DataError
from labelwise.picking.pool import Pool, folder_pool, list_folder, vectors_pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        Image.new("L", (4, 4), 50 * i).save(tmp_path / f"{i}.png")
    return tmp_path


def pool_of(folder: Path, ids: list[str], vectors: np.ndarray) -> Pool:
    return folder_pool(
        list_folder(folder),
        embed=True,
        vectors=(ids, vectors),
        source=Path("v.npy"),
        cache=folder / "cache",
        threads=1,
        progress=lambda *_: None,
    )


def test_vectors_are_not_copied_where_the_images_are_those_of_the_file(folder: Path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    found = pool_of(folder, ["3.png", "1.png", "2.png", "0.png"], vectors)
    assert found.ids == ("3.png", "1.png", "2.png", "0.png")
    assert [s.id for s in found.samples] == list(found.ids)
    assert found.embeddings is not None
    assert np.shares_memory(found.embeddings, vectors)
    part = pool_of(folder, ["gone", "1.png", "2.png"], vectors[:3])
    assert part.embeddings is not None
    assert np.shares_memory(part.embeddings, vectors)
    np.testing.assert_array_equal(part.embeddings, vectors[1:3])
    apart = pool_of(folder, ["1.png", "gone", "2.png"], vectors[:3])
    np.testing.assert_array_equal(apart.embeddings, vectors[[0, 2]])
    assert sorted(p.id for p in apart.problems) == ["0.png", "3.png"]


def test_vectors_alone(tmp_path: Path) -> None:
    vectors = np.eye(2, dtype=np.float16)
    found = vectors_pool((["b", "a"], vectors), tmp_path)
    assert (found.ids, found.samples, found.root) == (("b", "a"), (), None)
    assert found.embeddings is vectors
    with pytest.raises(DataError, match="'b' twice"):
        vectors_pool((["b", "b"], vectors), tmp_path)
    with pytest.raises(DataError, match="found none; check the file"):
        vectors_pool(([], vectors[:0]), tmp_path)


def test_features_stay_on_the_disk(folder: Path) -> None:
    def pool() -> Pool:
        features = {"backbone": "pixels", "size": 2}
        cache = folder.with_name(f"{folder.name}-cache")
        return folder_pool(
            list_folder(folder), embed=True, features=features, cache=cache, threads=1, progress=lambda *_: None
        )

    assert isinstance(pool().embeddings, np.memmap)
    np.testing.assert_allclose(np.asarray(pool().embeddings)[:, 0] * 255, [0, 50, 100, 150])
