"""Selections from a tree of clusters: hierarchical sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage

from labelwise.errors import SelectionError
from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_embeddings, count, sampled


def hierarchical(
    n: int,
    candidates: Rows,
    labelled: Rows,
    labels: Rows,
    embeddings: Array,
    rng: np.random.Generator,
    *,
    beta: float = 2.0,
    limit: int = 5_000,
) -> Picks:
    """Draw from the clusters of a tree, cut where the labels say that the parts are purer than the whole.

    Candidates and labelled rows form a Ward tree of ``embeddings`` ``(N, d)``, as given. A class is admissible for a
    node if its error is surely below ``beta`` times that of any other class; the cut splits admissible nodes where that
    lowers the estimated error. Each pick draws a part of the cut in proportion to its size times one minus the lower
    bound on its class's share, then one of its candidates uniformly. Without labels this is the uniform draw. Of more
    than ``limit`` candidates a random sample is used, since the tree needs all pairs of distances.

    Facts: ``part_size`` and ``part_labelled`` (labels it had before). Raises SelectionError if a vector is not finite
    or ``beta`` is below 1. Dasgupta & Hsu 2008, Hierarchical sampling for active learning, algorithm 1.
    """
    if not beta >= 1:
        raise SelectionError(f"hierarchical: expected a beta of 1 or more, but found {beta}")
    n = count(n, candidates)
    candidates = sampled(n, candidates, limit, rng)
    rows = np.concatenate([candidates, labelled])
    points = check_embeddings(embeddings, rows)[rows].astype(np.float64)
    if not n:
        return Picks(candidates[:0])
    tree = _Tree.of(points, labels, len(candidates))
    parts = tree.cut(beta)
    # drawn without replacement within a part: a shuffled list each, and only parts with candidates left
    waiting = [rng.permutation(leaves[leaves < len(candidates)]).tolist() for leaves in map(tree.leaves, parts.nodes)]
    order = [_take(waiting, parts.weights, rng) for _ in range(n)]
    picks = np.array([position for _, position in order], dtype=np.int64)
    nodes = parts.nodes[[part for part, _ in order]]
    return Picks(candidates[picks], {"part_size": tree.sizes[nodes], "part_labelled": tree.counts[nodes].sum(axis=1)})


def _take(waiting: list[list[int]], weights: Doubles, rng: np.random.Generator) -> tuple[int, int]:
    """A part drawn by its weight among those with candidates left, and the last of its candidates, taken off."""
    left = np.array([bool(positions) for positions in waiting])
    chances = np.where(left, weights, 0)
    if chances.sum() <= 0:  # every part left is sure of its class
        chances = left.astype(np.float64)
    part = int(rng.choice(len(waiting), p=chances / chances.sum()))
    return part, waiting[part].pop()


@dataclass(frozen=True)
class _Parts:
    """The nodes of a cut and how much each is drawn from."""

    nodes: NDArray[np.int64]
    weights: Doubles


@dataclass(frozen=True)
class _Tree:
    """A binary tree: nodes 0 to N - 1 are the rows, later ones join two earlier ones, the last is the root."""

    children: NDArray[np.int64]  # (N - 1, 2)
    sizes: NDArray[np.int64]  # (2N - 1,)
    counts: NDArray[np.int64]  # (2N - 1, C) labels seen below

    @classmethod
    def of(cls, points: Doubles, labels: Rows, known_from: int) -> _Tree:
        """The Ward tree; ``labels`` are those of the rows from ``known_from`` on, -1 = not known."""
        total = len(points)
        joined = linkage(points, "ward")[:, :2].astype(np.int64) if total > 1 else np.empty((0, 2), np.int64)
        sizes = np.ones(2 * total - 1, np.int64)
        counts = np.zeros((2 * total - 1, max(2, int(labels.max(initial=-1)) + 1)), np.int64)
        seen = np.flatnonzero(labels >= 0)
        counts[known_from + seen, labels[seen]] = 1
        for node, (left, right) in enumerate(joined, start=total):
            sizes[node] = sizes[left] + sizes[right]
            counts[node] = counts[left] + counts[right]
        return cls(joined, sizes, counts)

    def leaves(self, node: int) -> NDArray[np.int64]:
        """The rows below a node, ascending."""
        total, found, stack = len(self.children) + 1, [], [int(node)]
        while stack:
            one = stack.pop()
            if one < total:
                found.append(one)
            else:
                stack += self.children[one - total].tolist()
        return np.array(sorted(found), dtype=np.int64)

    def cut(self, beta: float) -> _Parts:
        """The admissible pruning with the least estimated error, from the left of the tree to the right."""
        total = len(self.children) + 1
        share, lower, upper = self._bounds()
        admissible = 1 - lower < beta * _least_of_others(1 - upper)
        errors = np.where(admissible, 1 - share, 1.0)
        fine = np.asarray(admissible.any(axis=1))
        may_split = fine.copy()  # a node is split only if it and all above it are admissible
        for node in range(2 * total - 2, total - 1, -1):
            may_split[self.children[node - total]] &= may_split[node]
        best, score = errors.argmin(axis=1), errors.min(axis=1)
        split = np.zeros(2 * total - 1, dtype=bool)
        for node, pair in enumerate(self.children, start=total):
            apart = float(self.sizes[pair] @ score[pair]) / self.sizes[node]
            if may_split[node] and apart < score[node] - 1e-12:
                split[node], score[node] = True, apart
        nodes, weights, stack = [], [], [(2 * total - 2, int(best[-1]))]
        while stack:
            node, inherited = stack.pop()
            label = int(best[node]) if fine[node] else inherited
            if split[node]:
                stack += [(int(child), label) for child in self.children[node - total][::-1]]
                continue
            nodes.append(node)
            weights.append(self.sizes[node] * (1 - lower[node, label]))
        return _Parts(np.array(nodes, dtype=np.int64), np.array(weights))

    def _bounds(self) -> tuple[Doubles, Doubles, Doubles]:
        """Each class's share among a node's labels, and its lower and upper bound; 0 to 1 where there are none."""
        labels = self.counts.sum(axis=1, keepdims=True)
        share = np.where(labels > 0, self.counts / np.maximum(labels, 1), 1 / self.counts.shape[1])
        width = np.where(
            labels > 0, 1 / np.maximum(labels, 1) + np.sqrt(share * (1 - share) / np.maximum(labels, 1)), 1
        )
        return share, np.maximum(share - width, 0), np.minimum(share + width, 1)


def _least_of_others(values: Doubles) -> Doubles:
    """For each column the least value of the other columns of the row."""
    lowest = np.sort(values, axis=1)[:, :2]
    mine = np.arange(values.shape[1]) == values.argmin(axis=1)[:, None]
    return np.where(mine, lowest[:, 1:2], lowest[:, :1])
