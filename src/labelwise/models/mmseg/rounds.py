"""One round's training by mmengine's runner: its length, its schedule, its start, and nothing changed outside of it."""

from __future__ import annotations

import random
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.config import ConfigDict

from labelwise import mmlab
from labelwise.embedding.backbone import save_tensors
from labelwise.errors import LabelwiseError, ModelError
from labelwise.models import Plan, Progress
from labelwise.models.mmseg import state
from labelwise.models.mmseg.adaptation import Pairs, adapted, side_by_side
from labelwise.models.mmseg.curves import followed, forget
from labelwise.models.mmseg.labels import Burn, place_of, restricted
from labelwise.models.mmseg.runner import Follow, RoundRunner
from labelwise.models.mmseg.watch import single
from labelwise.records import Labelled, Sample, Target

LOGS = "mmengine"  # the folder of its logs, in the checkpoint's
# What of a schedule is a moment or a length.
TIMES = ("begin", "end", "T_max", "milestones", "step_size", "total_steps", "periods")
NEVER = 10**9
TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class Round:
    """What a training is given: labels, where it begins, and its length and that of all rounds (0: as configured).

    ``adaptation`` is how it learns from a source: weights of the two losses, and the probability below which the second
    one acts. With ``keep_points`` no labelled pixel is lost where the pipeline makes pictures smaller. ``weights`` are
    those of a network where there is no round to begin from; ``stage`` "mae" learns to reconstruct only. ``hooks`` make
    what looks on, from the configuration; ``home`` is where the run's model keeps things.
    """

    train: Sequence[Labelled]
    plan: Plan
    start: Path | None
    goes_on: bool
    length: int
    whole: int
    seed: int
    out: Path
    adaptation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    keep_points: bool = True
    weights: Path | None = None
    stage: str = "both"
    hooks: Sequence[Callable[[Any], Any]] = ()
    home: Path | None = None


def train_round(config: Any, round: Round, progress: Progress) -> None:
    """Train a round and leave network and state in ``round.out``, with mmengine's log beside them."""
    name = f"labelwise-{round.plan.round:03d}-{uuid.uuid4().hex}"
    with _apart(), mmlab.scope(config):
        from labelwise.models.mmseg import multitask  # in the scope, where nothing is printed

        multitask.register()
        try:
            runner = guarded(
                _runner,
                config,
                round,
                name,
                progress,
                failed="mmsegmentation cannot build the training",
                told=round.home,
            )
            guarded(runner.train, failed="the training by mmsegmentation failed", told=round.home)
            if runner.rank == 0:
                save_tensors(_unshared(single(runner.model).state_dict()), round.out / "network.safetensors", {})
            if round.goes_on and runner.rank == 0:
                state.keep(runner, round.out)
        finally:
            forget(name)


def unlabelled(samples: Sequence[Sample]) -> list[Labelled]:
    """Images of which nothing is known."""
    return [Labelled(s, Target((), np.empty((0, 2), np.int32), np.empty(0, np.int64))) for s in samples]


def guarded(make: Any, *given: Any, failed: str, told: Path | None = None) -> Any:
    """What fails inside mmsegmentation is mostly the configuration's: one line, and the traceback beside ``told``."""
    try:
        return make(*given)
    except LabelwiseError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        where = ""
        if told is not None:
            file = told / TRACEBACK
            file.write_text(traceback.format_exc(), encoding="utf-8")
            where = f"; the traceback is in {file}"
        raise ModelError(f"{failed}: {type(error).__name__}: {line}{where}") from error


def _runner(config: Any, round: Round, name: str, progress: Progress) -> RoundRunner:
    trained = training(config, round)
    begin = state.steps_of(round.start) if round.goes_on and round.start is not None else 0
    hooks = {k: v for k, v in (config.get("default_hooks") or {}).items() if k not in ("checkpoint", "visualization")}
    RoundRunner.round = round
    runner = RoundRunner(
        model=trained["model"],
        work_dir=str(round.out / LOGS),
        train_dataloader=_loader(config, round, trained["ignore_index"]),
        train_cfg=trained["train_cfg"],
        optim_wrapper=config["optim_wrapper"].to_dict(),
        param_scheduler=trained["param_scheduler"],
        default_hooks={**hooks, "checkpoint": None},
        custom_hooks=[
            *(config.get("custom_hooks") or []),
            *(make(config) for make in round.hooks),
            Follow(progress, begin, "training iterations" if round.stage == "both" else "iterations of the warm-up"),
        ],
        data_preprocessor=config.get("data_preprocessor"),
        load_from=config.get("load_from"),
        auto_scale_lr=config.get("auto_scale_lr"),
        launcher="pytorch" if dist.is_distributed() else "none",
        env_cfg={},
        log_processor={
            **(config.get("log_processor") or {}),
            "by_epoch": mmlab.by_epoch(trained["train_cfg"]),
        },
        log_level=config.get("log_level", "INFO"),
        visualizer={**followed(config, round.home or round.out), "name": name},
        default_scope=config.get("default_scope") or "mmseg",
        randomness={**(config.get("randomness") or {}), "seed": round.seed},
        experiment_name=name,
        cfg=config,
    )
    runner.round = round
    return runner


def training(config: Any, round: Round) -> dict[str, Any]:
    """What the runner is given for a round: ``model``, ``train_cfg``, ``param_scheduler`` and ``ignore_index``."""
    given = dict(config.get("train_cfg") or {})
    epochs = mmlab.by_epoch(given)
    key = "max_epochs" if epochs else "max_iters"
    own = int(given.get(key) or 0)
    here = round.length or own
    if not here:
        raise ModelError(f"expected train_cfg.{key}, or a workflow that says how long a round trains; found neither")
    done = 0
    if round.goes_on and round.start is not None:
        done = state.epochs_of(round.start) if epochs else state.steps_of(round.start)
    for dropped in ("val_interval", "val_begin", "dynamic_intervals"):
        given.pop(dropped, None)
    given |= {key: done + here, "val_interval": NEVER}
    if "type" not in given:
        given["by_epoch"] = epochs
    if not epochs and done:
        given["fast_forward_on_resume"] = True  # the loader is another one each round: there is nothing to skip
    model = config["model"].to_dict()
    if round.stage != "both":
        model["stage"] = round.stage
    if any(x.target.mask is None for x in round.train):
        _count_labelled_only(model)
    if round.plan.source is not None:
        adapted(model, bool(round.plan.source), bool(round.train), round.adaptation)
    factor = (round.whole or here) / own if own and round.length else 1.0
    return {
        "model": ConfigDict(model),  # some networks ask for attributes
        "train_cfg": given,
        "param_scheduler": stretched(config.get("param_scheduler"), factor),
        "ignore_index": int((mmlab.heads(model) or [{}])[-1].get("ignore_index", 255)),
    }


def stretched(schedulers: Any, factor: float) -> Any:
    """Schedules of another length: every moment and length in them times ``factor``."""
    if schedulers is None:
        return None
    listed = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]
    found = []
    for one in listed:
        changed = dict(one)
        for key in TIMES:
            if isinstance(value := changed.get(key), int):
                changed[key] = round(value * factor) if key == "begin" else max(1, round(value * factor))
            elif isinstance(value, (list, tuple)):
                changed[key] = [max(1, round(v * factor)) for v in value]
        found.append(changed)
    return found


def _count_labelled_only(model: Any) -> None:
    """The mean of a loss is that of the labelled pixels, however few they are."""
    if isinstance(model, (list, tuple)):
        for one in model:
            _count_labelled_only(one)
    elif isinstance(model, dict):
        losses = model.get("loss_decode")
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            if isinstance(loss, dict) and mmlab.type_name(loss.get("type", "")) == "CrossEntropyLoss":
                loss.setdefault("avg_non_ignore", True)
        for value in model.values():
            _count_labelled_only(value)


def _loader(config: Any, round: Round, ignore_index: int) -> dict[str, Any]:
    loader = config["train_dataloader"].to_dict()
    found = [_dataset(loader["dataset"], x, round, ignore_index) for x in (round.plan.source, round.train) if x]
    if not found:
        raise ModelError("there is nothing to learn from: no labelled image, and no source")
    dataset = found[0]
    if len(found) == 2:
        dataset, loader["collate_fn"] = Pairs(*found), side_by_side
    if not loader.get("num_workers"):
        loader = {k: v for k, v in loader.items() if k not in ("persistent_workers", "prefetch_factor")}
    return {**loader, "dataset": dataset}


def _dataset(dataset: Any, labelled: Sequence[Labelled], round: Round, ignore_index: int) -> Any:
    """The configured dataset, of the labelled images only."""
    burn = Burn({place_of(x.sample.path): x for x in labelled}, round.plan.classes, ignore_index, round.keep_points)
    found = restricted(dataset, burn)
    if not len(found):
        raise ModelError("none of the labelled images is in train_dataloader.dataset: look at its data_root")
    return found


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share memory, each with its own: the file format wants it."""
    seen: set[int] = set()
    found = {}
    for name, value in tensors.items():
        found[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return found


@contextmanager
def _apart() -> Iterator[None]:
    """What a runner sets for the whole process is as before afterwards: random numbers, cuDNN, warnings."""
    cudnn = torch.backends.cudnn
    before = random.getstate(), np.random.get_state(), cudnn.benchmark, cudnn.deterministic  # noqa: NPY002
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            cudnn.benchmark, cudnn.deterministic = before[2:]
            torch.use_deterministic_algorithms(strict)
