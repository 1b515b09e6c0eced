"""Format: Lightly's predictions, a folder with schema.json and one JSON a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.data.listing import checked_folder
from labelwise.data.predictions.boxes import Absent, Boxes, Vectors
from labelwise.data.predictions.joining import Classes, Join, PredictionSet, Sizes
from labelwise.data.predictions.reading import category_index, load_json, names_of
from labelwise.errors import DataError
from labelwise.records import Prediction

TASKS = (
    "classification",
    "object-detection",
    "keypoint-detection",
    "instance-segmentation",
    "semantic-segmentation",
)
_OTHERS = frozenset({"schema.json", "tasks.json"})


def read(
    path: Path,
    ids: tuple[str, ...],
    classes: Classes | None,
    sizes: Sizes | None,
    *,
    absent: Absent = "auto",
    root: str = "",
    independent: bool = False,
    vectors: Vectors = "binary",
) -> PredictionSet:
    """Predictions from a task's folder under ``.lightly/predictions``: schema.json, and one JSON for each image.

    Every task type is read; segments count as objects, with their scores and class vectors but without their masks.
    Classes are the schema's. ``absent`` empty: an image without a file has no detection, else no prediction. Raises
    DataError naming file and entry.
    """
    folder = _task_folder(checked_folder(path))
    task, index, names = _schema(folder / "schema.json", classes)
    join, boxes = Join(ids, root), Boxes(names, independent, vectors)
    for file in sorted(folder.rglob("*.json")):
        if file.name in _OTHERS and file.parent == folder:
            continue
        name, entries = _contents(file)
        id = join.claim(name)
        target = boxes if id is not None else Boxes(names, independent, vectors)  # checked all the same
        for i, entry in enumerate(entries):
            try:
                _add(entry, task, index, target, id or "")
            except (ValueError, TypeError, KeyError) as error:
                reason = f"expected a {error.args[0]}, found none" if isinstance(error, KeyError) else str(error)
                raise DataError(f"{file}: prediction {i}: {reason}; mend it") from None
        if task == "classification" and len(entries) != 1 and id is not None:
            raise DataError(f"{file}: expected one prediction of a classification, found {len(entries)}; mend it")
    silent = join.take_rest(folder) if absent == "empty" and task != "classification" else []
    predictions, problems = boxes.predictions(join.taken, sizes)
    if task == "classification":
        whole = [_whole(p) for p in predictions]
        return join.close(folder, "classify", names, lambda: iter(whole), problems=problems)
    none = [p.id for p in predictions if p.labels is not None and not len(p.labels)]
    assert set(silent) <= set(none)
    return join.close(folder, "detect", names, lambda: iter(predictions), without_detection=none, problems=problems)


def _task_folder(folder: Path) -> Path:
    """The folder with schema.json: this one, or the only one in it."""
    if (folder / "schema.json").is_file():
        return folder
    found = sorted(file.parent for file in _schemas(folder))
    if len(found) == 1:
        return found[0]
    names = ", ".join(place.relative_to(folder).as_posix() for place in found) or "none"
    raise DataError(f"{folder}: expected schema.json of one task, found {names}; name the folder of one task")


def _schemas(folder: Path) -> Iterator[Path]:
    for pattern in ("*/schema.json", ".lightly/predictions/*/schema.json"):
        yield from folder.glob(pattern)


def _schema(file: Path, classes: Classes | None) -> tuple[str, Mapping[int, int], tuple[str, ...]]:
    schema = load_json(file)
    task = schema.get("task_type") if isinstance(schema, dict) else None
    if task not in TASKS:
        raise DataError(f'{file}: expected a "task_type" of {", ".join(TASKS)}, found {task!r}; mend it')
    index, names = category_index(file, schema.get("categories"))
    if classes is not None and names_of(classes) != names:
        raise DataError(
            f"{file}: expected the classes of the schema, {len(names)} of them, found {len(names_of(classes))} other "
            "ones; leave classes out"
        )
    return str(task), index, names


def _contents(file: Path) -> tuple[str, list[Any]]:
    data = load_json(file)
    name = data.get("file_name") if isinstance(data, dict) else None
    entries = data.get("predictions") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name or not isinstance(entries, list):
        raise DataError(f'{file}: expected {{"file_name": text, "predictions": list}}, found something else; mend it')
    return name, entries


def _add(entry: Any, task: str, index: Mapping[int, int], boxes: Boxes, id: str) -> None:
    if not isinstance(entry, dict):
        raise TypeError(f"expected a mapping, found {entry!r}"[:120])
    category = entry["category_id"]
    if type(category) is not int or category not in index:
        raise ValueError(f"expected a category_id of the schema, found {category!r}")
    probabilities = entry.get("probabilities")
    if task == "classification":
        if probabilities is None:
            raise KeyError("list of probabilities")
        boxes.add(id, index[category], entry.get("score", 1.0), probabilities=probabilities)
        return
    if task == "object-detection" and "bbox" not in entry:
        raise KeyError("bbox")
    if task == "keypoint-detection" and "keypoints" not in entry:
        raise KeyError("list of keypoints")
    boxes.add(
        id,
        index[category],
        entry["score"],
        box=entry.get("bbox"),
        probabilities=probabilities,
        keypoints=entry.get("keypoints"),
    )


def _whole(prediction: Prediction) -> Prediction:
    """The one object of a classification as the image's own class."""
    assert prediction.probs is not None
    return Prediction(prediction.id, probs=np.asarray(prediction.probs[0]), independent=prediction.independent)
