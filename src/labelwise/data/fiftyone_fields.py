"""Writing into a FiftyOne dataset: fields of numbers, texts and labels, and tags; again changes nothing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.data.fiftyone_database import framework, open_dataset
from labelwise.errors import DataError
from labelwise.records import Sample, Target

SEPARATOR = ":"  # between the prefix and a tag


@dataclass(frozen=True, slots=True)
class Told:
    """A target, and how sure the model is of each of its objects, where it is known."""

    target: Target
    confidences: Sequence[float] = ()


Column = Mapping[str, int | float | str | Told]  # by id; an id without a value has none in the dataset either


def write_fields(
    name: str,
    samples: Sequence[Sample],
    columns: Mapping[str, Column],
    tags: Mapping[str, Sequence[str]],
    *,
    prefix: str,
    classes: Sequence[str],
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> int:
    """Bring the fields ``prefix_<column>`` and the tags ``prefix:<tag>`` of these samples up to date; returns how many
    samples of the dataset these are.

    The dataset is made, persistent, if there is none of that name; samples that it lacks are added, found by their
    files. Other fields and tags stay as they are. Every field is written whole, so that a process that was killed in
    the middle is made good by the next. Raises DataError where a field of that name holds something else.
    """
    fo = framework()
    dataset = open_dataset(name, create=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keys = _keys(fo, dataset, samples)
            steps = len(columns) + 1
            for done, (column, values) in enumerate(columns.items(), start=1):
                field = f"{prefix}_{column}"
                _declare(fo, dataset, field, values)
                found = {keys[s.id]: _value(fo, values.get(s.id), s, classes) for s in samples}
                if field in dataset.get_field_schema():
                    _flat(dataset).set_values(field, found, key_field="id", progress=False)
                _tell_classes(dataset, field, values, classes)
                progress(done, steps, "fields written to FiftyOne")
            _tag(dataset, {keys[s.id]: tags.get(s.id, ()) for s in samples}, prefix)
            progress(steps, steps, "fields written to FiftyOne")
    except (DataError, KeyboardInterrupt):
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        raise DataError(f"FiftyOne dataset {name!r} cannot be written: {what}; write again once it can") from None
    return len(keys)


def _keys(fo: Any, dataset: Any, samples: Sequence[Sample]) -> dict[str, str]:
    """The dataset's own id of each sample; those it lacks are added, in one call a thousand."""
    known = _known(dataset)
    lacking = [s for s in samples if str(_file(s)) not in known]
    for start in range(0, len(lacking), 1000):
        made = [fo.Sample(filepath=str(_file(s))) for s in lacking[start : start + 1000]]
        dataset.add_samples(made, progress=False)
    found = _known(dataset)
    return {s.id: found[str(_file(s))] for s in samples}


def _known(dataset: Any) -> dict[str, str]:
    """The first sample of each file."""
    ids, paths = _flat(dataset).values(["id", "filepath"])
    found: dict[str, str] = {}
    for id, path in zip(ids, paths, strict=True):
        found.setdefault(os.path.abspath(path), id)  # noqa: PTH100
    return found


def _flat(dataset: Any) -> Any:
    """All images of a grouped dataset, whichever slice they are in; others as they are."""
    return dataset.select_group_slices(media_type="image") if dataset.media_type == "group" else dataset


def _file(sample: Sample) -> Path:
    return Path(os.path.abspath(sample.path))  # noqa: PTH100


def _declare(fo: Any, dataset: Any, field: str, values: Column) -> None:
    """Add the field where it is new; refuse one of another type."""
    if not values:
        return
    first = next(iter(values.values()))
    document = None
    if isinstance(first, Told):
        document = getattr(fo, _label_type(first.target))
        kind: Any = fo.EmbeddedDocumentField
    else:
        kind = {int: fo.IntField, float: fo.FloatField, str: fo.StringField}[type(first)]
    known = dataset.get_field(field)
    if known is None:
        more = {} if document is None else {"embedded_doc_type": document}
        dataset.add_sample_field(field, kind, **more)
    elif not isinstance(known, kind) or getattr(known, "document_type", None) is not document:
        found = getattr(getattr(known, "document_type", None), "__name__", type(known).__name__)
        raise DataError(f"FiftyOne field {field!r} holds {found} already: choose another beginning of the names")


def _label_type(target: Target) -> str:
    if target.mask is not None:
        return "Segmentation"
    if target.geometry is None:
        return "Classification"
    return "Detections" if target.geometry.shape[1] == 4 else "Keypoints"


def _value(fo: Any, value: int | float | str | Told | None, sample: Sample, classes: Sequence[str]) -> Any:
    """A value as FiftyOne keeps it; places in shares of the image as shown."""
    if not isinstance(value, Told):
        return value
    target, sure = value.target, value.confidences
    if target.mask is not None:
        return fo.Segmentation(mask_path=str(target.mask))
    if target.geometry is None:
        return fo.Classification(label=target.classes[0], confidence=sure[0] if len(sure) else None)
    width, height = sample.size
    if target.geometry.shape[1] == 2:
        codes = range(len(target.classes)) if target.codes is None else target.codes.tolist()
        by_class: dict[str, list[tuple[float, float]]] = {}
        for code, (x, y) in zip(codes, target.geometry.tolist(), strict=True):
            by_class.setdefault(target.classes[code], []).append(((x + 0.5) / width, (y + 0.5) / height))
        return fo.Keypoints(keypoints=[fo.Keypoint(label=n, points=points) for n, points in by_class.items()])
    found = []
    for i, (name, (x0, y0, x1, y1)) in enumerate(zip(target.classes, target.geometry.tolist(), strict=True)):
        place = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
        found.append(fo.Detection(label=name, bounding_box=place, confidence=sure[i] if i < len(sure) else None))
    return fo.Detections(detections=found)


def _tell_classes(dataset: Any, field: str, values: Column, classes: Sequence[str]) -> None:
    """Name the classes of a field of labels, so that the App offers and shows them."""
    first = next(iter(values.values()), None)
    if not isinstance(first, Told):
        return
    if first.target.mask is not None:
        dataset.mask_targets = {**dataset.mask_targets, field: dict(enumerate(classes))}
    else:
        dataset.classes = {**dataset.classes, field: list(classes)}


def _tag(dataset: Any, tags: Mapping[str, Sequence[str]], prefix: str) -> None:
    """Ours replaced, others kept; samples whose tags stay as they are are left alone."""
    changed = {}
    for id, before in zip(*_flat(dataset).values(["id", "tags"]), strict=True):
        if id in tags:
            kept = [tag for tag in before or () if not tag.startswith(f"{prefix}{SEPARATOR}")]
            after = [*kept, *(f"{prefix}{SEPARATOR}{tag}" for tag in tags[id])]
            if after != list(before or ()):
                changed[id] = after
    if changed:
        _flat(dataset).set_values("tags", changed, key_field="id", progress=False)
