"""Choosing pixels or regions inside images: predict, score and choose are one function per batch, so that a worker
holds the maps of one batch and returns only what it chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.engine import Engine, Work
from labelwise.errors import SelectionError
from labelwise.loop.areas import Ask, Found, Item, affordable, find, means
from labelwise.models import Model, Progress
from labelwise.records import Prediction
from labelwise.report.maps import write_score_map
from labelwise.selection.pixels import evenly
from labelwise.strategies import Recipe, Strategy, assemble


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen in one image, best first: ``geometry`` (n, 2) pixels, (n, 4) windows or (n,) superpixel ids,
    ``scores`` (n,) of them, the predicted class ``labels`` (n,) of a pixel, of a window's centre or of most of a
    superpixel (-1 before there is a model), and ``pixels`` (n,) that each one adds."""

    sample_id: str
    geometry: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    pixels: NDArray[np.int32]


@dataclass(frozen=True)
class ChooseInside:
    """What a worker does: called once in each worker, gives the function from items to choices."""

    model: Model
    checkpoint: Path | None
    recipe: Recipe
    ask: Ask

    def __call__(self) -> Work:
        return partial(self._choices, assemble(self.recipe))

    def _choices(self, strategy: Strategy, items: Sequence[Item]) -> list[Choice]:
        if self.checkpoint is None or not strategy.needs:
            return [self.choice(strategy, item, None) for item in items]
        predictions = self.model.predict(self.checkpoint, [i.sample for i in items], want=strategy.needs)
        return [self.choice(strategy, item, found) for item, found in zip(items, predictions, strict=True)]

    def choice(self, strategy: Strategy, item: Item, prediction: Prediction | None) -> Choice:
        """What is chosen in one image, given what the model says of it."""
        rng = np.random.default_rng(item.seed)
        scores = self._scores(strategy, item, prediction, rng)
        if item.picture is not None and prediction is not None:
            write_score_map(item.picture, scores)
        found = find(self.ask, self.recipe, scores, item, rng)
        labels = np.full(len(found.scores), -1)
        if prediction is not None and prediction.probs is not None and len(labels):
            labels = self._labels(item, found, prediction.probs)
        return Choice(
            item.sample.id,
            found.geometry.astype(np.int32),
            found.scores.astype(np.float32),
            labels.astype(np.int32),
            found.pixels.astype(np.int32),
        )

    def _labels(self, item: Item, found: Found, probs: NDArray[Any]) -> NDArray[Any]:
        if self.ask.superpixels is not None:
            return np.asarray(means(self.ask, item, probs, found.geometry).argmax(axis=1))
        low, high = found.geometry[:, :2], found.geometry[:, -2:]
        x, y = ((low + high) // 2).T
        return np.asarray(probs[y, x].argmax(axis=1))

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


def choose(
    engine: Engine, work: ChooseInside, items: Sequence[Item], n: int, progress: Progress, *, each: bool = False
) -> list[Choice]:
    """What is chosen in the items, in their order: what each asks for, or the best of all that a budget of n pays for.

    Exact, since no image gives more than it is asked for; equal scores go to the earlier image. What an image has no
    room for is shared out over those that have, unless the budget is for ``each`` image. Of what has come only the best
    are held.
    """
    if sum(item.n for item in items) <= n:
        return _choose_evenly(engine, work, items, n, progress, each)
    held: list[Choice] = []
    count = 0
    for choice in _looked_through(engine, work, items, progress):
        held.append(choice)
        count += int(_costs(work.ask, choice).sum())
        if count > 4 * n:
            # One more than can be paid for is held: nothing below it may take its place.
            held, count = _best(work.ask, held, n, more=1), n
    return _best(work.ask, held, n)


def _choose_evenly(
    engine: Engine, work: ChooseInside, items: Sequence[Item], n: int, progress: Progress, each: bool
) -> list[Choice]:
    """The same number in every image, as far as it has room (one that is void has none)."""
    found = list(_looked_through(engine, work, items, progress))
    shares = np.array([item.n for item in items], np.int64)
    rooms = np.array([int(_costs(work.ask, choice).sum()) for choice in found], np.int64)
    full = rooms < shares
    while not each and full.any() and not full.all():
        # Asked for more, an image gives what it gave and goes on: those that get more are looked at again.
        before, shares = shares, evenly(n, np.where(full, rooms, n))
        more = np.flatnonzero(~full & (shares > np.maximum(before, rooms))).tolist()
        again = [replace(items[i], n=int(shares[i])) for i in more]
        for i, choice in zip(more, _looked_through(engine, work, again, progress), strict=True):
            found[i], rooms[i] = choice, int(_costs(work.ask, choice).sum())
        if not (rooms[more] < shares[more]).any():
            break
        full |= rooms < shares
    counts = [affordable(_costs(work.ask, choice), share) for choice, share in zip(found, shares.tolist(), strict=True)]
    if work.ask.by_pixels:
        counts = _one_more(found, shares.tolist(), counts, n)
    return [take(choice, slice(count)) for choice, count in zip(found, counts, strict=True)]


def _one_more(choices: Sequence[Choice], shares: Sequence[int], counts: Sequence[int], n: int) -> list[int]:
    """How many regions of each image are taken where those that its share pays for are ``counts``.

    What no share pays for alone, they pay together: images with the most left of theirs get one more region, and of
    those alike the one that scores it highest, as long as the budget of n pixels pays for it.
    """
    found = list(counts)
    spent = [int(c.pixels[:count].sum()) for c, count in zip(choices, counts, strict=True)]
    left = n - sum(spent)
    more = [i for i, c in enumerate(choices) if counts[i] < len(c.scores)]
    for i in sorted(more, key=lambda i: (spent[i] - shares[i], -float(choices[i].scores[counts[i]]))):
        cost = int(choices[i].pixels[counts[i]])
        if cost <= left:
            found[i], left = found[i] + 1, left - cost
    return found


def _looked_through(engine: Engine, work: ChooseInside, items: Sequence[Item], progress: Progress) -> Iterator[Choice]:
    for done, choice in enumerate(engine.map_batches(work, items, batch_size=work.model.batch_size), start=1):
        yield choice
        progress(done, len(items), "images looked through")


def _costs(ask: Ask, choice: Choice) -> NDArray[np.int32]:
    return choice.pixels if ask.by_pixels else np.ones(len(choice.scores), np.int32)


def _best(ask: Ask, choices: Sequence[Choice], n: int, more: int = 0) -> list[Choice]:
    scores = np.concatenate([np.empty(0, np.float32), *(c.scores for c in choices)])
    costs = np.concatenate([np.empty(0, np.int32), *(_costs(ask, c) for c in choices)])
    kept = np.zeros(len(scores), dtype=bool)
    order = np.argsort(-scores, kind="stable")
    kept[order[: affordable(costs[order], n) + more]] = True
    parts = np.split(kept, np.cumsum([len(c.scores) for c in choices])[:-1]) if choices else []
    return [take(c, part) for c, part in zip(choices, parts, strict=True)]


def take(choice: Choice, which: NDArray[Any] | slice) -> Choice:
    """Part of a choice, by flags, positions or a slice."""
    return Choice(
        choice.sample_id, choice.geometry[which], choice.scores[which], choice.labels[which], choice.pixels[which]
    )


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
