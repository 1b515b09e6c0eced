"""How typical rows are of all rows: how near their nearest others are."""

from __future__ import annotations

import numpy as np

from labelwise.selection.neighbours import nearest_others
from labelwise.selection.picks import Array, Doubles, Rows


def typicality(embeddings: Array, rows: Rows, k: int = 20) -> Doubles:
    """For each of ``rows`` the mean of exp(-d / mu) over its k nearest others among ``rows``, ``(m,)``, 0 to 1.

    d are Euclidean distances of ``embeddings`` ``(N, d)`` as given, mu their mean over all rows and neighbours; where
    there are fewer than k others, all of them count. Values are exact to float64 rounding, so that equal
    neighbourhoods tie. All equal vectors, and a row alone, have typicality 1. Raises SelectionError if a vector is not
    finite. Lightly's typicality, as recovered from its free engine (lightly-mundig 0.1.16).
    """
    distances = np.sqrt(nearest_others(embeddings, rows, k)[1])
    if distances.size == 0 or not distances.any():
        return np.ones(len(rows))
    found: Doubles = np.exp(-distances / distances.mean()).mean(axis=1)
    return found
