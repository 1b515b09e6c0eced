"""The embedding table: found again, torn tails, two writers, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.embedding.table import KEY_BYTES, Table
from labelwise.errors import DataError


def digest(number):
    return hashlib.blake2b(str(number).encode(), digest_size=KEY_BYTES).hexdigest()


def vector(number, dim=3):
    return np.random.default_rng(number).normal(size=dim).astype(np.float32)


def add(table, numbers):
    table.append([digest(n) for n in numbers], np.array([vector(n, table.dim) for n in numbers]))


def holds(table, numbers):
    found = table.lookup([digest(n) for n in numbers])
    return found.dtype == np.float32 and np.array_equal(found, np.array([vector(n, table.dim) for n in numbers]))


def test_vectors_are_found_again_in_any_order_and_by_a_new_object(tmp_path):
    table = Table(tmp_path / "t", 3, {"backbone": "x"})
    assert len(table) == 0
    assert table.lookup([]).shape == (0, 3)
    add(table, [1, 2])
    add(table, [3])
    assert holds(table, [3, 1, 1, 2])
    assert holds(Table(tmp_path / "t", 3, {}), [2, 3, 1])
    assert table.missing([digest(5), digest(1), digest(4), digest(5)]) == [digest(5), digest(4)]
    assert table.vectors().shape == (3, 3)


def test_a_digest_that_comes_twice_is_kept_once(tmp_path):
    table = Table(tmp_path, 3, {})
    add(table, [1, 1, 2, 1])
    table.append([digest(2), digest(3)], np.array([vector(9), vector(3)]))
    assert len(table) == 3
    for other in (table, Table(tmp_path, 3, {})):
        assert holds(other, [1, 2, 3])
        add(other, [4])
        other.refresh()
        assert holds(other, [1, 2, 3, 4])
    assert (tmp_path / "keys.bin").stat().st_size == 4 * KEY_BYTES


@pytest.mark.parametrize("vectors", [1, 5])
@pytest.mark.parametrize("key_bytes", [0, 7])
def test_a_torn_tail_is_cut_off(tmp_path, vectors, key_bytes):
    add(Table(tmp_path, 3, {}), [1, 2])
    # A process was killed after it wrote vectors, and perhaps the beginning of their keys.
    with (tmp_path / "vectors.f32").open("ab") as file:
        file.write(b"\xff" * (12 * vectors - 5))
    with (tmp_path / "keys.bin").open("ab") as file:
        file.write(b"\xff" * key_bytes)
    table = Table(tmp_path, 3, {})
    assert len(table) == 2
    assert holds(table, [1, 2])
    add(table, [3, 4])
    assert holds(Table(tmp_path, 3, {}), [1, 2, 3, 4])


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from labelwise.embedding import table as tables
written = tables._append_at
def append(path, position, data):
    if path.name == "keys.bin":
        os.kill(os.getpid(), signal.SIGKILL)
    written(path, position, data)
tables._append_at = append
tables.Table(Path(sys.argv[1]), 3, {}).append(["ab" * 16], np.ones((1, 3), np.float32))
"""


def test_a_kill_between_vectors_and_keys_loses_only_that_batch(tmp_path):
    add(Table(tmp_path, 3, {}), [1, 2])
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "vectors.f32").stat().st_size == 36
    table = Table(tmp_path, 3, {})
    assert len(table) == 2
    add(table, [3])
    assert holds(table, [1, 2, 3])


WRITER = """
import hashlib, sys
import numpy as np
from pathlib import Path
from labelwise.embedding.table import Table
table = Table(Path(sys.argv[1]), 3, {})
first = int(sys.argv[2])
for n in range(first, first + 60, 2):
    digests = [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in (n, n + 1)]
    table.append(digests, np.array([np.random.default_rng(i).normal(size=3).astype(np.float32) for i in (n, n + 1)]))
"""


def test_two_processes_may_append_at_once(tmp_path):
    table = Table(tmp_path, 3, {})
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in (0, 20)]
    add(table, range(100, 130))
    assert [p.wait(60) for p in running] == [0, 0]
    table.refresh()
    assert len(table) == 80 + 30
    assert holds(table, [*range(80), *range(100, 130)])
    assert holds(Table(tmp_path, 3, {}), range(80))


def test_what_is_not_there_or_does_not_fit(tmp_path):
    table = Table(tmp_path, 3, {})
    add(table, [1])
    with pytest.raises(DataError, match="no vector for content"):
        table.lookup([digest(1), digest(2)])
    with pytest.raises(DataError, match="delete the folder"):
        Table(tmp_path, 4, {})
    with pytest.raises(AssertionError):
        table.append([digest(3)], np.ones((1, 4), np.float32))
    with pytest.raises(AssertionError):
        table.append(
            [
                "",
            ],
            np.ones((1, 3), np.float32),
        )
    with pytest.raises(AssertionError):
        table.append([digest(3).upper()], np.ones((1, 3), np.float32))
    assert len(Table(tmp_path, 3, {})) == 1


def test_a_table_that_has_lost_vectors_says_so(tmp_path):
    add(Table(tmp_path, 3, {}), [1, 2])
    os.truncate(tmp_path / "vectors.f32", 12)
    with pytest.raises(DataError, match="is damaged"):
        Table(tmp_path, 3, {}).lookup([digest(1)])
    (tmp_path / "vectors.f32").unlink()
    with pytest.raises(DataError, match="is damaged"):
        Table(tmp_path, 3, {}).lookup([digest(1)])


def test_a_place_that_cannot_be_written_is_one_line_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cache=FOLDER"):
        Table(tmp_path / "file" / "t", 3, {})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_whatever_is_appended_is_found(tmp_path_factory, batches, reopened):
    folder = tmp_path_factory.mktemp("table")
    table = Table(folder, 2, {})
    for batch, anew in zip(batches, reopened, strict=False):
        table = Table(folder, 2, {}) if anew else table
        if batch:
            add(table, batch)
    known = sorted({n for batch in batches for n in batch})
    assert len(table) == len(known)
    if known:
        assert holds(table, known)
        assert holds(Table(folder, 2, {}), known[::-1])


def test_half_the_size_where_a_new_table_is_to_store_float16(tmp_path):
    table = Table(tmp_path, 3, {}, dtype="float16")
    add(table, [1, 2])
    add(Table(tmp_path, 3, {}), [3])  # an old table keeps what it stores
    again = Table(tmp_path, 3, {}, dtype="float32")
    assert again.vectors().dtype == np.float16
    assert (tmp_path / "vectors.f16").stat().st_size == 3 * 3 * 2
    found = again.lookup([digest(n) for n in (3, 1)])
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array([vector(3), vector(1)]).astype(np.float16))
    with pytest.raises(DataError, match="more than 65504"):
        again.append([digest(4)], np.full((1, 3), 1e5, np.float32))
    assert len(Table(tmp_path, 3, {})) == 3


def test_a_table_from_before_there_was_a_choice_stores_float32(tmp_path):
    add(Table(tmp_path, 3, {}), [1])
    (tmp_path / "table.json").write_text('{"dim": 3}')
    assert Table(tmp_path, 3, {}, dtype="float16").dtype == np.float32


def test_what_lies_together_stays_on_the_disk(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", 2, {})
    digests = [f"{i:032x}" for i in range(6)]
    table.append(digests, np.arange(12, dtype=np.float32).reshape(6, 2))
    assert isinstance(table.lookup(digests[1:4]), np.memmap)
    np.testing.assert_array_equal(table.lookup(digests[1:4]), [[2, 3], [4, 5], [6, 7]])
    mixed = table.lookup([digests[4], digests[0], digests[4]])
    assert not isinstance(mixed, np.memmap)
    np.testing.assert_array_equal(mixed, [[8, 9], [0, 1], [8, 9]])
    assert table.lookup([]).shape == (0, 2)
    assert digests[5] in table
    assert f"{7:032x}" not in table
