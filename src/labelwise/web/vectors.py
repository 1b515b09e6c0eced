"""The vectors behind the map and behind similar images: from a file, from the run, or computed in the background."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelwise.cache import default_cache
from labelwise.data.ahead import read_ahead
from labelwise.data.images import header_size
from labelwise.embedding.files import read_vectors
from labelwise.embedding.table import Table
from labelwise.errors import ConfigError, DataError, LabelwiseError
from labelwise.models import texts
from labelwise.models.frozen import VECTORS
from labelwise.models.texts import TextModel
from labelwise.parts import cache_folder
from labelwise.records import Sample
from labelwise.selection.picks import chunks
from labelwise.web.served import Served, ServedFolder

if TYPE_CHECKING:
    from labelwise.embedding.extractor import Extractor

Floats = NDArray[np.float32]
_BLOCK = 8192


class _Ended(Exception):
    """The page was closed while vectors were computed."""


class Vectors:
    """The vectors ``matrix`` ``(m, d)`` of the images at ``rows`` ``(m,)``, counted in the order of the ids.

    ``state`` is "none", "working", "ready" or "failed"; ``message`` says what is done or went wrong, ``source`` where
    the vectors come from.
    """

    def __init__(self, served: Served | ServedFolder) -> None:
        self.served = served
        self.state, self.message, self.source = "none", "", ""
        self.done, self.total = 0, 0
        self.rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self.matrix: NDArray[Any] = np.zeros((0, 0), np.float32)
        self.digest = ""
        self.words = TextModel(served.beside.text) if served.beside.text else None
        self._ending = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Find the vectors in the background, unless that is done or under way; without images there is nothing to
        find yet."""
        with self._lock:
            if self.state != "none" or not self.served.samples:
                return
            self.state, self.message = "working", "looking for the vectors of the images"
        threading.Thread(target=self._find, name="labelwise-vectors", daemon=True).start()

    def end(self) -> None:
        """Stop computing; what is done is kept."""
        self._ending.set()

    def facts(self) -> dict[str, Any]:
        """How far it is, for the page."""
        return {
            "state": self.state,
            "message": self.message,
            "source": self.source,
            "done": self.done,
            "total": self.total,
            "images": len(self.rows),
            "dim": int(self.matrix.shape[1]),
        }

    def checked(self) -> None:
        """Raises DataError unless the vectors are there."""
        if self.state != "ready":
            raise DataError(f"the vectors of the images are not there: {self.message or 'they are being looked for'}")

    def distances(self, ids: Sequence[str]) -> Floats:
        """For every image the Euclidean distance to the nearest of these; NaN for those without a vector.

        Raises DataError if none of these has one.
        """
        self.checked()
        at = self.positions(ids)
        if not len(at):
            raise DataError("none of these images has a vector")
        found = np.full(len(self.served.samples), np.nan, np.float32)
        found[self.rows] = nearest(self.matrix, self.matrix[at])
        return found

    def far_from(self, text: str) -> Floats:
        """For every image 1 - cosine to a text; NaN for those without a vector. Raises ConfigError without a model."""
        if self.words is None:
            raise ConfigError("no model finds images by words: 'labelwise serve' takes one with --text")
        self.checked()
        found = np.full(len(self.served.samples), np.nan, np.float32)
        found[self.rows] = texts.distances(self.matrix, self.words.vector(text))
        return found

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Where in the matrix the vectors of these images are; those without one are left out."""
        row_of = {id: i for i, id in enumerate(self.served.samples)}
        wanted = np.array(sorted({row_of[id] for id in ids if id in row_of}), np.int64)
        at = np.searchsorted(self.rows, wanted)
        inside = at < len(self.rows)
        found: NDArray[np.int64] = at[inside][self.rows[at[inside]] == wanted[inside]]
        return found

    def _find(self) -> None:
        try:
            rows, matrix = self._found()
            order = np.argsort(rows, kind="stable")
            self.rows = rows[order]
            self.matrix = matrix if (np.diff(order) == 1).all() else matrix[order]
            self.digest = _digest(self.rows, self.matrix)
            lacking = len(self.served.samples) - len(rows)
            self.message = f"{lacking:,} images have no vector" if lacking else ""
            self.state = "ready"
        except _Ended:
            self.state = "none"
        except LabelwiseError as error:
            self.message, self.state = " ".join(str(error).split()), "failed"
        except Exception as error:  # a thread's end must be told: the page waits for it
            self.message, self.state = f"the vectors cannot be had: {' '.join(str(error).split())}", "failed"

    def _found(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        file = self.served.beside.embeddings
        if file is not None:
            self.source = file.name
            return self._from_file()
        if isinstance(self.served, ServedFolder):
            return self._of_folder(self.served)
        return self._of_run(self.served)

    def _from_file(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        file = self.served.beside.embeddings
        assert file is not None
        ids, vectors = read_vectors(file)
        row_of = {id: i for i, id in enumerate(self.served.samples)}
        at = np.array([i for i, id in enumerate(ids) if id in row_of], np.int64)
        if not len(at):
            raise DataError(
                f"{file}: expected vectors of these images, found none: the first image is {next(iter(row_of))!r}, the "
                f"first vector {ids[0]!r}"
            )
        rows = np.array([row_of[ids[i]] for i in at], np.int64)
        return rows, vectors if len(at) == len(ids) else vectors[at]

    def _of_run(self, served: Served) -> tuple[NDArray[np.int64], NDArray[Any]]:
        samples = list(served.samples.values())
        table = None if self.words else _kept_table(served)
        if table is not None and not table.missing([s.content for s in samples]):
            self.source = f"the run's model ({served.config.model.options.get('backbone', served.config.model.name)})"
        else:
            from labelwise.embedding.extractor import fill

            extractor = self._extractor()
            table = extractor.table(cache_folder(served.config))
            missing = set(table.missing([s.content for s in samples]))
            first: dict[str, Sample] = {s.content: s for s in samples if s.content in missing}
            if first:
                fill(table, list(first.values()), extractor, threads=_threads(), progress=self._progress)
        return np.arange(len(samples)), table.lookup([s.content for s in samples])

    def _of_folder(self, served: ServedFolder) -> tuple[NDArray[np.int64], NDArray[Any]]:
        from labelwise.embedding.intake import take_in

        extractor = self._extractor()
        table = extractor.table(default_cache())
        samples = list(served.samples.values())
        good, bad = take_in(samples, extractor, table, threads=_threads(), progress=self._progress)
        if not good:
            raise DataError(f"no image can be read ({len(bad)} cannot): {bad[0].message}")
        served.learned(read_ahead(good, _sized, threads=_threads(), window=256))
        row_of = {id: i for i, id in enumerate(served.samples)}
        return np.array([row_of[s.id] for s in good], np.int64), table.lookup([s.content for s in good])

    def _extractor(self) -> Extractor:
        """Computes vectors where there are none: the model of the words, or the backbone."""
        from labelwise.embedding.extractor import make_extractor

        self.source = self.served.beside.text or self.served.beside.backbone
        return self.words.extractor() if self.words else make_extractor(backbone=self.served.beside.backbone)

    def _progress(self, done: int, total: int, what: str) -> None:
        if self._ending.is_set():
            raise _Ended
        self.done, self.total, self.message = done, total, f"computing vectors ({what})"


def nearest(matrix: NDArray[Any], others: NDArray[Any]) -> Floats:
    """For each row of ``matrix`` ``(m, d)`` the Euclidean distance to the nearest of ``others`` ``(k, d)``, k > 0."""
    points = others.astype(np.float32)
    squares = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    found = np.empty(len(matrix), np.float32)
    for part in chunks(len(matrix), _BLOCK):
        block = matrix[part].astype(np.float32)
        own = np.einsum("ij,ij->i", block, block, dtype=np.float64)
        least = np.full(len(block), np.inf)
        for some in chunks(len(points), 1024):
            least = np.minimum(least, (squares[some] - 2.0 * (block @ points[some].T)).min(axis=1))
        # What is lost by subtracting large squares is no distance.
        gap = np.maximum(least + own, 0)
        found[part] = np.sqrt(np.where(gap < 1e-6 * own, 0, gap))
    return found


def _kept_table(served: Served) -> Table | None:
    try:
        about = json.loads((served.folder / "model" / VECTORS).read_text(encoding="utf-8"))
        folder = served.folder / about["folder"]  # an absolute one stays what it is
        return Table(folder, int(about["dim"]), {}) if (folder / "table.json").is_file() else None
    except (OSError, ValueError, KeyError, TypeError, LabelwiseError):
        return None


def _digest(rows: NDArray[np.int64], matrix: NDArray[Any]) -> str:
    found = hashlib.blake2b(digest_size=12)
    found.update(f"{matrix.shape} {matrix.dtype}".encode())
    found.update(np.ascontiguousarray(rows).data)
    for part in chunks(len(matrix), _BLOCK):
        found.update(np.ascontiguousarray(matrix[part]).data)
    return found.hexdigest()


def _sized(sample: Sample) -> Sample:
    """A sample with its size, which is not known where its vector was."""
    return sample if all(sample.size) else replace(sample, size=header_size(sample.path) or (0, 0))


def _threads() -> int:
    return os.cpu_count() or 1
