"""Answers that people gave in Timelapse: rows of a .ddb or an exported CSV, and which open query each answers."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labelwise.annotators import SKIP, named
from labelwise.data.crops import file_of
from labelwise.data.predictions.joining import listed
from labelwise.data.timelapse import Rows, read_rows
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target

if TYPE_CHECKING:
    from labelwise.annotators.found import Asked, Found, Names

NOT_SELECTED = "not_selected"  # the problem that Timelapse does not show what is asked
_IRRELEVANT = frozenset({"no_time"})  # problems of a table that say nothing about answers


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a Timelapse project calls things: the columns of answers and of the selection, and the words that mean that
    nobody can tell. ``root`` is the folder that Timelapse opens; None: paths are the run's ids. An image with several
    species (Timelapse duplicates its row) stays open, or is skipped (``several``)."""

    species: str = "Species"
    selected: str = "Selected"
    skip: tuple[str, ...] = ("unknown", "unsure")
    root: Path | None = None
    several: Literal["open", "skip"] = "open"


class Places:
    """The images of a run by their paths from Timelapse's folder, with ``/``; several samples may lie in one image."""

    def __init__(self, samples: Mapping[str, Sample], root: Path | None) -> None:
        self._exact: dict[str, list[str]] = {}
        self.outside: list[str] = []
        self.path_of: dict[str, str] = {}
        folders: dict[str, str | None] = {}
        for id, sample in samples.items():
            path = _path_from(sample, root, folders)
            if path is None:
                self.outside.append(id)
                continue
            self.path_of[id] = path
            self._exact.setdefault(_form(path), []).append(id)
        self._folded: dict[str, list[str]] | None = None
        self.refolded: list[str] = []  # names that fit in other letter case only

    def find(self, path: str) -> list[str]:
        """The samples in the image of this path; in another letter case if only one image fits then."""
        key = _form(path)
        if key in self._exact:
            return self._exact[key]
        if self._folded is None:
            self._folded = {}
            for exact in self._exact:
                self._folded.setdefault(exact.casefold(), []).append(exact)
        alike = self._folded.get(key.casefold(), [])
        if len(alike) != 1:
            return []
        self.refolded.append(path)
        return self._exact[alike[0]]


def _path_from(sample: Sample, root: Path | None, folders: dict[str, str | None]) -> str | None:
    """The path of a sample's image from the root, with ``/``; None if it lies outside."""
    if root is None:
        return file_of(sample)
    folder, name = os.path.split(sample.path)
    if folder not in folders:  # once a folder, since it is slow
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        folders[folder] = None if below == ".." or below.startswith("../") else "" if below == "." else f"{below}/"
    prefix = folders[folder]
    return None if prefix is None else prefix + name


def _form(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)


@dataclass(slots=True)
class _Said:
    """What the rows about one open image say: their count, and the rows of each label."""

    rows: int = 0
    ticked: bool = False
    labels: dict[str, list[int]] = field(default_factory=dict)


def read_timelapse(place: Path, asked: Asked, names: Names, found: Found) -> None:
    """Read the species of open images from a .ddb or CSV, joined by RelativePath and File.

    Rows that say the same count once; an image with two different species stays open, as does one without. A species
    in other letter case is the class. Raises DataError for a table without the column of the species.
    """
    sheet = asked.sheet or Sheet()
    table = read_rows(place)
    column = _column(table, sheet.species)
    found.problems += [problem for problem in table.problems if problem.code not in _IRRELEVANT]
    places = Places(asked.samples, _root_for(place, asked, sheet))
    said = _sorted_out(table, column, sheet.selected, places, asked, names, found)
    default = next((c.default for c in table.controls if c.data_label == column), "")
    _answers(said, asked, sheet, default.strip(), found)
    _tell(place.name, said, places, found)
    if table.controls and sheet.selected in table.columns:
        _tell_selection(place.name, said, sheet.selected, found)


def _root_for(place: Path, asked: Asked, sheet: Sheet) -> Path | None:
    """The folder that rows are seen from: as it is set, or that of a .ddb where the run's images lie below it."""
    if sheet.root is not None or place.suffix.lower() != ".ddb":
        return sheet.root
    folder = place.parent.absolute()
    return folder if all(s.path.absolute().is_relative_to(folder) for s in list(asked.samples.values())[:1]) else None


def _column(table: Rows, wanted: str) -> str:
    alike = [name for name in table.columns if name.casefold() == wanted.casefold()]
    if wanted in table.columns or len(alike) == 1:
        return wanted if wanted in table.columns else alike[0]
    raise DataError(
        f"{table.path}: expected the column {wanted!r}, found {', '.join(table.columns)}; name the column of the "
        "species with annotator.species"
    )


def _sorted_out(
    table: Rows, column: str, selected: str, places: Places, asked: Asked, names: Names, found: Found
) -> dict[str, _Said]:
    """What is said about each open image; the names of other rows that carry a label are remembered."""
    said = {query.sample_id: _Said() for query in asked.queries}
    ever, never, strange = asked.ever, list[str](), list[str]()
    for row in table.rows:
        label = row.values[column]
        ids = places.find(names.cut(row.id))
        if not ids:
            (names.join.unknown if label else strange).append(row.id)
            continue
        open_ids = [id for id in ids if id in said]
        if label and not open_ids:
            (never if ever is not None and not any(id in ever for id in ids) else names.settled).append(row.id)
        for id in open_ids:
            said[id].rows += 1
            said[id].ticked |= row.values.get(selected, "").casefold() == "true"
            if label:
                said[id].labels.setdefault(label, []).append(row.number)
    if never:
        message = f"{len(never):,} images have a species but were not asked: not taken ({listed(never)})"
        found.problems.append(Problem("", "not_asked", message))
    found.rows = (len(table.rows) - len(strange) - len(names.join.unknown), len(strange) + len(names.join.unknown))
    return said


def _answers(said: Mapping[str, _Said], asked: Asked, sheet: Sheet, default: str, found: Found) -> None:
    """The target of each image that is answered, and why others are not."""
    meaning = _Meaning(asked.classes, sheet.skip)
    if not named(asked.classes):  # of spellings that differ in case alone the commonest is the class
        spellings = Counter(label for what in said.values() for label in what.labels)
        meaning.learn(label for label, _ in spellings.most_common())
    untouched, skipped, recased = list[str](), list[str](), set[str]()
    for id, what in said.items():
        labels = dict(what.labels)
        if default and labels.pop(default, None) is not None and not labels:
            untouched.append(id)
        meanings: dict[str | None, str] = {}
        for label in labels:
            meanings.setdefault(meaning.of(label), label)
        if len(meanings) > 1 and sheet.several == "skip":
            found.targets[id] = None
            skipped.append(id)
        elif len(meanings) > 1:
            both = " and ".join(f"{label!r} (row {what.labels[label][0]})" for label in list(meanings.values())[:3])
            found.refuse(id, f"expected one species, found {both}")
        elif meanings:
            ((name, label),) = meanings.items()
            found.targets[id] = None if name is None else Target((name,))
            recased |= {label} if name not in (None, label) else set()
    if skipped:
        found.problems.append(Problem("", "several", f"{len(skipped):,} images with several species are skipped"))
    if untouched:
        message = (
            f"{len(untouched):,} images show {default!r}, the default of the template: it cannot be told from an "
            "answer, they stay open; clear the default in the Template Editor"
        )
        found.problems.append(Problem("", "default", message))
    if recased:
        shown = ", ".join(f"{label!r} is {meaning.of(label)!r}" for label in sorted(recased))
        found.problems.append(Problem("", "letter_case", f"taken in spite of another letter case: {shown}"))


class _Meaning:
    """What a label means: a class, None to skip the image, or itself where the run does not know it."""

    def __init__(self, classes: Iterable[str], skip: Collection[str]) -> None:
        self._classes = set(classes)
        folded: dict[str, list[str]] = {}
        for name in classes:
            folded.setdefault(_plain(name), []).append(name)
        self._folded = {key: names[0] for key, names in folded.items() if len(names) == 1}
        self._skip = {SKIP, *map(_plain, skip)}

    def learn(self, names: Iterable[str]) -> None:
        """Take names as classes, of those that differ in letter case or spaces alone the first."""
        for name in names:
            if (key := _plain(name)) not in self._skip:
                self._folded.setdefault(key, name)

    def of(self, label: str) -> str | None:
        """The meaning of one label."""
        key = _plain(label)
        if label in self._classes:
            return label
        if key in self._folded:
            return self._folded[key]
        return None if key in self._skip else label


def _plain(name: str) -> str:
    """A name without what does not matter in it: letter case, and more than one space."""
    return " ".join(name.split()).casefold()


def _tell(file: str, said: Mapping[str, _Said], places: Places, found: Found) -> None:
    """Count what a person should know of the rows."""
    missing = [id for id, what in said.items() if not what.rows]
    repeated = [id for id, what in said.items() if what.rows > 1 and len(what.labels) < 2]
    for ids, code, what in (
        (missing, "no_row", f"asked images have no row in {file}"),
        (repeated, "repeated", "images have several rows that do not contradict each other, counted once"),
        (places.refolded, "letter_case", "files are named in another letter case, and taken for the same"),
    ):
        if ids:
            found.problems.append(Problem("", code, f"{len(ids):,} {what}: {listed(ids)}"))


def _tell_selection(file: str, said: Mapping[str, _Said], selected: str, found: Found) -> None:
    """Say so where Timelapse does not show all that is asked."""
    hidden = [id for id, what in said.items() if what.rows and not what.ticked and not what.labels]
    if hidden:
        how = "choose Select > All files, then import the round's selection.csv"
        message = f"{len(hidden):,} asked images are not {selected} in {file}: {how} ({listed(hidden)})"
        found.problems.append(Problem("", NOT_SELECTED, message))
