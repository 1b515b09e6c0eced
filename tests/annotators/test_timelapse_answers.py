"""Species read back from Timelapse: a thousand rows with everything that goes wrong, each kind handled and told."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.annotators import Desk
from labelwise.annotators.answers import read_answers, told
from labelwise.annotators.found import Asked
from labelwise.annotators.timelapse import Timelapse
from labelwise.annotators.timelapse_answers import Sheet
from labelwise.errors import DataError
from labelwise.records import Query, Sample
from timelapse_files import FIELDS, write_data

CLASSES = ("deer", "empty", "fox", "wild boar")
ROOT = Path("/images")


def asked_of(ids, *, others=(), ever=None, sheet=None, classes=CLASSES):
    samples = {id: Sample(id, ROOT / id) for id in (*ids, *others)}
    queries = [Query(f"000-{i:05d}", 0, i, id) for i, id in enumerate(ids)]
    return Asked(queries, samples, classes, "classify", {*ids, *(ever or ())}, sheet)


def table(path, rows, *, header=("File", "RelativePath", "Species"), encoding="utf-8", delimiter=","):
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return path


def read(path, asked, **options):
    answers = read_answers(path, asked, who="t", **options)
    ids = {q.id: q.sample_id for q in asked.queries}
    return {ids[a.query_id]: a.target and a.target.classes[0] for a in answers.annotations}, answers


def lines_of(answers, asked):
    return told(answers, asked.classes, "give --new-classes")


def test_a_thousand_rows_with_all_that_goes_wrong(tmp_path):
    ids = [f"station {i % 7}/100RECNX/IMG_{i:04d}.JPG" for i in range(1000)]
    asked = asked_of(ids, others=["x/old.JPG", "x/new.JPG"], ever=["x/old.JPG"])
    rows, expected = [], {}
    for i, id in enumerate(ids):
        folder, _, file = id.rpartition("/")
        folder = folder.replace("/", "\\") if i % 3 else folder  # both separators
        species = CLASSES[i % 4]
        if i < 10:
            continue  # missing
        if i < 20:
            rows.append((file, folder, "01.05.2024 06:30", species))  # twice the same
        elif i < 25:
            rows.append((file, folder, "01.05.2024 06:30", CLASSES[(i + 1) % 4]))  # contradictory
        elif i < 40:
            species = "foks"  # misspelt
        elif i < 45:
            species = "Lynx"  # new
        elif i < 60:
            species = ""
        elif i < 65:
            species = "Unsure"
        elif i < 70:
            species = f" {species.upper()} "
        elif i < 75:
            folder = folder.upper()
        rows.append((file, folder, "01.05.2024 06:30", species))
        if i < 20 or i >= 60:
            expected[id] = None if 60 <= i < 65 else CLASSES[i % 4]
    rows += [
        ("gone.JPG", "", "", "fox"),
        ("gone2.JPG", "", "", ""),
        ("old.JPG", "x", "", "fox"),
        ("new.JPG", "x", "", "fox"),
    ]
    header = ("File", "RelativePath", "DateTime", "Species")
    path = table(tmp_path / "excel.csv", rows, header=header, encoding="utf-8-sig", delimiter=";")
    found, answers = read(path, asked)
    assert found == expected
    assert answers.rows == (len(rows) - 2, 2)
    assert answers.unmatched == ("gone.JPG",)
    assert answers.settled == ("x/old.JPG",)
    assert {name: len(where) for name, where in answers.unknown_classes.items()} == {"Lynx": 5, "foks": 15}
    text = "\n".join(lines_of(answers, asked))
    assert "unknown class 'foks' in 15 images" in text
    assert "did you mean 'fox'?" in text
    assert "10 asked images have no row in excel.csv" in text
    assert "10 images have several rows that do not contradict" in text
    assert text.count("expected one species, found") == 5
    assert "1 images have a species but were not asked: not taken (x/new.JPG)" in text
    assert "5 files are named in another letter case" in text
    assert "taken in spite of another letter case: 'DEER' is 'deer'" in text
    assert "date" not in text  # those are no concern of answers
    again, answers = read(path, asked, new_classes=["Lynx"])
    assert {again[id] for id in ids[40:45]} == {"Lynx"}
    assert list(answers.unknown_classes) == ["foks"]
    everything, answers = read(path, asked, new_classes=True)
    assert {everything[id] for id in ids[25:40]} == {"foks"}
    assert not answers.unknown_classes


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"encoding": "utf-8-sig", "delimiter": ";"},
        {"encoding": "utf-16", "delimiter": "\t"},
        {"encoding": "cp1252", "delimiter": ";"},
    ],
)
def test_tables_as_spreadsheets_save_them(how, tmp_path):
    asked = asked_of(["camB/Ä 3.jpg", 'camB/it, "4".jpg'])
    path = table(tmp_path / "a.csv", [("Ä 3.jpg", "camB", "fox"), ('it, "4".jpg', "camB\\", "deer")], **how)
    found, _ = read(path, asked)
    assert found == {"camB/Ä 3.jpg": "fox", 'camB/it, "4".jpg': "deer"}


def test_letters_are_composed_or_not(tmp_path):
    asked = asked_of(["camB/A\u0308.jpg"])
    found, _ = read(table(tmp_path / "a.csv", [("\u00c4.jpg", "camB", "fox")]), asked)
    assert found == {"camB/A\u0308.jpg": "fox"}


def test_two_files_that_differ_in_letter_case_are_not_mistaken(tmp_path):
    asked = asked_of(["a.jpg", "A.jpg", "b.jpg"])
    path = table(tmp_path / "a.csv", [("a.jpg", "", "fox"), ("A.jpg", "", "deer"), ("a.JPG", "", "empty")])
    found, answers = read(path, asked)
    assert found == {"a.jpg": "fox", "A.jpg": "deer"}
    assert answers.unmatched == ("a.JPG",)


def test_crops_of_one_image_all_get_its_species(tmp_path):
    samples = {id: Sample(id, ROOT / "cam" / "a.jpg") for id in ("cam/a.jpg#0", "cam/a.jpg#1")}
    queries = [Query(f"q{i}", 0, i, id) for i, id in enumerate(samples)]
    asked = Asked(queries, samples, CLASSES, "classify", set(samples), Sheet(root=ROOT))
    found, _ = read(table(tmp_path / "a.csv", [("a.jpg", "cam", "fox")]), asked)
    assert found == {"cam/a.jpg#0": "fox", "cam/a.jpg#1": "fox"}


def test_rows_are_seen_from_the_folder_that_timelapse_opens(tmp_path):
    ids = ["camA/a.jpg", "camB/b.jpg"]
    path = table(tmp_path / "a.csv", [("a.jpg", r"images\camA", "fox"), ("b.jpg", "camB", "fox")])
    asked = asked_of(ids, sheet=Sheet(root=ROOT.parent))
    found, answers = read(path, asked)
    assert found == {"camA/a.jpg": "fox"}
    assert answers.unmatched == ("camB/b.jpg",)
    found, _ = read(path, asked_of(ids), root="images")
    assert found == {"camA/a.jpg": "fox", "camB/b.jpg": "fox"}


def test_a_ddb_that_is_written_to_is_read(tmp_path):
    write_data(tmp_path / "TimelapseData.ddb", [{"File": "a.jpg", "RelativePath": "", "Species": "fox"}])
    with closing(sqlite3.connect(tmp_path / "TimelapseData.ddb", isolation_level=None)) as busy:
        busy.execute("PRAGMA journal_mode = WAL")
        busy.execute("UPDATE DataTable SET Species = 'deer'")
        busy.execute("BEGIN IMMEDIATE")
        found, answers = read(tmp_path / "TimelapseData.ddb", asked_of(["a.jpg"]))
    assert found == {"a.jpg": "deer"}
    assert answers.rows == (1, 0)


def test_the_default_of_a_template_is_no_answer(tmp_path):
    fields = [(n, k, label, "empty" if n == "Species" else d) for n, k, label, d in FIELDS]
    rows = [{"File": f"{i}.jpg", "RelativePath": "", "Species": s} for i, s in enumerate(["empty", "fox", "empty"])]
    write_data(tmp_path / "TimelapseData.ddb", rows, fields)
    asked = asked_of(["0.jpg", "1.jpg", "2.jpg"])
    found, answers = read(tmp_path / "TimelapseData.ddb", asked)
    assert found == {"1.jpg": "fox"}
    assert "2 images show 'empty', the default of the template" in "\n".join(lines_of(answers, asked))


def test_words_for_skipping(tmp_path):
    ids = [f"{i}.jpg" for i in range(4)]
    path = table(tmp_path / "a.csv", zip(ids, [""] * 4, ["Unknown", "-", "dont know", "fox"], strict=True))
    assert read(path, asked_of(ids))[0] == {"0.jpg": None, "1.jpg": None, "3.jpg": "fox"}
    sheet = Sheet(skip=("Dont Know",))
    assert read(path, asked_of(ids, sheet=sheet))[0] == {"1.jpg": None, "2.jpg": None, "3.jpg": "fox"}
    assert read(path, asked_of(ids, classes=("unknown", "fox")))[0]["0.jpg"] == "unknown"


def test_images_with_several_species_may_be_skipped(tmp_path):
    path = table(tmp_path / "a.csv", [("0.jpg", "", "fox"), ("0.jpg", "", "deer"), ("1.jpg", "", "fox")])
    found, answers = read(path, asked := asked_of(["0.jpg", "1.jpg"], sheet=Sheet(several="skip")))
    assert found == {"0.jpg": None, "1.jpg": "fox"}
    assert "1 images with several species are skipped" in lines_of(answers, asked)


def test_a_table_without_the_column_is_told_which_there_are(tmp_path):
    path = table(tmp_path / "a.csv", [("a.jpg", "", "fox")], header=("File", "RelativePath", "Animal"))
    with pytest.raises(DataError, match=r"expected the column 'Species', found File, RelativePath, Animal"):
        read(path, asked_of(["a.jpg"]))
    assert read(path, asked_of(["a.jpg"], sheet=Sheet(species="animal")))[0] == {"a.jpg": "fox"}


def test_a_table_with_nothing_but_a_header_leaves_all_open(tmp_path):
    found, answers = read(table(tmp_path / "a.csv", []), asked_of(["a.jpg"]))
    assert (found, answers.rows) == ({}, (0, 0))


# --- through the annotator --------------------------------------------------------------------------


def desk_of(tmp_path, ids, told=None, **options):
    samples = {id: Sample(id, tmp_path / "images" / id) for id in ids}
    (tmp_path / "images").mkdir(exist_ok=True)
    tell = {} if told is None else {"tell": told.append}
    return Desk(samples, CLASSES, tmp_path / "rounds", ever=set(ids), **tell, **options)


def test_bad_files_are_told_and_the_rest_is_taken(tmp_path):
    said = []
    desk = desk_of(tmp_path, ["a.jpg", "b.jpg"], said)
    queries = [Query(f"q{i}", 0, i, id) for i, id in enumerate(desk.samples)]
    annotator, folder = Timelapse(), tmp_path / "rounds" / "000" / "timelapse"
    annotator.submit(queries, desk)
    (folder / "0 broken.ddb").write_bytes(b"SQLite format 3\0" + b"x" * 200)
    (folder / "1 other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    table(folder / "2 good.csv", [("a.jpg", "", "fox"), ("b.jpg", "", "foks")])
    found = annotator.collect(queries, desk)
    assert [(a.query_id, a.target.classes) for a in found] == [("q0", ("fox",))]
    text = "\n".join(said)
    assert "0 broken.ddb" in text
    assert "1 other.csv: expected the columns File and RelativePath" in text
    assert "2 good.csv: 1 of 2 open images answered; 2 rows are images of the run, 0 are not" in text
    assert "did you mean 'fox'" in text
    said.clear()
    assert annotator.collect(queries, desk) == found
    assert said == []  # nothing new
    table(folder / "2 good.csv", [("a.jpg", "", "fox"), ("b.jpg", "", "fox")])
    assert len(annotator.collect(queries, desk)) == 2
    assert "2 of 2 open images answered" in said[2]


def test_what_is_put_into_the_round_counts_before_the_ddb(tmp_path):
    desk = desk_of(tmp_path, ["a.jpg", "b.jpg"])
    queries = [Query(f"q{i}", 0, i, id) for i, id in enumerate(desk.samples)]
    rows = [{"File": f"{n}.jpg", "RelativePath": "", "Species": "deer"} for n in "ab"]
    write_data(tmp_path / "images" / "TimelapseData.ddb", rows)
    annotator = Timelapse()
    annotator.submit(queries, desk)
    table(tmp_path / "rounds" / "000" / "timelapse" / "ImageData.csv", [("a.jpg", "", "fox")])
    found = {a.query_id: a.target.classes[0] for a in annotator.collect(queries, desk)}
    assert found == {"q0": "fox", "q1": "deer"}


def test_a_new_species_is_told_with_what_may_have_been_meant(tmp_path):
    said = []
    desk = desk_of(tmp_path, ["a.jpg"], said)
    queries = [Query("q0", 0, 0, "a.jpg")]
    annotator = Timelapse(new_classes=True)
    annotator.submit(queries, desk)
    table(tmp_path / "rounds" / "000" / "timelapse" / "a.csv", [("a.jpg", "", "foxx")])
    assert annotator.collect(queries, desk)[0].target.classes == ("foxx",)
    assert "new class 'foxx', 1 image: did you mean 'fox'?" in "\n".join(said)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "fox", "deer", "lynx", "unknown"])), max_size=25))
def test_answers_are_those_of_a_plain_reading(tmp_path_factory, cells):
    ids = [f"d/{i}.jpg" for i in range(5)]
    path = table(tmp_path_factory.mktemp("t") / "a.csv", [(f"{i}.jpg", "d", label) for i, label in cells])
    asked = asked_of(ids)
    expected = {}
    for i, id in enumerate(ids):
        labels = {label for at, label in cells if at == i and label}
        if len(labels) == 1 and (label := labels.pop()) != "lynx":
            expected[id] = None if label == "unknown" else label
    assert read(path, asked)[0] == expected


def test_while_only_empty_is_known_every_species_may_be_named(tmp_path):
    asked = asked_of([f"{c}.jpg" for c in "abcde"], classes=("empty",))
    rows = [("a.jpg", "", "Wild boar"), ("b.jpg", "", "Empty"), ("c.jpg", "", "wild  boar"), ("d.jpg", "", "Unsure")]
    found, answers = read(table(tmp_path / "a.csv", [*rows, ("e.jpg", "", "Wild boar")]), asked)
    assert found == dict.fromkeys(("a.jpg", "c.jpg", "e.jpg"), "Wild boar") | {"b.jpg": "empty", "d.jpg": None}
    (line,) = lines_of(answers, asked)
    assert "'wild  boar' is 'Wild boar'" in line
    some = asked_of(["a.jpg"], classes=("empty", "fox"))
    assert read(tmp_path / "a.csv", some)[0] == {}
