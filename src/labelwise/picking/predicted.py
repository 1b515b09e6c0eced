"""What a model said about the images, from a file: the arrays that picking needs of it, and what reasons tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.images import header_size
from labelwise.data.name_lists import Row
from labelwise.data.predictions import PredictionSet
from labelwise.data.predictions import read as read_file
from labelwise.errors import ConfigError, DataError
from labelwise.records import Prediction, Sample
from labelwise.strategies import Recipe, Strategy

# How the scores of an image's boxes or pixels become one where nothing else is said: as in Lightly.
_REDUCE = {"detect": "max", "segment": "mean"}
_TOLD = 3  # boxes that a reason names


@dataclass(frozen=True, slots=True)
class Box:
    """One object found in an image: ``x0, y0, x1, y1`` in pixels of the image as shown, and how sure the model was."""

    box: tuple[float, float, float, float]
    label: str
    confidence: float | None
    decisive: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The predictions of a file; of the images that are ``looked_at`` the boxes are known."""

    found: PredictionSet
    source: Path
    _boxes: dict[str, tuple[Box, ...]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the class axis, or None if the file names none."""
        return self.found.classes or None

    @property
    def notes(self) -> list[str]:
        """What did not fit, a line each."""
        return self.found.summary()

    def arrays(self, ids: Sequence[str], strategy: Strategy) -> dict[str, NDArray[Any]]:
        """What the selection takes, in the order of ``ids``: ``probs`` ``(N, C)`` of images, or ``scores`` ``(N,)`` of
        what is in them, with ``empty`` ``(N,)``, True where nothing is; and the classes of the boxes, where they count.

        Raises DataError naming the first image without a
        prediction, ConfigError if the selection asks for class probabilities that the predictions do not have.
        """
        if missing := sorted(set(self.found.missing) & set(ids)):
            raise DataError(
                f"{self.source}: expected a prediction for every image, found none for {missing[0]} "
                f"({len(missing):,} such images); predict them, or take them out of the folder; if nothing was found "
                "in them, say so with predictions.absent=empty"
            )
        place = {id: i for i, id in enumerate(ids)}
        wanted = (prediction for prediction in self.found if prediction.id in place)
        if self.of_classes:
            return {"probs": _stacked(wanted, place)}
        boxes = self._objects(place, strategy.recipe.shown) if "owners" in strategy.uses else {}
        if strategy.recipe.score is None:
            return boxes
        scored = strategy.score_stream(wanted, self.found.classes)
        order = np.array([place[id] for id in scored.ids], np.int64)
        scores, empty = np.empty(len(place)), np.empty(len(place), bool)
        scores[order], empty[order] = scored.values, scored.empty
        return {"scores": scores, "empty": empty, **boxes}

    def _objects(self, place: Mapping[str, int], shown: float) -> dict[str, NDArray[Any]]:
        """The boxes of at least such a confidence, image after image: owners, classes, confidences."""
        rows: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        for prediction in self.found:
            if prediction.id in place and prediction.labels is not None and prediction.confidences is not None:
                keep = prediction.confidences >= shown
                rows[place[prediction.id]] = prediction.labels[keep], prediction.confidences[keep]
        order = sorted(rows)
        labels, sure = ([rows[row][i] for row in order] for i in (0, 1))
        return {
            "owners": np.array(order, np.int64).repeat([len(part) for part in labels]),
            "object_labels": np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64),
            "object_scores": np.concatenate([np.zeros(0), *sure]),
        }

    @property
    def of_classes(self) -> bool:
        """True if every image has one distribution over the classes."""
        if self.found.task != "classify":
            return False
        first = next(iter(self.found), None)
        return first is not None and not first.independent

    def look_at(self, ids: Sequence[str], strategy: Strategy) -> None:
        """Keep the boxes of these images, for reasons and pictures."""
        if self.found.task != "detect":
            return
        wanted = set(ids)
        for prediction in self.found:
            if prediction.id in wanted and prediction.boxes is not None:
                self._boxes[prediction.id] = self._told(prediction, strategy)

    def explained(self, row: Row) -> Row:
        """A pick with the boxes that the model found in it."""
        if self.found.task != "detect":
            return row
        boxes = self.boxes(row.id)
        told = ", ".join(b.label if b.confidence is None else f"{b.label} {b.confidence:.2f}" for b in boxes[:_TOLD])
        more = f" and {len(boxes) - _TOLD} more" if len(boxes) > _TOLD else ""
        what = f"{len(boxes)} {'box' if len(boxes) == 1 else 'boxes'}, the most doubtful first: {told}{more}"
        facts = {**row.facts, "boxes": len(boxes), "objects": [[*b.box, b.label, b.confidence] for b in boxes]}
        return replace(row, reason=f"{row.reason.removesuffix('.')}; {what if boxes else 'no boxes'}.", facts=facts)

    def boxes(self, id: str) -> Sequence[Box]:
        """The objects in an image, those that count most in its score first."""
        return self._boxes.get(id, ())

    def _told(self, prediction: Prediction, strategy: Strategy) -> tuple[Box, ...]:
        assert prediction.boxes is not None
        count, sure = len(prediction.boxes), prediction.confidences
        if strategy.recipe.score is not None:
            values = strategy.score_elements(prediction)
        else:
            values = np.zeros(count) if sure is None else 1 - sure
        labels = np.zeros(count, np.int64) if prediction.labels is None else prediction.labels
        boxes: list[Box] = []
        for i in np.argsort(-values, kind="stable"):
            x0, y0, x1, y1 = (float(v) for v in prediction.boxes[i])
            name = self.found.classes[labels[i]] if self.found.classes else f"class {labels[i]}"
            # where the highest box decides, that box alone made the score; else all had a part in it
            alone = strategy.recipe.reduce == "max" and bool(boxes)
            made = strategy.recipe.score is not None and values[i] > 0 and not alone
            boxes.append(Box((x0, y0, x1, y1), name, None if sure is None else float(sure[i]), bool(made)))
        return tuple(boxes)


def _stacked(predictions: Iterable[Prediction], place: Mapping[str, int]) -> NDArray[Any]:
    """The class probabilities ``(N, C)`` of a stream of images, each at its place."""
    probs: NDArray[Any] | None = None
    for prediction in predictions:
        row = np.asarray(prediction.probs)
        if probs is None:
            probs = np.empty((len(place), len(row)), row.dtype)
        probs[place[prediction.id]] = row
    assert probs is not None, "a set without predictions"
    return probs


class HeaderSizes(Mapping[str, tuple[int, int]]):
    """The sizes of pictures by id, each read from the file's header when it is asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._paths = {sample.id: sample.path for sample in samples}

    def __getitem__(self, id: str) -> tuple[int, int]:
        size = header_size(self._paths[id])
        if size is None:
            raise KeyError(id)
        return size

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def read(
    source: Path | str | Mapping[str, Any],
    ids: Sequence[str],
    classes: Sequence[str] | None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> Predicted:
    """The predictions of a file for these images; a mapping has its ``path`` and options of its format.

    Raises DataError as ``labelwise.data.predictions.read``.
    """
    options = dict(source) if isinstance(source, Mapping) else {"path": source}
    if options.get("path") is None:
        raise ConfigError("predictions: expected the path of a file, found only options; give predictions")
    path = Path(options.pop("path"))
    return Predicted(read_file(path, ids, classes=classes, sizes=sizes, **options), path)


def suited(recipe: Recipe, task: str) -> Recipe:
    """The recipe with the reduction that the task's scores need, where it says none."""
    if recipe.score is None or recipe.reduce is not None or task not in _REDUCE:
        return recipe
    return replace(recipe, reduce=_REDUCE[task])


def read_vectors(path: Path) -> tuple[Sequence[str], NDArray[Any]]:
    """The ids and vectors of a file of embeddings."""
    from labelwise.embedding.files import read_vectors as read

    return read(path)
