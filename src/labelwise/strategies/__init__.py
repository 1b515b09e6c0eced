"""Strategies: recipes of what to score, what is asked, what to select and under which rules, made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labelwise import catalog
from labelwise.errors import ConfigError, SelectionError
from labelwise.records import UNITS, Prediction, Unit
from labelwise.scoring.images import Scored, element_scores, image_score, rescaled, scored
from labelwise.selection.compose import OBJECT_WORDS, SCORE_VOCABULARY, Selector
from labelwise.selection.terms import Part
from labelwise.strategies.functions import conditions, reducer, resolved, rules, scorer, selector
from labelwise.strategies.recipe import Recipe as Recipe
from labelwise.strategies.recipe import check_numbers

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
        return chosen not in ("top", "random") or bool(rules(self.recipe))

    @property
    def columns(self) -> frozenset[str]:
        """The names of metadata that its rules and the parts of its selection ask for."""
        options = [value for value in resolved("select", self.recipe.select)[1].values() if isinstance(value, tuple)]
        parts = {part.column for value in options for part in value if isinstance(part, Part)}
        met = {condition.column for condition in conditions(self.recipe)}
        return frozenset({*(self.recipe.per or ()), *(parts - {None}), *(met - {"score"})})

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
    check_numbers(recipe)
    select, uses = selector(recipe)
    if "scores" in uses and recipe.score is None and "scores" not in given:
        raise ConfigError(
            f"strategy: {_who_needs_scores(recipe)} needs scores; set strategy.score, for example to margin"
        )
    if recipe.score is None:
        return Strategy(recipe, _provided(uses), uses, select)
    score, score_needs = scorer(recipe.score)
    if score_needs & OBJECT_WORDS and recipe.reduce is None:
        raise ConfigError(
            f"strategy: score {catalog.split_spec(recipe.score)[0]!r} gives one number per object; set strategy.reduce "
            f"to one of {', '.join(catalog.TABLES['reduce'])}"
        )
    reduce = None if recipe.reduce is None else reducer(recipe.reduce)
    return Strategy(recipe, _provided(uses | score_needs), uses, select, score, score_needs, reduce)


def _provided(words: Collection[str]) -> frozenset[str]:
    """What a model must provide for these words of the vocabulary."""
    return frozenset(_PROVIDED[word] for word in words if word in _PROVIDED)


def _who_needs_scores(recipe: Recipe) -> str:
    name = catalog.split_spec(recipe.select)[0]
    if recipe.shortlist is not None:
        return f"shortlist (before {name!r})"
    return f"threshold (before {name!r})" if recipe.threshold and name != "top" else f"select {name!r}"
