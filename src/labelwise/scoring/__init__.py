"""How much one element wants a label: functions of predictions, higher = more wanted (torch loads on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.scoring.difficulty import class_weights, difficulty_entropy
    from labelwise.scoring.objects import (
        keypoint_uncertainty,
        missed_objects,
        object_frequency,
        objectness_least_confidence,
    )
    from labelwise.scoring.reconstruction import mps, mps_ripu
    from labelwise.scoring.regions import region_impurity, ripu, ripu_pixel
    from labelwise.scoring.steadiness import consistency
    from labelwise.scoring.uncertainty import (
        bald,
        entropy,
        least_confidence,
        margin,
        mean_std,
        variance,
        variation_ratio,
        vote_entropy,
    )

_HOME = {
    "bald": "uncertainty",
    "consistency": "steadiness",
    "class_weights": "difficulty",
    "difficulty_entropy": "difficulty",
    "entropy": "uncertainty",
    "keypoint_uncertainty": "objects",
    "least_confidence": "uncertainty",
    "margin": "uncertainty",
    "mean_std": "uncertainty",
    "missed_objects": "objects",
    "mps": "reconstruction",
    "mps_ripu": "reconstruction",
    "object_frequency": "objects",
    "objectness_least_confidence": "objects",
    "variance": "uncertainty",
    "region_impurity": "regions",
    "ripu": "regions",
    "ripu_pixel": "regions",
    "variation_ratio": "uncertainty",
    "vote_entropy": "uncertainty",
}

__all__ = [
    "bald",
    "class_weights",
    "consistency",
    "difficulty_entropy",
    "entropy",
    "keypoint_uncertainty",
    "least_confidence",
    "margin",
    "mean_std",
    "missed_objects",
    "mps",
    "mps_ripu",
    "object_frequency",
    "objectness_least_confidence",
    "region_impurity",
    "ripu",
    "ripu_pixel",
    "variance",
    "variation_ratio",
    "vote_entropy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
