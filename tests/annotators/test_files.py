"""Asking through a CSV: never overwritten, read as a person or Excel saved it, mistakes told."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from labelwise.annotators import Desk
from labelwise.annotators.files import Files
from labelwise.data import cvat_xml
from labelwise.errors import DataError
from labelwise.records import Sample, Target
from labelwise.testing import make_queries

NAMES = ["a.png", "dir, with comma/b.png", 'quo"te.png', "夜/ø.png", "=cmd.png"]
CLASSES = ("cat", "dog", "blåbær")


@pytest.fixture
def desk(tmp_path):
    return Desk({n: Sample(n, tmp_path / n) for n in NAMES}, CLASSES, tmp_path / "rounds")


@pytest.fixture
def queries(desk):
    made = make_queries(list(desk.samples.values()), 3)
    return [dataclasses.replace(made[0], proposal=Target(("dog",))), *made[1:]]


def file_of(desk):
    return desk.folder / "003" / "annotate.csv"


def rows_of(desk):
    with file_of(desk).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def save(desk, answers, *, encoding="utf-8-sig", delimiter=",", extra=()):
    rows = rows_of(desk)
    with file_of(desk).open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(rows[0])
        writer.writerows([{**row, "class": answers.get(row["path"], "")}[k] for k in row] for row in rows)
        writer.writerows(extra)


def collected(desk, queries, **options):
    by_id = {q.id: q.sample_id for q in queries}
    return {by_id[a.query_id]: a.target and a.target.classes[0] for a in Files(**options).collect(queries, desk)}


def test_a_row_for_every_query_with_proposal_and_reason(desk, queries):
    Files().submit(queries, desk)
    rows = rows_of(desk)
    assert [r["path"] for r in rows] == NAMES
    assert [r["proposal"] for r in rows] == ["dog", "", "", "", ""]
    assert {r["class"] for r in rows} == {""}
    assert rows[0]["reason"] == "Drawn at random."
    assert rows[3]["image"] == str(desk.samples["夜/ø.png"].path)
    assert [p.name for p in file_of(desk).parent.iterdir()] == ["annotate.csv"]
    assert str(file_of(desk)) in Files().advice(queries, desk)


def test_nothing_asked_writes_nothing(desk):
    Files().submit([], desk)
    assert not desk.folder.exists()
    assert Files().collect([], desk) == []


def test_a_file_that_was_begun_is_never_overwritten(desk, queries):
    Files().submit(queries, desk)
    save(desk, {"a.png": "cat"})
    before = file_of(desk).read_bytes()
    Files().submit(queries[1:], desk)
    Files(new_classes=True).submit(queries, desk)
    assert file_of(desk).read_bytes() == before


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"encoding": "utf-8"},
        {"delimiter": ";"},
        {"delimiter": ";", "encoding": "utf-8"},
        {"delimiter": "\t", "encoding": "utf-16"},
    ],
)
def test_answers_are_read_as_excel_and_others_save_them(how, desk, queries):
    Files().submit(queries, desk)
    answers = dict(zip(NAMES, ["cat", "dog", "blåbær", "-", "cat"], strict=True))
    save(desk, answers, **how)
    assert collected(desk, queries) == {**answers, "夜/ø.png": None}


def test_what_is_not_filled_stays_open(desk, queries):
    Files().submit(queries, desk)
    assert collected(desk, queries) == {}
    save(desk, {"a.png": "cat", NAMES[1]: "  "})
    assert collected(desk, queries) == {"a.png": "cat"}
    assert collected(desk, queries[1:]) == {}


def test_other_rows_and_spaces_do_no_harm(desk, queries):
    Files().submit(queries, desk)
    save(desk, {"a.png": " cat "}, extra=[[], ["other.png", "dog", "", "", ""]])
    assert collected(desk, queries) == {"a.png": "cat"}


def test_an_unknown_class_is_told_with_the_nearest_and_the_way_out(desk, queries):
    Files().submit(queries, desk)
    save(desk, {"a.png": "catt", NAMES[1]: "horse"})
    with pytest.raises(DataError, match=r"'catt' \(2 unknown in all\): did you mean 'cat'.*new_classes=true") as error:
        Files().collect(queries, desk)
    assert "\n" not in str(error.value)
    assert collected(desk, queries, new_classes=True) == {"a.png": "catt", NAMES[1]: "horse"}
    unborn = dataclasses.replace(desk, classes=())
    assert len(Files().collect(queries, unborn)) == 2


def test_a_line_with_too_many_cells_is_told_and_not_lost(desk, queries):
    Files().submit(queries, desk)
    text = file_of(desk).read_text(encoding="utf-8-sig").replace("a.png,,", "a.png,cat,x,y,", 1)
    file_of(desk).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"annotate\.csv"):
        Files().collect(queries, desk)


@pytest.mark.parametrize("text", ["", "something else\n", "path,name\na.png,cat\n"])
def test_a_file_that_is_no_such_table_any_more(text, desk, queries):
    Files().submit(queries, desk)
    file_of(desk).write_text(text)
    with pytest.raises(DataError, match=r"annotate\.csv"):
        Files().collect(queries, desk)


def test_a_file_in_another_encoding_says_how_to_save_it(desk, queries):
    Files().submit(queries, desk)
    save(desk, {"a.png": "blåbær"}, encoding="utf-8")
    text = file_of(desk).read_text(encoding="utf-8").encode("cp1252", "replace")
    file_of(desk).write_bytes(text)
    with pytest.raises(DataError, match="CSV UTF-8"):
        Files().collect(queries, desk)


def test_a_round_has_its_own_file(desk, queries):
    Files().submit(queries, desk)
    later = make_queries(list(desk.samples.values()), 4)
    assert Files().collect(later, desk) == []
    Files().submit(later, desk)
    assert (desk.folder / "004" / "annotate.csv").exists()


def boxes(*found):
    return Target(tuple(name for name, _ in found), np.array([b for _, b in found], float).reshape(-1, 4))


@pytest.fixture
def pictures(tmp_path):
    samples = [Sample(n, tmp_path / "pictures" / n, size=(40, 30)) for n in ("a.png", "sub/b.png", "c.png")]
    for sample in samples:
        sample.path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", sample.size).save(sample.path)
    return {s.id: s for s in samples}


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "cvat_xml", "csv"])
def test_boxes_are_asked_with_proposals_and_read_from_beside(format, pictures, tmp_path):
    desk = Desk(pictures, CLASSES, tmp_path / "rounds", "detect")
    asked = make_queries(list(pictures.values()))
    asked[0] = dataclasses.replace(asked[0], proposal=boxes(("dog", [1, 2, 3, 4])))
    files = Files(format=format)
    files.submit(asked, desk)
    place = tmp_path / "rounds" / "000" / "annotate"
    assert str(place) in files.advice(asked, desk)
    assert files.collect(asked, desk) == []
    before = sorted((p, p.stat().st_mtime_ns) for p in place.rglob("*"))
    files.submit(asked[1:], desk)
    assert before == sorted((p, p.stat().st_mtime_ns) for p in place.rglob("*"))
    if format == "csv":
        (place / "annotate.csv").rename(place.with_name("answers.csv"))
    else:
        place.rename(place.with_name("answers"))
    found = files.collect(asked, desk)
    assert [(a.query_id, a.target.classes, a.target.geometry.tolist()) for a in found] == [
        (asked[0].id, ("dog",), [[1, 2, 3, 4]])
    ]
    assert "2 images are named with nothing in them" in files.advice(asked[1:], desk)
    left = Files(format=format, blank="answer").collect(asked[1:], desk)
    assert [(a.query_id, a.target.classes) for a in left] == [(q.id, ()) for q in asked[1:]]


def test_an_unknown_class_of_a_box_is_told(pictures, tmp_path):
    desk = Desk(pictures, CLASSES, tmp_path / "rounds", "detect")
    asked = make_queries(list(pictures.values()))
    target = boxes(("catt", [1, 2, 3, 4]))
    (tmp_path / "rounds" / "000").mkdir(parents=True)
    answer = [dataclasses.replace(pictures["a.png"], target=target)]
    cvat_xml.write(tmp_path / "rounds" / "000" / "answers", answer, ["catt"])
    with pytest.raises(DataError, match=r"unknown class 'catt' .*did you mean 'cat'.*new_classes=true"):
        Files().collect(asked, desk)
    assert [a.target.classes for a in Files(new_classes=True).collect(asked, desk)] == [("catt",)]


def test_pixels_in_a_table(pictures, tmp_path):
    desk = Desk(pictures, CLASSES, tmp_path / "rounds", "segment")
    where = np.array([[0, 1], [39, 29]], np.int32)
    proposal = Target(CLASSES, where, np.array([1, 0], np.int32))
    asked = [
        dataclasses.replace(q, unit="pixel", geometry=where, cost=2.0, proposal=proposal)
        for q in make_queries(list(pictures.values()))
    ]
    Files().submit(asked, desk)
    file = tmp_path / "rounds" / "000" / "annotate.csv"
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    assert [(r["path"], r["x"], r["y"], r["proposal"]) for r in rows[:2]] == [
        ("a.png", "0", "1", "dog"),
        ("a.png", "39", "29", "cat"),
    ]
    assert Files().collect(asked, desk) == []
    for row, label in zip(rows, ["cat", "-", "dog", "", "-", "-"], strict=True):
        row["class"] = label
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = Files().collect(asked, desk)
    assert [(a.query_id, a.target.geometry.tolist()) for a in found] == [(asked[0].id, [[0, 1]]), (asked[2].id, [])]
    assert str(file) in Files().advice(asked, desk)


@pytest.mark.parametrize("windows", [None, np.array([[0, 0, 3, 2]])])
def test_masks_to_paint(windows, pictures, tmp_path):
    desk = Desk(pictures, CLASSES, tmp_path / "rounds", "segment")
    unit = "image" if windows is None else "region"
    asked = [dataclasses.replace(q, unit=unit, geometry=windows) for q in make_queries(list(pictures.values()))]
    Files().submit(asked, desk)
    place = tmp_path / "rounds" / "000" / "annotate"
    assert (place / "classes.txt").read_text(encoding="utf-8").split() == list(CLASSES)
    assert (place / "regions" / "sub" / "b.png").exists() == (windows is not None)
    answers = place.with_name("answers") / "sub"
    answers.mkdir(parents=True)
    Image.fromarray(np.ones((30, 40), np.uint8)).save(answers / "b.png")
    (found,) = Files().collect(asked, desk)
    assert found.query_id == asked[1].id
    if windows is None:
        assert found.target.mask == tmp_path / "rounds" / "000" / "masks" / f"{asked[1].id}.png"
    else:
        assert (found.target.classes, len(found.target.geometry)) == (("dog",), 6)


def test_images_asked_later_in_a_round_get_a_folder_of_their_own(pictures, tmp_path):
    desk = Desk(pictures, CLASSES, tmp_path / "rounds", "detect")
    asked = [dataclasses.replace(q, unit="box", cost=0.0) for q in make_queries(list(pictures.values()))]
    files, place = Files(), tmp_path / "rounds" / "000"
    files.submit(asked[:2], desk)
    files.submit(asked, desk)
    files.submit(asked[2:], desk)
    assert sorted(p.name for p in place.iterdir()) == ["annotate", "annotate-2"]
    assert (place / "annotate-2" / "asked.txt").read_text().split() == [asked[2].id]
    assert str(place / "annotate-2") in files.advice(asked, desk)
    for name, id in (("answers", "a.png"), ("answers-2", "c.png")):
        sample = dataclasses.replace(pictures[id], target=boxes(("dog", [1, 2, 3, 4])))
        cvat_xml.write(place / name, [sample], CLASSES)
    assert [a.query_id for a in files.collect(asked, desk)] == [asked[0].id, asked[2].id]


def test_while_only_empty_is_known_any_class_may_be_named(desk, queries):
    desk = dataclasses.replace(desk, classes=("empty",))
    Files().submit(queries, desk)
    save(desk, {"a.png": "fox", "=cmd.png": "empty"})
    assert collected(desk, queries) == {"a.png": "fox", "=cmd.png": "empty"}
