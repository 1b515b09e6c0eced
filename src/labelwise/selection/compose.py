"""How selections are called: inputs by name, needs read off parameter names, options bound to the function."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection.owned import check_owners
from labelwise.selection.picks import Array, Picks, Rows, count, no_rows

VOCABULARY: Mapping[str, str] = {
    "n": "how many to pick",
    "candidates": "(k,) rows that may be picked, ascending",
    "labelled": "(m,) rows already labelled",
    "labels": "(m,) class index of each labelled row",
    "scores": "(N,) how much each row is wanted, higher = more",
    "probs": "(N, C) class probabilities",
    "labelled_probs": "(m, C) class probabilities of each labelled row",
    "embeddings": "(N, d) float32 vectors",
    "groups": "(N,) group number, -1 = none",
    "empty": "(N,) True where the model found no object",
    "objects": "(M, d) float32 vectors of all boxes, image after image",
    "owners": "(M,) row of the image each box belongs to, ascending",
    "object_labels": "(M,) class index of each box, -1 = not known",
    "object_scores": "(M,) how much each box counts, 0 or more",
    "metadata": "by name, (N,) numbers or words about each row",
    "rng": "numpy random generator",
    "engine": "where batches run: `map_batches(make, items, batch_size=...)`",
}
SCORE_VOCABULARY: Mapping[str, str] = {
    "probs": "(..., C) class probabilities, class axis last",
    "samples": "(S, ..., C) class probabilities of S stochastic passes",
    "maps": "(h, w, C) class probabilities of the pixels of one image",
    "reconstruction": "(h, w) error of the pixels of one image, each hidden and reconstructed",
    "boxes": "(N, 4) x0, y0, x1, y1 of one image's objects, in pixels",
    "confidences": "(N,) 0 to 1, of one image's objects",
    "box_labels": "(N,) class indices of one image's objects",
    "keypoints": "(N, K, 3) x, y and confidence of one image's objects",
    "class_probs": "(N, C) class probabilities of one image's objects, of sigmoid heads too one number a class",
    "flipped": "(N, 5 + C) what is found at one image's objects in the mirrored picture: box, confidence, class_probs",
}
OBJECT_WORDS = frozenset({"boxes", "confidences", "box_labels", "keypoints", "class_probs", "flipped"})
_WRAPPER_WORDS = ("inner", "inputs")
_OPTION = inspect.Parameter.KEYWORD_ONLY


class Batches(Protocol):
    """What a selection may use of an engine; see `labelwise.engine`."""

    def map_batches(
        self, make: Callable[[], Callable[[Sequence[Any]], Iterable[Any]]], items: Sequence[Any], *, batch_size: int
    ) -> Iterator[Any]:
        """Rows of all items, in their order."""
        ...


class Here:
    """Batches in this process: what a selection gets where there is no run."""

    def map_batches(
        self, make: Callable[[], Callable[[Sequence[Any]], Iterable[Any]]], items: Sequence[Any], *, batch_size: int
    ) -> Iterator[Any]:
        """Rows of all items, in their order."""
        work = make()
        for first in range(0, len(items), batch_size):
            yield from work(items[first : first + batch_size])


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All a selection can ask for, over N rows; None where there is none.

    Fields are the words of VOCABULARY with their shapes. ``picked`` holds the rows among ``labelled`` that were picked
    earlier in the same call, by a wrapper that asks more than once: rules about one call's picks count them in.
    ``rewards`` holds for each earlier round what the picks of each ``arm`` were worth, 0 to 1.
    """

    n: int
    candidates: Rows
    rng: np.random.Generator
    labelled: Rows = field(default_factory=no_rows)
    labels: Rows | None = None
    scores: Array | None = None
    probs: Array | None = None
    embeddings: Array | None = None
    groups: Rows | None = None
    metadata: Mapping[str, Array] | None = None
    picked: Rows = field(default_factory=no_rows)
    empty: Array | None = None
    objects: Array | None = None
    owners: Rows | None = None
    object_labels: Rows | None = None
    object_scores: Array | None = None
    rewards: tuple[Mapping[str, float], ...] = ()
    engine: Batches = field(default_factory=Here)

    def __post_init__(self) -> None:
        for name in ("candidates", "labelled", "picked"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        if len(self.candidates) > 1 and not (np.diff(self.candidates) > 0).all():
            raise SelectionError("expected candidates in ascending order without repeats; use numpy.unique")
        if self.owners is not None:
            beside = self.objects, self.object_labels, self.object_scores
            object.__setattr__(self, "owners", check_owners(self.owners, *beside))
        if self.labels is None and len(self.labelled) == 0:
            object.__setattr__(self, "labels", no_rows())
        if self.labels is not None and len(self.labels) != len(self.labelled):
            raise SelectionError(f"expected one label per labelled row, {len(self.labelled)}, found {len(self.labels)}")

    @property
    def labelled_probs(self) -> Array | None:
        """The class probabilities of the labelled rows."""
        return None if self.probs is None else self.probs[self.labelled]

    def replace(self, **changes: Any) -> Inputs:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def after(self, rows: Rows) -> Inputs:
        """What is left once ``rows`` are picked: they count as labelled, as the class the model predicts (else -1)."""
        if self.labels is None:
            labels = None
        else:
            guessed = np.full(len(rows), -1) if self.probs is None else self.probs[rows].argmax(axis=1)
            labels = np.concatenate([self.labels, guessed])
        return self.replace(
            n=max(0, self.n - len(rows)),
            candidates=self.candidates[~np.isin(self.candidates, rows)],
            labelled=np.concatenate([self.labelled, rows]),
            labels=labels,
            picked=np.concatenate([self.picked, rows]),
        )

    def named(self, names: Iterable[str], who: str) -> dict[str, Any]:
        """These inputs as keyword arguments. Raises SelectionError, naming ``who`` asks, if one is missing."""
        values = {name: getattr(self, name) for name in names}
        for name, value in values.items():
            if value is None:
                raise SelectionError(f"{who} needs {name}, {VOCABULARY[name]}, but there are none; give them")
        return values


Selector = Callable[[Inputs], Picks]


def needs(
    function: Callable[..., Any],
    vocabulary: Collection[str] = VOCABULARY,
    options: Mapping[str, Any] | None = None,
) -> frozenset[str]:
    """The inputs a function or wrapper asks for: those of its parameter names that are words of the vocabulary.

    A word with a default is optional: it is given where there is one, and asked for only if an option, or an item of
    one, says so by an attribute ``needs`` of its own. Raises ConfigError, naming the function, the parameter and the
    vocabulary, for any other parameter that is not keyword-only.
    """
    found: set[str] = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in vocabulary:
            found |= {parameter.name} if parameter.default is parameter.empty else set()
        elif parameter.kind is _OPTION:
            value = (options or {}).get(parameter.name, parameter.default)
            for item in value if isinstance(value, tuple | list) else (value,):
                found |= getattr(item, "needs", frozenset())
        elif parameter.name not in _WRAPPER_WORDS:
            raise ConfigError(
                f"{name_of(function)}: parameter {parameter.name!r} is no input; expected one of "
                f"{', '.join(vocabulary)}; make it keyword-only (after a *) if it is an option"
            )
    return frozenset(found)


def checked(
    function: Callable[..., Any], options: Mapping[str, Any] | None, vocabulary: Collection[str] = VOCABULARY
) -> dict[str, Any]:
    """The options, once each is one of the function's and none that it requires is missing.

    Raises ConfigError with the nearest known name for an unknown option, or the name of a missing one.
    """
    parameters = inspect.signature(function).parameters.values()
    known = {p.name: p for p in parameters if p.kind is _OPTION and p.name not in vocabulary}
    given = dict(options or {})
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"{name_of(function)} has no option {name!r}: {hint}known: {', '.join(sorted(known)) or 'none'}"
            )
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise ConfigError(f"{name_of(function)}: option {name!r} has no default; set it")
    return given


def bind(function: Callable[..., Any], options: Mapping[str, Any] | None = None) -> Selector:
    """A selector from a selection function and its options; checks every result against the contract.

    The function may return Picks or just an array of rows; a parameter ``inputs`` gets all inputs as they are. Raises
    ConfigError now if its parameters or options cannot be used; the selector raises SelectionError if an input is
    missing, or if the picks are not exactly min(n, candidates) different candidates (or fewer, if the picks say why
    they ended).
    """
    words = _words(function, given := checked(function, options))
    whole = "inputs" in inspect.signature(function).parameters

    def select(inputs: Inputs) -> Picks:
        wanted = count(inputs.n, inputs.candidates)
        result = function(**({"inputs": inputs} if whole else {}), **words(inputs), **given)
        picks = result if isinstance(result, Picks) else Picks(np.asarray(result, dtype=np.int64))
        _check_picks(function, picks, inputs, wanted)
        return picks

    return select


def wrap(function: Callable[..., Picks], inner: Selector, options: Mapping[str, Any] | None = None) -> Selector:
    """A selector that constrains another: ``function(inner, inputs, ...)`` with the words it needs and its options.

    Unlike a bound selection it may give fewer than n picks, if its rule leaves nothing more. Raises as ``bind``.
    """
    words = _words(function, given := checked(function, options))

    def select(inputs: Inputs) -> Picks:
        return function(inner, inputs, **words(inputs), **given)

    return select


def _words(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[[Inputs], dict[str, Any]]:
    """What gives a function the inputs it asks for, and the optional ones that there are."""
    names, parameters = needs(function, options=options), inspect.signature(function).parameters
    maybe = [
        name for name in VOCABULARY if name in parameters and parameters[name].default is not inspect.Parameter.empty
    ]

    def words(inputs: Inputs) -> dict[str, Any]:
        found = inputs.named(names, name_of(function))
        found |= {name: getattr(inputs, name) for name in maybe if getattr(inputs, name) is not None}
        return {name: value for name, value in found.items() if name in parameters}

    return words


def name_of(function: Callable[..., Any]) -> str:
    """A function's name for messages, with its module unless it is one of ours."""
    module, name = getattr(function, "__module__", "") or "", getattr(function, "__name__", repr(function))
    return name if module.startswith("labelwise.") else f"{module}.{name}"


def _check_picks(function: Callable[..., Any], picks: Picks, inputs: Inputs, wanted: int) -> None:
    rows = picks.rows
    problem = None
    if rows.ndim != 1 or len(rows) > wanted or (len(rows) < wanted and not picks.ended):
        problem = f"an array of shape {rows.shape}"
    elif len(np.unique(rows)) != len(rows):
        problem = "a row more than once"
    elif not np.isin(rows, inputs.candidates).all():
        problem = f"row {rows[~np.isin(rows, inputs.candidates)][0]}, which is no candidate"
    if problem:
        raise SelectionError(
            f"{name_of(function)}: expected {wanted} different rows, all from candidates, but it returned {problem}"
        )
