"""How much one element wants a label: functions of predictions, higher = more wanted (torch loads on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.scoring.regions import region_impurity, ripu, ripu_pixel
    from labelwise.scoring.uncertainty import (
        bald,
        entropy,
        least_confidence,
        margin,
        mean_std,
        variation_ratio,
        vote_entropy,
    )

_HOME = {
    "bald": "uncertainty",
    "entropy": "uncertainty",
    "least_confidence": "uncertainty",
    "margin": "uncertainty",
    "mean_std": "uncertainty",
    "region_impurity": "regions",
    "ripu": "regions",
    "ripu_pixel": "regions",
    "variation_ratio": "uncertainty",
    "vote_entropy": "uncertainty",
}

__all__ = [
    "bald",
    "entropy",
    "least_confidence",
    "margin",
    "mean_std",
    "region_impurity",
    "ripu",
    "ripu_pixel",
    "variation_ratio",
    "vote_entropy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
