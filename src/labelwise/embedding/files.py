"""Files of embeddings: ids and their vectors as Parquet, lightly's CSV, or .npy with a list of ids; read and written.

The suffix decides the format. Reading looks at every number once and holds the vectors once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.listing import is_text, shown
from labelwise.embedding import lightly_csv, parquet
from labelwise.embedding.checks import Array, Vectors, check_ids, check_rows, chunks
from labelwise.errors import DataError

SUFFIXES = (".parquet", ".csv", ".npy")


def read_vectors(path: Path | str) -> tuple[list[str], Vectors]:
    """Read a file of embeddings: its ids, and their vectors ``(n, d)`` in the same order.

    ``.parquet``: a column ``id`` and a column ``embedding`` (a list of numbers) or columns ``embedding_0`` and so on;
    vectors are float32, or float16 if the file holds these. ``.csv``: as lightly writes it, float32. ``.npy``: an array
    ``(n, d)`` of float16, float32 (mapped from the disk, read-only) or float64 (read as float32), with the ids beside
    it, one a line, in a file of the same name that ends in ``.txt`` or ``.csv``.

    Raises DataError with one line that names the file, and the line or row, for anything else: no rows, rows of
    different lengths, numbers that are not finite, ids that are empty or there twice.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], tuple[list[str], Vectors]]] = {
        ".parquet": parquet.read,
        ".csv": lightly_csv.read,
        ".npy": _read_npy,
    }
    suffix = _suffix(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise DataError(f"{path}: expected a file of embeddings, found {found}; 'labelwise embed IMAGES' writes one")
    with _readable(path):
        ids, vectors = readers[suffix](path)
    check_ids(path, ids, *(("line", 2) if suffix == ".csv" else ("row", 0)))
    return ids, vectors


def write_vectors(path: Path | str, ids: Sequence[str], vectors: Array) -> None:
    """Write ids and their vectors ``(n, d)``, float16 or float32, to a file that ``read_vectors`` reads; whole or not
    at all.

    ``.csv`` is written by lightly's rules, every label 0: a comma in an id is refused, for lightly would refuse the
    file. With ``.npy`` the ids are written beside it as ``.txt``. Raises DataError for ids and vectors that could not
    be read back, and for a file that cannot be written.
    """
    path = Path(path)
    suffix = _suffix(path)
    _check_to_write(path, ids, vectors)
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            _write_npy(path, ids, vectors)
        else:
            beside = _beside(path)
            (parquet if suffix == ".parquet" else lightly_csv).write(beside, ids, vectors)
            beside.replace(path)


def check_writable(path: Path | str) -> None:
    """Raises DataError now for a file that could not be written later: another suffix, or no room to begin with."""
    path = Path(path)
    _suffix(path)
    if path.is_dir():
        raise DataError(f"{path}: expected the name of a file to write, found a folder; give another name")
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise DataError(f"cannot write {path}: no permission; change that of {path.parent} or give another file")


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        expected = ", ".join(SUFFIXES)
        raise DataError(f"{path}: expected a file of embeddings ({expected}), found the suffix {suffix!r}; rename it")
    return suffix


def _check_to_write(path: Path, ids: Sequence[str], vectors: Array) -> None:
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32) or len(ids) != len(vectors):
        raise DataError(
            f"{path}: expected ids and as many rows of float16 or float32, found {len(ids)} ids and {vectors.dtype} of "
            f"shape {vectors.shape}"
        )
    if not vectors.size:
        raise DataError(f"{path}: expected vectors to write, found an array of shape {vectors.shape}")
    for id in ids:
        if "\n" in id or "\r" in id or not is_text(id):
            raise DataError(f"{path}: expected ids of one line of text, found {shown(id)}; rename the file")
    check_ids(path, ids)
    for start, block in chunks(vectors):
        check_rows(path, block, start)


# --- npy ----------------------------------------------------------------------------------------------


def _read_npy(path: Path) -> tuple[list[str], Vectors]:
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{path}: expected an array of numbers as numpy.save writes it, found: {_line(error)}"
        ) from None
    if found.ndim != 2 or not found.size:
        raise DataError(f"{path}: expected one vector a row, found an array of shape {found.shape}")
    if found.dtype.kind != "f" or found.dtype.itemsize > 8:
        raise DataError(f"{path}: expected float16, float32 or float64, found {found.dtype}; convert it")
    ids = _ids_of(path)
    if len(ids) != len(found):
        raise DataError(f"{path}: expected one id a row, found {len(found)} rows and {len(ids)} ids beside it")
    native = found.dtype.newbyteorder("=")
    keep = native == found.dtype and found.dtype.itemsize < 8 and bool(found.flags.c_contiguous)
    vectors = found if keep else np.empty(found.shape, np.float32 if native.itemsize == 8 else native)
    for start, block in chunks(found):
        narrow = block if keep else _narrow(block, vectors.dtype)
        check_rows(path, narrow, start)
        if not keep:
            vectors[start : start + len(block)] = narrow
    return ids, vectors


def _narrow(block: Array, dtype: Any) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused by name
        return np.asarray(block.astype(dtype))


def _ids_of(path: Path) -> list[str]:
    """The ids beside an array: lines of a .txt, or the first column of a .csv with a header."""
    text, table = path.with_suffix(".txt"), path.with_suffix(".csv")
    if text.is_file():
        with _readable(text):
            lines = text.read_bytes().decode("utf-8-sig").split("\n")
        return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    if table.is_file():
        with _readable(table):
            return lightly_csv.first_column(table)
    raise DataError(f"{path}: expected the ids beside it, one a line, in {text.name} or {table.name}; found neither")


def _write_npy(path: Path, ids: Sequence[str], vectors: Array) -> None:
    beside, names = _beside(path), path.with_suffix(".txt")
    mapped = np.lib.format.open_memmap(beside, "w+", vectors.dtype, vectors.shape)
    for start, block in chunks(vectors):
        mapped[start : start + len(block)] = block
    mapped.flush()
    del mapped
    beside_names = _beside(names)
    beside_names.write_text("".join(f"{id}\n" for id in ids), encoding="utf-8", newline="\n")
    path.unlink(missing_ok=True)  # killed just here, it must not stand beside the ids of another
    beside_names.replace(names)
    beside.replace(path)


# --- what can go wrong with files ---------------------------------------------------------------------


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected text in UTF-8, found other bytes; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or _line(error)}") from error


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or _line(error)}; make room, change its permissions or give another "
            "file"
        ) from error
    finally:
        for left in (_beside(path), _beside(path.with_suffix(".txt"))):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
