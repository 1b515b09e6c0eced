"""Importing ultralytics without what it does beside: no settings of the user, no network, no changed environment."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.errors import ConfigError

INSTALL = "pip install 'labelwise[ultralytics]'"
# What ultralytics reads while it is imported.
_OFF = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
_INTEGRATIONS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "vscode_msg", "hub")


def require() -> None:
    """Raise ConfigError with the line that installs ultralytics if it is missing."""
    if importlib.util.find_spec("ultralytics") is None:
        raise ConfigError(f"model=ultralytics needs ultralytics (AGPL-3.0), found it not installed: {INSTALL}")


def environment(home: Path) -> dict[str, str]:
    """The variables that keep ultralytics inside ``home`` and off the network."""
    return {**_OFF, "YOLO_CONFIG_DIR": str(home.resolve()), "MPLCONFIGDIR": str((home / "matplotlib").resolve())}


def load(name: str, home: Path) -> Any:
    """A module of ultralytics; importing it leaves environment, printing, threads and torch.save as they were.

    Its settings file lies in ``home``; in a process that has imported ultralytics before, it is left as it is.
    """
    require()
    with _undone(home):
        return importlib.import_module(name)


def switch_off(home: Path) -> None:
    """Write settings into ``home`` that send nothing and use nobody's service; made by ultralytics itself first."""
    settings = load("ultralytics.utils", home).SETTINGS
    known: Mapping[str, Any] = dict(settings)
    off = {name: False for name in _INTEGRATIONS if isinstance(known.get(name), bool)}
    places = {"datasets_dir": "datasets", "weights_dir": "weights", "runs_dir": "runs"}
    settings.update(off | {name: str((home / folder).resolve()) for name, folder in places.items() if name in known})


@contextmanager
def _undone(home: Path) -> Iterator[None]:
    import torch

    kept = dict(os.environ)
    numbers, save = np.get_printoptions(), torch.save
    printing = dict(vars(torch._tensor_str.PRINT_OPTS))
    threads = _cv2_threads()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(home))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
        np.set_printoptions(**numbers)
        vars(torch._tensor_str.PRINT_OPTS).update(printing)
        torch.save = save
        _cv2_threads(threads)


def _cv2_threads(number: int | None = None) -> int:
    import cv2

    if number is not None:
        cv2.setNumThreads(number)
    return int(cv2.getNumThreads())


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
