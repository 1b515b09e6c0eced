"""Results of Label Studio: proposals written and read back, and answers as people may give them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.annotators.label_studio import _chosen
from labelwise.annotators.label_studio.results import (
    Reading,
    UnknownLabel,
    Unusable,
    asked_area,
    box_of,
    proposed,
    target_of,
)
from labelwise.records import Query, Target

SIZE = (200, 100)
CLASSES = ("cat", 'dog "q"', "夜")


def reading(**changes: Any) -> Reading:
    return Reading(**{"classes": CLASSES, "new_classes": False, "background": "", "masks": Path("masks"), **changes})


def query(geometry: Any = None, proposal: Target | None = None) -> Query:
    return Query("000-1", 0, 0, "a", geometry=None if geometry is None else np.array(geometry), proposal=proposal)


def rectangle(x: float, y: float, w: float, h: float, label: str | None = "cat", turn: float = 0) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": turn}
    return {"type": "rectanglelabels", "value": value | ({"rectanglelabels": [label]} if label else {})}


def polygon(points: list[tuple[float, float]], label: str = "cat") -> dict[str, Any]:
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [label]}}


def choice(*labels: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": "class", "value": {"choices": list(labels)}}


def point(id: str, label: str | None) -> dict[str, Any]:
    part = {"keypointlabels": [label]} if label else {}
    return {"type": "keypointlabels", "id": id, "value": {"x": 1.0, "y": 1.0, **part}}


def test_a_class() -> None:
    assert target_of([choice('dog "q"')], query(), "classify", SIZE, reading()) == Target(('dog "q"',))
    note = {"type": "textarea", "value": {"text": ["hard to see"]}}
    assert target_of([note, choice("夜")], query(), "classify", SIZE, reading()) == Target(("夜",))


@pytest.mark.parametrize("results", [[], [choice()], [choice("cat", "夜")], [choice("cat"), choice("夜")]])
def test_no_class_or_two_are_no_answer(results: list[dict[str, Any]]) -> None:
    with pytest.raises(Unusable, match="expected one class"):
        target_of(results, query(), "classify", SIZE, reading())


def test_an_unknown_class_stays_open_or_becomes_one() -> None:
    with pytest.raises(UnknownLabel, match="unknown class 'cow'"):
        target_of([choice("cow")], query(), "classify", SIZE, reading())
    assert target_of([choice("cow")], query(), "classify", SIZE, reading(new_classes=True)) == Target(("cow",))
    found = target_of([point("p0", " new  one ")], query([[1, 2]]), "pixels", SIZE, reading(new_classes=True))
    assert found.classes == (*CLASSES, "new one")
    assert found.codes.tolist() == [3]


@given(
    st.lists(
        st.tuples(st.floats(0, 199), st.floats(0, 99), st.floats(0.01, 200), st.floats(0.01, 100), st.integers(0, 2)),
        max_size=5,
    )
)
def test_proposed_boxes_come_back_as_they_were(rows: list[tuple[float, ...]]) -> None:
    boxes = np.array([[x, y, min(x + w, 200), min(y + h, 100)] for x, y, w, h, _ in rows]).reshape(-1, 4)
    proposal = Target(tuple(CLASSES[int(row[4])] for row in rows), boxes)
    results = proposed(query(proposal=proposal), "detect", SIZE, CLASSES)
    found = target_of(results, query(), "detect", SIZE, reading())
    assert found.classes == proposal.classes
    np.testing.assert_allclose(found.geometry, boxes, atol=1e-9)


def test_an_empty_answer_is_that_nothing_is_there() -> None:
    found = target_of([], query(), "detect", SIZE, reading())
    assert (found.classes, found.geometry.shape) == ((), (0, 4))


@given(st.floats(0, 80), st.floats(0, 80), st.floats(1, 20), st.floats(1, 20), st.floats(-720, 720))
def test_a_turned_box_is_the_box_around_it(x: float, y: float, w: float, h: float, turn: float) -> None:
    px, py, pw, ph, angle = x * 2, y, w * 2, h, math.radians(turn)
    corners = []
    for along, down in ((0, 0), (pw, 0), (pw, ph), (0, ph)):  # clockwise, where y points down
        corner_x = px + along * math.cos(angle) - down * math.sin(angle)
        corner_y = py + along * math.sin(angle) + down * math.cos(angle)
        corners.append((min(max(corner_x, 0), 200), min(max(corner_y, 0), 100)))
    xs, ys = zip(*corners, strict=True)
    expected = [min(xs), min(ys), max(xs), max(ys)]
    if expected[2] - expected[0] < 1e-6 or expected[3] - expected[1] < 1e-6:
        return
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": turn}
    np.testing.assert_allclose(box_of(value, SIZE), expected, atol=1e-6)


def test_a_box_is_cut_at_the_border_and_one_outside_is_no_box() -> None:
    found = target_of([rectangle(-10, 90, 30, 30)], query(), "detect", SIZE, reading())
    assert found.geometry.tolist() == [[0, 90, 40, 100]]
    for place in ((100, 0, 5, 5), (-20, 0, 20, 5), (10, 10, 0, 5), (math.nan, 0, 5, 5), (0, math.inf, 5, 5)):
        with pytest.raises(Unusable, match="no area in the picture"):
            target_of([rectangle(*place)], query(), "detect", SIZE, reading())


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([rectangle(1, 1, 5, 5, None)], "a box has no class"),
        ([rectangle(1, 1, 5, 5), {"type": "ellipselabels", "value": {}}], "ellipselabels cannot be read"),
        ([{"type": "rectanglelabels", "value": {"rectanglelabels": ["cat"]}}], "no place"),
        ([{"type": "rectanglelabels", "value": {"rectanglelabels": ["cat", "夜"]}}], "expected one class"),
    ],
)
def test_half_an_answer_is_none(results: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        target_of(results, query(), "detect", SIZE, reading())


def test_points_are_asked_where_they_are_and_known_again_by_id() -> None:
    asked = query([[3, 4], [199, 99], [0, 0]], Target(("夜",), np.array([[199, 99]]), np.array([0], np.int32)))
    results = proposed(asked, "pixels", SIZE, CLASSES)
    assert [(r["id"], r["value"].get("keypointlabels")) for r in results] == [
        ("p0", None),
        ("p1", ["夜"]),
        ("p2", None),
    ]
    places = [(r["value"]["x"] * 2, r["value"]["y"]) for r in results]
    np.testing.assert_allclose(places, [(3.5, 4.5), (199.5, 99.5), (0.5, 0.5)])
    answer = [point("p2", "cat"), point("p1", "夜"), point("x8Fa", "cat"), point("p7", "cat")]
    found = target_of(answer, asked, "pixels", SIZE, reading())
    assert found.geometry.tolist() == [[199, 99], [0, 0]]
    assert found.codes.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "none of the points"),
        ([point("other", "cat")], "none of the points"),
        ([point("p0", "cat"), point("p1", None)], "a point has no class"),
    ],
)
def test_points_left_without_class_keep_the_question_open(results: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        target_of(results, query([[3, 4], [5, 6]]), "pixels", SIZE, reading())


def test_a_whole_mask_of_polygons_later_over_earlier(tmp_path: Path) -> None:
    results = [polygon([(0, 0), (50, 0), (50, 50), (0, 50)]), polygon([(25, 0), (50, 0), (50, 50), (25, 50)], "夜")]
    found = target_of(results, query(), "areas", SIZE, reading(masks=tmp_path / "m"))
    from labelwise.data.masks import read_mask

    mask = read_mask(found.mask, len(found.classes), size=SIZE)
    assert {value: int((mask == value).sum()) for value in np.unique(mask)} == {0: 2500, 2: 2500, 255: 15000}
    again = target_of(results, query(), "areas", SIZE, reading(masks=tmp_path / "m", background='dog "q"'))
    assert int((read_mask(again.mask, 3) == 1).sum()) == 15000


@pytest.mark.parametrize("background", ["", "cat"])
def test_what_is_painted_outside_of_the_regions_does_not_count(background: str) -> None:
    asked = query([[0, 0, 10, 10], [190, 90, 200, 100]])
    results = [polygon([(2.5, 0), (100, 0), (100, 50), (2.5, 50)], "夜")]
    found = target_of(results, asked, "areas", SIZE, reading(background=background))
    counts = {name: int((found.codes == i).sum()) for i, name in enumerate(found.classes)}
    assert counts == {"cat": 150 if background else 0, 'dog "q"': 0, "夜": 50}
    assert asked_area(asked, SIZE)[found.geometry[:, 1], found.geometry[:, 0]].all()


def test_superpixels_are_asked_by_their_pixels() -> None:
    asked = query([[5, 6, 1], [6, 6, 1], [50, 60, 7]])
    assert np.argwhere(asked_area(asked, SIZE)).tolist() == [[6, 5], [6, 6], [60, 50]]
    found = target_of([polygon([(0, 0), (20, 0), (20, 20), (0, 20)])], asked, "areas", SIZE, reading())
    assert found.geometry.tolist() == [[5, 6], [6, 6]]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "nothing is painted"),
        ([{"from_name": "asked", "type": "brushlabels", "id": "asked", "value": {}}], "nothing is painted"),
        ([{"from_name": "asked", "type": "brushlabels", "id": "Q8", "value": {}}], "an area has no class"),
        ([{"type": "brushlabels", "value": {"brushlabels": ["cat"]}}], "brushlabels cannot be read"),
        ([{"type": "brushlabels", "value": {"brushlabels": ["cat"], "rle": [1] * 40}}], "brushlabels cannot be read"),
        ([polygon([])], "polygonlabels cannot be read"),
        ([polygon([(math.nan, 1), (2, 2)])], "polygonlabels cannot be read"),
        ([polygon([(1, 1), (2, 2)], "cow")], "unknown class 'cow'"),
    ],
)
def test_areas_that_are_no_answer(results: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        target_of(results, query([[0, 0, 10, 10]]), "areas", SIZE, reading())


def annotated(id: int, created: str, updated: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "created_at": created, "updated_at": updated, **more}


def test_which_annotation_counts() -> None:
    first = annotated(1, "2026-01-01", "2026-01-09")
    second = annotated(2, "2026-01-02", "2026-01-02")
    skipped = annotated(3, "2026-01-05", "2026-02-01", was_cancelled=True)
    truth = annotated(4, "2026-01-03", "2026-01-03", ground_truth=True)
    assert _chosen([first, second, skipped], "latest")["id"] == 1
    assert _chosen([second, skipped, first], "first")["id"] == 1
    assert _chosen([second, skipped], "latest")["id"] == 2
    assert _chosen([skipped], "latest")["id"] == 3
    assert _chosen([first, second, truth, skipped], "latest")["id"] == 4
    assert _chosen([first, second, truth, skipped], "first")["id"] == 4
