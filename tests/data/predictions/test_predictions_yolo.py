"""YOLO text files: sizes, names, empty files, and every mistake with its line."""

from __future__ import annotations

import pytest

from labelwise.data.predictions import read
from labelwise.errors import DataError

IDS = ("a.jpg", "sub/b.png", "sub/c ä,.png")
SIZES = dict.fromkeys(IDS, (200, 100))


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return folder


def labels(tmp_path, text="0 0.5 0.5 0.2 0.4 0.9\n", **options):
    write(tmp_path / "labels", a=text)
    return read(tmp_path / "labels", IDS, **{"classes": ["cat", "dog"], "sizes": SIZES, **options})


def test_a_folder_of_labels(tmp_path):
    folder = write(
        tmp_path / "labels", a="1 0.5 0.5 0.2 0.4 0.9\n\n0 0.1 0.1 0.1 0.1 0.25", sub__b="", other="0 0 0 0 0 1"
    )
    (folder / "sub" / "c ä,.txt").write_text("0 0.5 0.5 1 1 1", encoding="utf-8")
    found = read(folder, IDS, classes=["cat", "dog"], sizes=SIZES)
    records = {p.id: p for p in found}
    assert records["a.jpg"].boxes[0].tolist() == pytest.approx([80, 30, 120, 70])
    assert records["a.jpg"].labels.tolist() == [1, 0]
    assert records["a.jpg"].confidences.tolist() == pytest.approx([0.9, 0.25])
    assert records["sub/c ä,.png"].boxes.tolist() == [[0, 0, 200, 100]]
    assert (found.without_detection, found.unknown, found.missing) == (("sub/b.png",), ("other",), ())


@pytest.mark.parametrize(("absent", "missing", "empty"), [("auto", 2, 0), ("missing", 2, 0), ("empty", 0, 2)])
def test_images_without_a_file(tmp_path, absent, missing, empty):
    found = labels(tmp_path, absent=absent)
    assert (len(found.missing), len(found.without_detection)) == (missing, empty)


def test_files_for_no_image_are_an_error_even_where_absent_means_empty(tmp_path):
    write(tmp_path / "predict", labels__a="0 0.5 0.5 0.2 0.4 0.9\n")
    with pytest.raises(DataError, match=r"found none of 1 that fit, e\.g\. 'labels/a'"):
        read(tmp_path / "predict", IDS, classes=["cat"], sizes=SIZES, absent="empty")
    assert len(read(tmp_path / "predict", IDS, classes=["cat"], sizes=SIZES, absent="empty", root="labels")) == 3
    (tmp_path / "none").mkdir()
    assert len(read(tmp_path / "none", IDS, classes=["cat"], sizes=SIZES, absent="empty", format="yolo")) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [cat, dog]"),
        ("../data.yaml", "names: {1: dog, 0: cat}\npath: x"),
        ("classes.txt", "cat\ndog\n"),
    ],
)
def test_names_beside_the_labels(tmp_path, name, text):
    write(tmp_path / "labels", a="1 0.5 0.5 0.2 0.4 0.9")
    (tmp_path / "labels" / name).write_text(text)
    assert read(tmp_path / "labels", IDS, sizes=SIZES).classes == ("cat", "dog")
    other = tmp_path / "other.yaml"
    other.write_text("names: [kat, hond]")
    assert read(tmp_path / "labels", IDS, sizes=SIZES, names=str(other)).classes == ("kat", "hond")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected names as a list"),
        ("names: {0: a, 2: b}", "without gaps"),
        ("names: [a, a]", "different class names"),
        ("names: [", "expected YAML"),
        ("names: []", "different class names"),
    ],
)
def test_bad_names(tmp_path, text, said):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=said) as error:
        labels(tmp_path, classes=None)
    assert "\n" not in str(error.value)


def test_labels_without_confidence_are_told(tmp_path):
    found = labels(tmp_path, "0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4")
    assert [p.code for p in found.problems] == ["no_confidence"]
    assert found.problems[0].message.startswith("2 boxes without confidence")
    assert next(iter(found)).confidences.tolist() == [1, 1]


def test_boxes_are_put_right(tmp_path):
    found = labels(tmp_path, "0 0.5 0.5 -0.2 0.4 0.9\n0 1.0 0.5 0.5 0.5 0.9\n0 1.9 0.5 0.1 0.1 0.9")
    assert {p.code for p in found.problems} == {"negative_boxes", "clipped_boxes", "outside_boxes"}
    assert next(iter(found)).boxes.tolist() == [[150, 25, 200, 75]]


def test_a_mapping_of_classes(tmp_path):
    found = labels(tmp_path, "7 0.5 0.5 0.2 0.4 0.9", classes={3: "cat", 7: "dog"})
    assert next(iter(found)).labels.tolist() == [1]
    with pytest.raises(DataError, match="class of 0 to 1"):
        labels(tmp_path, "4 0.5 0.5 0.2 0.4 0.9", classes={3: "cat", 7: "dog"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.2 0.4 0.9", "expected a class of 0 to 1, found 2"),
        ("-1 0.5 0.5 0.2 0.4 0.9", "expected a class of 0 to 1, found -1"),
        ("0.5 0.5 0.5 0.2 0.4 0.9", "expected a class index, found '0.5'"),
        ("0 0.5 0.5 0.2 0.4 1.9", "expected a score of 0 to 1, found 1.9"),
        ("0 0.5 nan 0.2 0.4 0.9", "expected a finite number, found 'nan'"),
        ("0 0.5 x 0.2 0.4 0.9", "expected a finite number, found 'x'"),
        ("0 0.5 0.5 0.2", "found 4 cells"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "found 9 cells"),
        ("0 50 50 20 40 0.9", "expected shares of the sides, found 50: pixels?"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, said):
    with pytest.raises(DataError) as error:
        labels(tmp_path, f"0 0.5 0.5 0.2 0.4 0.9\n{line}\n")
    assert said in str(error.value)
    assert "a.txt: line 2: " in str(error.value)
    assert "\n" not in str(error.value)


def test_what_must_be_given(tmp_path):
    with pytest.raises(DataError, match="give sizes="):
        labels(tmp_path, sizes=None)
    with pytest.raises(DataError, match=r"size of the image a\.jpg"):
        labels(tmp_path, sizes={"x": (1, 1)})
    with pytest.raises(DataError, match="give names=FILE or classes="):
        labels(tmp_path, classes=None)


def test_one_stem_for_two_pictures_is_ambiguous(tmp_path):
    write(tmp_path, a="0 0.5 0.5 0.2 0.4 0.9", b="0 0.5 0.5 0.2 0.4 0.9")
    ids = ("a.jpg", "a.png", "b.png")
    found = read(tmp_path, ids, format="yolo", classes=["cat"], sizes=dict.fromkeys(ids, (10, 10)))
    assert (found.ambiguous, found.missing) == (("a",), ("a.jpg", "a.png"))
