"""Strategies: a recipe of what to score, what is asked, what to select and under which rules, made ready to run."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from labelwise import catalog
from labelwise.errors import ConfigError, SelectionError
from labelwise.records import UNITS, Prediction, Unit
from labelwise.scoring.images import Empty, Scored, element_scores, image_score, rescaled, scored
from labelwise.selection.compose import OBJECT_WORDS, SCORE_VOCABULARY, Selector, bind, checked, name_of, needs, wrap
from labelwise.selection.conditions import Condition, condition, threshold
from labelwise.selection.picks import Picks
from labelwise.selection.terms import Part
from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, per_value, shortlist

Spec = str | Mapping[str, Any]  # "name", or {"name": ..., option: value, ...}

# what a model must provide for a word of the vocabulary
_PROVIDED = {
    **{
        word: word
        for word in ("probs", "samples", "embeddings", "boxes", "keypoints", "objects", "flipped", "reconstruction")
    },
    "maps": "probs",
    "labelled_probs": "probs",
    "class_probs": "probs",
    **dict.fromkeys(("owners", "object_labels", "object_scores", "confidences", "box_labels"), "boxes"),
}

# what is known of a pixel or region
_INSIDE = frozenset(
    ("n", "candidates", "labelled", "labels", "scores", "probs", "embeddings", "groups", "metadata", "rng", "engine")
)


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


@dataclass(frozen=True, slots=True, eq=False)
class Strategy:
    """A recipe made ready: what to ask the model for, how to score, how to select.

    ``needs`` names the predictions the model must provide, of probs, samples, embeddings, boxes, keypoints, objects
    (vectors of boxes) and flipped; ``uses`` all words of the selection's vocabulary that are asked for (groups among
    them, if a rule wants them).
    """

    recipe: Recipe
    needs: frozenset[str]
    uses: frozenset[str]
    select: Selector
    _score: Callable[..., Any] | None = None
    _score_needs: frozenset[str] = field(default=frozenset())
    _reduce: Callable[..., Any] | None = None

    def score_prediction(self, prediction: Prediction, classes: Sequence[str] = ()) -> float:
        """The score of one image from a model's record of it; 0 if there is nothing in it to score.

        ``classes`` are the names of the record's classes, which ``class_weights`` need. Raises SelectionError, naming
        the image, if the record lacks what the score asks for or the score is not finite; ConfigError for an unknown
        class.
        """
        if self._score is None:
            raise SelectionError("the strategy has no score; set strategy.score, for example to margin")
        return image_score(prediction, self._score, self._score_needs, self._reduce, self._weights(classes))

    def score_elements(self, prediction: Prediction) -> Any:
        """The scores ``(N,)`` of a record's objects, before class weights and ``reduce``; zeros without a score."""
        if self._score is None:
            return np.zeros(0 if prediction.boxes is None else len(prediction.boxes))
        return element_scores(prediction, self._score, self._score_needs)

    def score_stream(self, predictions: Iterable[Prediction], classes: Sequence[str] = ()) -> Scored:
        """The scores of images as their records come by, one in memory at a time, under the rules ``empty`` and
        ``rescale``.

        Returns ids, values ``(N,)`` and the mask ``empty`` ``(N,)`` in the order of the stream; the last two are what
        ``select`` asks for as scores and empty. Raises as ``score_prediction``.
        """
        self._weights(classes)  # refuses an unknown class before anything is read
        found = scored(
            predictions,
            lambda prediction: self.score_prediction(prediction, classes),
            empty=self.recipe.empty,
            shown=self.recipe.shown,
        )
        return Scored(found.ids, self.finish(found.values), found.empty)

    def finish(self, scores: Any) -> Any:
        """The scores ``(N,)`` of the whole pool, mapped to the range that the recipe's ``rescale`` wants, if any."""
        return scores if self.recipe.rescale is None else rescaled(scores, *self.recipe.rescale)

    def _weights(self, classes: Sequence[str]) -> Any:
        wanted = self.recipe.class_weights
        if wanted is None or isinstance(wanted, str):
            return None
        for name in wanted:
            if name not in classes:
                raise ConfigError(f"strategy.class_weights: unknown class {name!r}: {catalog.suggest(name, classes)}")
        return np.array([float(wanted.get(name, 1.0)) for name in classes])

    def score(self, arrays: Mapping[str, Any]) -> Any:
        """Scores ``(N,)`` from prediction arrays by name (rows after the passes in ``samples``), or None.

        With ``reduce`` each row is an image with its elements, such as ``(N, h, w, C)`` pixels.
        Arrays are numpy or tensors, the result is of the same kind. Raises SelectionError if an array is missing or the
        score does not give one number per row.
        """
        if self._score is None:
            return None
        missing = sorted(self._score_needs - arrays.keys())
        if missing:
            raise SelectionError(
                f"score {self.recipe.score!r} needs {missing[0]}, {SCORE_VOCABULARY[missing[0]]}; give them"
            )
        given = {name: arrays[name] for name in sorted(self._score_needs)}
        result = self._score(**given)
        if self._reduce is not None:
            result = self._reduced(result)
        for name, array in given.items():
            rows = array.shape[1] if name == "samples" else array.shape[0]
            if tuple(result.shape) != (rows,):
                raise SelectionError(
                    f"score {self.recipe.score!r}: expected one number for each of {rows} rows of {name}, "
                    f"but found shape {tuple(result.shape)}"
                )
        return result

    def score_map(self, prediction: Prediction) -> Any:
        """Scores ``(h, w)`` of the pixels of one image. Raises SelectionError if the score gives something else."""
        assert self._score is not None
        return element_scores(prediction, self._score, self._score_needs)

    def check_unit(self, key: str, unit: Unit) -> None:
        """Raises ConfigError, naming the ``key``, if the strategy cannot choose what is asked."""
        recipe = self.recipe
        if recipe.unit not in (None, unit) and not (recipe.unit == "image" and unit == "box"):
            raise ConfigError(
                f"{key} chooses {UNITS[recipe.unit]}, but budget.unit={unit}: give one that chooses these"
            )
        if unit in ("image", "box") or not self.compares:
            return
        if recipe.evenly:
            raise ConfigError(
                f"{key}: select={catalog.split_spec(recipe.select)[0]} and rules compare {UNITS[unit]} of the whole "
                f"pool, but evenly asks for the same number in every image: set {key}.evenly=false"
            )
        if self.uses - _INSIDE:
            raise ConfigError(
                f"{key} needs {', '.join(sorted(self.uses - _INSIDE))}, which {UNITS[unit]} have not: choose another"
            )

    @property
    def compares(self) -> bool:
        """True if pixels or regions are chosen by looking at those of the whole pool, not image by image."""
        chosen = catalog.split_spec(self.recipe.select)[0]
        return chosen not in ("top", "random") or bool(_rules(self.recipe))

    @property
    def columns(self) -> frozenset[str]:
        """The names of metadata that its rules and the parts of its selection ask for."""
        options = [value for value in _resolve("select", self.recipe.select)[1].values() if isinstance(value, tuple)]
        parts = {part.column for value in options for part in value if isinstance(part, Part)}
        conditions = {condition.column for condition in _conditions(self.recipe)}
        return frozenset({*(self.recipe.per or ()), *(parts - {None}), *(conditions - {"score"})})

    def _reduced(self, values: Any) -> Any:
        assert self._reduce is not None
        if values.ndim < 2:
            raise SelectionError(
                f"reduce {self.recipe.reduce!r}: expected the boxes or pixels of each image, but found one prediction "
                "an image; leave reduce out, or choose a strategy for whole images"
            )
        from labelwise.units import each  # torch

        return each(values, self._reduce)


def assemble(recipe: Recipe, given: Collection[str] = ()) -> Strategy:
    """Look up a recipe's parts and check that they fit, before anything runs.

    ``given`` names selection inputs that come from elsewhere (``pick`` may be given scores).
    Raises ConfigError for an unknown name, option or parameter, and if scores are needed but nothing gives them.
    """
    _check_numbers(recipe)
    select, uses = _selector(recipe)
    if "scores" in uses and recipe.score is None and "scores" not in given:
        raise ConfigError(
            f"strategy: {_who_needs_scores(recipe)} needs scores; set strategy.score, for example to margin"
        )
    if recipe.score is None:
        return Strategy(recipe, _provided(uses), uses, select)
    score, score_needs = _scorer(recipe.score)
    if score_needs & OBJECT_WORDS and recipe.reduce is None:
        raise ConfigError(
            f"strategy: score {catalog.split_spec(recipe.score)[0]!r} gives one number per object; set strategy.reduce "
            f"to one of {', '.join(catalog.TABLES['reduce'])}"
        )
    reduce = None if recipe.reduce is None else _reducer(recipe.reduce)
    return Strategy(recipe, _provided(uses | score_needs), uses, select, score, score_needs, reduce)


def _provided(words: Collection[str]) -> frozenset[str]:
    """What a model must provide for these words of the vocabulary."""
    return frozenset(_PROVIDED[word] for word in words if word in _PROVIDED)


def _selector(recipe: Recipe) -> tuple[Selector, frozenset[str]]:
    function, options = _resolve("select", recipe.select)
    selector, uses = bind(function, options), needs(function, options=options)
    for wrapper, options in _rules(recipe):
        selector, uses = wrap(wrapper, selector, options), uses | needs(wrapper, options=options)
    return selector, uses


def _rules(recipe: Recipe) -> list[tuple[Callable[..., Picks], dict[str, Any]]]:
    """The wrappers a recipe asks for, from the inside out: hard rules outermost, so that they hold for the whole."""
    rules: list[tuple[Callable[..., Picks], dict[str, Any]]] = []
    if recipe.shortlist is not None:
        rules.append((shortlist, {"factor": recipe.shortlist}))
    if recipe.balance:
        rules.append((balanced, {}))
    if recipe.empty == "quota":
        rules.append((empty_quota, {"share": recipe.empty_share, "by": recipe.empty_by}))
    if recipe.per_group is not None:
        rules.append((per_group, {"cap": recipe.per_group}))
    if recipe.per:
        rules.append((per_value, {"caps": dict(recipe.per)}))
    # Outside of the caps: asked again, a cap costs little, while distances would all be computed anew.
    if recipe.near_duplicates is not None:
        rules.append((apart, {"distance": recipe.near_duplicates}))
    if recipe.threshold:
        rules.append((threshold, {"conditions": _conditions(recipe)}))
    return rules


def _conditions(recipe: Recipe) -> tuple[Condition, ...]:
    texts = [recipe.threshold] if isinstance(recipe.threshold, str) else recipe.threshold
    return tuple(condition(text) for text in texts)


def _check_numbers(recipe: Recipe) -> None:
    """Refuse what no image can be scored by."""
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


def _reducer(spec: Spec) -> Callable[..., Any]:
    function, options = _resolve("reduce", spec)
    if needs(function, ("values",)) != {"values"}:
        raise ConfigError(f"reduce {name_of(function)}: expected a parameter named values, found none")
    options = checked(function, options, ("values",))
    return lambda values: function(values, **options)


def _scorer(spec: Spec) -> tuple[Callable[..., Any], frozenset[str]]:
    function, options = _resolve("score", spec)
    names = needs(function, SCORE_VOCABULARY)
    if not names:
        raise ConfigError(
            f"score {name_of(function)}: expected a parameter named {' or '.join(SCORE_VOCABULARY)}, found none"
        )
    options = checked(function, options, SCORE_VOCABULARY)
    return lambda **arrays: function(**arrays, **options), names


def _resolve(kind: str, spec: Spec) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function a spec names and its options, each of the type its parameter says."""
    if not isinstance(spec, str) and "name" not in spec:
        raise ConfigError(
            f"strategy.{kind}: expected a name, or a mapping with 'name' and options, but found {dict(spec)!r}"
        )
    name, options = catalog.split_spec(spec)
    function = catalog.resolve(kind, name)
    return function, catalog.checked_options(f"strategy.{kind}", function, options)


def _who_needs_scores(recipe: Recipe) -> str:
    name = catalog.split_spec(recipe.select)[0]
    if recipe.shortlist is not None:
        return f"shortlist (before {name!r})"
    return f"threshold (before {name!r})" if recipe.threshold and name != "top" else f"select {name!r}"
