"""Small pictures of the chosen images, as data URIs inside the page, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image, ImageOps

from labelwise.data.crops import cropped
from labelwise.records import Crop

Shown = Path | tuple[Path, Crop | None]  # a file, perhaps with the part of it that is shown
LARGE = 320  # where something inside the picture is to be seen
EDGE = 96  # pixels on screen; drawn from EDGE x DENSITY for sharp screens
DENSITY = 1.5
PER_ROUND, IN_ALL = 60, 1200
BYTES_IN_ALL = 6_000_000
_LARGEST = 100_000_000  # pixels: a larger picture is not worth decoding for a thumbnail
_GROUND = (236, 236, 236)  # behind transparent pictures


def allowance(rounds: int) -> int:
    """How many pictures each round may show, so that a report of ``rounds`` rounds stays small; at least 1."""
    return max(1, min(PER_ROUND, IN_ALL // max(rounds, 1)))


def data_uris(paths: Iterable[Shown], budget: int = BYTES_IN_ALL, *, edge: int = EDGE) -> list[str | None]:
    """One JPEG data URI per path (or path and crop), at most ``edge`` pixels on screen; None where the file cannot be
    shown, or once ``budget`` bytes are used up.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata, which is no matter for a thumbnail
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            pictures = list(pool.map(partial(_cached, edge), paths))
    uris: list[str | None] = []
    for picture in pictures:
        uri = "data:image/jpeg;base64," + base64.b64encode(picture).decode() if picture else None
        uris.append(uri if uri and len(uri) <= budget else None)
        budget -= len(uris[-1] or "")
    return uris


def thumbnail(path: Path, edge: int = EDGE, crop: Crop | None = None) -> bytes | None:
    """The picture, or its crop, as a small JPEG, turned as its EXIF says; None if it cannot be read.

    No pixel is stretched or cut.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > _LARGEST:
                return None
            size = (round(edge * DENSITY), round(edge * DENSITY))
            times = 1.0 if crop is None else 1 / min(crop[2] - crop[0], crop[3] - crop[1])
            image.draft("RGB", (round(size[0] * times), round(size[1] * times)))
            small = _in_colour(cropped(ImageOps.exif_transpose(image), crop))
            small.thumbnail(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
            out = io.BytesIO()
            small.save(out, "JPEG", quality=68, optimize=True)
            return out.getvalue()
    except Exception:  # whatever a damaged file makes a decoder raise, a report is still written
        return None


def _cached(edge: int, shown: Shown) -> bytes | None:
    path, crop = shown if isinstance(shown, tuple) else (shown, None)
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return _by_state(str(path), edge, crop, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=2 * IN_ALL)
def _by_state(path: str, edge: int, crop: Crop | None, _changed: int, _size: int) -> bytes | None:
    """A run writes its report after every round: the pictures of earlier rounds need not be read again."""
    return thumbnail(Path(path), edge, crop)


def _in_colour(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: spread what is there over 0-255
        low, high = (float(v) for v in image.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low) if high > low else 0.0
        return image.convert("F").point(lambda v: v * scale - low * scale).convert("L").convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _GROUND)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")
