"""What is being served: a run, or a folder of images without one; and what does not change of it, read once."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labelwise import config as configuration
from labelwise.cache import default_cache
from labelwise.config import Config
from labelwise.data import images_folder
from labelwise.errors import DataError, RunError
from labelwise.ownership import replace_text
from labelwise.records import Sample
from labelwise.store import Store


@dataclass(frozen=True)
class Beside:
    """What the person gave beside the folder: a file of embeddings, or the backbone that computes them; a model
    that finds images by words; and tables whose columns are shown as metadata."""

    embeddings: Path | None = None
    backbone: str = "edges"
    text: str | None = None
    tables: tuple[Path, ...] = ()


class Served:
    """A run's folder while it is served; another process may be working on the run."""

    def __init__(self, folder: Path, beside: Beside | None = None) -> None:
        if not (folder / "run.db").is_file():
            raise RunError(f"no run in {folder}: expected run.db there; 'labelwise run CONFIG' begins one")
        self.folder = folder
        self.beside = beside or Beside()
        self.store = Store(folder / "run.db")
        self._lock = threading.Lock()
        self.at_end: list[Callable[[], None]] = []

    @cached_property
    def config(self) -> Config:
        """The run's configuration."""
        return configuration.load(self.folder)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name

    @property
    def key(self) -> str:
        """Stands for this run in addresses of pictures that a browser may keep."""
        return _key(str(self.folder.resolve()), self.store.setting("created"))

    @property
    def cache(self) -> Path:
        """Where small pictures and maps are kept."""
        return self.folder / "cache"

    @property
    def samples(self) -> dict[str, Sample]:
        """The run's samples by id: empty until it has taken in its data, the same ones from then on."""
        if not self._samples:
            with self._lock:  # reading many takes seconds, and several requests begin at once
                if not self._samples:
                    self._samples = {sample.id: sample for sample in self.store.samples()}
        return self._samples

    _samples: dict[str, Sample] = {}  # noqa: RUF012 (replaced as a whole)

    @property
    def splits(self) -> dict[str, str]:
        """The split of each sample by its id."""
        if len(self._splits) != len(self.samples):
            self._splits = self.store.splits()
        return self._splits

    _splits: dict[str, str] = {}  # noqa: RUF012 (replaced as a whole)

    def sample(self, id: str) -> Sample:
        """The sample with this id. Raises DataError if there is none: no other file can be asked for."""
        found = self.samples.get(id)
        if found is None:
            raise DataError(f"no image {id!r} in this run")
        return found

    def tags(self) -> dict[str, list[str]]:
        """The ids under each tag."""
        return self.store.tags()

    def tag(self, name: str, ids: Iterable[str]) -> None:
        """Put images under a tag."""
        self.store.tag(name, ids)

    def untag(self, name: str, ids: Iterable[str]) -> None:
        """Take images from a tag."""
        self.store.untag(name, ids)

    def close(self) -> None:
        """End what is under way in the background, and close the store."""
        for end in self.at_end:
            end()
        self.store.close()


class ServedFolder:
    """A folder of images without a run, to be explored; its tags are kept in a file beside it."""

    def __init__(self, folder: Path, beside: Beside | None = None) -> None:
        self.folder = folder
        self.beside = beside or Beside()
        self.listing = images_folder.read(folder)
        self.samples: dict[str, Sample] = {s.id: s for s in sorted(self.listing.samples, key=lambda s: s.id)}
        whole = folder.resolve()
        self.name = whole.name or str(whole)
        self.key = _key(str(whole))
        self.cache = default_cache() / "pages" / self.key
        self.tags_file = whole.with_name(f"{self.name}.tags.json")
        self.at_end: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def sample(self, id: str) -> Sample:
        """The sample with this id. Raises DataError if there is none: no other file can be asked for."""
        found = self.samples.get(id)
        if found is None:
            raise DataError(f"no image {id!r} in this folder")
        return found

    def learned(self, samples: Iterable[Sample]) -> None:
        """Take over what looking into the files told of them: content and size."""
        self.samples = {**self.samples, **{s.id: s for s in samples if s.id in self.samples}}

    def tags(self) -> dict[str, list[str]]:
        """The ids under each tag. Raises DataError if their file is damaged."""
        try:
            tree: Any = json.loads(self.tags_file.read_text(encoding="utf-8"))
            return {str(name): [str(id) for id in ids] for name, ids in tree["tags"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self.tags_file}: expected tags as this page writes them, found: {error}; mend or remove the file"
            ) from None

    def tag(self, name: str, ids: Iterable[str]) -> None:
        """Put images under a tag. Raises DataError if the file of tags cannot be written."""
        with self._lock:
            tags = self.tags()
            tags[name] = sorted({*tags.get(name, ()), *ids})
            self._write(tags)

    def untag(self, name: str, ids: Iterable[str]) -> None:
        """Take images from a tag; one without images is none."""
        with self._lock:
            tags, gone = self.tags(), set(ids)
            left = [id for id in tags.pop(name, ()) if id not in gone]
            self._write(tags | ({name: left} if left else {}))

    def close(self) -> None:
        """End what is under way in the background."""
        for end in self.at_end:
            end()

    def _write(self, tags: Mapping[str, list[str]]) -> None:
        text = json.dumps({"images": self.name, "tags": dict(sorted(tags.items()))}, ensure_ascii=False, indent=1)
        try:
            replace_text(self.tags_file, text + "\n")
        except OSError as error:
            raise DataError(
                f"cannot write the tags to {self.tags_file}: {error.strerror or error}; change the permissions"
            ) from None


def _key(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def opened(folder: Path, beside: Beside | None = None) -> Served | ServedFolder:
    """A run, or a folder of images. Raises RunError or DataError, saying what was expected, for anything else."""
    if (folder / "run.db").is_file():
        return Served(folder, beside)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise RunError(f"{folder}: expected the folder of a run, or of images, found {found}; check the path")
    try:
        return ServedFolder(folder, beside)
    except DataError as error:
        raise RunError(
            f"no run and no images in {folder}: expected run.db there ('labelwise run CONFIG' begins one), or "
            f"pictures: {error}"
        ) from None
