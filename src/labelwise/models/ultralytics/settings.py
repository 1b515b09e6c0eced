"""The settings of a training by ultralytics: from a mapping or a file, and none that a run decides itself."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from labelwise.catalog import suggest
from labelwise.errors import ConfigError
from labelwise.models.ultralytics.quiet import load

# What the run decides itself, and how else it is said.
_OURS = {
    "model": "model.weights",
    "pretrained": "model.weights",
    "data": "data",
    "seed": "seed",
    "resume": "nothing: run it again to resume",
    "fraction": "budget",
    **dict.fromkeys(("project", "name", "save_dir", "exist_ok"), "out and name"),
    **dict.fromkeys(("mode", "task", "save", "save_period", "split", "single_cls", "classes"), "nothing"),
    **dict.fromkeys(("conf", "iou", "max_det"), "model.threshold, overlap and most"),
}
_READERS: dict[str, Callable[[str], Any]] = {
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".toml": tomllib.loads,
    ".json": json.loads,
}


def read_settings(given: Mapping[str, Any] | Path | str | None) -> dict[str, Any]:
    """The settings as a mapping; of a file (YAML, TOML, JSON) the part ``train`` where it has one.

    Raises ConfigError, naming the key, for a file that cannot be read or a setting that the run itself decides.
    """
    found = dict(given) if isinstance(given, Mapping) else {} if given is None else _of_file(Path(given))
    if isinstance(found.get("train"), Mapping):
        found = dict(found["train"])
    for name in found:
        if name in _OURS:
            raise ConfigError(f"model.settings.{name}: a run decides this itself ({_OURS[name]}); take it out")
    return found


def checked(settings: Mapping[str, Any], home: Path) -> None:
    """Raise ConfigError for a setting that this version of ultralytics does not know."""
    known = load("ultralytics.utils", home).DEFAULT_CFG_DICT
    for name in settings:
        if name not in known:
            raise ConfigError(f"unknown key model.settings.{name}: {suggest(name, set(known) - set(_OURS))}")


def _of_file(path: Path) -> dict[str, Any]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"model.settings: expected a .yaml, .toml or .json file, but found {str(path)!r}")
    try:
        found = reader(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"model.settings: {path} cannot be read: {error.strerror}; check the path") from None
    except (ValueError, yaml.YAMLError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"model.settings: {path} cannot be read: {line}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"model.settings: {path}: expected settings by name, but found {type(found).__name__}")
    return found
