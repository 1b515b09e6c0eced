"""Curves of a training and the figures of its rounds, in files and in Weights & Biases."""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labelwise import api
from labelwise import config as configuration
from labelwise.errors import ConfigError

pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]
OLD = (
    "log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook'),",
    "    dict(type='WandbLoggerHookWithVal', init_kwargs=dict(project='p', name='n', entity='e'))])",
)


class Recorder(types.ModuleType):
    """Stands for wandb and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.begun: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.config = self.run = self

    def init(self, **options: Any) -> None:
        self.begun.append(options)

    def update(self, *args: Any, **options: Any) -> None:
        pass

    def log_code(self, **options: Any) -> None:
        pass

    def log(self, values: dict[str, Any], **options: Any) -> None:
        self.rows.append(dict(values))

    def join(self) -> None:
        pass

    finish = join


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


def test_figures_of_each_round_lie_beside_the_losses(mmseg_config: Write, tmp_path: Path) -> None:
    backends = "visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])"
    result = api.run(mmseg_config(backends), report=False)
    for round in (0, 1):
        logs = tmp_path / "work" / "rounds" / f"{round:03d}" / "checkpoint" / "mmengine"
        files = sorted(logs.rglob("scalars.json"))
        rows = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        losses = [row["loss"] for row in rows if "loss" in row]
        assert len(losses) == 2
        judged = next(row for row in rows if "val/mIoU" in row)
        scores = result.evaluations["test"][round]
        assert judged["val/mIoU"] == pytest.approx(100 * scores["miou"])
        assert judged["val/aAcc"] == pytest.approx(100 * scores["pixel_accuracy"])
        assert judged["round"] == judged["step"] == round
        assert {f"val/IoU.{c}" for c in scores["classes"]} >= {k for k in judged if "IoU." in k} != set()


def test_the_old_wandb_hook_draws_one_run_with_validation(mmseg_config: Write, tmp_path: Path, wandb: Recorder) -> None:
    path = mmseg_config(
        *OLD,
        "val_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=test_pipeline, indices=3))",
        "multitask_validation_iter = 2",
    )
    api.run(path, report=False)
    assert len(wandb.begun) == 4, "two trainings and their figures"
    assert {options["id"] for options in wandb.begun} == {(tmp_path / "work" / "model" / "wandb.id").read_text()}
    for options in wandb.begun:
        assert (options["project"], options["name"], options["entity"]) == ("p", "n", "e")
        assert options["resume"] == "allow"
        assert Path(options["dir"]).is_relative_to(tmp_path / "work")
    kinds = ["loss" if "loss" in row else "val loss" if "val/decode.loss_ce" in row else "val" for row in wandb.rows]
    assert kinds.count("loss") == kinds.count("val loss") == kinds.count("val") == 2
    assert all("val/mIoU" in row for row, kind in zip(wandb.rows, kinds, strict=True) if kind == "val")


def test_wandb_itself_offline(mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    api.run(mmseg_config(*OLD), rounds=1, report=False)
    assert len(list((tmp_path / "work").rglob("*.wandb"))) == 2


def test_without_wandb_one_line_says_so(mmseg_config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    path = mmseg_config(*OLD)
    with pytest.raises(ConfigError, match="pip install wandb") as caught:
        configuration.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_backend_without_its_package_is_refused_before_anyone_labels(
    mmseg_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    own = "visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])"
    with pytest.raises(
        ConfigError, match=r"TensorboardVisBackend needs tensorboard.*pip install tensorboard"
    ) as caught:
        configuration.load(mmseg_config(own))
    assert "\n" not in str(caught.value)


def test_backends_of_the_configuration_stay_beside_the_old_ones(
    mmseg_config: Write, wandb: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", Recorder())
    own = "visualizer = dict(type='SegLocalVisualizer', alpha=0.3, vis_backends=[dict(type='TensorboardVisBackend')])"
    found = configuration.load(mmseg_config(own, *OLD)).model.options["cfg_options"]["visualizer"]
    assert [one["type"] for one in found["vis_backends"]] == ["TensorboardVisBackend", "WandbVisBackend"]
    assert found["alpha"] == 0.3
    twice = own.replace("Tensorboard", "Wandb")
    found = configuration.load(mmseg_config(twice, *OLD)).model.options["cfg_options"]["visualizer"]
    assert [one["type"] for one in found["vis_backends"]] == ["WandbVisBackend"], "mmengine takes no two of a kind"
