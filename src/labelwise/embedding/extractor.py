"""How an image becomes a vector: by a network, or plainly; and the table filled with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from labelwise.errors import ModelError
from labelwise.records import Sample

Vectors = NDArray[np.float32]
BATCH = 32


@dataclass(frozen=True)
class Extractor:
    """``prepare`` turns a picture into pixels, in threads; ``compute`` a batch of pixels into vectors ``(n, dim)``.

    ``name`` stands for everything that decides what a vector is; it names the table's folder.
    """

    name: str
    dim: int
    about: Mapping[str, object]
    prepare: Callable[[Image.Image], Pixels]
    compute: Callable[[Sequence[Pixels]], Vectors]

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
    return Extractor(name, feature_length(network), about, own.pixels, partial(_forward, network, own))


def fill(
    table: Table,
    samples: Sequence[Sample],
    extractor: Extractor,
    *,
    threads: int,
    progress: Callable[[int, int, str], None],
) -> None:
    """Compute the vectors of these samples and append them, batch by batch: what is done stays done.

    Raises ModelError naming the image whose vector is not finite.
    """
    waiting: list[Pixels] = []
    done = 0
    for pixels in read_pixels(samples, extractor.prepare, threads=threads):
        waiting.append(pixels)
        if len(waiting) == BATCH or done + len(waiting) == len(samples):
            batch = samples[done : done + len(waiting)]
            vectors = extractor.compute(waiting)
            for sample, vector in zip(batch, vectors, strict=True):
                if not np.isfinite(vector).all():
                    raise ModelError(f"{extractor.name} gives no finite features for {sample.id}: look at the image")
            table.append([s.content for s in batch], vectors)
            done += len(waiting)
            waiting = []
            progress(done, len(samples), "features")


def _forward(network: Any, preprocessing: Preprocessing, pixels: Sequence[Pixels]) -> Vectors:
    import torch

    with torch.inference_mode():
        network.to(device())
        return np.asarray(network(to_input(pixels, preprocessing, device())).float().cpu().numpy())
