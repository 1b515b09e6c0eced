"""What a folder of camera-trap data is taken for."""

from __future__ import annotations

import json

import pytest

from camera_trap_files import detection, megadetector, picture
from labelwise.data.camtrap_dp_writing import Seen, write
from labelwise.data.guess import guess
from labelwise.errors import DataError
from labelwise.records import Sample
from timelapse_files import write_data, write_recognitions, write_template


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(["A/1.jpg", "A/2.jpg", "B/1.jpg", "B/2.jpg"]):
        picture(tmp_path / name, taken="2024:05:01 10:00:00" if i else None, colour=(i, 0, 0))
    return tmp_path


def row(name, folder, species=""):
    return {"File": name, "RelativePath": folder, "DateTime": "2024-03-05 10:11:12", "Species": species}


def test_without_a_sign_of_cameras_folders_are_classes(folder):
    assert guess(folder).format == "class_folders"
    assert guess(folder).cameras is None


def test_detections_beside_the_pictures(folder):
    megadetector(folder / "md.json", [("A/1.jpg", [detection(0.9)]), ("B/1.jpg", [])])
    found = guess(folder)
    assert (found.format, found.path, found.images, found.labelled) == ("megadetector", folder / "md.json", 2, 0)
    assert found.facts[1:3] == ("1 crops, 1 whole", "2 locations; 1 of 2 looked at have a time in their EXIF")
    assert found.cameras.options == {"crops": "best", "location": "folder", "sequence_minutes": 1.0}
    assert guess(folder / "md.json").format == "megadetector"


def test_detections_with_a_template_and_with_data_of_timelapse(folder):
    megadetector(folder / "md.json", [("A/1.jpg", [detection(0.9)]), ("B/1.jpg", [])])
    write_template(folder / "TimelapseTemplate.tdb")
    found = guess(folder)
    assert found.cameras.options["classes"] == ["deer", "fox"]  # empty is there anyway
    assert found.cameras.listing.classes == ("deer", "fox", "empty")
    assert found.cameras.column == "Species"
    assert "labels" not in found.cameras.options
    write_data(folder / "TimelapseData.ddb", [row("1.jpg", "A", "deer")])
    found = guess(folder)
    assert found.cameras.options["labels"] == "TimelapseData.ddb"
    assert found.labelled == 1


def test_a_template_alone(folder):
    write_template(folder / "TimelapseTemplate.tdb")
    found = guess(folder)
    assert (found.format, found.images) == ("images_folder", 4)
    assert found.cameras.options["classes"] == ["deer", "fox", "empty"]
    (folder / "TimelapseTemplate.tdb").write_bytes(b"SQLite format 3\0damaged")
    assert "classes" not in guess(folder).cameras.options


def test_data_of_timelapse(folder):
    write_data(folder / "TimelapseData.ddb", [row("1.jpg", "A", "deer"), row("1.jpg", "B")])
    found = guess(folder)
    assert (found.format, found.images, found.labelled) == ("timelapse", 2, 1)
    assert found.cameras.options["column"] == "Species"
    assert guess(folder / "TimelapseData.ddb").format == "timelapse"


def test_an_exported_csv(folder):
    (folder / "ImageData.csv").write_text("File,RelativePath,Species\n1.jpg,A,deer\n2.jpg,A,\n")
    assert (guess(folder).format, guess(folder).labelled) == ("timelapse", 1)
    assert guess(folder / "ImageData.csv").format == "timelapse"


@pytest.mark.parametrize("name", ["cct.json", "annotations/cct.json"])
def test_coco_camera_traps(folder, name):
    content = {
        "images": [{"id": 1, "file_name": "A/1.jpg", "location": "x", "seq_id": "s"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "fox"}],
    }
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    found = guess(folder)
    assert (found.format, found.images, found.labelled, found.task) == ("coco_camera_traps", 1, 1, "classify")


def test_a_camtrap_dp_package(folder):
    write(folder / "p", [Seen(Sample("A/1.jpg", None), "fox", "human", "Ann")])
    picture(folder / "p/A/1.jpg")
    assert guess(folder / "p").format == "camtrap_dp"
    assert guess(folder / "p/datapackage.json").labelled == 1


@pytest.mark.parametrize(
    "names", [("x/DCIM/100RECNX/1.jpg", "y/DCIM/101EK113/1.jpg"), ("cam01/1.jpg", "Site 3/1.jpg", "CT-b/2.jpg")]
)
def test_folders_that_are_made_by_cameras_or_named_after_places(tmp_path, names):
    for i, name in enumerate(names):
        picture(tmp_path / name, colour=(i, 0, 0))
    found = guess(tmp_path)
    assert (found.format, found.images) == ("images_folder", len(names))
    assert f"{len(names)} locations" in found.facts[1]


def test_one_of_several_must_be_named(folder):
    for name in ("a.json", "b.json"):
        megadetector(folder / name, [("A/1.jpg", [])])
    with pytest.raises(DataError, match=r"a\.json, b\.json"):
        guess(folder)
    assert guess(folder / "b.json").format == "megadetector"


def test_folders_of_cameras_below_a_single_folder(tmp_path):
    for i, name in enumerate(["2024/cam01/1.jpg", "2024/cam02/1.jpg"]):
        picture(tmp_path / name, colour=(i, 0, 0))
    found = guess(tmp_path)
    assert (found.format, found.path, found.labelled) == ("images_folder", tmp_path / "2024", 0)


def test_data_of_timelapse_with_recognitions_are_detections_and_labels(folder):
    data = folder / "TimelapseData.ddb"
    write_data(data, [row("1.jpg", "A", "deer"), row("1.jpg", "B"), row("2.jpg", "B")])
    write_recognitions(data, {1: [("1", 0.9, "0.1, 0.2, 0.3, 0.4")], 2: [("2", 0.9, "0, 0, 1, 1")], 3: []})
    found = guess(folder)
    assert (found.format, found.path, found.labelled) == ("megadetector", data, 1)
    assert found.cameras.options["labels"] == "TimelapseData.ddb"
    assert found.cameras.options["classes"] == ["deer", "fox"]
    assert {problem.code for problem in found.cameras.listing.problems} == {"people", "not_in_json"}
    assert guess(data).format == "megadetector"
