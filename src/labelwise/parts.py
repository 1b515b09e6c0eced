"""From a configuration to the objects that run it; what does not fit together is refused here, before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from labelwise import catalog, presets, strategies
from labelwise.annotators import Annotator
from labelwise.cache import default_cache
from labelwise.config import Config, StrategyConfig
from labelwise.engine import Engine
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Model, knows_already, provided_by
from labelwise.records import Task, Unit
from labelwise.strategies import Strategy

SEAMS = {"model": Model, "annotator": Annotator, "engine": Engine}


@dataclass(frozen=True)
class Parts:
    """The objects of a run: what reads the data, learns, chooses, asks, and where it runs."""

    read: Callable[[], Any]
    model: Model
    strategy: Strategy
    cold_start: Strategy
    annotator: Annotator
    engine: Engine
    unit: Unit = "image"
    proposals: Model | None = None
    read_source: Callable[[], Any] | None = None


def build(config: Config) -> Parts:
    """Build a run's objects. Raises ConfigError naming the key for every name, option or combination that cannot
    work."""
    reader = catalog.resolve("data", config.data.format)
    options = catalog.checked_options("data", reader, config.data.options)
    model: Model = _made("model", config.model)
    if config.task not in model.tasks:
        raise ConfigError(f"model {config.model.name!r} cannot {config.task}: it can {', '.join(sorted(model.tasks))}")
    strategy, cold_start = strategy_of("strategy", config.strategy), strategy_of("cold_start", config.cold_start)
    for key, chosen in (("strategy", strategy), ("cold_start", cold_start)):
        _check_elements(key, chosen, config.task)
    provided = provided_by(model)
    _check_needs("strategy", strategy, provided, f"model {config.model.name!r}")
    first = provided if knows_already(model) else _before_training(config.task, model)
    _check_needs("cold_start", cold_start, first, "a run before its first training")
    unit = _unit(config, {"strategy": strategy, "cold_start": cold_start})
    if config.task == "segment" and unit == "image":
        strategy = _of_whole_images(strategy)
    annotator: Annotator = _made("annotator", config.annotator)
    if config.task not in (able := getattr(annotator, "tasks", {config.task})):
        raise ConfigError(
            f"annotator {config.annotator.name!r} cannot ask for task={config.task}: it can {', '.join(sorted(able))}; "
            "choose another annotator"
        )
    if unit not in (units := getattr(annotator, "units", {unit})):
        raise ConfigError(
            f"annotator {config.annotator.name!r} cannot ask for budget.unit={unit}, only for "
            f"{', '.join(sorted(units))}; ask for whole images, or set annotator=files"
        )
    return Parts(
        partial(reader, config.data.path, **options),
        model,
        strategy,
        cold_start,
        annotator,
        _made("engine", config.engine),
        unit,
        _proposals(config),
        _source(config, model),
    )


def _proposals(config: Config) -> Model | None:
    """The model that proposes boxes in the first round, where the configuration names one."""
    if config.proposals is None:
        return None
    with proposing(config):
        made: Model = _made("model", config.proposals, "proposals")
    if config.task != "detect" or "detect" not in made.tasks:
        raise ConfigError("proposals: expected task=detect and a model that detects; take the key out")
    if not knows_already(made):
        raise ConfigError(
            f"proposals: expected a model that needs no labels, such as zero_shot, but found {config.proposals.name!r}"
        )
    return made


@contextmanager
def proposing(config: Config) -> Iterator[None]:
    """What the model for proposals says of its options is told under its own key: it takes itself for the ``model``."""
    try:
        yield
    except (ConfigError, ModelError) as error:
        assert config.proposals is not None
        options = "|".join(catalog.option_types(catalog.resolve("model", config.proposals.name)))
        raise type(error)(re.sub(rf"\bmodel\.(?=({options})\b)", "proposals.", str(error))) from error


def _before_training(task: Task, model: Model) -> frozenset[str]:
    """What a model gives without a checkpoint."""
    return model.provides & {"embeddings"} if task != "segment" else frozenset()


def _source(config: Config, model: Model) -> Callable[[], Any] | None:
    """What reads the labelled set beside the pool, if there is one."""
    source = config.source
    if source is None:
        return None
    if not getattr(model, "adapts", False):
        raise ConfigError(f"model {config.model.name!r} cannot learn from a source: leave source out, or use model=fpn")
    if source.last_round is not None and model.start == "scratch":
        raise ConfigError(
            "source.last_round needs model.start=previous or continue, found scratch: what was learnt would be lost"
        )
    reader = catalog.resolve("data", source.format)
    return partial(reader, source.path, **catalog.checked_options("source", reader, source.options))


def _unit(config: Config, used: Mapping[str, Strategy]) -> Unit:
    """What is asked: as the budget says, else as the strategy asks, else whole images."""
    unit = config.budget.unit or used["strategy"].recipe.unit or "image"
    needed = {"image": config.task, "box": "detect"}.get(unit, "segment")
    if config.task != needed:
        raise ConfigError(f"budget.unit={unit} needs task={needed}, found task={config.task}: ask for images")
    for name, plain in (("region", "window"), ("cost", "region")):
        if unit != "region" and (found := getattr(config.budget, name)) != plain:
            raise ConfigError(f"budget.{name}={found} is for budget.unit=region, found {unit}: leave it out")
    if config.budget.per_image and unit in ("image", "box"):
        raise ConfigError(f"budget.per_image=true is for budget.unit=region or pixel, found {unit}: leave it out")
    for key, strategy in used.items():
        strategy.check_unit(key, unit)
    return unit


def _of_whole_images(strategy: Strategy) -> Strategy:
    """The strategy with one score an image: the mean over its pixels, unless it says otherwise."""
    recipe = strategy.recipe
    reduced = recipe.score is None or recipe.reduce is not None
    return strategy if reduced else strategies.assemble(replace(recipe, reduce="mean"))


def strategy_of(key: str, config: StrategyConfig) -> Strategy:
    """The strategy that a branch of the configuration describes."""
    given = {k: v for k, v in config.model_dump(exclude_none=True).items() if k != "name"}
    try:
        recipe = presets.preset(config.name) if config.name else strategies.Recipe()
        return strategies.assemble(replace(recipe, **given))
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def cache_folder(config: Config) -> Path:
    """Where embedding tables lie: ``cache`` of the configuration, $LABELWISE_CACHE, or the user's cache folder."""
    return config.cache if config.cache is not None else default_cache()


def threads_of(config: Config) -> int:
    """Threads that read images."""
    return config.threads or os.cpu_count() or 1


def _made(kind: str, part: Any, key: str = "") -> Any:
    made = catalog.make(kind, {"name": part.name, **part.options}, key or kind)
    lacking = [name for name in dir(SEAMS[kind]) if not name.startswith("_") and not hasattr(made, name)]
    if lacking:
        raise ConfigError(f"{kind} {part.name!r} is no {kind}: it lacks {', '.join(lacking)}; see labelwise.testing")
    return made


def _check_elements(key: str, strategy: Strategy, task: str) -> None:
    recipe = strategy.recipe
    wrong = [name for name in ("reduce", "class_weights") if getattr(recipe, name) is not None]
    wrong += ["empty"] if recipe.empty == "quota" else []
    lacking = sorted(strategy.uses & {"probs", "labels"})
    if task == "detect" and lacking:
        raise ConfigError(
            f"{key} needs a class for each image ({lacking[0]}), but the task is detect: choose another {key}, such as "
            "ppal or class_balanced"
        )
    if task == "classify" and wrong:
        raise ConfigError(
            f"{key}: {wrong[0]} ({getattr(recipe, wrong[0])}) is for boxes or pixels, but the task is classify: "
            f"choose another {key}"
        )


def _check_needs(key: str, strategy: Strategy, provided: frozenset[str], who: str) -> None:
    lacking = sorted(strategy.needs - provided)
    if lacking:
        given = ", ".join(sorted(provided)) or "nothing"
        other = "one with dropout above 0 and several passes" if "samples" in lacking else "another model"
        raise ConfigError(f"{key} needs {', '.join(lacking)}, but {who} gives {given}: choose another {key} or {other}")
