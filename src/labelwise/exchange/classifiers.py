"""A trained classifier to use on pictures: an exported ONNX file, or a run's newest model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import config as configuration
from labelwise.embedding.backbone import Preprocessing
from labelwise.errors import ConfigError, ModelError, RunError
from labelwise.exchange.onnx_export import crops_of
from labelwise.exchange.trained import model_of
from labelwise.models.entry import METADATA, Entry, Pixels
from labelwise.parts import build
from labelwise.store import Store


@dataclass(frozen=True)
class Classifier:
    """``probs`` gives probabilities ``(n, C)``, in the order of ``classes``, of pixels made by ``entry``.

    ``name`` is for people, ``digest`` stands for all that decides a probability. ``margin`` and ``square`` say how
    boxes were widened in training, ``crops`` whether there were any. ``threshold``: below it a prediction is told
    as "unknown".
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    entry: Entry
    threshold: float
    margin: float
    square: bool
    crops: bool
    probs: Callable[[list[Pixels]], NDArray[Any]]


def open_classifier(source: str | Path, *, threads: int = 1) -> Classifier:
    """The classifier in an .onnx file that labelwise wrote, or in a run's folder (that of its last trained round).

    Raises LabelwiseError for anything else.
    """
    source = Path(source)
    if source.suffix == ".onnx":
        return _exported(source, threads)
    if not (source / "run.db").is_file():
        raise RunError(f"{source}: expected an .onnx file that labelwise wrote, or a run's folder; found neither")
    return _of_run(source)


def _exported(file: Path, threads: int) -> Classifier:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("an .onnx file needs onnxruntime: pip install 'labelwise[onnx]'") from error
    if not file.is_file():
        raise RunError(f"{file}: expected an .onnx file, found none; 'labelwise export RUN --format onnx' writes one")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise ModelError(
            f"{file}: expected a model written by 'labelwise export --format onnx', found: {reason}"
        ) from error
    how = dict(about["input"])
    entry = Entry(mode=how.pop("mode"), preprocessing=Preprocessing(**how))
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()

    def probs(pixels: list[Pixels]) -> NDArray[Any]:
        return np.asarray(session.run(["probs"], {"pixels": np.stack(pixels)})[0])

    name = f"{about['run']}, round {about['round']}"
    crops = about["crops"]
    classes = tuple(about["classes"])
    return Classifier(
        name,
        digest,
        classes,
        entry,
        about["threshold"],
        crops["margin"],
        crops["square"],
        crops.get("used", False),
        probs,
    )


def _of_run(folder: Path) -> Classifier:
    from labelwise.models.whole import whole_of

    config = configuration.load(folder)
    if config.task != "classify":
        raise ConfigError(f"{folder}: expected a run that classifies, found task={config.task}")
    with Store(folder / "run.db", read_only=True) as store:
        round, checkpoint = model_of(config, store)
        used = store.has_crops()
    whole = whole_of(build(config).model, config.model.name, checkpoint)
    digest = hashlib.sha256()
    for file in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    crops = crops_of(config)
    name = f"{config.name}, round {round}"
    return Classifier(
        name,
        digest.hexdigest(),
        whole.classes,
        whole.entry,
        config.threshold,
        crops["margin"],
        crops["square"],
        used,
        whole.probs,
    )
