"""The 2-D map of many vectors: principal components at once; t-SNE, UMAP and PaCMAP by their libraries, as a program.

Run as ``python -m labelwise.embedding.layout KIND VECTORS.npy OUT.npy``, it says on its output how far it is, one JSON
a line, and ends when its input is closed: who started it may be gone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import ConfigError, DataError
from labelwise.selection.picks import chunks

Vectors = NDArray[Any]
Coordinates = NDArray[np.float32]

KEPT = 50  # components that the slow kinds start from
_MORE, _TURNS, _BLOCK = 10, 4, 8192
_NEIGHBOURS = 15


def principal(vectors: Vectors, count: int) -> NDArray[np.float32]:
    """The first principal components of vectors ``(n, d)``: their scores ``(n, min(count, n, d))``, float32.

    Randomised (Halko, Martinsson & Tropp 2011, algorithm 4.4) with a fixed start; each axis points to where its entry
    largest in size is positive. Reads the vectors a block at a time.
    """
    n, d = vectors.shape
    count = min(count, n, d)
    if not count:
        return np.zeros((n, 0), np.float32)
    mean = np.zeros(d)
    for part in chunks(n, _BLOCK):
        mean += vectors[part].sum(axis=0, dtype=np.float64)
    mean = (mean / n).astype(np.float32)
    width = min(d, count + _MORE)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((d, width)))[0]
    for _ in range(_TURNS if width < d else 0):
        basis = np.linalg.qr(_squared_times(vectors, mean, basis))[0]
    small = basis.T @ _squared_times(vectors, mean, basis)
    values, turned = np.linalg.eigh((small + small.T) / 2)
    axes = basis @ turned[:, np.argsort(-values, kind="stable")[:count]]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(count)] < 0, -1, 1)
    scores = np.empty((n, count), np.float32)
    for part in chunks(n, _BLOCK):
        scores[part] = (vectors[part].astype(np.float32) - mean) @ axes.astype(np.float32)
    return scores


def _squared_times(vectors: Vectors, mean: NDArray[np.float32], basis: NDArray[Any]) -> NDArray[np.float64]:
    """The scatter matrix times ``basis`` ``(d, k)``, without making the matrix."""
    narrow, found = basis.astype(np.float32), np.zeros(basis.shape)
    for part in chunks(len(vectors), _BLOCK):
        block = vectors[part].astype(np.float32) - mean
        found += block.T @ (block @ narrow)
    return found


def _tsne(vectors: Coordinates, seed: int) -> Coordinates:
    from sklearn.manifold import TSNE

    perplexity = max(1.0, min(30.0, (len(vectors) - 1) / 3))
    made = TSNE(2, perplexity=perplexity, init=_start(vectors), random_state=seed, verbose=2, n_jobs=_threads())
    return np.asarray(made.fit_transform(vectors), np.float32)


def _umap(vectors: Coordinates, seed: int) -> Coordinates:
    import umap

    near = max(2, min(_NEIGHBOURS, len(vectors) - 1))
    made = umap.UMAP(n_neighbors=near, init=_start(vectors), random_state=seed, verbose=True, n_jobs=1)
    return np.asarray(made.fit_transform(vectors), np.float32)


def _pacmap(vectors: Coordinates, seed: int) -> Coordinates:
    import pacmap

    made = pacmap.PaCMAP(n_components=2, n_neighbors=None, random_state=seed, verbose=True, apply_pca=False)
    return np.asarray(made.fit_transform(vectors, init="pca"), np.float32)


def _start(vectors: Coordinates) -> Coordinates:
    """The first two components, small: what is far apart begins far apart."""
    first = vectors[:, :2]
    scale = float(first[:, 0].std()) or 1.0
    return np.asarray(first / scale * 1e-4 if scale else first, np.float32)


def _threads() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


KINDS: Mapping[str, Callable[[Coordinates, int], Coordinates]] = {"tsne": _tsne, "umap": _umap, "pacmap": _pacmap}
_MODULES = {"tsne": "sklearn", "umap": "umap", "pacmap": "pacmap"}
FEWEST = 8  # images below which neighbours mean nothing: these kinds give the principal components


def lacking(kind: str) -> str:
    """What must be installed for this kind of map, in one line; empty if nothing."""
    if importlib.util.find_spec(_MODULES[kind]) is not None:
        return ""
    return f"{_MODULES[kind]} is not installed: pip install 'labelwise[map]'"


def laid_out(kind: str, vectors: Vectors, *, seed: int = 0) -> Coordinates:
    """Coordinates ``(n, 2)`` of vectors ``(n, d)``, begun from their principal components.

    By t-SNE (van der Maaten & Hinton 2008), UMAP (McInnes 2018) or PaCMAP (Wang 2021). Raises ConfigError where the
    library is not installed.
    """
    if why := lacking(kind):
        raise ConfigError(why)
    reduced = principal(vectors, KEPT)
    # numba compiles single precision; a scale of its own would only move the learning rates.
    scale = float(reduced[:, :1].std()) if len(reduced) else 0.0
    if len(reduced) < FEWEST or scale == 0 or reduced.shape[1] < 2:
        return flat(reduced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about the seed and about threads
        found = KINDS[kind](np.ascontiguousarray(reduced / scale), seed)
    if not np.isfinite(found).all():
        raise DataError(f"{kind} gave coordinates that are not finite: choose another map")
    return found


def flat(scores: Coordinates) -> Coordinates:
    """The first two columns; zeros where there are fewer."""
    found = np.zeros((len(scores), 2), np.float32)
    found[:, : scores.shape[1]] = scores[:, :2]
    return found


_STEPS = (
    re.compile(r"(\d+)\s*/\s*(\d+)"),  # a bar: UMAP's epochs
    re.compile(r"Iteration:?\s+(\d+)()"),
)
_TOTALS = {"tsne": 1000, "pacmap": 450, "umap": 500}


class _Heard:
    """What a library prints, turned into how far it is."""

    def __init__(self, kind: str, out: TextIO) -> None:
        self.kind, self.out = kind, out

    def write(self, text: str) -> int:
        for pattern in _STEPS:
            if found := pattern.search(text):
                total = int(found[2] or _TOTALS[self.kind])
                self.out.write(json.dumps({"done": min(int(found[1]), total), "total": total}) + "\n")
                self.out.flush()
                break
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(3)


def main(kind: str, vectors: str, out: str) -> None:
    """Lay out the vectors of a file and write the coordinates, whole or not at all; a mistake is told as JSON."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    said = sys.stdout
    sys.stdout = sys.stderr = _Heard(kind, said)
    import logging

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, force=True)
    try:
        found = laid_out(kind, np.load(vectors, mmap_mode="r"))
        beside = Path(out).with_suffix(f".{os.getpid()}.partial")
        with beside.open("wb") as file:
            np.save(file, found)
        beside.replace(out)
        answer: dict[str, object] = {"ready": True}
    except Exception as error:
        answer = {"wrong": " ".join(str(error).split())[:300] or type(error).__name__}
    said.write(json.dumps(answer) + "\n")
    said.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
