"""Tests of data/csv_table.py: every way a table arrives from a spreadsheet."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from labelwise.data import csv_table
from labelwise.data.listing import Listing
from labelwise.errors import DataError


def table(root: Path, text: str | bytes, *pictures: str) -> Path:
    for name in pictures:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    file = root / "table.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def labels(listing: Listing) -> dict[str, str]:
    return {sample.id: sample.target.classes[0] if sample.target else "" for sample in listing.samples}


def codes(listing: Listing) -> list[tuple[str, str]]:
    return [(problem.id, problem.code) for problem in listing.problems]


def test_plain(tmp_path: Path) -> None:
    listing = csv_table.read(table(tmp_path, "path,class,group,more\nb.png,fox,g1,1\na.png,,g2,2\n", "a.png", "b.png"))
    assert labels(listing) == {"a.png": "", "b.png": "fox"}
    assert [sample.group for sample in listing.samples] == ["g2", "g1"]
    assert listing.classes == ("fox",)
    assert listing.samples[0].path == tmp_path / "a.png"
    assert listing.problems == ()


@pytest.mark.parametrize("header", ["path,class", "File,Label", " FILENAME , species ", '"path","class"'])
def test_header_names(tmp_path: Path, header: str) -> None:
    assert labels(csv_table.read(table(tmp_path, f"{header}\na.png,fox\n", "a.png"))) == {"a.png": "fox"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_delimiters_and_line_ends(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    text = end.join([f"path{delimiter}class", f"日本/ü.png{delimiter}Füchse", ""])
    assert labels(csv_table.read(table(tmp_path, text.encode(encoding), "日本/ü.png"))) == {"日本/ü.png": "Füchse"}


def test_quotes_spaces_and_backslashes(tmp_path: Path) -> None:
    text = 'path,class\n"comma,name.png","red, fox"\nsub\\b.png, fox \n./c.png,fox\n,,\n\n'
    listing = csv_table.read(table(tmp_path, text, "comma,name.png", "sub/b.png", "c.png"))
    assert labels(listing) == {"comma,name.png": "red, fox", "sub/b.png": "fox", "c.png": "fox"}
    assert listing.problems == ()


def test_missing_and_outside_are_named_with_their_line(tmp_path: Path) -> None:
    text = "path,class\na.png,x\nnone.png,x\n../b.png,x\n/etc/passwd,x\nC:\\b.png,x\n..\\b.png,x\n,x\n"
    listing = csv_table.read(table(tmp_path, text, "a.png"))
    assert list(labels(listing)) == ["a.png"]
    by_line = {problem.message.split(":")[0]: problem.code for problem in listing.problems}
    assert by_line == {
        "line 3": "missing",
        **{f"line {line}": "outside_root" for line in range(4, 9)},
    }


def test_absolute_paths_inside_the_root(tmp_path: Path) -> None:
    assert list(labels(csv_table.read(table(tmp_path, f"path,class\n{tmp_path}/a.png,x\n", "a.png")))) == ["a.png"]


def test_other_root(tmp_path: Path) -> None:
    file = table(tmp_path, "path,class\na.png,x\n", "pictures/a.png")
    listing = csv_table.read(file, root=tmp_path / "pictures")
    assert listing.samples[0].path == tmp_path / "pictures" / "a.png"
    with pytest.raises(DataError, match=r"found none \(1 missing; line 2: .* is root right"):
        csv_table.read(file)


def test_repeated_rows(tmp_path: Path) -> None:
    text = "path,class\na.png,fox\na.png,fox\nb.png,\nb.png,cat\nc.png,fox\n./c.png,cat\nc.png,fox\n"
    listing = csv_table.read(table(tmp_path, text, "a.png", "b.png", "c.png"))
    assert labels(listing) == {"a.png": "fox", "b.png": "cat"}
    assert codes(listing) == [
        ("a.png", "repeated"),
        ("b.png", "repeated"),
        ("c.png", "conflicting_class"),
        ("c.png", "repeated"),
    ]
    assert "line 7" in listing.problems[2].message
    assert "line 6" in listing.problems[2].message


def test_rows_with_too_few_or_too_many_cells(tmp_path: Path) -> None:
    listing = csv_table.read(table(tmp_path, "path,class\na.png,fox,,\nb.png\ncomma,name.png,fox\n", "a.png", "b.png"))
    assert list(labels(listing)) == ["a.png"]
    assert codes(listing) == [("b.png", "bad_row"), ("comma", "bad_row")]


def test_a_table_of_boxes_is_no_class_of_a_picture(tmp_path: Path) -> None:
    """Of one class it would pass for one; of several for pictures whose classes contradict each other."""
    file = table(tmp_path, "path;class;X0;y0;x1;y1\na.png;cell;1;2;3;4\na.png;cell;5;6;7;8\n", "a.png")
    with pytest.raises(DataError, match=r"found a table of boxes .*'labelwise import' takes it as answers"):
        csv_table.read(file)
    assert not csv_table.is_table(file)


def test_composed_and_decomposed_names_meet(tmp_path: Path) -> None:
    stored = unicodedata.normalize("NFD", "é.png")
    listing = csv_table.read(table(tmp_path, "path,class\n" + unicodedata.normalize("NFC", "é.png") + ",fox\n", stored))
    if (tmp_path / unicodedata.normalize("NFC", "é.png")).exists():
        pytest.skip("this file system does not tell the two apart")
    assert list(labels(listing)) == [stored]
    assert codes(listing) == [(stored, "unicode_form")]


def test_odd_names_from_a_table(shared_data: Path, tmp_path: Path) -> None:
    import csv

    folder = shared_data / "bad_inputs" / "names"
    names = sorted(file.name for file in folder.iterdir())
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "class"], *([name, "x"] for name in names)])
    listing = csv_table.read(tmp_path / "t.csv", root=folder)
    assert list(labels(listing)) == names
    assert listing.problems == ()


def test_a_file_without_extension_counts_where_it_is_named(tmp_path: Path) -> None:
    assert list(labels(csv_table.read(table(tmp_path, "path,class\nplain,x\n", "plain")))) == ["plain"]


def test_group_column_wins_over_the_rule(tmp_path: Path) -> None:
    file = table(tmp_path, "path,class,group\ns1_a.png,x,mine\ns1_b.png,x,\n", "s1_a.png", "s1_b.png")
    assert [sample.group for sample in csv_table.read(file, group="^(s[0-9])").samples] == ["mine", "s1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "found an empty file"),
        (b" \n\n", "found an empty file"),
        (b"path,class\n", "found only the header"),
        (b"a.png,fox\n", "expected a header with the columns path and class"),
        (b"path,group\na.png,1\n", "expected a header with the columns path and class"),
        (b"path,class,class\na.png,1,2\n", "found 'class' twice"),
        (b"path,class\na.png,f\xfcchse\n", "line 2: expected text in UTF-8"),
        (b"path,class\na\0,fox\n", "binary data"),
        (b'path,class\na.png,"fox\n', "line 2: expected CSV"),
    ],
)
def test_refused_files(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        csv_table.read(table(tmp_path, text, "a.png"))
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        csv_table.read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="readable"):
        csv_table.read(tmp_path)
