"""How an image becomes a vector: by a network, or plainly; and the table filled with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import PositiveInt

from labelwise.embedding import plain
from labelwise.embedding.backbone import (
    INTERPOLATIONS,
    NetworkSpec,
    Pixels,
    Preprocessing,
    create_network,
    device,
    feature_length,
    fingerprint,
    preprocessing_of,
    read_pixels,
    to_input,
)
from labelwise.embedding.table import Table
from labelwise.engine import Engine, Work
from labelwise.engine.local import Local
from labelwise.errors import ModelError
from labelwise.records import Sample

Vectors = NDArray[np.float32]
BATCH = 32
CHUNK = 16 * BATCH  # images of one batch of an engine: whole batches, so that vectors do not depend on the engine


@dataclass(frozen=True)
class Extractor:
    """``prepare`` turns a picture into pixels, in threads; ``compute`` a batch of pixels into vectors ``(n, dim)``.

    ``name`` stands for everything that decides what a vector is; it names the table's folder. ``preprocessing`` is that
    of a network, None for plain features.
    """

    name: str
    dim: int
    about: Mapping[str, object]
    prepare: Callable[[Image.Image], Pixels]
    compute: Callable[[Sequence[Pixels]], Vectors]
    preprocessing: Preprocessing | None = None

    def table(self, cache: Path) -> Table:
        """The table of these vectors in a cache folder."""
        return Table(cache / self.name, self.dim, dict(self.about))


def make_extractor(
    *,
    backbone: str = "convnext_nano.in12k_ft_in1k",
    weights: str = "hub",
    network: dict[str, Any] | None = None,
    size: PositiveInt | None = None,
    resize: Literal["squash", "crop"] = "squash",
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> Extractor:
    """The extractor that these words mean, those of the model ``frozen``: same words, same table."""
    if backbone in plain.FEATURES:
        return plain_extractor(backbone, size=size, interpolation=interpolation)
    spec = NetworkSpec(backbone, weights, network or {})
    return network_extractor(spec, size=size, resize=resize, interpolation=interpolation, mean=mean, std=std)


def plain_extractor(backbone: str, *, size: int | None, interpolation: str | None) -> Extractor:
    """An extractor without a network: "pixels" or "edges" of the grey picture."""
    feature = plain.FEATURES[backbone]
    side = size or feature.size
    prepare = partial(plain.grey, size=side, resample=INTERPOLATIONS[interpolation or "bilinear"])
    dim = len(feature.compute(np.zeros((1, side, side), np.uint8))[0])
    about = {"backbone": backbone, "size": side, "interpolation": interpolation or "bilinear"}
    return Extractor(
        f"{backbone}-{fingerprint(about)}", dim, about, prepare, lambda batch: feature.compute(np.stack(batch))
    )


def network_extractor(
    spec: NetworkSpec, *, size: int | None, resize: str, interpolation: str | None, mean: Any, std: Any
) -> Extractor:
    """The pooled features of a network, with its own preprocessing where nothing else is given."""
    network = create_network(spec, num_classes=0, size=size)
    own = preprocessing_of(network, size=size, resize=resize, interpolation=interpolation, mean=mean, std=std)
    name = f"{spec.name.replace('/', '_')}-{fingerprint(spec, own)}"
    about = {"backbone": spec.name, "preprocessing": str(own)}
    return Extractor(name, feature_length(network), about, own.pixels, partial(forward, network, own), own)


def fill(
    table: Table,
    samples: Sequence[Sample],
    extractor: Extractor,
    *,
    threads: int,
    progress: Callable[[int, int, str], None],
    engine: Engine | None = None,
    make: Callable[[], Extractor] | None = None,
) -> None:
    """Compute the vectors of these samples and append them, batch by batch: what is done stays done.

    With an ``engine`` its workers compute, each with an extractor of its own from ``make()``, and only this process
    writes. Raises ModelError naming the image whose vector is not finite.
    """
    done = 0
    work = partial(_extraction, make or (lambda: extractor), threads)
    for digests, vectors in (engine or Local()).map_batches(work, samples, batch_size=CHUNK):
        table.append(digests, vectors)
        done += len(digests)
        progress(done, len(samples), "features")


def _extraction(make: Callable[[], Extractor], threads: int) -> Work:
    return partial(_extract, make(), threads)


def _extract(extractor: Extractor, threads: int, samples: Sequence[Sample]) -> Iterator[tuple[list[str], Vectors]]:
    """Digests and vectors of ``BATCH`` samples after the other; pictures are read ahead."""
    pixels = read_pixels(samples, extractor.prepare, threads=threads)
    for first in range(0, len(samples), BATCH):
        batch = samples[first : first + BATCH]
        vectors = extractor.compute([next(pixels) for _ in batch])
        for sample, vector in zip(batch, vectors, strict=True):
            if not np.isfinite(vector).all():
                raise ModelError(f"{extractor.name} gives no finite features for {sample.id}: look at the image")
        yield [s.content for s in batch], vectors


def forward(network: Any, preprocessing: Preprocessing, pixels: Sequence[Pixels]) -> Vectors:
    """What a network says of a batch of prepared pixels, as float32 ``(n, dim)``."""
    import torch

    with torch.inference_mode():
        network.to(device())
        return np.asarray(network(to_input(pixels, preprocessing, device())).float().cpu().numpy())
