"""Writing a round's classifier as one ONNX file that needs nothing else, and an example of its use beside it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.config import Config
from labelwise.errors import ConfigError, ModelError, RunError
from labelwise.evaluate.abstaining import UNKNOWN
from labelwise.ownership import replace_text
from labelwise.parts import build

if TYPE_CHECKING:
    from labelwise.models.whole import Whole

KEY = "labelwise"  # of the metadata: one JSON text
OPSET = 18
_CLOSE = 1e-4  # how far probabilities of the file may be from those of the model
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
    config: Config, round: int, checkpoint: Path, place: Path, *, threshold: float | None = None
) -> list[str]:
    """Write ``place`` (.onnx) and an example beside it from a run's checkpoint; returns what is worth a word.

    The file takes ``pixels`` as `labelwise.models.whole.Entry` says, uint8 ``(n, size, size, 3)``, and gives ``probs``
    ``(n, C)`` and ``embeddings`` ``(n, d)``; its metadata ``labelwise`` is a JSON text with classes, threshold,
    temperature and how pictures become pixels. Raises ConfigError for a missing package or another task, RunError if
    there is something in the place already, ModelError for a model that is no network.
    """
    from labelwise.models.whole import whole_of

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
        "crops": crops_of(config),
        "run": config.name,
        "round": round,
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f"{place.name}.partial")
    try:
        _write(whole, about, beside)
        notes = _compared(whole, beside)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    replace_text(example, EXAMPLE.format(name=place.name, example=example.name))
    return [*notes, f"an example of its use: {example}"]


def crops_of(config: Config) -> dict[str, Any]:
    """How boxes become crops in a run, by the words of the readers that make crops."""
    options = config.data.options
    return {"margin": float(options.get("margin", 0.1)), "square": bool(options.get("square", True))}


def need_onnx() -> None:
    """Raise ConfigError, with what to install, unless ONNX files can be written."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError("format onnx needs onnx and onnxscript: pip install 'labelwise[onnx]'") from error


def _write(whole: Whole, about: Mapping[str, Any], place: Path) -> None:
    import onnx
    import torch

    # Two images: of one alone the exporter would take the number for a constant.
    example = torch.from_numpy(np.stack([_example(whole, seed) for seed in (0, 1)]))
    with _quiet():
        program = torch.onnx.export(
            whole.network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["probs", "embeddings"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            verbose=False,
        )
    assert program is not None, "with dynamo the exporter gives a program"
    found = program.model_proto
    onnx.helper.set_model_props(found, {KEY: json.dumps(about, ensure_ascii=False)})
    onnx.save_model(found, str(place))


def _example(whole: Whole, seed: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return whole.entry.pixels(Image.fromarray(pixels))


def _compared(whole: Whole, place: Path) -> list[str]:
    """Compare the file with the model, where there is something to run it with."""
    try:
        import onnxruntime
    except ImportError:
        return ["not compared with the model: onnxruntime is not installed"]
    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    pixels = [_example(whole, seed) for seed in range(3)]
    found = session.run(["probs"], {"pixels": np.stack(pixels)})[0]
    gap = float(np.abs(np.asarray(found) - whole.probs(pixels)).max())
    if not gap <= _CLOSE:
        raise ModelError(
            f"the exported file differs from the model by {gap:.2g}: expected at most {_CLOSE:g}; report this"
        )
    return []


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own progress and of deprecated things inside itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
