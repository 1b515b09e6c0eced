"""Conditions on scores and metadata that rows must meet to be candidates at all."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection.compose import Inputs, Selector
from labelwise.selection.picks import Array, Picks, check_scores, count
from labelwise.selection.terms import column

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row must meet: ``column`` (``score``, or a name of the metadata) compared with ``value``.

    ``compare`` is <, <=, >, >=, == or !=; words of a column can be compared by == and != only.
    """

    column: str
    compare: str
    value: str

    @property
    def needs(self) -> frozenset[str]:
        """The words of the vocabulary that this condition asks for."""
        return frozenset({"scores" if self.column == "score" else "metadata"})

    def __str__(self) -> str:
        return f"{self.column} {self.compare} {self.value}"


def condition(text: str) -> Condition:
    """A condition from text such as ``score >= 0.5`` or ``weather != fog``. Raises ConfigError if it is none."""
    found = re.fullmatch(r"\s*(.+?)\s*(<=|>=|!=|==|<|>)\s*([^\s<>=].*?)\s*", text)
    if found is None:
        raise ConfigError(
            f"threshold: expected a column, a comparison (<, <=, >, >=, ==, !=) and a value, such as "
            f"'score >= 0.5', but found {text!r}"
        )
    return Condition(*found.groups())


def threshold(
    inner: Selector,
    inputs: Inputs,
    scores: Array | None = None,
    metadata: Mapping[str, Array] | None = None,
    *,
    conditions: tuple[Condition, ...],
) -> Picks:
    """Let only candidates that meet all conditions reach the inner selection.

    A hard rule: fewer than n are picked if fewer meet them. A number that is not known (NaN) meets no condition but
    ``!=``. Raises SelectionError if no candidate meets them, a column is missing, or words are compared by size.
    """
    kept = inputs.candidates
    for one in conditions:
        if one.column == "score":
            assert scores is not None
            values: Array = check_scores(scores, kept)
        else:
            assert metadata is not None
            values = column(one.column, metadata)[kept]
        before, kept = kept, kept[_meets(one, values)]
        if count(inputs.n, inputs.candidates) and not len(kept):
            raise SelectionError(
                f"threshold: none of {len(before):,} candidates has {one}{_range(values)}; loosen the threshold"
            )
    return inner(inputs.replace(candidates=kept))


def _meets(one: Condition, values: Array) -> Array:
    compare = _COMPARE[one.compare]
    if values.dtype.kind in "fiub":
        try:
            number = float(one.value)
        except ValueError:
            raise SelectionError(f"threshold {one}: expected a number, since {one.column} holds numbers") from None
        return np.asarray(compare(values.astype(np.float64), number))
    if one.compare not in ("==", "!="):
        raise SelectionError(f"threshold {one}: {one.column} holds words, which can be compared by == and != only")
    words = np.array(["" if word is None else str(word) for word in values.tolist()], dtype=np.str_)
    return np.asarray(compare(words, one.value))


def _range(values: Array) -> str:
    """What there is instead, for the message."""
    if values.dtype.kind in "fiub" and np.isfinite(values.astype(np.float64)).any():
        numbers = values[np.isfinite(values.astype(np.float64))]
        return f" (they range from {numbers.min():g} to {numbers.max():g})"
    return ""
