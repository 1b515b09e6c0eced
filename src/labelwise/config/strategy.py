"""The keys below ``strategy`` and ``cold_start``: a preset, what is changed of it, or a recipe; and it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from labelwise.config.node import Node, as_mapping


def _spec(value: Any) -> Any:
    if value is not None and not isinstance(value, str) and not (isinstance(value, Mapping) and "name" in value):
        raise ValueError("must be a name, or a mapping with 'name' and options")
    return value


def _weights(value: Any) -> Any:
    named = isinstance(value, Mapping) and all(_is_weight(v) for v in value.values())
    if not (value is None or value == "difficulty" or named):
        raise ValueError("must be numbers by class name, or 'difficulty'")
    return value


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Looked at as a whole first: of a union each part would complain.
Weights = Annotated[dict[str, float] | Literal["difficulty"] | None, BeforeValidator(_weights)]
Spec = Annotated[str | dict[str, Any] | None, BeforeValidator(_spec)]


class StrategyConfig(Node):
    """A preset by name, changed by the other keys; or a recipe of its own without a name."""

    name: str | None = Field(default=None, description="preset to begin with")
    score: Spec = Field(default=None, description="how much one element wants a label")
    reduce: Spec = Field(
        default=None, description="how the scores of an image's boxes or pixels become one (classification needs none)"
    )
    class_weights: Weights = Field(
        default=None,
        description="what the scores of a class's boxes or pixels are multiplied by, by name (others: 1); or "
        "'difficulty': more for classes that the model finds hard on labelled images",
    )
    rescale: tuple[float, float] | None = Field(
        default=None, description="map the pool's scores so that these are the lowest and the highest"
    )
    empty: Literal["lowest", "highest", "mean", "quota"] | None = Field(
        default=None,
        description="what an image without detection is worth; quota: a share of the picks are such images",
    )
    empty_share: float | None = Field(default=None, ge=0, le=1, description="that share")
    empty_by: Literal["random", "missed"] | None = Field(
        default=None, description="which of them: drawn at random, or by their missed-object score"
    )
    shown: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="an image is without detection if no box is this sure; 0: if it has no box",
    )
    select: Spec = Field(default=None, description="which candidates to take")
    shortlist: float | None = Field(
        default=None, ge=1, description="only the best-scored n x this many candidates reach the selection"
    )
    balance: bool | None = Field(
        default=None, description="share the budget over predicted classes, the least labelled first"
    )
    per_group: int | None = Field(default=None, ge=1, description="at most this many images of a group in one round")
    per: dict[str, Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="at most so many images of one value of their metadata in one round, by its name: "
        "`{sequence: 1, location: 10}`",
    )
    near_duplicates: float | None = Field(
        default=None, ge=0, le=2, description="no two picks closer than this cosine distance"
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of an image's pixels or regions only this best-scored share is chosen from",
    )
    apart: int | None = Field(
        default=None, ge=0, description="pixels: none within this many pixels of another one of the image"
    )
    evenly: bool | None = Field(
        default=None, description="pixels and regions: the same number in every image, or the best of the whole pool"
    )
    threshold: str | list[str] | None = Field(
        default=None, description="what every candidate must meet, such as `score >= 0.5`; one or a list"
    )


StrategyPart = Annotated[StrategyConfig, BeforeValidator(as_mapping)]


def strategy_text(strategy: StrategyConfig) -> str:
    """A strategy in a few words: its name and what was changed of it."""
    changes = strategy.model_dump(exclude_none=True)
    name = str(changes.pop("name", "recipe"))
    return f"{name} ({', '.join(f'{k}={v}' for k, v in changes.items())})" if changes else name
