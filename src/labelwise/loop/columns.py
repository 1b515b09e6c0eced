"""What is known of images without a model, as columns for selections: built only if one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.catalog import suggest
from labelwise.errors import ConfigError
from labelwise.records import Sample
from labelwise.strategies import Strategy

OWN = ("width", "height", "group")  # known of every image


class Columns(Mapping[str, NDArray[Any]]):
    """Columns ``(N,)`` by name: width and height in pixels, the group's name, and whatever the samples' ``meta`` holds.

    A column of numbers has NaN where one is not known, one of words "". A sample's own width or group is never
    replaced by metadata of that name.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._names = [*OWN, *sorted({name for sample in samples for name in sample.meta} - set(OWN))]
        self._column = cache(self._made)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        return self._column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _made(self, name: str) -> NDArray[Any]:
        if name in ("width", "height"):
            side = ("width", "height").index(name)
            return np.array([sample.size[side] for sample in self._samples], dtype=np.int64)
        if name == "group":
            return np.array([sample.group or "" for sample in self._samples], dtype=np.str_)
        values = [sample.meta.get(name) for sample in self._samples]
        if all(value is None or isinstance(value, int | float) for value in values):
            return np.array([np.nan if value is None else float(value) for value in values])
        # Objects: words of very different lengths would all take the room of the longest.
        return np.array(["" if value is None else str(value) for value in values], dtype=object)


def group_numbers(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Numbers ``(N,)`` of the samples' groups in the order of their first samples; -1 without one."""
    numbers: dict[str, int] = {}
    return np.array(
        [-1 if s.group is None else numbers.setdefault(s.group, len(numbers)) for s in samples], dtype=np.int64
    )


def check_columns(strategy: Strategy, samples: Sequence[Sample]) -> None:
    """Raises ConfigError if a strategy asks for metadata that none of the samples has."""
    wanted = strategy.columns
    known = Columns(samples if wanted else ())  # naming the columns looks at every image
    for name in sorted(wanted - set(known)):
        raise ConfigError(f"strategy: the images have no metadata {name!r}; {suggest(name, known)}")
