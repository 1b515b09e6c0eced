"""Lightly's predictions: every task type, the schema, and every mistake with its file and entry."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelwise.data.predictions import read
from labelwise.errors import DataError

IDS = ("image_0.png", "subdir/image_1.png")
CATEGORIES = [{"id": 0, "name": "cat"}, {"id": 5, "name": "dog"}]


def task(folder, kind, *predictions, categories=CATEGORIES):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text(json.dumps({"task_type": kind, "categories": categories}))
    for id, entries in zip(IDS, predictions, strict=False):
        path = (folder / id).with_suffix(".json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"file_name": id, "predictions": entries}))
    return folder


def entry(**changes):
    return {"category_id": 5, "bbox": [1, 2, 10, 20], "score": 0.8, "probabilities": [0.2, 0.8], **changes}


def test_object_detection(tmp_path):
    found = read(task(tmp_path / "t", "object-detection", [entry(), entry(category_id=0)], []), IDS)
    one, two = found
    assert (found.task, found.classes, found.without_detection) == ("detect", ("cat", "dog"), (IDS[1],))
    assert one.boxes.tolist() == [[1, 2, 11, 22]] * 2
    assert one.labels.tolist() == [1, 0]
    np.testing.assert_allclose(one.probs, [[0.2, 0.8]] * 2, atol=1e-6)
    assert two.boxes.shape == (0, 4)


def test_classification(tmp_path):
    found = read(task(tmp_path / "t", "classification", [{"category_id": 0, "probabilities": [0.7, 0.3]}]), IDS)
    assert (found.task, found.missing) == ("classify", (IDS[1],))
    assert next(iter(found)).probs.tolist() == pytest.approx([0.7, 0.3])
    assert not next(iter(found)).of_objects


def test_keypoints(tmp_path):
    points = {"keypoints": [1, 2, 0.5, 3, 4, 0.7]}
    found = read(task(tmp_path / "t", "keypoint-detection", [entry(**points)]), IDS)
    assert next(iter(found)).keypoints.shape == (1, 2, 3)


@pytest.mark.parametrize("kind", ["instance-segmentation", "semantic-segmentation"])
def test_segments_count_as_objects(tmp_path, kind):
    segment = {"category_id": 5, "segmentation": [0, 5, 3], "score": 0.6, "probabilities": [0.4, 0.6]}
    found = read(task(tmp_path / "t", kind, [segment, segment]), IDS)
    one = next(iter(found))
    assert one.boxes is None
    assert one.labels.tolist() == [1, 1]
    assert one.probs.shape == (2, 2)


def test_the_only_task_of_a_folder_is_found(tmp_path):
    task(tmp_path / ".lightly" / "predictions" / "one", "object-detection", [entry()])
    assert len(read(tmp_path, IDS)) == 1
    assert len(read(tmp_path / ".lightly" / "predictions", IDS)) == 1
    task(tmp_path / ".lightly" / "predictions" / "two", "object-detection", [entry()])
    with pytest.raises(DataError, match=r"schema\.json of one task, found one, two; name"):
        read(tmp_path / ".lightly" / "predictions", IDS)


@pytest.mark.parametrize(("absent", "count"), [("auto", 0), ("empty", 1)])
def test_images_without_a_file(tmp_path, absent, count):
    found = read(task(tmp_path / "t", "object-detection", [entry()]), IDS, absent=absent)
    assert (len(found.without_detection), len(found.missing)) == (count, 1 - count)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (entry(category_id=1), "category_id of the schema, found 1"),
        (entry(score=1.5), "score of 0 to 1, found 1.5"),
        (entry(score=float("nan")), "finite number, found nan"),
        (entry(probabilities=[0.2, 0.7, 0.1]), "probabilities of 2 numbers, found 3"),
        (entry(probabilities=[0.2, 0.2]), "sum to 1, found a sum of 0.4"),
        ({"category_id": 5, "score": 1}, "expected a bbox, found none"),
        ({"bbox": [1, 2, 3, 4], "score": 1}, "expected a category_id, found none"),
        ({"category_id": 5, "bbox": [1, 2, 3, 4]}, "expected a score, found none"),
        (3, "expected a mapping, found 3"),
    ],
)
def test_bad_entries_are_named(tmp_path, bad, said):
    with pytest.raises(DataError) as error:
        read(task(tmp_path / "t", "object-detection", [entry(), bad]), IDS)
    assert said in str(error.value)
    assert "image_0.json: prediction 1: " in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_classifications(tmp_path):
    with pytest.raises(DataError, match="expected a list of probabilities, found none"):
        read(task(tmp_path / "t", "classification", [{"category_id": 0, "score": 0.5}]), IDS)
    two = [{"category_id": 0, "probabilities": [0.7, 0.3]}] * 2
    with pytest.raises(DataError, match=r"image_0\.json: expected one prediction of a classification, found 2"):
        read(task(tmp_path / "t", "classification", two), IDS)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"task_type": "captioning", "categories": CATEGORIES}, "found 'captioning'"),
        ({"categories": CATEGORIES}, "found None"),
        ([], "found None"),
        ({"task_type": "classification"}, '"categories" as a list'),
        ({"task_type": "classification", "categories": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}, "twice"),
    ],
)
def test_bad_schemas(tmp_path, schema, said):
    folder = task(tmp_path / "t", "object-detection", [entry()])
    (folder / "schema.json").write_text(json.dumps(schema))
    with pytest.raises(DataError, match=said):
        read(folder, IDS)


def test_bad_files(tmp_path):
    folder = task(tmp_path / "t", "object-detection", [entry()])
    with pytest.raises(DataError, match="leave classes out"):
        read(folder, IDS, classes=["cat", "fox"])
    (folder / "image_0.json").write_text("[]")
    with pytest.raises(DataError, match=r"image_0\.json: expected"):
        read(folder, IDS)
    (folder / "image_0.json").write_text('{"file_name": "x"')
    with pytest.raises(DataError, match=r"image_0\.json: line 1 column 18: expected JSON"):
        read(folder, IDS)
