"""From a model's records to scores of images: the elements of each record, their scores, and one number an image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import SelectionError
from labelwise.records import Prediction

Doubles = NDArray[np.float64]
Empty = Literal["lowest", "highest", "mean", "quota"]

# what a score asks for, and where a record has it
FIELDS = {
    "probs": "probs",
    "samples": "samples",
    "boxes": "boxes",
    "confidences": "confidences",
    "box_labels": "labels",
    "keypoints": "keypoints",
    "class_probs": "probs",
    "flipped": "flipped",
    "maps": "probs",
    "reconstruction": "reconstruction",
}
_DISTRIBUTIONS = frozenset({"probs", "samples"})
_FAINT = 0.05  # confidence below which a box says nothing, for the missed-object score of an image without detection


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of a stream of images, in its order: ``ids``, ``values`` ``(N,)``, and ``empty`` ``(N,)``, True where the
    model found no object."""

    ids: tuple[str, ...]
    values: Doubles
    empty: NDArray[np.bool_]


def image_score(
    prediction: Prediction,
    score: Callable[..., Any],
    words: Collection[str],
    reduce: Callable[..., Any] | None,
    weights: Doubles | None = None,
) -> float:
    """The score of one image: ``score`` of each element, times the weight of its class, reduced to one number.

    ``words`` are the inputs that ``score`` asks for, ``weights`` is ``(C,)``. No elements give 0. Raises
    SelectionError, naming the image, if the record lacks something, there are several elements and no ``reduce``, or
    the result is not finite.
    """
    values = element_scores(prediction, score, words)
    if weights is not None and values.size:
        values = values * weights[_classes(prediction, len(weights))]
    if values.ndim and reduce is None:
        raise SelectionError(
            f"{prediction.id}: expected one score, found one for each of {values.size} elements; set reduce "
            "(mean, max, sum or top)"
        )
    if reduce is not None and not values.ndim:
        raise SelectionError(f"{prediction.id}: expected boxes or pixels to reduce, found one prediction; no reduce")
    result = float(values if reduce is None else reduce(values))
    if not np.isfinite(result):
        raise SelectionError(f"the score of {prediction.id} is not a finite number: look at the score and the image")
    return result


def element_scores(prediction: Prediction, score: Callable[..., Any], words: Collection[str]) -> NDArray[Any]:
    """Scores of a record's elements: ``()`` for an image's class, ``(N,)`` for objects, ``(h, w)`` for pixels.

    Objects without class vectors are scored on [1 - s, s] of their confidence s. Where classes are independent
    (sigmoid), each is scored on [1 - p, p], and the most doubtful class counts.
    """
    arrays = {word: _array(prediction, word) for word in words}
    shape = _shape(prediction, arrays)
    if 0 in shape:
        return np.zeros(shape)
    values = np.asarray(score(**arrays))
    if prediction.independent and _DISTRIBUTIONS & arrays.keys() and values.shape[:-1] == shape:
        values = values.max(axis=-1)
    if values.shape != shape:
        raise SelectionError(
            f"the score of {prediction.id}: expected one number for each element, {shape}, found {values.shape}"
        )
    return values


def found_nothing(prediction: Prediction, shown: float = 0.0) -> bool:
    """True if a record of objects has none, or none with a confidence of ``shown`` or more."""
    if not prediction.of_objects:
        return False
    if prediction.confidences is not None:
        return not (prediction.confidences >= shown).any()
    objects = (prediction.boxes, prediction.labels, prediction.keypoints)
    return not any(values is not None and len(values) for values in objects)


def suspicion(prediction: Prediction, shown: float) -> float:
    """How much the model nearly saw in an image where it found nothing: the sum of ``missed_objects``."""
    from labelwise.scoring.objects import missed_objects  # torch

    boxes, confidences = prediction.boxes, prediction.confidences
    if boxes is None or confidences is None or not len(boxes):
        return 0.0
    return float(missed_objects(boxes=boxes, confidences=confidences, low=min(_FAINT, shown), shown=shown).sum())


def scored(
    predictions: Iterable[Prediction],
    score: Callable[[Prediction], float],
    *,
    empty: Empty = "mean",
    shown: float = 0.0,
) -> Scored:
    """The scores of a stream, holding one record at a time; what images without detection get is ``empty``.

    ``lowest``: 0; ``highest``, ``mean``: those of the images with detections (0 if there are none); ``quota``: their
    suspicion, which only orders them among themselves.
    """
    ids: list[str] = []
    values: list[float] = []
    blank: list[bool] = []
    for prediction in predictions:
        nothing = found_nothing(prediction, shown)
        ids.append(prediction.id)
        blank.append(nothing)
        if nothing:
            values.append(suspicion(prediction, shown) if empty == "quota" else 0.0)
        else:
            values.append(score(prediction))
    found, mask = np.array(values, dtype=np.float64), np.array(blank, dtype=bool)
    if empty in ("highest", "mean") and mask.any() and not mask.all():
        found[mask] = found[~mask].max() if empty == "highest" else found[~mask].mean()
    return Scored(tuple(ids), found, mask)


def rescaled(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Scores ``(N,)`` mapped linearly: the lowest to ``low``, the highest to ``high``; all equal: all ``high``."""
    if not len(values):
        return values
    least, most = values.min(), values.max()
    if most == least:
        return np.full_like(values, high)
    return np.asarray(low + (values - least) / (most - least) * (high - low), dtype=values.dtype)


def _array(prediction: Prediction, word: str) -> NDArray[Any]:
    value: NDArray[Any] | None = getattr(prediction, FIELDS[word])
    if value is None and word == "probs" and prediction.confidences is not None:
        return np.stack([1 - prediction.confidences, prediction.confidences], axis=-1)
    if value is None:
        raise SelectionError(f"the score needs {word}, but the prediction for {prediction.id} has none; give them")
    return np.stack([1 - value, value], axis=-1) if prediction.independent and word in _DISTRIBUTIONS else value


def _shape(prediction: Prediction, arrays: dict[str, NDArray[Any]]) -> tuple[int, ...]:
    """The elements that arrays are about, without passes and classes."""
    if prediction.of_objects:
        return (len(next(iter(arrays.values()))) if "samples" not in arrays else arrays["samples"].shape[1],)
    word, value = next(iter(arrays.items()))
    own = (word != "reconstruction") + (prediction.independent and word in _DISTRIBUTIONS)
    return value.shape[(word == "samples") : value.ndim - own]


def _classes(prediction: Prediction, count: int) -> NDArray[Any]:
    """The class of each element: its label, or the most probable one."""
    if prediction.labels is not None:
        found = prediction.labels
    elif prediction.probs is not None:
        found = prediction.probs.argmax(axis=-1)
    elif prediction.samples is not None:
        found = prediction.samples.mean(axis=0).argmax(axis=-1)
    else:
        raise SelectionError(f"the prediction for {prediction.id} names no classes, which class_weights need")
    if np.max(found, initial=0) >= count:
        raise SelectionError(
            f"the prediction for {prediction.id} has class {int(np.max(found))}, but {count} classes are named"
        )
    return np.asarray(found)
