"""OpenMMLab's packages, which are optional: asking for them, reading one of their configurations, and its parts."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from labelwise.errors import ConfigError

PACKAGES = ("mmengine", "mmcv", "mmseg")
# Keys of mmengine that an option may add to a configuration.
KEYS = frozenset(
    f"{part}_{kind}" for part in ("train", "val", "test") for kind in ("dataloader", "cfg", "evaluator", "pipeline")
) | {"model", "load_from", "resume", "work_dir", "env_cfg", "data_preprocessor", "visualizer", "vis_backends"}
INSTALL = "pip install 'labelwise[mmseg]'"


def require() -> None:
    """Raise ConfigError with the line that installs them if one of the packages is missing."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        raise ConfigError(f"mmsegmentation configurations need {', '.join(lacking)}, found none installed: {INSTALL}")


def load_config(path: Path | str, options: Mapping[str, Any] | None = None) -> Any:
    """A configuration of mmengine with ``options`` (dotted keys) merged into it; its ``custom_imports`` are imported.

    Modules it imports are also looked for in the working folder. Raises ConfigError, in one line, for a missing
    package, a missing file, and a file that cannot be run.
    """
    require()
    from mmengine.config import Config

    if not Path(path).is_file():
        raise ConfigError(f"no file {str(path)!r}: expected an mmengine configuration (.py)")
    with _working_folder_importable(), _known_by_module(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = Config.fromfile(str(path))
        except Exception as error:
            raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {_first_line(error)}") from error
    if options:
        _refuse_slips(options, config, path)
        try:
            config.merge_from_dict({key: _option(value) for key, value in options.items()})
        except Exception as error:
            raise ConfigError(f"{path}: these options do not fit: {_first_line(error)}") from error
    return config


def _refuse_slips(options: Mapping[str, Any], config: Any, path: Path | str) -> None:
    """A first word that is nearly one of the configuration's would be a new key, and change nothing."""
    for key in options:
        word = key.partition(".")[0]
        near = difflib.get_close_matches(word, config, n=1, cutoff=0.8)
        if word not in config and word not in KEYS and near:
            raise ConfigError(
                f"{path}: the option {key!r} is for no key of the configuration: did you mean {near[0]!r}?"
            )


def _option(value: Any) -> Any:
    """An option as mmengine's --cfg-options would read it: 1e-3 and None are no texts, (1,2) is a tuple.

    mmengine takes out all spaces; here those of names and paths stay.
    """
    from mmengine.config import DictAction

    if not isinstance(value, str):
        return value
    if value.startswith(("(", "[")):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):  # words without quotes
            return DictAction._parse_iterable(value)
    return value if " " in value else DictAction._parse_iterable(value)


@contextmanager
def scope(config: Any) -> Iterator[None]:
    """Inside it names such as ``FPNHead`` mean those of mmsegmentation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmengine.registry import DefaultScope

        _register()
        with DefaultScope.overwrite_default_scope(config.get("default_scope") or "mmseg"):
            yield


def _register() -> None:
    """Let mmsegmentation make its names known; what its import prints is no answer to anyone's command."""
    with redirect_stdout(io.StringIO()):
        from mmseg.utils import register_all_modules

        register_all_modules(init_default_scope=False)


def type_name(kind: Any) -> str:
    """The bare name of a type in a configuration: a text with or without a scope, or a class."""
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return text.rpartition(".")[2].rpartition("::")[2]


def plain_datasets(dataset: Any) -> list[Any]:
    """The datasets inside wrappers such as RepeatDataset and ConcatDataset, as configuration."""
    if isinstance(dataset, (list, tuple)):
        return [inner for one in dataset for inner in plain_datasets(one)]
    if "dataset" in dataset:
        return plain_datasets(dataset["dataset"])
    if "datasets" in dataset:
        return plain_datasets(dataset["datasets"])
    return [dataset]


def several_datasets(dataset: Any) -> list[Any]:
    """The datasets that a list or a ConcatDataset holds, if two or more; else none."""
    if isinstance(dataset, Mapping) and type_name(dataset.get("type", "")) == "ConcatDataset":
        dataset = dataset.get("datasets")
    return list(dataset) if isinstance(dataset, (list, tuple)) and len(dataset) > 1 else []


def class_names(config: Any, dataset: Any) -> tuple[str, ...]:
    """The classes that a dataset of a configuration names, itself or by its type; none if they cannot be told."""
    if own := (dataset.get("metainfo") or {}).get("classes"):
        return tuple(own) if isinstance(own, (list, tuple)) else ()  # a file's name is left to the dataset
    with scope(config):
        from mmengine.registry import DATASETS

        kind = dataset.get("type")
        found = DATASETS.get(kind) if isinstance(kind, str) else kind
    return tuple((getattr(found, "METAINFO", None) or {}).get("classes") or ())


def by_epoch(train_cfg: Mapping[str, Any]) -> bool:
    """True if a training is counted in epochs, False if in iterations."""
    if "type" in train_cfg:
        return "Iter" not in type_name(train_cfg["type"])
    return bool(train_cfg.get("by_epoch", "max_iters" not in train_cfg))


def backends(config: Any) -> list[dict[str, Any]]:
    """The backends of a configuration's visualizer. Raises ConfigError for W&B's where wandb is missing."""
    found = [dict(one) for one in (config.get("visualizer") or {}).get("vis_backends") or []]
    if any(type_name(one.get("type")) == "WandbVisBackend" for one in found) and not importlib.util.find_spec("wandb"):
        raise ConfigError("logging to W&B (WandbVisBackend) needs wandb, found it not installed: pip install wandb")
    return found


def multi_task(config: Any) -> bool:
    """True if a model also learns to reconstruct hidden parts of images."""
    return type_name((config.get("model") or {}).get("type", "")) == "MultiTaskSegmentor"


def drops(model: Mapping[str, Any]) -> bool:
    """True if a model's output depends on dropout; a decode head that says nothing of it drops some."""
    parts = [model.get("backbone"), model.get("neck"), *({"dropout_ratio": 0.1, **head} for head in heads(model))]
    return any(_drop_rate(part) for part in parts)


def _drop_rate(part: Any) -> bool:
    if isinstance(part, (list, tuple)):
        return any(map(_drop_rate, part))
    if not isinstance(part, Mapping):
        return False
    return any(
        "drop" in str(key) and "path" not in str(key) and value > 0
        if isinstance(value, (int, float))
        else _drop_rate(value)
        for key, value in part.items()
    )


def heads(model: Mapping[str, Any]) -> list[Any]:
    """The decode heads of a model, the last of a cascade at the end."""
    found = model.get("decode_head")
    if found is None:
        return []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _known_by_module() -> Iterator[None]:
    # `_base_ = ["mmseg::..."]` is looked for in the package mmsegmentation; the maintained one has another name.
    from mmengine.config.utils import MODULE2PACKAGE

    before = MODULE2PACKAGE["mmseg"]
    MODULE2PACKAGE["mmseg"] = "mmseg"
    try:
        yield
    finally:
        MODULE2PACKAGE["mmseg"] = before


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    # As `python tools/train.py` with PYTHONPATH=. would have it; configurations import datasets from beside them.
    here = os.getcwd()  # noqa: PTH109
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
