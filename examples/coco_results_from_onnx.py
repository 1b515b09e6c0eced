"""Make a COCO results file with a YOLOX network in ONNX, for ``labelwise pick IMAGES --predictions``.

    python coco_results_from_onnx.py yolox_nano.onnx classes.txt photos coco_results.json
    labelwise pick photos -n 100 --predictions coco_results.json predictions.annotations=coco_results_images.json

``classes.txt`` holds the network's class names, one a line, in the order of its outputs. Beside the results a second
file says which images were looked at: COCO results alone cannot tell an image without objects from one that was
forgotten. onnxruntime is no dependency of labelwise: pip install onnxruntime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelwise.data.images import open_image
from labelwise.data.listing import list_images
from labelwise.errors import DataError

LEAST = 0.05  # a faint box is kept: what a model nearly saw is what active learning wants to know
OVERLAP = 0.65  # of two boxes of one class that overlap more, the surer one is kept
GREY = 114


def main() -> None:
    """Run the network over a folder and write both files."""
    import onnxruntime

    if len(sys.argv) != 5:
        sys.exit("usage: coco_results_from_onnx.py NETWORK.onnx CLASSES.txt IMAGES RESULTS.json")
    network, names, images, out = sys.argv[1:]
    classes = Path(names).read_text(encoding="utf-8").split("\n")
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    found, results, looked_at = list_images(images)[0], [], []
    for number, (name, path) in enumerate(found, start=1):
        try:
            picture = open_image(path)[0]
        except DataError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        looked_at.append({"id": number, "file_name": name, "width": picture.width, "height": picture.height})
        for box, probabilities in detect(session, picture):
            x0, y0, x1, y1 = (round(float(v), 2) for v in box)
            best = int(probabilities.argmax())
            results.append(
                {
                    "image_id": number,
                    "category_id": best + 1,
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "score": round(float(probabilities[best]), 4),
                }
            )
    categories = [{"id": i, "name": name.strip()} for i, name in enumerate(classes, start=1) if name.strip()]
    beside = Path(out).with_name(f"{Path(out).stem}_images.json")
    beside.write_text(json.dumps({"images": looked_at, "categories": categories, "annotations": []}))
    Path(out).write_text(json.dumps(results))
    print(f"{len(results)} boxes in {len(looked_at)} images: {out}, {beside}")


def detect(session: Any, picture: Image.Image) -> list[tuple[Any, Any]]:
    """Boxes x0, y0, x1, y1 in pixels of the picture, each with the score of every class."""
    side = session.get_inputs()[0].shape[2]
    ratio = side / max(picture.size)
    small = picture.resize((max(1, int(picture.width * ratio)), max(1, int(picture.height * ratio))))
    canvas = np.full((side, side, 3), GREY, np.float32)
    canvas[: small.height, : small.width] = np.asarray(small)
    tensor = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1))[None]  # BGR, 0 to 255
    (raw,) = session.run(None, {session.get_inputs()[0].name: tensor})
    boxes, scores = decoded(raw[0], side)
    kept = suppressed(boxes, scores)
    edge = np.array([picture.width, picture.height] * 2)
    return [(np.clip(boxes[i] / ratio, 0, edge), scores[i]) for i in kept]


def decoded(raw: Any, side: int) -> tuple[Any, Any]:
    """YOLOX's raw output ``(cells, 5 + C)`` as boxes in pixels of its input, and scores ``(cells, C)``."""
    cells = []
    for stride in (8, 16, 32):
        steps = np.arange(side // stride)
        y, x = np.meshgrid(steps, steps, indexing="ij")
        cells.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    grid = np.concatenate(cells)
    centre = (raw[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(raw[:, 2:4]) * grid[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1), raw[:, 4:5] * raw[:, 5:]


def suppressed(boxes: Any, scores: Any) -> list[int]:
    """The boxes that are kept, surest first: those above LEAST that no surer one of the same class overlaps."""
    best, labels = scores.max(axis=1), scores.argmax(axis=1)
    order = [i for i in np.argsort(-best, kind="stable") if best[i] >= LEAST]
    kept: list[int] = []
    for i in order:
        same = [j for j in kept if labels[j] == labels[i]]
        if not same or overlaps(boxes[i], boxes[same]).max() < OVERLAP:
            kept.append(int(i))
    return kept


def overlaps(one: Any, others: Any) -> Any:
    """Intersection over union of a box with others ``(n, 4)``."""
    corner, far = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    shared = np.prod(np.clip(far - corner, 0, None), axis=1)
    areas = np.prod(one[2:] - one[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / np.maximum(areas - shared, 1e-9)


if __name__ == "__main__":
    main()
