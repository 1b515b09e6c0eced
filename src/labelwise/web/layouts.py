"""Maps of the vectors: principal components at once, the others by a program of their own, kept by what they map."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.embedding.layout import KEPT, KINDS, flat, lacking, principal
from labelwise.errors import ConfigError, DataError
from labelwise.web.vectors import Vectors

Coordinates = NDArray[np.float32]
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP", "pacmap": "PaCMAP"}


class Layouts:
    """Coordinates of the images by kind of map, kept in ``folder``."""

    def __init__(self, vectors: Vectors, folder: Path) -> None:
        self.vectors, self.folder = vectors, folder
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._pca: tuple[str, Coordinates] | None = None

    def facts(self) -> list[dict[str, Any]]:
        """What can be shown, what is under way, and what is lacking."""
        found: list[dict[str, Any]] = []
        for kind, title in TITLES.items():
            why = "" if kind == "pca" else lacking(kind)
            job = self._jobs.get(kind)
            state = "lacking" if why else "ready" if kind == "pca" or self._file(kind).is_file() else "none"
            facts: dict[str, Any] = {"kind": kind, "title": title, "state": state, "message": why}
            if state == "none" and job is not None:
                facts |= job.facts()
            found.append(facts)
        return found

    def start(self, kind: str) -> None:
        """Begin a map in the background unless it is there or under way. Raises ConfigError, DataError."""
        if kind == "pca":
            return
        if kind not in KINDS:
            raise ConfigError(f"expected a map of {', '.join(TITLES)}, found {kind!r:.40}")
        if why := lacking(kind):
            raise ConfigError(why)
        self.vectors.checked()
        with self._lock:
            job = self._jobs.get(kind)
            if self._file(kind).is_file() or (job is not None and job.state == "working"):
                return
            self._jobs[kind] = _Job(kind, self.vectors, self._file(kind))

    def coordinates(self, kind: str) -> Coordinates:
        """Coordinates ``(n, 2)`` of all images, within -1 to 1, NaN where there is no vector.

        Raises DataError for a map that is not ready, ConfigError for one that nobody knows.
        """
        if kind not in TITLES:
            raise ConfigError(f"expected a map of {', '.join(TITLES)}, found {kind!r:.40}")
        self.vectors.checked()
        if kind == "pca":
            own = self._principal()
        else:
            try:
                own = np.load(self._file(kind), allow_pickle=False)
            except (OSError, ValueError, EOFError):
                raise DataError(f"the map {TITLES[kind]} is not ready: ask for it first") from None
        found = np.full((len(self.vectors.served.samples), 2), np.nan, np.float32)
        found[self.vectors.rows] = _fitted(own)
        return found

    def end(self) -> None:
        """Stop what is under way."""
        for job in self._jobs.values():
            job.end()

    def _principal(self) -> Coordinates:
        with self._lock:
            if self._pca is None or self._pca[0] != self.vectors.digest:
                self._pca = self.vectors.digest, flat(principal(self.vectors.matrix, 2))
            return self._pca[1]

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.vectors.digest or 'none'}-{kind}.npy"


class _Job:
    """One map being made by a program of its own: its libraries would not let this one answer meanwhile."""

    def __init__(self, kind: str, vectors: Vectors, out: Path) -> None:
        self.kind, self.vectors, self.out = kind, vectors, out
        self.state, self.message, self.done, self.total = "working", "", 0, 0
        self.began = time.monotonic()
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        threading.Thread(target=self._run, name=f"labelwise-{kind}", daemon=True).start()

    def facts(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self.began)
        return {
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "seconds": seconds,
        }

    def end(self) -> None:
        self._ended = True
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="labelwise-map-") as place:
                source = Path(place) / "vectors.npy"
                np.save(source, principal(self.vectors.matrix, KEPT))
                self.out.parent.mkdir(parents=True, exist_ok=True)
                self._follow(source)
        except OSError as error:
            self._fail(f"cannot write the map: {error.strerror or error}; make room")

    def _follow(self, source: Path) -> None:
        command = [sys.executable, "-m", "labelwise.embedding.layout", self.kind, str(source), str(self.out.absolute())]
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert process.stdout is not None
        assert process.stdin is not None
        if self._ended:
            process.kill()
        with process.stdout, process.stdin:
            for line in process.stdout:
                with suppress(ValueError):
                    told = json.loads(line)
                    if "wrong" in told:
                        self._fail(told["wrong"])
                    elif "total" in told:
                        self.done, self.total = told["done"], told["total"]
            process.wait()
        if self.state == "working":
            if self.out.is_file():
                self.state = "ready"
            else:
                self._fail(f"it ended before the map was there (code {process.returncode}): memory may be short")

    def _fail(self, why: str) -> None:
        self.state, self.message = "failed", why


def _fitted(own: Coordinates) -> Coordinates:
    """Moved and scaled evenly so that all lie within -1 to 1; a single place lies in the middle."""
    if not len(own):
        return own
    low, high = own.min(axis=0), own.max(axis=0)
    half = float((high - low).max()) / 2
    return np.asarray((own - (low + high) / 2) / (half or 1.0), np.float32)
