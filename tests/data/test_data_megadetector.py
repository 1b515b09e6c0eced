"""MegaDetector's batch output beside pictures."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from camera_trap_files import detection, megadetector, picture
from labelwise.data.megadetector import read
from labelwise.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(["A/1.jpg", "A/2.jpg", "A/3.jpg", "B/DCIM/100RECNX/1.jpg", "B/DCIM/100RECNX/2.jpg"]):
        picture(tmp_path / name, taken=f"2024:05:01 10:00:0{i}", colour=(i * 20, 90, 90))
    return tmp_path


def codes(listing):
    return Counter(problem.code for problem in listing.problems)


def test_the_surest_animal_is_cut_out(folder):
    file = megadetector(
        folder / "md.json",
        [
            ("A/1.jpg", [detection(0.3, (0, 0, 0.1, 0.1)), detection(0.9, (0.4, 0.4, 0.2, 0.2)), detection(0.1)]),
            ("A/2.jpg", []),
            ("A/3.jpg", [detection(0.1999)]),
            ("B/DCIM/100RECNX/1.jpg", [detection(0.2)]),
        ],
    )
    found = read(file)
    assert [sample.id for sample in found.samples] == ["A/1.jpg", "A/2.jpg", "A/3.jpg", "B/DCIM/100RECNX/1.jpg"]
    first, empty, faint, other = found.samples
    assert first.crop == pytest.approx((0.38, 0.38, 0.62, 0.62))
    assert first.meta["confidence"] == 0.9
    assert first.meta["detections"] == 2
    assert first.meta["box"] == "0.4, 0.4, 0.2, 0.2"
    assert empty.crop is None
    assert faint.crop is None
    assert empty.meta["detections"] == faint.meta["detections"] == 0
    assert other.crop is not None
    assert [sample.group for sample in found.samples] == ["A", "A", "A", "B"]
    assert all(sample.target is None for sample in found.samples)
    assert found.classes == ("empty",)
    assert codes(found) == {"not_in_json": 1}
    assert found.camera is not None


def test_each_animal_is_a_sample_of_its_own_if_asked(folder):
    file = megadetector(
        folder / "md.json", [("A/1.jpg", [detection(0.3, (0, 0, 0.1, 0.1)), detection(0.9)]), ("A/2.jpg", [])]
    )
    found = read(file, crops="all", margin=0)
    assert [sample.id for sample in found.samples] == ["A/1.jpg#1", "A/1.jpg#2", "A/2.jpg"]
    assert found.samples[0].crop == (0.25, 0.25, 0.75, 0.75)
    assert found.samples[1].crop == (0, 0, 0.1, 0.1)
    assert found.samples[0].path == found.samples[1].path == folder / "A/1.jpg"
    assert [sample.meta.get("file") for sample in found.samples] == ["A/1.jpg", "A/1.jpg", None]
    whole = read(file, crops="none")
    assert [sample.crop for sample in whole.samples] == [None, None]


def test_people_and_vehicles_are_not_shown_unless_asked(folder):
    entries = [
        ("A/1.jpg", [detection(0.9), detection(0.11, category="2")]),
        ("A/2.jpg", [detection(0.9), detection(0.09, category="2")]),
        ("A/3.jpg", [detection(0.8, category="3")]),
        ("B/DCIM/100RECNX/1.jpg", [detection(0.9, category="7")]),  # a category that nobody names is nothing
    ]
    file = megadetector(folder / "md.json", entries)
    found = read(file)
    assert [sample.id for sample in found.samples] == ["A/2.jpg", "B/DCIM/100RECNX/1.jpg"]
    assert codes(found)["people"] == 2
    assert found.samples[1].crop is None
    assert [sample.id for sample in read(file, people_threshold=0.05).samples] == ["B/DCIM/100RECNX/1.jpg"]
    shown = read(file, people=True)
    assert [sample.meta.get("detected") for sample in shown.samples] == ["animal", "animal", "vehicle", None]


@pytest.mark.parametrize("empty", ["ask", "label", "leave_out"])
def test_images_where_nothing_was_found(folder, empty):
    file = megadetector(folder / "md.json", [("A/1.jpg", [detection(0.9)]), ("A/2.jpg", [])])
    found = read(file, empty=empty)
    expected = {"ask": (2, None, ("empty",)), "label": (2, ("empty",), ("empty",)), "leave_out": (1, None, ())}[empty]
    target = found.samples[-1].target
    assert (len(found.samples), target and target.classes, found.classes) == expected
    assert codes(found)["nothing_found"] == (empty == "leave_out")


def test_what_cannot_be_used_is_counted_and_the_rest_kept(folder):
    entries = [
        ("A/1.jpg", [detection(0.9)]),
        {"file": "A/2.jpg", "failure": "Failure image access", "detections": None},
        {"file": "A/3.jpg", "detections": None},
        {"file": "B/DCIM/100RECNX/1.jpg"},
        ("A/9.jpg", []),
        ("A/clip.MP4", [detection(0.9)]),
        ("A/1.jpg", []),
        {"detections": []},
        "nonsense",
        17,
        {
            "file": "B/DCIM/100RECNX/2.jpg",
            "detections": [
                detection(1.2),
                detection("0.9"),
                detection(None),
                detection(0.5, (0, 0, 0, 0)),
                detection(0.5, (2, 0, 1, 1)),
                {"category": "1", "conf": 0.5},
                "x",
                detection(float("nan")),
            ],
        },
    ]
    images = [{"file": e[0], "detections": e[1]} if isinstance(e, tuple) else e for e in entries]
    content = {"info": {}, "detection_categories": {"1": "animal"}, "images": images}
    (folder / "md.json").write_text(json.dumps(content))
    found = read(folder / "md.json")
    assert [sample.id for sample in found.samples] == ["A/1.jpg", "B/DCIM/100RECNX/2.jpg"]
    assert found.samples[1].meta["confidence"] == 0.9  # a confidence written as text
    assert codes(found) == {
        "failure": 1, "no_detections": 2, "missing": 1, "video": 1, "repeated": 1, "bad_entry": 1, "bad_detection": 1,
    }  # fmt: skip
    counts = {problem.code: problem.message for problem in found.problems}
    assert "3 entries" in counts["bad_entry"]
    assert "7 detections" in counts["bad_detection"]


@pytest.mark.parametrize(
    "names",
    [
        [r"A\1.jpg", r"B\DCIM\100RECNX\2.jpg"],
        [r"C:\data\survey\A\1.jpg", r"C:\data\survey\B\DCIM\100RECNX\2.jpg"],
        ["/mnt/survey/A/1.jpg", "/mnt/survey/B/DCIM/100RECNX/2.jpg"],
        ["survey/A/1.jpg", "survey/B/DCIM/100RECNX/2.jpg"],
        ["./A/1.jpg", "./B/DCIM/100RECNX/2.jpg"],
    ],
)
def test_paths_are_found_whatever_they_were_relative_to(folder, names):
    found = read(megadetector(folder / "md.json", [(name, [detection(0.9)]) for name in names]))
    assert [sample.id for sample in found.samples] == ["A/1.jpg", "B/DCIM/100RECNX/2.jpg"]


def test_paths_below_a_folder_of_the_root_are_found(folder):
    found = read(megadetector(folder / "md.json", [("DCIM/100RECNX/1.jpg", [detection(0.9)])]))
    assert [sample.id for sample in found.samples] == ["B/DCIM/100RECNX/1.jpg"]
    assert codes(found)["other_root"] == 1


def test_a_name_that_fits_in_several_folders_is_not_guessed(folder):
    with pytest.raises(DataError, match="1 missing"):
        read(megadetector(folder / "md.json", [("1.jpg", [detection(0.9)])]))


def test_letters_are_found_composed_and_decomposed(tmp_path):
    picture(tmp_path / "O\u0308hle" / "1.jpg")
    found = read(megadetector(tmp_path / "md.json", [("Öhle/1.jpg", [])]))
    assert [sample.id for sample in found.samples] == ["O\u0308hle/1.jpg"]


def test_the_threshold_of_the_file_is_used(folder):
    info = {"format_version": "1.2", "detector_metadata": {"typical_detection_threshold": 0.5}}
    file = megadetector(folder / "md.json", [("A/1.jpg", [detection(0.4)]), ("A/2.jpg", [detection(0.6)])], info=info)
    assert [sample.crop is None for sample in read(file).samples] == [True, False]
    assert [sample.crop is None for sample in read(file, threshold=0.3).samples] == [False, False]


def test_classifications_and_times_are_kept(folder):
    entry = {
        "file": "A/1.jpg",
        "datetime": "2024:05:01 10:11:12",
        "detections": [detection(0.9, classifications=[["3", 0.8], ["1", 0.1]])],
    }
    file = megadetector(folder / "md.json", [entry], classification_categories={"1": "fox", "3": "elk"})
    sample = read(file).samples[0]
    assert (sample.meta["classified"], sample.meta["classified_confidence"]) == ("elk", 0.8)
    assert sample.meta["taken"] == "2024-05-01T10:11:12"
    assert sample.target is None


def test_labels_of_a_table_become_the_truth(folder):
    (folder / "labels.csv").write_text("path,class\nA\\1.jpg,fox\nA/2.jpg,empty\nA/0.jpg,deer\n")
    file = megadetector(
        folder / "md.json", [("A/1.jpg", [detection(0.9), detection(0.8)]), ("A/2.jpg", []), ("A/3.jpg", [])]
    )
    found = read(file, labels="labels.csv", crops="all")
    assert [s.target and s.target.classes[0] for s in found.samples] == ["fox", "fox", "empty", None]
    assert found.classes == ("fox", "empty")
    assert codes(found)["unknown_name"] == 1


def test_pictures_that_the_file_does_not_name_can_be_taken_whole(folder):
    found = read(megadetector(folder / "md.json", [("A/1.jpg", [detection(0.9)])]), others="whole")
    assert len(found.samples) == 5
    assert codes(found)["not_in_json"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty file"),
        ("[]", "a JSON object"),
        ("{", "line 1 column 2"),
        ('{"images": [{"file": "a"', "written to its end"),
        ('{"images": [1 2]}', "written to its end"),
        ('{"images": {}}', "with images"),
        ('{"detections": []}', "with images"),
        ('{"images": []} x', "5 not_in_json"),
    ],
)
def test_other_files_are_refused_in_one_line(folder, text, words):
    (folder / "md.json").write_text(text)
    with pytest.raises(DataError, match=words) as raised:
        read(folder / "md.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 2}, "threshold"),
        ({"people_threshold": -1}, "people_threshold"),
        ({"margin": -0.1}, "margin"),
        ({"sequence_minutes": -1}, "sequence_minutes"),
        ({"location": "("}, "location"),
        ({"location": "Site"}, "Site"),
        ({"location": 0}, "location"),
        ({"images": "nowhere"}, "nowhere"),
        ({"labels": "nowhere.csv"}, "nowhere"),
    ],
)
def test_options_that_cannot_be_are_refused(folder, options, words):
    file = megadetector(folder / "md.json", [("A/1.jpg", [detection(0.9)])])
    with pytest.raises(DataError, match=words):
        read(file, **options)
