"""Timelapse's files as rows: .ddb, and CSVs as exported and as spreadsheets save them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from labelwise.data.timelapse import file_id, is_timelapse_csv, read_rows, read_template
from labelwise.errors import DataError
from timelapse_files import CHOICES, write_data, write_template

ROWS = [
    {"File": "IMG_1.JPG", "RelativePath": r"camA\100RECNX", "DateTime": "2024-03-05 10:11:12", "Species": "deer"},
    {"File": "IMG_2.JPG", "RelativePath": "", "DateTime": "2024-03-05 10:11:13", "Species": "", "Count": "2"},
    {"File": "Ä 3.JPG", "RelativePath": "camB", "DateTime": None, "Species": "fox"},
]


def test_a_ddb_gives_its_rows_and_its_template(tmp_path):
    write_data(tmp_path / "TimelapseData.ddb", ROWS)
    found = read_rows(tmp_path / "TimelapseData.ddb")
    assert [row.id for row in found.rows] == ["camA/100RECNX/IMG_1.JPG", "IMG_2.JPG", "camB/Ä 3.JPG"]
    assert [row.number for row in found.rows] == [1, 2, 3]
    assert [row.taken for row in found.rows] == ["2024-03-05T10:11:12", "2024-03-05T10:11:13", None]
    assert found.rows[1].values["Count"] == "2"
    assert found.rows[0].values["Species"] == "deer"
    assert "Id" not in found.columns
    species = next(control for control in found.controls if control.data_label == "Species")
    assert (species.type, species.label, species.choices, species.may_be_empty) == (
        "FixedChoice", "Animal", CHOICES, True,
    )  # fmt: skip
    assert not found.problems


def test_the_ddb_itself_is_left_alone(tmp_path):
    path = tmp_path / "TimelapseData.ddb"
    write_data(path, ROWS)
    before = path.read_bytes(), path.stat().st_mtime_ns
    with closing(sqlite3.connect(path)) as busy:  # as Timelapse holds it
        busy.execute("BEGIN EXCLUSIVE")
        assert len(read_rows(path).rows) == 3
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [file.name for file in tmp_path.iterdir()] == ["TimelapseData.ddb"]


def test_rows_that_are_not_written_back_yet_are_read(tmp_path):
    path = tmp_path / "TimelapseData.ddb"
    write_data(path, ROWS)
    with closing(sqlite3.connect(path, isolation_level=None)) as open_one:
        open_one.execute("PRAGMA journal_mode = WAL")
        open_one.execute("UPDATE DataTable SET Species = 'fox' WHERE Id = 2")
        assert read_rows(path).rows[1].values["Species"] == "fox"


def test_a_template_is_read(tmp_path):
    write_template(tmp_path / "TimelapseTemplate.tdb")
    controls = read_template(tmp_path / "TimelapseTemplate.tdb")
    assert [c.data_label for c in controls][:3] == ["File", "RelativePath", "DateTime"]
    assert not controls[-1].exported


def test_an_old_list_of_choices_is_read(tmp_path):
    write_template(tmp_path / "t.tdb")
    with closing(sqlite3.connect(tmp_path / "t.tdb")) as db, db:
        db.execute("UPDATE TemplateTable SET List = 'deer| fox |' WHERE DataLabel = 'Species'")
    assert next(c for c in read_template(tmp_path / "t.tdb") if c.data_label == "Species").choices == ("deer", "fox")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("File,RelativePath,DateTime,Species\nÄ.JPG,cam\\1,2024-03-13 10:11:12,fox\n", "utf-8"),
        ("File,RelativePath,DateTime,Species\nÄ.JPG,cam\\1,2024-03-13T10:11:12,fox\n", "utf-8-sig"),
        ("File;RelativePath;DateTime;Species\r\nÄ.JPG;cam/1;13/03/2024 10:11:12;fox\r\n", "utf-8-sig"),
        ("sep=;\r\nfile;relativepath;DateTime;Species;;\r\nÄ.JPG;cam\\1;13.03.2024 10:11:12;fox;;\r\n", "utf-8-sig"),
        ("File\tRelativePath\tDate\tTime\tSpecies\nÄ.JPG\tcam\\1\t 13-Mar-2024\t10:11:12\tfox\n", "utf-16"),
        ('"File","RelativePath","DateTime","Species"\n"Ä.JPG","cam\\1","3/13/2024 10:11:12 AM","fox"\n', "utf-8"),
    ],
)
def test_a_csv_is_read_as_exported_and_as_a_spreadsheet_saves_it(tmp_path, content, encoding):
    path = tmp_path / "ImageData.csv"
    path.write_bytes(content.encode(encoding))
    assert is_timelapse_csv(path)
    found = read_rows(path)
    assert [(row.id, row.taken, row.values["Species"]) for row in found.rows] == [
        ("cam/1/Ä.JPG", "2024-03-13T10:11:12", "fox")
    ]
    assert not found.problems


def test_windows_1252_is_read_and_told(tmp_path):
    path = tmp_path / "ImageData.csv"
    path.write_bytes("File;RelativePath;Species\nÄ.JPG;;Rehbock männlich\n".encode("cp1252"))
    found = read_rows(path)
    assert found.rows[0].id == "Ä.JPG"
    assert [p.code for p in found.problems] == ["encoding"]


def test_bad_rows_are_told_and_the_others_kept(tmp_path):
    path = tmp_path / "ImageData.csv"
    lines = [
        "File,RelativePath,DateTime",
        "a.jpg,..\\x,",
        "b.jpg,C:\\x,",
        ",x,",
        "c.jpg",
        "d.jpg,x,03/04/2024",
        "",
        "e.jpg,,",
    ]
    path.write_text("\n".join(lines))
    found = read_rows(path)
    assert [row.id for row in found.rows] == ["x/d.jpg", "e.jpg"]
    codes = sorted(p.code for p in found.problems)
    assert codes == ["bad_row", "no_file", "no_time", "outside_root", "outside_root"]
    assert "say day_first" in next(p.message for p in found.problems if p.code == "no_time")
    assert read_rows(path, day_first=True).rows[0].taken == "2024-04-03T00:00:00"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"path,class\n", "File and RelativePath"),
        ("a.csv", b"File,RelativePath,X,X\n", "found 'X' twice"),
        ("a.csv", b"", "File and RelativePath"),
        ("a.csv", b"\x00\x01", "binary"),
        ("a.ddb", b"SQLite format 3\0 cut off", "restore it"),
        ("missing.ddb", None, "nothing there"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_rows(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_template_is_no_data_and_data_without_template_no_template(tmp_path):
    write_template(tmp_path / "t.tdb")
    with pytest.raises(DataError, match=r"name the \.ddb"):
        read_rows(tmp_path / "t.tdb")
    with closing(sqlite3.connect(tmp_path / "other.db")) as db, db:
        db.execute("CREATE TABLE x (y)")
    with pytest.raises(DataError, match="no TemplateTable"):
        read_template(tmp_path / "other.db")
    (tmp_path / "text.tdb").write_text("no database")
    with pytest.raises(DataError, match="other content"):
        read_template(tmp_path / "text.tdb")


def test_paths_of_rows():
    assert file_id(r"a\b", "c.jpg") == "a/b/c.jpg"
    assert file_id("", "c.jpg") == "c.jpg"
    assert file_id("a/./b/", "c.jpg") == "a/b/c.jpg"
    for folder in ("..", r"a\..\..", "C:\\x", r"\\server\share", "/abs"):
        assert file_id(folder, "c.jpg") is None
