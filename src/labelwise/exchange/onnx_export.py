"""Writing a round's classifier as one ONNX file that needs nothing else, and an example of its use beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelwise.config import Config
from labelwise.errors import ConfigError, RunError
from labelwise.evaluate.abstaining import UNKNOWN
from labelwise.ownership import replace_text
from labelwise.parts import build

EXAMPLE = '''"""Using {name} without labelwise: python {example} IMAGE..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).parent / "{name}")
about = json.loads(session.get_modelmeta().custom_metadata_map["labelwise"])
how = about["input"]


def pixels(path):
    """The picture as the network takes it; all else (normalising, scaling, calibration) is in the file."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB").convert(how["mode"])
    if how["resize"] == "crop":
        left, top = ((side - min(image.size)) // 2 for side in image.size)
        image = image.crop((left, top, left + min(image.size), top + min(image.size)))
    return np.asarray(image.resize((how["size"],) * 2, Image.Resampling[how["interpolation"].upper()]))


for path in sys.argv[1:]:
    (probs,) = session.run(["probs"], {{"pixels": pixels(path)[None]}})[0]
    name = about["classes"][probs.argmax()] if probs.max() >= about["threshold"] else about["unknown"]
    print(f"{{path}}\\t{{name}}\\t{{probs.max():.6f}}")
'''


def export_onnx(
    config: Config, round: int, checkpoint: Path, place: Path, *, threshold: float | None = None, crops: bool = False
) -> list[str]:
    """Write ``place`` (.onnx) and an example beside it from a run's checkpoint; returns what is worth a word.

    The file takes ``pixels`` as `labelwise.models.whole.Entry` says, uint8 ``(n, size, size, 3)``, and gives ``probs``
    ``(n, C)`` and ``embeddings`` ``(n, d)``; its metadata ``labelwise`` is a JSON text with classes, threshold,
    temperature and how pictures become pixels. ``crops``: the model was trained on crops. Raises ConfigError for a
    missing package or another task, RunError if there is something in the place already, ModelError for a model that is
    no network.
    """
    from labelwise.models.whole import whole_of
    from labelwise.models.whole_onnx import compare, need_onnx, write

    need_onnx()
    if config.task != "classify":
        raise ConfigError(f"format onnx is for the task classify, found {config.task}: choose another format")
    example = place.with_suffix(".example.py")
    if place.suffix != ".onnx" or place.exists():
        raise RunError(f"{place}: expected a new file that ends with .onnx; choose another name")
    whole = whole_of(build(config).model, config.model.name, checkpoint)
    about = {
        "classes": whole.classes,
        "unknown": UNKNOWN,
        "threshold": config.threshold if threshold is None else threshold,
        "temperature": whole.temperature,
        "input": whole.entry.as_dict(),
        "crops": {**crops_of(config), "used": crops},
        "run": config.name,
        "round": round,
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f"{place.name}.partial")
    try:
        write(whole, about, beside)
        notes = compare(whole, beside)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    replace_text(example, EXAMPLE.format(name=place.name, example=example.name))
    return [*notes, f"an example of its use: {example}"]


def crops_of(config: Config) -> dict[str, Any]:
    """How boxes become crops in a run, by the words of the readers that make crops."""
    options = config.data.options
    return {"margin": float(options.get("margin", 0.1)), "square": bool(options.get("square", True))}
