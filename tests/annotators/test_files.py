"""Asking through a CSV: never overwritten, read as a person or Excel saved it, mistakes told."""

from __future__ import annotations

import csv
import dataclasses

import pytest

from labelwise.annotators import Desk
from labelwise.annotators.files import Files
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
