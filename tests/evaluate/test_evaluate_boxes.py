"""Tests of evaluate/boxes.py: cases counted by hand, a plain reference, and pycocotools where it is installed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import DataError, ModelError
from labelwise.evaluate import BoxScores, detection
from labelwise.records import Prediction, Target

A, B, FAR = [0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def said(id: str, *found: tuple[Sequence[float], int, float]) -> Prediction:
    boxes = np.array([f[0] for f in found], float).reshape(-1, 4)
    labels = np.array([f[1] for f in found], np.int64)
    return Prediction(id, boxes=boxes, labels=labels, confidences=np.array([f[2] for f in found], float))


def truth(*boxes: tuple[str, Sequence[float]]) -> Target:
    return Target(tuple(name for name, _ in boxes), np.array([b for _, b in boxes], float).reshape(-1, 4))


def test_perfect() -> None:
    scores = detection(
        [said("b", (B, 0, 0.7)), said("a", (A, 0, 0.9), (B, 1, 0.2))],
        {"a": truth(("x", A), ("y", B)), "b": truth(("x", B))},
        ["x", "y", "z"],
    )
    assert (scores.n, scores.boxes, scores.unpredicted) == (2, 3, 0)
    assert (scores.map, scores.map50, scores.map75, scores.recall) == pytest.approx((1, 1, 1, 1))
    np.testing.assert_allclose(scores.ap, [1, 1, np.nan])  # no z in the truth: no figure, no part in the mean
    np.testing.assert_array_equal(scores.support, [2, 1, 0])
    assert scores.map_small == pytest.approx(1)
    assert math.isnan(scores.map_medium)
    assert math.isnan(scores.map_large)


@pytest.mark.parametrize("found", [[said("a")], [], [said("a", (FAR, 0, 0.9))], [said("a", (A, 1, 0.9))]])
def test_nothing_right(found: list[Prediction]) -> None:
    """No box, no prediction, the wrong place, the wrong class."""
    scores = detection(found, {"a": truth(("x", A))}, ["x", "y"])
    assert scores.map == scores.map50 == scores.recall == 0
    assert scores.unpredicted == (not found)


def test_no_truth_at_all() -> None:
    for truths in ({}, {"a": truth()}):
        scores = detection([said(id, (A, 0, 0.9)) for id in truths], truths, ["x"])
        figures = (scores.map, scores.map50, scores.map75, scores.map_small, scores.recall, scores.ap[0])
        assert all(math.isnan(value) for value in figures)
        assert (scores.n, scores.boxes) == (len(truths), 0)


def test_a_box_in_an_empty_image_is_wrong() -> None:
    """It is surer than the right one: precision 1/2 at every recall."""
    truths = {"a": truth(("x", A)), "b": truth()}
    assert detection([said("a", (A, 0, 0.9)), said("b", (A, 0, 0.95))], truths, ["x"]).map == pytest.approx(0.5)
    assert detection([said("a", (A, 0, 0.9)), said("b", (A, 0, 0.85))], truths, ["x"]).map == pytest.approx(1)


def test_overlap_decides_by_threshold() -> None:
    """IoU 0.6 counts at 0.5, 0.55 and 0.6 of ten thresholds; one of two boxes found: 51 of 101 recall points."""
    overlapping = [0, 0, 10, 6]
    scores = detection([said("a", (overlapping, 0, 0.9))], {"a": truth(("x", A))}, ["x"])
    assert (scores.map, scores.map50, scores.map75) == pytest.approx((0.3, 1, 0))
    scores = detection([said("a", (A, 0, 0.9))], {"a": truth(("x", A), ("x", B))}, ["x"])
    assert scores.map == pytest.approx(51 / 101)
    assert scores.recall == pytest.approx(0.5)


def test_one_box_found_twice_is_once_wrong() -> None:
    scores = detection([said("a", (A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7))], {"a": truth(("x", A), ("x", B))}, ["x"])
    assert scores.map == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ties_keep_their_order() -> None:
    """Of equal confidences the earlier box is counted first, within an image and over images."""
    right, wrong = (A, 0, 0.5), (FAR, 0, 0.5)
    assert detection([said("a", right, wrong)], {"a": truth(("x", A))}, ["x"]).map == pytest.approx(1)
    assert detection([said("a", wrong, right)], {"a": truth(("x", A))}, ["x"]).map == pytest.approx(0.5)
    truths = {"a": truth(("x", A)), "b": truth()}
    for found in ([said("a", right), said("b", wrong)], [said("b", wrong), said("a", right)]):
        assert detection(found, truths, ["x"]).map == pytest.approx(1)


def test_sizes() -> None:
    large, middle = [0, 0, 200, 200], [300, 300, 350, 350]
    scores = detection(
        [said("a", (large, 0, 0.9), (A, 0, 0.8))], {"a": truth(("x", large), ("x", middle), ("x", A))}, ["x"]
    )
    assert (scores.map_small, scores.map_medium, scores.map_large) == pytest.approx((1, 0, 1))


def test_most_per_image() -> None:
    many = said("a", *((FAR, 0, 0.9) for _ in range(3)), (A, 0, 0.1))
    assert detection([many], {"a": truth(("x", A))}, ["x"]).map50 == pytest.approx(0.25)
    assert detection([many], {"a": truth(("x", A))}, ["x"], most=3).map50 == 0


def test_what_is_refused() -> None:
    truths = {"a": truth(("x", A))}
    with pytest.raises(ModelError, match="a second prediction for a"):
        detection([said("a"), said("a")], truths, ["x"])
    with pytest.raises(ModelError, match="a prediction for b"):
        detection([said("b")], truths, ["x"])
    with pytest.raises(ModelError, match="a: expected boxes, labels and confidences"):
        detection([Prediction("a", probs=np.array([1.0]))], truths, ["x"])
    with pytest.raises(ModelError, match="labels of 0 to 0, found 1"):
        detection([said("a", (A, 1, 0.5))], truths, ["x"])
    with pytest.raises(DataError, match="classes z, found 'x'"):
        detection([], truths, ["z"])
    with pytest.raises(DataError, match="another kind of target"):
        detection([], {"a": Target(("x",))}, ["x"])


def overlap(one: Sequence[float], two: Sequence[float]) -> float:
    w, h = (min(one[i + 2], two[i + 2]) - max(one[i], two[i]) for i in (0, 1))
    inside = max(w, 0) * max(h, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return inside / (areas - inside)


def plain_ap(found: list[Prediction], truths: dict[str, Target], label: int, name: str, at: float) -> float:
    """AP of one class at one threshold, as the definition says it: greedy matches, then 101 points of recall."""
    total = sum(target.classes.count(name) for target in truths.values())
    hits: list[tuple[float, bool]] = []
    for prediction in sorted(found, key=lambda p: list(truths).index(p.id)):
        assert prediction.boxes is not None
        assert prediction.labels is not None
        assert prediction.confidences is not None
        target = truths[prediction.id]
        assert target.geometry is not None
        free = [box for n, box in zip(target.classes, target.geometry.tolist(), strict=True) if n == name]
        mine = np.flatnonzero(prediction.labels == label)
        for i in mine[np.argsort(-prediction.confidences[mine], kind="stable")]:
            best = max(free, key=lambda box: overlap(prediction.boxes[i].tolist(), box), default=None)
            hit = best is not None and overlap(prediction.boxes[i].tolist(), best) >= at
            if hit:
                free.remove(best)
            hits.append((float(prediction.confidences[i]), hit))
    hits.sort(key=lambda pair: -pair[0])
    right = np.cumsum([hit for _, hit in hits])
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]))


def random_data(seed: int, images: int) -> tuple[list[Prediction], dict[str, Target]]:
    rng = np.random.default_rng(seed)
    truths, found = {}, []
    for i in range(images):
        n = int(rng.integers(0, 6))
        corners = rng.uniform(0, 150, (n, 4))
        corners[:, 2:] = corners[:, :2] + rng.uniform(5, 150, (n, 2))
        labels = rng.integers(0, 3, n)
        truths[f"{i}"] = Target(tuple(f"c{label}" for label in labels), corners)
        kept = rng.random(n) < 0.8
        boxes = np.concatenate([corners[kept] + rng.normal(0, 4, (int(kept.sum()), 4)), rng.uniform(0, 90, (2, 4))])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        called = np.concatenate([labels[kept], rng.integers(0, 3, 2)])
        found.append(Prediction(f"{i}", boxes=boxes, labels=called, confidences=rng.random(len(called)).round(1)))
    return found, truths


@given(seed=st.integers(0, 10**6), images=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_equal_to_the_plain_definition(seed: int, images: int) -> None:
    found, truths = random_data(seed, images)
    scores = detection(iter(found), truths, ["c0", "c1", "c2"])
    for label in range(3):
        name = f"c{label}"
        if scores.support[label] == 0:
            assert math.isnan(scores.ap[label])
            continue
        aps = [plain_ap(found, truths, label, name, at) for at in THRESHOLDS]
        np.testing.assert_allclose(scores.ap[label], np.mean(aps), atol=1e-9)
        np.testing.assert_allclose(scores.ap50[label], aps[0], atol=1e-9)


def test_equal_to_pycocotools() -> None:
    """The original, with the same boxes, confidences rounded so that many are equal."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    found, truths = random_data(3, 80)
    mine = detection(found, truths, ["c0", "c1", "c2"])
    data = coco.COCO()
    boxes = [
        (int(id), int(n[1]), [x0, y0, x1 - x0, y1 - y0])
        for id, t in truths.items()
        for n, (x0, y0, x1, y1) in zip(t.classes, t.geometry.tolist(), strict=True)
    ]
    data.dataset = {
        "images": [{"id": int(id)} for id in truths],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(3)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for k, (i, c, b) in enumerate(boxes, start=1)
        ],
        "info": {},
    }
    data.createIndex()
    rows = [
        [int(p.id), x0, y0, x1 - x0, y1 - y0, c, label]
        for p in found
        for (x0, y0, x1, y1), c, label in zip(p.boxes, p.confidences, p.labels, strict=True)
    ]
    run = evaluation.COCOeval(data, data.loadRes(np.array(rows)), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert isinstance(mine, BoxScores)
    ours = (mine.map, mine.map50, mine.map75, mine.map_small, mine.map_medium, mine.map_large)
    np.testing.assert_allclose(ours, run.stats[:6], atol=1e-12)
    assert mine.recall == pytest.approx(run.stats[8], abs=1e-12)
