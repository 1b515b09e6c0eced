"""Choosing images of a folder without a run: features, scores, picks and the reason for each, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from labelwise import picking
from labelwise.cache import default_cache
from labelwise.catalog import option_types, resolve, split_spec
from labelwise.data.listing import Listing
from labelwise.data.matching import match_names, unknown_names
from labelwise.data.name_lists import Row, read_names
from labelwise.errors import ConfigError, DataError, SelectionError
from labelwise.picking import predicted
from labelwise.picking.pool import Pool, folder_pool, list_folder, vectors_pool
from labelwise.picking.predicted import HeaderSizes, Predicted
from labelwise.presets import preset
from labelwise.records import Problem
from labelwise.strategies import Recipe, Strategy, assemble

Progress = Callable[[int, int, str], None]
_UNTOLD = {"objects": "vectors of the boxes", "flipped": "what is found in the mirrored pictures"}
GivenVectors = tuple[Sequence[str], NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class ImagePicks:
    """What ``pick_images`` chose: ``rows``, best first, each with ``rank`` (from 1), ``id``, ``reason`` and ``facts``.

    ``already`` are the ids that the list of earlier picks named, ``unknown`` a Problem for each of its names that means
    no image of the ``pool``; ``notes`` are lines for people.
    """

    rows: tuple[Row, ...]
    strategy: str
    seed: int
    pool: Pool
    already: tuple[str, ...] = ()
    unknown: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    predicted: Predicted | None = None

    @property
    def ids(self) -> list[str]:
        """The ids of the picks, best first: paths relative to the folder, with ``/``."""
        return [row.id for row in self.rows]

    @property
    def about(self) -> dict[str, Any]:
        """What the picks were made from, as plain values for JSON."""
        return {
            "images": None if self.pool.root is None else str(self.pool.root),
            "strategy": self.strategy,
            "seed": self.seed,
            "pool": len(self.pool.ids),
            "already": list(self.already),
            "unknown": [{"name": p.id, "code": p.code, "message": p.message} for p in self.unknown],
            "problems": [{"id": p.id, "code": p.code, "message": p.message} for p in self.pool.problems],
            "notes": list(self.notes),
        }


def pick_images(
    images: Path | str | None,
    n: int | None = None,
    *,
    total: int | None = None,
    least_distance: float | None = None,
    strategy: str | Recipe | None = None,
    predictions: Path | str | Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    already: Path | str | Sequence[str] | None = None,
    embeddings: Path | str | None = None,
    features: Mapping[str, Any] | None = None,
    group: str | None = None,
    cache: Path | str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = lambda done, total, what: None,
    **options: Any,
) -> ImagePicks:
    """Choose n images of a folder that are worth a label.

    ``total`` instead of n counts the earlier picks in; ``least_distance`` ends the selection before the first pick that
    is nearer to another (strategies ``k_center`` and ``coral``). ``predictions`` is a file of a model's predictions (or
    a mapping of its ``path`` and options of its format), ``classes`` the class names where it has none. ``already`` is
    a list of earlier picks, or its file: they are never picked again, and the picks keep away from what they cover.
    ``embeddings`` is a file of vectors, used instead of computed ones; then ``images`` may be None. ``features`` are
    words of the model ``frozen`` (backbone, weights, size, network, ...). ``group`` is "folder" or a regular
    expression, for the rule ``per_group``. ``strategy`` is ``coral`` with predictions, else ``typiclust`` (``k_center``
    with ``least_distance``); ``options`` change it as in ``pick``.

    Raises LabelwiseError with one line: for a file that cannot be read, a strategy that lacks what it needs, or more
    images asked for than there are.
    """
    _check_amounts(n, total, least_distance)
    if strategy is None:
        strategy = "coral" if predictions is not None else "typiclust" if least_distance is None else "k_center"
    recipe = _recipe(strategy, least_distance, options)
    names, origin = _earlier(already)
    source = None if embeddings is None else Path(embeddings)
    given = None if source is None else predicted.read_vectors(source)
    listing = _listing(images, given, group)
    guessed = _guessed(predictions, classes, listing, given)  # before the features, which may take long
    if guessed is not None:
        recipe = predicted.suited(recipe, guessed.found.task)
    ready = assemble(recipe)
    _check_needs(ready, guessed, groups=group is not None and listing is not None)
    work = {"features": features, "cache": cache, "threads": threads, "progress": progress}
    pool = _pool(listing, given, source, embed="embeddings" in ready.uses, **work)
    labelled, unknown = _labelled(names, pool, origin)
    wanted = _amount(n, total, len(labelled) + len(unknown), pool, len(labelled))
    told = strategy_text(recipe, strategy if isinstance(strategy, str) else None)
    rows, notes = _picked(pool, wanted, list(labelled.values()), recipe, ready, guessed, seed)
    return ImagePicks(tuple(rows), told, seed, pool, tuple(labelled), tuple(unknown), tuple(notes), guessed)


def _listing(images: Path | str | None, given: GivenVectors | None, group: str | None) -> Listing | None:
    """The pictures of the folder; None where there are only vectors."""
    if images is not None:
        return list_folder(images, group=group)
    if given is None:
        raise ConfigError("expected a folder of images or a file of embeddings, found neither; give one")
    return None


def _pool(
    listing: Listing | None, given: GivenVectors | None, source: Path | None, *, embed: bool, **work: Any
) -> Pool:
    if listing is None:
        return vectors_pool(given, source)
    work["cache"] = default_cache() if work["cache"] is None else Path(work["cache"])
    work["threads"] = work["threads"] or os.cpu_count() or 1
    return folder_pool(listing, embed=embed, vectors=given, source=source, **work)


def _guessed(
    predictions: Path | str | Mapping[str, Any] | None,
    classes: Sequence[str] | None,
    listing: Listing | None,
    given: GivenVectors | None,
) -> Predicted | None:
    """The predictions for the images of the folder, or for the ids of the vectors."""
    if predictions is None:
        return None
    if listing is not None:
        return predicted.read(predictions, [s.id for s in listing.samples], classes, HeaderSizes(listing.samples))
    return predicted.read(predictions, given[0] if given is not None else (), classes)


def strategy_text(recipe: Recipe, name: str | None = None) -> str:
    """A recipe in a few words: its preset's name and what differs from it; without a name, all that it says."""
    base = preset(name) if name is not None else Recipe()
    told = [field.name for field in fields(Recipe) if field.name not in ("paper", "summary")]
    changes = [
        f"{key} {_spec_text(getattr(recipe, key))}" for key in told if getattr(recipe, key) != getattr(base, key)
    ]
    return f"{name or 'recipe'} ({', '.join(changes)})" if changes else name or "recipe"


def _spec_text(spec: Any) -> str:
    if not isinstance(spec, str | Mapping) or (isinstance(spec, Mapping) and "name" not in spec):
        return str(spec)
    name, options = split_spec(spec)
    return " ".join([name, *(f"{key}={value}" for key, value in options.items())])


def _picked(
    pool: Pool, n: int, labelled: list[int], recipe: Recipe, ready: Strategy, guessed: Predicted | None, seed: int
) -> tuple[list[Row], list[str]]:
    """The picks with their reasons, and what is worth a word."""
    arrays: dict[str, Any] = {} if guessed is None else guessed.arrays(pool.ids, ready)
    groups: Any = [s.group for s in pool.samples] if "groups" in ready.uses else None
    if "empty" not in ready.uses:
        arrays.pop("empty", None)
    picked = picking.pick(
        n,
        **arrays,
        embeddings=pool.embeddings,
        labelled=labelled,
        groups=groups,
        strategy=recipe,
        seed=seed,
        ids=pool.ids,
        classes=None if guessed is None else guessed.classes,
    )
    if guessed is not None:
        guessed.look_at([pool.ids[i] for i in picked.indices], ready)
    rows = []
    for rank, (i, reason, facts) in enumerate(zip(picked.indices, picked.reasons, picked.facts, strict=True), 1):
        if not facts and pool.embeddings is not None:
            reason = "The first pick: nothing was there to be far from."
        row = Row(rank, pool.ids[i], reason, facts)
        rows.append(row if guessed is None else guessed.explained(row))
    notes = [] if guessed is None else [*guessed.notes, *_equal_scores(arrays.get("scores"))]
    if guessed is not None and recipe.class_weights == "difficulty":
        notes.append("how difficult each class is cannot be measured without labels: all count alike")
    if picked.ended:
        notes.append(f"ended after {len(rows):,} picks: {picked.ended}")
    return rows, notes


def _equal_scores(scores: NDArray[Any] | None) -> list[str]:
    if scores is None or len(scores) < 2 or (scores != scores[0]).any():
        return []
    return [f"all {len(scores):,} images have the score {scores[0]:.3g}: it decides nothing"]


def _check_amounts(n: int | None, total: int | None, least_distance: float | None) -> None:
    if n is not None and total is not None:
        raise ConfigError("expected n or total, found both; total counts the earlier picks in, n does not")
    if n is None and total is None and least_distance is None:
        raise ConfigError("expected how many to pick, found nothing; give n, total or least_distance")
    for name, value in (("n", n), ("total", total)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: expected 1 or more, found {value}")
    if least_distance is not None and not 0 < least_distance < float("inf"):
        raise ConfigError(f"least_distance: expected a number above 0, found {least_distance}")


def _recipe(strategy: str | Recipe, least_distance: float | None, options: Mapping[str, Any]) -> Recipe:
    """The strategy asked for with its options."""
    recipe = picking.changed(preset(strategy) if isinstance(strategy, str) else strategy, options)
    if least_distance is None:
        return recipe
    name = split_spec(recipe.select)[0]
    if "least_distance" not in option_types(resolve("select", name)):
        raise ConfigError(f"least_distance: {name!r} has no such option; choose the strategy k_center or coral")
    return picking.changed(recipe, {"least_distance": least_distance})


def _check_needs(ready: Strategy, guessed: Predicted | None, *, groups: bool) -> None:
    """Refuse before the work what nothing here can give."""
    lacking = ready.needs - {"embeddings"}
    if "samples" in lacking:
        raise ConfigError(
            "the strategy needs samples, the stochastic passes of a model: use labelwise.pick, or another strategy"
        )
    if lacking and guessed is None:
        raise ConfigError(
            "the strategy needs a model's predictions: give predictions, or choose one that needs none, such as "
            "typiclust, k_center or random"
        )
    for word, what in _UNTOLD.items():
        if word in lacking:
            raise ConfigError(
                f"the strategy needs {what}, which no file of predictions holds: choose another, such as coral, "
                "box_margin or class_balanced, or run it with a detector as the model"
            )
    if guessed is not None and "probs" in ready.uses and not guessed.of_classes:
        raise ConfigError(
            f"the strategy needs the class probabilities of whole images, but {guessed.source} is about what is in "
            "them; choose one that takes scores, such as coral, box_margin or k_center"
        )
    if "groups" in ready.uses and not groups:
        raise ConfigError("per_group needs groups of images: set group to folder, or to a regular expression")


def _earlier(already: Path | str | Sequence[str] | None) -> tuple[list[str], str]:
    """The names of earlier picks, and where they come from."""
    if isinstance(already, str | Path):
        return read_names(already), str(already)
    return list(dict.fromkeys(already or ())), "already"


def _labelled(names: Sequence[str], pool: Pool, origin: str) -> tuple[dict[str, int], list[Problem]]:
    """The rows of the earlier picks by id, and the names that mean no image of the pool."""
    if not names:
        return {}, []
    rows = {id: row for row, id in enumerate(pool.ids)}
    left_out = {p.id: p for p in reversed(pool.problems) if p.id and p.id not in rows and p.id not in pool.copies}
    found, strange = match_names(names, rows.keys() | pool.copies.keys() | left_out.keys(), pool.root)
    labelled: dict[str, int] = {}
    unknown: dict[str, Problem] = {}
    for id in found.values():
        if id in left_out:
            unknown[id] = left_out[id]
        else:
            original = pool.copies.get(id, id)
            labelled[original] = rows[original]
    if not labelled and not unknown:
        raise DataError(
            f"{origin}: expected names of these images, found none of {len(names)}: the first is {names[0][:80]!r}, "
            f"the first image {pool.ids[0]!r}; ids are paths relative to the folder of images"
        )
    return labelled, [*unknown.values(), *unknown_names(strange, {**rows, **dict.fromkeys(pool.copies)})]


def _amount(n: int | None, total: int | None, earlier: int, pool: Pool, labelled: int) -> int:
    """How many to pick. Raises SelectionError if there are fewer."""
    room = len(pool.ids) - labelled
    asked = n if n is not None else room if total is None else total - earlier
    if asked < 0:
        raise SelectionError(f"expected a total above the {earlier:,} earlier picks, found {total:,}; give more")
    if asked > room:
        what = f"n={n:,}" if n is not None else f"total={total:,} ({asked:,} more than the earlier picks)"
        left = f" and {labelled:,} picked earlier" if labelled else ""
        raise SelectionError(f"{what}: only {room:,} can be picked ({pool.summary}{left}); ask for {room:,} or fewer")
    return asked
