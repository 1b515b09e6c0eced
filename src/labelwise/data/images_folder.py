"""Format: images folder. Unlabelled pictures, flat or nested; the classes are named by the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelwise.data.listing import Listing, checked_folder, list_images, make_listing
from labelwise.data.sequences import placed_if
from labelwise.errors import DataError
from labelwise.records import Sample


def read(
    path: Path | str,
    *,
    classes: Sequence[str] = (),
    group: str | None = None,
    location: str | int | None = None,
    sequence_minutes: float | None = None,
) -> Listing:
    """List every picture under ``path`` without labels.

    ``classes``: the names an annotator may choose from, kept in this order. ``group``: None, "folder" (the parent
    folder), a regular expression with one group, searched in the id, or as in ``labelwise.data.sequences``, as are
    ``location`` and ``sequence_minutes``. Raises DataError without pictures or with a
    class name empty or repeated.
    """
    root = checked_folder(path)
    _check_classes(classes)
    found, problems = list_images(root)
    if not found:
        raise DataError(f"{root}: expected pictures (.jpg, .png, ...), found none; check the path")
    samples, more, camera = placed_if([Sample(*one) for one in found], location, sequence_minutes, group)
    return make_listing(root, samples, classes, [*problems, *more], camera)


def _check_classes(classes: Sequence[str]) -> None:
    if isinstance(classes, str):
        raise DataError(f"classes: expected a list of names, found the text {classes!r}; write [{classes}]")
    for name in classes:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"classes: expected names, found {name!r}; put quotes around it or remove it")
        if list(classes).count(name) > 1:
            raise DataError(f"classes: expected each name once, found {name!r} twice; remove one")
