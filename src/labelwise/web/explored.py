"""What the room explore knows of what is served: columns, vectors, maps, tags; kept until the run has moved on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.catalog import suggest
from labelwise.errors import DataError, LabelwiseError
from labelwise.results.candidates import kept_candidates
from labelwise.web.columns import Column, Known, run_columns, sample_columns
from labelwise.web.layouts import Layouts
from labelwise.web.served import Served, ServedFolder
from labelwise.web.tables import table_columns
from labelwise.web.vectors import Vectors

_LEAST_AGE = 2.0  # seconds: a run that is being answered moves on all the time
Ids = Iterable[str]


class Explored:
    """One served run or folder, looked at as a whole."""

    def __init__(self, served: Served | ServedFolder) -> None:
        self.served = served
        self.vectors = Vectors(served)
        self.layouts = Layouts(self.vectors, served.cache / "maps")
        self.warnings: list[str] = []
        self._lock = threading.Lock()
        self._state: tuple[Any, ...] = ()
        self._looked = 0.0
        self._version = 0
        self._columns: dict[str, Column] = {}

    def ids(self) -> list[str]:
        """The ids of all images, in the order that rows are counted in."""
        return list(self.served.samples)

    def columns(self) -> tuple[int, dict[str, Column]]:
        """All columns by name, and a number that changes when they do."""
        with self._lock:
            state = self._now()
            rested = isinstance(self.served, ServedFolder) or time.monotonic() - self._looked > _LEAST_AGE
            if not self._columns or (state != self._state and rested):
                self._columns = self._made()
                self._version += 1
                self._state, self._looked = state, time.monotonic()
            return self._version, self._columns

    def column(self, name: str) -> Column:
        """The column of a name. Raises DataError if there is none."""
        _, columns = self.columns()
        if name not in columns:
            raise DataError(f"no column {name!r:.80}: {suggest(name, columns) if columns else 'there are none yet'}")
        return columns[name]

    def rows(self, ids: Ids) -> NDArray[np.int64]:
        """The rows of these images, in order, each once; ids that mean none are left out."""
        row_of = {id: i for i, id in enumerate(self.served.samples)}
        return np.array(sorted({row_of[id] for id in ids if id in row_of}), np.int64)

    def known(self, ids: Ids) -> list[str]:
        """Those of the ids that mean an image, in their order, each once. Raises DataError if an id means none."""
        wanted = list(dict.fromkeys(ids))
        lost = [id for id in wanted if id not in self.served.samples]
        if lost:
            raise DataError(f"{len(lost):,} of {len(wanted):,} images are not here; the first: {lost[0]!r:.200}")
        return wanted

    def end(self) -> None:
        """Stop what is under way in the background."""
        self.vectors.end()
        self.layouts.end()

    def _now(self) -> tuple[Any, ...]:
        """What changes when the run moves on; of a folder, when its files have been looked into."""
        if isinstance(self.served, ServedFolder):
            return (self.vectors.state,)
        stamps: list[Any] = [len(self.served.samples)]
        for name in ("run.db", "run.db-wal"):
            try:
                found = (self.served.folder / name).stat()
                stamps.append((found.st_mtime_ns, found.st_size))
            except OSError:
                stamps.append(None)
        return tuple(stamps)

    def _made(self) -> dict[str, Column]:
        samples = list(self.served.samples.values())
        if not samples:
            return {}
        found = run_columns(self._known(self.served)) if isinstance(self.served, Served) else sample_columns(samples)
        self.warnings = []
        for table in self.served.beside.tables:
            try:
                found += table_columns(table, [s.id for s in samples])
            except LabelwiseError as error:
                self.warnings.append(" ".join(str(error).split()))
        named: dict[str, Column] = {}
        for column in found:
            named.setdefault(column.name, column)
        return named

    def _known(self, served: Served) -> Known:
        store = served.store
        return Known(
            list(served.samples.values()),
            served.splits,
            store.classes(),
            store.queries(),
            store.annotations(),
            kept_candidates(served.folder),
            served.config.annotator.name == "oracle",
        )
