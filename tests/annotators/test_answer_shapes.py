"""Answers drawn as shapes: CVAT's XML and COCO, as masks for segmentation and as boxes for detection; and skipping."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from labelwise.annotators.answers import read_answers, told
from labelwise.annotators.found import Asked
from labelwise.data.masks import read_mask
from labelwise.records import Query, Sample

CLASSES = ("cat", "dog")


@pytest.fixture
def asked(tmp_path):
    from PIL import Image

    samples = {}
    for id in ("a.png", "sub/b.png", "c.png", "d.png"):
        (tmp_path / "images" / id).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / id)
        samples[id] = Sample(id, tmp_path / "images" / id, size=(20, 10))

    def make(task, geometry=None, classes=CLASSES):
        queries = [Query(f"q{i}", 0, i, id, geometry=geometry) for i, id in enumerate(samples)]
        return Asked(queries, samples, classes, task)

    return make


def xml(tmp_path, *images):
    entries = "".join(f'<image id="0" name="{n}" width="20" height="10">{inner}</image>' for n, inner in images)
    file = tmp_path / "annotations.xml"
    file.write_text(f"<annotations>{entries}</annotations>", encoding="utf-8")
    return file


POLYGON = '<polygon label="{}" points="1,1;5,1;5,4;1,4" z_order="{}"/>'
MASK = '<mask label="{}" rle="0, 3, 2, 1" left="4" top="3" width="3" height="2" z_order="0"/>'
BOX = '<box label="{}" xtl="2" ytl="2" xbr="8" ybr="6"/>'


def by_image(answers, asked):
    of = {q.id: q.sample_id for q in asked.queries}
    return {of[a.query_id]: a.target for a in answers.annotations}


def test_cvat_shapes_as_masks(asked, tmp_path):
    file = xml(
        tmp_path,
        ("a.png", POLYGON.format("dog", 5) + MASK.format("cat") + BOX.format("cat")),
        ("sub/b.png", ""),
        ("c.png", '<tag label="skip"/>' + POLYGON.format("owl", 0)),
        ("d.png", POLYGON.format("owl", 0)),
    )
    query = asked("segment")
    answers = read_answers(file, query, masks=tmp_path / "masks")
    found = by_image(answers, query)
    assert found.keys() == {"a.png", "c.png"}
    assert found["c.png"] is None
    expected = np.full((10, 20), 255, np.uint8)
    expected[2:6, 2:8] = 0
    expected[3, 4:7] = 0
    expected[4, 6] = 0
    expected[1:4, 1:5] = 1  # the highest z_order
    np.testing.assert_array_equal(read_mask(found["a.png"].mask, 2), expected)
    assert answers.empty == ("sub/b.png",)
    assert dict(answers.unknown_classes) == {"owl": ("d.png",)}
    more = read_answers(file, query, masks=tmp_path / "masks", new_classes=True)
    assert by_image(more, query)["d.png"].classes == ("cat", "dog", "owl")


def test_what_cvat_exports_is_recognised_in_a_folder_and_zipped(asked, tmp_path):
    (tmp_path / "job").mkdir()
    file = xml(tmp_path / "job", ("a.png", POLYGON.format("dog", 0)))
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.write(file, "annotations.xml")
    query = asked("segment")
    for place in (tmp_path / "job", tmp_path / "job.zip", file):
        found = by_image(read_answers(place, query, masks=tmp_path / "masks"), query)
        assert (read_mask(found["a.png"].mask, 2) == 1).sum() == 12


def test_of_regions_only_what_was_asked(asked, tmp_path):
    file = xml(tmp_path, ("a.png", POLYGON.format("dog", 0)))
    query = asked("segment", np.array([[3, 2, 6, 5]]))
    target = by_image(read_answers(file, query), query)["a.png"]
    assert target.classes == ("dog",)
    assert sorted(map(tuple, target.geometry.tolist())) == [(3, 2), (3, 3), (4, 2), (4, 3)]


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ('<polyline label="cat" points="1,1;2,2"/>', "expected areas, found a polyline"),
        ('<polygon label="cat" points="1,1;2,2"/>', "three or more points"),
        ('<polygon label="cat" points="1,x;2,2;3,3"/>', "y"),
        ('<polygon label="" points="1,1;5,1;5,4"/>', "expected a label"),
        ('<mask label="cat" rle="1, 2" left="0" top="0" width="9" height="9"/>', "run lengths of 81"),
        ('<mask label="cat" rle="4" left="19" top="0" width="2" height="2"/>', "in the image of 20 x 10"),
        ('<mask label="cat" rle="x" left="0" top="0" width="2" height="2"/>', "whole numbers"),
        ('<ellipse label="cat" cx="5" cy="5" rx="0" ry="2"/>', "radii"),
    ],
)
def test_shapes_that_cannot_be_used_leave_the_image_open(asked, tmp_path, inner, words):
    query = asked("segment")
    answers = read_answers(xml(tmp_path, ("a.png", POLYGON.format("cat", 0) + inner)), query)
    assert answers.annotations == ()
    assert words in "\n".join(told(answers, CLASSES, ""))


def test_an_image_of_another_size_stays_open(asked, tmp_path):
    file = xml(tmp_path, ("a.png", POLYGON.format("cat", 0)))
    file.write_text(file.read_text().replace('width="20"', 'width="40"'))
    answers = read_answers(file, asked("segment"))
    assert answers.annotations == ()
    assert "was it scaled?" in answers.problems[0].message


def coco(tmp_path, annotations):
    names = ["a.png", "sub/b.png", "c.png", "d.png"]
    data = {
        "images": [{"id": i, "file_name": n, "width": 20, "height": 10} for i, n in enumerate(names)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 9, "name": "owl"}],
        "annotations": annotations,
    }
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(data))
    return file


def test_coco_segmentations_as_masks(asked, tmp_path):
    square, runs = [[1, 1, 5, 1, 5, 4, 1, 4]], {"size": [10, 20], "counts": [0, 10, 190]}
    file = coco(
        tmp_path,
        [
            {"id": 1, "image_id": 0, "category_id": 3, "segmentation": runs, "bbox": [0, 0, 1, 10], "iscrowd": 1},
            {"id": 2, "image_id": 0, "category_id": 7, "segmentation": square, "bbox": [1, 1, 4, 3]},
            {"id": 3, "image_id": 2, "category_id": 7, "bbox": [1, 1, 4, 3]},
            {"id": 4, "image_id": 3, "category_id": 5, "segmentation": square},
        ],
    )
    query = asked("segment")
    answers = read_answers(file, query, masks=tmp_path / "masks")
    found = by_image(answers, query)
    assert found.keys() == {"a.png"}
    expected = np.full((10, 20), 255, np.uint8)
    expected[:, 0] = 0
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(read_mask(found["a.png"].mask, 2), expected)
    assert answers.empty == ("sub/b.png",)
    assert set(answers.open) == {"c.png", "d.png"}


def test_outlines_as_boxes(asked, tmp_path):
    query = asked("detect")
    ellipse = '<ellipse label="cat" cx="10" cy="5" rx="4" ry="2" rotation="90"/>'
    file = xml(tmp_path, ("a.png", POLYGON.format("dog", 0) + MASK.format("cat") + ellipse))
    answers = read_answers(file, query)
    target = by_image(answers, query)["a.png"]
    assert target.classes == ("dog", "cat", "cat")
    np.testing.assert_allclose(target.geometry, [[1, 1, 5, 4], [4, 3, 7, 5], [8, 1, 12, 9]])
    assert "around polygons or ellipses" in " ".join(p.message for p in answers.problems)
    outline = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[1, 1, 5, 1, 5, 4]]}
    runs = {"id": 2, "image_id": 0, "category_id": 7, "segmentation": {"size": [10, 20], "counts": [12, 3, 185]}}
    target = by_image(read_answers(coco(tmp_path, [outline, runs]), query), query)["a.png"]
    np.testing.assert_allclose(target.geometry, [[1, 1, 5, 4], [1, 2, 2, 5]])


def test_skipping_in_cvats_xml(asked, tmp_path):
    inner = ("a.png", '<tag label="skip"/>' + BOX.format("owl")), ("c.png", '<tag label="skip"/>'), ("d.png", "")
    for task in ("detect", "classify", "segment"):
        query = asked(task)
        answers = read_answers(xml(tmp_path, *inner), query)
        assert by_image(answers, query) == {"a.png": None, "c.png": None}
        assert answers.empty == ("d.png",)
        assert answers.problems == ()
    query = asked("classify", classes=("cat", "skip"))
    assert by_image(read_answers(xml(tmp_path, *inner), query), query)["c.png"].classes == ("skip",)


def test_what_a_person_tagged_counts_before_what_was_proposed(asked, tmp_path):
    query = asked("classify")
    proposed, own = '<tag label="cat" source="auto"/>', '<tag label="dog" source="manual"/>'
    found = by_image(read_answers(xml(tmp_path, ("a.png", proposed + own), ("c.png", proposed)), query), query)
    assert {id: t.classes for id, t in found.items()} == {"a.png": ("dog",), "c.png": ("cat",)}
