"""What a model said about the images, from a file: the arrays that picking needs of it, and what reasons tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.name_lists import Row
from labelwise.errors import DataError
from labelwise.records import Prediction
from labelwise.strategies import Strategy

_TOLD = 3  # boxes that a reason names


@dataclass(frozen=True, slots=True)
class Box:
    """One object found in an image: ``x0, y0, x1, y1`` in pixels of the image as shown; ``decisive`` if it made the
    score."""

    box: tuple[float, float, float, float]
    label: str
    confidence: float | None
    decisive: bool


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The predictions of a file by image id."""

    task: str
    classes: tuple[str, ...]
    by_id: dict[str, Prediction]
    notes: tuple[str, ...] = ()

    def arrays(self, ids: Sequence[str], strategy: Strategy) -> dict[str, NDArray[Any]]:
        """What the selection takes: ``probs`` ``(N, C)`` of images, or ``scores`` ``(N,)`` of what is in them.

        Raises DataError naming the first image without a prediction.
        """
        missing = [id for id in ids if id not in self.by_id]
        if missing:
            raise DataError(
                f"expected a prediction for every image, found none for {missing[0]} ({len(missing)} such images); "
                "predict them, or take them out of the folder"
            )
        found = [self.by_id[id] for id in ids]
        if self.task == "classify":
            return {"probs": np.stack([np.asarray(p.probs) for p in found])}
        if strategy.recipe.score is None:
            return {}
        return {"scores": np.array([strategy.score_prediction(p) for p in found], np.float64)}

    def explained(self, row: Row) -> Row:
        """A pick with the boxes that the model found in it."""
        boxes = self.boxes(row.id)
        if self.task != "detect":
            return row
        named = ", ".join(f"{b.label} {b.confidence:.2f}" for b in boxes[:_TOLD] if b.confidence is not None)
        more = f" and {len(boxes) - _TOLD} more" if len(boxes) > _TOLD else ""
        told = f"{len(boxes)} boxes: {named}{more}" if boxes else "no boxes"
        facts = {**row.facts, "boxes": len(boxes), "objects": [[*b.box, b.label, b.confidence] for b in boxes]}
        return replace(row, reason=f"{row.reason.removesuffix('.')}; {told}.", facts=facts)

    def boxes(self, id: str) -> list[Box]:
        """The objects in an image, the decisive ones first."""
        return []


def read(path: Path, ids: Sequence[str], classes: Sequence[str] | None, strategy: Strategy) -> Predicted:
    """The predictions of a file for these images. Raises DataError as ``labelwise.data.predictions.read``."""
    raise NotImplementedError


def read_vectors(path: Path) -> tuple[Sequence[str], NDArray[Any]]:
    """The ids and vectors of a file of embeddings."""
    from labelwise.embedding.files import read_vectors as read

    return read(path)
