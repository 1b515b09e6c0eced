"""Choosing without a run: arrays in, rows and reasons out."""

# Named picking, not pick: a module labelwise.pick would hide the function labelwise.pick as soon as it is imported.

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelwise.errors import SelectionError
from labelwise.reasons import Reason, explain, sentence
from labelwise.selection.compose import Inputs
from labelwise.selection.picks import Array, Rows, check_embeddings, check_probs, check_scores
from labelwise.strategies import Recipe, assemble, preset

_RULES = frozenset({"shortlist", "balance", "per_group", "near_duplicates", "empty_share", "empty_by"})


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What ``pick`` chose: ``indices`` ``(n,)`` best first, for each a sentence in ``reasons`` and its ``facts``."""

    indices: NDArray[np.int64]
    reasons: list[str]
    facts: list[Reason]


def pick(
    n: int,
    *,
    scores: ArrayLike | None = None,
    embeddings: ArrayLike | None = None,
    probs: ArrayLike | None = None,
    samples: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    empty: ArrayLike | None = None,
    strategy: str | Recipe | None = None,
    seed: int = 0,
    **options: Any,
) -> Picked:
    """Choose n of N rows that are worth a label.

    ``scores`` ``(N,)`` (higher = more wanted), ``embeddings`` ``(N, d)``, ``probs`` ``(N, C)`` and ``samples`` ``(S,
    N, C)`` are what you have; ``labelled`` are row numbers or a ``(N,)`` mask, ``labels`` their class indices in the
    same order; ``groups`` ``(N,)`` numbers (-1 = none) or strings; ``empty`` ``(N,)`` is True
    where a detector found nothing. ``strategy`` is a preset or a Recipe; scores given
    here replace those it would compute. Without one: the highest scores; else, from probs, margin; else, from
    embeddings, typiclust. ``options`` are the rules ``shortlist``, ``balance``, ``per_group``, ``near_duplicates``,
    and options of the selection, such as ``beta``. The same arrays, strategy and seed give the same picks.

    Raises SelectionError if the arrays do not fit together or hold numbers that are not finite, or fewer than n rows
    are left (rules such as ``per_group`` alone may give fewer); ConfigError for an unknown strategy or option.
    """
    given = {"scores": scores, "embeddings": embeddings, "probs": probs, "samples": samples}
    arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
    total = _rows(arrays, groups)
    known = _labelled(labelled, total)
    candidates = np.setdiff1d(np.arange(total), known)
    if n > len(candidates):
        raise SelectionError(
            f"asked for {n:,}, only {len(candidates):,} are not labelled; ask for {len(candidates):,} or fewer"
        )
    _check(arrays, candidates)
    ready = assemble(_recipe(strategy, arrays, options), given=arrays)
    if "scores" not in arrays:
        computed = ready.score({name: array for name, array in arrays.items() if name in ("probs", "samples")})
        arrays |= {} if computed is None else {"scores": ready.finish(computed)}
    inputs = Inputs(
        n=n,
        candidates=candidates,
        rng=np.random.default_rng(seed),
        labelled=known,
        labels=None if labels is None else np.asarray(labels, dtype=np.int64),
        groups=None if groups is None else _codes(np.asarray(groups)),
        empty=None if empty is None else _mask(empty, total),
        scores=arrays.get("scores"),
        probs=arrays.get("probs"),
        embeddings=arrays.get("embeddings"),
    )
    picks = ready.select(inputs)
    facts = explain(picks, inputs)
    return Picked(picks.rows, [sentence(reason) for reason in facts], facts)


def _rows(arrays: Mapping[str, Array], groups: ArrayLike | None) -> int:
    """N, on which all arrays agree."""
    lengths = {}
    for name, array in arrays.items():
        axis = 1 if name == "samples" else 0  # the passes come first there
        if array.ndim > axis:
            lengths[name] = int(array.shape[axis])
    if groups is not None:
        lengths["groups"] = len(np.asarray(groups))
    if not arrays or not lengths:
        raise SelectionError("expected scores, probs, samples or embeddings, but found none; give at least one")
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise SelectionError(
                f"expected one row per image in all arrays, but {first} has {lengths[first]} and {name} {length}"
            )
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


def _check(arrays: Mapping[str, Array], candidates: Rows) -> None:
    """The border: everything that came from outside is looked at here once."""
    if "scores" in arrays:
        check_scores(arrays["scores"], candidates)
    if "embeddings" in arrays:
        check_embeddings(arrays["embeddings"], candidates)
    if "probs" in arrays:
        check_probs(arrays["probs"], candidates)
    if "samples" in arrays:
        if arrays["samples"].ndim != 3:
            raise SelectionError(f"expected samples of shape (S, N, C), but found {arrays['samples'].shape}")
        for one_pass in arrays["samples"]:
            check_probs(one_pass, candidates)


def _recipe(strategy: str | Recipe | None, arrays: Mapping[str, Array], options: Mapping[str, Any]) -> Recipe:
    """The recipe asked for, changed by the options; scores that are given take the place of the recipe's own."""
    if strategy is None:
        fallback = "margin" if "probs" in arrays else "typiclust" if "embeddings" in arrays else "bald"
        recipe = Recipe(select="top") if "scores" in arrays else preset(fallback)
    else:
        recipe = preset(strategy) if isinstance(strategy, str) else strategy
    rules = {name: value for name, value in options.items() if name in _RULES}
    if "scores" in arrays:
        rules |= {"score": None, "reduce": None}
    rest = {name: value for name, value in options.items() if name not in _RULES}
    if rest:
        select = {"name": recipe.select} if isinstance(recipe.select, str) else recipe.select
        rules["select"] = {**select, **rest}
    return dataclasses.replace(recipe, **rules)


def _mask(empty: ArrayLike, total: int) -> NDArray[np.bool_]:
    mask = np.asarray(empty)
    if mask.dtype != bool or mask.shape != (total,):
        raise SelectionError(f"expected empty as a mask of shape ({total},), found {mask.dtype} of {mask.shape}")
    return mask


def _codes(groups: Array) -> Rows:
    """Group numbers as they are; anything else numbered by its sorted text, -1 where it is None or empty."""
    if groups.dtype.kind in "iu":
        return groups.astype(np.int64)
    words = np.array(["" if word is None else str(word) for word in groups.tolist()], dtype=np.str_)
    codes = np.unique(words, return_inverse=True)[1].astype(np.int64)
    return np.where(words == "", -1, codes)
