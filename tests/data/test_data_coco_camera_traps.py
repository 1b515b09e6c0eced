"""COCO Camera Traps: classes, boxes, locations, times and sequences."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from camera_trap_files import picture
from labelwise.data.coco_camera_traps import is_coco_camera_traps, read
from labelwise.errors import DataError

CATEGORIES = [{"id": 0, "name": "empty"}, {"id": 1, "name": "fox"}, {"id": 2, "name": "deer"}]


@pytest.fixture
def write(tmp_path):
    """Writes a file and the pictures it names."""

    def make(images, annotations, categories=CATEGORIES, pictures=True):
        for image in images if pictures else []:
            if isinstance(image, dict) and isinstance(image.get("file_name"), str):
                picture(tmp_path / image["file_name"].replace("\\", "/"), size=(80, 40))
        (tmp_path / "cct.json").write_text(
            json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories})
        )
        return tmp_path / "cct.json"

    return make


def image(id, name, **more):
    return {"id": id, "file_name": name, "width": 80, "height": 40, **more}


def said(image, category, **more):
    return {"id": f"{image}-{category}", "image_id": image, "category_id": category, **more}


def codes(listing):
    return Counter(problem.code for problem in listing.problems)


def test_classes_locations_times_and_sequences(write):
    file = write(
        [
            image("a", "1.jpg", seq_id="s1", frame_num=2, location=7, datetime="2024-05-01 10:00:00"),
            image("b", "2.jpg", seq_id="s1", location=7, datetime="broken"),
            image("c", "sub/3.jpg", location="x"),
            image("d", "sub/4.jpg"),
        ],
        [said("a", 1, count=2), said("b", 0), said("c", 2)],
    )
    found = read(file)
    assert [(s.id, s.target and s.target.classes[0]) for s in found.samples] == [
        ("1.jpg", "fox"), ("2.jpg", "empty"), ("sub/3.jpg", "deer"), ("sub/4.jpg", None),
    ]  # fmt: skip
    assert found.classes == ("empty", "fox", "deer")
    assert found.samples[0].meta == {
        "taken": "2024-05-01T10:00:00", "location": "7", "sequence": "s1", "frame": 2.0, "count": 2.0,
    }  # fmt: skip
    assert [sample.group for sample in found.samples] == ["7", "7", "x", "sub"]
    assert codes(found) == {"no_time": 1}


def test_crops_by_boxes_absolute_and_relative(write):
    file = write(
        [image("a", "1.jpg"), {"id": "b", "file_name": "2.jpg"}, image("c", "3.jpg", location=1)],
        [
            said("a", 1, bbox=[0, 0, 8, 4]),
            said("a", 1, bbox=[40, 20, 20, 10]),
            said("b", 2, bbox_relative=[0.5, 0.5, 0.25, 0.25], bbox=[1, 1, 1, 1]),
            said("b", 2, bbox=[70, 30, 20, 20]),  # reaches beyond the picture, whose size only its header tells
            said("c", 0),
        ],
    )
    best = read(file, crops="best", margin=0)
    assert [s.crop for s in best.samples] == [(0.5, 0.5, 0.75, 0.75), (0.5, 0.5, 0.75, 0.75), None]
    every = read(file, crops="all", margin=0)
    assert [(s.id, s.crop, s.target.classes[0]) for s in every.samples] == [
        ("1.jpg#1", (0.5, 0.5, 0.75, 0.75), "fox"),
        ("1.jpg#2", (0.0, 0.0, 0.1, 0.1), "fox"),
        ("2.jpg#1", (0.5, 0.5, 0.75, 0.75), "deer"),
        ("2.jpg#2", (0.875, 0.75, 1.0, 1.0), "deer"),
        ("3.jpg", None, "empty"),
    ]
    assert all(sample.crop is None for sample in read(file).samples)


def test_several_classes_on_one_image(write):
    file = write(
        [image("a", "1.jpg", location=1), image("b", "2.jpg"), image("c", "3.jpg")],
        [said("a", 1), said("a", 2), said("b", 1), said("b", 0), said("c", 2), said("c", 2)],
    )
    found = read(file)
    assert [(s.id, s.target.classes[0]) for s in found.samples] == [("2.jpg", "fox"), ("3.jpg", "deer")]
    assert codes(found) == {"several_classes": 1}


def test_labels_of_a_whole_sequence_can_be_left_out(write):
    annotations = [said("a", 1, sequence_level_annotation=True), said("b", 2)]
    file = write([image("a", "1.jpg", seq_id="s"), image("b", "2.jpg", seq_id="s")], annotations)
    assert [s.target and s.target.classes[0] for s in read(file).samples] == ["fox", "deer"]
    assert codes(read(file))["of_sequence"] == 1
    assert [s.target and s.target.classes[0] for s in read(file, sequence_labels=False).samples] == [None, "deer"]


def test_what_cannot_be_used_is_told_and_the_rest_kept(write, tmp_path):
    file = write(
        [
            image("a", "1.jpg", location=1),
            image("b", "2.jpg", corrupt=True),
            image("a", "3.jpg"),
            {"id": "c"},
            "x",
            image(5, r"sub\5.jpg"),
        ],
        [
            said("a", 1, bbox=[1, 2, "x", 3]),
            said("a", 9),
            said("ghost", 1),
            {"category_id": 1},
            said("5", "2"),  # ids as text here, as numbers there
            7,
        ],
        [*CATEGORIES, {"id": 3}],
    )
    (tmp_path / "sub").mkdir(exist_ok=True)
    found = read(file)
    assert [(s.id, s.target.classes[0]) for s in found.samples] == [("1.jpg", "fox"), ("sub/5.jpg", "deer")]
    assert codes(found) == {
        "corrupt": 1, "repeated_id": 1, "bad_entry": 1, "bad_annotation": 1, "bad_box": 1, "unknown_image": 1,
        "unknown_category": 1, "not_in_json": 1,
    }  # fmt: skip
    assert "3 entries" in next(p.message for p in found.problems if p.code == "bad_entry")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no images"),
        ({"images": [], "annotations": [], "categories": []}, "no categories"),
        ({"images": [], "annotations": [], "categories": CATEGORIES}, "the pictures below"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        read(tmp_path / "x.json")


def test_a_file_is_known_by_what_only_camera_traps_have(write, tmp_path):
    assert is_coco_camera_traps(write([image("a", "1.jpg", location=1)], []))
    assert not is_coco_camera_traps(write([image("a", "1.jpg")], [said("a", 1, bbox=[0, 0, 1, 1])]))
    assert not is_coco_camera_traps(tmp_path / "absent.json")
