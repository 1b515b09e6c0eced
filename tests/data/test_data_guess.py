"""Tests of data/guess.py: what a folder is, and what is said about it."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.guess import guess
from labelwise.errors import DataError
from labelwise.records import Sample, Target


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 6)).save(root / name)


def test_class_folders(tmp_path: Path) -> None:
    pictures(tmp_path, "fox/a.png", "fox/b.png", "cat/a.png", "lost.png")
    found = guess(tmp_path)
    assert (found.format, found.path) == ("class_folders", tmp_path)
    assert found.facts[:3] == (
        "3 pictures, 3 labelled",
        "2 classes: largest fox (2), smallest cat (1)",
        "8x6 pixels (3 pictures looked at)",
    )
    assert found.facts[3].startswith("no_class: 1, e.g. lost.png")


def test_steps_into_the_folder_of_classes(tmp_path: Path) -> None:
    pictures(tmp_path, "images/fox/a.png", "images/cat/a.png")
    (tmp_path / "classes.txt").write_text("fox\ncat\n")
    (tmp_path / "counts.csv").write_text("class,number\nfox,1\n")
    assert (guess(tmp_path).format, guess(tmp_path).path) == ("class_folders", tmp_path / "images")


def test_splits_and_masks(tmp_path: Path) -> None:
    pictures(tmp_path / "one", "train/fox/a.png", "train/cat/a.png", "test/fox/b.png", "test/cat/b.png")
    found = guess(tmp_path / "one")
    assert (found.format, found.path) == ("class_folders", tmp_path / "one" / "train")
    assert "splits" in found.facts[0]
    pictures(tmp_path / "two", "images/a.png", "masks/a.png")
    found = guess(tmp_path / "two")
    assert (found.format, found.path) == ("images_folder", tmp_path / "two" / "images")
    assert found.facts[0].endswith("in masks look like masks and are not read: they hold no two classes, only 0")


def masked(root: Path, *, values: object = (0, 1, 2, 255), to: str = "masks/{}.png", kind: type = np.uint8) -> Path:
    """Six pictures of 8 x 6 pixels in two folders, masks of these values beside them."""
    for name in ("train/a", "train/ab", "train/ä b.c", "test/d", "test/e", "test/f"):
        pictures(root, f"images/{name}.jpg")
        file = root / to.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.resize(np.array(values, kind), (6, 8))).save(file)
    return root


def test_pictures_with_masks(tmp_path: Path) -> None:
    root = masked(tmp_path)
    (root / "classes.txt").write_text("road\ncar\nsky\npole\n")
    found = guess(root)
    assert (found.format, found.path, found.task, found.options) == ("image_masks", root, "segment", {})
    assert (found.images, found.labelled, found.tested, found.size) == (6, 6, True, (8, 6))
    assert found.facts[:3] == ("6 pictures, 6 labelled", "the data says: 3 pool, 3 test", "4 classes")


def test_masks_with_other_names_and_without_names_of_classes(tmp_path: Path) -> None:
    root = masked(tmp_path, to="Annotations/{}_L.png", values=(0, 3, 65535), kind=np.uint16)
    (root / "Annotations" / "train" / "a_L.png").write_bytes(b"no picture")
    (root / "Annotations" / "test" / "d_L.png").unlink()
    found = guess(root)
    assert found.format == "image_masks"
    assert dict(found.options) == {
        "masks": "Annotations",
        "mask_suffix": "_L.png",
        "classes": ["class 0", "class 1", "class 2", "class 3"],
    }
    assert (found.images, found.labelled) == (6, 5)
    assert found.facts[-1] == "the classes have no names: values up to 3 were found in 5 masks"


def cityscapes(root: Path, *, secret: bool = True) -> Path:
    """Pictures and masks that end differently, with several masks each, as Cityscapes has them."""
    for split in ("train", "val", "test"):
        for name in ("ulm/ulm_000000_000019", "ulm/ulm_000000_000020", "bonn/bonn_000001_000019"):
            pictures(root, f"leftImg8bit/{split}/{name}_leftImg8bit.png")
            folder = root / "gtFine" / split
            values = {
                "color": np.zeros((6, 8, 3), np.uint8),
                "instanceIds": np.full((6, 8), 26001, np.uint16),
                "labelIds": np.resize(np.array([7, 26, 33], np.uint8), (6, 8)),
                "labelTrainIds": np.resize(np.array([0, 13, 18, 255], np.uint8), (6, 8)),
            }
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            for kind, mask in values.items():
                void = kind == "labelTrainIds" and split == "test" and secret
                Image.fromarray(np.full_like(mask, 255) if void else mask).save(folder / f"{name}_gtFine_{kind}.png")
            (folder / f"{name}_gtFine_polygons.json").write_text("{}")
    return root


def test_pictures_and_masks_that_end_differently(tmp_path: Path) -> None:
    found = guess(cityscapes(tmp_path, secret=False))
    assert found.format == "image_masks"
    classes = [f"class {i}" for i in range(19)]
    suffixes = {"image_suffix": "_leftImg8bit.png", "mask_suffix": "_gtFine_labelTrainIds.png"}
    assert found.options == {"images": "leftImg8bit", "masks": "gtFine", **suffixes, "classes": classes}
    assert "the data says: 3 pool, 3 test, 3 unused" in found.facts
    assert (found.labelled, found.tested) == (9, True)


@pytest.mark.parametrize("absent", [False, True])
def test_a_test_whose_answers_are_secret_is_none(tmp_path: Path, absent: bool) -> None:
    cityscapes(tmp_path)
    if absent:
        shutil.rmtree(tmp_path / "gtFine" / "test")
    found = guess(tmp_path)
    assert found.options["splits"] == {"train": "pool", "val": "test", "test": "unused"}
    assert found.facts[-1] == "the pictures in test have no labels: those in val are the test"


def test_masks_in_folders_called_after_their_splits(tmp_path: Path) -> None:
    masked(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "images" / split).rename(tmp_path / split)
        (tmp_path / "masks" / split).rename(tmp_path / f"{split}annot")
    found = guess(tmp_path)
    assert (found.format, found.images) == ("image_masks", 3)
    assert (found.options["images"], found.options["masks"]) == ("train", "trainannot")
    assert found.facts[0].startswith("the folders test, train are splits: only train is used")


def test_the_first_masks_of_class_indices_are_taken(tmp_path: Path) -> None:
    masked(tmp_path)
    for file in sorted((tmp_path / "masks").rglob("*.png")):
        file.rename(file.with_name(f"{file.stem}_index.png"))
        Image.new("RGB", (8, 6)).save(file)
    assert guess(tmp_path).options["mask_suffix"] == "_index.png"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"to": "masks/{}.jpg"}, "they are JPEG, which does not keep class indices"),
        ({"to": "masks/other/{}.png"}, "they have the names of no pictures"),
        ({"values": (0, 255)}, "they hold no two classes, only 0"),
        ({"values": (255,)}, "they hold no two classes, only void"),
        ({"values": (0, 128)}, "they hold 2 values up to 128, not class indices from 0 on"),
        ({"values": (0.0, 1.0), "kind": np.float32, "to": "masks/{}.tiff"}, "they are coloured, not of class indices"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    found = guess(masked(tmp_path, **options))  # type: ignore[arg-type]
    assert found.task == "classify"
    assert any(fact.endswith(reason) for fact in found.facts), found.facts


def test_table(tmp_path: Path) -> None:
    pictures(tmp_path, "p/a.png", "p/b.png")
    (tmp_path / "labels.csv").write_text("path,class,group\np/a.png,fox,s1\np/b.png,,s2\n")
    for path in (tmp_path, tmp_path / "labels.csv"):
        found = guess(path)
        assert (found.format, found.path) == ("csv_table", tmp_path / "labels.csv")
        assert found.facts[0] == "2 pictures, 1 labelled"
        assert "2 groups: kept on one side of the test split" in found.facts
    (tmp_path / "other.csv").write_text("file,species\np/a.png,fox\n")
    with pytest.raises(DataError, match=r"labels.csv, other.csv"):
        guess(tmp_path)


def test_flat_and_one_image(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    found = guess(tmp_path)
    assert (found.format, found.path) == ("images_folder", tmp_path)
    assert found.facts == (
        "2 pictures, 0 labelled",
        "1 of 2 pictures looked at cannot be read",
        "8x6 pixels (1 picture looked at)",
    )


def test_one_class_is_unlabelled(tmp_path: Path) -> None:
    pictures(tmp_path, "fox/a.png")
    assert guess(tmp_path).format == "images_folder"


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        guess(tmp_path / "none")
    with pytest.raises(DataError, match="found an empty folder"):
        guess(tmp_path)
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(DataError, match="found neither"):
        guess(tmp_path)
    with pytest.raises(DataError, match="expected a header"):
        guess(tmp_path / "notes.txt")
    pictures(tmp_path, "a.png")
    with pytest.raises(DataError, match="found one picture"):
        guess(tmp_path / "a.png")


def test_shared_data(shared_data: Path) -> None:
    found = guess(shared_data / "plankton")
    assert (found.format, found.path) == ("class_folders", shared_data / "plankton" / "images")
    assert found.facts[0] == "12,000 pictures, 12,000 labelled"


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "cvat_xml"])
def test_datasets_with_boxes(format: str, tmp_path: Path) -> None:
    pictures(tmp_path, "home/a.png", "home/b.png", "home/c.png")
    boxes = Target(("cat", "cat", "dog"), np.array([[1.0, 1, 3, 3], [2, 2, 4, 5], [0, 0, 8, 6]]))
    nothing = Target((), np.empty((0, 4)))
    samples = [
        Sample("a.png", tmp_path / "home/a.png", target=boxes, split="pool"),
        Sample("b.png", tmp_path / "home/b.png", target=nothing, split="test"),
        Sample("c.png", tmp_path / "home/c.png"),
    ]
    write = importlib.import_module(f"labelwise.data.{format}").write
    write(tmp_path / "out", samples, ("cat", "dog"))
    found = guess(tmp_path / "out")
    assert (found.format, found.path, found.task, found.tested) == (format, tmp_path / "out", "detect", True)
    assert (found.images, found.labelled) == (3, 2)
    assert found.facts[:3] == (
        "3 pictures, 2 labelled, with 3 boxes (1 picture without)",
        "the data says: 1 pool, 1 test",
        "2 classes: largest cat (2), smallest dog (1)",
    )
    files = {"coco": "annotations/instances_train.json", "yolo": "data.yaml", "cvat_xml": "annotations.xml"}
    if format in files:
        assert guess(tmp_path / "out" / files[format]).format == format


def test_files_that_only_look_like_boxes(tmp_path: Path) -> None:
    """A results list, a settings file, other XML and text files beside classes change nothing."""
    pictures(tmp_path, "fox/a.png", "cat/a.png")
    (tmp_path / "results.json").write_text("[1, 2]")
    (tmp_path / "settings.json").write_text('{"version": 1, "images": 3, "categories": ["fox", "cat"]}')
    (tmp_path / "settings.yaml").write_text("names: [a]\nother: 1\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "annotations.xml").write_text("<html/>")
    (tmp_path / "classes.txt").write_text("fox\ncat\n")
    assert (guess(tmp_path).format, guess(tmp_path).task) == ("class_folders", "classify")
