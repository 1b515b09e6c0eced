"""Networks of ultralytics as plain arrays: built from their description, filled from a checkpoint, written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise.embedding.backbone import save_tensors
from labelwise.errors import ModelError
from labelwise.models.ultralytics.quiet import load as load_module
from labelwise.models.ultralytics.quiet import read_json

ARRAYS, ABOUT = "network.safetensors", "about.json"


def build(description: Mapping[str, Any], classes: int, home: Path) -> Any:
    """The untrained network that a description (ultralytics' yaml as a mapping) means, for so many classes.

    Raises ModelError for anything but a detector.
    """
    tasks = load_module("ultralytics.nn.tasks", home)
    heads = load_module("ultralytics.nn.modules.head", home)
    try:
        network = tasks.DetectionModel(dict(description), nc=classes, verbose=False)
    except Exception as error:  # a yaml of classification, say, breaks where it likes
        raise ModelError(f"model.weights: ultralytics cannot build a detector from it: {error}") from error
    head = network.model[-1]
    others = ("Segment", "Pose", "OBB", "WorldDetect", "YOLOEDetect")
    wrong = tuple(getattr(heads, name) for name in others if hasattr(heads, name))
    if not isinstance(head, heads.Detect) or isinstance(head, wrong):
        raise ModelError(f"model.weights: expected a YOLO that detects boxes, found the head {type(head).__name__}")
    return network


def load(checkpoint: Path, home: Path) -> Any:
    """The network of a checkpoint, ready to predict."""
    from safetensors.torch import load_file

    about: dict[str, Any] = read_json(checkpoint / ABOUT)
    network = build(about["yaml"], max(1, len(about["classes"])), home)
    network.load_state_dict(load_file(checkpoint / ARRAYS))
    # Of heads with two branches that with many boxes an object gives all classes, before any choice.
    network.model[-1].end2end = False
    return network.float()


def fill(network: Any, checkpoint: Path, classes: Sequence[str]) -> None:
    """Take over all arrays of a checkpoint that fit; where its classes are the first of ``classes``, their rows too.

    Raises ModelError if a run's checkpoint has its classes in another order.
    """
    from safetensors.torch import load_file

    about = read_json(checkpoint / ABOUT)
    known = list(about["classes"])
    same = list(classes[: len(known)]) == known
    if about.get("trained") and not same:
        raise ModelError(f"{checkpoint}: expected the classes {', '.join(known)} first, found {', '.join(classes)}")
    own = network.state_dict()
    for name, value in load_file(checkpoint / ARRAYS).items():
        if name not in own or (value.shape == own[name].shape and ".cv3." in name and not same and _rows(value, known)):
            continue
        if value.shape == own[name].shape:
            own[name] = value
        elif same and _rows(value, known) and value.shape[1:] == own[name].shape[1:]:
            own[name][: len(known)] = value
    network.load_state_dict(own)


def write(network: Any, out: Path, about: Mapping[str, Any]) -> None:
    """Write arrays and ``about`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    save_tensors({k: v.clone() for k, v in network.state_dict().items()}, out / ARRAYS, {})
    text = json.dumps(dict(about), ensure_ascii=False, indent=1)
    (out / ABOUT).write_text(text, encoding="utf-8")


def _rows(value: Any, classes: Sequence[str]) -> bool:
    return bool(value.ndim and len(value) == len(classes))
