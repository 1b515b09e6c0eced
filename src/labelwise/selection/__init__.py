"""Which candidates to take: functions over rows whose parameter names say what they need (loaded on first use)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.selection.balls import probcover
    from labelwise.selection.borders import galaxy
    from labelwise.selection.candidates import RegionRows, join_rows, region_rows
    from labelwise.selection.class_balance import class_balanced, class_divergence
    from labelwise.selection.clustered import cluster_margin, informative_diverse, margin_cluster_mean
    from labelwise.selection.combining import combined
    from labelwise.selection.compose import Inputs, Selector, bind, needs, wrap
    from labelwise.selection.conditions import threshold
    from labelwise.selection.coverage import facility_location, herding, max_herding
    from labelwise.selection.density import centroids, typiclust
    from labelwise.selection.distributed import two_round_facility_location, two_round_k_center
    from labelwise.selection.gradient import badge
    from labelwise.selection.graph import graph_density
    from labelwise.selection.likeness import most_similar, most_typical
    from labelwise.selection.matching import ppal
    from labelwise.selection.mixing import Share, bandit, mixture
    from labelwise.selection.novelty import novel
    from labelwise.selection.object_cover import object_coverage
    from labelwise.selection.object_spread import object_k_center
    from labelwise.selection.picks import Picks, check_embeddings, check_probs, check_scores
    from labelwise.selection.pixels import BestPixels, draw, evenly, pixel_pick, top_pixels
    from labelwise.selection.places import Places, join_places
    from labelwise.selection.ranking import random, stochastic, top
    from labelwise.selection.regions import choose_regions, within
    from labelwise.selection.robust import robust_k_center
    from labelwise.selection.segments import choose_superpixels, score_superpixels, superpixels
    from labelwise.selection.spread import coral, deduplicate, k_center
    from labelwise.selection.terms import Part
    from labelwise.selection.tree import hierarchical
    from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, per_value, shortlist

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
    "BestPixels": "pixels",
    "Inputs": "compose",
    "Picks": "picks",
    "Places": "places",
    "RegionRows": "candidates",
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
    "class_divergence": "class_balance",
    "cluster_margin": "clustered",
    "empty_quota": "wrappers",
    "choose_regions": "regions",
    "choose_superpixels": "segments",
    "coral": "spread",
    "draw": "pixels",
    "evenly": "pixels",
    "facility_location": "coverage",
    "galaxy": "borders",
    "graph_density": "graph",
    "herding": "coverage",
    "hierarchical": "tree",
    "informative_diverse": "clustered",
    "join_places": "places",
    "join_rows": "candidates",
    "k_center": "spread",
    "margin_cluster_mean": "clustered",
    "max_herding": "coverage",
    "needs": "compose",
    "novel": "novelty",
    "object_coverage": "object_cover",
    "object_k_center": "object_spread",
    "per_group": "wrappers",
    "per_value": "wrappers",
    "ppal": "matching",
    "pixel_pick": "pixels",
    "probcover": "balls",
    "random": "ranking",
    "region_rows": "candidates",
    "score_superpixels": "segments",
    "shortlist": "wrappers",
    "stochastic": "ranking",
    "superpixels": "segments",
    "top": "ranking",
    "top_pixels": "pixels",
    "two_round_facility_location": "distributed",
    "two_round_k_center": "distributed",
    "typiclust": "density",
    "within": "regions",
    "wrap": "compose",
}

__all__ = [
    "BestPixels",
    "Inputs",
    "Part",
    "Picks",
    "Places",
    "RegionRows",
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
    "choose_regions",
    "choose_superpixels",
    "class_balanced",
    "class_divergence",
    "cluster_margin",
    "combined",
    "coral",
    "deduplicate",
    "draw",
    "empty_quota",
    "evenly",
    "facility_location",
    "galaxy",
    "graph_density",
    "herding",
    "hierarchical",
    "informative_diverse",
    "join_places",
    "join_rows",
    "k_center",
    "margin_cluster_mean",
    "max_herding",
    "mixture",
    "most_similar",
    "most_typical",
    "needs",
    "novel",
    "object_coverage",
    "object_k_center",
    "per_group",
    "per_value",
    "pixel_pick",
    "ppal",
    "probcover",
    "random",
    "region_rows",
    "robust_k_center",
    "score_superpixels",
    "shortlist",
    "stochastic",
    "superpixels",
    "threshold",
    "top",
    "top_pixels",
    "two_round_facility_location",
    "two_round_k_center",
    "typiclust",
    "within",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
