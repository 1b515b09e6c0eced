"""Embeddings as Parquet: a column id and a column embedding, read and written some rows at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.embedding.checks import Array, Vectors, check_rows, chunks, rows_at_a_time
from labelwise.errors import DataError

IDS = ("id", "filenames", "filename", "file_name", "path")
_NUMBERED = re.compile(r"embedding_([0-9]+)")


def read(path: Path) -> tuple[list[str], Vectors]:
    """Read ids and vectors ``(n, d)``; float16 stays float16, all else becomes float32. One array is allocated, and
    beside it only some rows are held."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=1048576, pre_buffer=False) as file:
            count = file.metadata.num_rows
            id_column, columns = _columns(path, file.schema_arrow)
            dtype = _dtype(path, file.schema_arrow, columns)
            ids: list[str] = []
            vectors: Array | None = None
            for batch in file.iter_batches(_batch_rows(file.schema_arrow, columns), columns=[id_column, *columns]):
                block = _block(path, batch, columns, dtype, len(ids), None if vectors is None else vectors.shape[1])
                names = _ids(path, batch.column(id_column), len(ids))
                check_rows(path, block, len(ids), ids=names)
                if vectors is None:
                    vectors = np.empty((count, block.shape[1]), dtype)
                vectors[len(ids) : len(ids) + len(block)] = block
                ids += names
    except pa.ArrowException as error:
        raise DataError(f"{path}: expected a Parquet file, found: {' '.join(str(error).split())[:200]}") from None
    if vectors is None or len(ids) != count:
        raise DataError(f"{path}: expected embeddings, found {len(ids)} of {count} rows")
    return ids, vectors


def write(path: Path, ids: Sequence[str], vectors: Array) -> None:
    """Write a column ``id`` and a column ``embedding`` of lists of one fixed size, a row group for each chunk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.list_(pa.float16() if vectors.dtype == np.float16 else pa.float32(), vectors.shape[1])
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("embedding", kind, nullable=False)])
    # Numbers like these do not shrink: compression and dictionaries would only cost time.
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_statistics=False) as file:
        for start, block in chunks(vectors):
            flat = pa.array(np.ascontiguousarray(block).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, type=kind)
            names = pa.array(ids[start : start + len(block)], pa.string())
            file.write_batch(pa.record_batch([names, lists], schema=schema), row_group_size=len(block))


def _columns(path: Path, schema: Any) -> tuple[str, list[str]]:
    """The column of ids, and ``embedding`` or the columns embedding_0, embedding_1 and so on in their order."""
    import pyarrow.types as types

    found = ", ".join(schema.names[:6]) or "none"
    doubled = {n for n in schema.names if schema.names.count(n) > 1} if len(schema.names) < 10_000 else set()
    if doubled:
        raise DataError(f"{path}: expected each column once, found {sorted(doubled)[0]!r} twice")
    ids = [n for n in IDS if n in schema.names]
    if not ids:
        raise DataError(f"{path}: expected a column id with the images' names, found the columns {found}")
    kind = schema.field(ids[0]).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(kind) or types.is_large_string(kind)):
        raise DataError(f"{path}: expected text in the column {ids[0]}, found {kind}")
    if "embedding" in schema.names:
        return ids[0], ["embedding"]
    numbered = {int(m[1]): n for n in schema.names if (m := _NUMBERED.fullmatch(n))}
    if not numbered:
        raise DataError(f"{path}: expected a column embedding, found the columns {found}")
    if sorted(numbered) != list(range(len(numbered))):
        missing = next(i for i in range(len(numbered)) if i not in numbered)
        raise DataError(f"{path}: expected columns embedding_0 to embedding_N, found none called embedding_{missing}")
    return ids[0], [numbered[i] for i in range(len(numbered))]


def _dtype(path: Path, schema: Any, columns: Sequence[str]) -> Any:
    import pyarrow.types as types

    kinds = set()
    for name in columns:
        kind = schema.field(name).type
        if columns == ["embedding"]:
            if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
                raise DataError(f"{path}: expected a list of numbers in the column {name}, found {kind}")
            kind = kind.value_type
        if not types.is_floating(kind):
            raise DataError(f"{path}: expected float16, float32 or float64 in the column {name}, found {kind}")
        kinds.add(str(kind))
    return np.float16 if kinds == {"halffloat"} else np.float32


def _batch_rows(schema: Any, columns: Sequence[str]) -> int:
    import pyarrow.types as types

    kind = schema.field(columns[0]).type
    known = kind.list_size if types.is_fixed_size_list(kind) else len(columns) if len(columns) > 1 else 1024
    return rows_at_a_time(known)


def _block(path: Path, batch: Any, columns: Sequence[str], dtype: Any, start: int, dim: int | None) -> Array:
    """The vectors of some rows, the first of them row ``start``, of ``dim`` numbers if that is known."""
    if columns != ["embedding"]:
        with np.errstate(over="ignore"):
            return np.stack([_numbers(path, batch.column(c), start).astype(dtype) for c in columns], axis=1)
    lists = batch.column("embedding")
    if lists.null_count:
        row = start + _first(lists.is_null().to_numpy(zero_copy_only=False))
        raise DataError(f"{path}: expected an embedding in every row, found none in row {row}; remove it")
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    dim = int(lengths[0]) if dim is None else dim
    if (odd := lengths != dim).any() or dim == 0:
        row = _first(odd)
        raise DataError(
            f"{path}: expected {dim or 'some'} numbers in every row, found {lengths[row]} in row {start + row}"
        )
    with np.errstate(over="ignore"):
        return np.asarray(_numbers(path, lists.flatten(), start).astype(dtype, copy=False).reshape(-1, dim))


def _numbers(path: Path, values: Any, start: int) -> Array:
    if values.null_count:
        raise DataError(f"{path}: expected numbers, found an empty value after row {start}; mend or remove its row")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _ids(path: Path, values: Any, start: int) -> list[str]:
    if values.null_count:
        row = start + _first(values.is_null().to_numpy(zero_copy_only=False))
        raise DataError(f"{path}: expected an id in every row, found none in row {row}; name the image")
    names: list[str] = values.to_pylist()
    return names


def _first(mask: Array) -> int:
    return int(np.asarray(mask).argmax())
