"""Choosing pixels or regions inside images: predict, score and choose are one function per batch, so that a worker
holds the maps of one batch and returns only what it chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise import catalog
from labelwise.data.masks import read_mask, void_of
from labelwise.engine import Engine, Work
from labelwise.errors import SelectionError
from labelwise.models import Model, Progress
from labelwise.records import Prediction, Sample
from labelwise.report.maps import write_score_map
from labelwise.selection.pixels import balanced_pixels, pixel_pick, top_pixels
from labelwise.selection.places import Places
from labelwise.selection.regions import choose_regions
from labelwise.strategies import Recipe, Strategy, assemble

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Item:
    """One image to choose in: how many at most, what was asked of it before, and the seed of its random numbers.

    ``void`` is the mask file whose void pixels are never asked (a simulated annotator's); ``picture`` where the score
    map is drawn, or None.
    """

    sample: Sample
    n: int
    asked: tuple[NDArray[Any], ...]
    seed: tuple[int, ...]
    void: bool = False
    picture: Path | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen in one image, best first: ``geometry`` (n, 2) pixels or (n, 4) windows, ``scores`` (n,) of them,
    the predicted class ``labels`` (n,) of a pixel or of a window's centre (-1 before there is a model)."""

    sample_id: str
    geometry: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class ChooseInside:
    """What a worker does: called once in each worker, gives the function from items to choices."""

    model: Model
    checkpoint: Path | None
    recipe: Recipe
    unit: Literal["region", "pixel"]
    radius: int

    def __call__(self) -> Work:
        return partial(self._choices, assemble(self.recipe))

    def _choices(self, strategy: Strategy, items: Sequence[Item]) -> list[Choice]:
        if self.checkpoint is None or not strategy.needs:
            return [self._choose(strategy, item, None) for item in items]
        predictions = self.model.predict(self.checkpoint, [i.sample for i in items], want=strategy.needs)
        return [self._choose(strategy, item, found) for item, found in zip(items, predictions, strict=True)]

    def _choose(self, strategy: Strategy, item: Item, found: Prediction | None) -> Choice:
        rng = np.random.default_rng(item.seed)
        scores = self._scores(strategy, item, found, rng)
        if item.picture is not None and found is not None:
            write_score_map(item.picture, scores)
        places = self._places(scores, item, None if found is None else found.probs, rng)
        geometry = places.boxes(self.radius, scores.shape) if self.unit == "region" else places.points
        x, y = places.points.T
        probs = None if found is None else found.probs
        labels = np.full(len(x), -1) if probs is None else probs[y, x].argmax(axis=1)
        return Choice(
            item.sample.id,
            geometry.astype(np.int32),
            places.scores.astype(np.float32),
            labels.astype(np.int32),
        )

    def _places(
        self, scores: NDArray[np.float32], item: Item, probs: NDArray[Any] | None, rng: np.random.Generator
    ) -> Places:
        free, name, recipe = _free(item, scores.shape), item.sample.id, self.recipe
        if self.unit == "region":
            before = _centres(item, scores.shape, self.radius)
            return choose_regions(item.n, scores, radius=self.radius, free=free, before=before, name=name)
        if recipe.apart:
            before = np.concatenate([np.empty((0, 2), np.int64), *item.asked])
            return choose_regions(item.n, scores, radius=0, apart=recipe.apart, free=free, before=before, name=name)
        drawn = catalog.split_spec(recipe.select)[0] == "random"
        if recipe.balance and probs is not None:
            by, share = rng if drawn else None, recipe.share or 1.0
            return balanced_pixels(item.n, scores, probs, by, share=share, free=free, name=name)
        if drawn:
            return pixel_pick(item.n, scores, rng, share=recipe.share or 1.0, free=free, name=name)
        return top_pixels(item.n, scores, free=free, name=name)

    def _scores(
        self, strategy: Strategy, item: Item, found: Prediction | None, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        if found is None or self.recipe.score is None:
            width, height = item.sample.size
            return rng.random((height, width), dtype=np.float32)
        scores = np.asarray(strategy.score_map(found), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise SelectionError(
                f"the score of {item.sample.id} is not a finite number everywhere: look at the score function and the "
                "image"
            )
        return scores


def _centres(item: Item, shape: tuple[int, ...], radius: int) -> NDArray[np.int64]:
    """The centres of the windows asked before; those at the border were clipped."""
    boxes = np.concatenate([np.empty((0, 4), np.int64), *item.asked])
    low, high, size = boxes[:, :2], boxes[:, 2:], np.array([shape[1], shape[0]])
    return np.where(low > 0, low + radius, np.where(high < size, high - 1 - radius, size // 2))


def _free(item: Item, shape: tuple[int, ...]) -> Flags:
    """The pixels of an image that may still be asked."""
    free = np.ones(shape, dtype=bool)
    for geometry in item.asked:
        if geometry.shape[1] == 2:
            free[geometry[:, 1], geometry[:, 0]] = False
        else:
            for x0, y0, x1, y1 in geometry:
                free[y0:y1, x0:x1] = False
    if item.void and item.sample.target is not None and item.sample.target.mask is not None:
        mask = read_mask(item.sample.target.mask, len(item.sample.target.classes), size=item.sample.size)
        free &= mask != void_of(mask)
    return free


def choose(engine: Engine, work: ChooseInside, items: Sequence[Item], n: int, progress: Progress) -> list[Choice]:
    """What is chosen in the items, in their order: what each asks for, or the n best of all where that is more.

    Exact, since no image gives more than it is asked for; equal scores go to the earlier image. Of what has come only
    the n best are held.
    """
    held: list[Choice] = []
    count = 0
    found = engine.map_batches(work, items, batch_size=work.model.batch_size)
    for done, choice in enumerate(found, start=1):
        held.append(choice)
        count += len(choice.scores)
        if count > 4 * n:
            held, count = _best(held, n), n
        progress(done, len(items), "images looked through")
    return _best(held, n) if count > n else held


def _best(choices: Sequence[Choice], n: int) -> list[Choice]:
    scores = np.concatenate([np.empty(0, np.float32), *(c.scores for c in choices)])
    kept = np.zeros(len(scores), dtype=bool)
    kept[np.argsort(-scores, kind="stable")[:n]] = True
    parts = np.split(kept, np.cumsum([len(c.scores) for c in choices])[:-1]) if choices else []
    return [take(c, part) for c, part in zip(choices, parts, strict=True)]


def take(choice: Choice, which: NDArray[Any]) -> Choice:
    """Part of a choice, by flags or positions."""
    return Choice(choice.sample_id, choice.geometry[which], choice.scores[which], choice.labels[which])


def facts(choice: Choice, classes: Sequence[str]) -> Mapping[str, Any]:
    """Why these pixels or regions: their scores, and the classes the model sees there."""
    if not len(choice.scores):
        return {}
    if (choice.labels < 0).all():
        return {"drawn": "at random"}
    seen = np.bincount(choice.labels[choice.labels >= 0], minlength=len(classes))
    named = [f"{classes[i]} {seen[i]}" for i in np.argsort(-seen, kind="stable")[:4] if seen[i]]
    return {
        "mean_score": float(choice.scores.mean()),
        "lowest_score": float(choice.scores.min()),
        "predicted": ", ".join(named),
    }
