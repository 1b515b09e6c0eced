"""Tests of data/class_folders.py and data/images_folder.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.data import class_folders, images_folder
from labelwise.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_first_folder_is_the_class(tmp_path: Path) -> None:
    touch(tmp_path, "fox/a.png", "fox/2020/x/b.png", "日本/ü.png", "classes.txt")
    listing = class_folders.read(tmp_path)
    labels = {sample.id: sample.target.classes for sample in listing.samples if sample.target}
    assert labels == {"fox/2020/x/b.png": ("fox",), "fox/a.png": ("fox",), "日本/ü.png": ("日本",)}
    assert listing.classes == ("fox", "日本")
    assert listing.problems == ()


def test_pictures_in_the_root_and_empty_classes_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "fox/a.png", "lost.png", "empty/notes.txt", ".hidden/a.png")
    listing = class_folders.read(tmp_path)
    assert [(problem.id, problem.code) for problem in listing.problems] == [
        ("", "empty_class"),
        ("lost.png", "no_class"),
    ]
    assert listing.classes == ("empty", "fox")
    assert len(listing.samples) == 1


def test_one_image(tmp_path: Path) -> None:
    touch(tmp_path, "fox/a.png")
    assert len(class_folders.read(tmp_path).samples) == 1


def test_groups(tmp_path: Path) -> None:
    touch(tmp_path, "fox/cam1/a.png", "fox/cam2/b.png")
    assert [sample.group for sample in class_folders.read(tmp_path, group="folder").samples] == ["fox/cam1", "fox/cam2"]
    assert [s.group for s in class_folders.read(tmp_path, group="(cam[0-9])").samples] == ["cam1", "cam2"]


def test_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder per class"):
        class_folders.read(tmp_path)
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match="found 1 pictures without class"):
        class_folders.read(tmp_path)


def test_plankton(shared_data: Path) -> None:
    listing = class_folders.read(shared_data / "plankton" / "images")
    assert (len(listing.samples), len(listing.classes)) == (12000, 121)
    assert list(listing.classes) == (shared_data / "plankton" / "classes.txt").read_text().split()


def test_images_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.png", "a.png")
    listing = images_folder.read(tmp_path, classes=["fox", "bird"], group="folder")
    assert [(sample.id, sample.target, sample.group) for sample in listing.samples] == [
        ("a.png", None, "."),
        ("b/x.png", None, "b"),
    ]
    assert listing.classes == ("fox", "bird")


def test_images_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        images_folder.read(tmp_path)


@pytest.mark.parametrize("classes", [["a", "a"], ["a", " "], ["a", 1], "fox"])
def test_images_folder_refuses_odd_classes(tmp_path: Path, classes: list[str]) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match="classes: expected"):
        images_folder.read(tmp_path, classes=classes)
