"""Checks of what chooses: scores, reductions, selections and whole strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.presets import preset
from labelwise.records import Prediction
from labelwise.selection.compose import OBJECT_WORDS, SCORE_VOCABULARY, Selector, bind, name_of, needs
from labelwise.strategies import Recipe, Strategy, assemble
from labelwise.testing.making import make_inputs, make_objects
from labelwise.testing.verdicts import accepted, require


def check_score(function: Callable[..., Any], **options: Any) -> None:
    """A score gives one finite number per element, class axis last, whatever else is in the batch."""
    who = name_of(function)
    names = accepted(lambda: needs(function, SCORE_VOCABULARY), who)
    require(bool(names), f"{who}: expected a parameter named {' or '.join(SCORE_VOCABULARY)}, found none")
    if names & {"maps", "reconstruction"}:
        _check_map_score(lambda **given: function(**given, **options), names, who)
        return
    if names & OBJECT_WORDS:
        _check_object_score(lambda **given: function(**given, **options), names, who)
        return
    rng = np.random.default_rng(0)
    passes = rng.dirichlet(np.full(4, 0.5), (5, 6)).astype(np.float32)
    passes[:, 0], passes[:, 1] = np.eye(4)[2], 0.25  # certain, and knowing nothing
    arrays = {"samples": passes, "probs": passes.mean(axis=0)}

    def score(change: Callable[[NDArray[Any], int], NDArray[Any]] = lambda a, axis: a) -> NDArray[Any]:
        given = {name: change(arrays[name], 1 if name == "samples" else 0) for name in names}
        kept = {name: array.copy() for name, array in given.items()}
        result = np.asarray(function(**given, **options))
        for name, array in given.items():
            require(np.array_equal(array, kept[name]), f"{who}: expected {name} to stay as it is, but it was changed")
        return result

    whole = score()
    require(whole.shape == (6,), f"{who}: expected one score for each of 6 images, found shape {whole.shape}")
    require(bool(np.isfinite(whole).all()), f"{who}: expected finite scores, found {whole.tolist()}")
    require(np.array_equal(whole, score()), f"{who}: expected the same scores twice from the same predictions")
    alone = np.concatenate([score(lambda a, axis, i=i: a.take([i], axis)) for i in range(6)])  # type: ignore[misc]
    require(np.allclose(alone, whole, atol=1e-5), f"{who}: the score of an image depends on the batch it comes in")
    grid = score(lambda a, axis: a.reshape(*a.shape[:axis], 2, 3, a.shape[-1]))
    require(
        grid.shape == (2, 3) and np.allclose(grid.reshape(-1), whole, atol=1e-5),
        f"{who}: expected (2, 3) scores for a (2, 3) grid, found shape {grid.shape}; the class axis is the last",
    )


def _check_map_score(function: Callable[..., Any], names: frozenset[str], who: str) -> None:
    """A score of maps gives one finite number per pixel, whatever the size of the map."""
    for height, width in ((7, 5), (1, 1)):
        rng = np.random.default_rng(0)
        both = {
            "maps": rng.dirichlet(np.full(4, 0.5), (height, width)).astype(np.float32),
            "reconstruction": rng.random((height, width), dtype=np.float32),
        }
        given = {name: both[name] for name in names}
        kept = {name: array.copy() for name, array in given.items()}
        scores = np.asarray(function(**given))
        require(scores.shape == (height, width), f"{who}: expected a score per pixel, found shape {scores.shape}")
        require(bool(np.isfinite(scores).all()), f"{who}: expected finite scores, found {scores.tolist()}")
        for name, array in given.items():
            require(np.array_equal(array, kept[name]), f"{who}: expected {name} to stay as it is, but it was changed")
        require(np.array_equal(scores, np.asarray(function(**given))), f"{who}: expected the same scores twice")


def _check_object_score(function: Callable[..., Any], names: frozenset[str], who: str) -> None:
    """A score of objects gives one finite number each, none for none, whatever their order."""
    for count in (6, 1, 0):
        arrays = {name: array for name, array in make_objects(count).items() if name in names}
        kept = {name: array.copy() for name, array in arrays.items()}
        whole = np.asarray(function(**arrays))
        require(whole.shape == (count,), f"{who}: expected a score for each of {count} boxes, found {whole.shape}")
        require(bool(np.isfinite(whole).all()), f"{who}: expected finite scores, found {whole.tolist()}")
        for name, array in arrays.items():
            require(np.array_equal(array, kept[name]), f"{who}: expected {name} to stay as it is, but it was changed")
        order = np.random.default_rng(1).permutation(count)
        turned = {n: a[:, order] if n == "samples" else a[order] for n, a in arrays.items()}
        same = np.allclose(np.asarray(function(**turned)), whole[order], atol=1e-5)
        require(same, f"{who}: the scores depend on the order of the boxes")


def check_reduce(function: Callable[..., Any], **options: Any) -> None:
    """A reduction gives one finite number for the elements of a unit, whatever their order; also for none or one."""
    who = name_of(function)
    require(accepted(lambda: needs(function, ("values",)), who) == {"values"}, f"{who}: expected values alone")
    for shape in ((0,), (0, 3), (1,), (7,), (3, 4)):
        values = np.random.default_rng(0).random(shape)
        kept = values.copy()
        result = np.asarray(function(values, **options))
        require(result.shape == (), f"{who}: expected one number for elements {shape}, found shape {result.shape}")
        require(bool(np.isfinite(result)), f"{who}: expected a finite number for elements {shape}, found {result}")
        require(np.array_equal(values, kept), f"{who}: expected values to stay as they are, but they were changed")
        turned = np.random.default_rng(1).permutation(values.reshape(-1)).reshape(shape)
        same = np.allclose(np.asarray(function(turned, **options)), result, atol=1e-6)
        require(same, f"{who}: the result depends on the order of the elements")


def check_select(function: Callable[..., Any], **options: Any) -> None:
    """A selection gives exactly min(n, candidates) different candidates, the same from the same random numbers.

    Fewer only if its picks say why they ended.
    """
    selector = accepted(lambda: bind(function, options), name_of(function))
    _check_selector(selector, name_of(function), needs(function, options=options), exact=True)


def check_strategy(strategy: str | Recipe) -> Strategy:
    """A preset or recipe can be assembled, scores what it asks for, and picks as a selection must; returns it ready."""
    recipe = preset(strategy) if isinstance(strategy, str) else strategy
    ready: Strategy = accepted(lambda: assemble(recipe), str(strategy))
    rules = recipe.per_group, recipe.near_duplicates, recipe.per or None
    hard = any(rule is not None for rule in rules) or bool(recipe.threshold)
    _check_selector(ready.select, str(strategy), ready.uses, exact=not hard)
    probs = np.random.default_rng(0).dirichlet(np.ones(3), (5, 8))
    if ready.recipe.unit not in (None, "image"):
        maps = Prediction("map", probs=np.random.default_rng(0).dirichlet(np.ones(3), (6, 9)))
        found = np.shape(ready.score_map(maps)) if ready.recipe.score else (6, 9)
        require(found == (6, 9), f"{strategy}: expected a score per pixel, (6, 9), found {found}")
        return ready
    if ready.recipe.reduce is not None:
        _check_images(ready, str(strategy))
        return ready
    arrays = {"samples": probs, "probs": probs.mean(axis=0), "embeddings": probs[0].astype(np.float32)}
    scores = ready.score({name: arrays[name] for name in ready.needs & arrays.keys()})
    require(scores is None or np.shape(scores) == (8,), f"{strategy}: expected 8 scores, found {np.shape(scores)}")
    return ready


def _check_images(ready: Strategy, who: str) -> None:
    """A strategy for boxes scores images with several, one and no objects."""
    names = {"box_labels": "labels"}
    records = []
    for count in (0, 1, 4, 6):
        fields: dict[str, Any] = {names.get(n, n): a for n, a in make_objects(count, seed=count).items()}
        fields.pop("class_probs")  # a record's probs, under another name
        records.append(Prediction(str(count), **fields))
    found = accepted(lambda: ready.score_stream(records, ["a", "b", "c", "d"]), who)
    require(found.ids == ("0", "1", "4", "6"), f"{who}: expected scores in the order of the images, found {found.ids}")
    require(bool(np.isfinite(found.values).all()), f"{who}: expected finite scores, found {found.values.tolist()}")
    require(found.empty.tolist() == [True, False, False, False], f"{who}: expected one empty image")


def _check_selector(select: Selector, who: str, words: frozenset[str], *, exact: bool) -> None:
    for labelled in (0, 4):
        size = len(make_inputs(0, labelled=labelled).candidates)
        for n in (0, 1, 5, size, size + 3):
            inputs, again, fresh = (make_inputs(n, labelled=labelled, words=words) for _ in range(3))
            picks = accepted(lambda inputs=inputs: select(inputs), who)  # type: ignore[misc]
            rows = picks.rows
            what = f"{who}: asked for {n} of {size} candidates, "
            require(len(rows) <= min(n, size), f"{what}found {len(rows)}")
            may_end = not exact or bool(picks.ended)
            require(may_end or len(rows) == min(n, size), f"{what}found {len(rows)}")
            require(len(np.unique(rows)) == len(rows), f"{what}found one more than once")
            require(bool(np.isin(rows, inputs.candidates).all()), f"{what}found a row that is no candidate")
            same = rows.tolist() == select(again).rows.tolist()
            require(same, f"{what}found other picks from the same random numbers; draw only from rng")
            for name in (
                *("candidates", "labelled", "labels", "scores", "probs", "embeddings", "groups", "empty"),
                *("objects", "owners", "object_labels", "object_scores"),
            ):
                kept = np.array_equal(getattr(inputs, name), getattr(fresh, name), equal_nan=True)
                require(kept, f"{who}: expected {name} to stay as it is, but it was changed")
