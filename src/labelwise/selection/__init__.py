"""Which candidates to take: functions over rows whose parameter names say what they need (loaded on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.selection.balls import probcover
    from labelwise.selection.class_balance import class_balanced
    from labelwise.selection.clustered import cluster_margin, informative_diverse, margin_cluster_mean
    from labelwise.selection.combining import combined
    from labelwise.selection.compose import Inputs, Selector, bind, needs, wrap
    from labelwise.selection.conditions import threshold
    from labelwise.selection.coverage import facility_location, herding, max_herding
    from labelwise.selection.density import centroids, typiclust
    from labelwise.selection.gradient import badge
    from labelwise.selection.graph import graph_density
    from labelwise.selection.likeness import most_similar, most_typical
    from labelwise.selection.matching import ppal
    from labelwise.selection.mixing import Share, bandit, mixture
    from labelwise.selection.object_cover import object_coverage
    from labelwise.selection.object_spread import object_k_center
    from labelwise.selection.picks import Picks, check_embeddings, check_probs, check_scores
    from labelwise.selection.ranking import random, stochastic, top
    from labelwise.selection.robust import robust_k_center
    from labelwise.selection.spread import coral, deduplicate, k_center
    from labelwise.selection.terms import Part
    from labelwise.selection.tree import hierarchical
    from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, shortlist

_HOME = {
    "threshold": "conditions",
    "Share": "mixing",
    "Part": "terms",
    "robust_k_center": "robust",
    "bandit": "mixing",
    "mixture": "mixing",
    "most_typical": "likeness",
    "most_similar": "likeness",
    "deduplicate": "spread",
    "combined": "combining",
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
    "class_balanced": "class_balance",
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
    "object_coverage": "object_cover",
    "object_k_center": "object_spread",
    "per_group": "wrappers",
    "ppal": "matching",
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
    "Part",
    "Picks",
    "Selector",
    "Share",
    "apart",
    "badge",
    "balanced",
    "bandit",
    "bind",
    "centroids",
    "check_embeddings",
    "check_probs",
    "check_scores",
    "class_balanced",
    "cluster_margin",
    "combined",
    "coral",
    "deduplicate",
    "empty_quota",
    "facility_location",
    "graph_density",
    "herding",
    "hierarchical",
    "informative_diverse",
    "k_center",
    "margin_cluster_mean",
    "max_herding",
    "mixture",
    "most_similar",
    "most_typical",
    "needs",
    "object_coverage",
    "object_k_center",
    "per_group",
    "ppal",
    "probcover",
    "random",
    "robust_k_center",
    "shortlist",
    "stochastic",
    "threshold",
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
