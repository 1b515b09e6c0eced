"""Format: class folders. The first folder below the root names the class; pictures lie in it at any depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from labelwise.data.box_writing import Images, Writing, new_folder
from labelwise.data.listing import (
    RUN_MARK,
    Listing,
    checked_folder,
    is_text,
    list_images,
    make_listing,
    shown,
    skipped_folder,
)
from labelwise.data.sequences import placed_if
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target


def read(
    path: Path | str,
    *,
    group: str | None = None,
    location: str | int | None = None,
    sequence_minutes: float | None = None,
) -> Listing:
    """List ``path/<class>/.../<picture>``; classes are the folder names, sorted.

    ``group``: None, "folder" (the parent folder), a regular expression with one group, searched in the id, or as in
    ``labelwise.data.sequences``, as are ``location`` and ``sequence_minutes``. Problems: ``no_class`` for pictures
    directly in the root (left out), ``empty_class`` for folders without pictures (the class is kept), ``no_group``
    where the expression fits only some ids. Raises DataError without any picture in a class folder.
    """
    root = checked_folder(path)
    found, problems = list_images(root)
    samples = []
    for id, file in found:
        name, slash, _ = id.partition("/")
        if slash:
            samples.append(Sample(id, file, target=Target((name,))))
        else:
            problems.append(_no_class(id))
    used = {sample.id.partition("/")[0] for sample in samples}
    empty = sorted(set(_folders(root)) - used)
    if not samples:
        raise DataError(
            f"{root}: expected a folder per class with pictures in it, found {len(problems)} pictures without class "
            f"and {len(empty)} folders without pictures; sort pictures into class folders or use images_folder"
        )
    problems += [_empty(name) for name in empty]
    samples, more, camera = placed_if(samples, location, sequence_minutes, group)
    return make_listing(root, samples, sorted(used | set(empty)), [*problems, *more], camera)


def _folders(root: Path) -> Iterator[str]:
    for entry in root.iterdir():
        wanted = is_text(entry.name) and not skipped_folder(entry.name) and not (entry / RUN_MARK).exists()
        if wanted and entry.is_dir():
            yield entry.name


def _no_class(id: str) -> Problem:
    message = f"{shown(id)}: expected in a class folder, found beside them and left out; move it into its class"
    return Problem(id, "no_class", message)


def _empty(name: str) -> Problem:
    message = f"{shown(name)}/: expected pictures, found none; the class is kept: remove the folder if it is not wanted"
    return Problem("", "empty_class", message)


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write pictures into the new folder ``path``, sorted into a folder for each class; returns what that cannot hold.

    A picture lies at ``class/id``, or at its id where that begins with the class already. ``images``: copy or link.
    Written whole or not at all. Raises DataError for targets that are no class of a whole image, and for class names
    that cannot name a folder.
    """
    if images == "leave":
        raise DataError("class_folders: expected images=copy or link, found leave: the folders are what is written")
    listed = sorted(samples, key=lambda sample: sample.id)
    for sample in listed:
        target = sample.target
        if target is not None and (target.geometry is not None or target.mask is not None or len(target.classes) != 1):
            raise DataError(f"{sample.id}: expected one class of the whole image, found another kind of target")
    known = [(sample, sample.target.classes[0]) for sample in listed if sample.target is not None]
    names = {*classes, *(name for _, name in known)}
    odd = sorted(n for n in names if not n.isprintable() or n != n.strip() or "/" in n or skipped_folder(n) or not n)
    if odd:
        raise DataError(f"{odd[0]!r}: cannot name a folder that is read again; rename the class, or write csv")
    short = [sample.id if sample.id.startswith(f"{name}/") else f"{name}/{sample.id}" for sample, name in known]
    places = short if not Counter(short) - Counter(set(short)) else [f"{name}/{sample.id}" for sample, name in known]
    moved = tuple(replace(sample, id=place) for (sample, _), place in zip(known, places, strict=True))
    with new_folder(path) as folder:
        for name in sorted(names):
            (folder / name).mkdir()
        Writing(moved, tuple(classes)).place(folder, images)
    notes = [note for note in Writing(tuple(listed), tuple(classes)).notes(images) if "unlabelled" not in note]
    if len(known) < len(listed):
        notes.append(f"{len(listed) - len(known):,} unlabelled images are not written: there is no folder for them")
    if any(sample.split in ("test", "unused") for sample, _ in known):
        notes.append("which images are for testing is not written")
    return notes
