"""Tests of data/cvat_xml.py: tasks and projects of CVAT, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise.annotators.answers import read_answers
from labelwise.annotators.found import Asked
from labelwise.data import cvat_xml
from labelwise.data.masks import read_mask
from labelwise.errors import DataError
from labelwise.records import Query, Sample, Target

BOX = '<box label="{}" source="manual" occluded="0" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"{}></box>'
META = "<meta><{0}><labels><label><name>dog</name></label><label><name>cat</name></label></labels></{0}></meta>"


def box(label: str, *corners: object, more: str = "") -> str:
    return BOX.format(label, *corners, more)


def written(folder: Path, *images: tuple[str, str, str], meta: str = META.format("task")) -> Path:
    entries = "".join(
        f'<image id="0" name="{n}" {more} width="40" height="30">{inner}</image>' for n, more, inner in images
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "annotations.xml"
    file.write_text(f"<annotations><version>1.1</version>{meta}{entries}</annotations>", encoding="utf-8")
    return file


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(root / name)


def test_a_task(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png", "sub/b.png", "c.png")
    file = written(tmp_path, ("a.png", "", box("cat", "1.00", "2", "11.50", "12")), ("sub/b.png", "", ""))
    for path in (tmp_path, file):
        listing = cvat_xml.read(path)
        assert listing.root == tmp_path / "images"
        assert listing.classes == ("dog", "cat")
        a, c, b = (s.target for s in listing.samples)
        assert a is not None
        np.testing.assert_array_equal(a.geometry, [[1, 2, 11.5, 12]])
        assert c is None
        assert b is not None
        assert b.classes == ()
        assert listing.problems == ()


def test_a_project_with_subsets(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "Train/a.png", "Test/b.png")
    written(
        tmp_path,
        ("a.png", 'subset="Train"', box("cat", 1, 2, 11, 12)),
        ("b.png", 'subset="Test"', ""),
        meta=META.format("project"),
    )
    (tmp_path / "images" / "a.png").mkdir()  # no picture
    listing = cvat_xml.read(tmp_path, images=Path("images"))
    assert [(s.id, s.split) for s in listing.samples] == [("Test/b.png", "test"), ("Train/a.png", "pool")]
    assert listing.classes == ("dog", "cat")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    written(
        tmp_path,
        (
            "a.png",
            "",
            box("owl", 1, 2, 11, 12)
            + box("cat", 10, 10, 30, 20, more=' rotation="90.0"')
            + '<polygon label="dog" points="1,1;2,2;3,1"/><tag label="dog"/>'
            + '<polyline label="dog" points="1,1;2,2"/>',
        ),
        ("b.png", "", box("cat", 1, "", 11, 12)),
        ("gone.png", "", ""),
        ("a.png", "", ""),
    )
    listing = cvat_xml.read(tmp_path)
    assert {(p.id, p.code) for p in listing.problems} == {
        ("a.png", "unknown_class"),
        ("a.png", "rotated_boxes"),
        ("a.png", "no_box"),
        ("a.png", "polygons"),
        ("a.png", "repeated"),
        ("b.png", "bad_annotation"),
        ("gone.png", "missing"),
    }
    a, b = (s.target for s in listing.samples)
    assert b is None
    assert a is not None
    np.testing.assert_allclose(a.geometry, [[15, 5, 25, 25], [1, 1, 3, 2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotations><track id='0'/></annotations>", "tracks of a video"),
        ("<annotation/>", "expected <annotations>"),
        ("<annotations>", "expected XML"),
        ("", "expected XML"),
        ("<annotations/>", "expected annotated pictures"),
    ],
)
def test_files_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=words):
        cvat_xml.read(tmp_path)


@pytest.mark.datumaro
def test_datumaro_reads_the_tags_that_we_write(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    pictures(tmp_path, "a.png", "sub/b.png")
    samples = [
        Sample(id, tmp_path / id, target=Target((name,)), size=(40, 30))
        for id, name in (("a.png", "cat"), ("sub/b.png", "blåbær"))
    ]
    cvat_xml.write(tmp_path / "out", samples, ["dog", "cat", "blåbær"])
    read = datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
    labels = [label.name for label in read.categories()[datumaro.AnnotationType.label]]
    assert labels == ["dog", "cat", "blåbær"]
    found = {item.id: [labels[a.label] for a in item.annotations] for item in read}
    assert found == {"a": ["cat"], "sub/b": ["blåbær"]}
    assert {item.id: item.media.data.shape[:2] for item in read} == dict.fromkeys(found, (30, 40))


@pytest.mark.datumaro
def test_what_datumaro_writes_is_read_the_same(tmp_path: Path) -> None:
    """Boxes, polygons and tags of another writer: as boxes, as masks, as classes."""
    datumaro = pytest.importorskip("datumaro")
    shapes = {
        "a": [datumaro.Bbox(1, 2, 10.5, 10, label=1, z_order=1), datumaro.Polygon([0, 0, 6, 0, 6, 4, 0, 4], label=0)],
        "sub/b": [datumaro.Polygon([5, 5, 20, 5, 20, 25], label=2)],
        "c": [],
    }
    tags = {"a": 1, "sub/b": 2, "c": 0}
    picture = datumaro.Image.from_numpy(np.zeros((30, 40, 3), np.uint8))

    def written(place: Path, content: dict[str, list[Any]]) -> Path:
        items = [
            datumaro.DatasetItem(id=id, annotations=found, media=picture, attributes={"frame": i})
            for i, (id, found) in enumerate(content.items())
        ]
        dataset = datumaro.Dataset.from_iterable(items, categories=["dog", "cat", "blåbær"])
        dataset.export(str(place), "cvat", save_media=True, image_ext=".png")
        (file,) = place.glob("*.xml")
        return file

    file = written(tmp_path / "shapes", shapes)
    listing = cvat_xml.read(file)
    found = {s.id.rpartition("default/")[2]: s.target for s in listing.samples}
    assert listing.classes == ("dog", "cat", "blåbær")
    assert {id: sorted(t.classes) for id, t in found.items()} == {
        "a.png": ["cat", "dog"],
        "sub/b.png": ["blåbær"],
        "c.png": [],
    }
    a = dict(zip(found["a.png"].classes, found["a.png"].geometry.tolist(), strict=True))
    assert a == {"cat": [1, 2, 11.5, 12], "dog": [0, 0, 6, 4]}
    np.testing.assert_allclose(found["sub/b.png"].geometry, [[5, 5, 20, 25]])

    samples = {s.id.rpartition("default/")[2]: replace(s, size=(40, 30), target=None) for s in listing.samples}
    samples = {id: replace(s, id=id) for id, s in samples.items()}
    queries = [Query(f"q{i}", 0, i, id) for i, id in enumerate(samples)]
    asked = Asked(queries, samples, listing.classes, "segment")
    answers = read_answers(file, asked, format="cvat_xml", masks=tmp_path / "masks")
    by_image = {q.sample_id: a.target for q in queries for a in answers.annotations if a.query_id == q.id}
    assert by_image.keys() == {"a.png", "sub/b.png"}
    expected = np.full((30, 40), 255, np.uint8)
    expected[0:4, 0:6] = 0
    expected[2:12, 1:11] = 1  # half a pixel of the column at 11 is not its centre
    np.testing.assert_array_equal(read_mask(by_image["a.png"].mask, 3), expected)

    file = written(tmp_path / "tags", {id: [datumaro.Label(label)] for id, label in tags.items()})
    answers = read_answers(file, replace(asked, task="classify"), format="cvat_xml")
    by_image = {q.sample_id: a.target for q in queries for a in answers.annotations if a.query_id == q.id}
    assert {id: t.classes[0] for id, t in by_image.items()} == {"a.png": "cat", "sub/b.png": "blåbær", "c.png": "dog"}
