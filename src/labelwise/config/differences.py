"""Which keys differ between two configurations, and which may differ while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelwise.config.tree import Config

# What may change between two calls of `run` without changing any pick.
FREE_KEYS = frozenset(
    {
        "advice",
        "engine",
        "budget.rounds",
        "budget.total",
        "annotator.blank",
        "annotator.counts",
        "annotator.document_root",
        "annotator.images",
        "annotator.images_url",
        "annotator.new_classes",
        "annotator.open",
        "annotator.patience",
        "annotator.poll",
        "annotator.port",
        "annotator.stage",
        "annotator.timeout",
        "annotator.url",
        "cache",
        "data.write_back",
        "name",
        "out",
        "pictures_folder",
        "pictures_style",
        "threshold",
    }
    | {"threads"}
)


def differing_keys(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ and matter for the picks, each with both values."""
    before, after = (_flatten(c.model_dump(mode="json")) for c in (old, new))
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    relevant = [k for k in changed if not any(k == free or k.startswith(free + ".") for free in FREE_KEYS)]
    return [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in relevant]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
