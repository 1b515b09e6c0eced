"""The heuristic of an active-learning configuration of mmsegmentation: the score and the selection that it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwise import catalog, mmlab
from labelwise.config.mm_values import branch, truth, whole
from labelwise.errors import ConfigError


def strategy(config: Any, active: Mapping[str, Any], own: Mapping[str, Any], mode: str, path: Path) -> dict[str, Any]:
    """The strategy of a run that asks for images, pixels or regions (``mode``).

    ``active`` is ``active_learning`` of the configuration, ``own`` its settings for the mode. Raises ConfigError that
    begins with the file and the key.
    """
    where = f"{path}: active_learning"
    tree: dict[str, Any] = {"select": "top"}
    score = _score(config, active, where)
    if score is None:
        tree["select"] = "random"
    else:
        tree["score"] = score
    if mode == "image":
        return tree | ({"reduce": "mean"} if score is not None else {})
    tree["evenly"] = truth(own.get("sample_evenly", True), f"{where}.settings.{mode}.sample_evenly")
    threshold = own.get("sample_threshold", False)
    if threshold is False or threshold is None:
        return tree
    key = f"{where}.settings.{mode}.sample_threshold"
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 100:
        raise ConfigError(f"{key}: expected a percentage above 0 and up to 100, or False, found {threshold!r}")
    if mode == "region":
        raise ConfigError(f"{key}: it draws single pixels; leave it out for regions")
    return tree | {"select": "random", "share": threshold / 100}


def _score(config: Any, active: Mapping[str, Any], where: str) -> Any:
    """The score a heuristic means, or None for chance."""
    name, given = active.get("heuristic"), active.get("heuristic_cfg")
    known = ("random", "entropy", "margin", "ripu", "mps")
    scores = [s for s in catalog.TABLES["score"] if s not in known]
    if name == "mps" and not mmlab.multi_task(config):
        raise ConfigError(
            f"{where}.heuristic: 'mps' needs a model that reconstructs, model.type='MultiTaskSegmentor', found "
            f"{config['model'].get('type')!r}"
        )
    if name not in known and name not in scores and ":" not in str(name):
        raise ConfigError(f"{where}.heuristic: unknown {name!r}: {catalog.suggest(str(name), [*known, *scores])}")
    if given and name in ("random", "entropy", "margin"):
        raise ConfigError(f"{where}.heuristic_cfg is for 'ripu' and 'mps', found heuristic={name!r}: leave it out")
    if name == "random":
        return None
    if name not in ("ripu", "mps"):
        return {"name": name, **(given or {})} if given else name
    keys = ("k", "use_entropy", "categories", *(("crop_size",) if name == "mps" else ()))
    options = branch(given or {}, f"{where}.heuristic_cfg", keys)
    window, size = options.get("crop_size"), config["model"].get("backbone", {}).get("img_size")
    if window is not None and _sides(window) != _sides(size):
        raise ConfigError(f"{where}.heuristic_cfg.crop_size: expected model.backbone.img_size={size}, found {window!r}")
    classes = mmlab.heads(config["model"])[-1].get("num_classes")
    if options.get("categories", classes) != classes:
        raise ConfigError(
            f"{where}.heuristic_cfg.categories: expected model.decode_head.num_classes={classes}, found "
            f"{options['categories']!r}"
        )
    radius = whole(options.get("k", 1), f"{where}.heuristic_cfg.k")
    entropy = truth(options.get("use_entropy", True), f"{where}.heuristic_cfg.use_entropy")
    if name == "mps":
        return {"name": "mps_ripu", "radius": radius} if entropy else "mps"
    return {"name": "ripu" if entropy else "labelwise.scoring.regions:region_impurity", "radius": radius}


def _sides(size: Any) -> tuple[Any, ...]:
    """A size as (height, width): one number means a square."""
    return tuple(size) if isinstance(size, (list, tuple)) else (size, size)
