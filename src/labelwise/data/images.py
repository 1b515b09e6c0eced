"""Reading a picture knowingly: RGB pixels as shown, or a named verdict."""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from labelwise.data.listing import shown
from labelwise.data.rgb import to_rgb
from labelwise.data.times import exif_time
from labelwise.errors import DataError

MAX_PIXELS = 100_000_000  # width x height that is still decoded: 300 MB as RGB
MAX_BYTES = 2**30  # a larger file is no picture that anyone labels, and would be held in memory whole

# Only formats of pictures: Pillow would also start Ghostscript for EPS, or open PDF-like containers.
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "AVIF")

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(DataError):
    """A picture that cannot be used; ``code`` names why, the message is one line.

    Codes: ``missing``, ``not_permitted``, ``empty_file``, ``not_an_image``, ``truncated`` (also a wrong checksum),
    ``too_large``, ``broken`` (anything else).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        return type(self), (self.code, str(self))


def open_image(path: Path | str, *, name: str = "", max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """Read a picture as RGB, turned as its EXIF tag asks, with a note on what had to be decided ("" if nothing).

    The format is found from the content, whatever the extension. Notes, joined by "; ": ``first_frame`` (of several),
    ``16bit`` and ``float`` (scaled from the picture's own minimum..maximum to 0..255, so dark ones do not come out
    black; one value only gives black; 16-bit colour keeps its upper 8 bits), ``cmyk`` (converted without colour
    profile), ``alpha`` (laid on white), ``rotated`` (EXIF). ``name`` stands for the file in messages, by default its
    path.

    Raises UnreadableImage, for more than ``max_pixels`` (width x height) before anything is decoded.
    """
    name = name or str(path)
    return decode_image(read_bytes(path, name=name), name=name, max_pixels=max_pixels)


def decode_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """Do what ``open_image`` does with the bytes of a file."""
    with _opened(data, name, max_pixels) as picture:
        notes, turn = _load(picture)
        pixels, more = to_rgb(picture)
        if turn in _TURNS:
            pixels = pixels.transpose(_TURNS[turn])
        pixels.info = {}  # else the EXIF tag stays and the next reader turns the picture once more
        return pixels, "; ".join(notes + more)


def small_image(path: Path | str, side: int, *, name: str = "", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture as ``open_image`` does, at most ``side`` pixels wide and high; a JPEG is decoded no larger than
    needed."""
    name = name or str(path)
    with _opened(read_bytes(path, name=name), name, max_pixels) as picture:
        if picture.format == "JPEG":
            picture.draft(None, (side, side))
        _, turn = _load(picture)
        pixels, _ = to_rgb(picture)
        pixels.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        if turn in _TURNS:
            pixels = pixels.transpose(_TURNS[turn])
        pixels.info = {}
        return pixels


def inspect_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], str]:
    """Decode fully and return the size as shown (width, height) and the note of ``open_image``, without keeping pixels.

    JPEGs are decoded at an eighth of their size, which is quicker and still reads every byte of the compressed data.
    """
    with _opened(data, name, max_pixels) as picture:
        size = picture.size
        notes, turn = _load(picture, draft=picture.format == "JPEG")
        if picture.format != "JPEG":
            size = picture.size  # TIFF is turned while it is loaded
            notes += to_rgb(picture)[1]
        elif picture.mode == "CMYK":
            notes.append("cmyk: converted without colour profile")
        return (size[::-1] if turn >= 5 else size), "; ".join(notes)


def header_size(path: Path | str) -> tuple[int, int] | None:
    """Width and height of a picture in pixels as shown, from its header alone; None if it cannot be read."""
    try:
        with _our_rules(), Image.open(path, formats=_formats()) as picture:
            turned = _orientation(picture) >= 5
            return picture.size[::-1] if turned else picture.size
    except Exception:  # whatever a damaged header makes a decoder raise
        return None


def taken(data: bytes | Path) -> str | None:
    """When the picture in these bytes, or in a file, was taken, by its EXIF: ISO local time, or None; only its header
    is looked at."""
    try:
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        with _our_rules(), Image.open(source, formats=_formats()) as picture:
            return exif_time(picture)
    except Exception:  # whatever a damaged header makes a decoder raise
        return None


def read_bytes(path: Path | str, *, name: str = "") -> bytes:
    """Read a file's bytes; raises UnreadableImage if the file system or the size (``MAX_BYTES``) forbids it."""
    name = name or str(path)
    try:
        status = os.stat(path)  # noqa: PTH116 (takes text and Path alike)
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise _verdict("broken", name, "a file", "a folder or device", "remove it")
        if status.st_size > MAX_BYTES:
            found = f"{status.st_size:,}"
            raise _verdict("too_large", name, f"at most {MAX_BYTES:,} bytes", found, "make it smaller or remove it")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise _verdict("missing", name, "a picture", "no file", "put it back or take it off the list") from None
    except PermissionError:
        raise _verdict("not_permitted", name, "a readable file", "no permission", "change its permissions") from None
    except (OSError, ValueError) as error:
        raise _verdict("broken", name, "a readable file", _line(error), "copy it again") from None


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """Open bytes as a picture and turn every failure inside the block into a verdict."""
    if not data:
        raise _verdict("empty_file", name, "a picture", "an empty file", "copy it again or remove it")
    try:
        with _our_rules(), Image.open(io.BytesIO(data), formats=_formats()) as picture:
            _refuse_large(picture, name, max_pixels)
            if picture.format == "PNG":
                _check_sums(data)
            yield picture
    except DataError:
        raise
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES) or data[8:12] == b"WEBP":
            raise _verdict("truncated", name, "a whole picture", "only its beginning", "copy it again") from None
        raise _verdict("not_an_image", name, "a picture", "other content", "remove it or save it as one") from None
    except (OSError, SyntaxError, EOFError, struct.error) as error:  # Pillow's words for cut off or wrong data
        raise _verdict("truncated", name, "a whole picture", _line(error), "copy it again") from None
    except Exception as error:
        raise _verdict("broken", name, "a picture", _line(error), "save it again as JPEG or PNG") from None


_rules_lock = threading.Lock()
_rules_users = 0
_rules_saved: tuple[int | None, bool, warnings.catch_warnings[None]] | None = None


@contextmanager
def _our_rules() -> Iterator[None]:
    """Hold Pillow's process-wide switches and warnings as this file needs them while any thread is reading.

    The first reader sets them and the last one puts them back: Pillow knows no settings per call, and setting them
    per picture would let threads undo each other.
    """
    global _rules_users, _rules_saved
    with _rules_lock:
        _rules_users += 1
        if _rules_users == 1:
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged metadata says nothing about the pixels
            _rules_saved = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, quiet
            Image.MAX_IMAGE_PIXELS = None  # ours is checked by _refuse_large, with the size in the message
            ImageFile.LOAD_TRUNCATED_IMAGES = False  # other packages set it, and grey stripes would be trained on
    try:
        yield
    finally:
        with _rules_lock:
            _rules_users -= 1
            if _rules_users == 0 and _rules_saved is not None:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, quiet = _rules_saved
                quiet.__exit__(None, None, None)
                _rules_saved = None


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_sums(data: bytes) -> None:
    """Raise if a PNG's checksums are wrong: decoding alone does not look at those of the pixels."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        picture.verify()


def _refuse_large(picture: Image.Image, name: str, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        found = f"{width}x{height} = {width * height:,}"
        raise _verdict("too_large", name, f"at most {max_pixels:,} pixels", found, "make it smaller or remove it")


def _load(picture: Image.Image, *, draft: bool = False) -> tuple[list[str], int]:
    """Decode the first frame; returns notes from the header and the EXIF turn still to be made (1: none)."""
    notes = []
    if getattr(picture, "is_animated", False):
        notes.append("first_frame: the others are not used")
    tiles = picture.tile if isinstance(picture, ImageFile.ImageFile) else []
    if picture.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in tiles):
        notes.append("16bit: the upper 8 bits are used")
    before = _orientation(picture)
    if draft:
        picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
    picture.load()
    turn = _orientation(picture)  # Pillow has turned a TIFF by now and dropped the tag
    if before in _TURNS or turn in _TURNS:
        notes.append("rotated: as the EXIF tag asks")
    return notes, turn


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _verdict(code: str, name: str, expected: str, found: str, what_to_do: str) -> UnreadableImage:
    return UnreadableImage(code, f"{shown(name)}: expected {expected}, found {found}; {what_to_do}")


def _line(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())[:200] or type(error).__name__
