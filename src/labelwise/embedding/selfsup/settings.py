"""The settings of a self-supervised training, with their defaults, and the notes a user should read about them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from labelwise.catalog import suggest
from labelwise.embedding.selfsup.methods import METHODS, loss_options, need_lightly, view_options
from labelwise.errors import ConfigError

Share = Annotated[float, Field(ge=0, lt=1)]
FEW = 64  # images in a batch, for a method that tells the images of a batch apart


@dataclass(frozen=True)
class Settings:
    """How a backbone is trained on unlabelled images.

    ``train_batch`` images in a step, ``lr`` the highest learning rate (AdamW; warm-up over the share ``warmup`` of the
    training, then cosine), ``width`` of the heads' hidden layers, ``momentum`` with which a teacher follows at the
    start (1 at the end). ``views`` and ``loss`` are options of lightly's transform and loss.
    """

    method: str = "simclr"
    epochs: PositiveInt = 20
    train_batch: Annotated[int, Field(ge=2)] = 128
    lr: PositiveFloat = 3e-4
    weight_decay: NonNegativeFloat = 0.01
    warmup: Share = 0.1
    momentum: Share = 0.99
    width: PositiveInt = 1024
    seed: int = 0
    views: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain data, fit for JSON."""
        return asdict(self)


OWN = tuple(f.name for f in fields(Settings) if f.name not in ("method", "epochs", "views", "loss"))


def make_settings(method: str, epochs: int, given: Mapping[str, Any]) -> Settings:
    """Settings from what a user gives by name: our own, those of the method's views, and those of its loss.

    Raises ConfigError for an unknown method or name, or a value that does not fit.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}: {suggest(method, METHODS)}")
    need_lightly()
    own = inspect.signature(Settings, eval_str=True).parameters
    views, loss = view_options(method), loss_options(method)
    found: dict[str, dict[str, Any]] = {"own": {}, "views": {}, "loss": {}}
    for name, value in {**given, "epochs": epochs}.items():
        place = "own" if name in (*OWN, "epochs") else "loss" if name in loss else "views"
        table = {"own": own, "loss": loss, "views": views}[place]
        if name not in table:
            raise ConfigError(f"unknown setting {name!r} of {method}: {suggest(name, [*OWN, *loss, *views])}")
        found[place][name] = _checked(name, table[name], value)
    return Settings(method, **found["own"], views=found["views"], loss=found["loss"])


def _checked(name: str, parameter: inspect.Parameter, value: Any) -> Any:
    if parameter.annotation is parameter.empty:
        return value
    try:
        return TypeAdapter(parameter.annotation).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"the setting {name}: {error.errors()[0]['msg']}, but found {value!r}") from None


def notes(settings: Settings, images: int) -> list[str]:
    """What a user should know about these settings on so many images."""
    found = []
    batch = min(settings.train_batch, images)
    if batch < settings.train_batch:
        found.append(f"note: train_batch is {batch}, for there are only {images} images")
    if batch < FEW and METHODS[settings.method].compares:
        others = ", ".join(name for name, entry in METHODS.items() if not entry.compares)
        found.append(
            f"note: {settings.method} tells the images of a batch apart, and {batch} are few: give {FEW} or more, or "
            f"another method ({others})"
        )
    return found
