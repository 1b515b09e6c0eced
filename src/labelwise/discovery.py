"""Discovery of classes: how many were found among how many images, and how many more there may be.

Each labelled image is a sampling unit in which classes occur. The sums are those of ecology's species: exact
rarefaction (Hurlbert, 1971; over units Colwell et al., 2004), the lower bound of the richness and its interval (Chao,
1984, 1987), coverage and the next units' new classes (Chao and Jost, 2012; Colwell et al., 2012).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import DataError
from labelwise.evaluate import checked_level
from labelwise.records import Floats


@dataclass(frozen=True, slots=True)
class Richness:
    """Classes there may be in all: ``found`` ones, an ``estimate`` that is rather too low, and its interval."""

    found: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Discovery:
    """In how many of ``units`` images each found class occurs: ``counts`` ``(k,)``, each from 1 to ``units``.

    Raises DataError for other counts.
    """

    counts: tuple[int, ...]
    units: int

    def __post_init__(self) -> None:
        if any(not 1 <= count <= self.units for count in self.counts):
            raise DataError(f"a class occurs in 1 to {self.units} of {self.units} images; found {list(self.counts)}")

    @property
    def found(self) -> int:
        """Number of classes found."""
        return len(self.counts)

    @property
    def once(self) -> int:
        """Number of classes found in one image only."""
        return self.counts.count(1)

    @property
    def twice(self) -> int:
        """Number of classes found in just two images."""
        return self.counts.count(2)

    def rarefied(self, units: int) -> float:
        """Classes expected in so many of the images, drawn at random without putting back: 0 to all of them."""
        if not 0 <= units <= self.units:
            raise DataError(f"expected 0 to {self.units} images, found {units}")
        if not self.counts or not units:
            return 0.0
        from scipy.special import gammaln

        # A class is missed if all drawn images are among those without it.
        without = self.units - np.array(self.counts)
        can = without >= units
        log = (
            gammaln(np.where(can, without, units) + 1.0)
            - gammaln(np.where(can, without - units, 0) + 1.0)
            + gammaln(self.units - units + 1.0)
            - gammaln(self.units + 1.0)
        )
        missed = np.where(can, np.exp(np.minimum(log, 0.0)), 0.0)
        return float(self.found - missed.sum())

    def curve(self, points: int = 40) -> tuple[NDArray[np.int64], Floats]:
        """The rarefaction curve: numbers of images ``(p,)`` up to all, and the classes expected in them ``(p,)``."""
        places = np.unique(np.linspace(min(1, self.units), self.units, points).round().astype(np.int64))
        return places, np.array([self.rarefied(int(n)) for n in places])

    @property
    def unseen(self) -> float:
        """Classes not found yet, at least: Chao's estimate, 0 if every class was found more than once."""
        if not self.units:
            return 0.0
        share = (self.units - 1) / self.units
        if self.twice:
            return share * self.once**2 / (2 * self.twice)
        return share * self.once * (self.once - 1) / 2

    @property
    def coverage(self) -> float:
        """Share of the classes' occurrences that belongs to found classes, 0 to 1; NaN without an image."""
        total, n = sum(self.counts), self.units
        if not total:
            return float("nan")
        if not self.once:
            return 1.0
        # Good and Turing's estimate, corrected by what further images would still show.
        left = n * self.unseen / (n * self.unseen + self.once)
        return 1 - self.once / total * left

    def new(self, units: int) -> float:
        """New classes expected in so many more images, if they come as the found ones came."""
        if units < 0:
            raise DataError(f"expected 0 or more further images, found {units}")
        if not self.unseen:
            return 0.0
        kept = 1 - self.once / (self.units * self.unseen + self.once)
        return float(self.unseen * (1 - kept**units))

    def richness(self, level: float = 0.95) -> Richness:
        """Chao's estimate of all classes with its log-normal interval, which never ends below what was found."""
        from scipy.stats import norm

        z = float(norm.ppf(0.5 + checked_level(level) / 2))
        found, more = self.found, self.unseen
        if not self.counts:
            return Richness(0, 0.0, 0.0, 0.0)
        if not more:
            return Richness(found, float(found), *self._nothing_more(z))
        spread = float(np.exp(z * np.sqrt(np.log1p(self._variance() / more**2))))
        return Richness(found, found + more, found + more / spread, found + more * spread)

    def _variance(self) -> float:
        """Variance of Chao's estimate."""
        one, two, share = self.once, self.twice, (self.units - 1) / self.units
        if two:
            ratio = one / two
            return two * (share / 2 * ratio**2 + share**2 * ratio**3 + share**2 / 4 * ratio**4)
        return (
            share * one * (one - 1) / 2
            + share**2 * one * (2 * one - 1) ** 2 / 4
            - share**2 * one**4 / (4 * (self.found + self.unseen))
        )

    def _nothing_more(self, z: float) -> tuple[float, float]:
        """The interval where nothing points to further classes: how likely classes with these counts were missed."""
        counts, found = np.array(self.counts, float), self.found
        missed = np.exp(-counts)
        share = min(missed.sum() / found, 0.99)
        variance = max(0.0, float((missed - missed**2).sum() - (counts * missed).sum() ** 2 / self.units))
        middle, half = found / (1 - share), z * np.sqrt(variance) / (1 - share)
        return max(float(found), float(middle - half)), float(middle + half)


def discovered(images: Iterable[Sequence[str]]) -> Discovery:
    """The discovery of classes in images, each given by the classes that occur in it, perhaps none."""
    counts: Counter[str] = Counter()
    units = 0
    for classes in images:
        units += 1
        counts.update(set(classes))
    return Discovery(tuple(counts[name] for name in sorted(counts)), units)
