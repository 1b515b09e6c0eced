"""Small pictures: made once, kept as files under what their content is, a few at a time."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image

from labelwise.data.crops import small_sample
from labelwise.records import Sample

SIDES = (96, 192, 384)  # pixels; any other is made from the next larger
_QUALITY = 82
_DIGEST = re.compile(r"[0-9a-f]{16,128}")


class Thumbnails:
    """Small JPEGs in a folder; a disk that is full or read-only makes them slow, not absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._busy = threading.BoundedSemaphore(os.cpu_count() or 1)

    def kept(self, sample: Sample, side: int) -> tuple[bytes, str]:
        """The picture at most ``side`` pixels (one of SIDES) wide and high, and the name of this state of it.

        Raises UnreadableImage.
        """
        assert side in SIDES, side
        name = _name(sample)
        path = self.folder / str(side) / name[:2] / f"{name}.jpg"
        with suppress(OSError):
            return path.read_bytes(), f"{name}-{side}"
        with self._busy:
            image = small_sample(sample, side)
            data = jpeg(image, _QUALITY)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{name}.{os.getpid()}.{threading.get_ident()}")
            beside.write_bytes(data)
            beside.replace(path)
        return data, f"{name}-{side}"


def jpeg(image: Image.Image, quality: int) -> bytes:
    """An RGB picture as the bytes of a JPEG."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()


def _name(sample: Sample) -> str:
    """The content's digest where it is known; else what the file system tells of the file."""
    if _DIGEST.fullmatch(sample.content):
        return sample.content
    try:
        found = sample.path.stat()
        state = f"{sample.path}\0{found.st_mtime_ns}\0{found.st_size}\0{sample.crop}"
    except (OSError, ValueError):
        state = f"{sample.path}\0{sample.crop}"
    return hashlib.blake2b(state.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
