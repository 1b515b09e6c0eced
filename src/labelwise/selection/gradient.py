"""Selections by the gradient a label would cause in the last layer."""

from __future__ import annotations

import numpy as np

from labelwise.selection.picks import Array, Doubles, Picks, Rows, check_embeddings, check_probs, count, squared_norms


def badge(n: int, candidates: Rows, probs: Array, embeddings: Array, rng: np.random.Generator) -> Picks:
    """k-means++ over the last layer's gradients, so that picks are uncertain and differ from each other.

    The gradient of row i is g = (p - onehot(argmax p)) x h with ``probs`` p ``(N, C)`` and ``embeddings`` h ``(N,
    d)``, the model's last features; it is never built: its products are those of the two factors, multiplied. The
    first pick has the longest gradient, the next are drawn in proportion to the squared distance to the nearest pick.
    Rows whose gradient equals a picked one come last, in random order. Facts: ``gradient`` (length of g) and
    ``gradient_distance`` to the nearest earlier pick (NaN for the first). Raises SelectionError if probs or
    embeddings cannot be used. Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient lower
    bounds, algorithm 1.
    """
    n = count(n, candidates)
    residuals = _residuals(check_probs(probs, candidates))
    features = check_embeddings(embeddings, candidates)[candidates]
    norms = np.einsum("ij,ij->i", residuals, residuals) * squared_norms(features).astype(np.float64)
    gaps = norms.copy()
    free = np.ones(len(candidates), dtype=bool)
    positions, distances = np.empty(n, np.int64), np.full(n, np.nan)
    for i in range(n):
        first = i == 0 and norms.max() > 0
        position = int(np.argmax(norms)) if first else _draw(gaps, free, rng)
        if i:
            distances[i] = np.sqrt(gaps[position])
        positions[i], free[position] = position, False
        scale = norms + norms[position]
        squared = scale - 2 * (residuals @ residuals[position]) * (features @ features[position])
        squared[squared < 1e-6 * scale] = 0  # below float32's noise: the same gradient
        gaps = np.minimum(gaps, squared) if i else squared
        gaps[~free] = 0
    facts = {"gradient": np.sqrt(norms[positions]), "gradient_distance": distances}
    return Picks(candidates[positions], facts)


def _residuals(probs: Doubles) -> Doubles:
    """p - onehot(argmax p), the gradient of the loss by the logits if the model's own answer were the label."""
    result = probs.copy()
    result[np.arange(len(probs)), probs.argmax(axis=1)] -= 1
    return result


def _draw(weights: Doubles, free: Array, rng: np.random.Generator) -> int:
    """A position drawn in proportion to its weight; uniformly among the free ones if all weights are 0."""
    sums = np.cumsum(weights)
    chance = rng.random()
    if sums[-1] <= 0:
        left = np.flatnonzero(free)
        return int(left[int(chance * len(left))])
    position = int(np.searchsorted(sums, chance * sums[-1], side="right"))
    # rounding may reach the very end, past the last row with any weight
    return min(position, int(np.flatnonzero(weights)[-1]))
