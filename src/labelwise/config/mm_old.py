"""Keys of mmcv 1.x in an mmsegmentation configuration: what they are called now, and the loggers of the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelwise.errors import ConfigError

# The old key, and what to write instead.
OLD: Mapping[str, str] = {
    "data": "train_dataloader, val_dataloader and test_dataloader, each with dataset=dict(...)",
    "optimizer": "optim_wrapper=dict(type='OptimWrapper', optimizer=dict(...))",
    "optimizer_config": "optim_wrapper=dict(..., clip_grad=..., accumulative_counts=...)",
    "lr_config": "param_scheduler=[dict(type='PolyLR', ...)]",
    "momentum_config": "param_scheduler=[dict(type='...Momentum', ...)]",
    "evaluation": "nothing: every round is judged on val_dataloader.dataset",
    "checkpoint_config": "nothing: every round keeps its checkpoint",
    "fp16": "optim_wrapper=dict(type='AmpOptimWrapper', ...)",
    "total_epochs": "train_cfg=dict(by_epoch=True, max_epochs=...)",
    "total_iters": "train_cfg=dict(by_epoch=False, max_iters=...)",
    "dist_params": "env_cfg=dict(dist_cfg=...)",
    "cudnn_benchmark": "env_cfg=dict(cudnn_benchmark=...)",
    "opencv_num_threads": "env_cfg=dict(mp_cfg=dict(opencv_num_threads=...))",
    "mp_start_method": "env_cfg=dict(mp_cfg=dict(mp_start_method=...))",
    "resume_from": "nothing: run the same command again to resume",
    "auto_resume": "nothing: run the same command again to resume",
    "device": "nothing: the first GPU is used if there is one",
    "gpu_ids": "nothing: the first GPU is used if there is one",
    "find_unused_parameters": "nothing: one process trains",
}
# The old logger, and the backend that draws its curves.
LOGGERS: Mapping[str, str | None] = {
    "TextLoggerHook": None,
    "TensorboardLoggerHook": "TensorboardVisBackend",
    "WandbLoggerHook": "WandbVisBackend",
    "WandbLoggerHookWithVal": "WandbVisBackend",
    "MMSegWandbHook": "WandbVisBackend",
}


# Keys that configurations of mmsegmentation 1.x use as mere variables, where the key that counts is there.
VARIABLES: Mapping[str, str] = {
    "optimizer": "optim_wrapper",
    "fp16": "optim_wrapper",
    "total_iters": "train_cfg",
    "total_epochs": "train_cfg",
    "find_unused_parameters": "train_cfg",
}


def refuse_old_keys(config: Any, path: Any) -> None:
    """Raise ConfigError naming the first key of mmcv 1.x and what to write instead."""
    for key, new in OLD.items():
        if config.get(key) is not None and not config.get(VARIABLES.get(key, "")):
            raise ConfigError(f"{path}: {key!r} is a key of mmcv 1.x; write {new}")


def logging_options(config: Any, path: Any) -> tuple[dict[str, Any], list[str]]:
    """What ``log_config`` becomes: options to merge into the configuration, and notes that say so.

    Raises ConfigError for a logger that has no counterpart.
    """
    old = config.get("log_config")
    if old is None:
        return {}, []
    own = dict(config.get("visualizer") or {"type": "SegLocalVisualizer", "name": "visualizer"})
    backends = list(own.get("vis_backends") or config.get("vis_backends") or [{"type": "LocalVisBackend"}])
    notes = []
    for hook in old.get("hooks") or []:
        name = str(hook.get("type"))
        if name not in LOGGERS:
            raise ConfigError(
                f"{path}: log_config is a key of mmcv 1.x, and its {name!r} is not known; write visualizer=dict("
                "vis_backends=[dict(type='...VisBackend')])"
            )
        backend = LOGGERS[name]
        if backend and not any(str(one.get("type")).endswith(backend) for one in backends):
            known = {k: v for k, v in hook.items() if k in ("init_kwargs", "define_metric_cfg", "commit")}
            backends.append({"type": backend, **known})
            notes.append(f"log_config: {name} is the visualizer's {backend} now")
    options: dict[str, Any] = {"visualizer": {**own, "vis_backends": backends}}
    if old.get("interval") is not None:
        options["default_hooks.logger"] = {"type": "LoggerHook", "interval": old["interval"]}
    return options, notes
