"""Reading images and making their random views, in this process or in others; a view depends on nothing but the seed,
the epoch and the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwise.data.crops import open_sample
from labelwise.errors import DataError
from labelwise.records import Sample


@dataclass(frozen=True)
class Views:
    """The views of an image in an epoch, by ``(epoch, index)``; an unreadable image gives its message instead."""

    samples: Sequence[Sample]
    make: Callable[[Any], list[Any]]
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> list[Any] | str:
        epoch, index = key
        sample = self.samples[index]
        try:
            picture = open_sample(sample)[0]
        except DataError as error:  # as a value: an error of a worker process would arrive with its traceback
            return f"{sample.id} could be read before, but not now: {error}"
        with _random_numbers(self.seed, epoch, index):
            return self.make(picture)

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Batches:
    """The batches of all epochs from ``first`` on, as keys of ``Views``: a new order in each epoch, sizes that differ
    by one at most, none of a single image."""

    images: int
    size: int
    seed: int
    first: int
    epochs: int

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return steps(self.images, self.size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            for batch in np.array_split(order, self.steps):
                yield [(epoch, int(i)) for i in batch]

    def __len__(self) -> int:
        return self.steps * (self.epochs - self.first)


def steps(images: int, size: int) -> int:
    """Into how many batches so many images are split: of ``size`` at most, and of two at least."""
    return max(1, min(math.ceil(images / size), images // 2))


def batches_of(views: Views, keys: Batches, *, workers: int) -> Iterator[list[Any]]:
    """The batches: for each view a tensor ``(n, 3, h, w)``. Raises DataError for an image that cannot be read now."""
    import torch
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        views,  # type: ignore[arg-type]
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_stacked,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else it would draw from everybody's
    )
    for batch in loader:
        if isinstance(batch, str):
            raise DataError(batch)
        yield batch


def _stacked(items: Sequence[list[Any] | str]) -> list[Any] | str:
    import torch

    for item in items:
        if isinstance(item, str):
            return item
    return [torch.stack(list(one)) for one in zip(*items, strict=True)]


@contextmanager
def _random_numbers(seed: int, epoch: int, index: int) -> Iterator[None]:
    """Begin the generators of torch and numpy anew for one image, and put them back: transforms draw from the global
    ones."""
    import torch

    drawn = np.random.SeedSequence([seed, epoch, index]).generate_state(2, np.uint32)
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(drawn[0]))
        np.random.seed(int(drawn[1]))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
