"""What a self-supervised training keeps on the disk: what it is, the last whole epoch, its losses, and the backbone.

No pickle: tensors in safetensors, the rest in JSON. A checkpoint is one file, replaced at once: a process killed at any
moment leaves the last epoch or the one before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.embedding.backbone import save_tensors
from labelwise.errors import RunChanged, RunError
from labelwise.ownership import replace_text
from labelwise.records import Sample

ABOUT, CHECKPOINT, BACKBONE, LOSSES = "training.json", "checkpoint.safetensors", "backbone.safetensors", "losses.csv"


@dataclass(frozen=True)
class Progressed:
    """How far a training is: epochs done, and their mean losses."""

    epochs: int
    losses: tuple[float, ...]


def describe(settings: Mapping[str, Any], backbone: Mapping[str, Any], samples: Sequence[Sample]) -> dict[str, Any]:
    """All that decides what a training gives, as plain data."""
    digest = hashlib.blake2b(digest_size=16)
    for sample in samples:
        digest.update(f"{sample.content} {sample.id}\n".encode())
    images = {"count": len(samples), "digest": digest.hexdigest()}
    described: dict[str, Any] = json.loads(json.dumps({**backbone, **settings, "images": images}, default=str))
    return described


def begin(folder: Path, about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the folder's finished training was made with, else None after noting what this one is made with.

    Raises RunChanged if the folder holds a training with other settings, or an unfinished one on other images.
    """
    described = folder / ABOUT
    if not described.exists():
        replace_text(described, json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False))
        return None
    try:
        before: dict[str, Any] = json.loads(described.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(f"{described} is damaged: delete the folder {folder} to train anew") from None
    done = (folder / BACKBONE).exists()
    keys = sorted(before.keys() | about.keys())
    differing = [k for k in keys if before.get(k) != about.get(k) and not (done and k == "images")]
    if differing:
        changes = ", ".join(_change(k, before.get(k), about.get(k)) for k in differing)
        raise RunChanged(
            f"{folder} holds a training with other settings ({changes}): give them again to continue it, name another "
            "folder with --trained, or delete this one"
        )
    return before if done else None


def save(folder: Path, learner: Any, optimizer: Any, progressed: Progressed) -> None:
    """Write the state after an epoch, and the losses so far."""
    tensors = {f"learner.{name}": tensor.detach() for name, tensor in _tensors(learner).items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    metadata = {"epochs": str(progressed.epochs), "losses": json.dumps(progressed.losses)}
    save_tensors(tensors, folder / CHECKPOINT, metadata)
    rows = [f"{epoch},{loss!r}" for epoch, loss in enumerate(progressed.losses, start=1)]
    replace_text(folder / LOSSES, "\n".join(["epoch,loss", *rows, ""]))


def restore(folder: Path, learner: Any, optimizer: Any) -> Progressed:
    """Put the last epoch's state into learner and optimiser; nothing where there is none."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        return Progressed(0, ())
    own = _tensors(learner)
    state: dict[int, dict[str, Any]] = {}
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                kind, _, rest = name.partition(".")
                if kind == "learner":
                    own[rest].data.copy_(file.get_tensor(name))
                else:
                    index, _, key = rest.partition(".")
                    state.setdefault(int(index), {})[key] = file.get_tensor(name)
            metadata = file.metadata()
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return Progressed(int(metadata["epochs"]), tuple(json.loads(metadata["losses"])))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path} is damaged ({reason}): delete the folder {folder} to train anew") from None


def save_backbone(folder: Path, network: Any) -> Path:
    """Write the trained backbone as weights of timm, and drop the checkpoint, which nothing needs any more."""
    path = folder / BACKBONE
    save_tensors(network.state_dict(), path, {})
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return path


def read_losses(folder: Path) -> tuple[float, ...]:
    """The mean loss of each epoch of a finished training."""
    path = folder / LOSSES
    lines = path.read_text(encoding="utf-8").split()[1:] if path.exists() else []
    return tuple(float(line.partition(",")[2]) for line in lines)


def _tensors(learner: Any) -> dict[str, Any]:
    # Not state_dict: it leaves out buffers such as the queue of MoCo.
    return dict(learner.named_parameters()) | dict(learner.named_buffers())


def _change(key: str, before: Any, now: Any) -> str:
    if key == "images":
        return "the images in the folder have changed"
    return f"{key}: {before!r} -> {now!r}"
