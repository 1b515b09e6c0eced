"""The sets of vectors: A and B synthetic, C real features; each written once, as a .npy file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
_ROWS = 50_000  # made at a time


def made(name: str, size: int, width: int, cache: Path, data: Path, weights: Path) -> Path | None:
    """The file of a set, made if it is not there; None for C without its pictures or weights."""
    path = cache / (f"{name}_{size}_{width}.npy" if name != "C" else f"C_{size}.npy")
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.npy")
    if name == "C":
        found = features(size, data, weights)
        if found is None:
            return None
        np.save(beside, found)
    else:
        rows = np.lib.format.open_memmap(beside, "w+", np.float32, (size, width))
        make = gaussian if name == "A" else Clusters(width)
        for part in range(0, size, _ROWS):
            stop = min(part + _ROWS, size)
            rows[part:stop] = make(stop - part, width, np.random.default_rng((0, part)))
        del rows
    return beside.replace(path)


def gaussian(size: int, width: int, rng: np.random.Generator) -> Vectors:
    """Set A: independent Gaussian numbers, scaled to length 1."""
    return _unit(rng.standard_normal((size, width), dtype=np.float32))


class Clusters:
    """Set B: 2,000 clusters, sizes falling as rank^-0.7, variances as 1/i; 35 % of the variance is within; rotated,
    off-centre, of length 1."""

    def __init__(self, width: int, number: int = 2000) -> None:
        rng = np.random.default_rng(0)
        self.scale = (1 / np.sqrt(np.arange(1, width + 1))).astype(np.float32)
        chances = np.arange(1, number + 1) ** -0.7
        self.chances = chances / chances.sum()
        self.centres = rng.standard_normal((number, width), dtype=np.float32) * self.scale * np.float32(0.65**0.5)
        self.centres += 0.1 * rng.standard_normal(width, dtype=np.float32)
        self.turn = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)

    def __call__(self, size: int, width: int, rng: np.random.Generator) -> Vectors:
        """Some rows."""
        found = self.centres[rng.choice(len(self.centres), size, p=self.chances)]
        found += rng.standard_normal((size, width), dtype=np.float32) * self.scale * np.float32(0.35**0.5)
        return _unit(found @ self.turn)


def features(size: int, data: Path, weights: Path) -> Vectors | None:
    """Set C: CIFAR-10 test pictures through MobileNetV2 at 96 pixels, 1280 numbers each, as they come."""
    pictures, file = data / "cifar10_test" / "images", weights / "mobilenetv2_100_same.safetensors"
    if not pictures.is_dir() or not file.is_file():
        return None
    from labelwise.data import class_folders
    from labelwise.embedding.backbone import NetworkSpec, read_pixels
    from labelwise.embedding.extractor import network_extractor

    samples = class_folders.read(pictures).samples
    samples = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))[:size]]
    spec = NetworkSpec("mobilenetv2_100", str(file))
    extractor = network_extractor(spec, size=96, resize="squash", interpolation=None, mean=None, std=None)
    found, waiting = [], []
    for i, pixels in enumerate(read_pixels(samples, extractor.prepare, threads=2)):
        waiting.append(pixels)
        if len(waiting) == 64 or i == len(samples) - 1:
            found.append(extractor.compute(waiting))
            waiting = []
    return np.concatenate(found)


def _unit(vectors: Vectors) -> Vectors:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
