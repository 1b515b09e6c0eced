"""COCO results: joining by number or name, classes, images without detection, boxes put right, and every mistake."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelwise.data.predictions import read
from labelwise.errors import ConfigError, DataError

IDS = ("a.jpg", "sub/b.jpg", "sub/c,ä.jpg")
SIZES = dict.fromkeys(IDS, (100, 50))
META = {
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50},
        {"id": 8, "file_name": "sub/b.jpg", "width": 100, "height": 50},
        {"id": 9, "file_name": "elsewhere.jpg"},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
}


def box(image="a.jpg", category=0, bbox=(1, 2, 3, 4), score=0.5, **more):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score, **more}


def save(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


def results(tmp_path, data, ids=IDS, classes=("cat", "dog"), **options):
    return read(save(tmp_path / "results.json", data), ids, classes=classes, **options)


def test_by_file_name(tmp_path):
    found = results(tmp_path, [box(), box(category=1, score=0.25), box("sub\\b.jpg"), box("c,ä.jpg"), box("zz.jpg")])
    records = {p.id: p for p in found}
    assert (found.task, found.classes, len(found)) == ("detect", ("cat", "dog"), 3)
    assert sorted(records) == sorted(IDS)
    assert records["a.jpg"].boxes.tolist() == [[1, 2, 4, 6]] * 2
    assert records["a.jpg"].labels.tolist() == [0, 1]
    assert records["a.jpg"].confidences.tolist() == [0.5, 0.25]
    assert records["a.jpg"].probs is None
    assert (found.missing, found.unknown, found.duplicates) == ((), ("zz.jpg",), ())
    assert found.summary() == ["1 predictions for no image: zz.jpg"]
    assert [p.id for p in found] == [p.id for p in found]  # again from the beginning


def test_by_number_with_annotations(tmp_path):
    meta = save(tmp_path / "meta.json", META)
    found = results(tmp_path, [box(7, 3), box(7, 1)], classes=None, annotations=str(meta))
    assert found.classes == ("cat", "dog")
    assert [p.labels.tolist() for p in found] == [[1, 0], []]
    assert found.without_detection == ("sub/b.jpg",)
    assert found.missing == ("sub/c,ä.jpg",)
    turned = results(tmp_path, [box(7, 3)], classes=("dog", "cat"), annotations=meta)
    assert next(iter(turned)).labels.tolist() == [0]
    mapped = results(tmp_path, [box(7, 3)], classes={3: "hund", 1: "katze"}, annotations=meta)
    assert (mapped.classes, next(iter(mapped)).labels.tolist()) == (("hund", "katze"), [0])


@pytest.mark.parametrize(
    ("absent", "empty", "missing"),
    [("auto", ["sub/b.jpg"], 1), ("missing", [], 2), ("empty", ["sub/b.jpg", "sub/c,ä.jpg"], 0)],
)
def test_images_without_an_entry(tmp_path, absent, empty, missing):
    meta = save(tmp_path / "meta.json", META)
    found = results(tmp_path, [box(7, 1)], classes=None, annotations=meta, absent=absent)
    assert (list(found.without_detection), len(found.missing)) == (empty, missing)
    assert [len(p.boxes) for p in found if p.id in empty] == [0] * len(empty)


def test_entries_for_no_image_are_an_error_even_where_absent_means_empty(tmp_path):
    with pytest.raises(DataError, match=r"found none of 1 that fit, e\.g\. 'images/zz\.jpg'"):
        results(tmp_path, [box("images/zz.jpg")], absent="empty")


def test_results_alone_cannot_tell_empty_from_missing(tmp_path):
    assert results(tmp_path, [box()]).missing == IDS[1:]
    nothing = results(tmp_path, [], absent="empty")
    assert (len(nothing), nothing.missing) == (3, ())
    assert all(p.boxes.shape == (0, 4) and p.confidences.shape == (0,) for p in nothing)
    assert len(results(tmp_path, [])) == 0


def test_one_file_with_images_categories_and_scored_boxes(tmp_path):
    found = results(tmp_path, {**META, "annotations": [box(8, 3)]}, classes=None)
    assert [(p.id, p.labels.tolist()) for p in found] == [("sub/b.jpg", [1]), ("a.jpg", [])]


def test_boxes_are_put_right_and_counted(tmp_path):
    boxes = [(90, 40, 20, 20), (-5, 0, 10, 10), (200, 0, 5, 5), (0, 0, -1, 4), (0, 0, 5, 5), (99.8, 0, 0.4, 5)]
    found = results(tmp_path, [box(bbox=b) for b in boxes], sizes=SIZES)
    record = next(iter(found))
    assert record.boxes.tolist()[:3] == [[90, 40, 100, 50], [0, 0, 5, 10], [0, 0, 5, 5]]
    assert {p.code: p.message.split()[0] for p in found.problems} == {
        "negative_boxes": "1",
        "clipped_boxes": "2",
        "outside_boxes": "1",
    }
    assert all("\n" not in p.message and p.id == "a.jpg" for p in found.problems)
    whole = results(tmp_path, [box(bbox=b) for b in boxes])
    assert len(next(iter(whole)).boxes) == 5  # without sizes nothing is clipped


def test_an_image_whose_boxes_are_all_dropped_has_no_detection_but_a_record(tmp_path):
    found = results(tmp_path, [box(bbox=(0, 0, -1, 1))])
    assert [(p.id, len(p.boxes)) for p in found] == [("a.jpg", 0)]


def test_class_vectors_and_keypoints(tmp_path):
    points = [1, 2, 0.5, 3, 4, 1.0]
    found = results(
        tmp_path,
        [box(probabilities=[0.2, 0.8], keypoints=points), box("b.jpg", probabilities=[0.5, 0.5], keypoints=points)],
    )
    one = next(iter(found))
    np.testing.assert_allclose(one.probs, [[0.2, 0.8]], atol=1e-6)
    assert one.keypoints.shape == (1, 2, 3)
    alone = {"image_id": "a.jpg", "category_id": 0, "keypoints": points, "score": 0.5}
    assert next(iter(results(tmp_path, [alone]))).boxes.tolist() == [[1, 2, 3, 4]]


def test_sigmoid_heads_must_be_declared(tmp_path):
    data = [box(probabilities=[0.9, 0.9])]
    with pytest.raises(
        DataError, match=r"entry 0: expected probabilities that sum to 1, .* 1\.8; give independent=true"
    ):
        results(tmp_path, data)
    found = next(iter(results(tmp_path, data, independent=True)))
    assert found.independent
    np.testing.assert_allclose(found.probs, [[0.9, 0.9]], atol=1e-6)


def test_lightlys_vector_from_a_score_with_the_declared_class_count(tmp_path):
    classes = [f"c{i}" for i in range(80)]
    low, high = (
        next(iter(results(tmp_path, [box(category=c, score=0.7)], classes=classes, vectors="spread"))) for c in (0, 79)
    )
    assert low.probs.shape == (1, 80)
    np.testing.assert_allclose(np.sort(low.probs), np.sort(high.probs))  # Lightly's own differ: it counts to the label
    np.testing.assert_allclose(low.probs[0, :2], [0.7, 0.3 / 79], atol=1e-6)
    np.testing.assert_allclose(low.probs.sum(), 1, atol=1e-5)
    assert not next(iter(results(tmp_path, [box()], vectors="spread", independent=True))).independent
    one = next(iter(results(tmp_path, [box()], classes=["only"], vectors="spread")))
    assert one.probs is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (box(score=1.2), "entry 1: expected a score of 0 to 1, found 1.2"),
        (box(score=float("nan")), "entry 1: expected a finite number, found nan"),
        (box(score=None), "finite number, found None"),
        (box(score="0.5"), "finite number, found '0.5'"),
        (box(score=True), "finite number, found True"),
        (box(category=2), "expected a category_id of 0 to 1, found 2 (do they count from 1? give first=1)"),
        (box(category=3), "expected a category_id of 0 to 1, found 3; mend it"),
        (box(category=-1), "category_id of 0 to 1, found -1"),
        (box(category="cat"), "category_id of 0 to 1, found 'cat'"),
        (box(bbox=(1, 2, 3)), "bbox x, y, width, height of 4 numbers, found 3"),
        (box(bbox=(1, 2, 3, float("inf"))), "finite number, found inf"),
        (box(image=7), "image_id 7 is a number: give annotations=FILE"),
        (box(image=None), "image_id that is a number or a file name, found None"),
        (box(image=[1]), "unhashable"),
        (box(probabilities=[1.0]), "probabilities of 2 numbers, found 1"),
        (box(probabilities=[-0.5, 1.5]), "probabilities of 0 to 1"),
        (box(probabilities=[0.5, 0.5]), "0 numbers in probabilities as before, found 2"),
        (box(keypoints=[1, 2]), "keypoints as x, y, confidence"),
        (box(keypoints=[1, 2, 2]), "keypoint's confidence of 0 to 1, found 2"),
        ({"image_id": "a.jpg", "category_id": 0, "score": 0.5}, "found no 'bbox'"),
        ({"image_id": "a.jpg", "bbox": [1, 2, 3, 4]}, "found no 'category_id'"),
        ([1], "expected a mapping with image_id"),
        (box("zz.jpg", score=7), "score of 0 to 1"),  # also where there is no image
    ],
)
def test_bad_entries_are_one_line_with_the_entry(tmp_path, entry, said):
    with pytest.raises(DataError) as error:
        results(tmp_path, [box(), entry])
    assert said in str(error.value)
    assert "entry 1" in str(error.value)
    assert "results.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "found an empty file"),
        ("  \n", "found an empty file"),
        ("[{", r"line 1 column 3: expected JSON"),
        ("[" * 100_000, "expected JSON, found"),
        ('{"a": 1}', "expected a list of results, found dict"),
        ("3", "expected a list of results, found int"),
    ],
)
def test_bad_files(tmp_path, data, said):
    with pytest.raises(DataError, match=said) as error:
        results(tmp_path, data)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_other_encodings(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([box()]).encode())
    assert len(read(path, IDS, classes=["cat"])) == 1
    path.write_bytes(b'["\xff\xe9"]')
    with pytest.raises(DataError, match="line 1: expected text in UTF-8"):
        read(path, IDS, classes=["cat"])


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"images": []}, "image_id 7 is a number"),
        ({"images": 3}, '"images" as a list'),
        ({"images": [{"id": 7}]}, '"images" as a list'),
        ({"images": [META["images"][0]] * 2}, 'each id of "images" once'),
        ({"images": META["images"], "categories": [{"id": 1}]}, '"categories" as a list'),
        ({"images": META["images"], "categories": [{"id": 1, "name": "a"}] * 2}, "found one twice"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}]}, "image_id 7 is not among"),
        (META, "found 1 classes instead of 2"),
    ],
)
def test_bad_annotation_files(tmp_path, meta, said):
    file = save(tmp_path / "meta.json", meta)
    with pytest.raises(DataError, match=said):
        results(tmp_path, [box(7, 0)], classes=["cat"], annotations=file)


def test_classes_must_be_declared(tmp_path):
    with pytest.raises(DataError, match="give annotations=FILE with"):
        results(tmp_path, [box()], classes=None)
    with pytest.raises(DataError, match="'cat' twice"):
        results(tmp_path, [box()], classes=["cat", "cat"])
    with pytest.raises(DataError, match="found none"):
        results(tmp_path, [box()], classes=[])
    with pytest.raises(DataError, match="one text"):
        results(tmp_path, [box()], classes="cat")
    assert next(iter(results(tmp_path, [box(category=1)], classes=["cat"], first=1))).labels.tolist() == [0]


def test_two_entries_of_images_with_one_name_count_once(tmp_path):
    meta = {**META, "images": [*META["images"], {"id": 10, "file_name": "a.jpg"}]}
    found = results(tmp_path, [box(7, 1), box(10, 1)], classes=None, annotations=save(tmp_path / "m.json", meta))
    assert found.duplicates == ("a.jpg",)
    assert len(next(iter(found)).boxes) == 1


def test_unknown_options_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown key predictions\.annotation: did you mean 'annotations'"):
        results(tmp_path, [box()], annotation="x")
    with pytest.raises(ConfigError, match=r"predictions\.absent"):
        results(tmp_path, [box()], absent="gone")
