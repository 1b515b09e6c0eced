"""Taking in the pictures of a folder: each file is read once, and decoded only where the table lacks its vector."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from labelwise.data.ahead import read_ahead
from labelwise.data.crops import content_of, cropped
from labelwise.data.images import UnreadableImage, decode_image, read_bytes
from labelwise.data.scan import digest_of
from labelwise.embedding.backbone import Pixels
from labelwise.embedding.extractor import BATCH, Extractor, Vectors
from labelwise.embedding.table import Table
from labelwise.errors import ModelError
from labelwise.records import Problem, Sample

_KEPT_EVERY = 2.0  # seconds: what is computed reaches the disk this often, and when the work ends or is interrupted

Progress = Callable[[int, int, str], None]
Look = tuple[Sample | Problem, Pixels | None]


def take_in(
    samples: Sequence[Sample], extractor: Extractor, table: Table, *, threads: int, progress: Progress
) -> tuple[list[Sample], list[Problem]]:
    """The samples with their content, whose vectors the table then has; and a Problem for each that cannot be read.

    A file whose content the table knows was readable when its vector was computed: it is not decoded again, so that
    its ``size`` stays (0, 0). Raises ModelError naming the image whose vector is not finite.
    """

    def look(sample: Sample) -> Look:
        try:
            data = read_bytes(sample.path, name=sample.id)
            found = replace(sample, content=content_of(digest_of(data), sample.crop))
            if found.content in table:
                return found, None
            whole, note = decode_image(data, name=sample.id)
            image = cropped(whole, sample.crop)
            return replace(found, size=image.size, note=note), extractor.prepare(image)
        except UnreadableImage as error:
            return Problem(sample.id, error.code, str(error)), None

    good: list[Sample] = []
    bad: list[Problem] = []
    with _Batches(extractor, table) as batches:
        for done, (verdict, pixels) in enumerate(read_ahead(samples, look, threads=threads, window=4 * threads), 1):
            if isinstance(verdict, Problem):
                bad.append(verdict)
            else:
                good.append(verdict)
                if pixels is not None:
                    batches.add(verdict, pixels)
            progress(done, len(samples), "images")
    return good, bad


class _Batches:
    """Pictures that wait for the network, and vectors that wait for the disk."""

    def __init__(self, extractor: Extractor, table: Table) -> None:
        self._extractor, self._table = extractor, table
        self._waiting: list[tuple[Sample, Pixels]] = []
        self._digests: list[str] = []
        self._vectors: list[Vectors] = []
        self._kept = time.monotonic()

    def __enter__(self) -> _Batches:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._compute()
        self._keep()

    def add(self, sample: Sample, pixels: Pixels) -> None:
        """Take a picture; every full batch is computed."""
        self._waiting.append((sample, pixels))
        if len(self._waiting) == BATCH:
            self._compute()
            if time.monotonic() - self._kept > _KEPT_EVERY:
                self._keep()

    def _compute(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        vectors = self._extractor.compute([pixels for _, pixels in waiting])
        for (sample, _), vector in zip(waiting, vectors, strict=True):
            if not np.isfinite(vector).all():
                raise ModelError(f"{self._extractor.name} gives no finite features for {sample.id}: look at the image")
        self._digests += [sample.content for sample, _ in waiting]
        self._vectors.append(vectors)

    def _keep(self) -> None:
        if self._digests:
            self._table.append(self._digests, np.concatenate(self._vectors))
        self._digests, self._vectors, self._kept = [], [], time.monotonic()
