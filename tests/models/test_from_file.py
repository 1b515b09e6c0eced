"""Predictions from a file as a model: joined by id, on the run's classes, kept as a round read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.errors import ConfigError, DataError
from labelwise.models import Place, Plan
from labelwise.models.from_file import FromFile
from labelwise.records import Labelled, Sample, Target
from labelwise.testing import quiet

ALL = frozenset({"boxes", "probs"})
SAMPLES = [Sample(f"a/{i}.png", Path(f"{i}.png"), size=(40, 30)) for i in range(3)]


def boxes(path: Path, entries: list[tuple[int, int, float]], **more: Any) -> Path:
    """COCO results: image, category and score of each box."""
    found = [
        {"image_id": f"a/{i}.png", "category_id": c, "bbox": [c, 2, 10, 10], "score": s, **more} for i, c, s in entries
    ]
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def fit(model: FromFile, out: Path, classes: tuple[str, ...] = ("red", "green"), **more: Any) -> Path:
    model.prepare(SAMPLES, [], place=Place(out.parent, out.parent, 1), progress=quiet)
    given = {"train": [], "val": [], "start": None, "plan": Plan(classes, 0), "seed": 0, "progress": quiet} | more
    return model.fit(out=out, **given)


def test_boxes_on_the_classes_of_the_run(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(2, 7, 0.4), (0, 5, 0.9), (2, 5, 0.8)])
    model = FromFile(path, classes={5: "green", 7: "red"}, absent="empty")
    out = fit(model, tmp_path / "c")
    found = list(model.predict(out, [SAMPLES[2], SAMPLES[1], SAMPLES[0]], want=ALL))
    assert [p.id for p in found] == ["a/2.png", "a/1.png", "a/0.png"]
    assert found[0].labels.tolist() == [0, 1]
    assert found[0].confidences.tolist() == pytest.approx([0.4, 0.8])
    assert found[0].boxes.tolist() == [[7, 2, 17, 12], [5, 2, 15, 12]]
    assert found[1].boxes.shape == (0, 4)
    assert found[0].probs is None
    assert not found[0].independent


def test_probabilities_of_boxes(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(i, 0, 0.7) for i in range(3)], probabilities=[0.7, 0.2])
    model = FromFile(path, classes=["green", "red"], options={"independent": True})
    out = fit(model, tmp_path / "c", ("blue", "red", "green"))
    found = next(model.predict(out, SAMPLES, want=ALL))
    assert found.independent
    np.testing.assert_allclose(found.probs, [[0, 0.2, 0.7]])
    assert found.labels.tolist() == [2]


def test_classes_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,cat,dog\na/0.png,0.9,0.1\na/2.png,0.5,0.5\na/1.png,0,1\n")
    model = FromFile(tmp_path / "p.csv")
    out = fit(model, tmp_path / "c", ("dog", "cat", "cow"))
    found = list(model.predict(out, SAMPLES, want=frozenset({"probs"})))
    np.testing.assert_allclose([p.probs for p in found], [[0.1, 0.9, 0], [1, 0, 0], [0.5, 0.5, 0]])


def test_a_round_keeps_what_it_read(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(i, 0, 0.5) for i in range(3)])
    model = FromFile(path)
    first = fit(model, tmp_path / "a")
    boxes(path, [(i, 1, 0.6) for i in range(3)])
    second = fit(model, tmp_path / "b", start=first)
    assert next(model.predict(first, SAMPLES, want=ALL)).labels.tolist() == [0]
    assert next(model.predict(second, SAMPLES, want=ALL)).labels.tolist() == [1]


def test_the_same_again_may_stop_the_run(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(i, 0, 0.5) for i in range(3)])
    labelled = [Labelled(SAMPLES[0], Target((), np.zeros((0, 4))))]
    for unchanged in ("use", "stop"):
        model = FromFile(path, unchanged=unchanged)
        first = fit(model, tmp_path / f"{unchanged}0", train=labelled)
        if unchanged == "use":
            fit(model, tmp_path / "use1", train=labelled, start=first)
            continue
        with pytest.raises(DataError, match="expected new predictions for round 1, found those of the round before"):
            fit(model, tmp_path / "stop1", train=labelled, start=first)
        boxes(path, [(i, 0, 0.6) for i in range(3)])
        fit(model, tmp_path / "stop1", train=labelled, start=first)


def test_images_without_prediction(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(1, 0, 0.5)])
    with pytest.raises(
        DataError, match=r"each of 3 images, found none for 2: a/0\.png, a/2\.png; .*absent=empty"
    ) as told:
        fit(FromFile(path), tmp_path / "c")
    assert "\n" not in str(told.value)
    (tmp_path / "p.csv").write_text("id,cat,dog\na/0.png,0.9,0.1\n")
    with pytest.raises(DataError, match="found none for 2"):
        fit(FromFile(tmp_path / "p.csv"), tmp_path / "d", ("cat", "dog"))
    with pytest.raises(ConfigError, match="probs_table has no images without detection"):
        fit(FromFile(tmp_path / "p.csv", absent="empty"), tmp_path / "e", ("cat", "dog"))


def test_a_class_that_the_run_does_not_have(tmp_path: Path) -> None:
    path = boxes(tmp_path / "r.json", [(i, 0, 0.5) for i in range(3)])
    with pytest.raises(DataError, match="class 'gren' is none of the run's: did you mean 'green'"):
        fit(FromFile(path, classes=["gren"]), tmp_path / "c")


def test_no_file(tmp_path: Path) -> None:
    model = FromFile(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"expected predictions at .* found nothing there"):
        model.prepare(SAMPLES, [], place=Place(tmp_path, tmp_path, 1), progress=quiet)


def test_nothing_found_anywhere(tmp_path: Path) -> None:
    model = FromFile(boxes(tmp_path / "r.json", []), absent="empty")
    out = fit(model, tmp_path / "c")
    assert [len(p.boxes) for p in model.predict(out, SAMPLES, want=ALL)] == [0, 0, 0]
    assert [p.labels.dtype.kind for p in model.predict(out, SAMPLES, want=ALL)] == ["i"] * 3


def test_yolo_files(tmp_path: Path) -> None:
    """A folder of text files, a box a line in shares; pictures have the size that the run knows."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text(f"1 0.5 0.5 0.25 0.2 0.{i + 3}\n" if i else "")
    out = fit(FromFile(folder), tmp_path / "c")
    found = list(FromFile(folder).predict(out, SAMPLES, want=ALL))
    assert [len(p.boxes) for p in found] == [0, 1, 1]
    np.testing.assert_allclose(found[1].boxes, [[15, 12, 25, 18]])
    assert found[2].labels.tolist() == [1]
    assert found[2].confidences.tolist() == pytest.approx([0.5])
    (folder / "2.txt").unlink()
    with pytest.raises(DataError, match=r"found none for 1: a/2\.png"):
        fit(FromFile(folder), tmp_path / "d")
    assert (
        len(
            next(
                FromFile(folder).predict(fit(FromFile(folder, absent="empty"), tmp_path / "e"), SAMPLES[2:], want=ALL)
            ).boxes
        )
        == 0
    )
