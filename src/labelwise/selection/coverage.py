"""Covering the pool or its uncertain part: herding with and without uncertainty, and facility location."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.neighbors import NearestNeighbors

from labelwise.errors import SelectionError
from labelwise.selection.neighbours import nearest_others
from labelwise.selection.picks import (
    Array,
    Doubles,
    Picks,
    Rows,
    Vectors,
    check_embeddings,
    check_probs,
    check_scores,
    chunks,
    count,
    on_grid,
    sampled,
    unit,
)


def herding(
    n: int,
    candidates: Rows,
    labelled: Rows,
    labels: Rows,
    scores: Array,
    probs: Array,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    need: float = 1.0,
    radius: float = 0.5,
    neighbours: int = 100,
    dims: int = 128,
    limit: int = 30_000,
) -> Picks:
    """Pick greedily what covers most of the uncertainty that labelled images do not cover yet.

    Each candidate j has a weight u_j = score_j * sum_c p_jc / (n_c + 1)^need, where n_c counts the labels of class c;
    ``need`` 0 leaves the classes out. With similarity k(i, j) = exp(-d_ij^2 / s^2) among the ``neighbours`` nearest,
    the next pick is the i that raises sum_j u_j max over picked or labelled i of k(i, j) most; ties go to the lowest
    row. Distances d are those of the ``embeddings`` ``(N, d)`` on their first ``dims`` principal axes, scaled to length
    1. s^2 is ``radius`` times the median squared distance of a labelled image to the nearest other one, so that it
    shrinks as labels grow. Of more than ``limit`` candidates a random sample is used.

    Facts: ``coverage_gain``, the weight newly covered, as a share of all weight. Raises SelectionError if a number is
    not finite. Bae, Sutherland & Oliveira 2025, Uncertainty Herding; the class weights follow Bengar et al. 2022,
    Class-balanced active learning.
    """
    n = count(n, candidates)
    candidates = sampled(n, candidates, limit, rng)
    rows, free, known = _places(candidates, labelled)
    vectors = _compact(check_embeddings(embeddings, rows)[rows], dims)
    weights = np.zeros(len(rows))
    weights[free] = np.maximum(check_scores(scores, candidates), 0) * _class_need(
        check_probs(probs, candidates), labels, need
    )
    cover = _Cover(*_graph(vectors, neighbours, _width(vectors, known, radius)), weights)
    cover.add_all(known)
    picks, gains = cover.greedy(free, n)
    return Picks(rows[picks], {"coverage_gain": gains / max(weights.sum(), np.finfo(float).tiny)})


def max_herding(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    width: float = 1.0,
    neighbours: int = 200,
    dims: int = 128,
    limit: int = 30_000,
) -> Picks:
    """Pick greedily what brings the pool nearest to something labelled or picked: herding without uncertainty.

    With similarity k(i, j) = exp(-d_ij^2 / ``width``^2) among the ``neighbours`` nearest, the next pick is the i that
    raises sum_j max over picked or labelled i of k(i, j) most; ties go to the lowest row. Distances d are those of
    the ``embeddings`` ``(N, d)`` on their first ``dims`` principal axes, scaled to length 1, so 0 to 2; similarities
    are rounded to 1e-6. Of more than ``limit`` candidates a random sample is used; memory grows with candidates times
    ``neighbours``.

    Facts: ``newly_covered``, the similarity won, as a share of candidates and labelled rows. Raises SelectionError if
    a vector is not finite or ``width`` is not above 0. Bae, Noh & Sutherland 2024, Generalized coverage for more
    robust low-budget active learning, algorithm 1.
    """
    if not width > 0:
        raise SelectionError(f"max_herding: expected a width above 0, but found {width}")
    n = count(n, candidates)
    rows, free, known = _places(sampled(n, candidates, limit, rng), labelled)
    vectors = _compact(check_embeddings(embeddings, rows)[rows], dims)
    nearest, similarity = _graph(vectors.astype(np.float64), neighbours, width**2)
    cover = _Cover(nearest, on_grid(similarity), np.ones(len(rows)))
    cover.add_all(known)
    picks, gains = cover.greedy(free, n)
    return Picks(rows[picks], {"newly_covered": gains / max(len(rows), 1)})


def facility_location(
    n: int,
    candidates: Rows,
    labelled: Rows,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    neighbours: int = 200,
    limit: int = 100_000,
    chance: float = 0.0,
) -> Picks:
    """Pick greedily what raises the sum over the pool of the cosine to the most similar picked or labelled image most.

    ``embeddings`` is ``(N, d)``, scaled to length 1. An image serves its ``neighbours`` nearest only, with similarity
    max(0, cos) rounded to 1e-6; ties go to the lowest row. Labelled rows count as chosen. The greedy sum is at least
    1 - 1/e of the best one, found by lazy evaluation. With a ``chance`` above 0 every pick is the best of (k / n)
    ln(1 / ``chance``) that are drawn, of k candidates: less work, and on average at least 1 - 1/e - ``chance``.
    Neighbours are sought in blocks and exactly; of more than ``limit`` candidates a random sample is used; memory grows
    with candidates times ``neighbours``, work with the candidates squared.

    Facts: ``newly_covered``, the similarity won, as a share of candidates and labelled rows. Raises SelectionError if
    a vector is not finite or ``chance`` is not from 0 to below 1. Wei, Iyer & Bilmes 2015, Submodularity in data subset
    selection and active learning; lazy: Minoux 1978; by chance: Mirzasoleiman et al. 2015, Lazier than lazy greedy.
    """
    if not 0 <= chance < 1:
        raise SelectionError(f"facility_location: expected a chance from 0 to below 1, but found {chance}")
    n = count(n, candidates)
    rows, free, known = _places(sampled(n, candidates, limit, rng), labelled)
    if not n:
        return Picks(candidates[:0], {"newly_covered": np.empty(0)})
    vectors = unit(check_embeddings(embeddings, rows)[rows])
    others, squared = nearest_others(vectors, np.arange(len(rows)), neighbours - 1)
    nearest = np.column_stack([np.arange(len(rows)), others])
    similarity = np.column_stack([np.ones(len(rows)), np.maximum(1 - squared / 2, 0)])
    cover = _Cover(nearest, on_grid(similarity), np.ones(len(rows)))
    cover.add_all(known)
    picks, gains = cover.by_chance(free, n, chance, rng) if chance else cover.greedy(free, n)
    return Picks(rows[picks], {"newly_covered": gains / len(rows)})


def _places(candidates: Rows, labelled: Rows) -> tuple[Rows, NDArray[np.intp], NDArray[np.intp]]:
    """Candidates and labelled rows together, ascending, and the positions of both therein."""
    rows = np.sort(np.concatenate([candidates, labelled]))
    return rows, np.searchsorted(rows, candidates), np.searchsorted(rows, labelled)


def _class_need(probs: Doubles, labels: Rows, need: float) -> Doubles:
    counts = np.bincount(labels[labels >= 0], minlength=probs.shape[1])[: probs.shape[1]]
    return np.asarray(probs @ (counts + 1.0) ** -need)


def _compact(vectors: Vectors, dims: int) -> Vectors:
    """The first principal axes, scaled to length 1: what is left out is mostly noise, and distances cost a tenth.

    Only the axes that are kept are computed, which takes a fifth of the time of scikit-learn's PCA.
    """
    width = vectors.shape[1]
    centred = vectors - vectors.mean(axis=0)
    covariance = (centred.T @ centred).astype(np.float64)
    _, axes = eigh(covariance, subset_by_index=(width - min(dims, width), width - 1))
    return unit((centred @ axes.astype(np.float32)).astype(np.float32))


def _width(vectors: Vectors, known: NDArray[np.intp], radius: float) -> float:
    """The kernel's s^2, from the labelled images; from all where fewer than two are labelled."""
    points = vectors[known] if len(known) > 1 else vectors
    if len(points) < 2:
        return 1.0
    distances, _ = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points).kneighbors(points)
    return radius * max(float(np.median(distances[:, 1].astype(np.float64) ** 2)), 1e-9)


def _graph(vectors: NDArray[Any], neighbours: int, width: float) -> tuple[NDArray[np.int64], Doubles]:
    """The nearest rows of each row, itself included, ``(N, k)``, and their similarity."""
    k = min(neighbours, len(vectors))
    distances, nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors).kneighbors(vectors)
    return nearest, np.exp(-(distances.astype(np.float64) ** 2) / width)


@dataclass
class _Cover:
    """How well each row is covered by what is labelled or picked, and greedy picking by lazy evaluation (Minoux
    1978).
    """

    nearest: NDArray[np.int64]
    similarity: Doubles
    weights: Doubles

    def __post_init__(self) -> None:
        self.covered = np.zeros(len(self.weights))

    def add_all(self, rows: NDArray[np.intp]) -> None:
        np.maximum.at(self.covered, self.nearest[rows].ravel(), self.similarity[rows].ravel())
        self.covered[rows] = 1.0

    def gain(self, row: int) -> float:
        around = self.nearest[row]
        return float(self.weights[around] @ np.maximum(self.similarity[row] - self.covered[around], 0))

    def gains(self, rows: NDArray[np.intp]) -> Doubles:
        """What each of these rows would newly cover."""
        found = np.empty(len(rows))
        for part in chunks(len(rows), 4096):
            around = self.nearest[rows[part]]
            missing = np.maximum(self.similarity[rows[part]] - self.covered[around], 0)
            found[part] = np.einsum("ij,ij->i", self.weights[around], missing)
        return found

    def by_chance(
        self, free: NDArray[np.intp], n: int, chance: float, rng: np.random.Generator
    ) -> tuple[Rows, Doubles]:
        """Always the best of some that are drawn; of equal ones the lowest row."""
        left = free.copy()
        size = max(1, math.ceil(len(free) / max(n, 1) * math.log(1 / chance)))
        picks, values = np.empty(n, np.int64), np.empty(n)
        for i in range(n):
            drawn = np.sort(rng.choice(len(left), min(size, len(left)), replace=False))
            gains = self.gains(left[drawn])
            best = int(np.argmax(gains))
            picks[i], values[i] = left[drawn[best]], gains[best]
            self.add_all(picks[i : i + 1])
            left = np.delete(left, drawn[best])
        return picks, values

    def greedy(self, free: NDArray[np.intp], n: int) -> tuple[Rows, Doubles]:
        gains = self.gains(free)
        # Gains only fall: one computed earlier is an upper bound, and the best bound that is up to date is the best of
        # all.
        heap = [(-gain, int(row), 0) for gain, row in zip(gains, free, strict=True)]
        heapq.heapify(heap)
        picks: list[int] = []
        values: list[float] = []
        while len(picks) < n:
            bound, row, turn = heapq.heappop(heap)
            if turn < len(picks):
                heapq.heappush(heap, (-self.gain(row), row, len(picks)))
                continue
            picks.append(row)
            values.append(-bound)
            self.add_all(np.array([row]))
        return np.array(picks, dtype=np.int64), np.array(values)
