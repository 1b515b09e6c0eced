"""Looking once at every file: digest of the content, full decoding, size as shown; and finding exact duplicates."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from labelwise.data.ahead import read_ahead
from labelwise.data.crops import content_of, pixel_box, squared
from labelwise.data.images import MAX_PIXELS, UnreadableImage, inspect_image, read_bytes, taken
from labelwise.data.listing import Camera, shown
from labelwise.data.masks import read_mask
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target


def scan(
    samples: Iterable[Sample],
    *,
    threads: int = 2,
    progress: Callable[[int], object] | None = None,
    max_pixels: int = MAX_PIXELS,
    camera: Camera | None = None,
) -> Iterator[Sample | Problem]:
    """Yield for each sample, in order, the sample with content, size and note filled, or the Problem that keeps it out.

    ``content`` is the BLAKE2b digest (32 hex digits) of the file's bytes, ``size`` (width, height) in pixels after
    EXIF rotation. Codes are those of UnreadableImage, ``bad_mask``, or ``size_differs`` for an image whose
    boxes were drawn at another size. ``progress`` is called with the number of samples done so far.

    Of a sample with a crop both are those of the crop; samples of one file that follow each other cost one look at it.
    With ``camera``, ``meta.taken`` comes from the EXIF where it is not known, and crops become square if it says so.
    """

    def look(alike: list[Sample]) -> list[Sample | Problem]:
        try:
            seen = _look(alike[0], max_pixels, camera)
        except UnreadableImage as error:
            return [Problem(sample.id, error.code, str(error)) for sample in alike]
        return [judge(sample, seen.of(sample, camera)) for sample in alike]

    def judge(sample: Sample, seen: Sample) -> Sample | Problem:
        if sample.target is not None and sample.target.geometry is not None and sample.size not in ((0, 0), seen.size):
            return _other_size(sample, seen.size)
        if sample.target is None or sample.target.mask is None:
            return seen
        try:
            read_mask(sample.target.mask, len(sample.target.classes), size=seen.size)
        except DataError as error:
            return Problem(sample.id, "bad_mask", str(error))
        return seen

    done = 0
    for verdicts in read_ahead(_by_file(samples), look, threads=threads, window=4 * threads):
        for verdict in verdicts:
            done += 1
            if progress is not None:
                progress(done)
            yield verdict


def digest_of(data: bytes) -> str:
    """The BLAKE2b digest of a file's bytes, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def find_duplicates(samples: Iterable[Sample]) -> list[Problem]:
    """Name every exact copy after the first, by id order, of the scanned samples.

    Code ``duplicate``, or ``conflicting_duplicate`` if both have a truth and the two differ. Samples without digest
    are passed over.
    """
    first: dict[str, Sample] = {}
    problems = []
    for sample in sorted(samples, key=lambda sample: sample.id):
        if not sample.content:
            continue
        original = first.setdefault(sample.content, sample)
        if original is not sample:
            problems.append(_copy(sample, original))
    return problems


@dataclass(frozen=True, slots=True)
class _File:
    """What a file is, whichever part of it a sample shows."""

    digest: str
    size: tuple[int, int]
    note: str
    taken: str | None

    def of(self, sample: Sample, camera: Camera | None) -> Sample:
        """The sample with what is known of it now."""
        meta, crop, size = sample.meta, sample.crop, self.size
        if self.taken is not None and "taken" not in meta:
            meta = {**meta, "taken": self.taken}
        if crop is not None:
            crop = squared(crop, size) if camera is not None and camera.square else crop
            x0, y0, x1, y1 = pixel_box(crop, size)
            size = x1 - x0, y1 - y0
        return replace(sample, content=content_of(self.digest, crop), size=size, note=self.note, meta=meta, crop=crop)


def _by_file(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """The samples, those of one file that follow each other together."""
    for _, alike in itertools.groupby(samples, key=lambda sample: sample.path):
        yield list(alike)


def _look(sample: Sample, max_pixels: int, camera: Camera | None) -> _File:
    data = read_bytes(sample.path, name=sample.id)
    size, note = inspect_image(data, name=sample.id, max_pixels=max_pixels)
    time = taken(data) if camera is not None and "taken" not in sample.meta else None
    return _File(digest_of(data), size, note, time)


def _other_size(sample: Sample, size: tuple[int, int]) -> Problem:
    (width, height), (w, h) = sample.size, size
    turned = "; was it turned after it was annotated?" if (w, h) == (height, width) else ""
    message = f"{shown(sample.id)}: annotated at {width}x{height} pixels, but is {w}x{h}: left out{turned}"
    return Problem(sample.id, "size_differs", message)


def _copy(sample: Sample, original: Sample) -> Problem:
    same = f"{shown(sample.id)}: the same file as {shown(original.id)}"
    if sample.target and original.target and not _same(sample.target, original.target):
        here, there = ", ".join(sample.target.classes), ", ".join(original.target.classes)
        message = f"{same}, but labelled {here!r} and there {there!r}; remove the wrong one"
        return Problem(sample.id, "conflicting_duplicate", message)
    return Problem(sample.id, "duplicate", f"{same}; counted once")


def _same(one: Target, two: Target) -> bool:
    if one.mask is not None and two.mask is not None:
        size = len(one.classes)
        return one.classes == two.classes and np.array_equal(read_mask(one.mask, size), read_mask(two.mask, size))
    if one.geometry is None or two.geometry is None:
        return one.classes == two.classes and one.geometry is two.geometry
    return one.classes == two.classes and np.array_equal(one.geometry, two.geometry)
