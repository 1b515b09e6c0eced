"""Tests of writing boxes: every format gives back what it was given, says what it cannot hold, and writes whole."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.data import coco, cvat_xml, voc, yolo
from labelwise.data.box_writing import new_folder, number_text
from labelwise.errors import DataError
from labelwise.records import Sample, Target

FORMATS = [coco, voc, yolo, cvat_xml]
IDS = [module.__name__.rpartition(".")[2] for module in FORMATS]
SIZE = (64, 48)
every_format = pytest.mark.parametrize("format", FORMATS, ids=IDS)
Plain = list[tuple[str, str | None, tuple[str, ...] | None, list[list[float]]]]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("picture") / "p.png"
    Image.new("L", SIZE).save(file)
    return file


def target(*boxes: tuple[str, Sequence[float]]) -> Target:
    return Target(tuple(name for name, _ in boxes), np.array([b for _, b in boxes], float).reshape(-1, 4))


def plain(samples: Sequence[Sample]) -> Plain:
    """What must come back: ids, splits, classes and boxes."""
    return [
        (s.id, s.split, s.target and s.target.classes, [] if s.target is None else s.target.geometry.tolist())
        for s in sorted(samples, key=lambda s: s.id)
    ]


@st.composite
def datasets(draw: st.DrawFn) -> tuple[list[Sample], tuple[str, ...]]:
    """Samples without a file yet: names with spaces and letters of all kinds, boxes on thousandths of pixels."""
    letters = st.characters(whitelist_categories=("L", "N"), whitelist_characters=" -_.&<>'\"%#:", max_codepoint=0x2FFF)
    word = st.text(letters, min_size=1, max_size=8).filter(
        lambda t: t == t.strip() and t.isprintable() and t != "background"
    )
    classes = tuple(draw(st.lists(word, min_size=1, max_size=3, unique=True)))
    stem = word.filter(lambda t: not t.startswith(".") and not t.endswith("."))
    stems = draw(st.lists(stem, min_size=1, max_size=4, unique_by=lambda t: t.casefold()))
    splits = draw(st.sampled_from([[None], ["pool", "test"], ["pool", "unused"], ["pool", "test", "unused"]]))
    x, y = (st.integers(0, side * 1000 - 1000) for side in SIZE)

    @st.composite
    def box(draw: st.DrawFn) -> tuple[str, tuple[float, ...]]:
        x0, y0 = draw(x), draw(y)
        x1, y1 = draw(st.integers(x0 + 1, SIZE[0] * 1000)), draw(st.integers(y0 + 1, SIZE[1] * 1000))
        return draw(st.sampled_from(classes)), tuple(value / 1000 for value in (x0, y0, x1, y1))

    boxes = st.lists(box(), max_size=4, unique=True)
    samples = []
    for i, name in enumerate(stems):
        folder = draw(st.sampled_from(["", "sub dir/", "images/", "a/labels/"]))
        truth = target(*draw(boxes)) if i == 0 or draw(st.booleans()) else None
        # What has no target stands in no list but that of the pictures: it comes back without a split.
        split = draw(st.sampled_from(splits)) if truth is not None else None
        samples.append(Sample(f"{folder}{name}.png", Path("p"), target=truth, split=split))
    return samples, classes


def settled(samples: list[Sample]) -> list[Sample]:
    """With the splits as a reader tells them: where nothing is for testing or unused, nothing is said."""
    if any(s.split in ("test", "unused") for s in samples):
        return samples
    return [replace(s, split=None) for s in samples]


@given(data=datasets(), order=st.permutations(FORMATS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip_through_all_formats(
    picture: Path, data: tuple[list[Sample], tuple[str, ...]], order: list[ModuleType]
) -> None:
    """From one format into the next, in any order: ids, splits, classes and boxes stay, to the last digit."""
    samples, classes = data
    current = tuple(replace(sample, path=picture) for sample in samples)
    with tempfile.TemporaryDirectory() as folder:
        for i, format in enumerate(order):
            format.write(Path(folder) / str(i), current, classes)
            listing = format.read(Path(folder) / str(i))
            assert listing.classes == classes
            assert listing.problems == ()
            assert plain(listing.samples) == plain(settled(samples))
            current = listing.samples


@every_format
def test_a_thousand_boxes(format: ModuleType, picture: Path, tmp_path: Path) -> None:
    corners = np.random.default_rng(0).uniform(0, 20, (1000, 4)).round(6)
    corners[:, 2:] = (corners[:, 2:] + 21).round(6)
    crowd = Target(("cat", "dog") * 500, corners)
    format.write(tmp_path / "out", [Sample("a.png", picture, target=crowd)], ("cat", "dog"))
    (sample,) = format.read(tmp_path / "out").samples
    assert sample.target.classes == crowd.classes
    np.testing.assert_array_equal(sample.target.geometry, corners)


@every_format
def test_pictures_are_copied_linked_or_left(format: ModuleType, picture: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(picture, home / "a.png")
    shutil.copy(picture, home / "b.png")
    known = Sample("a.png", home / "a.png", target=target(("cat", [1, 2, 3, 4])))
    samples = [known, Sample("b.png", home / "b.png", group="g")]
    assert any("1 unlabelled" in note for note in format.write(tmp_path / "copy", samples, ["cat"]))
    assert any("1 groups" in note for note in format.write(tmp_path / "link", samples, ["cat"], images="link"))
    for how in ("copy", "link"):
        found = format.read(tmp_path / how)
        assert [(s.id, s.target is None) for s in found.samples] == [("a.png", False), ("b.png", True)]
        assert {s.path.is_symlink() for s in found.samples} == {how == "link"}
    assert any("images=FOLDER" in note for note in format.write(tmp_path / "left", samples, ["cat"], images="leave"))
    assert not list((tmp_path / "left").rglob("*.png"))
    if format in (coco, cvat_xml):
        assert len(format.read(tmp_path / "left", images=home).samples) == 2


@every_format
def test_whole_or_not_at_all(format: ModuleType, picture: Path, tmp_path: Path) -> None:
    good = Sample("a.png", picture, target=target(("cat", [1, 2, 3, 4])))
    with pytest.raises(DataError, match=r"gone\.png"):
        format.write(tmp_path / "out", [good, Sample("b.png", tmp_path / "gone.png")], ["cat"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    format.write(tmp_path / "out", [good], ["cat"])  # an empty folder may be filled
    with pytest.raises(DataError, match="expected a new or empty folder"):
        format.write(tmp_path / "out", [good], ["cat"])
    assert len(format.read(tmp_path / "out").samples) == 1


@every_format
def test_targets_that_cannot_be_written(format: ModuleType, picture: Path, tmp_path: Path) -> None:
    points = Target(("cat",), np.array([[1, 2]]))
    with pytest.raises(DataError, match="expected boxes"):
        format.write(tmp_path / "out", [Sample("a.png", picture, target=points)], ["cat"])
    with pytest.raises(DataError, match="found 'dog'"):
        format.write(tmp_path / "out", [Sample("a.png", picture, target=target(("dog", [1, 2, 3, 4])))], ["cat"])
    with pytest.raises(DataError, match="to read the size of"):
        format.write(tmp_path / "out", [Sample("a.png", tmp_path / "no.png", target=target())], ["cat"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\nb", " cat", "cat\t", "c\x00"])
def test_names_that_only_json_can_hold(name: str, picture: Path, tmp_path: Path) -> None:
    samples = [Sample("a.png", picture, target=target((name, [1, 2, 3, 4])))]
    for format in (voc, yolo, cvat_xml):
        with pytest.raises(DataError, match="cannot hold this name"):
            format.write(tmp_path / "out", samples, [name])
    coco.write(tmp_path / "out", samples, [name])
    assert coco.read(tmp_path / "out").classes == (name,)


def test_two_pictures_of_one_name(picture: Path, tmp_path: Path) -> None:
    samples = [Sample(f"a{end}", picture, target=target()) for end in (".jpg", ".png")]
    for format in (voc, yolo):
        with pytest.raises(DataError, match="differ only in their extension"):
            format.write(tmp_path / "out", samples, ["cat"])
    for format in (coco, cvat_xml):
        format.write(tmp_path / format.__name__, samples, ["cat"])
        assert len(format.read(tmp_path / format.__name__).samples) == 2


def test_what_voc_and_yolo_say(picture: Path, tmp_path: Path) -> None:
    samples = [Sample("a.png", picture, target=target(("cat:2", [1, 2, 3, 4.5])))]
    notes = voc.write(tmp_path / "voc", samples, ["cat:2"])
    assert any("1 coordinates have decimals" in note for note in notes)
    assert any("'cat:2'" in note for note in notes)
    assert voc.read(tmp_path / "voc").classes == ("cat:2",)
    assert any("no val" in note for note in yolo.write(tmp_path / "yolo", samples, ["cat:2"]))


def test_numbers_as_text() -> None:
    assert [number_text(v) for v in (0, 100, 0.5, 1 / 3, 1e-7, 12345678)] == [
        "0", "100", "0.5", "0.333333", "0", "12345678"
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another"), new_folder(tmp_path / "file"):
        pass
    with pytest.raises(DataError, match="cannot be written"), new_folder(tmp_path / "file" / "below"):
        pass
    with pytest.raises(DataError, match="No space left"), new_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.datumaro
@every_format
def test_datumaro_reads_the_same(format: ModuleType, picture: Path, tmp_path: Path) -> None:
    """An independent reader finds the same boxes."""
    datumaro = pytest.importorskip("datumaro")
    samples = [
        Sample("a.png", picture, target=target(("cat", [1, 2, 30, 40]), ("dog", [5, 6, 7, 8])), split="pool"),
        Sample("b.png", picture, target=target(), split="pool"),
        Sample("c.png", picture, target=target(("dog", [0, 0, *SIZE])), split="test"),
    ]
    format.write(tmp_path / "out", samples, ["cat", "dog"])
    name = {coco: "coco_instances", voc: "voc_detection", yolo: "yolo", cvat_xml: "cvat"}[format]
    read = datumaro.Dataset.import_from(str(tmp_path / "out"), name)
    labels = [label.name for label in read.categories()[datumaro.AnnotationType.label]]
    found = {
        item.id.rpartition("/")[2].removesuffix(".png"): sorted(
            (labels[a.label], *(round(v, 3) for v in a.points)) for a in item.annotations if a.type.name == "bbox"
        )
        for item in read
    }
    expected = {
        s.id[0]: sorted((n, *map(float, b)) for n, b in zip(s.target.classes, s.target.geometry.tolist(), strict=True))
        for s in samples
    }
    assert found == expected
