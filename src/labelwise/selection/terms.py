"""The parts of a combined selection: what each says about every row, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.compose import Inputs
from labelwise.selection.likeness import query_distances, query_rows, similarity
from labelwise.selection.picks import Array, Doubles, Rows, check_probs, check_scores
from labelwise.selection.typicality import typicality

By = Literal["diversity", "score", "similarity", "typicality", "metadata", "balance"]

_ASKS: Mapping[str, frozenset[str]] = {
    "diversity": frozenset({"embeddings"}),
    "score": frozenset({"scores"}),
    "similarity": frozenset({"embeddings"}),
    "typicality": frozenset({"embeddings"}),
    "metadata": frozenset({"metadata"}),
    "balance": frozenset({"probs"}),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a combined selection, and how strongly it counts.

    ``by`` diversity: distance to what is labelled or picked. By score, similarity, typicality or metadata (a numeric
    ``column``): weights. By balance: classes, predicted or those of a ``column`` of words, brought near to ``target``:
    uniform, input (as in the pool), or shares by class index or word, where all others count as one with the rest.
    ``like`` are the classes (indices) that similarity is measured to, default everything labelled. A negative
    ``strength`` wants the opposite.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}  # a misspelt key of the configuration is refused

    by: By
    strength: float = 1.0
    column: str | None = None
    target: Literal["uniform", "input"] | dict[str, float] = "uniform"
    like: tuple[int, ...] = field(default=())

    @property
    def needs(self) -> frozenset[str]:
        """The words of the vocabulary that this part asks for."""
        return _ASKS["metadata"] if self.column is not None else _ASKS[self.by]

    @property
    def name(self) -> str:
        """What the part is called in facts."""
        return self.column if self.by == "metadata" and self.column is not None else self.by


def check_parts(parts: tuple[Part, ...], least_distance: float) -> None:
    """Raises SelectionError for parts that cannot be combined."""
    if not parts:
        raise SelectionError("combined: expected one part or more, but found none; for example {by: diversity}")
    spread = [part for part in parts if part.by == "diversity"]
    if len(spread) > 1:
        raise SelectionError(
            f"combined: expected diversity once, but found it {len(spread)} times; add up the strengths"
        )
    if least_distance and not spread:
        raise SelectionError("combined: least_distance needs a part {by: diversity}, but there is none")
    for part in parts:
        if not np.isfinite(part.strength):
            raise SelectionError(f"combined: expected a finite strength of {part.name}, but found {part.strength}")
        fits = part.by in ("metadata", "balance") if part.column is not None else part.by != "metadata"
        if not fits:
            raise SelectionError(
                f"combined: expected a column with metadata (and perhaps balance) only, but found {part.column!r} "
                f"with {part.by}"
            )


def weights_of(part: Part, inputs: Inputs) -> tuple[Doubles, Doubles]:
    """What a part by score, similarity, typicality or metadata gives the candidates and the labelled rows, 0 or more.

    A labelled row without a number (NaN) counts with the candidates' mean. Raises SelectionError for a number that is
    not finite or negative.
    """
    rows = np.concatenate([inputs.candidates, inputs.labelled])
    if part.by in ("similarity", "typicality"):
        given = inputs.named(["embeddings"], "combined")["embeddings"]
        if part.by == "typicality":
            order = np.argsort(rows)
            values = np.empty(len(rows))
            values[order] = typicality(given, rows[order])
        else:
            asked = query_rows(inputs.candidates, inputs.labelled, inputs.labels, given, part.like, ())
            values = similarity(query_distances(given, rows, asked))
        return values[: len(inputs.candidates)], values[len(inputs.candidates) :]
    numbers = _column(part.column, inputs) if part.column else inputs.named(["scores"], "combined")["scores"]
    return positive(part.name, numbers, inputs.candidates, inputs.labelled)


def positive(who: str, numbers: Array, candidates: Rows, labelled: Rows) -> tuple[Doubles, Doubles]:
    """The numbers of candidates and labelled rows, once they are known to be finite and not negative."""
    if np.asarray(numbers).dtype.kind not in "fiub":
        raise SelectionError(f"combined: expected numbers in {who}, but found words; balance takes words")
    wanted = check_scores(numbers, candidates)
    mean = wanted.mean() if len(wanted) else 0.0
    known = check_scores(np.where(np.isfinite(numbers), numbers, mean), labelled)
    rows, values = np.concatenate([candidates, labelled]), np.concatenate([wanted, known])
    if (values < 0).any():
        row = rows[np.flatnonzero(values < 0)[0]]
        raise SelectionError(
            f"combined: expected {who} of 0 or more, but row {row} has {numbers[row]}; "
            "add a constant, or take the exponential"
        )
    return wanted, known


def class_counts(part: Part, inputs: Inputs) -> tuple[Doubles, Doubles, Doubles]:
    """For balance: ``(k, C)`` shares of the candidates in each class, ``(C,)`` counts of the labelled rows, the target.

    Classes are those of the predictions, in which labelled rows count as their label, or the words of a column, in
    which rows without a word count for nothing and come last.
    """
    if part.column is None:
        probs = inputs.named(["probs"], "combined")["probs"]
        shares, names = check_probs(probs, inputs.candidates), [str(i) for i in range(probs.shape[1])]
        labels = inputs.labels if inputs.labels is not None else np.full(len(inputs.labelled), -1)
        known = np.bincount(labels[(labels >= 0) & (labels < len(names))], minlength=len(names)).astype(np.float64)
    else:
        rows = np.concatenate([inputs.candidates, inputs.labelled])
        words = np.array(
            ["" if word is None or word != word else str(word) for word in _column(part.column, inputs)[rows]]
        )
        names, codes = [str(word) for word in np.unique(words[words != ""])], np.searchsorted(np.unique(words), words)
        every = np.eye(len(np.unique(words)))[codes][:, int("" in words) :]
        shares, known = every[: len(inputs.candidates)], every[len(inputs.candidates) :].sum(axis=0)
    return _towards(part, names, shares, known)


def _towards(part: Part, names: list[str], shares: Doubles, known: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """The target of each class; classes that a target does not name become one, with what is left."""
    if part.target == "uniform":
        return shares, known, np.full(len(names), 1 / max(len(names), 1))
    if part.target == "input":
        total = shares.sum(axis=0) + known
        return shares, known, np.asarray(total / max(total.sum(), np.finfo(float).tiny))
    assert isinstance(part.target, dict)
    for name, share in part.target.items():
        if name not in names:
            raise SelectionError(f"combined: balance knows no class {name!r}: it has {', '.join(names) or 'none'}")
        if not 0 <= share <= 1:
            raise SelectionError(f"combined: expected a target from 0 to 1 for {name!r}, but found {share}")
    rest = 1 - sum(part.target.values())
    if rest < -1e-6:
        raise SelectionError(f"combined: expected targets that sum to 1 or less, but they sum to {1 - rest:g}")
    named = [names.index(name) for name in part.target]
    others = [i for i in range(len(names)) if i not in named]
    target = [*part.target.values()]
    if not others:
        return shares[:, named], known[named], np.array(target)
    merged = np.column_stack([shares[:, named], shares[:, others].sum(axis=1)])
    return merged, np.append(known[named], known[others].sum()), np.array([*target, max(rest, 0.0)])


def _column(name: str, inputs: Inputs) -> Array:
    return column(name, inputs.named(["metadata"], "combined")["metadata"])


def column(name: str, metadata: Mapping[str, Any]) -> Array:
    """A column of the metadata, ``(N,)``. Raises SelectionError with the names there are if there is none."""
    if name not in metadata:
        known = ", ".join(sorted(metadata)) or "none"
        raise SelectionError(f"metadata has no column {name!r}: it has {known}")
    found = np.asarray(metadata[name])
    if found.ndim != 1:
        raise SelectionError(f"metadata {name!r}: expected one value per row, but found shape {found.shape}")
    return found
