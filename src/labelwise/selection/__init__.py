"""Which candidates to take: functions over rows whose parameter names say what they need (loaded on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.selection.balls import probcover
    from labelwise.selection.clustered import cluster_margin, informative_diverse, margin_cluster_mean
    from labelwise.selection.compose import Inputs, Selector, bind, needs, wrap
    from labelwise.selection.coverage import facility_location, herding, max_herding
    from labelwise.selection.density import centroids, typiclust
    from labelwise.selection.gradient import badge
    from labelwise.selection.graph import graph_density
    from labelwise.selection.picks import Picks, check_embeddings, check_probs, check_scores
    from labelwise.selection.ranking import random, stochastic, top
    from labelwise.selection.spread import coral, k_center
    from labelwise.selection.tree import hierarchical
    from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, shortlist

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
    "cluster_margin": "clustered",
    "empty_quota": "wrappers",
    "facility_location": "coverage",
    "graph_density": "graph",
    "coral": "spread",
    "herding": "coverage",
    "hierarchical": "tree",
    "informative_diverse": "clustered",
    "k_center": "spread",
    "margin_cluster_mean": "clustered",
    "max_herding": "coverage",
    "needs": "compose",
    "per_group": "wrappers",
    "probcover": "balls",
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
    "cluster_margin",
    "coral",
    "empty_quota",
    "facility_location",
    "graph_density",
    "herding",
    "hierarchical",
    "informative_diverse",
    "k_center",
    "margin_cluster_mean",
    "max_herding",
    "needs",
    "per_group",
    "probcover",
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
