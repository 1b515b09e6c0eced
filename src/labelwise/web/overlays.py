"""Masks, pixels and regions as transparent pictures to be laid over an image."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from labelwise.data.masks import target_mask, void_of
from labelwise.errors import DataError
from labelwise.records import Target
from labelwise.report.maps import MARK
from labelwise.web.colours import palette

EDGE = 1600  # no overlay is larger
_VEIL = 140  # of 255: how much a mask covers


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
    points = np.asarray(target.geometry)
    scale = min(1.0, EDGE / max(*size, 1))
    shown = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    if (points < 0).any() or (points >= size).any():
        raise DataError(f"expected pixels inside of {size[0]} x {size[1]}, found some outside: the image has changed")
    at = {name: i for i, name in enumerate(classes)}
    colours = [_rgb(c) for c in _many(len(classes))]
    numbers = np.array([at.get(name, -1) for name in target.classes], np.int64)
    codes = numbers[target.codes] if target.codes is not None else numbers
    places: NDArray[np.int64] = (points * scale).astype(np.int64)
    if len(points) > 4000:  # regions: as they are
        canvas = np.zeros((shown[1], shown[0], 4), np.uint8)
        table = np.array([(*c, 170) for c in colours] or [(0, 0, 0, 0)], np.uint8)
        fill = (*MARK, 120)
        canvas[places[:, 1], places[:, 0]] = np.array(fill, np.uint8) if asked else table[np.maximum(codes, 0)]
        return Image.fromarray(canvas)
    picture = Image.new("RGBA", shown)
    draw, reach = ImageDraw.Draw(picture), max(2, round(max(shown) / 250))
    for (x, y), code in zip(places.tolist(), codes.tolist(), strict=True):
        inner = MARK if asked or code < 0 else colours[code]
        draw.ellipse((x - reach - 1, y - reach - 1, x + reach + 1, y + reach + 1), fill=(255, 255, 255, 255))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(*inner, 255))
    return picture


def _many(count: int) -> list[str]:
    colours = palette()
    return [colours[i % len(colours)] for i in range(count)]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
