"""Fixtures for all tests: where the shared data lie."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from PIL import Image

from labelwise.records import Query, Sample
from labelwise.store import Store


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("LABELWISE_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("shared data absent")
    return folder


ASKED = ("a.png", "b.png", "sub/ü, c.jpg", "sub/a.png")  # of four images; one more was answered before


@pytest.fixture
def asked_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run that waits for answers about the images ASKED, 40 x 30 pixels, and never asked "e.png".

    Its arguments are the task, and changes of the queries: a function from (query id, rank, sample) to a Query.
    """

    def make(task: str, query: Callable[[str, int, Sample], Query] | None = None, classes: Sequence[str] = ()) -> Path:
        images, folder = tmp_path / "images", tmp_path / "runs" / "r"
        folder.mkdir(parents=True)
        samples = []
        for i, id in enumerate([*ASKED, "e.png"]):
            (images / id).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (50 * i, 99, 20)).save(images / id)
            samples.append(Sample(id, images / id, content=str(i), size=(40, 30)))
        tree = {"name": "r", "task": task, "out": str(folder.parent), "data": {"format": "x", "path": str(images)}}
        (folder / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        with Store(folder / "run.db") as store, store.transaction():
            store.add_samples((sample, "pool") for sample in samples)
            store.add_classes(classes or ("cat", "dog", "blåbær"))
            store.finish_step(-1, "read", 0.0)
            made = query or (lambda id, rank, sample: Query(id, 0, rank, sample.id))
            store.add_queries(made(f"000-{rank:05d}", rank, sample) for rank, sample in enumerate(samples[:4]))
            store.finish_step(0, "query", 0.0)
        return folder

    return make


MMSEG = """
default_scope = "mmseg"
norm_cfg = dict(type="SyncBN", requires_grad=True)
data_preprocessor = dict(
    type="SegDataPreProcessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
    pad_val=0, seg_pad_val=255, size=(32, 32),
)
model = dict(
    type="EncoderDecoder", data_preprocessor=data_preprocessor,
    backbone=dict(
        type="ResNetV1c", depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3), norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="FCNHead", in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=3, norm_cfg=norm_cfg,
        dropout_ratio=0.1, loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(), test_cfg=dict(mode="whole"),
)
train_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(48, 32), ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(32, 32), cat_max_ratio=0.75), dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="Resize", scale=(72, 48), keep_ratio=True),
    dict(type="LoadAnnotations"), dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=True, sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="BaseSegDataset", data_root="ROOT", img_suffix=".png", pipeline=train_pipeline,
        metainfo=dict(classes=("blue", "red", "green"), palette=[[0, 0, 255], [255, 0, 0], [0, 255, 0]]),
        data_prefix=dict(img_path="images", seg_map_path="masks"),
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
param_scheduler = [dict(type="PolyLR", eta_min=0.0, power=1.0, begin=0, end=6, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=6, val_interval=6)
default_hooks = dict(logger=dict(type="LoggerHook", interval=1))
active_learning = dict(
    settings=dict(
        image=dict(initial_pool=2, budget_per_round=2),
        pixel=dict(
            sample_threshold=5, budget_per_round=48, initial_label_pixels=36, sample_evenly=True, ignore_index=255,
        ),
        region=dict(radius=1, budget_per_round=162, initial_label_pixels=108, sample_evenly=True),
    ),
    visualize=dict(size=1, overlay=True, dir="PICTURES"),
    reset_each_round=True, heuristic="margin",
)
workflow = [("train", 2), ("query", 1)]
runner = dict(type="ActiveLearningRunner", sample_mode="pixel", sample_rounds=2)
"""


@pytest.fixture
def mmseg_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes made data and a small configuration of mmsegmentation; its arguments are lines added to the file.

    The test is skipped where mmsegmentation is not installed.
    """
    if importlib.util.find_spec("mmseg") is None:
        pytest.skip("mmsegmentation absent: pip install 'labelwise[mmseg]'")
    from labelwise.testing import make_masks

    def write(*lines: str, name: str = "tiny.py") -> Path:
        data = make_masks(tmp_path / "data")
        text = MMSEG.replace("ROOT", str(data)).replace("PICTURES", str(tmp_path / "pictures"))
        path = tmp_path / name
        path.write_text(text + f"work_dir = {str(tmp_path / 'work')!r}\n" + "\n".join(lines), encoding="utf-8")
        return path

    return write
