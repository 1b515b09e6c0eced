"""Masks, pixels and regions as transparent pictures to be laid over an image."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from labelwise.data.masks import target_mask, void_of
from labelwise.errors import DataError
from labelwise.records import Target
from labelwise.report.maps import MARK
from labelwise.web.colours import palette

EDGE = 1600  # no overlay is larger
_VEIL, _SOLID = 140, 220  # of 255: how much a mask covers, and how much single pixels do
_DOTS = 4000  # more pixels are a region
_SMALL = 256  # pixels of the longer side: on a screen each pixel of such an image is seen


def overlay(target: Target, classes: Sequence[str], size: tuple[int, int], *, asked: bool = False) -> bytes:
    """A target of pixels or a mask as a transparent PNG, shrunk to at most EDGE pixels; each class in its colour.

    ``asked`` marks pixels instead, all in one colour. ``size`` is the image's (width, height). Raises DataError for a
    mask that cannot be read, or points outside of the image.
    """
    if target.mask is None and target.geometry is not None and target.geometry.shape[1] == 2:
        picture = _points(target, classes, size, asked)
    else:
        mask = target_mask(target, classes, size)
        lut = np.zeros((len(classes) + 1, 4), np.uint8)
        lut[:-1] = [(*_rgb(colour), _VEIL) for colour in _many(len(classes))]
        codes = np.where(mask == void_of(mask), len(classes), mask).astype(np.int64)
        picture = Image.fromarray(lut[codes])
        picture.thumbnail((EDGE, EDGE), Image.Resampling.NEAREST)
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=3)
    return data.getvalue()


def _points(target: Target, classes: Sequence[str], size: tuple[int, int], asked: bool) -> Image.Image:
    """Pixels as dots that one sees; many of them, or of a small image, as the pixels they are."""
    points = np.asarray(target.geometry)
    if (points < 0).any() or (points >= size).any():
        raise DataError(f"expected pixels inside of {size[0]} x {size[1]}, found some outside: the image has changed")
    at = {name: i for i, name in enumerate(classes)}
    table = np.array([*(_rgb(c) for c in _many(len(classes))), MARK], np.uint8)  # what has no class is marked
    numbers = np.array([at.get(name, -1) for name in target.classes], np.int64)
    codes = numbers[target.codes] if target.codes is not None else numbers
    colours = table[np.full(len(points), -1) if asked else codes]
    longest = max(*size, 1)
    if len(points) > _DOTS or longest < _SMALL:
        scale = min(1.0, EDGE / longest)
        canvas = np.zeros((max(1, round(size[1] * scale)), max(1, round(size[0] * scale)), 4), np.uint8)
        places = np.minimum((points * scale).astype(np.int64), np.array(canvas.shape[1::-1]) - 1)
        canvas[places[:, 1], places[:, 0], :3] = colours
        canvas[places[:, 1], places[:, 0], 3] = _VEIL if asked else _SOLID
        return Image.fromarray(canvas)
    scale = min(1.0, EDGE / longest)
    picture = Image.new("RGBA", (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    draw, reach = ImageDraw.Draw(picture), max(2, round(longest * scale / 250))
    for (x, y), colour in zip((points * scale).astype(int).tolist(), colours.tolist(), strict=True):
        draw.ellipse((x - reach - 1, y - reach - 1, x + reach + 1, y + reach + 1), fill=(255, 255, 255, 255))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(*colour, 255))
    return picture


def _many(count: int) -> list[str]:
    colours = palette()
    return [colours[i % len(colours)] for i in range(count)]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
