"""A whole model as an ONNX file: written through torch's exporter, and compared with the model."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.errors import ConfigError, ModelError
from labelwise.models.entry import METADATA
from labelwise.models.whole import Whole

OPSET = 18
_CLOSE = 1e-4  # how far probabilities of the file may be from those of the model


def need_onnx() -> None:
    """Raise ConfigError, with what to install, unless ONNX files can be written."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError("format onnx needs onnx and onnxscript: pip install 'labelwise[onnx]'") from error


def write(whole: Whole, about: Mapping[str, Any], place: Path) -> None:
    """Write a model, and what is to be known of it as JSON in the metadata."""
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
    onnx.helper.set_model_props(found, {METADATA: json.dumps(about, ensure_ascii=False)})
    onnx.save_model(found, str(place))


def _example(whole: Whole, seed: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return whole.entry.pixels(Image.fromarray(pixels))


def compare(whole: Whole, place: Path) -> list[str]:
    """Compare the file with the model, where there is something to run it with; returns what is worth a word.

    Raises ModelError if they differ.
    """
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
