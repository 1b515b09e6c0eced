"""Asking a detector about the mirrored picture too, and which of what it finds there is at which object; any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.boxes import overlaps
from labelwise.data.images import open_image
from labelwise.models import Model, Want
from labelwise.records import Prediction, Sample


def predicted(model: Model, checkpoint: Path | None, samples: Sequence[Sample], want: Want) -> Iterator[Prediction]:
    """What the model predicts; with "flipped" wanted also at each object what it finds in the mirrored picture.

    Mirrored pictures are files for as long as they are looked at, so that every model can be asked.
    """
    if "flipped" not in want:
        yield from model.predict(checkpoint, samples, want=want)
        return
    plain = model.predict(checkpoint, samples, want=want - {"flipped"})
    with TemporaryDirectory(prefix="labelwise-") as folder:
        turned = [_mirrored(sample, Path(folder) / f"{i}.bmp") for i, sample in enumerate(samples)]
        others = model.predict(checkpoint, turned, want=frozenset({"boxes", "probs"}))
        for sample, one, other in zip(turned, plain, others, strict=True):
            yield replace(one, flipped=matched(one, other, sample.size[0]))


def matched(prediction: Prediction, mirrored: Prediction, width: int) -> NDArray[np.float32]:
    """For each object that of the mirrored picture, mirrored back, that overlaps it most: ``(N, 5 + C)``, box,
    confidence, class probabilities; 0 where none overlaps it. ``width`` is that of the picture in pixels."""
    boxes, probs = _held(prediction.boxes), _held(mirrored.probs)
    back, sure = _held(mirrored.boxes)[:, [2, 1, 0, 3]], _held(mirrored.confidences)
    back = np.concatenate([width - back[:, :1], back[:, 1:2], width - back[:, 2:3], back[:, 3:]], axis=1)
    rows = np.zeros((len(boxes), 5 + _held(prediction.probs).shape[-1]), np.float32)
    if not len(boxes) or not len(back):
        return rows
    overlap = overlaps(boxes[:, None].astype(float), back[None].astype(float))
    best = overlap.argmax(axis=1)
    at = overlap[np.arange(len(boxes)), best] > 0
    found = np.concatenate([back, sure[:, None], probs], axis=1)
    rows[at] = found[best[at]]
    return rows


def _mirrored(sample: Sample, path: Path) -> Sample:
    """The mirrored picture as a sample of its own."""
    image = open_image(sample.path, name=sample.id)[0]
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return replace(sample, path=path, size=image.size, content=f"{sample.content}-mirrored" if sample.content else "")


def _held(value: NDArray[Any] | None) -> NDArray[Any]:
    assert value is not None, "a model that provides boxes and probs gives both"
    return value
