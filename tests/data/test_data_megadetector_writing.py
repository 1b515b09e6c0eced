"""MegaDetector's batch output as it is written: every version by its rules, and nothing that trips Timelapse."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.data.megadetector_writing import (
    VERSIONS,
    About,
    Detection,
    Recognition,
    whole_image,
    write,
    written_names,
)
from labelwise.errors import DataError
from megadetector_rules import as_timelapse_reads, validate

CLASSES = ("empty", "fox", "person", "wild boar")
SOME = (
    Recognition("a/b.jpg", (Detection(0.2, None, "animal", (("fox", 0.1), ("wild boar", 0.7))), Detection(0.9))),
    Recognition("c.JPG", (Detection(0.51239, (0.99996, 0.2, 0.5, 0.4), "person"),)),
    Recognition("d ü.jpeg"),
    Recognition("e.jpg", failure="cannot be read"),
    Recognition("f.mp4", (Detection(0.5, (0, 0, 0.5, 0.5), frame=20),), frame_rate=29.97, frames_processed=(0, 20)),
)
ABOUT = About(detector="md_v5a.0.0.pt", finished="2026-05-26 19:11:27")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_keeps_its_rules(version, tmp_path):
    path = tmp_path / "r.json"
    notes = write(path, SOME, classes=CLASSES, about=ABOUT, version=version)
    data = validate(path)
    assert data["info"]["format_version"] == version
    assert data["info"]["detection_completion_time"] == "2026-05-26 19:11:27"
    first, second, empty, failed, video = data["images"]
    assert [d["conf"] for d in first["detections"]] == [0.9, 0.2]
    assert first["detections"][1]["classifications"] == [["3", 0.7], ["1", 0.1]]
    assert "classifications" not in first["detections"][0]
    assert first["detections"][0]["bbox"] == [0, 0, 1, 1]
    assert second["detections"][0]["bbox"] == [1.0, 0.2, 0.0, 0.4]
    assert empty["detections"] == []
    assert failed["failure"] == "cannot be read"
    assert ("frame_rate" in video) == (version >= "1.4")
    assert ("frames_processed" in video) == (version >= "1.5")
    assert notes == ["class 'person' is written as 'person (class)': a detection category has its name"]
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_timelapse_keeps_the_best_class_of_what_is_unsure(tmp_path):
    write(tmp_path / "r.json", [whole_image("a.jpg", CLASSES, [0.1, 0.35, 0.25, 0.3])], classes=CLASSES)
    assert as_timelapse_reads(tmp_path / "r.json") == {"a.jpg": [("animal", 0.9, "fox", 0.35)]}
    flat = [1 / 30] * 30
    write(
        tmp_path / "s.json",
        [whole_image("a.jpg", [f"c{i}" for i in range(30)], flat)],
        classes=[f"c{i}" for i in range(30)],
    )
    assert as_timelapse_reads(tmp_path / "s.json")["a.jpg"] == [("animal", 1.0, "c0", 0.033)]


def test_a_classifier_of_whole_images():
    assert whole_image("a.jpg", CLASSES, [0.6, 0.4, 0, 0]) == Recognition("a.jpg")
    (found,) = whole_image("a.jpg", CLASSES, [0.1, 0.2, 0.7, 0]).detections
    assert (found.category, round(found.confidence, 6), found.box) == ("person", 0.9, None)
    assert [name for name, _ in found.classes] == ["fox", "person", "wild boar"]
    assert whole_image("a.jpg", (), ()) == Recognition("a.jpg")
    (found,) = whole_image("a.jpg", ("a", "b"), (0.5, 0.5)).detections
    assert found.confidence == 1.0


def test_a_class_is_never_called_like_a_detection_category():
    names, notes = written_names(["Animal", "animal (class)", "fox", "Fox"])
    assert names == {
        "Animal": "Animal (class) (class)",
        "animal (class)": "animal (class)",
        "fox": "fox",
        "Fox": "Fox",
    }
    assert len(notes) == 2
    assert "differ in letter case only ('fox')" in notes[1]


def test_empty_does_not_come_first(tmp_path):
    write(tmp_path / "r.json", [], classes=("Empty", "fox"))
    data = validate(tmp_path / "r.json")
    assert list(data["classification_categories"].items()) == [("1", "fox"), ("0", "Empty")]
    assert data["images"] == []
    write(tmp_path / "s.json", [], classes=())
    assert "classification_categories" not in validate(tmp_path / "s.json")


def test_taxonomy_has_the_ids_of_the_classes(tmp_path):
    about = About(descriptions={"fox": "animalia;chordata;mammalia;carnivora;canidae;vulpesvulpes"})
    write(tmp_path / "r.json", [], classes=("fox", "odd"), about=about)
    data = validate(tmp_path / "r.json")
    assert data["classification_category_descriptions"]["1"] == "odd"


def test_pictures_that_timelapse_does_not_know_are_told(tmp_path):
    notes = write(tmp_path / "r.json", [Recognition(f"{i}.png") for i in range(5)], classes=())
    assert notes == [
        "5 files are neither .jpg nor .jpeg (0.png, 1.png, 2.png, ...): Timelapse shows no recognitions of such files"
    ]


@pytest.mark.parametrize(
    ("recognitions", "words"),
    [
        ([Recognition("a.jpg"), Recognition("a.jpg")], r"a\.jpg: expected each image once"),
        ([Recognition("a.jpg", (Detection(1.01),))], r"a\.jpg: expected a confidence of 0 to 1, found 1.01"),
        ([Recognition("a.jpg", (Detection(float("nan")),))], "expected a confidence of 0 to 1, found nan"),
        ([Recognition("a.jpg", (Detection(0.5, None, "bird"),))], "expected a category of animal, person, vehicle"),
        ([Recognition("a.jpg", (Detection(0.5, None, "animal", (("elk", 0.5),)),))], "expected a class of the run"),
        ([Recognition("a.jpg", (Detection(0.5, (0, 0, float("inf"), 1)),))], "expected a box"),
        ([Recognition("a.jpg", (Detection(0.5, (0.5, 0.5, -0.1, 0.1)),))], "expected a box"),
        ([Recognition("a.mp4", (Detection(0.5),))], "frame rate"),
        ([Recognition("a.mp4", (Detection(0.5),), frame_rate=20)], "frame of a detection"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(recognitions, words, tmp_path):
    (tmp_path / "r.json").write_text("before", encoding="utf-8")
    with pytest.raises(DataError, match=words) as error:
        write(tmp_path / "r.json", recognitions, classes=("fox",))
    assert "\n" not in str(error.value)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("r.json", "before")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("fox", "fox")}, "expected each class once"),
        ({"classes": (" ",)}, "blank"),
        ({"classes": (), "version": "2.0"}, r"expected one of 1\.0"),
    ],
)
def test_heads_that_cannot_be_written(options, words, tmp_path):
    with pytest.raises(DataError, match=words):
        write(tmp_path / "r.json", [], **options)


def test_one_image_is_in_memory_at_a_time(tmp_path):
    alive = 0

    def stream():
        nonlocal alive
        for i in range(1000):
            alive = max(alive, i + 1 - json_lines(tmp_path))
            yield Recognition(f"{i}.jpg", (Detection(0.5, (0.1, 0.1, 0.2, 0.2), "animal", (("fox", 1.0),) * 1),))

    def json_lines(folder):
        return sum(p.read_text(encoding="utf-8").count('"file"') for p in folder.glob("*.partial"))

    write(tmp_path / "r.json", stream(), classes=("fox",))
    assert alive < 200  # what the stream holds back before it writes
    assert len(validate(tmp_path / "r.json")["images"]) == 1000


shares = st.floats(0, 1, allow_subnormal=False)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(shares, st.none() | st.tuples(shares, shares, shares, shares), st.lists(shares, max_size=4)),
        max_size=5,
    ),
    st.integers(1, 5),
)
def test_whatever_is_found_is_written_by_the_rules(tmp_path_factory, found, top):
    path = tmp_path_factory.mktemp("r") / "r.json"
    detections = [Detection(c, box, "animal", list(zip(CLASSES, p, strict=False))) for c, box, p in found]
    write(path, [Recognition("a.jpg", detections)], classes=CLASSES, top=top)
    data = validate(path)
    assert len(data["images"][0]["detections"]) == len(found)
    best = {max(p) for _, _, p in found if p}
    tops = [d["classifications"][0][1] for d in data["images"][0]["detections"] if "classifications" in d]
    assert all(any(abs(value - b) < 1e-3 for b in best) for value in tops)
    assert json.loads(path.read_text(encoding="utf-8")) == data
