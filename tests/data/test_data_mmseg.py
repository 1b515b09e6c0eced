"""Images, masks and classes as the datasets of an mmsegmentation configuration have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.masks import read_mask
from labelwise.data.mmseg import read
from labelwise.errors import DataError

pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]
VALIDATION = (
    "import copy",
    "val_dataloader = dict(batch_size=1, dataset=copy.deepcopy(train_dataloader['dataset']))",
    "val_dataloader['dataset'].update(data_prefix=dict(img_path='images/val', seg_map_path='masks/val'))",
    "train_dataloader['dataset'].update(data_prefix=dict(img_path='images/train', seg_map_path='masks/train'))",
)


def test_the_training_dataset_is_the_pool(mmseg_config: Write, tmp_path: Path) -> None:
    listing = read(mmseg_config())
    assert listing.root == tmp_path / "data"
    assert [s.id for s in listing.samples] == [f"images/{i:03d}.png" for i in range(12)]
    assert listing.classes == ("blue", "red", "green")
    assert {s.split for s in listing.samples} == {None}
    target = listing.samples[0].target
    assert target is not None
    assert target.mask == tmp_path / "data" / "masks" / "000.png"


def test_the_validation_dataset_is_the_test_split(mmseg_config: Write, tmp_path: Path) -> None:
    path = mmseg_config(*VALIDATION)
    for kind in ("images", "masks"):
        for split, numbers in (("train", range(8)), ("val", range(8, 12))):
            (tmp_path / "data" / kind / split).mkdir()
            for i in numbers:
                file = tmp_path / "data" / kind / f"{i:03d}.png"
                file.rename(file.parent / split / file.name)
    (tmp_path / "data" / "masks" / "train" / "003.png").unlink()
    listing = read(path)
    splits = {s.id: s.split for s in listing.samples}
    assert splits["images/train/000.png"] == "pool"
    assert splits["images/val/010.png"] == "test"
    assert len(splits) == 12
    assert [s.id for s in listing.samples if s.target is None] == ["images/train/003.png"]


def test_wrapped_datasets_are_looked_into(mmseg_config: Write) -> None:
    inner = "train_dataloader['dataset']"
    path = mmseg_config(
        f"{inner} = dict(type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[{inner}]))"
    )
    assert len(read(path).samples) == 12


def test_masks_are_converted_as_the_dataset_would(mmseg_config: Write, tmp_path: Path) -> None:
    path = mmseg_config(
        "train_dataloader['dataset'].update(reduce_zero_label=True, metainfo=dict(classes=('red', 'green')))"
    )
    listing = read(path, converted=str(tmp_path / "converted"))
    assert listing.classes == ("red", "green")
    for sample in listing.samples:
        assert sample.target is not None
        assert sample.target.mask is not None
        found = read_mask(sample.target.mask, 2)
        old = np.asarray(Image.open(tmp_path / "data" / "masks" / sample.path.name)).astype(int)
        assert np.array_equal(found, np.where((old == 0) | (old == 255), 255, old - 1))
    written = sorted((tmp_path / "converted").rglob("*.png"))
    times = [f.stat().st_mtime_ns for f in written]
    read(path, converted=str(tmp_path / "converted"))
    assert [f.stat().st_mtime_ns for f in sorted((tmp_path / "converted").rglob("*.png"))] == times
    assert len(written) == 12


def test_masks_of_16_bits_are_converted_or_left_out(mmseg_config: Write, tmp_path: Path) -> None:
    path = mmseg_config("train_dataloader['dataset'].update(reduce_zero_label=True)")
    masks = tmp_path / "data" / "masks"
    for name, void in (("000.png", 65535), ("001.png", 256)):  # 256 is no class, and would become 0 in 8 bits
        old = np.asarray(Image.open(masks / name)).astype(np.uint16)
        Image.fromarray(np.where(old == 255, void, old).astype(np.uint16)).save(masks / name)
    listing = read(path, converted=str(tmp_path / "converted"))
    by_name = {s.path.name: s.target for s in listing.samples}
    assert by_name.keys() == {f"{i:03d}.png" for i in range(12)} - {"001.png"}
    assert [(p.code, "up to 255, found 256" in p.message) for p in listing.problems] == [("bad_mask", True)]
    target = by_name["000.png"]
    assert target is not None
    assert target.mask is not None
    assert set(np.unique(read_mask(target.mask, 3))) <= {0, 1, 255}


def test_classes_of_the_dataset_may_be_chosen_from(
    mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "chosen_classes.py").write_text(
        "from mmseg.registry import DATASETS\nfrom mmseg.datasets import BaseSegDataset\n"
        "@DATASETS.register_module(force=True)\nclass ThreeColours(BaseSegDataset):\n"
        "    METAINFO = dict(classes=('blue', 'red', 'green'), palette=[[0, 0, 1], [1, 0, 0], [0, 1, 0]])\n",
        encoding="utf-8",
    )
    path = mmseg_config(
        "custom_imports = dict(imports=['chosen_classes'], allow_failed_imports=False)",
        "train_dataloader['dataset'].update(type='ThreeColours', metainfo=dict(classes=('green', 'blue')))",
    )
    listing = read(path, converted=str(tmp_path / "converted"))
    assert listing.classes == ("green", "blue")
    target = listing.samples[0].target
    assert target is not None
    assert target.mask is not None
    old = np.asarray(Image.open(tmp_path / "data" / "masks" / "000.png"))
    new = read_mask(target.mask, 2)
    assert set(zip(old.ravel().tolist(), new.ravel().tolist(), strict=True)) == {(0, 1), (1, 255), (2, 0), (255, 255)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train_dataloader['dataset']['metainfo'] = dict()", "class names"),
        ("train_dataloader['dataset']['data_root'] = '/nowhere/at/all'", "cannot be read"),
        ("train_dataloader['dataset']['type'] = 'NoSuchDataset'", "NoSuchDataset"),
        ("train_dataloader['dataset']['img_suffix'] = '.jpg'", "expected images"),
    ],
)
def test_what_cannot_be_listed_is_refused_in_one_line(mmseg_config: Write, line: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(mmseg_config(line))
    assert "\n" not in str(caught.value)
