"""What a file of predictions holds, and how the names in it find their images."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from labelwise.data.listing import shown
from labelwise.errors import DataError
from labelwise.records import Prediction, Problem, Task

Classes = Sequence[str] | Mapping[int, str]
Sizes = Mapping[str, tuple[int, int]]

_FIRST = 3  # names that a summary shows


@dataclass(frozen=True, slots=True, eq=False)
class PredictionSet:
    """Predictions joined to images; iterate over it for the records, which are read as they are asked for where big.

    ``classes`` are the declared names in the order of the class axis. Of the ids asked for, ``missing`` have no
    prediction and ``without_detection`` were looked at but nothing was found (they are in the stream, with no boxes).
    Of the names in the file, ``unknown`` fit no image, ``ambiguous`` fit several, ``duplicates`` repeat an image (the
    first counts). ``problems`` are boxes dropped or clipped and the like, one for each kind, with its count.
    """

    task: Task
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    duplicates: tuple[str, ...]
    ambiguous: tuple[str, ...]
    without_detection: tuple[str, ...]
    problems: tuple[Problem, ...]
    stream: Callable[[], Iterator[Prediction]]

    def __iter__(self) -> Iterator[Prediction]:
        return self.stream()

    def __len__(self) -> int:
        return len(self.ids)

    def summary(self) -> list[str]:
        """One line for each thing worth a word: how many, and the first few."""
        told = {
            "images without prediction": self.missing,
            "images without detection": self.without_detection,
            "predictions for no image": self.unknown,
            "predictions that fit several images, left out": self.ambiguous,
            "repeated predictions, left out": self.duplicates,
        }
        lines = [f"{len(names):,} {what}: {listed(names)}" for what, names in told.items() if names]
        return [*lines, *(problem.message for problem in self.problems)]


def listed(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(shown(name) for name in names[:_FIRST]) + (", ..." if len(names) > _FIRST else "")


@dataclass(slots=True)
class Join:
    """Finding the image that a name in a file means, and remembering what did not fit.

    A name means the image whose id it is, with ``/`` or ``\\``, composed or decomposed letters. Else, if it has no
    folder, the image with that base name; else the same without extension. Each of these only if exactly one image
    fits. ``root`` is cut off the beginning of the names first.
    """

    ids: tuple[str, ...]
    root: str = ""
    unknown: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    _taken: dict[str, None] = field(default_factory=dict)
    _exact: frozenset[str] = frozenset()
    _tables: list[dict[str, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._exact = frozenset(self.ids)

    @property
    def taken(self) -> tuple[str, ...]:
        """The ids that have been claimed, in this order."""
        return tuple(self._taken)

    def claim(self, name: str) -> str | None:
        """The id that this name means, once; None, remembering why, if there is none, several, or it is taken."""
        id, several = self.find(name)
        if id is None:
            (self.ambiguous if several else self.unknown).append(name)
        elif id in self._taken:
            self.duplicates.append(name)
            return None
        else:
            self._taken[id] = None
        return id

    def find(self, name: str) -> tuple[str | None, bool]:
        """The id that a name means, or None; and whether several fit."""
        if self.root and name.startswith(self.root.rstrip("/") + "/"):
            name = name[len(self.root.rstrip("/")) + 1 :]
        if name in self._exact:
            return name, False
        key = unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))
        self._tables = self._tables or _tables(self.ids)
        places = self._tables if "/" not in key else self._tables[::2]  # a folder is part of the name
        for table in places:
            if key in table:
                return table[key], table[key] is None
        return None, False

    def take(self, id: str) -> bool:
        """Claim an id itself; False if it is taken."""
        fresh = id not in self._taken
        self._taken[id] = None
        return fresh

    def take_rest(self, path: object) -> list[str]:
        """Claim all that is left, as images in which nothing was found. Raises DataError as ``close``."""
        self._check(path)
        return [id for id in self.ids if self.take(id)]

    def close(
        self,
        path: object,
        task: Task,
        classes: Sequence[str],
        stream: Callable[[], Iterator[Prediction]],
        *,
        without_detection: Sequence[str] = (),
        problems: Sequence[Problem] = (),
    ) -> PredictionSet:
        """The set of what was claimed. Raises DataError if there are predictions but none for any of the images."""
        self._check(path)
        return PredictionSet(
            task,
            tuple(classes),
            self.taken,
            tuple(id for id in self.ids if id not in self._taken),
            tuple(self.unknown),
            tuple(self.duplicates),
            tuple(self.ambiguous),
            tuple(without_detection),
            tuple(problems),
            stream,
        )

    def _check(self, path: object) -> None:
        if (self.unknown or self.ambiguous) and not self._taken:
            strange = [*self.unknown, *self.ambiguous]
            what = f"{strange[0]!r}" + (" fits several" if not self.unknown else "")
            pool = f"such as {self.ids[0]!r}" if self.ids else "(there are none)"
            raise DataError(
                f"{path}: expected predictions for the images {pool}, found none of {len(strange):,} that fit, "
                f"e.g. {what}; check the path, or give root=, the beginning of these names to be cut off"
            )


def _tables(ids: Sequence[str]) -> list[dict[str, str | None]]:
    """Ids by their own names, by base names, and by both without extension."""
    stems = [posixpath.splitext(id)[0] for id in ids]
    return [_only(names, ids) for names in (ids, map(posixpath.basename, ids), stems, map(posixpath.basename, stems))]


def _only(names: Iterable[str], ids: Iterable[str]) -> dict[str, str | None]:
    """The id behind each name, None where several have it."""
    found: dict[str, str | None] = {}
    for name, id in zip(names, ids, strict=True):
        key = unicodedata.normalize("NFC", name)
        found[key] = None if key in found else id
    return found
