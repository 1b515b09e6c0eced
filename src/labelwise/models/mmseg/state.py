"""What a training that goes on takes from round to round: optimiser, schedules and counters; nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from labelwise.embedding.backbone import save_tensors
from labelwise.errors import ModelError

FILE, TENSORS = "training.json", "optimizer.safetensors"


def keep(runner: Any, out: Path) -> None:
    """Write the state of a runner whose training has ended."""
    wrapper = _single(runner)
    state = wrapper.optimizer.state_dict()
    tensors: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            (tensors if torch.is_tensor(value) else plain)[f"{index}.{key}"] = value
    about = {
        "epoch": runner.epoch,
        "iter": runner.iter,
        "groups": state["param_groups"],
        "plain": plain,
        "schedules": [one.state_dict() for one in runner.param_schedulers or ()],
        "scaler": wrapper.loss_scaler.state_dict() if hasattr(wrapper, "loss_scaler") else None,
    }
    save_tensors(tensors, out / TENSORS, {})
    (out / FILE).write_text(json.dumps(about, default=_number), encoding="utf-8")


def restore(runner: Any, checkpoint: Path) -> None:
    """Let a runner whose loop, optimiser and schedules are built go on where the checkpoint ended."""
    about = _about(checkpoint)
    wrapper = _single(runner)
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*load_file(checkpoint / TENSORS).items(), *about["plain"].items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    wrapper.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
    if about["scaler"] is not None and hasattr(wrapper, "loss_scaler"):
        wrapper.loss_scaler.load_state_dict(about["scaler"])
    for one, known in zip(runner.param_schedulers or (), about["schedules"], strict=True):
        one.load_state_dict(known)
    runner.train_loop._epoch, runner.train_loop._iter = about["epoch"], about["iter"]


def steps_of(checkpoint: Path) -> int:
    """Iterations done before a checkpoint."""
    return int(_about(checkpoint)["iter"])


def epochs_of(checkpoint: Path) -> int:
    """Epochs done before a checkpoint."""
    return int(_about(checkpoint)["epoch"])


def _about(checkpoint: Path) -> Any:
    return json.loads((checkpoint / FILE).read_text(encoding="utf-8"))


def _single(runner: Any) -> Any:
    if not hasattr(runner.optim_wrapper, "optimizer"):
        raise ModelError("start=continue keeps one optimiser, found several: use start=previous or start=scratch")
    return runner.optim_wrapper


def _number(value: Any) -> Any:
    """A number of numpy or torch as one of JSON."""
    return value.tolist()
