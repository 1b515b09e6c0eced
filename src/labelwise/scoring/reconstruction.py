"""Scores of pixels by how badly a masked autoencoder reconstructs them: MPS, alone and with region impurity."""

from __future__ import annotations

import torch
from torch import Tensor

from labelwise.errors import SelectionError
from labelwise.scoring import regions
from labelwise.scoring.uncertainty import on_arrays

ROUNDING = 1e-5  # how exact RIPU is: a map that has no more is one of a single sure class


@on_arrays
def mps(reconstruction: Tensor) -> Tensor:
    """Masked-reconstruction score: a pixel's error when it is hidden and reconstructed, as a share of the highest.

    ``reconstruction`` is ``(h, w)``, 0 or more: half the squared difference of picture and reconstruction, averaged
    over the channels. Returns ``(h, w)`` in 0 to 1; 0 everywhere for a picture without error. As in segal, which
    scores visible patches as well. After He et al. 2022, Masked autoencoders are scalable vision learners.
    """
    return _share(_checked(reconstruction))


@on_arrays
def mps_ripu(reconstruction: Tensor, maps: Tensor, *, radius: int = 1, weight: float = 0.8) -> Tensor:
    """MPS with RIPU: (``weight`` x RIPU + reconstruction error) / highest, each as a share of its own highest.

    ``reconstruction`` is ``(h, w)`` as for ``mps``, ``maps`` ``(h, w, C)`` as for ``ripu``; ``weight`` is 0 or more.
    Returns ``(h, w)`` in 0 to 1. As in segal with ``use_entropy``; RIPU: Xie et al. 2022.
    """
    errors = _checked(reconstruction)
    if tuple(maps.shape[:-1]) != tuple(errors.shape):
        raise SelectionError(
            f"expected maps and reconstruction of one size, but found {tuple(maps.shape)} and {tuple(errors.shape)}"
        )
    if not weight >= 0:
        raise SelectionError(f"expected a weight of 0 or more, but found {weight}")
    doubts = torch.as_tensor(regions.ripu(maps, radius=radius))
    return _share(weight * _share(doubts, ROUNDING) + _share(errors))


def _checked(errors: Tensor) -> Tensor:
    if errors.ndim != 2:
        raise SelectionError(f"expected reconstruction of shape (h, w), but found {tuple(errors.shape)}")
    return errors


def _share(values: Tensor, least: float = 0.0) -> Tensor:
    """Values 0 or more as a share of the highest, or 0 if that is ``least`` or less; NaN stays."""
    if values.numel() == 0:
        return values
    highest = values.max()
    return values * 0 if highest <= least else values / highest
