"""k-means over vectors, and the members of its clusters."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from labelwise.selection.picks import Rows, Vectors

MANY = 20_000  # rows from which k-means works on small batches


def members_of(clusters: NDArray[np.int64]) -> list[Rows]:
    """Positions in each cluster, ascending; empty clusters have none and are left out."""
    order = np.argsort(clusters, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(clusters[order])) + 1
    return [part for part in np.split(order, starts) if len(part)]


def k_means(vectors: Vectors, k: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Vectors]:
    """k-means: the cluster of each vector and the centres; fewer than k clusters where vectors are equal."""
    k = min(k, len(vectors))
    make: Callable[..., KMeans | MiniBatchKMeans] = KMeans if len(vectors) < MANY else MiniBatchKMeans
    batches = {} if len(vectors) < MANY else {"batch_size": 4096}
    model = make(n_clusters=k, n_init=1, random_state=int(rng.integers(2**31)), **batches)
    # several threads add up in any order, which moves the centres by a rounding and, once in a while, a pick
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # equal vectors leave clusters empty: handled by the callers, and nothing the user can mend
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
    return model.labels_.astype(np.int64), model.cluster_centers_
