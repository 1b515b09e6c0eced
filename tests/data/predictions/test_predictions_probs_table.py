"""Tables of probabilities: CSV and Parquet, streaming, logits, and every mistake with its line."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.data.predictions import probs_table, read
from labelwise.errors import DataError

IDS = ("a.jpg", "b.jpg", 'sub/c, "ä".jpg')
GOOD = 'id,cat,dog\na.jpg,0.25,0.75\nb.jpg,1,0\n"sub/c, ""ä"".jpg",0.5,0.5\n'


def table(tmp_path, text=GOOD, ids=IDS, encoding="utf-8", **options):
    path = tmp_path / "probs.csv"
    path.write_bytes(text.encode(encoding))
    return read(path, ids, **options)


def check(found):
    assert (found.task, found.classes, found.missing, found.unknown) == ("classify", ("cat", "dog"), (), ())
    for _ in range(2):
        records = list(found)
        assert [p.id for p in records] == list(IDS)
        assert [p.probs.tolist() for p in records] == [[0.25, 0.75], [1, 0], [0.5, 0.5]]
        assert records[0].probs.dtype == np.float32


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("id,", "FileName ,"),
        'path;cat;dog\na.jpg;0.25;0.75\n\nb.jpg; 1 ;0\n"sub/c, ""ä"".jpg";5e-1;0.5',
        'image\tcat\tdog\na.jpg\t0.25\t0.75\nb.jpg\t1\t0\n"sub/c, ""ä"".jpg"\t0.5\t0.5\n',
    ],
)
def test_csv_in_many_forms(tmp_path, text):
    check(table(tmp_path, text))


def test_csv_in_utf_16(tmp_path):
    check(table(tmp_path, GOOD, encoding="utf-16"))


def test_names_in_composed_and_decomposed_letters(tmp_path):
    check(table(tmp_path, GOOD.replace("ä", "a\u0308")))


def parquet(tmp_path, columns, **options):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "probs.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return read(path, options.pop("ids", IDS), **options)


def test_parquet_by_row_groups(tmp_path):
    columns = {"id": list(IDS), "cat": [0.25, 1.0, 0.5], "dog": np.array([0.75, 0, 0.5], np.float32)}
    check(parquet(tmp_path, columns))
    check(parquet(tmp_path, {**columns, "note": ["x"] * 3}, classes=["cat", "dog"]))
    with pytest.raises(DataError, match=r"line 1: expected a number for each class, found 'x' in column 4"):
        parquet(tmp_path, {**columns, "note": ["x"] * 3})
    with pytest.raises(DataError, match="line 2: expected finite numbers, found nan"):
        parquet(tmp_path, {**columns, "cat": [0.25, None, 0.5]})
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="expected a Parquet file") as error:
        read(tmp_path / "bad.parquet", IDS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_chunks_do_not_show(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(probs_table, "_ROWS", rows)
    check(table(tmp_path))
    with pytest.raises(DataError, match=r"line 4: expected probabilities that sum to 1, found 0.5, 0.6 \(sum 1.1\)"):
        table(tmp_path, GOOD.replace("0.5,0.5", "0.5,0.6"))


def test_rounded_rows_are_made_to_sum_to_1(tmp_path):
    found = table(tmp_path, "id,a,b,c\na.jpg,0.333,0.333,0.333\n")
    assert next(iter(found)).probs.sum() == pytest.approx(1, abs=1e-6)


def test_classes_choose_the_columns_and_their_order(tmp_path):
    found = table(tmp_path, "id,label,dog,cat\na.jpg,cat,0.75,0.25\n", classes=["cat", "dog"])
    assert (found.classes, next(iter(found)).probs.tolist()) == (("cat", "dog"), [0.25, 0.75])
    with pytest.raises(DataError, match="each of 3 classes, found 2 columns without 'fox'"):
        table(tmp_path, classes=["cat", "dog", "fox"])
    with pytest.raises(DataError, match="line 2: expected a number for each class, found 'cat' in column 2"):
        table(tmp_path, "id,label,dog,cat\na.jpg,cat,0.75,0.25\n")


def test_logits_are_refused_unless_declared(tmp_path):
    text = "id,cat,dog\na.jpg,0,0\n"
    with pytest.raises(DataError, match=r"line 2: .*sum to 1, found 0, 0 \(sum 0\); if these are logits, give logits"):
        table(tmp_path, text)
    text += "b.jpg,2.5,-1\n"
    with pytest.raises(DataError, match=r"line 3: expected probabilities of 0 to 1, found 2\.5, -1; .*logits=true"):
        table(tmp_path, text)
    records = list(table(tmp_path, text, logits=True))
    assert records[0].probs.tolist() == [0.5, 0.5]
    assert records[1].probs[0] == pytest.approx(1 / (1 + np.exp(-3.5)))
    huge = next(iter(table(tmp_path, "id,cat,dog\na.jpg,1e6,-1e6\n", logits=True)))
    assert huge.probs.tolist() == [1, 0]


def test_classes_that_stand_alone(tmp_path):
    record = next(iter(table(tmp_path, "id,cat,dog\na.jpg,0.9,0.8\n", independent=True)))
    assert record.independent
    assert record.probs.tolist() == pytest.approx([0.9, 0.8])
    sigmoid = next(iter(table(tmp_path, "id,cat,dog\na.jpg,0,-1000\n", independent=True, logits=True)))
    assert sigmoid.probs.tolist() == [0.5, 0]


def test_what_did_not_join_is_listed(tmp_path):
    text = "id,cat,dog\nx/c.jpg,1,0\na.jpg,1,0\nz.jpg,1,0\na.jpg,0,1\nd.jpg,1,0\n"
    found = table(tmp_path, text, ids=("a.jpg", "1/d.jpg", "2/d.jpg", "gone.jpg"))
    assert (found.unknown, found.duplicates) == (("x/c.jpg", "z.jpg"), ("a.jpg",))
    assert (found.ambiguous, found.missing) == (("d.jpg",), ("1/d.jpg", "2/d.jpg", "gone.jpg"))
    assert next(iter(found)).probs.tolist() == [1, 0]  # the first counts
    assert found.summary() == [
        "3 images without prediction: 1/d.jpg, 2/d.jpg, gone.jpg",
        "2 predictions for no image: x/c.jpg, z.jpg",
        "1 predictions that fit several images, left out: d.jpg",
        "1 repeated predictions, left out: a.jpg",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found an empty file"),
        ("\n \n", "found an empty file"),
        ("id,cat,dog\n", "found only the header"),
        ("cat,dog\n1,0\n", "first column called id"),
        ("a.jpg,0.5,0.5\n", "first column called id"),
        ("id\na.jpg\n", "a column for each class, found none"),
        ("id,cat,cat\na.jpg,1,0\n", "'cat' twice"),
        ("id,cat,\na.jpg,1,0\n", "one without a name"),
        ("id,cat,dog\na.jpg,1\n", "line 2: expected 3 cells, found 2"),
        ("id,cat,dog\na,b.jpg,1,0\n", "line 2: expected 3 cells, found 4; put quotes"),
        ("id,cat,dog\na.jpg,nan,1\n", "line 2: expected finite numbers, found nan"),
        ("id,cat,dog\na.jpg,inf,1\n", "line 2: expected finite numbers, found inf"),
        ("id,cat,dog\na.jpg,,1\n", "line 2: expected a number for each class, found '' in column 2"),
        ("id,cat,dog\na.jpg,1.5,-0.5\n", "line 2: expected probabilities of 0 to 1"),
        ('id,cat,dog\n"a.jpg,1,0\n', "expected CSV in UTF-8"),
        ("id,cat,dog\nnone.jpg,1,0\n", "expected predictions for the images such as 'a.jpg', found none of 1"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, said):
    with pytest.raises(DataError) as error:
        table(tmp_path, text)
    assert said in str(error.value)
    assert "probs.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_bytes(tmp_path):
    path = tmp_path / "probs.csv"
    path.write_bytes(b"id,cat,dog\n\xe9.jpg,1,0\n")
    with pytest.raises(DataError, match="expected CSV in UTF-8, found: other bytes"):
        read(path, IDS)
