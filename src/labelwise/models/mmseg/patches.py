"""Images as patches and back, the places of patches, and which of them are hidden together."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def padded(images: Tensor, size: int) -> Tensor:
    """Images ``(B, c, h, w)`` with zeros at the right and lower border, so that whole patches of ``size`` fit."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % size, 0, -height % size))


def as_patches(images: Tensor, size: int) -> Tensor:
    """Images ``(B, c, h, w)`` as patches ``(B, rows x columns, c p p)``, row by row; sides are multiples of p."""
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, height // size, size, width // size, size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size * size)


def as_image(patches: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """The inverse of ``as_patches`` for a ``grid`` of (rows, columns)."""
    batch, (rows, columns) = len(patches), grid
    cut = patches.reshape(batch, rows, columns, -1, size, size).permute(0, 3, 1, 4, 2, 5)
    return cut.reshape(batch, -1, rows * size, columns * size)


def hidden_sets(count: int, together: int, seed: int) -> list[Tensor]:
    """Sets ``(together,)`` of ``count`` patches that are hidden together, so that each patch is in one at least.

    The sets of a seed are the same on every machine and device.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    first = torch.arange(0, count, together)
    return [order[(start + torch.arange(together)) % count] for start in first]


def starts(length: int, window: int, step: int) -> list[int]:
    """Where windows begin so that they cover a length: ``step`` apart, the last one at the end."""
    last = max(0, length - window)
    return [*range(0, last, step), last]


def fixed_places(rows: int, columns: int, dims: int) -> Tensor:
    """Sines and cosines of the places of patches, ``(1, rows x columns, dims)``: half of them for y, half for x.

    Vaswani et al. 2017, Attention is all you need, section 3.5, for each axis; ``dims`` is a multiple of 4.
    """
    quarter = dims // 4
    rates = torch.exp(-math.log(10000.0) * torch.arange(quarter, dtype=torch.float64) / max(1, quarter))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (y, x)]
    waves = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return functional.pad(waves, (0, dims - waves.shape[1])).float()[None]


def resized_places(places: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Places ``(1, L, d)`` of one grid (rows, columns) as those of another, interpolated."""
    if grid == wanted:
        return places
    image = places.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    image = functional.interpolate(image, size=wanted, mode="bicubic", align_corners=False)
    return image.flatten(2).transpose(1, 2)
