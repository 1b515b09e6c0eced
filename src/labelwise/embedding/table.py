"""The embedding table: vectors on disk, keyed by the content of a file, computed once and shared by all runs.

A table is a folder for one backbone with one preprocessing. ``vectors.f32`` holds rows of ``dim`` float32 (or
``vectors.f16`` of float16: half the room, about three digits), ``keys.bin`` the 16-byte digest of each row's image.
Rows are only ever appended, vectors before keys: a process killed in between leaves a tail without keys, which the next
writer cuts off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from labelwise.errors import DataError

KEY_BYTES = 16
_FILES = {"float32": "vectors.f32", "float16": "vectors.f16"}


class Table:
    """Vectors of ``dim`` numbers by content digest (32 hexadecimal digits).

    A new table stores float32 or, with ``dtype``, float16; an old one keeps what it has. ``dtype`` says which that is.
    """

    def __init__(self, folder: Path, dim: int, about: dict[str, object], *, dtype: str = "float32") -> None:
        assert dtype in _FILES, dtype
        self.folder = folder
        self.dim = dim
        self._lock = FileLock(folder / ".lock")
        described = folder / "table.json"
        if not described.exists():
            with _explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                beside = described.with_suffix(f".{os.getpid()}")
                beside.write_text(
                    json.dumps({"dim": dim, "dtype": dtype, **about}, indent=1, sort_keys=True), encoding="utf-8"
                )
                beside.replace(described)
        kept = json.loads(described.read_text(encoding="utf-8"))
        if (found := kept["dim"]) != dim:
            raise DataError(
                f"{folder} holds vectors of {found} numbers, but the backbone gives {dim}: delete the folder to "
                "compute them anew"
            )
        self.dtype = np.dtype(kept.get("dtype", "float32"))
        self._file = folder / _FILES[self.dtype.name]
        self._rows: dict[str, int] = {}
        self._count = 0  # rows on the disk
        self.refresh()

    def refresh(self) -> None:
        """Take in the rows that other processes have added."""
        keys = self.folder / "keys.bin"
        known = self._count
        if not keys.exists():
            return
        with keys.open("rb") as file:
            file.seek(known * KEY_BYTES)
            new = file.read()
        whole = len(new) // KEY_BYTES
        self._rows.update((new[i * KEY_BYTES : (i + 1) * KEY_BYTES].hex(), known + i) for i in range(whole))
        self._count += whole

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def missing(self, digests: Sequence[str]) -> list[str]:
        """The digests without a vector, each once, in their order."""
        return [d for d in dict.fromkeys(digests) if d not in self._rows]

    def append(self, digests: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors ``(n, dim)`` for ``digests``; digests that have one by now are passed over.

        Raises DataError if the table cannot be written, or if a finite number is too large for float16.
        """
        assert vectors.shape == (len(digests), self.dim), f"{vectors.shape} for {len(digests)} digests, dim {self.dim}"
        keys = [bytes.fromhex(d) for d in digests]
        assert all(len(k) == KEY_BYTES and k.hex() == d for k, d in zip(keys, digests, strict=True)), digests
        with _explained(self.folder), self._lock:
            self.refresh()
            first = {d: i for i, d in reversed(list(enumerate(digests))) if d not in self._rows}
            new = sorted(first.values())
            if not new:
                return
            rows = self._stored(vectors[new])
            _append_at(self._file, self._count * rows[0].nbytes, rows.tobytes())
            _append_at(self.folder / "keys.bin", self._count * KEY_BYTES, b"".join(keys[i] for i in new))
            self._rows.update((digests[i], self._count + j) for j, i in enumerate(new))
            self._count += len(new)

    def _stored(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(vectors, dtype=self.dtype)
        if not np.isfinite(rows[np.isfinite(vectors)]).all():
            raise DataError(
                f"{self.folder} stores float16, but a vector has {np.abs(vectors).max():.3g}, more than 65504: scale "
                "the vectors, or delete the folder and store float32"
            )
        return rows

    def vectors(self) -> NDArray[Any]:
        """All rows, ``(len(self), dim)`` as stored, mapped from disk. Raises DataError if the file has lost some."""
        if not self._count:
            return np.empty((0, self.dim), self.dtype)
        try:
            return np.memmap(self._file, self.dtype, "r", shape=(self._count, self.dim))
        except (OSError, ValueError):
            raise DataError(
                f"{self.folder} is damaged: expected {self._count} vectors in {self._file.name}, found fewer; "
                "delete the folder to compute them anew"
            ) from None

    def lookup(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """The vectors ``(n, dim)`` of these digests, in their order, float32. Raises DataError if one is missing.

        Where the digests follow each other in the table, as those of a folder do, float32 ones stay on the disk.
        """
        try:
            rows = np.fromiter((self._rows[d] for d in digests), np.int64, len(digests))
        except KeyError as error:
            raise DataError(f"no vector for content {error} in {self.folder}: run again to compute it") from None
        stored = self.vectors()
        if len(rows) and stored.dtype == np.float32 and (np.diff(rows) == 1).all():
            return stored[rows[0] : rows[0] + len(rows)]
        return np.asarray(stored[rows], dtype=np.float32)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the embedding table {folder}: {error.strerror or error}; make room, change its permissions "
            "or choose another folder with cache=FOLDER, then run again"
        ) from error


def _append_at(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(position)
        file.seek(position)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
