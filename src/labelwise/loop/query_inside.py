"""Pixels or regions that a round asks, as queries with their reasons and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.config import Config
from labelwise.data.images import open_image
from labelwise.loop.areas import Ask, Item, outlined
from labelwise.loop.columns import Columns, group_numbers
from labelwise.loop.context import Context, labelled_images, last_checkpoint
from labelwise.loop.inside import Choice, ChooseInside, choose, facts
from labelwise.loop.spread import Spread, choose_spread
from labelwise.records import Query, Sample, Target
from labelwise.report.maps import CHOSEN, copy_pictures, map_folder, write_chosen


def choose_inside(context: Context, round: int, wanted: int, goal: int) -> list[Query]:
    """Pixels or regions of the pool's images: one query an image, images in the order of their ids.

    ``wanted`` is how much is still to be chosen to have ``goal`` of the whole pool; of a budget for each image an image
    has its own part, whatever others have room for.
    """
    parts, store = context.parts, context.store
    checkpoint = last_checkpoint(context, round)
    strategy = parts.cold_start if checkpoint is None else parts.strategy
    assert parts.unit in ("region", "pixel")
    queries, answers = store.queries(), store.annotations()
    skipped = {q.sample_id for q in queries if (a := answers.get(q.id)) and a.skipped}
    pool = store.samples("pool")
    samples = [s for s in pool if s.id not in skipped]
    rng = context.rng(round, "query")
    each = context.config.budget.per_image and strategy.recipe.evenly
    if each:
        left = _left_of_each(goal, pool, queries, context.rng(0, "query"))
        amounts = [left[s.id] for s in samples]
    else:
        amounts = _even_amounts(wanted, len(samples), rng) if strategy.recipe.evenly else [wanted] * len(samples)
    asked, ask = _asked(queries), ask_of(context.config, parts.unit)
    items = [
        Item(
            s,
            n,
            tuple(asked.get(s.id, ())),
            (context.config.seed, round, i),
            void=parts.annotator.simulated,
            segments=context.config.folder / "superpixels" / f"{s.content}.png" if ask.superpixels else None,
        )
        for i, (s, n) in enumerate(zip(samples, amounts, strict=True))
    ]
    work, classes = ChooseInside(parts.model, checkpoint, strategy.recipe, ask), store.classes()
    if strategy.compares:
        known = {x.sample.id: x.target for x in labelled_images(context)} if "labels" in strategy.uses else {}
        spread = Spread(items, known, classes, group_numbers(samples), Columns(samples))
        choices, why = choose_spread(parts.engine, work, strategy, spread, wanted, rng, context.progress)
    else:
        choices = choose(parts.engine, work, items, wanted, context.progress, each=each)
        choices = [c for c in choices if len(c.scores)]
        why = [dict(facts(c, classes)) for c in choices]
    by_id = {item.sample.id: item for item in items}
    outlines = [outlined(ask, by_id[c.sample_id], c.geometry.astype(np.int64)) for c in choices]
    drawn = rng.permutation(len(choices))[: context.config.pictures]
    _draw(context, round, work, {choices[i].sample_id: outlines[i] for i in drawn}, by_id)
    return [
        Query(
            f"{round:03d}-{rank:05d}",
            round,
            rank,
            choice.sample_id,
            parts.unit,
            outline,
            float(choice.pixels.sum() if ask.by_pixels else len(choice.scores)),
            _proposed(choice, classes) if parts.unit == "pixel" else None,
            reason,
        )
        for rank, (choice, outline, reason) in enumerate(zip(choices, outlines, why, strict=True))
    ]


def _asked(queries: Iterable[Query]) -> dict[str, list[NDArray[Any]]]:
    """What was asked inside each image before."""
    found: dict[str, list[NDArray[Any]]] = {}
    for query in queries:
        if query.geometry is not None:
            found.setdefault(query.sample_id, []).append(query.geometry)
    return found


def ask_of(config: Config, unit: Literal["region", "pixel"]) -> Ask:
    """What a configuration asks inside images."""
    budget = config.budget
    made = budget.superpixels if budget.region == "superpixel" else None
    return Ask(unit, budget.radius, made, budget.compactness, budget.cost)


def _draw(
    context: Context,
    round: int,
    work: ChooseInside,
    chosen: Mapping[str, NDArray[np.int32]],
    items: Mapping[str, Item],
) -> None:
    """Pictures of what was chosen in these images, and of their scores; once more where the configuration says.

    The few images are looked at again: before the choice nobody knows which they are.
    """
    config, parts = context.config, context.parts
    places = {id: map_folder(config.folder, round) / f"{items[id].sample.content}.png" for id in chosen}
    again = [replace(items[id], picture=place) for id, place in places.items()]
    for _ in parts.engine.map_batches(work, again, batch_size=parts.model.batch_size):
        pass
    for id, outline in chosen.items():
        image = open_image(items[id].sample.path, name=id)[0]
        place = places[id].with_name(f"{places[id].stem}{CHOSEN}.png")
        write_chosen(place, image, outline, beside=config.pictures_style == "beside")
        if config.pictures_folder is not None:
            copy_pictures(places[id], config.pictures_folder / f"round{round}" / id)


def _left_of_each(
    goal: int, pool: Sequence[Sample], queries: Iterable[Query], rng: np.random.Generator
) -> dict[str, int]:
    """What each image has left of its part of the goal: the same images have one more in each round."""
    spent = Counter[str]()
    for query in queries:
        spent[query.sample_id] += int(query.cost)
    parts = zip(pool, _even_amounts(goal, len(pool), rng), strict=True)
    return {sample.id: max(0, n - spent[sample.id]) for sample, n in parts}


def _even_amounts(wanted: int, images: int, rng: np.random.Generator) -> list[int]:
    """The same for every image; what is left over goes to images drawn at random."""
    amounts = np.full(images, wanted // max(1, images))
    amounts[rng.permutation(images)[: wanted - int(amounts.sum())]] += 1
    return [int(n) for n in amounts]


def _proposed(choice: Choice, classes: tuple[str, ...]) -> Target | None:
    return Target(classes, choice.geometry, choice.labels) if (choice.labels >= 0).all() else None
