"""Pictures of what was chosen inside an image: the score map in colours, and pixels or windows over the image."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CHOSEN = "_chosen"  # after the name of a score map: what was chosen there
MARK = (255, 64, 32)  # seen on roads, trees and sky alike
_EDGE = 1024  # no picture is drawn larger


def map_folder(run: Path, round: int) -> Path:
    """Where a round's pictures lie."""
    return run / "rounds" / f"{round:03d}" / "maps"


def write_score_map(path: Path, scores: NDArray[np.floating[Any]]) -> None:
    """Scores ``(h, w)`` as a PNG, from dark (lowest) to yellow (highest)."""
    low, high = float(scores.min()), float(scores.max())
    steps = np.zeros(scores.shape, np.uint8)
    if high > low:
        steps = ((scores - low) * (255 / (high - low))).astype(np.uint8)
    _write(path, Image.fromarray(_viridis()[steps]))


def write_chosen(path: Path, image: Image.Image, geometry: NDArray[np.integer[Any]], *, beside: bool = False) -> None:
    """Pixels ``(n, 2)``, windows ``(n, 4)`` or the pixels of superpixels ``(n, 3)`` marked over an RGB image; or
    ``beside`` it, white on black."""
    picture = Image.new("RGB", image.size) if beside else image.copy()
    if geometry.shape[1] == 3:
        picture, geometry = _filled(picture, geometry, beside), geometry[:0]
    draw, colour = ImageDraw.Draw(picture), (255, 255, 255) if beside else MARK
    reach = max(1, round(max(image.size) / 400))
    for row in geometry.tolist():
        if len(row) == 2:
            x, y = row
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
        else:
            x0, y0, x1, y1 = row
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, fill=colour if x1 - x0 <= 2 * reach + 1 else None)
    if beside:
        both = Image.new("RGB", (2 * image.width, image.height))
        both.paste(image, (0, 0))
        both.paste(picture, (image.width, 0))
        picture = both
    _write(path, picture)


def _filled(picture: Image.Image, geometry: NDArray[np.integer[Any]], whole: bool) -> Image.Image:
    """The pixels of superpixels in one colour (``whole``), or tinted with an edge around each superpixel."""
    pixels = np.array(picture)
    if whole:
        pixels[geometry[:, 1], geometry[:, 0]] = 255
        return Image.fromarray(pixels)
    ids = np.full((picture.height + 2, picture.width + 2), -1, np.int64)
    x, y = geometry[:, 0] + 1, geometry[:, 1] + 1
    ids[y, x] = geometry[:, 2]
    edge = np.zeros(len(x), bool)
    for across, down in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        edge |= ids[y + down, x + across] != ids[y, x]
    inside = pixels[y - 1, x - 1].astype(np.int64)
    pixels[y - 1, x - 1] = np.where(edge[:, None], MARK, (2 * inside + MARK) // 3)
    return Image.fromarray(pixels)


def copy_pictures(picture: Path, name: Path) -> None:
    """Copy what was chosen in an image to ``name``.png, and its score map, if any, to ``name``_uncertainty.png."""
    name.parent.mkdir(parents=True, exist_ok=True)
    kinds = ((f"{picture.stem}{CHOSEN}.png", ".png"), (picture.name, "_uncertainty.png"))
    for source, suffix in kinds:
        if (own := picture.with_name(source)).is_file():
            shutil.copyfile(own, name.with_name(f"{name.stem}{suffix}"))


def _write(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.thumbnail((_EDGE, _EDGE))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    picture.save(beside, format="PNG")
    beside.replace(path)


@cache
def _viridis() -> NDArray[np.uint8]:
    """256 colours ``(256, 3)``: plotly's anchors, interpolated."""
    from plotly.colors import sequential

    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in sequential.Viridis], np.float64)
    at, steps = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, at, anchors[:, i]) for i in range(3)], axis=1).round().astype(np.uint8)
