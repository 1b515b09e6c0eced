"""Templates of Timelapse: written by the documented schema, found in a folder, and compared with the classes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from labelwise.data.timelapse import Control, read_template
from labelwise.data.timelapse_template import find_database, wanting, write_template
from labelwise.errors import DataError

COMMON = ["Type", "DefaultValue", "Label", "DataLabel", "Tooltip", "Visible", "List", "ExportToCSV"]


def columns(path, table):
    with closing(sqlite3.connect(path)) as db:
        return [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({table})")]


def test_the_schema_is_the_documented_one(tmp_path):
    path = tmp_path / "TimelapseTemplate.tdb"
    write_template(path, ("wild boar", 'it\'s "x"', "狐"))
    orders = [("Id", "INTEGER"), ("ControlOrder", "INTEGER"), ("SpreadsheetOrder", "INTEGER")]
    texts = [(name, "TEXT") for name in COMMON]
    assert columns(path, "TemplateTable") == [*orders, *texts, ("TXTBOXWIDTH", "TEXT"), ("Copyable", "TEXT")]
    assert columns(path, "FolderDataTemplateTable") == [*orders, ("Level", "INTEGER"), *texts]
    info = [("Id", "INTEGER"), ("Level", "INTEGER"), ("Guid", "TEXT"), ("Alias", "TEXT")]
    assert columns(path, "FolderDataInfo") == info
    with closing(sqlite3.connect(path)) as db:
        info = db.execute("SELECT VersionCompatabily, BackwardsCompatibility, Standard FROM TemplateInfo").fetchall()
        rows = db.execute(
            "SELECT ControlOrder, SpreadsheetOrder, Type, DataLabel, Label, DefaultValue, Visible, Copyable, "
            "ExportToCSV FROM TemplateTable ORDER BY Id"
        ).fetchall()
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert info == [("2.3.3.0", "2.3.0.0", "")]
    assert [row[:2] for row in rows] == [(i, i) for i in range(1, 8)]
    assert [row[2:] for row in rows[:4]] == [
        ("File", "File", "File", "", "true", "false", "true"),
        ("RelativePath", "RelativePath", "RelativePath", "", "true", "false", "true"),
        ("DateTime", "DateTime", "DateTime", "2000-01-01 12:00:00", "true", "false", "true"),
        ("DeleteFlag", "DeleteFlag", "Delete?", "false", "true", "false", "false"),
    ]
    fields = {c.data_label: c for c in read_template(path)}
    assert fields["Species"] == Control("Species", "Species", "FixedChoice", ("wild boar", 'it\'s "x"', "狐"))
    assert (fields["Selected"].type, fields["Selected"].default) == ("Flag", "false")
    assert not wanting(read_template(path), ("wild boar", 'it\'s "x"', "狐"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_template_is_never_overwritten(tmp_path):
    path = tmp_path / "mine.tdb"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="it is left as it is"):
        write_template(path, ("a",))
    assert path.read_bytes() == b"mine"
    with pytest.raises(DataError, match="cannot be written"):
        write_template(tmp_path / "x" / ("y" * 250 + ".tdb"), ("a",))


def test_which_file_of_a_folder(tmp_path):
    assert find_database(tmp_path, ".tdb") == (None, "")
    (tmp_path / "mine.TDB").touch()
    (tmp_path / "x.ddb").mkdir()
    assert find_database(tmp_path, ".tdb") == (tmp_path / "mine.TDB", "")
    assert find_database(tmp_path, ".ddb") == (None, "")
    (tmp_path / "other.tdb").touch()
    found, why = find_database(tmp_path, ".tdb")
    assert found is None
    assert "holds 2 .tdb files (mine.TDB, other.tdb); leave one there" in why
    (tmp_path / "TimelapseTemplate.tdb").touch()
    assert find_database(tmp_path, ".tdb") == (tmp_path / "TimelapseTemplate.tdb", "")
    found, why = find_database(tmp_path / "nothing", ".tdb")
    assert found is None
    assert "cannot be listed" in why


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], ["no 'Species': in the Template Editor add a Choice", "no 'Selected'"]),
        ([Control("Species", "", "Counter")], ["is a Counter: expected a Choice", "no 'Selected'"]),
        ([Control("Species", "", "Note"), Control("Selected", "", "Note")], ["'Selected' in the template is a Note"]),
        (
            [Control("Species", "", "FixedChoice", ("a", "c"), "a"), Control("Selected", "", "Flag")],
            ["lacks 'b': add it", "also offers 'c'", "has the default 'a'"],
        ),
    ],
)
def test_what_a_template_lacks(fields, words):
    lines = wanting(fields, ("a", "b"))
    assert len(lines) == len(words)
    assert all(word in line and "\n" not in line for word, line in zip(words, lines, strict=True))
