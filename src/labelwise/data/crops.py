"""The part of a picture that a sample shows: its rectangle, the pixels in it, and the digest that stands for it."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

from PIL import Image

from labelwise.data.images import MAX_PIXELS, open_image, small_image
from labelwise.errors import DataError
from labelwise.records import Crop, Sample


def open_sample(sample: Sample, *, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """The pixels that a sample shows, as ``open_image`` gives them: the whole picture, or its crop.

    Raises UnreadableImage.
    """
    picture, note = open_image(sample.path, max_pixels=max_pixels)
    return cropped(picture, sample.crop), note


def small_sample(sample: Sample, side: int) -> Image.Image:
    """The pixels that a sample shows, at most ``side`` wide and high; a JPEG is decoded no larger than needed.

    Raises UnreadableImage.
    """
    if sample.crop is None:
        return small_image(sample.path, side, name=sample.id)
    x0, y0, x1, y1 = sample.crop
    whole = small_image(sample.path, math.ceil(side / min(x1 - x0, y1 - y0)), name=sample.id)
    part = cropped(whole, sample.crop)
    part.thumbnail((side, side), Image.Resampling.BICUBIC)
    return part


def cropped(picture: Image.Image, crop: Crop | None) -> Image.Image:
    """The part of a picture (as shown) that ``crop`` names; the picture itself for None."""
    return picture if crop is None else picture.crop(pixel_box(crop, picture.size))


def pixel_box(crop: Crop, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels x0, y0, x1, y1 of a crop in a picture of ``size`` (width, height): whole pixels, at least one."""
    (x0, x1), (y0, y1) = (_whole(crop[i], crop[i + 2], size[i]) for i in (0, 1))
    return x0, y0, x1, y1


def widened(box: Crop, margin: float) -> Crop:
    """The box with ``margin`` times its width and height added on each side, as far as the picture goes."""
    x0, y0, x1, y1 = box
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    return max(0.0, x0 - dx), max(0.0, y0 - dy), min(1.0, x1 + dx), min(1.0, y1 + dy)


def squared(box: Crop, size: tuple[int, int]) -> Crop:
    """The box made square in pixels by more of the picture on its shorter sides: about its centre, moved inside where
    the picture ends, and only as long as the picture is. Nothing of the box is lost."""
    spans = []
    long = max((box[2] - box[0]) * size[0], (box[3] - box[1]) * size[1])
    for i in (0, 1):
        length = max(box[i + 2] - box[i], min(1.0, long / size[i]))
        first = min(max(0.0, (box[i] + box[i + 2] - length) / 2), 1.0 - length)
        spans.append((max(0.0, first), min(1.0, first + length)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def content_of(digest: str, crop: Crop | None) -> str:
    """The digest (32 hex digits) of what a crop of a file shows, from that of the file; of the whole: the file's."""
    if crop is None:
        return digest
    return hashlib.blake2b(bytes.fromhex(digest) + repr(crop).encode(), digest_size=16).hexdigest()


def file_of(sample: Sample) -> str:
    """The id of a sample's file: where a file gives several samples, theirs are followed by ``#`` and a number."""
    return str(sample.meta.get("file", sample.id))


def written_id(sample: Sample) -> str:
    """The id under which a sample is written as a picture of its own: the number before the extension, ``a#2.jpg``."""
    file = file_of(sample)
    stem, extension = os.path.splitext(file)  # noqa: PTH122 (ids are text with /)
    return f"{stem}{sample.id[len(file) :]}{extension}" if sample.id.startswith(f"{file}#") else sample.id


def write_crop(sample: Sample, to: Path) -> None:
    """Write what a sample shows as a picture of its own, of the kind that the name's end says (JPEG: quality 95).

    Raises UnreadableImage; DataError for an end that no format has.
    """
    picture = open_sample(sample)[0]
    try:
        picture.save(to, quality=95)
    except ValueError:
        raise DataError(f"{sample.id}: expected a name that ends like a picture's, found {to.name!r}") from None


def box_of(sample: Sample) -> Crop | None:
    """The box x0, y0, x1, y1 (shares of the picture) that a detector drew, without margin; else the crop, or None."""
    text = sample.meta.get("box")
    if not isinstance(text, str):
        return sample.crop
    x, y, width, height = (float(part) for part in text.split(","))
    return x, y, x + width, y + height


def box_text(box: Crop) -> str:
    """A box as it is kept in a sample's ``meta``: ``x, y, width, height``, shares of the picture."""
    x0, y0, x1, y1 = box
    return f"{x0:.6g}, {y0:.6g}, {x1 - x0:.6g}, {y1 - y0:.6g}"


def _whole(first: float, last: float, length: int) -> tuple[int, int]:
    start = min(length - 1, max(0, int(first * length + 1e-6)))
    end = max(start + 1, min(length, math.ceil(last * length - 1e-6)))
    return start, end
