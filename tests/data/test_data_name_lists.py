"""Lists of names: every format read and written, and one line for whatever is none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.data.name_lists import Row, check_format, list_text, read_names
from labelwise.errors import ConfigError, DataError

ODD = ["a,b.jpg", "größe.jpg", "two\nlines.jpg", ' "quoted".jpg', "", "=1+1.jpg", "tab\t.jpg", "日本.jpg", "\u2028.jpg"]


def written(tmp_path: Path, suffix: str, names: list[str]) -> Path:
    rows = [Row(i, name, f"because, {i}", {"score": i / 3, "nested": [1]}) for i, name in enumerate(names, 1)]
    path = tmp_path / f"list{suffix}"
    path.write_text(list_text(suffix, rows, {"seed": 3}), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    names = [name for name in ODD if name]
    assert read_names(written(tmp_path, suffix, names)) == names
    assert read_names(written(tmp_path, suffix, [])) == []


@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), unique=True)
)
def test_no_name_is_lost_in_text(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    assert read_names(written(tmp_path_factory.mktemp("l"), ".txt", names)) == names


def test_csv_has_the_facts_and_the_reason(tmp_path: Path) -> None:
    with written(tmp_path, ".csv", ["a,b.jpg", "b"]).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert table[0] == {"rank": "1", "path": "a,b.jpg", "score": str(1 / 3), "reason": "because, 1"}


def test_json_has_all(tmp_path: Path) -> None:
    tree = json.loads(written(tmp_path, ".json", ["a"]).read_text(encoding="utf-8"))
    assert tree["seed"] == 3
    assert tree["picks"] == [{"rank": 1, "id": "a", "reason": "because, 1", "facts": {"score": 1 / 3, "nested": [1]}}]


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("l.txt", "\ufeffa.jpg\r\n\r\n b.jpg \na.jpg\n", ["a.jpg", "b.jpg"]),
        ("l", "a.jpg\nsub/b.jpg", ["a.jpg", "sub/b.jpg"]),
        ("l.csv", "filenames,embedding_0,labels\na.jpg,0.5,0\n", ["a.jpg"]),
        ("l.csv", "Rank;Path\n1;a.jpg\n2;b.jpg\n", ["a.jpg", "b.jpg"]),
        ("l.tsv", "id\tx\na.jpg\t1\n", ["a.jpg"]),
        ("l.csv", "a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
        ("l.csv", "", []),
        ("l.json", "", []),
        ("l.json", '["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        ("l.json", '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', ["a.jpg"]),
        ("l.json", '[{"path": "a.jpg", "id": 7}]', ["a.jpg"]),
    ],
)
def test_lists_of_others(tmp_path: Path, name: str, text: str, names: list[str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_names(tmp_path / name) == names


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("l.txt", b"a\0b", "binary"),
        ("l.txt", b"ok\n\xff\xfa", "line 2: expected text in UTF-8"),
        ("l.txt", b'a\n"b\n', "line 2"),
        ("l.csv", b"size,date\n1,2\n", "a column with the images' names"),
        ("l.csv", b'path\n"a\n', "quotes"),
        ("l.json", b"{", "expected JSON"),
        ("l.json", b'{"categories": 1}', "found keys categories"),
        ("l.json", b"[1, 2]", "found 1"),
        ("l.json", b'"a.jpg"', "an array of names"),
    ],
)
def test_what_is_no_list_is_one_line(tmp_path: Path, name: str, data: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        read_names(tmp_path / name)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        read_names(tmp_path / "none.txt")
    with pytest.raises(DataError, match="expected a list of names"):
        read_names(tmp_path)


def test_formats(tmp_path: Path) -> None:
    check_format(Path("a.JSON"))
    for name in ("a", "a.xls", ".csv"):
        with pytest.raises(ConfigError, match=r"\.txt, \.csv or \.json"):
            check_format(Path(name))
