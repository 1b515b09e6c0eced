"""Vectors of objects: boxes cut out of their images and put through an extractor, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.data.ahead import read_ahead
from labelwise.data.images import open_image
from labelwise.embedding.backbone import Pixels
from labelwise.embedding.extractor import BATCH, Extractor, Vectors
from labelwise.embedding.table import KEY_BYTES, Table
from labelwise.errors import DataError, ModelError
from labelwise.records import Floats, Sample

Rows = NDArray[np.int64]
_PLACES = 10  # a box is known by its corners to a tenth of a pixel


@dataclass(frozen=True)
class Crop:
    """How a box is cut out: ``padding`` on each side as a share of its width and height, then perhaps made square.

    ``square`` widens the shorter side to the longer one, so that the aspect is kept; both stop at the image's edge.
    """

    padding: float = 0.1
    square: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.padding <= 10:
            raise DataError(f"expected a crop padding of 0 to 10, as a share of the box, but found {self.padding}")

    def around(self, box: Sequence[float] | Floats, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Whole pixels ``left, top, right, bottom`` of what is cut out for a box ``x0, y0, x1, y1``; at least one."""
        x0, y0, x1, y1 = (float(value) for value in box)
        width, height = (x1 - x0) * (1 + 2 * self.padding), (y1 - y0) * (1 + 2 * self.padding)
        if self.square:
            width = height = max(width, height)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        left, right = _span(x - width / 2, x + width / 2, size[0])
        top, bottom = _span(y - height / 2, y + height / 2, size[1])
        return left, top, right, bottom


def object_table(extractor: Extractor, crop: Crop, cache: Path) -> Table:
    """The table of an extractor's object vectors in a cache folder; each way of cropping has its own."""
    name = f"{extractor.name}-objects-{crop.padding:g}{'-square' if crop.square else ''}"
    about = {**extractor.about, "crop padding": crop.padding, "square": crop.square}
    return Table(cache / name, extractor.dim, about)


def embed_objects(
    samples: Sequence[Sample],
    boxes: Mapping[str, Floats],
    extractor: Extractor,
    *,
    cache: Path,
    crop: Crop | None = None,
    threads: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Vectors, Rows]:
    """Vectors ``(M, dim)`` of all boxes and the position ``(M,)`` of each one's sample, in the order of the samples.

    ``boxes`` holds ``(n, 4)`` boxes ``x0, y0, x1, y1`` by sample id, in pixels of the image as shown; a sample without
    an entry has none. They are clipped to the image. What the cache has is not computed again, and its images are not
    opened: a vector is known by the image's content, the box to a tenth of a pixel, the crop and the extractor. Each
    other image is decoded once for all its boxes, a few images ahead in ``threads`` threads; batches run over images.

    Raises DataError, naming the image and the box, for a box that is not finite or has no area in the image, or boxes
    of an image that is not among the samples; ModelError for a vector that is not finite.
    """
    crop = crop or Crop()
    _check_boxes(samples, boxes)
    table = object_table(extractor, crop, cache)
    clipped = [clip(sample, boxes.get(sample.id)) for sample in samples]
    keys = [[_key(sample, box) for box in found] for sample, found in zip(samples, clipped, strict=True)]
    missing = set(table.missing([key for found in keys for key in found]))
    work = []
    for sample, found, named in zip(samples, clipped, keys, strict=True):
        new = []
        for i, key in enumerate(named):
            if key in missing:
                missing.remove(key)  # a box that comes twice is computed once
                new.append(i)
        if new:
            work.append(_Work(sample, found[new], [named[i] for i in new]))
    _fill(table, work, extractor, crop, threads, progress or (lambda done, total, what: None))
    owners = np.arange(len(samples)).repeat([len(found) for found in keys])
    return table.lookup([key for found in keys for key in found]), owners


def clip(sample: Sample, boxes: Floats | None) -> NDArray[np.float64]:
    """Boxes cut off at the image's edges and rounded to a tenth of a pixel, ``(n, 4)``.

    Raises DataError, naming the image and the box, if a box is not finite or nothing of it lies in the image.
    """
    if boxes is None or len(boxes) == 0:
        return np.empty((0, 4))
    found = np.asarray(boxes, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != 4:
        raise DataError(f"{sample.id}: expected boxes of shape (n, 4), x0, y0, x1, y1, but found {found.shape}")
    width, height = sample.size
    inside = found if not width else np.clip(found, 0, [width, height, width, height])
    inside = np.round(inside * _PLACES) / _PLACES
    good = np.isfinite(found).all(axis=1) & (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        raise DataError(
            f"{sample.id}: box {bad} {found[bad].tolist()} has no area inside the image of {width} x {height} pixels; "
            "expected x0 < x1 and y0 < y1; leave it out"
        )
    return np.asarray(inside)


@dataclass(frozen=True)
class _Work:
    """Boxes of one image that the table does not have."""

    sample: Sample
    boxes: NDArray[np.float64]
    keys: list[str]


def _fill(
    table: Table,
    work: Sequence[_Work],
    extractor: Extractor,
    crop: Crop,
    threads: int,
    progress: Callable[[int, int, str], None],
) -> None:
    """Compute and append the missing vectors, batch by batch: what is done stays done."""
    total, done = sum(len(w.keys) for w in work), 0
    for batch in _batches(_crops(work, extractor.prepare, crop, threads)):
        vectors = extractor.compute([pixels for _, _, pixels in batch])
        for (name, _, _), vector in zip(batch, vectors, strict=True):
            if not np.isfinite(vector).all():
                raise ModelError(f"{extractor.name} gives no finite features for {name}: look at the image")
        table.append([key for _, key, _ in batch], vectors)
        done += len(batch)
        progress(done, total, "object features")


def _crops(
    work: Sequence[_Work], prepare: Callable[[Image.Image], Pixels], crop: Crop, threads: int
) -> Iterator[tuple[str, str, Pixels]]:
    """Name, key and prepared pixels of every box; an image is decoded once and only a few are held at a time."""

    def load(item: _Work) -> list[Pixels]:
        try:
            image = open_image(item.sample.path)[0]
        except DataError as error:
            raise DataError(f"{item.sample.id} could be read before, but not now: {error}") from error
        return [prepare(image.crop(crop.around(box, image.size))) for box in item.boxes]

    pixels = read_ahead(work, load, threads=threads, window=2 * threads)
    for item, found in zip(work, pixels, strict=True):
        for number, (key, one) in enumerate(zip(item.keys, found, strict=True)):
            yield f"{item.sample.id} box {item.boxes[number].tolist()}", key, one


def _batches(items: Iterator[tuple[str, str, Pixels]]) -> Iterator[list[tuple[str, str, Pixels]]]:
    waiting = []
    for item in items:
        waiting.append(item)
        if len(waiting) == BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _key(sample: Sample, box: NDArray[np.float64]) -> str:
    """A digest of the image's content and the box."""
    corners = np.round(box * _PLACES).astype(np.int64).tobytes()
    return hashlib.blake2b(bytes.fromhex(sample.content) + corners, digest_size=KEY_BYTES).hexdigest()


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels from low to high inside 0 to size, at least one."""
    first = min(max(int(np.floor(low)), 0), size - 1)
    return first, max(first + 1, min(int(np.ceil(high)), size))


def _check_boxes(samples: Sequence[Sample], boxes: Mapping[str, Floats]) -> None:
    unknown = sorted(boxes.keys() - {s.id for s in samples})
    if unknown:
        raise DataError(f"expected boxes of the given samples, but found some of {unknown[0]!r}, which is none of them")
    unseen = [s.id for s in samples if s.id in boxes and not s.content]
    if unseen:
        raise DataError(
            f"expected scanned samples, with a digest of their content, but {unseen[0]} has none; scan them"
        )
