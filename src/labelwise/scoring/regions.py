"""Scores of pixels by the window around them: RIPU's region impurity and prediction uncertainty, of class maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import SelectionError
from labelwise.scoring import maps
from labelwise.scoring.uncertainty import on_arrays

SMALL = 1e-6  # RIPU adds it to every probability inside a logarithm
_GRID = 2.0**30  # as in windows.py
_MOST = 1 << 16  # classes that the compiled loops can number


@on_arrays
def ripu(maps: Tensor, *, radius: int = 1, from_logits: bool = False) -> Tensor:
    """RIPU for regions: how mixed the classes of the window around each pixel are, times its mean entropy.

    ``maps`` is ``(h, w, C)``, class axis last, in either memory order; logits with ``from_logits``. The window has
    2 ``radius`` + 1 pixels to a side and is clipped at the border. Returns ``(h, w)`` in 0 to 1: the
    entropy of the best classes in the window, as a share of log C, times the mean of the pixels' entropies, as a share
    of log C; 0 for one class. On the CPU it is computed in float32 by compiled loops (float64 input and other devices:
    by torch), within 1e-5 of exact numbers.
    Xie et al. 2022, Towards fewer annotations: active learning via region impurity and prediction uncertainty for
    domain adaptive semantic segmentation, equations 3 to 5 (RA); small terms as in its published code.
    """
    return _scores(maps, "mean", radius, from_logits)


@on_arrays
def ripu_pixel(maps: Tensor, *, radius: int = 32, from_logits: bool = False) -> Tensor:
    """RIPU for single pixels: how mixed the classes of the window around each pixel are, times its own entropy.

    Arguments and range as for ``ripu``. Xie et al. 2022 (PA); its code leaves out the division by log C, a constant.
    """
    return _scores(maps, "own", radius, from_logits)


@on_arrays
def region_impurity(maps: Tensor, *, radius: int = 1, from_logits: bool = False) -> Tensor:
    """How mixed the best classes of the window around each pixel are: their entropy as a share of log C.

    Arguments and range as for ``ripu``. Xie et al. 2022, equation 3.
    """
    return _scores(maps, "alone", radius, from_logits)


def _scores(probs: Tensor, kind: str, radius: int, from_logits: bool) -> Tensor:
    if probs.ndim != 3 or probs.shape[-1] == 0:
        raise SelectionError(f"expected probs of shape (h, w, C), class axis last, but found {tuple(probs.shape)}")
    if radius < 0:
        raise SelectionError(f"expected a radius of 0 or more pixels, but found {radius}")
    if probs.shape[-1] == 1:
        return torch.sum(torch.mul(probs, 0), dim=-1)
    radius = min(radius, max(probs.shape[:2]))  # a window is no larger than the map
    if probs.numel() == 0:
        return probs.new_zeros(probs.shape[:2])
    if maps.plain(probs) and probs.shape[-1] <= _MOST:
        return _compiled_scores(probs, kind, radius, from_logits)
    return torch_scores(probs, kind, radius, from_logits)


def _compiled_scores(probs: Tensor, kind: str, radius: int, from_logits: bool) -> Tensor:
    from labelwise.scoring import kernels, windows

    height, width, number = probs.shape
    flat, steps, _ = maps.elements(probs.numpy())
    classes: Any = np.empty(height * width, np.uint16)
    doubts: maps.Floats = np.empty(height * width, np.float32)
    small, scale = np.float32(SMALL), np.float32(1 / math.log(number))

    def look(a: int, b: int) -> None:
        kernels.classes_and_entropies(flat, steps, number, a, b, from_logits, small, scale, classes, doubts)

    maps.in_strips(height * width, maps.fitting(number), look)
    present = number
    if radius != 1:  # counts are kept for each class, so those that do not occur are left out
        occurs = np.bincount(classes, minlength=number) > 0
        classes, present = np.take((np.cumsum(occurs) - 1).astype(np.uint16), classes), int(occurs.sum())
    classes, doubts = classes.reshape(height, width), doubts.reshape(height, width)
    out = np.empty((height, width), np.float32)
    code = {"alone": windows.ALONE, "own": windows.OWN, "mean": windows.MEAN}[kind]

    def score(a: int, b: int) -> None:
        windows.window_scores(classes, doubts, code, present, number, radius, SMALL, a, b, out)

    # strips are high enough for the rows around them not to matter
    maps.in_strips(height, max(64, 4 * radius), score)
    return torch.from_numpy(out)


def torch_scores(probs: Tensor, kind: str, radius: int, from_logits: bool) -> Tensor:
    """The same scores in torch alone, on any device: ``kind`` is mean, own or alone; see ``ripu``."""
    number = probs.shape[-1]
    shares = probs.softmax(-1) if from_logits else probs
    doubts = -(shares * (shares + SMALL).log()).sum(-1) / math.log(number)
    classes = probs.argmax(-1)
    sizes = _window_sums(torch.ones_like(classes, dtype=torch.float64), radius)
    impurity = torch.zeros_like(sizes)
    for c in range(number):  # one class at a time: memory is that of a few maps
        share = _window_sums((classes == c).to(torch.float64), radius) / sizes
        impurity -= share * (share + SMALL).log()
    impurity /= math.log(number)
    if kind == "mean":
        whole = (doubts.to(torch.float64) * _GRID).round() / _GRID
        impurity *= _window_sums(whole, radius) / sizes
    elif kind == "own":
        impurity *= doubts
    trace = doubts - doubts  # 0, or NaN where the map is not finite
    return impurity.clamp(min=0).to(probs.dtype) + trace  # the small term makes one class a little less than 0


def _window_sums(values: Tensor, radius: int) -> Tensor:
    """Sums over the windows around each pixel, clipped at the border; exact for multiples of 2^-30 of usual size."""
    for axis in (0, 1):
        size = values.shape[axis]
        running = torch.cat([torch.zeros_like(values.narrow(axis, 0, 1)), values.cumsum(axis)], axis)
        at = torch.arange(size, device=values.device)
        high, low = (at + radius + 1).clamp(max=size), (at - radius).clamp(min=0)
        values = running.index_select(axis, high) - running.index_select(axis, low)
    return values
