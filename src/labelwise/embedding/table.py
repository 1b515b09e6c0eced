"""The embedding table: vectors on disk, keyed by the content of a file, computed once and shared by all runs.

A table is a folder for one backbone with one preprocessing. ``vectors.f32`` holds rows of ``dim`` float32, ``keys.bin``
the 16-byte digest of each row's image. Rows are only ever appended, vectors before keys: a process killed in between
leaves a tail without keys, which the next writer cuts off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from labelwise.errors import DataError

KEY_BYTES = 16


def default_cache() -> Path:
    """Where tables lie unless a folder is named: $LABELWISE_CACHE, or the user's cache folder."""
    if own := os.environ.get("LABELWISE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "labelwise"


class Table:
    """Vectors of ``dim`` float32 by content digest (32 hexadecimal digits)."""

    def __init__(self, folder: Path, dim: int, about: dict[str, object]) -> None:
        self.folder = folder
        self.dim = dim
        self._lock = FileLock(folder / ".lock")
        described = folder / "table.json"
        if not described.exists():
            with _explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                beside = described.with_suffix(f".{os.getpid()}")
                beside.write_text(json.dumps({"dim": dim, **about}, indent=1, sort_keys=True), encoding="utf-8")
                beside.replace(described)
        elif (found := json.loads(described.read_text(encoding="utf-8"))["dim"]) != dim:
            raise DataError(
                f"{folder} holds vectors of {found} numbers, but the backbone gives {dim}: delete the folder to "
                "compute them anew"
            )
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

        Raises DataError if the table cannot be written.
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
            rows = np.ascontiguousarray(vectors[new], dtype=np.float32)
            _append_at(self.folder / "vectors.f32", self._count * self.dim * 4, rows.tobytes())
            _append_at(self.folder / "keys.bin", self._count * KEY_BYTES, b"".join(keys[i] for i in new))
            self._rows.update((digests[i], self._count + j) for j, i in enumerate(new))
            self._count += len(new)

    def vectors(self) -> NDArray[np.float32]:
        """All rows, ``(len(self), dim)``, mapped from the disk. Raises DataError if the file has lost some."""
        if not self._count:
            return np.empty((0, self.dim), np.float32)
        try:
            return np.memmap(self.folder / "vectors.f32", np.float32, "r", shape=(self._count, self.dim))
        except (OSError, ValueError):
            raise DataError(
                f"{self.folder} is damaged: expected {self._count} vectors in vectors.f32, found fewer; "
                "delete the folder to compute them anew"
            ) from None

    def lookup(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """The vectors ``(n, dim)`` of these digests, in their order. Raises DataError if one is missing.

        Where the digests follow each other in the table, as those of a folder do, the vectors stay on the disk.
        """
        try:
            rows = np.fromiter((self._rows[d] for d in digests), np.int64, len(digests))
        except KeyError as error:
            raise DataError(f"no vector for content {error} in {self.folder}: run again to compute it") from None
        if len(rows) and (np.diff(rows) == 1).all():
            return self.vectors()[rows[0] : rows[0] + len(rows)]
        return np.asarray(self.vectors()[rows])


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
