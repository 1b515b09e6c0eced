"""Presets: what to score, what is asked, what to select and under which rules, each with its paper."""

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
from labelwise.selection.conditions import condition, threshold
from labelwise.selection.picks import Picks
from labelwise.selection.wrappers import apart, balanced, empty_quota, per_group, shortlist

Spec = str | Mapping[str, Any]  # "name", or {"name": ..., option: value, ...}

# what a model must provide for a word of the vocabulary
_PROVIDED = {
    **{word: word for word in ("probs", "samples", "embeddings", "boxes", "keypoints", "objects")},
    "maps": "probs",
    **dict.fromkeys(("owners", "object_labels", "object_scores", "confidences", "box_labels"), "boxes"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A strategy in words: score x unit x reduce x select, and the rules around the selection.

    ``score`` and ``select`` are a catalogue name, an import path, or a mapping with ``name`` and options.
    ``shortlist`` lets only that many times n of the best-scored candidates reach the selection; ``balance`` shares n
    over the predicted classes; ``per_group`` is the most picks of one group in a round; ``near_duplicates`` the least
    cosine distance between picks; ``threshold`` conditions that every candidate must meet, such as ``score >= 0.5``.
    None (or False) leaves a rule out. They apply in this order, from the inside out.

    ``reduce`` makes one score of those of an image's boxes or pixels, each times its class's weight in
    ``class_weights`` (by name, 1 if not named). ``rescale`` then maps the scores of the pool to (lowest, highest).
    ``empty`` says what an image without detection is worth: ``lowest`` 0, ``highest`` or ``mean`` that of the others,
    or ``quota``: ``empty_share`` of the picks are such images, drawn as ``empty_by`` says (at random, or by their
    missed-object score). An image is empty if no box has a confidence of ``shown`` or more.
    """

    select: Spec = "top"
    score: Spec | None = None
    unit: Unit | None = None
    reduce: Spec | None = None
    class_weights: Mapping[str, float] | None = None
    rescale: tuple[float, float] | None = None
    empty: Empty = "mean"
    empty_share: float = 0.1
    empty_by: Literal["random", "missed"] = "random"
    shown: float = 0.0
    shortlist: float | None = None
    balance: bool = False
    per_group: int | None = None
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

    ``needs`` names the predictions the model must provide, of probs, samples, embeddings, boxes, keypoints and objects
    (vectors of boxes); ``uses`` all words of the selection's vocabulary that are asked for (groups among them, if a
    rule wants them).
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
        if wanted is None:
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
        if recipe.unit not in (None, unit):
            raise ConfigError(
                f"{key} chooses {UNITS[recipe.unit]}, but budget.unit={unit}: give one that chooses these"
            )
        select = catalog.split_spec(recipe.select)[0]
        if unit != "image" and select not in ("top", "random"):
            raise ConfigError(f"{key}: expected select=top or random inside images, but found {select!r}")

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


def preset(name: str) -> Recipe:
    """The preset of this name. Raises ConfigError with the nearest names if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"unknown strategy {name!r}: {catalog.suggest(name, PRESETS)}")
    return PRESETS[name]


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
    if recipe.near_duplicates is not None:
        rules.append((apart, {"distance": recipe.near_duplicates}))
    if recipe.per_group is not None:
        rules.append((per_group, {"cap": recipe.per_group}))
    if recipe.threshold:
        texts = [recipe.threshold] if isinstance(recipe.threshold, str) else recipe.threshold
        rules.append((threshold, {"conditions": tuple(condition(text) for text in texts)}))
    return rules


def _check_numbers(recipe: Recipe) -> None:
    """Refuse what no image can be scored by."""
    for name, value in (("empty_share", recipe.empty_share), ("shown", recipe.shown)):
        if not 0 <= value <= 1:
            raise ConfigError(f"strategy.{name}: expected a number from 0 to 1, but found {value}")
    if recipe.empty not in get_args(Empty):
        raise ConfigError(f"strategy.empty: expected {', '.join(get_args(Empty))}, but found {recipe.empty!r}")
    if recipe.rescale is not None and not -math.inf < recipe.rescale[0] <= recipe.rescale[1] < math.inf:
        raise ConfigError(f"strategy.rescale: expected lowest and highest in this order, but found {recipe.rescale}")
    for name, value in (recipe.class_weights or {}).items():
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


PRESETS: dict[str, Recipe] = {
    "random": Recipe(
        select="random",
        paper="the baseline",
        summary="Images drawn uniformly.",
    ),
    "least_confidence": Recipe(
        score="least_confidence",
        paper="Lewis & Gale 1994, A sequential algorithm for training text classifiers",
        summary="The lowest probability of the best class.",
    ),
    "margin": Recipe(
        score="margin",
        paper="Scheffer, Decomain & Wrobel 2001, Active hidden Markov models for information extraction",
        summary="The smallest gap between the two best classes.",
    ),
    "entropy": Recipe(
        score="entropy",
        paper="Settles 2009, Active learning literature survey",
        summary="The highest entropy of the class probabilities.",
    ),
    "bald": Recipe(
        score="bald",
        paper="Houlsby et al. 2011, Bayesian active learning; Gal et al. 2017, Deep Bayesian active learning",
        summary="The strongest disagreement between stochastic passes.",
    ),
    "k_center": Recipe(
        select="k_center",
        paper="Sener & Savarese 2018, Active learning for convolutional neural networks: a core-set approach",
        summary="The farthest from everything labelled, one after the other.",
    ),
    "coral": Recipe(
        score="margin",
        select="coral",
        paper="Lightly's CORAL, as recovered from lightly-mundig 0.1.16",
        summary="Far from everything labelled and a small gap, weighed by two growing sums.",
    ),
    "balanced_coral": Recipe(
        score="margin",
        select={"name": "combined", "parts": [{"by": "diversity"}, {"by": "score"}, {"by": "balance"}]},
        paper="Lightly's combination of strategies, as recovered from lightly-mundig 0.1.16",
        summary="As coral, and the predicted classes of all labels are brought near to equal shares.",
    ),
    "typical_diverse": Recipe(
        select={"name": "combined", "parts": [{"by": "diversity"}, {"by": "typicality"}]},
        paper="Lightly's combination of strategies, as recovered from lightly-mundig 0.1.16",
        summary="Far from everything labelled, but not odd; needs no model.",
    ),
    "robust_k_center": Recipe(
        select="robust_k_center",
        paper="Charikar, Khuller, Mount & Narasimhan 2001, Algorithms for facility location problems with outliers",
        summary="Close to everything but the oddest two per cent; needs no model.",
    ),
    "typiclust": Recipe(
        select="typiclust",
        paper="Hacohen, Dekel & Weinshall 2022, Active learning on a budget",
        summary="The most typical image of each cluster without labels; needs no model.",
    ),
    "centroids": Recipe(
        select="centroids",
        paper="Gupte et al. 2024, Revisiting active learning in the era of vision foundation models",
        summary="The image nearest each k-means centre; needs no model.",
    ),
    "badge": Recipe(
        select="badge",
        paper="Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient lower bounds",
        summary="Uncertain images whose gradients differ.",
    ),
    "herding": Recipe(
        score="margin",
        select={"name": "herding", "need": 0.0},
        paper="Bae, Sutherland & Oliveira 2025, Uncertainty herding: one active learning method for all label budgets",
        summary="What covers most of the uncertainty that labels do not cover yet.",
    ),
    "balanced_herding": Recipe(
        score="margin",
        select="herding",
        paper="Bae, Sutherland & Oliveira 2025, Uncertainty herding; classes after Bengar et al. 2022",
        summary="As herding, and classes with few labels weigh more. The default.",
    ),
    "pixelpick": Recipe(
        score="margin",
        unit="pixel",
        select="random",
        share=0.05,
        paper="Shin, Xie & Albanie 2021, All you need are a few pixels",
        summary="Drawn by chance among the twentieth of an image's pixels with the smallest gaps.",
    ),
    "ripu_pixel": Recipe(
        score={"name": "ripu_pixel", "radius": 32},
        unit="pixel",
        select="top",
        apart=32,
        paper="Xie et al. 2022, Towards fewer annotations (RIPU)",
        summary="The most uncertain pixels among many classes, none near another one of its image.",
    ),
    "ripu_region": Recipe(
        score={"name": "ripu", "radius": 1},
        unit="region",
        select="top",
        paper="Xie et al. 2022, Towards fewer annotations (RIPU)",
        summary="The windows where many classes meet and the model is uncertain, none over another.",
    ),
    "balanced_margin": Recipe(
        score="margin",
        balance=True,
        paper="after Bengar et al. 2022, Class-balanced active learning for image classification; Scheffer et al. 2001",
        summary="The smallest gaps within each predicted class, classes with few labels first.",
    ),
    "balanced_entropy": Recipe(
        score="entropy",
        balance=True,
        paper="after Bengar et al. 2022, Class-balanced active learning for image classification; Settles 2009",
        summary="The highest entropies within each predicted class, classes with few labels first.",
    ),
    "power_margin": Recipe(
        score="margin",
        select={"name": "stochastic", "kind": "power", "beta": 1.0},
        paper="Kirsch et al. 2023, Stochastic batch acquisition: a simple baseline for deep active learning",
        summary="Drawn by chance, small gaps more often; avoids near-equal picks.",
    ),
    "margin_random": Recipe(
        score="margin",
        select="mixture",
        paper="Google's active-learning playground, mixtures of margin and uniform",
        summary="Half of the images by the smallest gap, half at random.",
    ),
    "bandit": Recipe(
        score="margin",
        select="bandit",
        paper="Auer et al. 2002, The nonstochastic multiarmed bandit problem; Google's active-learning playground",
        summary="A mixture of margin and random, drawn by how often it surprised the model in earlier rounds.",
    ),
    "margin_spread": Recipe(
        score="margin",
        select="centroids",
        shortlist=10.0,
        paper="Zhdanov 2019, Diverse mini-batch active learning; compare Citovsky et al. 2021 (Cluster-Margin)",
        summary="Of ten times as many small gaps, the images nearest k-means centres.",
    ),
    "probcover": Recipe(
        select="probcover",
        paper="Yehuda, Dekel, Hacohen & Weinshall 2022, Active learning through a covering lens",
        summary="The image with most images around it that no label covers yet; needs no model.",
    ),
    "max_herding": Recipe(
        select="max_herding",
        paper="Bae, Noh & Sutherland 2024, Generalized coverage for more robust low-budget active learning",
        summary="What brings the whole pool nearest to a label; needs no model.",
    ),
    "facility_location": Recipe(
        select="facility_location",
        paper="Wei, Iyer & Bilmes 2015, Submodularity in data subset selection and active learning",
        summary="What makes every image similar to a labelled one; needs no model.",
    ),
    "cluster_margin": Recipe(
        score="margin",
        select="cluster_margin",
        paper="Citovsky et al. 2021, Batch active learning at scale",
        summary="Of ten times as many small gaps, one of each cluster in turn, small clusters first.",
    ),
    "graph_density": Recipe(
        select="graph_density",
        paper="Ebert, Fritz & Schiele 2012, RALF: a reinforced active learning formulation",
        summary="The densest places of the neighbour graph, each once; needs no model.",
    ),
    "informative_diverse": Recipe(
        score="margin",
        select="informative_diverse",
        paper="Google's active-learning playground, informative_and_diverse",
        summary="The smallest gaps, as many of each cluster as it has of the pool.",
    ),
    "margin_cluster_mean": Recipe(
        select="margin_cluster_mean",
        paper="Xu et al. 2003, Representative sampling for text classification using support vector machines",
        summary="Of the images inside the model's margin, those nearest k-means centres.",
    ),
    "hierarchical": Recipe(
        select="hierarchical",
        paper="Dasgupta & Hsu 2008, Hierarchical sampling for active learning",
        summary="Drawn from a tree of clusters, more often where labels within a cluster differ.",
    ),
    "box_least_confidence": Recipe(
        score="least_confidence",
        reduce="max",
        empty="quota",
        paper="Lightly's uncertainty_least_confidence for detection; after Lewis & Gale 1994",
        summary="Detection: the box whose best class is least sure.",
    ),
    "box_margin": Recipe(
        score="margin",
        reduce="max",
        empty="quota",
        paper="Brust, Käding & Denzler 2019, Active learning for deep object detection; Lightly's uncertainty_margin",
        summary="Detection: the box with the smallest gap between its two best classes.",
    ),
    "box_entropy": Recipe(
        score="entropy",
        reduce="max",
        empty="quota",
        paper="Lightly's uncertainty_entropy for detection; after Settles 2009",
        summary="Detection: the box with the highest entropy.",
    ),
    "box_entropy_sum": Recipe(
        score="entropy",
        reduce="sum",
        empty="quota",
        paper="Yang, Huang & Crowley 2024, Plug and play active learning for object detection, first stage",
        summary="Detection: the most entropy in all boxes together; set class_weights for difficult classes.",
    ),
    "objectness_least_confidence": Recipe(
        score="objectness_least_confidence",
        reduce="mean",
        empty="quota",
        paper="Lightly's objectness_least_confidence",
        summary="Detection: boxes of low confidence on average.",
    ),
    "object_frequency": Recipe(
        score="object_frequency",
        reduce="sum",
        rescale=(0.9, 1.0),
        empty="lowest",
        paper="Lightly's object_frequency",
        summary="Detection: many objects of many classes; an image without any comes last.",
    ),
    "keypoint_uncertainty": Recipe(
        score="keypoint_uncertainty",
        reduce="mean",
        empty="quota",
        paper="Lightly's mean_uncertainty for keypoints",
        summary="Keypoints of low confidence on average.",
    ),
    "missed_objects": Recipe(
        score="missed_objects",
        reduce="sum",
        empty="quota",
        paper="the doubt about what a detector does not show; compare Haussmann et al. 2020, Scalable active learning",
        summary="Detection: the most faint boxes that no shown box explains.",
    ),
    "object_k_center": Recipe(
        select="object_k_center",
        paper="Sener & Savarese 2018, a core-set approach, over objects; compare Popp et al. 2024 (OFDS)",
        summary="Images with an object far from every labelled object, one after the other.",
    ),
    "object_coverage": Recipe(
        select="object_coverage",
        paper="Lee et al. 2024, Coreset selection for object detection; weights as in Bae et al. 2025",
        summary="Images whose objects bring the pool's objects nearest to a labelled one of their class.",
    ),
    "ppal": Recipe(
        score="difficulty_entropy",
        reduce="sum",
        empty="quota",
        select="ppal",
        shortlist=4.0,
        paper="Yang, Huang & Crowley 2024, Plug and play active learning for object detection",
        summary="Of four times as many images with uncertain objects, those that differ by their objects.",
    ),
    "class_balanced": Recipe(
        select="class_balanced",
        paper="Lightly's balance strategy, as recovered from lightly-mundig 0.1.16",
        summary="Images whose objects bring all classes nearest to equal numbers.",
    ),
}
