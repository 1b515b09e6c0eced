"""Choice of single pixels: the best of an image, PixelPick's draw among them, and the best of many images."""

from __future__ import annotations

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Doubles, Rows
from labelwise.selection.places import Map, Places, at_positions, check_number, ranked, read_map


def top_pixels(n: int, scores: Array, *, free: Array | None = None, name: str | None = None) -> Places:
    """The n free pixels of an image with the highest scores, best first; ties go to the first, row by row.

    ``scores`` is ``(h, w)``, higher = more wanted; ``free`` ``(h, w)`` bool marks the valid, unlabelled pixels (None:
    all). Fewer than n if fewer are free. Raises SelectionError, naming the image, if a free pixel's score is not
    finite.
    """
    given = read_map(scores, free, name)
    flat, positions = given.scores.reshape(-1), given.highest(check_number(n, "pixels"))
    best = ranked(flat[positions], positions)
    return at_positions(best, flat[best], given.scores.shape[1])


def pixel_pick(
    n: int,
    scores: Array,
    rng: np.random.Generator,
    *,
    share: float = 0.05,
    free: Array | None = None,
    name: str | None = None,
) -> Places:
    """n pixels drawn at random from the ``share`` of an image's pixels with the highest scores.

    ``share`` is of all pixels h w, as in PixelPick's code, rounded down; for a larger n the next highest follow.
    Arguments otherwise, and errors, as for ``top_pixels``; the places come in the order drawn, and a larger n extends
    the same draw. Shin et al. 2021, All you need are a few pixels: semantic segmentation with PixelPick, section 3.
    """
    given, n = read_map(scores, free, name), check_number(n, "pixels")
    if not 0 < share <= 1:
        raise SelectionError(f"pixel_pick: expected a share above 0 and up to 1 (0.05 is 5 %), but found {share}")
    flat, positions = given.scores.reshape(-1), given.highest(int(share * given.scores.size))
    drawn = positions[rng.permutation(len(positions))[:n]]
    if n > len(drawn):
        more = np.setdiff1d(given.highest(n), positions, assume_unique=True)
        drawn = np.concatenate([drawn, ranked(flat[more], more)])
    return at_positions(drawn, flat[drawn], given.scores.shape[1])


def draw(n: int, places: Places, rng: np.random.Generator) -> Places:
    """n of the places drawn at random, without replacement: PixelPick's second step for places of many images."""
    return places.take(rng.permutation(len(places))[: check_number(n, "places")])


def evenly(n: int, room: Array) -> Rows:
    """How many of n go to each image if all get the same number, none more than its ``room``: ``(m,)`` int64.

    What cannot be shared out evenly goes to the first images that have room. The sum is n, or all the room there is.
    """
    rooms = np.asarray(room, np.int64)
    n = min(check_number(n, "places"), int(rooms.sum()))
    low, high = 0, n  # every image gets ``low``, or all it has
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(np.minimum(rooms, middle).sum()) <= n else (low, middle - 1)
    shares = np.minimum(rooms, low)
    more = np.flatnonzero(rooms > low)[: n - int(shares.sum())]
    shares[more] += 1
    return shares


class BestPixels:
    """The n free pixels with the highest scores of many images, which are shown one at a time and not kept.

    Ties go to the image with the lowest number, then to the first pixel, row by row; the order in which images are
    added does not matter. Memory is that of one image and of about 2n pixels.
    """

    def __init__(self, n: int) -> None:
        self.n = check_number(n, "pixels")
        self._values, self._images = np.empty(0), np.empty(0, np.int64)
        self._points = np.empty((0, 2), np.int64)
        self._floor, self._last = -np.inf, -1  # score and image of the worst that is kept, once there are n
        self._seen: set[int] = set()

    def add(self, image: int, scores: Array, *, free: Array | None = None, name: str | None = None) -> None:
        """Show the scores ``(h, w)`` of one image, and which of its pixels are valid and unlabelled (None: all).

        Raises SelectionError, naming the image, if a free pixel's score is not finite or the image was added before.
        """
        given = read_map(scores, free, name or f"image {image}")
        if image in self._seen:
            raise SelectionError(f"expected every image once, but {given.name} was added before")
        positions = self._candidates(image, given)
        self._seen.add(image)
        values = given.scores.reshape(-1)[positions]
        self._keep(at_positions(positions, values, given.scores.shape[1], np.full(len(positions), image)))

    def merge(self, places: Places) -> None:
        """Take in what another one found (its ``result``), of other images: parts of a pool can be looked at apart."""
        found = set(np.unique(places.images).tolist())
        if found & self._seen:
            raise SelectionError(f"expected every image once, but image {min(found & self._seen)} was added before")
        self._seen |= found
        self._keep(places)

    def result(self) -> Places:
        """The best so far, n or fewer, best first."""
        self._shrink()
        order = np.lexsort((*self._points.T, self._images, -self._values))
        return Places(self._points[order], self._values[order], np.ones(len(order), np.int64), self._images[order])

    def _candidates(self, image: int, given: Map) -> Rows:
        """Positions that may belong to the best: the highest n of the image, or those above what is kept already."""
        if self._floor > -np.inf and self.n:
            floor = self._floor if image < self._last else float(np.nextafter(self._floor, np.inf))
            positions = given.between(floor, np.inf, self.n // 4)
            if len(positions) <= self.n:
                return positions
        return given.highest(self.n)

    def _keep(self, places: Places) -> None:
        self._values = np.concatenate([self._values, places.scores])
        self._images = np.concatenate([self._images, places.images])
        self._points = np.concatenate([self._points, places.points])
        if len(self._values) > 2 * self.n or (self._floor == -np.inf and len(self._values) >= self.n):
            self._shrink()

    def _shrink(self) -> None:
        """Leave the n best, and remember the worst of them."""
        values: Doubles = self._values
        if self.n == 0 or len(values) < self.n:
            keep = np.arange(len(values) if self.n else 0)
        else:
            least = np.partition(values, len(values) - self.n)[len(values) - self.n]
            above, ties = np.flatnonzero(values > least), np.flatnonzero(values == least)
            order = np.lexsort((*self._points[ties].T, self._images[ties]))
            ties = ties[order[: self.n - len(above)]]
            self._floor, self._last = float(least), int(self._images[ties[-1]])
            keep = np.concatenate([above, ties])
        self._values, self._images, self._points = values[keep], self._images[keep], self._points[keep]
