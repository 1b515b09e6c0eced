"""A strategy in words: what to score, what is asked, what to select and under which rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from labelwise.errors import ConfigError
from labelwise.records import Unit
from labelwise.scoring.images import Empty

Spec = str | Mapping[str, Any]  # "name", or {"name": ..., option: value, ...}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A strategy in words: score x unit x reduce x select, and the rules around the selection.

    ``score`` and ``select`` are a catalogue name, an import path, or a mapping with ``name`` and options.
    ``shortlist`` lets only that many times n of the best-scored candidates reach the selection; ``balance`` shares n
    over the predicted classes; ``per_group`` is the most picks of one group in a round; ``per`` the same for values of
    metadata, by name, such as ``{sequence: 1}``; ``near_duplicates`` the least cosine distance between picks;
    ``threshold`` conditions that every candidate must meet, such as ``score >= 0.5``. None (or False) leaves a rule
    out. They apply in this order, from the inside out.

    ``reduce`` makes one score of those of an image's boxes or pixels, each times its class's weight in
    ``class_weights`` (by name, 1 if not named; "difficulty": a run weighs classes by how hard the model finds them on
    labelled images, elsewhere all count 1). ``rescale`` then maps the scores of the pool to (lowest, highest).
    ``empty`` says what an image without detection is worth: ``lowest`` 0, ``highest`` or ``mean`` that of the others,
    or ``quota``: ``empty_share`` of the picks are such images, drawn as ``empty_by`` says (at random, or by their
    missed-object score). An image is empty if no box has a confidence of ``shown`` or more.
    """

    select: Spec = "top"
    score: Spec | None = None
    unit: Unit | None = None
    reduce: Spec | None = None
    class_weights: Mapping[str, float] | Literal["difficulty"] | None = None
    rescale: tuple[float, float] | None = None
    empty: Empty = "mean"
    empty_share: float = 0.1
    empty_by: Literal["random", "missed"] = "random"
    shown: float = 0.0
    shortlist: float | None = None
    balance: bool = False
    per_group: int | None = None
    per: Mapping[str, int] | None = None
    near_duplicates: float | None = None
    share: float | None = None
    apart: int | None = None
    evenly: bool = True
    threshold: str | Sequence[str] = ()
    paper: str = ""
    summary: str = ""


def check_numbers(recipe: Recipe) -> None:
    """Refuse what no image can be scored or picked by: raises ConfigError that names the key."""
    for name, value in (("empty_share", recipe.empty_share), ("shown", recipe.shown)):
        if not 0 <= value <= 1:
            raise ConfigError(f"strategy.{name}: expected a number from 0 to 1, but found {value}")
    if recipe.empty not in get_args(Empty):
        raise ConfigError(f"strategy.empty: expected {', '.join(get_args(Empty))}, but found {recipe.empty!r}")
    if recipe.rescale is not None and not -math.inf < recipe.rescale[0] <= recipe.rescale[1] < math.inf:
        raise ConfigError(f"strategy.rescale: expected lowest and highest in this order, but found {recipe.rescale}")
    if isinstance(recipe.class_weights, str) and recipe.class_weights != "difficulty":
        raise ConfigError(
            f"strategy.class_weights: expected weights by name, or difficulty, but found {recipe.class_weights!r}"
        )
    for name, cap in (recipe.per or {}).items():
        if cap < 1:
            raise ConfigError(f"strategy.per.{name}: expected a cap of 1 or more, but found {cap}")
    named = {} if isinstance(recipe.class_weights, str) else recipe.class_weights or {}
    for name, value in named.items():
        if not 0 <= value < math.inf:
            raise ConfigError(f"strategy.class_weights.{name}: expected a weight of 0 or more, but found {value}")
