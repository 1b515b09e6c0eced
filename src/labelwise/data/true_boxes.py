"""True boxes of many images, checked as they come in, and the listing that they make."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.data.images import header_size
from labelwise.data.listing import (
    Found,
    Listing,
    existing_id,
    group_rule,
    list_images,
    make_listing,
    relative_id,
    shown,
    ungrouped,
)
from labelwise.data.predictions.boxes import SLACK
from labelwise.data.predictions.reading import numbers_of
from labelwise.data.roles import Split
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target

Others = Literal["unlabelled", "leave_out"]
DECIMALS = 6  # of a pixel: what is left of rounding in shares, widths and heights goes, so that formats agree
_LOOKED_AT = 50  # names looked for in each folder where the images may be
_TOLD = {
    "degenerate_boxes": "without area, left out",
    "outside_boxes": "wholly outside the image, left out",
    "clipped_boxes": "that reached outside the image, clipped",
    "duplicate_boxes": "the same as another, counted once",
    "unknown_class": "of an unknown class, left out",
    "crowd": "around a crowd (iscrowd), left out",
    "no_box": "missing where only a mask or other shape is, left out",
    "difficult": "marked as difficult, used like others",
    "rotated_boxes": "with a rotation, the upright box around them used",
    "polygons": "made around polygons or ellipses",
    "masks": "made around masks",
    "confidences": "with a confidence, which was not read: these look like predictions",
}


@dataclass(slots=True)
class _Image:
    """What is said about one image."""

    size: tuple[int, int] | None
    split: Split | None
    names: list[str] = field(default_factory=list)
    corners: list[Sequence[float]] = field(default_factory=list)
    counts: dict[str, tuple[int, str]] = field(default_factory=dict)
    spoiled: bool = False


@dataclass(slots=True)
class TrueBoxes:
    """Annotations of images by id. ``classes``: the declared names, or None for those that occur."""

    classes: tuple[str, ...] | None
    problems: list[Problem] = field(default_factory=list)
    _images: dict[str, _Image] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def begin(self, id: str, size: tuple[int, int] | None = None, split: Split | None = None) -> bool:
        """Say that this image is annotated, perhaps with no box; False, with a problem, if it was begun already."""
        if id in self._images:
            self.tell(id, "repeated", f"{shown(id)}: annotated twice, the first counts; remove one")
            return False
        self._images[id] = _Image(size if size is not None and min(size) > 0 else None, split)
        return True

    def add(self, id: str, name: str, corners: Any) -> None:
        """Add a box: x0, y0, x1, y1 in pixels. A class that was not declared is counted, its box left out.

        Raises ValueError, saying what was expected and found, for anything but four finite numbers.
        """
        values = numbers_of(corners, 4, "a box")
        if self.classes is not None and name not in self.classes:
            self.note(id, "unknown_class", repr(name))
            return
        image = self._images[id]
        image.names.append(name)
        image.corners.append(values)
        self._seen.add(name)

    def note(self, id: str, code: str, example: str = "") -> None:
        """Count a kind of problem of an image."""
        counts = self._images[id].counts
        count, first = counts.get(code, (0, example))
        counts[code] = count + 1, first

    def spoil(self, id: str, what: str) -> None:
        """Say that this image's annotation cannot be read: it counts as unlabelled, whole as it may look."""
        if not self._images[id].spoiled:
            self._images[id].spoiled = True
            self.tell(id, "bad_annotation", f"{shown(id)}: {what}; taken as unlabelled until that is mended")

    def tell(self, id: str, code: str, message: str) -> None:
        """Remember a problem as it is."""
        self.problems.append(Problem(id, code, message))

    def listing(self, root: Path, *, group: str | None, others: Others, found: Found | None = None) -> Listing:
        """The samples below ``root``: those annotated, with their targets, and the others without.

        ``found``: the pictures, where they are known already. Raises DataError if no picture is annotated.
        """
        if found is None:
            found, bad = list_images(root)
            self.problems += bad
        if not self._images:
            first = f", e.g. {self.problems[0].message}" if self.problems else ""
            raise DataError(f"{root}: expected annotated pictures, found none{first}; check the path and images=")
        rule, known = group_rule(group), {id for id, _ in found}
        more = [(id, root / id) for id in self._images if id not in known]  # named, whatever they are called
        samples = []
        for id, file in [*found, *more]:
            image = self._images.get(id)
            if image is None:
                if others == "unlabelled":
                    samples.append(Sample(id, file, group=rule(id)))
                continue
            target = None if image.spoiled else self._target(id, file, image)
            samples.append(Sample(id, file, rule(id), target, size=image.size or (0, 0), split=image.split))
        self.problems += ungrouped(samples, group)
        return make_listing(root, samples, self.classes or sorted(self._seen), self.problems)

    def _target(self, id: str, file: Path, image: _Image) -> Target:
        boxes = np.array(image.corners, np.float64).reshape(-1, 4).round(DECIMALS)
        keep = np.ones(len(boxes), bool)

        def leave_out(code: str, bad: Any) -> None:
            for i in np.flatnonzero(bad & keep):
                self.note(id, code, _box(image.names[i], boxes[i]))
            keep[bad] = False

        leave_out("degenerate_boxes", (boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
        size = (image.size or header_size(file)) if len(boxes) else None
        if size is not None:
            edges = np.array([*size, *size], np.float64)
            leave_out("outside_boxes", (boxes[:, :2] >= edges[:2]).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1))
            inside = boxes.clip(0, edges)
            for i in np.flatnonzero((abs(inside - boxes) > SLACK).any(axis=1) & keep):
                self.note(id, "clipped_boxes", _box(image.names[i], boxes[i]))
            boxes = inside
        leave_out("duplicate_boxes", _repeated(image.names, boxes, keep))
        for code, (count, first) in sorted(image.counts.items()):
            what = f"{count:,} {'box' if count == 1 else 'boxes'} {_TOLD[code]}" + (f", e.g. {first}" if first else "")
            self.tell(id, code, f"{shown(id)}: {what}")
        return Target(tuple(name for name, kept in zip(image.names, keep, strict=True) if kept), boxes[keep])


def place_of(names: Iterable[str], folders: Iterable[Path], wanted: Path) -> Path:
    """The folder in which most of the first names are files; ``wanted`` is named where there are none in any.

    Raises DataError if no name is found anywhere.
    """
    looked = list(islice(names, _LOOKED_AT))
    best, most = None, 0
    tried = list(dict.fromkeys(Path(os.path.normpath(folder)) for folder in folders))
    for folder in tried:
        here = sum(existing_id(name, folder) is not None for name in looked if name)
        if here > most:
            best, most = folder, here
    if best is None and looked:
        raise DataError(
            f"{wanted}: expected its pictures, e.g. {looked[0]!r}, found none in "
            f"{', '.join(str(folder) for folder in tried[:4])}; give images=FOLDER"
        )
    return best or next((folder for folder in tried if folder.is_dir()), tried[0])


def claimed(name: str, folder: Path, root: Path, boxes: TrueBoxes) -> str | None:
    """The id below ``root`` of the picture that an annotation names below ``folder``; None, with a problem, if there is
    no such file or it lies outside."""
    path = relative_id(name, folder)
    if path is None:
        boxes.tell(name, "outside_root", f"{shown(name)}: expected a picture below {folder}; left out")
        return None
    actual = existing_id(path, folder)
    if actual is None:
        boxes.tell(path, "missing", f"{shown(path)}: annotated, but there is no such picture below {folder}; left out")
        return None
    return actual if folder == root else (folder / actual).relative_to(root).as_posix()


def class_names(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The option ``classes``, once it is different names."""
    if classes is None:
        return None
    names = tuple(classes)
    if isinstance(classes, str) or not all(names) or len(set(names)) < len(names) or not names:
        raise DataError(f"data.classes: expected a list of different names, found {classes!r}; mend it")
    return names


def split_of(roles: Mapping[str, Split], name: str | None) -> Split | None:
    """What the images of a named split are for; None where nothing says it."""
    return None if name is None else roles.get(name)


def _repeated(names: Sequence[str], boxes: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True for a kept box that stands already before, with the same class."""
    seen: set[tuple[Any, ...]] = set()
    again = np.zeros(len(boxes), bool)
    for i in np.flatnonzero(keep).tolist():
        key = (names[i], *boxes[i].tolist())
        again[i] = key in seen
        seen.add(key)
    return again


def _box(name: str, corners: NDArray[Any]) -> str:
    return f"{name} ({', '.join(f'{value:g}' for value in corners)})"
