"""Name tables, and one way from a name in the configuration to the function or class it means.

A name is one of the catalogue ("margin"), an import path ("package.module:attribute") or a file
("./mine.py:attribute"). The tables hold import paths only, so that looking at a name loads no framework.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from labelwise.errors import ConfigError

TABLES: dict[str, dict[str, str]] = {
    "data": {
        "class_folders": "labelwise.data.class_folders:read",
        "csv_table": "labelwise.data.csv_table:read",
        "images_folder": "labelwise.data.images_folder:read",
        "image_masks": "labelwise.data.image_masks:read",
        "coco": "labelwise.data.coco:read",
        "voc": "labelwise.data.voc:read",
        "yolo": "labelwise.data.yolo:read",
        "cvat_xml": "labelwise.data.cvat_xml:read",
        "fiftyone": "labelwise.data.fiftyone:read",
        "mmseg": "labelwise.data.mmseg:read",
        "megadetector": "labelwise.data.megadetector:read",
        "coco_camera_traps": "labelwise.data.coco_camera_traps:read",
        "camtrap_dp": "labelwise.data.camtrap_dp:read",
        "timelapse": "labelwise.data.timelapse_dataset:read",
        "digits": "labelwise.data.digits:read",
    },
    "model": {
        "frozen": "labelwise.models.frozen:Frozen",
        "finetune": "labelwise.models.finetune:Finetune",
        "metric": "labelwise.models.metric:Metric",
        "fpn": "labelwise.models.fpn:Fpn",
        "smp": "labelwise.models.smp:Smp",
        "detector": "labelwise.models.detectors:Detector",
        "mmseg": "labelwise.models.mmseg:MMSeg",
        "zero_shot": "labelwise.models.zero_shot:ZeroShot",
        "transformers": "labelwise.models.transformers_detectors:TransformersDetector",
        "ultralytics": "labelwise.models.ultralytics:Ultralytics",
        "predictions": "labelwise.models.from_file:FromFile",
    },
    "head": {
        "logistic": "labelwise.models.heads:Logistic",
        "mlp": "labelwise.models.heads:Perceptron",
        "knn": "labelwise.models.heads:Neighbours",
    },
    "score": {
        "least_confidence": "labelwise.scoring.uncertainty:least_confidence",
        "margin": "labelwise.scoring.uncertainty:margin",
        "entropy": "labelwise.scoring.uncertainty:entropy",
        "bald": "labelwise.scoring.uncertainty:bald",
        "mean_std": "labelwise.scoring.uncertainty:mean_std",
        "variation_ratio": "labelwise.scoring.uncertainty:variation_ratio",
        "vote_entropy": "labelwise.scoring.uncertainty:vote_entropy",
        "ripu": "labelwise.scoring.regions:ripu",
        "ripu_pixel": "labelwise.scoring.regions:ripu_pixel",
        "mps": "labelwise.scoring.reconstruction:mps",
        "mps_ripu": "labelwise.scoring.reconstruction:mps_ripu",
        "variance": "labelwise.scoring.uncertainty:variance",
        "objectness_least_confidence": "labelwise.scoring.objects:objectness_least_confidence",
        "object_frequency": "labelwise.scoring.objects:object_frequency",
        "keypoint_uncertainty": "labelwise.scoring.objects:keypoint_uncertainty",
        "missed_objects": "labelwise.scoring.objects:missed_objects",
        "consistency": "labelwise.scoring.steadiness:consistency",
        "difficulty_entropy": "labelwise.scoring.difficulty:difficulty_entropy",
    },
    "reduce": {
        "mean": "labelwise.units:mean",
        "max": "labelwise.units:highest",
        "sum": "labelwise.units:total",
        "top": "labelwise.units:top",
    },
    "select": {
        "top": "labelwise.selection.ranking:top",
        "random": "labelwise.selection.ranking:random",
        "stochastic": "labelwise.selection.ranking:stochastic",
        "k_center": "labelwise.selection.spread:k_center",
        "coral": "labelwise.selection.spread:coral",
        "combined": "labelwise.selection.combining:combined",
        "most_similar": "labelwise.selection.likeness:most_similar",
        "most_typical": "labelwise.selection.likeness:most_typical",
        "deduplicate": "labelwise.selection.spread:deduplicate",
        "robust_k_center": "labelwise.selection.robust:robust_k_center",
        "mixture": "labelwise.selection.mixing:mixture",
        "bandit": "labelwise.selection.mixing:bandit",
        "typiclust": "labelwise.selection.density:typiclust",
        "centroids": "labelwise.selection.density:centroids",
        "badge": "labelwise.selection.gradient:badge",
        "herding": "labelwise.selection.coverage:herding",
        "probcover": "labelwise.selection.balls:probcover",
        "max_herding": "labelwise.selection.coverage:max_herding",
        "facility_location": "labelwise.selection.coverage:facility_location",
        "cluster_margin": "labelwise.selection.clustered:cluster_margin",
        "informative_diverse": "labelwise.selection.clustered:informative_diverse",
        "margin_cluster_mean": "labelwise.selection.clustered:margin_cluster_mean",
        "graph_density": "labelwise.selection.graph:graph_density",
        "galaxy": "labelwise.selection.borders:galaxy",
        "novel": "labelwise.selection.novelty:novel",
        "hierarchical": "labelwise.selection.tree:hierarchical",
        "object_k_center": "labelwise.selection.object_spread:object_k_center",
        "object_coverage": "labelwise.selection.object_cover:object_coverage",
        "ppal": "labelwise.selection.matching:ppal",
        "class_balanced": "labelwise.selection.class_balance:class_balanced",
        "class_divergence": "labelwise.selection.class_balance:class_divergence",
        "two_round_k_center": "labelwise.selection.distributed:two_round_k_center",
        "two_round_facility_location": "labelwise.selection.distributed:two_round_facility_location",
    },
    "annotator": {
        "oracle": "labelwise.annotators.oracle:Oracle",
        "files": "labelwise.annotators.files:Files",
        "cvat": "labelwise.annotators.cvat:Cvat",
        "label_studio": "labelwise.annotators.label_studio:LabelStudio",
        "timelapse": "labelwise.annotators.timelapse:Timelapse",
        "web": "labelwise.annotators.web:Web",
    },
    "engine": {
        "local": "labelwise.engine.local:Local",
        "ray": "labelwise.engine.ray:Ray",
    },
    "predictions": {
        "coco": "labelwise.data.predictions.coco:read",
        "yolo": "labelwise.data.predictions.yolo:read",
        "probs_table": "labelwise.data.predictions.probs_table:read",
        "maps": "labelwise.data.predictions.maps:read",
        "lightly": "labelwise.data.predictions.lightly:read",
    },
}


_PREFIX = "labelwise_plugin_"  # of the names of modules that come from a file


def suggest(word: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown word: the nearest known word, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names)}"


def resolve(kind: str, spec: str) -> Any:
    """The function or class that ``spec`` names, for a ``kind`` of the tables.

    Raises ConfigError with the nearest names if there is none, or with the reason if the module or file cannot be
    loaded.
    """
    target = TABLES[kind].get(spec, spec)
    module_name, separator, attribute = target.rpartition(":")
    if not separator:
        raise ConfigError(
            f"unknown {kind} {spec!r}: {suggest(spec, TABLES[kind])}; or 'package.module:attribute' or "
            "'./file.py:attribute'"
        )
    module = load_file(Path(module_name)) if module_name.endswith(".py") else _load_module(module_name, spec)
    try:
        found = getattr(module, attribute)
    except AttributeError:
        public = [name for name in dir(module) if not name.startswith("_")]
        hint = suggest(attribute, public)
        raise ConfigError(f"{kind} {spec!r}: {module_name} has no {attribute!r}: {hint}") from None
    if not callable(found):
        raise ConfigError(f"{kind} {spec!r}: expected a function or class, found {type(found).__name__}")
    return found


def _load_module(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name.startswith("labelwise."):
            raise
        raise ConfigError(
            f"cannot import {name!r} for {spec!r}: {error}; is it installed and on PYTHONPATH?"
        ) from error
    except Exception as error:
        raise ConfigError(f"cannot import {name!r} for {spec!r}: {type(error).__name__}: {error}") from error


def loaded_files() -> list[Path]:
    """The files that names have been resolved from in this process: a worker must load them too."""
    return [Path(str(m.__file__)) for name, m in list(sys.modules.items()) if name.startswith(_PREFIX)]


def load_file(path: Path) -> ModuleType:
    """The module in a file, run once in a process. Raises ConfigError if it is not there or fails."""
    path = path.expanduser()
    # The module's name holds the place of the file: two files of one name in two folders stay two modules.
    name = f"{_PREFIX}{path.stem}_{hashlib.sha1(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise ConfigError(f"no file {str(path)!r}; a relative path is taken from the working folder {Path.cwd()}")
    found = importlib.util.spec_from_file_location(name, path.resolve())
    assert found is not None, path  # it ends with .py
    assert found.loader is not None, path
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def split_spec(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A specification as name and options: ``"knn"`` or ``{"name": "knn", "k": 5}``."""
    if isinstance(spec, str):
        return spec, {}
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"expected a name, or a mapping with 'name' and options, but found {dict(spec)!r}")
    return name, options


def option_types(function: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function, or all parameters of a class: what the configuration may set."""
    try:
        parameters = list(
            inspect.signature(function, eval_str=not dataclasses.is_dataclass(function)).parameters.values()
        )
        if dataclasses.is_dataclass(function):  # fields may be inherited from another module
            hints = get_type_hints(function, include_extras=True)
            parameters = [p.replace(annotation=hints[p.name]) for p in parameters]
    except NameError:  # annotated with something imported for type checkers only: options are then taken as they are
        plain = inspect.signature(function).parameters.values()
        parameters = [p.replace(annotation=p.empty) for p in plain]
    kinds = (inspect.Parameter.KEYWORD_ONLY, *((inspect.Parameter.POSITIONAL_OR_KEYWORD,) * inspect.isclass(function)))
    allowed = [p for p in parameters if p.kind in kinds]
    return {p.name: p for p in allowed}


def checked_options(key: str, function: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with every value converted to the type its parameter is annotated with.

    Raises ConfigError naming ``key`` and the option for an unknown or unfitting one.
    """
    known = option_types(function)
    checked = {}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"unknown key {key}.{name}: {suggest(name, known)}")
        annotation = known[name].annotation
        try:
            checked[name] = (
                TypeAdapter(annotation).validate_python(value) if annotation is not inspect.Parameter.empty else value
            )
        except ValidationError as error:
            raise ConfigError(f"{key}.{name}: {error.errors()[0]['msg']}, but found {value!r}") from None
    return checked


def make(kind: str, spec: str | Mapping[str, Any], key: str | None = None) -> Any:
    """Build the object a specification names: the class of the catalogue called with its checked options."""
    name, options = split_spec(spec)
    factory = resolve(kind, name)
    key = key or kind
    checked = checked_options(key, factory, options)
    for option, parameter in option_types(factory).items():
        if parameter.default is parameter.empty and option not in checked:
            raise ConfigError(f"the key {key}.{option} is missing: {name!r} has no default for it")
    return factory(**checked)
