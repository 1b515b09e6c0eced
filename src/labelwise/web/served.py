"""The run that is being served: its store, and what does not change of it, read once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from labelwise import config as configuration
from labelwise.config import Config
from labelwise.errors import DataError, RunError
from labelwise.records import Sample
from labelwise.store import Store


class Served:
    """A run's folder while it is served; another process may be working on the run."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "run.db").is_file():
            raise RunError(f"no run in {folder}: expected run.db there; 'labelwise run CONFIG' begins one")
        self.folder = folder
        self.store = Store(folder / "run.db")

    @cached_property
    def config(self) -> Config:
        """The run's configuration."""
        return configuration.load(self.folder)

    @property
    def samples(self) -> dict[str, Sample]:
        """The run's samples by id: empty until it has taken in its data, the same ones from then on."""
        if not self._samples:
            self._samples = {sample.id: sample for sample in self.store.samples()}
        return self._samples

    _samples: dict[str, Sample] = {}  # noqa: RUF012 (replaced as a whole)

    def sample(self, id: str) -> Sample:
        """The sample with this id. Raises DataError if there is none: no other file can be asked for."""
        found = self.samples.get(id)
        if found is None:
            raise DataError(f"no image {id!r} in this run")
        return found
