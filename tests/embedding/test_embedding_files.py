"""Files of embeddings: what is written comes back, what lightly reads and writes is read, and one line for the rest."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwise.embedding import checks
from labelwise.embedding.files import SUFFIXES, check_writable, read_vectors, write_vectors
from labelwise.errors import DataError

HEAD = "filenames,embedding_0,embedding_1,labels\n"
NAMES = st.text(st.characters(exclude_characters="\n\r,", exclude_categories=["Cs"]), min_size=1, max_size=12)


def one_line(path: Path, *parts: str) -> None:
    with pytest.raises(DataError) as error:
        read_vectors(path)
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    for part in parts:
        assert part in message, message


def table(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@settings(max_examples=40, deadline=None)
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES), dtype=st.sampled_from([np.float16, np.float32]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str, dtype: type) -> None:
    ids = data.draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    width = 16 if dtype is np.float16 else 32
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=width)
    vectors = data.draw(hnp.arrays(dtype, (len(ids), data.draw(st.integers(1, 5))), elements=numbers))
    path = tmp_path_factory.mktemp("f") / f"x{suffix}"
    write_vectors(path, ids, vectors)
    found, back = read_vectors(path)
    assert found == ids
    assert back.dtype == (np.float32 if suffix == ".csv" else dtype)
    np.testing.assert_array_equal(back.astype(dtype), vectors)
    assert not [p for p in path.parent.iterdir() if "partial" in p.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(checks, "CHUNK_BYTES", 3 * 4 * 7)
    vectors = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    ids = [f"a/{i}.jpg" for i in range(50)]
    path = tmp_path / f"x{suffix}"
    write_vectors(path, ids, vectors)
    if suffix == ".parquet":
        assert pq.ParquetFile(path).metadata.num_row_groups == 17
    found, back = read_vectors(path)
    assert found == ids
    np.testing.assert_array_equal(back, vectors)


def test_lightly_reads_ours_and_we_read_its(tmp_path: Path) -> None:
    io = pytest.importorskip("lightly.utils.io")
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ids = ["a.jpg", "b/ä ö.png", 'q"uote.png', "with space.jpg", "5.jpg"]
    write_vectors(tmp_path / "ours.csv", ids, vectors)
    found, labels, names = io.load_embeddings(str(tmp_path / "ours.csv"))
    assert names == ids
    assert labels == [0] * 5
    np.testing.assert_array_equal(found.astype(np.float32), vectors)
    io.save_embeddings(str(tmp_path / "its.csv"), vectors.astype(np.float64), [1, 2, 3, 4, 5], ids)
    back_ids, back = read_vectors(tmp_path / "its.csv")
    assert back_ids == ids
    np.testing.assert_array_equal(back, vectors)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwriting_is_whole_or_not_at_all(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"x{suffix}"
    write_vectors(path, ["a"], np.ones((1, 2), np.float32))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "labelwise.embedding.files._write_npy" if suffix == ".npy" else Path,
        *([full] if suffix == ".npy" else ["replace", full]),
    )
    with pytest.raises(DataError, match="No space left"):
        write_vectors(path, ["b"], np.zeros((1, 2), np.float32))
    ids, vectors = read_vectors(path)
    assert (ids, vectors.tolist()) == (["a"], [[1.0, 1.0]])
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


# --- lightly's CSV ------------------------------------------------------------------------------------


def test_commas_labels_and_odd_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        '\ufefffilenames,embedding_1,masked,embedding_0,labels,more\n"a,b.jpg",1,0,2,7,x\nc.jpg,-3e-2,1,4,,\n',
        encoding="utf-8",
    )
    ids, vectors = read_vectors(path)
    assert ids == ["a,b.jpg", "c.jpg"]
    np.testing.assert_array_equal(vectors, np.array([[2, 1], [4, -0.03]], np.float32))
    path.write_text("filename,embedding_0\nx,1\n")
    assert read_vectors(path)[0] == ["x"]


def test_old_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes((HEAD + "a,1,2,0\nb,3,4,0").replace("\n", "\r\n").encode())
    assert read_vectors(path)[1].tolist() == [[1, 2], [3, 4]]
    path.write_bytes((HEAD + "a,1,2,0\nb,3,4,0\n").replace("\n", "\r").encode())
    assert read_vectors(path)[1].tolist() == [[1, 2], [3, 4]]


CSV_MISTAKES = {
    "empty": ("", ("line 1", "empty")),
    "header only": (HEAD, ("no rows",)),
    "blanks": ("filenames, embedding_0,labels\na,1,0\n", ("line 1", "' embedding_0'")),
    "wrong first": ("images,embedding_0,labels\na,1,0\n", ("line 1", "filenames", "'images'")),
    "semicolons": ("filenames;embedding_0;labels\na;1;0\n", ("line 1", "filenames;embedding_0")),
    "wrong column": ("filenames,embedding_0,x,labels\na,1,1,0\n", ("line 1", "'x'")),
    "no numbers": ("filenames,labels\na,0\n", ("line 1", "embedding_0")),
    "a gap": ("filenames,embedding_0,embedding_2,labels\na,1,1,0\n", ("embedding_1",)),
    "doubled": ("filenames,embedding_0,embedding_0,labels\na,1,1,0\n", ("'embedding_0' twice",)),
    "ragged": (HEAD + "a,1,2,0\nb,1,0\n", ("line 3", "4 fields", "3 fields")),
    "another size": (HEAD + "a,1,2,0\nb,1,2,3,0\n", ("line 3", "5 fields")),
    "empty line": (HEAD + "a,1,2,0\n\nb,1,2,0\n", ("line 3", "empty line")),
    "a word": (HEAD + "a,1,two,0\n", ("line 2", "'two'")),
    "nothing": (HEAD + "a,1,,0\n", ("line 2", "''")),
    "nan": (HEAD + "a,1,2,0\nb,nan,1,0\n", ("line 3", "nan", "(b)")),
    "too large": (HEAD + "a,1,1e39,0\n", ("line 2", "inf")),
    "no name": (HEAD + ",1,2,0\n", ("line 2", "an id")),
    "twice": (HEAD + "a,1,2,0\nb,1,2,0\na,3,4,0\n", ("a in lines 2 and 4",)),
}


@pytest.mark.parametrize("what", CSV_MISTAKES)
def test_a_mistake_in_a_csv_is_one_line(tmp_path: Path, what: str) -> None:
    text, parts = CSV_MISTAKES[what]
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    one_line(path, *parts)


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    one_line(path, "UTF-8")
    path.write_text(HEAD + "a,1," + "2" * (csv.field_size_limit() + 1) + ",0\n")
    one_line(path, "line 2", "field larger")


def test_a_comma_is_refused_for_lightly_only(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a,b\.jpg: lightly's CSV forbids a comma"):
        write_vectors(tmp_path / "x.csv", ["a,b.jpg"], np.ones((1, 2), np.float32))
    assert list(tmp_path.iterdir()) == []
    write_vectors(tmp_path / "x.parquet", ["a,b.jpg"], np.ones((1, 2), np.float32))
    assert read_vectors(tmp_path / "x.parquet")[0] == ["a,b.jpg"]


# --- Parquet ------------------------------------------------------------------------------------------


def test_other_layouts(tmp_path: Path) -> None:
    expected = [[1, 2], [3, 4]]
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2)):
        path = table(tmp_path / "x.parquet", more=[0, 0], id=["a", "b"], embedding=pa.array(expected, kind))
        ids, vectors = read_vectors(path)
        assert ids == ["a", "b"]
        assert vectors.dtype == (np.float16 if "halffloat" in str(kind) else np.float32)
        assert vectors.tolist() == expected
    path = table(tmp_path / "y.parquet", embedding_1=[2.0, 4.0], filenames=["a", "b"], embedding_0=[1.0, 3.0])
    assert read_vectors(path)[1].tolist() == expected
    coded = pa.array(["a", "b"]).dictionary_encode()
    path = table(tmp_path / "z.parquet", id=coded, embedding=pa.array(expected, pa.list_(pa.float32(), 2)))
    assert read_vectors(path)[0] == ["a", "b"]


def test_one_large_row_group_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHUNK_BYTES", 4 * 4 * 3)
    vectors = np.arange(80, dtype=np.float32).reshape(20, 4)
    for kind in (pa.list_(pa.float32(), 4), pa.list_(pa.float32())):
        path = table(tmp_path / "x.parquet", id=[str(i) for i in range(20)], embedding=pa.array(vectors.tolist(), kind))
        np.testing.assert_array_equal(read_vectors(path)[1], vectors)


LISTS = pa.list_(pa.float32())
PARQUET_MISTAKES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "no id": ({"embedding": pa.array([[1.0]], LISTS)}, ("column id", "embedding")),
    "ids of numbers": ({"id": [1], "embedding": pa.array([[1.0]], LISTS)}, ("text", "int64")),
    "no embedding": ({"id": ["a"], "x": [1]}, ("column embedding", "id, x")),
    "a gap": ({"id": ["a"], "embedding_0": [1.0], "embedding_2": [1.0]}, ("embedding_1",)),
    "text": ({"id": ["a"], "embedding": ["1 2"]}, ("list of numbers", "string")),
    "whole numbers": ({"id": ["a"], "embedding": [[1]]}, ("float32", "int64")),
    "ragged": ({"id": ["a", "b"], "embedding": pa.array([[1.0, 2.0], [1.0]], LISTS)}, ("2 numbers", "1 in row 1")),
    "no list": ({"id": ["a", "b"], "embedding": pa.array([[1.0], None], LISTS)}, ("row 1",)),
    "empty lists": ({"id": ["a"], "embedding": pa.array([[]], LISTS)}, ("row 0",)),
    "no number": ({"id": ["a"], "embedding": pa.array([[1.0, None]], LISTS)}, ("empty value",)),
    "nan": ({"id": ["a", "b"], "embedding": pa.array([[1.0], [float("nan")]], LISTS)}, ("nan", "row 1")),
    "twice": ({"id": ["a", "a"], "embedding": pa.array([[1.0], [2.0]], LISTS)}, ("a in rows 0 and 1",)),
    "no name": ({"id": ["a", None], "embedding": pa.array([[1.0], [2.0]], LISTS)}, ("id", "row 1")),
    "no rows": ({"id": pa.array([], pa.string()), "embedding": pa.array([], LISTS)}, ("0 rows",)),
}


@pytest.mark.parametrize("what", PARQUET_MISTAKES)
def test_a_mistake_in_parquet_is_one_line(tmp_path: Path, what: str) -> None:
    columns, parts = PARQUET_MISTAKES[what]
    one_line(table(tmp_path / "x.parquet", **columns), *parts)


def test_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    for content in (b"", b"PAR1", b"filenames,embedding_0\n"):
        path.write_bytes(content)
        one_line(path)
    table(path, id=["a"], embedding=pa.array([[1.0]], LISTS))
    path.write_bytes(path.read_bytes()[:-10])
    one_line(path)


# --- npy ----------------------------------------------------------------------------------------------


def test_ids_beside_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, 4]], np.float64))
    one_line(tmp_path / "x.npy", "x.txt", "x.csv")
    (tmp_path / "x.csv").write_text('filenames,labels\n"a,1",0\nb,0\n')
    ids, vectors = read_vectors(tmp_path / "x.npy")
    assert (ids, vectors.dtype, vectors.tolist()) == (["a,1", "b"], np.float32, [[1, 2], [3, 4]])
    (tmp_path / "x.txt").write_bytes("ä b\r\nc\u2028d\r\n".encode())
    assert read_vectors(tmp_path / "x.npy")[0] == ["ä b", "c\u2028d"]
    (tmp_path / "x.txt").write_text("a\n")
    one_line(tmp_path / "x.npy", "2 rows", "1 ids")


def test_an_array_is_mapped_not_copied(tmp_path: Path) -> None:
    write_vectors(tmp_path / "x.npy", ["a"], np.ones((1, 2), np.float32))
    assert isinstance(read_vectors(tmp_path / "x.npy")[1], np.memmap)


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.ones(3, np.float32), "shape"),
        (np.ones((0, 3), np.float32), "shape"),
        (np.ones((1, 3), np.int64), "int64"),
        (np.array([[1, np.nan]], np.float32), "nan in row 0"),
        (np.array([[1, 1e300]]), "inf in row 0"),
        (np.array([["a"]], object), "Python objects"),
    ],
)
def test_a_mistake_in_an_array_is_one_line(tmp_path: Path, array: np.ndarray, part: str) -> None:
    np.save(tmp_path / "x.npy", array)
    (tmp_path / "x.txt").write_text("a\n")
    one_line(tmp_path / "x.npy", part)


def test_no_array(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"")
    one_line(tmp_path / "x.npy", "numpy.save")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00")
    one_line(tmp_path / "x.npy")


# --- any ----------------------------------------------------------------------------------------------


def test_what_is_no_file_of_embeddings(tmp_path: Path) -> None:
    one_line(tmp_path / "x.parquet", "nothing there", "labelwise embed")
    one_line(tmp_path / "x.pkl", ".parquet, .csv, .npy", "'.pkl'")
    one_line(tmp_path / "x", "''")
    (tmp_path / "d.csv").mkdir()
    one_line(tmp_path / "d.csv", "a folder")


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        (["a"], np.ones((2, 2), np.float32)),
        (["a"], np.ones((1, 2))),
        (["a"], np.ones(1, np.float32)),
        ([], np.ones((0, 2), np.float32)),
        (["a"], np.ones((1, 0), np.float32)),
        (["a", "a"], np.ones((2, 2), np.float32)),
        ([""], np.ones((1, 2), np.float32)),
        (["a\nb"], np.ones((1, 2), np.float32)),
        (["a\udcff"], np.ones((1, 2), np.float32)),
        (["a"], np.array([[1, np.inf]], np.float32)),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, ids: list[str], vectors: np.ndarray) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(DataError, match=r"x\.") as error:
            write_vectors(tmp_path / f"x{suffix}", ids, vectors)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.csv", tmp_path):
        with pytest.raises(DataError):
            check_writable(path)
    with pytest.raises(DataError, match="cannot write"):
        write_vectors(tmp_path / "file" / "x.csv", ["a"], np.ones((1, 2), np.float32))
    check_writable(tmp_path / "new" / "x.npy")
