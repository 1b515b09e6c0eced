"""Predictions that somebody's model made elsewhere: one file per format, joined to images by id, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise import catalog
from labelwise.data.predictions.guess import guess
from labelwise.data.predictions.joining import Classes, PredictionSet, Sizes
from labelwise.errors import DataError

__all__ = ["PredictionSet", "guess", "read", "read_predictions"]


def read(
    path: Path | str,
    ids: Iterable[str],
    *,
    format: str = "auto",
    classes: Classes | None = None,
    sizes: Sizes | None = None,
    **options: Any,
) -> PredictionSet:
    """Read the predictions in ``path`` for the images ``ids`` (paths relative to the images' root, with ``/``).

    ``format``: a name of the catalogue (coco, yolo, probs_table, maps, lightly), a reader of your own
    ("./mine.py:read"), or "auto": what the file looks like. ``classes``: the model's classes in the order of its
    outputs, or a mapping {category id: name}; not needed where the file declares them. ``sizes``: (width, height) in
    pixels of each image as shown; boxes are clipped to them, and yolo needs them. ``options`` are the format's own, see
    docs/predictions.md. Images without prediction, predictions without image, and repeated ones are listed in the
    result: the caller decides.

    Raises DataError, naming the file and the line or entry, for what cannot be read, numbers that are no prediction, or
    if no prediction is for any of the images; ConfigError for an unknown format or option.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: expected a file or folder of predictions, found nothing there; check the path")
    reader = catalog.resolve("predictions", guess(path) if format == "auto" else format)
    checked = catalog.checked_options("predictions", reader, options)
    found: PredictionSet = reader(path, _ids(ids), _classes(classes), sizes, **checked)
    return found


read_predictions = read  # the public name, since "read" alone would say too little beside the other verbs


def _ids(ids: Iterable[str]) -> tuple[str, ...]:
    if isinstance(ids, str):
        raise DataError(f"ids: expected the ids of images, found one text {ids!r}; put it in a list")
    return tuple(dict.fromkeys(ids))


def _classes(classes: Classes | None) -> Classes | None:
    """The declared classes, once they are different names."""
    if classes is None:
        return None
    if isinstance(classes, str):
        raise DataError(f"classes: expected a list of names, found one text {classes!r}; put it in a list")
    names: Sequence[str] = list(classes.values()) if isinstance(classes, Mapping) else list(classes)
    wrong = [name for name in names if not isinstance(name, str) or not name]
    twice = [name for name in names if names.count(name) > 1]
    if not names or wrong or twice:
        found = repr(wrong[0]) if wrong else f"{twice[0]!r} twice" if twice else "none"
        raise DataError(f"classes: expected different names, found {found}; mend the list")
    return dict(classes) if isinstance(classes, Mapping) else tuple(names)
