"""Which candidates to take: functions over rows whose parameter names say what they need (loaded on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.selection.compose import Inputs, Selector, bind, needs, wrap
    from labelwise.selection.coverage import herding
    from labelwise.selection.density import centroids, typiclust
    from labelwise.selection.gradient import badge
    from labelwise.selection.picks import Picks, check_embeddings, check_probs, check_scores
    from labelwise.selection.ranking import random, stochastic, top
    from labelwise.selection.spread import coral, k_center
    from labelwise.selection.wrappers import apart, balanced, per_group, shortlist

_HOME = {
    "Inputs": "compose",
    "Picks": "picks",
    "Selector": "compose",
    "apart": "wrappers",
    "badge": "gradient",
    "balanced": "wrappers",
    "bind": "compose",
    "centroids": "density",
    "check_embeddings": "picks",
    "check_probs": "picks",
    "check_scores": "picks",
    "coral": "spread",
    "herding": "coverage",
    "k_center": "spread",
    "needs": "compose",
    "per_group": "wrappers",
    "random": "ranking",
    "shortlist": "wrappers",
    "stochastic": "ranking",
    "top": "ranking",
    "typiclust": "density",
    "wrap": "compose",
}

__all__ = [
    "Inputs",
    "Picks",
    "Selector",
    "apart",
    "badge",
    "balanced",
    "bind",
    "centroids",
    "check_embeddings",
    "check_probs",
    "check_scores",
    "coral",
    "herding",
    "k_center",
    "needs",
    "per_group",
    "random",
    "shortlist",
    "stochastic",
    "top",
    "typiclust",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
