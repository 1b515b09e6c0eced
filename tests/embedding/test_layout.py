"""The 2-D map: principal components against plain ones, the slow kinds, and how they tell what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labelwise.embedding import layout
from labelwise.embedding.layout import laid_out, principal
from labelwise.errors import ConfigError


def clusters(n: int, dim: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    centres, owner = 8 * rng.normal(size=(4, dim)), rng.integers(0, 4, n)
    return (centres[owner] + rng.normal(size=(n, dim))).astype(np.float32), owner


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 100))
def test_principal_components_are_those_of_the_singular_value_decomposition(n: int, d: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32) * np.arange(1, d + 1, dtype=np.float32)
    found = principal(vectors, 2)
    assert found.shape == (n, min(2, n, d))
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)[: found.shape[1]]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), values, rtol=2e-3, atol=1e-3)


def test_principal_components_of_half_precision_and_of_nothing() -> None:
    vectors = clusters(50)[0]
    np.testing.assert_allclose(principal(vectors.astype(np.float16), 2), principal(vectors, 2), atol=0.1)
    assert principal(np.zeros((0, 5), np.float32), 2).shape == (0, 0)
    assert (principal(np.ones((5, 3), np.float32), 2) == 0).all()


def test_large_ones_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clusters(300)[0]
    whole = principal(vectors, 2)
    monkeypatch.setattr(layout, "_BLOCK", 7)
    np.testing.assert_allclose(principal(vectors, 2), whole, atol=1e-2)


def test_tsne_keeps_clusters_apart() -> None:
    vectors, owner = clusters(120)
    found = laid_out("tsne", vectors)
    far = np.linalg.norm(found[:, None] - found[None], axis=2)
    far[np.diag_indices(len(far))] = np.inf
    assert (owner[far.argmin(axis=1)] == owner).mean() > 0.95


@pytest.mark.parametrize(
    "vectors", [np.ones((30, 4), np.float32), np.eye(3, dtype=np.float32), np.ones((20, 1), np.float32)]
)
def test_what_has_no_neighbours_is_laid_flat(vectors: NDArray[np.float32]) -> None:
    found = laid_out("tsne", vectors)
    assert found.shape == (len(vectors), 2)
    assert np.isfinite(found).all()


def test_an_absent_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_MODULES", {"umap": "not_there_at_all"})
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[map\]'"):
        laid_out("umap", np.ones((30, 4), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["umap", "pacmap"])
def test_the_other_kinds(kind: str) -> None:
    pytest.importorskip(kind)
    vectors, owner = clusters(200)
    found = laid_out(kind, vectors)
    far = np.linalg.norm(found[:, None] - found[None], axis=2)
    far[np.diag_indices(len(far))] = np.inf
    assert (owner[far.argmin(axis=1)] == owner).mean() > 0.9


def program(kind: str, source: Path, out: Path) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "labelwise.embedding.layout", kind, str(source), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        return [json.loads(line) for line in process.stdout]


@pytest.mark.slow
def test_the_program_tells_how_far_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", clusters(60)[0])
    told = program("tsne", tmp_path / "v.npy", tmp_path / "out.npy")
    assert told[-1] == {"ready": True}
    assert any(line.get("total") == 1000 for line in told)
    assert np.load(tmp_path / "out.npy").shape == (60, 2)
    (wrong,) = program("tsne", tmp_path / "absent.npy", tmp_path / "other.npy")
    assert "absent.npy" in str(wrong["wrong"])
    assert not (tmp_path / "other.npy").exists()
