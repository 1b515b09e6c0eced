"""Backends that draw curves (files, TensorBoard, W&B): one W&B run for all rounds, and the figures of each round."""

from __future__ import annotations

import gc
import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import VISUALIZERS, DefaultScope
from mmengine.visualization import Visualizer

from labelwise import mmlab

# Our figures, by the names of mmsegmentation's IoUMetric, which gives per cent.
NAMES: Mapping[str, str] = {"miou": "mIoU", "pixel_accuracy": "aAcc", "class_accuracy": "mAcc"}
SPLITS: Mapping[str, str] = {"test": "val", "audit": "audit"}


def followed(config: Any, home: Path) -> dict[str, Any]:
    """The visualizer of a configuration, whose W&B backends go on in one run for all rounds of the folder ``home``."""
    given = dict(config.get("visualizer") or {"type": "Visualizer"})
    found = mmlab.backends(config)
    for one in found:
        if mmlab.type_name(one["type"]) == "WandbVisBackend":
            known = {"id": _run_id(home), "resume": "allow", "dir": str(home)}
            one["init_kwargs"] = {**known, **(one.get("init_kwargs") or {})}
    return {**given, "vis_backends": found} if found else given


def draw_figures(config: Any, home: Path, folder: Path, round: int, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the figures of a round, by split, to the backends: ``val/mIoU``, ``val/IoU.car`` and so on, in per cent."""
    if not mmlab.backends(config):
        return
    values: dict[str, float] = {"round": round, "step": round}
    for split, scores in figures.items():
        prefix = SPLITS.get(split, split)
        found = {f"{prefix}/{NAMES[name]}": value for name, value in scores.items() if name in NAMES}
        each = zip(scores.get("classes", ()), scores.get("iou", ()), strict=True)
        found |= {f"{prefix}/IoU.{name}": value for name, value in each}
        values |= {name: 100 * float(value) for name, value in found.items() if math.isfinite(value)}
    name = f"labelwise-{uuid.uuid4().hex}"
    with mmlab.scope(config):
        try:
            visualizer = VISUALIZERS.build({**followed(config, home), "name": name, "save_dir": str(folder)})
            visualizer.add_scalars(values, step=round)
            visualizer.close()
        finally:
            forget(name)


def forget(name: str) -> None:
    """Remove what mmengine keeps by the name of an experiment for as long as the process lives."""
    for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
        kept = kind._instance_dict
        for key in [k for k in kept if k.startswith(name)]:
            instance = kept.pop(key)
            for handler in list(getattr(instance, "handlers", ())):
                handler.close()
    gc.collect()  # the loader's processes end with it


def _run_id(home: Path) -> str:
    """The name of the W&B run of a folder, made up once."""
    file = home / "wandb.id"
    if not file.is_file():
        home.mkdir(parents=True, exist_ok=True)
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
