"""Small made data for checks and tests: pictures, masks, queries, and all that a score or a selection may ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.records import Query, Sample, Target
from labelwise.selection.compose import Inputs

COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40), "green": (40, 180, 60)}
FIELDS = {"probs": "probs", "samples": "samples", "embeddings": "embedding"}


def quiet(done: int, total: int, what: str) -> None:
    """A progress that says nothing."""


def make_images(folder: Path, count: int = 12, *, classes: int = 2, size: int = 32, seed: int = 0) -> list[Sample]:
    """Write ``count`` noisy PNGs of one colour, ``size`` x ``size`` pixels; returns them as samples, as the scan does.

    The class is the colour, in turn one of the first ``classes`` of blue, red and green.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(count):
        name = list(COLOURS)[i % classes]
        pixels = np.clip(rng.normal(COLOURS[name], 20, (size, size, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{i:03d}.png"
        Image.fromarray(pixels).save(path)
        content = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        samples.append(Sample(path.name, path, target=Target((name,)), content=content, size=(size, size)))
    return samples


def make_masks(folder: Path, count: int = 12, *, size: tuple[int, int] = (48, 32), seed: int = 0) -> Path:
    """Write ``count`` pictures of coloured rectangles with their masks, as the format images and masks has them.

    Classes: blue (the ground), red and green; the border of each rectangle is void. Folders ``images`` and ``masks``
    and ``classes.txt`` lie below ``folder``, which is returned; ``size`` is (width, height) in pixels.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    for i in range(count):
        mask = np.zeros((height, width), np.uint8)
        for label in (1, 2):
            side = int(rng.integers(6, min(size) // 2))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            mask[y : y + side, x : x + side] = 255
            mask[y + 1 : y + side - 1, x + 1 : x + side - 1] = label
        colours = np.array(list(COLOURS.values()))[np.where(mask == 255, 0, mask)]
        pixels = np.clip(rng.normal(colours, 15), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i:03d}.png")
    return folder


def make_boxes(folder: Path, count: int = 8, *, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    """Write ``count`` pictures with coloured squares and their boxes, as COCO has them; every fourth has no square.

    Classes: red and green, on a blue ground. ``images`` and ``annotations`` lie below ``folder``, which is returned;
    ``size`` is (width, height) in pixels.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(count):
        colours = np.full((height, width, 3), COLOURS["blue"], np.float64)
        for label in (1, 2, 1)[: i % 4]:
            side = int(rng.integers(min(size) // 4, min(size) // 2))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            colours[y : y + side, x : x + side] = list(COLOURS.values())[label]
            box = {"bbox": [x, y, side, side], "category_id": label, "area": side * side, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": i, **box})
        pixels = np.clip(rng.normal(colours, 15), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i:03d}.png")
        images.append({"id": i, "file_name": f"{i:03d}.png", "width": width, "height": height})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def make_queries(samples: Sequence[Sample], round: int = 0) -> list[Query]:
    """A query for each sample, ranked in their order."""
    return [Query(f"{round:03d}-{i:05d}", round, i, s.id, reason={"drawn": "at random"}) for i, s in enumerate(samples)]


def make_inputs(n: int, *, rows: int = 30, labelled: int = 4, seed: int = 0, words: Collection[str] = ()) -> Inputs:
    """Everything a selection may ask for, over ``rows`` rows, some of them equal; labelled rows have no prediction,
    unless ``words`` has "labelled_probs"."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.choice(rows, labelled, replace=False))
    candidates = np.setdiff1d(np.arange(rows), [*known, *range(0, rows, 7)])  # some rows are neither
    probs, scores = rng.dirichlet(np.ones(3), rows), rng.random(rows)
    embeddings = rng.normal(size=(rows, 5)).astype(np.float32)
    twins = candidates[: len(candidates) // 3]
    for values in (probs, scores, embeddings):
        values[twins] = values[candidates[0]]
    for values in (scores,) if "labelled_probs" in words else (probs, scores):
        values[known] = np.nan
    labels, groups = rng.integers(0, 3, labelled), np.arange(rows) // 4 - 1
    owners = np.arange(rows).repeat(np.arange(rows) % 4)  # every fourth row has no object
    objects = rng.normal(size=(len(owners), 4)).astype(np.float32)
    objects[: len(objects) // 4] = objects[0]
    confidences = np.where(np.isin(owners, known), np.nan, rng.random(len(owners)))
    picker = np.random.default_rng(seed)
    empty = np.arange(rows) % 5 == 1
    metadata = {
        "width": rng.integers(100, 200, rows),
        "place": np.array(["lake", "wood", ""])[rng.integers(0, 3, rows)],
    }
    return Inputs(
        *(n, candidates, picker, known, labels, scores, probs, embeddings, groups, metadata),
        empty=empty,
        objects=objects,
        owners=owners,
        object_labels=rng.integers(-1, 3, len(owners)),
        object_scores=confidences,
    )


def make_objects(count: int = 6, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """All that a score of objects may ask for: ``count`` boxes of one image of 100 x 100 pixels, of 4 classes."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 100, (count, 2, 2)).astype(np.float32)
    return {
        "boxes": np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        "confidences": rng.random(count).astype(np.float32),
        "box_labels": rng.integers(0, 4, count),
        "keypoints": rng.random((count, 3, 3)).astype(np.float32),
        "probs": rng.dirichlet(np.full(4, 0.5), count).astype(np.float32),
        "samples": rng.dirichlet(np.full(4, 0.5), (5, count)).astype(np.float32),
        "class_probs": rng.random((count, 4)).astype(np.float32),
        "flipped": rng.random((count, 9)).astype(np.float32),
    }
