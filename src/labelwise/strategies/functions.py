"""The functions that a recipe names, each with its options: score, reduction, and the selection inside its rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labelwise import catalog
from labelwise.errors import ConfigError
from labelwise.selection.compose import SCORE_VOCABULARY, Selector, bind, checked, name_of, needs, wrap
from labelwise.selection.conditions import Condition, condition, threshold
from labelwise.selection.picks import Picks
from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, per_value, shortlist
from labelwise.strategies.recipe import Recipe, Spec


def selector(recipe: Recipe) -> tuple[Selector, frozenset[str]]:
    """The selection inside its rules, and the words of the vocabulary that they ask for."""
    function, options = resolved("select", recipe.select)
    select, uses = bind(function, options), needs(function, options=options)
    for wrapper, options in rules(recipe):
        select, uses = wrap(wrapper, select, options), uses | needs(wrapper, options=options)
    return select, uses


def rules(recipe: Recipe) -> list[tuple[Callable[..., Picks], dict[str, Any]]]:
    """The wrappers a recipe asks for, from the inside out: hard rules outermost, so that they hold for the whole."""
    found: list[tuple[Callable[..., Picks], dict[str, Any]]] = []
    if recipe.shortlist is not None:
        found.append((shortlist, {"factor": recipe.shortlist}))
    if recipe.balance:
        found.append((balanced, {}))
    if recipe.empty == "quota":
        found.append((empty_quota, {"share": recipe.empty_share, "by": recipe.empty_by}))
    if recipe.per_group is not None:
        found.append((per_group, {"cap": recipe.per_group}))
    if recipe.per:
        found.append((per_value, {"caps": dict(recipe.per)}))
    # Outside of the caps: asked again, a cap costs little, while distances would all be computed anew.
    if recipe.near_duplicates is not None:
        found.append((apart, {"distance": recipe.near_duplicates}))
    if recipe.threshold:
        found.append((threshold, {"conditions": conditions(recipe)}))
    return found


def conditions(recipe: Recipe) -> tuple[Condition, ...]:
    """What every candidate must meet."""
    texts = [recipe.threshold] if isinstance(recipe.threshold, str) else recipe.threshold
    return tuple(condition(text) for text in texts)


def reducer(spec: Spec) -> Callable[..., Any]:
    """From the scores of one image's boxes or pixels to one number. Raises ConfigError if it takes no ``values``."""
    function, options = resolved("reduce", spec)
    if needs(function, ("values",)) != {"values"}:
        raise ConfigError(f"reduce {name_of(function)}: expected a parameter named values, found none")
    options = checked(function, options, ("values",))
    return lambda values: function(values, **options)


def scorer(spec: Spec) -> tuple[Callable[..., Any], frozenset[str]]:
    """The score, and which predictions it asks for by name. Raises ConfigError if it asks for none."""
    function, options = resolved("score", spec)
    names = needs(function, SCORE_VOCABULARY)
    if not names:
        raise ConfigError(
            f"score {name_of(function)}: expected a parameter named {' or '.join(SCORE_VOCABULARY)}, found none"
        )
    options = checked(function, options, SCORE_VOCABULARY)
    return lambda **arrays: function(**arrays, **options), names


def resolved(kind: str, spec: Spec) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function a spec names and its options, each of the type its parameter says. Raises ConfigError."""
    if not isinstance(spec, str) and "name" not in spec:
        raise ConfigError(
            f"strategy.{kind}: expected a name, or a mapping with 'name' and options, but found {dict(spec)!r}"
        )
    name, options = catalog.split_spec(spec)
    function = catalog.resolve(kind, name)
    return function, catalog.checked_options(f"strategy.{kind}", function, options)
