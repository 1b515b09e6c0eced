"""Pictures of any mode as RGB: wide numbers scaled, inks converted, transparent ones laid on white."""

from __future__ import annotations

import numpy as np
from PIL import Image


def to_rgb(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """A decoded picture as RGB, and notes on what it took: ``16bit``, ``float``, ``cmyk``, ``alpha``."""
    if picture.mode.startswith("I"):
        return _stretch(picture), ["16bit: scaled from its own minimum..maximum"]
    if picture.mode == "F":
        return _stretch(picture), ["float: scaled from its own minimum..maximum"]
    if picture.mode == "CMYK":
        return picture.convert("RGB"), ["cmyk: converted without colour profile"]
    if picture.has_transparency_data:
        return _on_white(picture.convert("RGBA"))
    return picture.convert("RGB"), []


def _stretch(picture: Image.Image) -> Image.Image:
    """Numbers as grey, from their own minimum to their maximum."""
    values = np.asarray(picture).astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    values = np.where(finite, values, low)
    grey = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(np.round(grey).astype(np.uint8)).convert("RGB")


def _on_white(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    alpha = picture.getchannel("A")
    lowest, _ = alpha.getextrema()
    if lowest == 255:
        return picture.convert("RGB"), []
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=alpha)
    return white, ["alpha: laid on white"]
