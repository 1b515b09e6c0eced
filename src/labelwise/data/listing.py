"""What a dataset holds: the Listing, finding pictures in folders, and naming the group of each."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from labelwise.errors import DataError
from labelwise.records import Problem, Sample

# What images.FORMATS opens.
JPEG_AND_PNG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png")
OTHERS = (".gif", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm", ".jp2", ".avif")
EXTENSIONS = frozenset((*JPEG_AND_PNG, *OTHERS))
# Timelapse keeps copies of its tables there, and pictures that people deleted.
SKIPPED_FOLDERS = frozenset({"Backups", "DeletedFiles"})
RUN_MARK = "run.db"  # a folder with this file is a run of labelwise: its thumbnails are no data

Found = list[tuple[str, Path]]


@dataclass(frozen=True, slots=True)
class Camera:
    """What is settled for pictures of cameras that stand somewhere, once their files have been looked at.

    Pictures of one location with at most ``minutes`` between one and the next are one sequence, unless the data name
    sequences. ``group``: "location" or "sequence" becomes the samples' group; None: their groups stay. ``square``:
    crops are made square, for which the pictures' sizes must be known.
    """

    minutes: float = 1.0
    group: str | None = "location"
    square: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of a dataset (sorted by id, each id once), its class names, and the files left out or worth a word.

    ``root`` is the folder that ids are relative to; ``camera`` what is still to be settled, for pictures of cameras.
    Raises DataError if ids repeat or are not sorted.
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]
    camera: Camera | None = None

    def __post_init__(self) -> None:
        for one, two in pairwise(self.samples):
            if one.id >= two.id:
                found = f"found {one.id!r} before {two.id!r}"
                raise DataError(f"{self.root}: expected each id once, in order, {found}; rename one")


def make_listing(
    root: Path,
    samples: Iterable[Sample],
    classes: Iterable[str],
    problems: Iterable[Problem],
    camera: Camera | None = None,
) -> Listing:
    """Sort samples and problems by id and make the Listing."""
    by_id = sorted(samples, key=lambda sample: sample.id)
    return Listing(root, tuple(by_id), tuple(classes), tuple(sorted(problems, key=lambda problem: problem.id)), camera)


def list_images(root: Path | str) -> tuple[Found, list[Problem]]:
    """Find the pictures under a folder, by extension in any case: (id, path) sorted by id, and what had to be left out.

    Ids are paths relative to ``root`` with ``/``. Hidden folders, those that Timelapse keeps copies in (``Backups``,
    ``DeletedFiles``) and run folders are skipped; hidden files are not. Links are followed, each folder once. Files
    without a known extension count only where a table names them. Raises DataError if ``root`` is no folder.
    """
    root = checked_folder(root)
    found: Found = []
    problems: list[Problem] = []
    seen = {_identity(root)}
    folders = [("", str(root))]
    while folders:
        prefix, folder = folders.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(prefix.rstrip("/"), "not_permitted", _unreadable(prefix, error)))
            continue
        if any(entry.name == RUN_MARK for entry in entries):
            continue
        for entry in entries:
            if entry.is_dir():
                if not skipped_folder(entry.name) and (identity := _identity(entry)) not in seen:
                    seen.add(identity)
                    folders.append((f"{prefix}{entry.name}/", entry.path))
            elif has_image_extension(entry.name) and (entry.is_file() or entry.is_symlink()):  # no pipe or socket
                _add(f"{prefix}{entry.name}", entry.path, found, problems)
    found.sort(key=lambda pair: pair[0])
    return found, problems


def has_image_extension(name: str) -> bool:
    """True if the name ends like a picture's, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 (a Path per file would double the time)


def skipped_folder(name: str) -> bool:
    """True for hidden folders and those that other programs keep copies in."""
    return name.startswith(".") or name in SKIPPED_FOLDERS


def shown(name: str) -> str:
    """A file name for a message: as it is, or quoted and escaped where it would break the line."""
    return name if name.isprintable() else ascii(name)


def relative_id(path: str, base: Path) -> str | None:
    """The path relative to the root with ``/``, or None if it lies outside or says nothing."""
    if os.path.isabs(path):  # noqa: PTH117 (no Path: an id keeps its letters)
        path = os.path.relpath(path, base.absolute())
    if re.match(r"^[A-Za-z]:[\\/]|^\\", path):  # another machine's drive or share
        return None
    path = posixpath.normpath(path.replace(os.sep, "/")) if path else ".."
    outside = posixpath.normpath(path.replace("\\", "/")).split("/")[0] in ("..", ".", "")
    return None if outside else path


def existing_id(id: str, base: Path) -> str | None:
    """The id as the file is really called: ``/`` for backslashes, composed or decomposed letters; None if absent."""
    slashed = posixpath.normpath(id.replace("\\", "/"))
    tries = [id, slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)]
    return next((name for name in tries if os.path.isfile(base / name)), None)  # noqa: PTH113 (also false for a name too long)


def checked_folder(path: Path | str) -> Path:
    """Return the path; raises DataError if there is no such folder."""
    path = Path(path)
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"{path}: expected a readable folder, found no permission; change its permissions")
    if path.is_dir():
        return path
    found = "a file" if path.exists() else "nothing there"
    raise DataError(f"{path}: expected a folder of pictures, found {found}; check the path")


def group_rule(group: str | None) -> Callable[[str], str | None]:
    """From the option ``group`` make the function id -> group.

    None: no groups. "folder": the parent folder ("." for the root). Else a regular expression with one group in
    parentheses, searched in the id; ids where it is not found have no group. Raises DataError for an expression that
    cannot be used.
    """
    if group is None:
        return lambda _: None
    if group == "folder":
        return lambda id: id.rpartition("/")[0] or "."
    try:
        pattern = re.compile(group)
    except re.error as error:
        found = f"{group!r} ({error})"
        raise DataError(f"group: expected 'folder' or a regular expression, found {found}; mend it") from None
    if pattern.groups != 1:
        raise DataError(
            f"group: expected an expression with one group in parentheses, found {pattern.groups} in {group!r}; "
            "for example '^(seq[0-9]+)_'"
        )

    def search(id: str) -> str | None:
        match = pattern.search(id)
        return match[1] if match else None

    return search


def ungrouped(samples: list[Sample], group: str | None) -> Iterator[Problem]:
    """Yield one Problem if the option ``group`` fits only some ids; raises DataError if it fits none."""
    alone = [sample.id for sample in samples if sample.group is None]
    if group is None or not alone:
        return
    if len(alone) == len(samples):
        raise DataError(f"group: expected ids that match {group!r}, found none, e.g. {alone[0]!r} does not; mend it")
    message = f"{group!r} does not match {len(alone)} of {len(samples)} ids, e.g. {alone[0]!r}: each is its own group"
    yield Problem(alone[0], "no_group", message)


def _add(id: str, path: str, found: Found, problems: list[Problem]) -> None:
    if is_text(id):
        found.append((id, Path(path)))
    else:
        plain = os.fsencode(id).decode("utf-8", "backslashreplace")
        message = f"{shown(plain)}: expected a file name in UTF-8, found other bytes; rename it"
        problems.append(Problem(plain, "bad_name", message))


def is_text(name: str) -> bool:
    """False for a file name whose bytes are no UTF-8: it could not be stored."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(folder: Path | os.DirEntry[str]) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 (entry.stat() gives no inode on Windows)
    return status.st_dev, status.st_ino


def _unreadable(prefix: str, error: OSError) -> str:
    return f"{shown(prefix or '.')}: expected a readable folder, found: {error.strerror}; change its permissions"
