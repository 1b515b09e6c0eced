"""Choosing pixels or regions by comparing those of the whole pool: bounded rows, and one selection among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise import reasons
from labelwise.data.masks import target_mask
from labelwise.engine import Engine, Work
from labelwise.loop.areas import Item, affordable, known_means, majority, means
from labelwise.loop.inside import Choice, ChooseInside, facts, take
from labelwise.models import Progress
from labelwise.records import Prediction, Target
from labelwise.selection.compose import Inputs
from labelwise.selection.picks import Rows
from labelwise.strategies import Strategy, assemble

ROWS = 100_000  # rows held at most, unless more are to be chosen
SHORTLIST = 10.0  # best-scored rows for each one to choose, where the strategy does not say
OFFER = 2  # an image offers this many times its share of them: an uncertain image may have more than others

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one image offers: its candidates, and for them and for all asked before the mean of each map by name."""

    choice: Choice
    fresh: Mapping[str, Vectors]
    known: Mapping[str, Vectors]


@dataclass(frozen=True)
class OfferInside:
    """What a worker does: as ``ChooseInside``, with the means of features and probabilities of what is chosen."""

    choosing: ChooseInside

    def __call__(self) -> Work:
        return partial(self._offers, assemble(self.choosing.recipe))

    def _offers(self, strategy: Strategy, items: Sequence[Item]) -> list[Offer]:
        model, checkpoint = self.choosing.model, self.choosing.checkpoint
        if checkpoint is None or not strategy.needs:
            return [self._offer(strategy, item, None) for item in items]
        found = model.predict(checkpoint, [i.sample for i in items], want=strategy.needs)
        return [self._offer(strategy, item, one) for item, one in zip(items, found, strict=True)]

    def _offer(self, strategy: Strategy, item: Item, found: Prediction | None) -> Offer:
        choice, ask = self.choosing.choice(strategy, item, found), self.choosing.ask
        maps: dict[str, NDArray[Any]] = {}
        if found is not None:
            maps = {"embeddings": found.embedding, "probs": found.probs}  # type: ignore[dict-item]
        wanted = {name: values for name, values in maps.items() if values is not None and name in strategy.uses}
        geometry = choice.geometry.astype(np.int64)
        fresh = {name: means(ask, item, values, geometry) for name, values in wanted.items()}
        return Offer(choice, fresh, {name: known_means(ask, item, values) for name, values in wanted.items()})


@dataclass(frozen=True)
class Spread:
    """What is compared: the images, what was answered of each, and the run's facts about them."""

    items: Sequence[Item]
    answers: Mapping[str, Target]
    classes: tuple[str, ...]
    groups: Rows
    metadata: Mapping[str, NDArray[Any]]


def choose_spread(
    engine: Engine,
    work: ChooseInside,
    strategy: Strategy,
    spread: Spread,
    n: int,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[list[Choice], list[dict[str, Any]]]:
    """What a selection takes of all images for a budget of n, and why: one choice and one reason an image.

    Each image offers a bounded number of its best; of all offered the best-scored are held, and the strategy's
    selection compares these. A second look offers more where the first one gave too few.
    """
    typical = np.mean([work.ask.pixels(*item.sample.size) for item in spread.items]) if work.ask.by_pixels else 1.0
    number = max(1, round(n / typical))
    share = math.ceil(OFFER * (strategy.recipe.shortlist or SHORTLIST) * number / max(1, len(spread.items)))
    room = math.ceil(min((strategy.recipe.shortlist or SHORTLIST) * number, max(ROWS, 2 * number)))
    while True:
        limit = round(share * typical)
        offers, full = _held(engine, work, spread.items, limit, room, progress)
        if not full or sum(len(o.choice.scores) for o in offers) >= number:
            break
        share *= 4
    return _selected(work, strategy, spread, offers, n, number, rng)


def _held(
    engine: Engine, work: ChooseInside, items: Sequence[Item], limit: int, room: int, progress: Progress
) -> tuple[list[Offer], bool]:
    """The ``room`` best-scored rows of all images, and whether an image may have had more than its ``limit``."""
    held: list[Offer] = []
    count, full = 0, False
    asked = [replace(item, n=limit) for item in items]
    found = engine.map_batches(OfferInside(work), asked, batch_size=work.model.batch_size)
    for done, offer in enumerate(found, start=1):
        held.append(offer)
        taken = int(offer.choice.pixels.sum()) if work.ask.by_pixels else len(offer.choice.scores)
        full = full or taken >= limit
        count += len(offer.choice.scores)
        if count > 2 * room:
            held, count = _shortened(held, room), room
        progress(done, len(items), "images looked through")
    return _shortened(held, room), full


def _shortened(offers: Sequence[Offer], room: int) -> list[Offer]:
    """The best-scored rows; of equal ones those of the earlier image."""
    scores = np.concatenate([np.empty(0, np.float32), *(o.choice.scores for o in offers)])
    kept = np.zeros(len(scores), dtype=bool)
    kept[np.argsort(-scores, kind="stable")[:room]] = True
    parts = np.split(kept, np.cumsum([len(o.choice.scores) for o in offers])[:-1]) if offers else []
    return [
        Offer(take(o.choice, part), {name: v[part] for name, v in o.fresh.items()}, o.known)
        for o, part in zip(offers, parts, strict=True)
    ]


def _selected(
    work: ChooseInside,
    strategy: Strategy,
    spread: Spread,
    offers: Sequence[Offer],
    n: int,
    number: int,
    rng: np.random.Generator,
) -> tuple[list[Choice], list[dict[str, Any]]]:
    sizes = [len(o.choice.scores) for o in offers]
    owners = np.repeat(np.arange(len(offers)), sizes)
    inputs = _inputs(strategy, spread, offers, owners, number, rng)
    costs = np.concatenate([np.empty(0, np.int64), *(o.choice.pixels for o in offers)])
    if not work.ask.by_pixels:
        costs = np.ones_like(costs)
    rows: list[int] = []
    facts_of: list[dict[str, Any]] = []
    left, names = n, _Names(offers, owners)
    while left > 0 and len(inputs.candidates):
        picks = strategy.select(inputs)
        fit = affordable(costs[picks.rows], left)
        rows += picks.rows[:fit].tolist()
        facts_of += reasons.explain(picks, inputs, ids=names, classes=spread.classes)[:fit]
        left -= int(costs[picks.rows[:fit]].sum())
        if fit < len(picks.rows) or not len(picks.rows) or not work.ask.by_pixels:
            break
        inputs = replace(inputs.after(picks.rows), n=max(1, round(left / max(1.0, float(costs.mean())))))
    return _by_image(offers, np.array(rows, np.int64), facts_of, sizes, spread.classes)


def _inputs(
    strategy: Strategy,
    spread: Spread,
    offers: Sequence[Offer],
    owners: Rows,
    number: int,
    rng: np.random.Generator,
) -> Inputs:
    """Candidates first, then all that was asked before, image after image."""
    asked = [sum(_count(g) for g in item.asked) for item in spread.items]
    past = np.repeat(np.arange(len(offers)), asked)
    total = len(owners) + len(past)
    scores = np.full(total, np.nan)
    scores[: len(owners)] = np.concatenate([np.empty(0), *(o.choice.scores for o in offers)])
    arrays: dict[str, Any] = {
        name: np.concatenate([*(o.fresh[name] for o in offers), *(o.known[name] for o in offers)])
        for name in (offers[0].fresh if offers else ())
    }
    of = np.concatenate([owners, past])
    labels = None
    if "labels" in strategy.uses:
        parts = [_labels(item, spread) for item in spread.items]
        labels = np.concatenate([np.empty(0, np.int64), *parts])
    return Inputs(
        n=min(number, len(owners)),
        candidates=np.arange(len(owners)),
        labelled=np.arange(len(owners), total),
        labels=labels,
        scores=scores,
        groups=spread.groups[of],
        metadata={name: values[of] for name, values in spread.metadata.items()},
        rng=rng,
        **arrays,
    )


def _count(geometry: NDArray[Any]) -> int:
    return len(np.unique(geometry[:, 2])) if geometry.shape[1] == 3 else len(geometry)


def _labels(item: Item, spread: Spread) -> Rows:
    if not item.asked:
        return np.empty(0, np.int64)
    target = spread.answers.get(item.sample.id)
    if target is None:
        return np.full(sum(_count(g) for g in item.asked), -1)
    return majority(item.asked, target_mask(target, spread.classes, item.sample.size))


class _Names(Sequence[str]):
    """What a row is called, made when it is asked for."""

    def __init__(self, offers: Sequence[Offer], owners: Rows) -> None:
        self.offers, self.owners = offers, owners
        self.first = np.concatenate([[0], np.cumsum([len(o.choice.scores) for o in offers])])

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, row: Any) -> Any:
        if row >= len(self.owners):
            return "a labelled one"
        image = int(self.owners[row])
        choice = self.offers[image].choice
        place = choice.geometry[row - self.first[image]]
        where = f"superpixel {place}" if place.ndim == 0 else f"x {place[0]}, y {place[1]}"
        return f"{choice.sample_id} ({where})"


def _by_image(
    offers: Sequence[Offer],
    rows: Rows,
    found: Sequence[dict[str, Any]],
    sizes: Sequence[int],
    classes: Sequence[str],
) -> tuple[list[Choice], list[dict[str, Any]]]:
    """One list of choices and one of reasons, image after image, picks in their order."""
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    image_of = np.searchsorted(first[1:], rows, side="right")
    choices: list[Choice] = []
    why: list[dict[str, Any]] = []
    for image, offer in enumerate(offers):
        mine = np.flatnonzero(image_of == image)
        if not len(mine):
            continue
        choice = take(offer.choice, rows[mine] - first[image])
        own = [found[int(i)] for i in mine]
        about = dict(facts(choice, classes)) | _distances(own)
        choices.append(choice)
        why.append(about | {"order": [int(i) + 1 for i in mine], "each": own})
    return choices, why


def _distances(own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far the picks of an image are from what was labelled or picked before them."""
    far = [float(one["distance"]) for one in own if "distance" in one]
    return {"mean_distance": sum(far) / len(far), "least_distance": min(far)} if far else {}
