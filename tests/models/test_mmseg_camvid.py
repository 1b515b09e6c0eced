"""A stock configuration of mmsegmentation, made small by --cfg-options only, on CamVid, by one command."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labelwise.data.masks import read_mask
from labelwise.results import open_run

pytestmark = [pytest.mark.mmseg, pytest.mark.slow]

CONFIG = """
_base_ = ["mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py"]
crop_size = (128, 128)
train_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75), dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"), dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="Resize", scale=(240, 180), keep_ratio=True),
    dict(type="LoadAnnotations"), dict(type="PackSegInputs"),
]
common = dict(
    _delete_=True, type="BaseSegDataset", data_root="ROOT", metainfo=dict(classes=CLASSES), img_suffix=".jpg",
    seg_map_suffix=".png",
)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(
    common, indices=10, data_prefix=dict(img_path="images/train", seg_map_path="masks/train"), pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, dataset=dict(
    common, indices=3, data_prefix=dict(img_path="images/val", seg_map_path="masks/val"), pipeline=test_pipeline))
test_dataloader = val_dataloader
data_preprocessor = dict(size=crop_size)
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(num_classes=11))
active_learning = dict(
    settings=dict(
        image=dict(initial_pool=3, budget_per_round=2),
        pixel=dict(sample_threshold=5, budget_per_round=200, initial_label_pixels=200, sample_evenly=True),
        region=dict(radius=1, budget_per_round=900, initial_label_pixels=900)),
    reset_each_round=True, heuristic="ripu", heuristic_cfg=dict(k=1, use_entropy=True, categories=11))
workflow = [("train", 2), ("query", 1)]
runner = dict(type="ActiveLearningRunner", sample_mode="pixel", sample_rounds=2)
"""
SMALL = (
    *("model.pretrained=None", "model.backbone.depth=18", "model.backbone.base_channels=8"),
    *("model.backbone.stem_channels=8", "model.neck.in_channels=[8,16,32,64]", "model.neck.out_channels=16"),
    *("model.decode_head.in_channels=[16,16,16,16]", "model.decode_head.channels=16"),
)


@pytest.mark.parametrize(("mode", "labels"), [("pixel", [200, 400]), ("region", [100, 200]), ("image", [3, 5])])
def test_one_command(shared_data: Path, tmp_path: Path, mode: str, labels: list[int]) -> None:
    if importlib.util.find_spec("mmseg") is None:
        pytest.skip("mmsegmentation absent: pip install 'labelwise[mmseg]'")
    names = (shared_data / "camvid" / "classes.txt").read_text("utf-8").split()
    text = CONFIG.replace("ROOT", str(shared_data / "camvid")).replace("CLASSES", repr(names))
    (tmp_path / "my_config.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "labelwise.cli", "run", "my_config.py", "--cfg-options", *SMALL]
    command.append(f"runner.sample_mode={mode}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    result = open_run(tmp_path / "work_dirs" / "my_config")
    assert [int(result.labels(r)) for r in result.rounds] == labels
    assert all(0 <= result.evaluations["test"][r]["miou"] <= 1 for r in result.rounds)
    if mode != "pixel":
        return
    for query in (q for r in result.rounds for q in result.queries[r]):
        answer = result.annotations[query.id].target
        assert answer is not None
        assert answer.codes is not None
        assert answer.geometry is not None
        assert query.geometry is not None
        points = answer.geometry.astype(int)
        assert sorted(points.tolist()) == sorted(query.geometry.tolist())
        stem = Path(query.sample_id).stem
        mask = read_mask(shared_data / "camvid" / "masks" / "train" / f"{stem}.png", 11)
        found = [names.index(answer.classes[code]) for code in answer.codes]
        assert np.array_equal(mask[points[:, 1], points[:, 0]], found), "labels are those of the pixels, never void"
