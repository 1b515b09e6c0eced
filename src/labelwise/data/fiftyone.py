"""Format: FiftyOne. The samples of a dataset in FiftyOne's database, their labels in one field, splits in tags."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelwise.cache import default_cache
from labelwise.catalog import suggest
from labelwise.data.fiftyone_database import open_dataset, open_view
from labelwise.data.images import header_size
from labelwise.data.listing import Listing, group_rule, make_listing, shown, ungrouped
from labelwise.data.masks import empty_mask, write_mask
from labelwise.data.roles import Split, named_split, roles_of
from labelwise.data.true_boxes import Others, TrueBoxes, class_names
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target

_SPLITS = ("train", "val", "test")


def read(
    path: Path | str,
    *,
    dataset: str | None = None,
    field: str = "ground_truth",
    view: str | None = None,
    classes: list[str] | None = None,
    splits: dict[str, Split] | None = None,
    split_field: str | None = None,
    group: str | None = None,
    group_field: str | None = None,
    others: Others = "unlabelled",
    converted: Path | None = None,
    write_back: str | None = "labelwise",
) -> Listing:
    """List the images of a FiftyOne dataset with the labels in ``field``; ids are paths below the folder around all.

    ``path``: the dataset's name (or say it in ``dataset``, where it cannot be a path). ``field``: a Classification,
    Detections or Segmentation; an image without value is unlabelled, Detections without box are a known truth.
    ``view``: a saved view. ``classes``: their names in order; by default the dataset's, else all that occur, sorted.
    Splits are the tags train, val and test, those in ``splits``, or the values of ``split_field``; groups the values of
    ``group_field``, the groups of a grouped dataset, or as ``group`` says. Masks are converted to class indices once,
    in ``converted`` (default: the user's cache folder). ``write_back`` begins the names of the fields and tags that a
    run writes into the dataset after each round; null: none.

    Problems: those of boxes (see coco), ``missing``, ``repeated``. Raises
    DataError without database, dataset, field or image, ConfigError without FiftyOne.
    """
    found = open_dataset(dataset or Path(path).name)
    samples: Any = found if view is None else open_view(found, view)
    rows = _Rows(samples, found, field, split_field, group_field)
    kind = rows.kind
    names = class_names(classes) or _classes(found, field, kind)
    if kind == "Detections":
        return _detections(rows, names, splits, group, others)
    return _others(rows, names, splits, group, others, converted or default_cache() / "fiftyone")


class _Rows:
    """The columns of a dataset that are read, one value a sample: files, splits, groups and the labels."""

    def __init__(
        self, samples: Any, dataset: Any, field: str, split_field: str | None, group_field: str | None
    ) -> None:
        if dataset.media_type == "group":
            samples = samples.select_group_slices(media_type="image")
            group_field = group_field or f"{dataset.group_field}.id"
        if samples.media_type not in ("image", None):
            raise DataError(f"FiftyOne dataset {dataset.name!r}: expected images, found {samples.media_type}")
        self.samples, self.field, self.name = samples, field, dataset.name
        self.schema = samples.get_field_schema()
        self.kind = self._kind()
        self.paths = [os.path.abspath(path) for path in samples.values("filepath")]  # noqa: PTH100
        if not self.paths:
            raise DataError(f"FiftyOne dataset {self.name!r}: expected images, found no sample")
        self.root = Path(os.path.commonpath([os.path.dirname(path) for path in self.paths]))  # noqa: PTH120
        self.ids = [Path(os.path.relpath(path, self.root)).as_posix() for path in self.paths]
        self.tags: list[list[str]] = [tags or [] for tags in samples.values("tags")]
        self.splits = None if split_field is None else self._column("split_field", split_field)
        self.groups = None if group_field is None else self._column("group_field", group_field)

    def _kind(self) -> str:
        """The type of the labels; empty where no sample has any."""
        if self.field not in self.schema:
            if self.field != "ground_truth":
                raise DataError(f"data.field: {self.name} has no field: {suggest(self.field, self.schema)}")
            return ""
        document = getattr(self.schema[self.field], "document_type", None)
        kind = document.__name__ if document is not None else type(self.schema[self.field]).__name__
        if kind not in ("Classification", "Detections", "Segmentation"):
            raise DataError(
                f"data.field: expected a Classification, Detections or Segmentation in {self.field!r}, found {kind}"
            )
        return kind

    def _column(self, key: str, field: str) -> list[str | None]:
        if field.partition(".")[0] not in self.schema:
            raise DataError(f"data.{key}: {self.name} has no field {field!r}: {suggest(field, self.schema)}")
        return [None if value is None else str(value) for value in self.samples.values(field)]

    def values(self, inner: str) -> list[Any]:
        """A part of each sample's labels."""
        return list(self.samples.values(f"{self.field}.{inner}")) if self.kind else [None] * len(self.ids)


def _classes(dataset: Any, field: str, kind: str) -> tuple[str, ...] | None:
    """The declared classes, if there are any."""
    if kind == "Segmentation":
        return tuple(_mask_targets(dataset, field).values()) or None
    return tuple(dict.fromkeys(dataset.classes.get(field) or dataset.default_classes or ())) or None


def _mask_targets(dataset: Any, field: str) -> dict[int, str]:
    targets = dataset.mask_targets.get(field) or dataset.default_mask_targets or {}
    return {int(value): str(name) for value, name in sorted(targets.items()) if str(value).isdigit()}


def _roles(rows: _Rows, splits: Mapping[str, Split] | None) -> list[Split | None]:
    """What each sample is for, as its tags or its field say."""
    wanted = set(splits) if splits is not None else None
    said: list[list[str]] = [[] if s is None else [s] for s in rows.splits] if rows.splits is not None else rows.tags
    all_named = {name for names in said for name in names}
    usual = {name for name in all_named if named_split(name) in _SPLITS}
    names = sorted(all_named & wanted if wanted is not None else usual)
    roles = roles_of(sorted(all_named) if wanted is not None else names, splits, Path(rows.name))
    order: tuple[Split, ...] = ("test", "unused", "pool")  # what is for testing once is never trained on
    return [next((role for role in order if role in [roles.get(n) for n in own]), None) for own in said]


def _files(rows: _Rows, boxes: TrueBoxes) -> list[int]:
    """The rows whose picture is there, each id once."""
    kept, seen = [], set[str]()
    for i, (id, path) in enumerate(zip(rows.ids, rows.paths, strict=True)):
        if id in seen:
            boxes.tell(id, "repeated", f"{shown(id)}: two samples of the dataset, the first counts")
        elif not os.path.isfile(path):  # noqa: PTH113
            boxes.tell(id, "missing", f"{shown(id)}: in the dataset, but there is no such file; left out")
        else:
            kept.append(i)
        seen.add(id)
    if not kept:
        raise DataError(
            f"FiftyOne dataset {rows.name!r}: none of its {len(rows.ids):,} files is there: {rows.paths[0]}"
        )
    return kept


def _detections(
    rows: _Rows,
    names: tuple[str, ...] | None,
    splits: Mapping[str, Split] | None,
    group: str | None,
    others: Others,
) -> Listing:
    boxes = TrueBoxes(names)
    roles, kept = _roles(rows, splits), _files(rows, boxes)
    labels, places = rows.values("detections.label"), rows.values("detections.bounding_box")
    for i in kept:
        size = None if labels[i] is None else header_size(Path(rows.paths[i]))
        if labels[i] is None or not boxes.begin(rows.ids[i], size, roles[i]):
            continue
        wide, high = size or (0, 0)
        for label, place in zip(labels[i], places[i] or [], strict=True):
            try:
                x, y, w, h = (float(v) for v in place)
                corners = [x * wide, y * high, (x + w) * wide, (y + h) * high]
                boxes.add(rows.ids[i], str(label), corners)
            except (TypeError, ValueError) as error:
                boxes.spoil(rows.ids[i], f"a box of {label!r}: {error}")
    found = [(rows.ids[i], Path(rows.paths[i])) for i in kept]
    if all(labels[i] is None for i in kept):
        return _plain(rows, kept, roles, names or (), {}, group, others, boxes)
    listing = boxes.listing(rows.root, group=group, others=others, found=found)
    by_id = {rows.ids[i]: i for i in reversed(kept)}
    return make_listing(
        rows.root, (_placed(s, rows, roles, by_id) for s in listing.samples), listing.classes, listing.problems
    )


def _placed(sample: Sample, rows: _Rows, roles: Sequence[Split | None], at: Mapping[str, int]) -> Sample:
    """The sample with what the dataset says of its group and split, also where it is unlabelled."""
    row = at[sample.id]
    group = sample.group if rows.groups is None else rows.groups[row]
    return replace(sample, group=group, split=roles[row])


def _others(
    rows: _Rows,
    names: tuple[str, ...] | None,
    splits: Mapping[str, Split] | None,
    group: str | None,
    others: Others,
    folder: Path,
) -> Listing:
    """Classes of images, masks, or no labels at all."""
    boxes = TrueBoxes(names)
    roles, kept = _roles(rows, splits), _files(rows, boxes)
    targets: dict[str, Target] = {}
    if rows.kind == "Classification":
        labels = rows.values("label")
        targets = {rows.ids[i]: Target((str(labels[i]),)) for i in kept if labels[i] is not None}
        seen = {target.classes[0] for target in targets.values()}
        strange = sorted(seen - set(names)) if names is not None else []
        for id in [id for id, target in targets.items() if target.classes[0] in strange]:
            boxes.tell(
                id, "unknown_class", f"{shown(id)}: class {targets.pop(id).classes[0]!r} is none of the dataset's"
            )
        names = names or tuple(sorted(seen))
    elif rows.kind == "Segmentation":
        values = _mask_targets(rows.samples._dataset, rows.field)
        if not values:
            raise DataError(
                f"data.field: masks of {rows.field!r} need mask_targets in the dataset, found none; set them"
            )
        names = tuple(values.values())
        files, arrays = rows.values("mask_path"), rows.values("mask")
        for i in kept:
            if files[i] is None and arrays[i] is None:
                continue
            try:
                targets[rows.ids[i]] = Target(names, mask=_mask(files[i], arrays[i], list(values), folder))
            except DataError as error:
                boxes.tell(rows.ids[i], "bad_annotation", f"{shown(rows.ids[i])}: {error}; taken as unlabelled")
    return _plain(rows, kept, roles, names or (), targets, group, others, boxes)


def _plain(
    rows: _Rows,
    kept: Sequence[int],
    roles: Sequence[Split | None],
    names: tuple[str, ...],
    targets: Mapping[str, Target],
    group: str | None,
    others: Others,
    boxes: TrueBoxes,
) -> Listing:
    rule = group_rule(group)
    samples = []
    for i in kept:
        id = rows.ids[i]
        if id in targets or others == "unlabelled":
            own = rule(id) if rows.groups is None else rows.groups[i]
            samples.append(Sample(id, Path(rows.paths[i]), own, targets.get(id), split=roles[i]))
    problems: list[Problem] = list(boxes.problems)
    if rows.groups is None:
        problems += ungrouped(samples, group)
    return make_listing(rows.root, samples, names, problems)


def _mask(file: str | None, array: Any, values: Sequence[int], folder: Path) -> Path:
    """A mask of FiftyOne with our class indices, written once for each content."""
    if array is None:
        try:
            with Image.open(str(file)) as picture:
                array = np.asarray(picture)
        except OSError as error:
            raise DataError(f"expected a mask in {file}, found: {error}") from None
    array = np.asarray(array)
    if array.ndim != 2:
        raise DataError(f"expected one value per pixel in the mask, found {array.ndim} axes")
    key = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16)
    key.update(repr((array.shape, str(array.dtype), list(values))).encode())
    place = folder / key.hexdigest()[:2] / f"{key.hexdigest()}.png"
    if not place.is_file():
        mask = empty_mask(array.shape[0], array.shape[1], len(values))
        for index, value in enumerate(values):
            mask[array == value] = index
        write_mask(place, mask)
    return place
