"""Joining the paths that a camera-trap table or JSON names to the pictures of a folder: separators, letters, and a
root that was another one where it was written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from labelwise.data.listing import list_images, shown
from labelwise.data.matching import match_names
from labelwise.errors import DataError
from labelwise.records import Problem

VIDEOS = frozenset({".asf", ".avi", ".mov", ".mp4", ".m4v", ".mpg", ".mpeg", ".mkv", ".wmv"})
_TRIED = 400  # names that decide where the root lies


@dataclass(slots=True)
class Folder:
    """The pictures below a root by id, and what is found wrong while names are joined to them."""

    root: Path
    files: dict[str, Path]
    problems: list[Problem] = field(default_factory=list)
    dropped: int = 0  # leading folders of names that are not below the root
    added: str = ""  # folders of the root that names lack
    named: set[str] = field(default_factory=set)  # ids that were joined

    def note(self, id: str, code: str, message: str) -> None:
        """Note a problem; the message follows the id."""
        self.problems.append(Problem(id, code, f"{shown(id)}: {message}"))

    def join(self, name: str) -> str | None:
        """The id of the picture that a name means, each once; None, with a problem, for a video or a name that means
        none or one that came before."""
        slashed = name.strip().replace("\\", "/")
        place = self.added + (slashed.split("/", self.dropped)[-1] if self.dropped else slashed)
        id = place if place in self.files else match_names([place], self.files, None)[0].get(place)
        if id is None:
            if Path(slashed).suffix.lower() in VIDEOS:
                self.note(slashed, "video", "a video; left out, only pictures are read")
            else:
                self.note(slashed, "missing", f"expected the picture below {self.root}, found no file; left out")
            return None
        if id in self.named:
            self.note(id, "repeated", "named again; the first counts")
            return None
        self.named.add(id)
        return id

    def others(self) -> list[str]:
        """The ids that no name meant."""
        return [id for id in self.files if id not in self.named]


def folder_of(root: Path, names: Iterable[str]) -> Folder:
    """The pictures below ``root``, and how ``names`` are to be read as paths below it.

    Names may have been written for a folder above the root (their first folders are then dropped), or below it; the
    first names decide. Raises DataError if the root holds no picture.
    """
    found, problems = list_images(root)
    if not found:
        raise DataError(f"{root}: expected the pictures below this folder, found none; say where they are with images")
    folder = Folder(root, dict(found), problems)
    tried = [name.strip().replace("\\", "/") for name in islice(names, _TRIED)]
    counts = {0: _fitting(tried, 0, folder.files)}
    deepest = max((name.count("/") for name in tried), default=0)
    if tried and not counts[0]:
        counts |= {drop: _fitting(tried, drop, folder.files) for drop in range(1, deepest + 1)}
        best = max(counts, key=lambda drop: (counts[drop], -drop))
        if counts[best]:
            folder.dropped = best
            lost = "/".join(tried[0].split("/")[:best])
            message = f"names begin with {lost!r}, which is not below {root}: read without it"
            folder.problems.append(Problem("", "other_root", message))
        elif (added := _above(tried, folder.files)) is not None:
            folder.added = added
            message = f"names are paths below {added!r}: read as such"
            folder.problems.append(Problem("", "other_root", message))
    return folder


def _fitting(names: Sequence[str], drop: int, files: Mapping[str, Path]) -> int:
    return sum(name.split("/", drop)[-1] in files for name in names if name.count("/") >= drop)


def _above(names: Sequence[str], files: Mapping[str, Path]) -> str | None:
    """The one folder that names are relative to, where the root is above it."""
    wanted = {name for name in names if not re.match(r"^([A-Za-z]:|/)", name)}
    ends: Counter[str] = Counter()
    for id in files:
        parts = id.split("/")
        for start in range(1, len(parts)):
            if "/".join(parts[start:]) in wanted:
                ends["/".join(parts[:start]) + "/"] += 1
    best = ends.most_common(2)
    # Names such as IMG_1.JPG that fit in several folders decide nothing.
    clear = bool(best) and (len(best) == 1 or best[0][1] > best[1][1])
    return best[0][0] if clear else None
