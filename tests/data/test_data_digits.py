"""Tests of data/digits.py: the same bytes each time, long-tailed, in bursts, written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from labelwise.data import class_folders, csv_table, digits
from labelwise.errors import DataError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_digits(tmp_path: Path) -> None:
    listing = class_folders.read(digits.make_digits(tmp_path))
    assert (len(listing.samples), listing.classes) == (1797, tuple("0123456789"))
    assert listing.problems == ()
    with Image.open(listing.samples[0].path) as picture:
        assert (picture.mode, picture.size) == ("L", (8, 8))
    assert digits.make_digits(tmp_path) == listing.root


def test_scenes(tmp_path: Path) -> None:
    listing = csv_table.read(digits.make_scenes(tmp_path))
    assert len(listing.samples) == 1500
    assert listing.problems == ()
    counts = Counter(sample.target.classes[0] for sample in listing.samples if sample.target)
    assert 15 <= max(counts.values()) / min(counts.values()) <= 25
    bursts = Counter(sample.group for sample in listing.samples)
    assert set(bursts.values()) == set(range(1, 7))
    with Image.open(listing.samples[0].path) as picture:
        assert (picture.mode, picture.size) == ("L", (32, 32))


def test_scenes_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        digits.make_scenes(tmp_path / name, count=60, seed=3)
    digits.make_scenes(tmp_path / "other", count=60, seed=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") != contents(tmp_path / "other")


def test_again_does_nothing_and_other_data_are_refused(tmp_path: Path) -> None:
    table = digits.make_scenes(tmp_path, count=30)
    before = table.stat().st_mtime_ns
    assert digits.make_scenes(tmp_path, count=30) == table
    assert table.stat().st_mtime_ns == before
    with pytest.raises(DataError, match="choose another folder"):
        digits.make_scenes(tmp_path, count=31)
    with pytest.raises(DataError, match="10 or more"):
        digits.make_scenes(tmp_path / "x", count=9)
    (tmp_path / "digits").mkdir()
    with pytest.raises(DataError, match="found other data"):
        digits.make_digits(tmp_path)


def test_nothing_is_left_of_a_broken_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(digits, "_save", fail)
    with pytest.raises(OSError, match="No space"):
        digits.make_scenes(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_data_loads_nothing_heavy() -> None:
    code = "import sys, labelwise.data; assert not {'torch', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys; sys.modules['pandas'] = None; "  # which scikit-learn loads where it is, and does without
        "from labelwise.data import scan, splits, guess, digits, csv_table, class_folders, images_folder; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_reader_makes_what_is_not_there(tmp_path):
    assert len(digits.read(tmp_path).samples) == 1797
    scenes = digits.read(tmp_path, kind="scenes")
    assert len(scenes.samples) == 1500
    assert all(s.group for s in scenes.samples)
