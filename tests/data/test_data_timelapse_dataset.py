"""Timelapse's image sets as datasets."""

from __future__ import annotations

from collections import Counter

import pytest

from camera_trap_files import detection, megadetector, picture
from labelwise.data.megadetector import read as read_megadetector
from labelwise.data.timelapse_dataset import labels_of, read, table_of
from labelwise.errors import DataError
from timelapse_files import FIELDS, write_data, write_template


def row(name, folder="camA", species="", **more):
    return {"File": name, "RelativePath": folder, "DateTime": "2024-03-05 10:11:12", "Species": species, **more}


@pytest.fixture
def folder(tmp_path):
    for name in (
        "camA/1.jpg",
        "camA/2.jpg",
        "camB/DCIM/3.jpg",
        "4.jpg",
        "Backups/1.jpg",
        "DeletedFiles/9.jpg",
        ".vthumb/1.jpg",
    ):
        picture(tmp_path / name, taken="2020:01:01 00:00:00")
    return tmp_path


def codes(listing):
    return Counter(problem.code for problem in listing.problems)


def classes(listing):
    return {s.id: s.target and s.target.classes[0] for s in listing.samples}


def test_a_column_is_the_class_and_the_others_are_known_too(folder):
    rows = [
        row("1.jpg", species="deer", Count="2", Flag0="true", Site="north"),
        row("2.jpg"),
        row("3.jpg", r"camB\DCIM", "Otter", Count="few"),
        row("4.jpg", ""),
        row("9.jpg"),
    ]
    write_data(folder / "TimelapseData.ddb", rows)
    found = read(folder)
    assert classes(found) == {"4.jpg": None, "camA/1.jpg": "deer", "camA/2.jpg": None, "camB/DCIM/3.jpg": "Otter"}
    assert found.classes == ("deer", "fox", "empty", "Otter")
    one = next(s for s in found.samples if s.id == "camA/1.jpg")
    assert one.meta == {
        "taken": "2024-03-05T10:11:12",
        "Count": 2.0,
        "Flag0": True,
        "Site": "north",
        "location": "camA",
    }
    assert next(s for s in found.samples if s.id == "camB/DCIM/3.jpg").meta["Count"] == "few"
    assert codes(found) == {"missing": 1, "not_a_choice": 1, "no_location": 1}
    assert "did you mean" not in next(p.message for p in found.problems if p.code == "not_a_choice")
    assert [s.group for s in read(folder / "TimelapseData.ddb", location="Site").samples] == [None, "north", None, None]


def test_duplicated_rows_marks_for_deletion_and_files_beside(folder):
    rows = [
        row("1.jpg", species="deer"),
        row("1.jpg", species="fox"),
        row("2.jpg", species="deer"),
        row("2.jpg", species="deer"),
        row("3.jpg", r"camB\DCIM", DeleteFlag="true"),
    ]
    write_data(folder / "TimelapseData.ddb", rows)
    found = read(folder)
    assert classes(found) == {"camA/2.jpg": "deer"}
    assert codes(found) == {"several_classes": 1, "deleted": 1, "not_in_table": 1}


def test_an_exported_csv_with_its_template(folder):
    write_template(folder / "TimelapseTemplate.tdb")
    (folder / "ImageData.csv").write_text(
        "\ufeffFile;RelativePath;DateTime;Species;Count;Night\r\n"
        "1.jpg;camA;13/03/2024 10:11;fox;1;TRUE\r\n3.jpg;camB\\DCIM;05/03/2024 10:11;;;\r\n",
        encoding="utf-8",
    )
    found = read(folder)
    assert classes(found) == {"camA/1.jpg": "fox", "camB/DCIM/3.jpg": None}
    assert found.classes == ("deer", "fox", "empty")
    assert found.samples[0].meta["Night"] is True
    assert [s.meta["taken"] for s in found.samples] == ["2024-03-13T10:11:00", "2024-03-05T10:11:00"]
    (folder / "TimelapseTemplate.tdb").write_text("damaged")
    assert read(folder).classes == ("fox",)


def test_which_column_is_asked_where_it_is_not_clear(folder):
    fields = (*FIELDS, ("Behaviour", "FixedChoice", "Does", ""))
    write_data(folder / "a.ddb", [row("1.jpg", species="fox", Behaviour="sleeps")], fields)
    assert classes(read(folder)) == {"camA/1.jpg": "fox"}  # of two lists the one with a usual name
    assert classes(read(folder, column="Behaviour")) == {"camA/1.jpg": "sleeps"}
    assert classes(read(folder, column="Does")) == {"camA/1.jpg": "sleeps"}  # by its name on screen
    with pytest.raises(DataError, match="did you mean 'Behaviour'"):
        read(folder, column="Behavior")
    (folder / "a.ddb").unlink()
    both = [
        ("File", "Note", "", ""),
        ("RelativePath", "Note", "", ""),
        ("A", "FixedChoice", "", ""),
        ("B", "FixedChoice", "", ""),
    ]
    write_data(folder / "a.ddb", [{"File": "4.jpg", "RelativePath": ""}], both)
    with pytest.raises(DataError, match="set column to one of A, B"):
        read(folder)


def test_a_list_of_several_choices_with_one_chosen(folder):
    fields = tuple((n, "MultiChoice" if n == "Species" else k, *more) for n, k, *more in FIELDS)
    write_data(folder / "a.ddb", [row("1.jpg", species="fox"), row("2.jpg", species="deer, fox")], fields)
    found = read(folder)
    assert classes(found) == {"camA/1.jpg": "fox"}
    assert codes(found)["several_classes"] == 1


def test_one_table_must_be_meant(folder):
    with pytest.raises(DataError, match="found neither"):
        table_of(folder)
    write_data(folder / "a.ddb", [row("1.jpg")])
    write_data(folder / "b.ddb", [row("1.jpg")])
    with pytest.raises(DataError, match=r"a\.ddb, b\.ddb"):
        read(folder)
    with pytest.raises(DataError, match="none of 1"):
        read(folder / "a.ddb", images="camB")


def test_a_table_of_timelapse_labels_the_crops_of_a_detector(folder):
    rows = [row("1.jpg", species="deer"), row("2.jpg", species="fox"), row("2.jpg", species="deer")]
    write_data(folder / "a.ddb", rows)
    assert labels_of(folder / "a.ddb") == {"camA/1.jpg": "deer"}
    file = megadetector(folder / "md.json", [("camA/1.jpg", [detection(0.9)]), ("camA/2.jpg", [detection(0.9)])])
    found = read_megadetector(file, labels="a.ddb")
    assert classes(found) == {"camA/1.jpg": "deer", "camA/2.jpg": None}
