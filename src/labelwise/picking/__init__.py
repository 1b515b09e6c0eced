"""Choosing without a run: arrays in, rows and reasons out."""

# Named picking, not pick: a module labelwise.pick would hide the function labelwise.pick as soon as it is imported.

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelwise.catalog import checked_options
from labelwise.errors import ConfigError, SelectionError
from labelwise.presets import preset
from labelwise.reasons import Reason, explain, sentence
from labelwise.selection.compose import Inputs
from labelwise.selection.owned import check_owners
from labelwise.selection.picks import Array, Picks, Rows, check_finite, check_probs, check_scores
from labelwise.strategies import Recipe, Strategy, assemble

# what options may change of a recipe; the others are options of its selection
RULES = frozenset({field.name for field in dataclasses.fields(Recipe)} - {"select", "unit", "paper", "summary"})


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What ``pick`` chose: ``indices`` ``(n,)`` best first, for each a sentence in ``reasons`` and its ``facts``.

    ``ended`` says why there are fewer than were asked for, where rules or an end condition allow no more; else empty.
    """

    indices: NDArray[np.int64]
    reasons: list[str]
    facts: list[Reason]
    ended: str = ""


def pick(
    n: int | None,
    *,
    scores: ArrayLike | None = None,
    embeddings: ArrayLike | None = None,
    probs: ArrayLike | None = None,
    samples: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    empty: ArrayLike | None = None,
    objects: ArrayLike | None = None,
    owners: ArrayLike | None = None,
    object_labels: ArrayLike | None = None,
    object_scores: ArrayLike | None = None,
    metadata: Mapping[str, ArrayLike] | None = None,
    strategy: str | Recipe | None = None,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> Picked:
    """Choose n of N rows that are worth a label; None: as many as the rules and end conditions allow.

    ``scores`` ``(N,)`` (higher = more wanted), ``embeddings`` ``(N, d)``, ``probs`` ``(N, C)`` and ``samples`` ``(S,
    N, C)`` are what you have; ``labelled`` are row numbers or a ``(N,)`` mask, ``labels`` their class indices in the
    same order; ``groups`` ``(N,)`` numbers (-1 = none) or strings; ``empty`` ``(N,)`` is True where a detector found
    nothing (by default, where no box is); ``metadata`` columns ``(N,)`` by name, numbers or words. Of M boxes, image
    after image: ``objects`` ``(M, d)`` their vectors, ``owners`` ``(M,)`` the row of the image of each,
    ``object_labels`` and ``object_scores``; where there is no array of N rows, N is the last owner + 1. ``strategy`` is
    a preset or a Recipe; scores given here replace those it would compute. Without one: the highest scores; else, from
    probs, margin; else, from embeddings, typiclust. ``options`` are the rules ``shortlist``, ``balance``,
    ``per_group``, ``near_duplicates``, ``threshold``, ``empty_share``, ``empty_by``, another ``score``, and options of
    the selection, such as ``beta``. With ``ids`` (N names) and ``classes`` (C names) reasons and messages say names
    instead of numbers. The same arrays, strategy and seed give the same picks.

    Raises SelectionError if the arrays do not fit together or hold numbers that are not finite, or fewer than n rows
    are left (rules such as ``per_group`` and end conditions alone may give fewer); ConfigError for an unknown strategy
    or option.
    """
    given = {"scores": scores, "embeddings": embeddings, "probs": probs, "samples": samples}
    arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
    boxes = _boxes(objects, owners, object_labels, object_scores)
    columns = {name: np.asarray(value) for name, value in (metadata or {}).items()}
    total = _rows(arrays, groups, labelled, boxes, columns, ids)
    known = _labelled(labelled, total)
    candidates, n = _candidates(total, known, n)
    _check(arrays, candidates, ids)
    ready = assemble(_recipe(strategy, arrays, options), given=arrays)
    arrays = _with_scores(ready, arrays)
    rest: dict[str, Any] = {name: array for name, array in arrays.items() if name != "samples"}
    if empty is None and boxes:
        empty = ~np.isin(np.arange(total), boxes["owners"])
    rest |= boxes | _told(labels, groups, empty, columns, total)
    inputs = Inputs(n, candidates, np.random.default_rng(seed), known, **rest)
    picks = ready.select(inputs)
    facts = explain(picks, inputs, ids=ids, classes=classes)
    return Picked(picks.rows, [sentence(reason) for reason in facts], facts, _why_short(picks, n))


def _told(
    labels: ArrayLike | None,
    groups: ArrayLike | None,
    empty: ArrayLike | None,
    columns: Mapping[str, Array],
    total: int,
) -> dict[str, Any]:
    """What else is given about rows, as selections take it."""
    return {
        "labels": None if labels is None else np.asarray(labels, dtype=np.int64),
        "groups": None if groups is None else _codes(np.asarray(groups)),
        "empty": None if empty is None else _mask(empty, total),
        "metadata": columns or None,
    }


def _candidates(total: int, known: Rows, n: int | None) -> tuple[Rows, int]:
    """The rows that are not labelled, and how many of them to pick. Raises SelectionError if there are fewer."""
    candidates = np.setdiff1d(np.arange(total), known)
    n = len(candidates) if n is None else n
    if n > len(candidates):
        raise SelectionError(
            f"asked for {n:,}, only {len(candidates):,} are not labelled; ask for {len(candidates):,} or fewer"
        )
    return candidates, n


def _why_short(picks: Picks, n: int) -> str:
    """Why there are fewer picks than n; empty if there are not."""
    return "" if len(picks.rows) == n else picks.ended or "the rules allow no more"


def _boxes(
    objects: ArrayLike | None, owners: ArrayLike | None, labels: ArrayLike | None, scores: ArrayLike | None
) -> dict[str, Array]:
    """What is given about objects, once it fits together."""
    given = {"objects": objects, "owners": owners, "object_labels": labels, "object_scores": scores}
    boxes = {name: np.asarray(value) for name, value in given.items() if value is not None}
    if boxes and owners is None:
        raise SelectionError(
            f"expected owners, the row of the image of each box, beside {next(iter(boxes))}; give them"
        )
    if boxes:
        rest = [boxes.get(name) for name in ("objects", "object_labels", "object_scores")]
        boxes["owners"] = check_owners(boxes["owners"], *rest)
    return boxes


def _rows(
    arrays: Mapping[str, Array],
    groups: ArrayLike | None,
    labelled: ArrayLike | None,
    boxes: Mapping[str, Array],
    columns: Mapping[str, Array],
    ids: Sequence[str] | None,
) -> int:
    """N, on which all arrays agree."""
    lengths = {}
    for name, array in arrays.items():
        axis = 1 if name == "samples" else 0  # the passes come first there
        if array.ndim > axis:
            lengths[name] = int(array.shape[axis])
    if groups is not None:
        lengths["groups"] = len(np.asarray(groups))
    if ids is not None:
        lengths["ids"] = len(ids)
    lengths |= {f"metadata {name!r}": len(column) for name, column in columns.items() if column.ndim}
    owners = boxes.get("owners", np.empty(0, np.int64))
    if boxes and not lengths:
        mask = np.asarray([] if labelled is None else labelled)
        return len(mask) if mask.dtype == bool else int(owners.max(initial=-1)) + 1
    if not lengths or not (arrays or columns or ids):
        raise SelectionError("expected scores, probs, samples or embeddings, but found none; give at least one")
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise SelectionError(
                f"expected one row per image in all arrays, but {first} has {lengths[first]} and {name} {length}"
            )
    if len(owners) and owners[-1] >= lengths[first]:
        raise SelectionError(f"expected owners from 0 to {lengths[first] - 1}, but found {owners[-1]}")
    return lengths[first]


def _labelled(labelled: ArrayLike | None, total: int) -> Rows:
    """Row numbers of what is labelled, in the order given."""
    given = np.asarray([] if labelled is None else labelled)
    if given.dtype == bool:
        if given.shape != (total,):
            raise SelectionError(f"expected a mask of labelled of shape ({total},), but found {given.shape}")
        return np.flatnonzero(given)
    if given.size and (given.ndim != 1 or given.dtype.kind not in "iu"):
        raise SelectionError(
            f"expected labelled as row numbers or a mask, but found {given.dtype} of shape {given.shape}"
        )
    rows = given.reshape(-1).astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= total):
        raise SelectionError(f"expected labelled rows from 0 to {total - 1}, but found {rows.min()} to {rows.max()}")
    if len(np.unique(rows)) != len(rows):
        raise SelectionError("expected each labelled row once, but some are repeated; use numpy.unique")
    return rows


def _check(arrays: Mapping[str, Array], candidates: Rows, ids: Sequence[str] | None) -> None:
    """The border: everything that came from outside is looked at here once."""
    if "scores" in arrays:
        check_scores(arrays["scores"], candidates, ids)
    if "embeddings" in arrays:
        check_finite(arrays["embeddings"], candidates, ids)
    if "probs" in arrays:
        check_probs(arrays["probs"], candidates, ids)
    if "samples" in arrays:
        if arrays["samples"].ndim != 3:
            raise SelectionError(f"expected samples of shape (S, N, C), but found {arrays['samples'].shape}")
        for one_pass in arrays["samples"]:
            check_probs(one_pass, candidates, ids)


def _recipe(strategy: str | Recipe | None, arrays: Mapping[str, Array], options: Mapping[str, Any]) -> Recipe:
    """The recipe asked for, changed by the options; scores that are given take the place of the recipe's own."""
    if strategy is None:
        fallback = "margin" if "probs" in arrays else "typiclust" if "embeddings" in arrays else "bald"
        recipe = Recipe(select="top") if "scores" in arrays else preset(fallback)
    else:
        recipe = preset(strategy) if isinstance(strategy, str) else strategy
    if "scores" in arrays:
        if "score" in options:
            raise ConfigError(f"expected scores or score={options['score']!r}, but found both; leave one out")
        recipe = dataclasses.replace(recipe, score=None, reduce=None)
    return changed(recipe, options)


def changed(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """The recipe with other rules or another score, and with options of its selection."""
    rules = checked_options("strategy", Recipe, {name: value for name, value in options.items() if name in RULES})
    rest = {name: value for name, value in options.items() if name not in RULES}
    if rest:
        select = {"name": recipe.select} if isinstance(recipe.select, str) else recipe.select
        rules["select"] = {**select, **rest}
    return dataclasses.replace(recipe, **rules)


def _mask(empty: ArrayLike, total: int) -> NDArray[np.bool_]:
    mask = np.asarray(empty)
    if mask.dtype != bool or mask.shape != (total,):
        raise SelectionError(f"expected empty as a mask of shape ({total},), found {mask.dtype} of {mask.shape}")
    return mask


def _with_scores(ready: Strategy, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays, with the scores the strategy computes unless there are some."""
    if "scores" in arrays:
        return arrays
    computed = ready.score({name: array for name, array in arrays.items() if name in ("probs", "samples")})
    return arrays if computed is None else {**arrays, "scores": ready.finish(computed)}


def _codes(groups: Array) -> Rows:
    """Group numbers as they are; anything else numbered by its sorted text, -1 where it is None or empty."""
    if groups.dtype.kind in "iu":
        return groups.astype(np.int64)
    words = np.array(["" if word is None else str(word) for word in groups.tolist()], dtype=np.str_)
    codes = np.unique(words, return_inverse=True)[1].astype(np.int64)
    return np.where(words == "", -1, codes)
