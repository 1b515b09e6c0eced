"""Format: class folders. The first folder below the root names the class; pictures lie in it at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labelwise.data.listing import (
    RUN_MARK,
    Listing,
    checked_folder,
    group_rule,
    is_text,
    list_images,
    make_listing,
    shown,
    skipped_folder,
    ungrouped,
)
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target


def read(path: Path | str, *, group: str | None = None) -> Listing:
    """List ``path/<class>/.../<picture>``; classes are the folder names, sorted.

    ``group``: None, "folder" (the parent folder) or a regular expression with one group, searched in the id.
    Problems: ``no_class`` for pictures directly in the root (left out), ``empty_class`` for folders without pictures
    (the class is kept), ``no_group`` where the expression fits only some ids. Raises DataError without any picture in
    a class folder.
    """
    root = checked_folder(path)
    found, problems = list_images(root)
    rule = group_rule(group)
    samples = []
    for id, file in found:
        name, slash, _ = id.partition("/")
        if slash:
            samples.append(Sample(id, file, group=rule(id), target=Target((name,))))
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
    problems += ungrouped(samples, group)
    return make_listing(root, samples, sorted(used | set(empty)), problems)


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
    return Problem(name, "empty_class", message)
