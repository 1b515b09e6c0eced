"""Selections by score alone, and the random baseline."""

from __future__ import annotations

from typing import Literal

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_scores, count, descending


def top(n: int, candidates: Rows, scores: Array) -> Picks:
    """The n candidates with the highest scores; ties go to the lowest row.

    ``scores`` is ``(N,)``, higher = more wanted. Raises SelectionError if a candidate's score is not finite.
    """
    values = check_scores(scores, candidates)
    return Picks(candidates[descending(values)[: count(n, candidates)]])


def random(n: int, candidates: Rows, rng: np.random.Generator) -> Picks:
    """n candidates drawn uniformly without replacement: the baseline every strategy has to beat.

    A larger n extends the same draw, so that the picks for n are the first n of those for n + 1.
    """
    rows = candidates[rng.permutation(len(candidates))[: count(n, candidates)]]
    return Picks(rows, {"drawn": np.full(len(rows), "at random")})


def stochastic(
    n: int,
    candidates: Rows,
    scores: Array,
    rng: np.random.Generator,
    *,
    kind: Literal["power", "softmax", "softrank"] = "power",
    beta: float = 1.0,
) -> Picks:
    """n candidates drawn without replacement, with chances that grow with the score (Gumbel top-k).

    Chances are proportional to s^beta (``power``, needs scores >= 0), exp(beta s) (``softmax``) or rank^-beta
    (``softrank``, 1 = best). ``beta`` 0 is uniform, infinity is ``top``. Under ``power`` a score of 0 has no chance
    before all others are taken. Raises SelectionError if a score is not finite, or negative under ``power``.
    Kirsch et al. 2023, Stochastic batch acquisition: a simple baseline for deep active learning, table 1.
    """
    values = check_scores(scores, candidates)
    # nan fails this comparison too
    if not beta >= 0:
        raise SelectionError(f"stochastic: expected beta of 0 or more, but found {beta}")
    noise = rng.gumbel(size=len(candidates))
    if np.isinf(beta):
        order = descending(values)
    else:
        # a chance of 0 is minus infinity; the noise alone then orders those rows among themselves
        order = np.lexsort((-noise, -(noise + _log_chances(values, candidates, kind, float(beta)))))
    rows = candidates[order[: count(n, candidates)]]
    return Picks(rows, {"drawn": np.full(len(rows), "at random in favour of high scores")})


def _log_chances(values: Doubles, candidates: Rows, kind: str, beta: float) -> Doubles:
    """Logarithm of each candidate's unnormalised chance."""
    if kind == "softmax":
        return beta * values
    if kind == "softrank":
        ranks = np.empty(len(values))
        ranks[descending(values)] = np.arange(1, len(values) + 1)
        return -beta * np.log(ranks)
    if kind != "power":
        raise SelectionError(f"stochastic: expected kind power, softmax or softrank, but found {kind!r}")
    if (values < 0).any():
        row = int(candidates[int(np.argmax(values < 0))])
        raise SelectionError(
            f"stochastic: kind power needs scores of 0 or more, but row {row} has a negative one; use kind softrank"
        )
    if beta == 0:
        return np.zeros(len(values))
    logs = np.full(len(values), -np.inf)
    np.log(values, out=logs, where=values > 0)
    return beta * logs
