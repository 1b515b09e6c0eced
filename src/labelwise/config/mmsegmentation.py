"""Reading an mmsegmentation configuration with ``active_learning = dict(...)`` as the configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwise import mmlab
from labelwise.config.heuristic import strategy
from labelwise.config.mm_old import logging_options, refuse_old_keys
from labelwise.config.mm_values import branch, truth, whole
from labelwise.config.workflow import round_lengths
from labelwise.errors import ConfigError

MODES = ("image", "pixel", "region")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "image": ("initial_pool", "budget_per_round", "ignore_index"),
    "pixel": ("sample_threshold", "budget_per_round", "initial_label_pixels", "sample_evenly", "ignore_index"),
    "region": (
        "radius",
        "budget_per_round",
        "initial_label_pixels",
        "sample_evenly",
        "ignore_index",
        "sample_threshold",
    ),
}
ACTIVE = ("settings", "heuristic", "heuristic_cfg", "visualize", "reset_each_round")
RUNNER = ("type", "sample_mode", "sample_rounds", "warmup_only")
# Options of the model mmseg beside the configuration itself: under ``model``, no keys of mmengine.
MODEL_KEYS = (
    *("start", "length", "passes", "consistency", "negative", "negative_below", "flip", "warmup", "reconstructions"),
    *("validate_every", "keep_points", "processes"),
)
RUNNERS = ("ActiveLearningRunner", "MultiTaskActiveRunner")
Tree = dict[str, Any]


def translated(path: Path, options: Mapping[str, Any]) -> tuple[Tree, list[str]]:
    """The tree of a run that a configuration describes, and notes on what is done differently.

    ``options`` are merged into the configuration first. Raises ConfigError, in one line that begins with the file and
    the key, for what is missing or cannot be used.
    """
    config, added, notes = _loaded(path, options)
    runner = branch(config.get("runner"), f"{path}: runner", RUNNER)
    active = branch(config["active_learning"], f"{path}: active_learning", ACTIVE)
    mode, rounds = _runner(config, runner, f"{path}: runner")
    lengths = None
    if config.get("workflow") is not None:
        lengths, more = round_lengths(config["workflow"], rounds, f"{path}: workflow")
        notes += more
    elif rounds is None:
        raise ConfigError(f"{path}: runner.sample_rounds is missing: give it, or an irregular workflow")
    notes += _ignored(config)
    count = len(lengths) if lengths else rounds
    start = _start(active, f"{path}: active_learning.reset_each_round")
    adapting = _adapting(config, path)
    merged = {k: v for k, v in {**options, **added}.items() if not k.startswith("work_dir")}
    kept = {"cfg_options": merged} if merged else {}
    work = Path(str(options.get("work_dir") or config.get("work_dir") or Path("work_dirs") / path.stem)).absolute()
    tree: Tree = {
        "name": work.name,
        "out": str(work.parent),
        "task": "segment",
        "data": {"format": "mmseg", "path": str(path.absolute()), **kept},
        "model": {"name": "mmseg", "config": str(path.absolute()), "start": start, **kept},
        "budget": {"unit": mode, "rounds": count},
        "cold_start": "random",
    }
    if lengths:
        tree["model"]["length"] = lengths
    if adapting:
        tree["source"] = {**tree["data"], "part": "source"}
        tree["data"] = {**tree["data"], "part": "target"}
    settings = branch(active.get("settings"), f"{path}: active_learning.settings", MODES)
    own = branch(settings.get(mode), f"{path}: active_learning.settings.{mode}", SETTINGS[mode])
    where = f"{path}: active_learning.settings.{mode}"
    tree["budget"] |= _budget(own, mode, where, notes, adapting)
    tree["strategy"] = strategy(config, active, own, mode, path)
    if mode != "image":
        tree["cold_start"] = {"name": "random", "evenly": tree["strategy"]["evenly"]}
    tree |= _pictures(active, f"{path}: active_learning.visualize")
    tree["model"] |= _multi_task(config, work, path)
    if mode == "image" and active.get("visualize") is not None:
        notes.append("active_learning.visualize is for pixels and regions: the report shows the images of each round")
    return tree, notes


def _loaded(path: Path, options: Mapping[str, Any]) -> tuple[Any, dict[str, Any], list[str]]:
    """The configuration, what was added to it for its logging hooks, and notes on that."""
    config = mmlab.load_config(path, {k: v for k, v in options.items() if not k.startswith("work_dir")})
    refuse_old_keys(config, path)
    if config.get("active_learning") is None:
        raise ConfigError(
            f"{path}: expected active_learning=dict(settings=..., heuristic=...) in a configuration of "
            "mmsegmentation, found none"
        )
    _require_new_keys(config, path)
    added, notes = logging_options(config, path)
    config.merge_from_dict(added)
    try:
        mmlab.backends(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config, added, notes


def _require_new_keys(config: Any, path: Path) -> None:
    for key in ("model", "train_dataloader", "optim_wrapper"):
        if not config.get(key):
            raise ConfigError(f"{path}: the key {key!r} of mmsegmentation 1.x is missing")
    if not mmlab.heads(config["model"]):
        raise ConfigError(f"{path}: expected model.decode_head, found none: the model must segment pixels")
    known = mmlab.class_names(config, mmlab.plain_datasets(config["train_dataloader"]["dataset"])[0])
    for head in mmlab.heads(config["model"]) if known else ():
        if head.get("num_classes") != len(known):
            raise ConfigError(
                f"{path}: expected model.decode_head.num_classes={len(known)} for the classes of the training dataset, "
                f"found {head.get('num_classes')!r}"
            )


def _runner(config: Any, runner: Mapping[str, Any], where: str) -> tuple[str, int | None]:
    kind = mmlab.type_name(runner.get("type", ""))
    if kind not in RUNNERS:
        raise ConfigError(f"{where}.type: expected {' or '.join(RUNNERS)}, found {runner.get('type')!r}")
    if kind == "MultiTaskActiveRunner" and not mmlab.multi_task(config):
        raise ConfigError(
            f"{where}.type: 'MultiTaskActiveRunner' needs model.type='MultiTaskSegmentor' with a "
            f"SharedVisionTransformer and a MaskDecodeHead, found {config['model'].get('type')!r}"
        )
    if runner.get("warmup_only"):
        raise ConfigError(
            f"{where}.warmup_only: a warm-up alone is not made here: leave it out and set mae_warmup_epochs, then the "
            "run begins with it, once, and every round from scratch goes on from there"
        )
    mode = runner.get("sample_mode")
    if mode not in MODES:
        raise ConfigError(f"{where}.sample_mode: expected {', '.join(MODES)}, found {mode!r}")
    rounds = runner.get("sample_rounds")
    return str(mode), None if rounds is None else whole(rounds, f"{where}.sample_rounds")


def _ignored(config: Any) -> list[str]:
    known = {
        "mask_dir": "labels are kept in the run's folder",
        "scale_size": "labels have the size of the pictures",
        "mae_val_iter": "multitask_validation_iter says when losses of the validation images are logged",
    }
    if not mmlab.multi_task(config):
        known |= dict.fromkeys(("mae_viz_dir", "mae_warmup_epochs"), "the model reconstructs nothing")
    return [f"{key} is not needed: {why}" for key, why in known.items() if config.get(key) is not None]


def _multi_task(config: Any, work: Path, path: Path) -> Tree:
    """Options of the model: warm-up and pictures of a network that reconstructs, and losses on validation images."""
    tree: Tree = {}
    keys = {"multitask_validation_iter": "validate_every"}
    if mmlab.multi_task(config):
        keys["mae_warmup_epochs"] = "warmup"
        folder = config.get("mae_viz_dir") or "reconstructed_images"
        if not isinstance(folder, str):
            raise ConfigError(f"{path}: mae_viz_dir: expected the name of a folder, found {folder!r}")
        tree["reconstructions"] = str(work / folder)
    for key, option in keys.items():
        value = config.get(key)
        if value in (None, False):
            continue
        if whole(value, f"{path}: {key}", least=0, expected="a number"):
            tree[option] = value
    if "validate_every" in tree and not (config.get("val_dataloader") or config.get("test_dataloader")):
        raise ConfigError(f"{path}: multitask_validation_iter needs val_dataloader, found none")
    return tree


def _start(active: Mapping[str, Any], where: str) -> str:
    return "scratch" if truth(active.get("reset_each_round", True), where) else "continue"


def _adapting(config: Any, path: Path) -> bool:
    """True if a labelled source is learnt from beside the pool."""
    free = truth(config.get("source_free", True), f"{path}: source_free")
    if not free and not mmlab.several_datasets(config["train_dataloader"].get("dataset")):
        raise ConfigError(
            f"{path}: source_free=False: expected train_dataloader.dataset=[source, target] (or a ConcatDataset), "
            "found one dataset"
        )
    return not free


def _budget(own: Mapping[str, Any], mode: str, where: str, notes: list[str], adapting: bool) -> Tree:
    if own.get("ignore_index", 255) != 255:
        raise ConfigError(f"{where}.ignore_index: expected 255, found {own['ignore_index']!r}")
    first = "initial_pool" if mode == "image" else "initial_label_pixels"
    amounts: list[int | str] = []
    for key in (first, "budget_per_round"):
        if adapting and key == first and own.get(key, 0) == 0:  # round 0 learns from the source alone
            amounts.append(0)
            continue
        if key not in own:
            raise ConfigError(f"{where}.{key} is missing")
        amounts.append(_amount(own[key], f"{where}.{key}"))
    if mode != "region":
        return {"initial": amounts[0], "per_round": amounts[1]}
    radius = whole(own.get("radius", 1), f"{where}.radius")
    side = 2 * radius + 1
    windows = [max(min(a, 1), a // side**2) if isinstance(a, int) else a for a in amounts]
    notes.append(f"settings.region counts pixels: {windows[1]} windows of {side} x {side} pixels are asked a round")
    return {"initial": windows[0], "per_round": windows[1], "radius": radius}


def _amount(value: Any, where: str) -> int | str:
    if isinstance(value, str) and value.rstrip().endswith("%"):
        return value
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return whole(value, where, expected="a number above 0, of the whole dataset")


def _pictures(active: Mapping[str, Any], where: str) -> Tree:
    if active.get("visualize") is None:
        return {}
    given = branch(active["visualize"], where, ("size", "overlay", "dir"))
    tree: Tree = {}
    if "size" in given:
        tree["pictures"] = whole(given["size"], f"{where}.size", least=0, expected="a number of pictures")
    if "overlay" in given:
        tree["pictures_style"] = "over" if truth(given["overlay"], f"{where}.overlay") else "beside"
    if given.get("dir") is not None:
        tree["pictures_folder"] = str(Path(str(given["dir"])).absolute())
    return tree
