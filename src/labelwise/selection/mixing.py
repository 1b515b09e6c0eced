"""Several selections in one: sharing the budget by weights, or one drawn by a bandit that learns from rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from labelwise import catalog
from labelwise.errors import SelectionError
from labelwise.selection.compose import Inputs, Selector, bind, needs
from labelwise.selection.picks import Array, Doubles, Picks, Rows, count


@dataclass(frozen=True, slots=True)
class Share:
    """A selection (name, or mapping with ``name`` and options) and its ``weight`` in a mixture, 0 or more."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}  # a misspelt key of the configuration is refused

    select: str | Mapping[str, Any]
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The selection's name."""
        return catalog.split_spec(self.select)[0]

    @property
    def needs(self) -> frozenset[str]:
        """The words of the vocabulary that the selection asks for. Raises ConfigError if there is no such one."""
        function, options = self._resolved()
        return needs(function, options=options)

    @property
    def selector(self) -> Selector:
        """The selection, ready to be called."""
        return bind(*self._resolved())

    def _resolved(self) -> tuple[Any, dict[str, Any]]:
        name, options = catalog.split_spec(self.select)
        function = catalog.resolve("select", name)
        return function, catalog.checked_options(f"mixture {name}", function, options)


def mixture(inputs: Inputs, *, parts: tuple[Share, ...] = (Share("top"), Share("random"))) -> Picks:
    """Several selections, each with its share of n by weight; all use the same scores.

    Shares are exact, by largest remainder, ties to the first part. A part does not see what the parts before it took,
    but counts it as labelled; what one cannot fill goes to the others. Picks are ordered so that every beginning is
    shared out in the same way. Facts: ``chosen_by``, the selection's name, and those of the selections. Raises
    SelectionError if weights are negative or all 0. The default is the margin-uniform mixture of Google's
    active-learning playground.
    """
    quotas = shared(count(inputs.n, inputs.candidates), [part.weight for part in parts])
    found: list[Picks] = [Picks(inputs.candidates[:0])] * len(parts)
    open_ones = [i for i, part in enumerate(parts) if part.weight > 0]
    while quotas.any():
        for i in open_ones:
            if quotas[i]:
                got = parts[i].selector(inputs.replace(n=int(quotas[i])))
                found[i] = _together([found[i], got])
                inputs = inputs.after(got.rows)
                quotas[i] -= len(got.rows)
        open_ones = [i for i in open_ones if not quotas[i]]
        if not open_ones or not len(inputs.candidates):
            break
        quotas = _handed_on(quotas, parts, open_ones)
    named = [_with(picks, part.name) for part, picks in zip(parts, found, strict=True)]
    places = np.concatenate([(np.arange(len(picks.rows)) + 0.5) / max(len(picks.rows), 1) for picks in named])
    ended = next((picks.ended for picks in found if picks.ended), "") if quotas.any() else ""
    whole = _together(named).take(np.argsort(places, kind="stable"))
    return Picks(whole.rows, whole.facts, ended)


def shared(n: int, weights: Sequence[float]) -> Rows:
    """n in whole numbers in proportion to weights, by largest remainder; ties go to the first.

    Raises SelectionError if a weight is negative or not finite, or none is above 0.
    """
    if not all(0 <= weight < math.inf for weight in weights) or not sum(weights) > 0:
        raise SelectionError(f"mixture: expected weights of 0 or more, one above 0, but found {list(weights)}")
    exact = np.array(weights, dtype=np.float64) / sum(weights) * n
    whole = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.round(exact - whole, 9)
    whole[np.argsort(-rest, kind="stable")[: n - int(whole.sum())]] += 1
    return whole


_ARMS = tuple(
    Share({"name": "mixture", "parts": [{"select": "top", "weight": w}, {"select": "random", "weight": 1 - w}]})
    for w in (0.0, 0.25, 0.5, 0.75, 1.0)
)


def bandit(inputs: Inputs, *, parts: tuple[Share, ...] = _ARMS, gamma: float = 0.5) -> Picks:
    """One selection of several, drawn with chances learnt from what each one's picks were worth in earlier rounds.

    ``inputs.rewards`` holds, for each earlier round, the reward (0 to 1) of each arm that was played: in a run the
    share of its picks whose answer was not what the model had said. Arms are the parts, called by name (a second of
    one name is ``name_2``); weights of parts are not used. Facts: ``arm`` and its ``chance``, and those of the
    selection. Raises SelectionError if ``gamma`` is not above 0 and up to 1, or a reward is not from 0 to 1. Auer,
    Cesa-Bianchi, Freund & Schapire 2002, The nonstochastic multiarmed bandit problem, algorithm Exp3; the arms are
    those of Google's active-learning playground, mixtures of margin and uniform.
    """
    names = _numbered([part.name for part in parts])
    chances = exp3(inputs.rewards, names, gamma=gamma)
    arm = int(np.searchsorted(np.cumsum(chances), inputs.rng.random() * chances.sum(), side="right"))
    arm = min(arm, len(parts) - 1)
    picks = parts[arm].selector(inputs)
    facts = {"arm": np.full(len(picks.rows), names[arm]), "chance": np.full(len(picks.rows), chances[arm])}
    return Picks(picks.rows, {**picks.facts, **facts}, picks.ended)


def exp3(rewards: Sequence[Mapping[str, float]], names: Sequence[str], *, gamma: float = 0.5) -> Doubles:
    """The chance of each arm ``(K,)`` after rounds with rewards by arm; arms of other names are left out.

    (1 - gamma) w / sum w + gamma / K, where each reward x multiplies its arm's w by exp(gamma x / (chance K)). Auer et
    al. 2002, algorithm Exp3.
    """
    if not 0 < gamma <= 1:
        raise SelectionError(f"bandit: expected a gamma above 0 and up to 1, but found {gamma}")
    logs = np.zeros(len(names))

    def chances() -> Doubles:
        weights = np.exp(logs - logs.max())
        return np.asarray((1 - gamma) * weights / weights.sum() + gamma / len(names))

    for played in rewards:
        now = chances()
        for name, reward in played.items():
            if not 0 <= reward <= 1:
                raise SelectionError(f"bandit: expected rewards from 0 to 1, but found {reward} for {name!r}")
            if name in names:
                i = list(names).index(name)
                logs[i] += gamma * reward / (now[i] * len(names))
    return chances()


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, the second of one name as name_2."""
    before = [list(names[:i]).count(name) for i, name in enumerate(names)]
    return [f"{name}_{k + 1}" if k else name for name, k in zip(names, before, strict=True)]


def _handed_on(quotas: Rows, parts: Sequence[Share], open_ones: Sequence[int]) -> Rows:
    """What some parts could not fill, shared out over the others."""
    result = np.zeros(len(parts), np.int64)
    result[list(open_ones)] = shared(int(quotas.sum()), [parts[i].weight for i in open_ones])
    return result


def _with(picks: Picks, name: str) -> Picks:
    return Picks(picks.rows, {"chosen_by": np.full(len(picks.rows), name), **picks.facts}, picks.ended)


def _together(parts: Sequence[Picks]) -> Picks:
    """One after the other, with the facts that any of them has: NaN where a part has none of that name."""
    names = dict.fromkeys(name for part in parts for name in part.facts)
    facts: dict[str, Array] = {}
    for name in names:
        values = [part.facts.get(name, np.full(len(part.rows), np.nan)) for part in parts]
        kinds = {value.dtype for value, part in zip(values, parts, strict=True) if len(part.rows)}
        plain = values if len(kinds) < 2 else [value.astype(object) for value in values]
        facts[name] = np.concatenate(
            [value for value, part in zip(plain, parts, strict=True) if len(part.rows)] or plain
        )
    ended = next((part.ended for part in reversed(parts) if part.ended), "")
    return Picks(np.concatenate([part.rows for part in parts]), facts, ended)
