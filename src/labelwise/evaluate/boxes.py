"""Quality of detections: COCO's mean average precision, through the library faster-coco-eval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError, ModelError
from labelwise.records import Floats, Prediction, Target

PER_IMAGE = 100  # detections of a class that count in an image: the surest ones, as in COCO
# Index of the IoU thresholds 0.5 and 0.75, and of the sizes, in the library's arrays.
_IOU50, _IOU75 = 0, 5
_SIZES = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Quality of boxes over ``n`` images with ``boxes`` true boxes; ``C`` is the number of names in ``classes``.

    ``map`` is the average precision (AP) averaged over the IoU thresholds 0.5, 0.55 to 0.95 and over the classes that
    occur in the truth; ``map50`` and ``map75`` are at one threshold. ``map_small``, ``map_medium`` and ``map_large``
    count true boxes of less than 32 x 32 pixels, less than 96 x 96, and more. ``recall`` is the highest recall,
    averaged likewise. ``ap``, ``ap50`` are ``(C,)``; ``support`` ``(C,)`` counts true boxes. What has no true box is
    NaN. ``unpredicted`` images had no prediction and count as images in which nothing was found.
    """

    n: int
    boxes: int
    map: float
    map50: float
    map75: float
    map_small: float
    map_medium: float
    map_large: float
    recall: float
    classes: tuple[str, ...]
    ap: Floats
    ap50: Floats
    support: NDArray[np.integer[Any]]
    unpredicted: int = 0


def detection(
    predictions: Iterable[Prediction], truths: Mapping[str, Target], classes: Sequence[str], *, most: int = PER_IMAGE
) -> BoxScores:
    """Score predicted boxes against true ones, as COCO does (Lin et al. 2014; pycocotools' ``COCOeval``).

    ``predictions`` are read once, as they come: of each, ``boxes``, ``labels`` (indices into ``classes``) and
    ``confidences``, joined to ``truths`` by id. A true image without box counts: whatever is found there is wrong.
    ``most``: how many detections of a class count in an image. Equal confidences keep the order of images and boxes.

    Raises ModelError for a prediction without boxes, labels and confidences, with a label that is no class, for no
    image of the truth, or for one a second time; DataError for a truth that is no boxes of ``classes``.
    """
    numbers = {id: i for i, id in enumerate(truths, start=1)}
    index = {name: i for i, name in enumerate(classes)}
    annotations = [row for id, target in truths.items() for row in _annotations(id, target, numbers[id], index)]
    support = np.bincount([a["category_id"] - 1 for a in annotations], minlength=len(index)).astype(np.int64)
    rows, seen = _rows(predictions, numbers, len(index))
    for i, annotation in enumerate(annotations, start=1):
        annotation["id"] = i
    dataset = {
        "images": [{"id": i} for i in numbers.values()],
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for name, i in index.items()],
    }
    precision, recall = _evaluated(dataset, rows, most) if annotations else _nothing(len(index))
    sizes = {name: _mean(precision[:, :, :, i]) for i, name in enumerate(_SIZES)}
    return BoxScores(
        n=len(numbers),
        boxes=len(annotations),
        map=sizes["all"],
        map50=_mean(precision[_IOU50, :, :, 0]),
        map75=_mean(precision[_IOU75, :, :, 0]),
        map_small=sizes["small"],
        map_medium=sizes["medium"],
        map_large=sizes["large"],
        recall=_mean(recall[:, :, 0]),
        classes=tuple(classes),
        ap=np.array([_mean(precision[:, :, i, 0]) for i in range(len(index))]),
        ap50=np.array([_mean(precision[_IOU50, :, i, 0]) for i in range(len(index))]),
        support=support,
        unpredicted=len(numbers) - len(seen),
    )


def _annotations(id: str, target: Target, number: int, index: Mapping[str, int]) -> Iterable[dict[str, Any]]:
    if target.geometry is None or target.geometry.shape[1] != 4:
        raise DataError(f"{id}: expected boxes as truth, found another kind of target; is the task detect?")
    for name, (x0, y0, x1, y1) in zip(target.classes, target.geometry.tolist(), strict=True):
        if name not in index:
            raise DataError(f"{id}: expected a truth of the classes {', '.join(index)}, found {name!r}; add it")
        width, height = x1 - x0, y1 - y0
        box = [x0, y0, width, height]
        yield {"image_id": number, "category_id": index[name] + 1, "bbox": box, "area": width * height, "iscrowd": 0}


def _rows(
    predictions: Iterable[Prediction], numbers: Mapping[str, int], classes: int
) -> tuple[NDArray[np.float64], set[str]]:
    """Image, x, y, width, height, confidence and category of all detections ``(N, 7)``, and the images seen."""
    parts, seen = [np.empty((0, 7))], set()
    for p in predictions:
        if p.id not in numbers or p.id in seen:
            what = "a second prediction" if p.id in seen else "a prediction"
            raise ModelError(f"expected one prediction for each image of the truth, found {what} for {p.id}")
        seen.add(p.id)
        if p.boxes is None or p.labels is None or p.confidences is None:
            raise ModelError(
                f"{p.id}: expected boxes, labels and confidences, found a prediction without; take another"
            )
        if len(p.labels) and p.labels.max() >= classes:
            raise ModelError(f"{p.id}: expected labels of 0 to {classes - 1}, found {p.labels.max()}")
        boxes = np.asarray(p.boxes, np.float64)
        part = np.empty((len(boxes), 7))
        part[:, 0], part[:, 1:3], part[:, 3:5] = numbers[p.id], boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        part[:, 5], part[:, 6] = p.confidences, np.asarray(p.labels) + 1
        parts.append(part)
    rows = np.concatenate(parts)
    return rows[np.argsort(rows[:, 0], kind="stable")], seen


def _evaluated(dataset: dict[str, Any], rows: NDArray[np.float64], most: int) -> tuple[Floats, Floats]:
    """Precision ``(IoU, recall, class, size)`` and recall ``(IoU, class, size)``, NaN where there is no true box."""
    from faster_coco_eval import COCO, COCOeval_faster

    def quiet(*_: object) -> None:
        pass

    truth = COCO(dataset, print_function=quiet)
    found = truth.loadRes(rows)
    run = COCOeval_faster(truth, found, "bbox", print_function=quiet)
    run.params.maxDets = [most]
    run.evaluate()
    run.accumulate()
    precision, recall = (np.array(run.eval[name], np.float64)[..., 0] for name in ("precision", "recall"))
    assert list(run.params.areaRngLbl) == list(_SIZES), run.params.areaRngLbl
    precision[precision < 0] = np.nan
    recall[recall < 0] = np.nan
    return precision, recall


def _nothing(classes: int) -> tuple[Floats, Floats]:
    return np.full((10, 101, classes, 4), np.nan), np.full((10, classes, 4), np.nan)


def _mean(values: Floats) -> float:
    """The mean of what is known; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
