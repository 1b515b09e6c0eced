"""What an mmsegmentation loss gets to see: the labelled images only, and of their pixels only the labelled ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from labelwise import mmlab
from labelwise.data.masks import target_mask, void_of
from labelwise.errors import ModelError
from labelwise.records import Labelled


class Burn(BaseTransform):  # type: ignore[misc]
    """Puts the labels of an image, at its own size, where its ground truth would be; all else is ``ignore_index``."""

    def __init__(
        self, labelled: Mapping[str, Labelled], classes: Sequence[str], ignore_index: int, keep_points: bool = True
    ) -> None:
        self.labelled, self.classes, self.ignore_index = labelled, classes, ignore_index
        self.keep_points = keep_points and any(x.target.mask is None for x in labelled.values())

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``gt_seg_map``. Raises ModelError if the picture was loaded with another size than it was labelled."""
        item = self.labelled[place_of(results["img_path"])]
        mask = target_mask(item.target, self.classes, item.sample.size)
        shape = results["img"].shape[:2] if "img" in results else mask.shape
        if tuple(shape) != mask.shape:
            raise ModelError(
                f"{item.sample.id}: the labels are for {mask.shape[1]} x {mask.shape[0]} pixels, the pipeline has made "
                f"it {shape[1]} x {shape[0]}: put LoadAnnotations right after LoadImageFromFile"
            )
        labels = mask.astype(np.int64 if len(self.classes) > 255 else np.uint8)
        labels[mask == void_of(mask)] = self.ignore_index
        results["gt_seg_map"] = labels
        fields = results.setdefault("seg_fields", [])
        if "gt_seg_map" not in fields:
            fields.append("gt_seg_map")
        return results


def place_of(path: str | Path) -> str:
    """A picture's path as the key of its labels."""
    return os.path.abspath(str(path))  # noqa: PTH100 (links stay as they are)


def burnt(pipeline: Sequence[Any], burn: Burn) -> list[Any]:
    """A training pipeline with ``burn`` where it loads annotations.

    mmsegmentation's own LoadAnnotations is left out, since the truth of an image may not exist; a loader of another
    kind stays, with ``burn`` right after it.
    """
    names = [mmlab.type_name(step.get("type", "") if isinstance(step, Mapping) else type(step)) for step in pipeline]
    at = next((i for i, name in enumerate(names) if "Annotation" in name), None)
    if at is None:
        raise ModelError("the training pipeline loads no annotations: expected LoadAnnotations in it")
    kept = [] if names[at] == "LoadAnnotations" else [pipeline[at]]
    return [*pipeline[:at], *kept, burn, *pipeline[at + 1 :]]


def restricted(dataset: Any, burn: Burn) -> Any:
    """The training dataset a configuration describes, built with its wrappers, holding only the labelled images."""
    if isinstance(dataset, (list, tuple)):
        found = [one for one in (restricted(inner, burn) for inner in dataset) if len(one)]
        return ConcatDataset(found) if found else _Nothing()
    if "dataset" in dataset:
        inner = restricted(dataset["dataset"], burn)
        if not len(inner):
            return inner
        if mmlab.type_name(dataset["type"]) == "MultiImageMixDataset":
            inner = ConcatDataset([inner])
        return DATASETS.build({**dataset, "dataset": inner})
    if "datasets" in dataset:
        found = [one for one in (restricted(inner, burn) for inner in dataset["datasets"]) if len(one)]
        return DATASETS.build({**dataset, "datasets": found}) if found else _Nothing()
    plain = DATASETS.build({**dataset, "pipeline": burnt(dataset.get("pipeline", []), burn), "lazy_init": False})
    if burn.keep_points:
        _keep_points(getattr(plain.pipeline, "transforms", []), burn.ignore_index)
    rows = [i for i in range(len(plain)) if place_of(plain.get_data_info(i)["img_path"]) in burn.labelled]
    return plain.get_subset(rows) if rows else _Nothing()


def _keep_points(transforms: Sequence[Any], ignore_index: int) -> None:
    """Let every transform that scales label maps keep their points, also those inside other transforms."""
    for step in transforms:
        inner = [v for v in vars(step).values() if isinstance(v, BaseTransform)]
        nested = getattr(step, "transforms", None)
        _keep_points([*inner, *(nested if isinstance(nested, (list, tuple)) else [])], ignore_index)
        if hasattr(step, "_resize_seg"):
            step._resize_seg = partial(_resized, step._resize_seg, ignore_index)


def _resized(resize: Callable[[dict[str, Any]], None], ignore_index: int, results: dict[str, Any]) -> None:
    """Scale the label maps, and put back each label that went lost."""
    before = {key: results[key] for key in results.get("seg_fields", []) if results.get(key) is not None}
    resize(results)
    for key, labels in before.items():
        results[key] = with_points(labels, results[key], ignore_index)


def with_points(labels: NDArray[Any], scaled: NDArray[Any], ignore_index: int) -> NDArray[Any]:
    """A map that was ``scaled`` from ``labels`` ``(h, w)`` to the nearest pixel, without any label lost.

    Where a labelled pixel falls on one that has none it gives it its own; of several on one pixel the last one counts.
    """
    y, x = np.nonzero(labels != ignore_index)
    down, right = y * scaled.shape[0] // labels.shape[0], x * scaled.shape[1] // labels.shape[1]
    lost = scaled[down, right] == ignore_index
    found = scaled.copy()
    found[down[lost], right[lost]] = labels[y[lost], x[lost]]
    return found


class _Nothing:
    """A dataset of which no image is labelled yet."""

    def __len__(self) -> int:
        return 0
