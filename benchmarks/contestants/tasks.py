"""The contestants: functions of vectors, scores and a number of picks, which give their picks and their time to load.

Each does the same task with the same start: the first row selected for k-centre, the highest score for CORAL.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Result = tuple[list[Any], float]  # picks or values, seconds spent on loading
Contestant = Callable[[Any, Doubles, int], Result]
NOTHING = np.array([], np.int64)


def our_k_center(x: Any, scores: Doubles, n: int) -> Result:
    """labelwise."""
    from labelwise.selection import k_center

    return [0, *k_center(n - 1, np.arange(1, len(x)), np.array([0]), x).rows.tolist()], 0.0


def numpy_k_center(x: Any, scores: Doubles, n: int) -> Result:
    """One product of a matrix and a vector per pick, in float32; lengths are computed beforehand."""
    began = time.perf_counter()
    norms = np.einsum("ij,ij->i", x, x)
    loading = time.perf_counter() - began
    nearest, picks = np.full(len(x), np.inf, np.float32), [0]
    while len(picks) < n:
        centre = picks[-1]
        np.minimum(nearest, norms + norms[centre] - 2 * (x @ x[centre]), out=nearest)
        nearest[centre] = -1
        picks.append(int(nearest.argmax()))
    return picks, loading


def mundig_k_center(x: Any, scores: Doubles, n: int) -> Result:
    """Lightly's engine, diversity alone."""
    return _mundig(x, None, n)


def skactiveml_k_center(x: Any, scores: Doubles, n: int) -> Result:
    """scikit-activeml's CoreSet."""
    from skactiveml.pool import CoreSet

    labels = np.full(len(x), np.nan)
    labels[0] = 0
    return [0, *CoreSet(random_state=0).query(x, labels, batch_size=n - 1).tolist()], 0.0


def our_coral(x: Any, scores: Doubles, n: int) -> Result:
    """labelwise."""
    from labelwise.selection import coral

    return coral(n, np.arange(len(x)), NOTHING, scores, x).rows.tolist(), 0.0


def numpy_coral(x: Any, scores: Doubles, n: int) -> Result:
    """The formula with one product of a matrix and a vector per pick, in float32."""
    began = time.perf_counter()
    norms = np.einsum("ij,ij->i", x, x)
    loading = time.perf_counter() - began
    nearest, picks = np.full(len(x), np.inf, np.float32), [int(scores.argmax())]
    apart = np.full(n, np.inf)
    while len(picks) < n:
        centre = picks[-1]
        squared = np.maximum(norms + norms[centre] - 2 * (x @ x[centre]), 0)
        if len(picks) > 1:
            others = squared[picks[:-1]]
            apart[: len(picks) - 1] = np.minimum(apart[: len(picks) - 1], others)
            apart[len(picks) - 1] = others.min()
        np.minimum(nearest, squared, out=nearest)
        distances = apart[: len(picks)].sum() if len(picks) > 1 else 0.0
        gains = (distances + nearest) * (scores[picks].sum() + scores)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
    return picks, loading


def mundig_coral(x: Any, scores: Doubles, n: int) -> Result:
    """Lightly's engine, diversity and weights."""
    return _mundig(x, scores, n)


def _mundig(x: Any, scores: Doubles | None, n: int) -> Result:
    import lightly_mundig

    began = time.perf_counter()
    selection = lightly_mundig.Selection()
    selection.add_diversifying_strategy(x, 1.0)
    if scores is not None:
        selection.add_weighting_strategy(scores, 1.0)
    loading = time.perf_counter() - began
    return list(selection.run_selection([], len(x), n)), loading


def our_typicality(x: Any, scores: Doubles, n: int) -> Result:
    """labelwise."""
    from labelwise.selection.typicality import typicality

    return typicality(x, np.arange(len(x))).tolist(), 0.0


def faiss_typicality(x: Any, scores: Doubles, n: int) -> Result:
    """faiss, its exact flat index."""
    import faiss

    began = time.perf_counter()
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    loading = time.perf_counter() - began
    return _typical(np.sqrt(np.maximum(index.search(x, 21)[0][:, 1:], 0))), loading


def sklearn_typicality(x: Any, scores: Doubles, n: int) -> Result:
    """scikit-learn's brute force."""
    from sklearn.neighbors import NearestNeighbors

    return _typical(NearestNeighbors(n_neighbors=20, algorithm="brute").fit(x).kneighbors()[0]), 0.0


def mundig_typicality(x: Any, scores: Doubles, n: int) -> Result:
    """Lightly's engine."""
    import lightly_mundig

    began = time.perf_counter()
    engine = lightly_mundig.Typicality(x)
    loading = time.perf_counter() - began
    return list(engine.calculate_typicality(20)), loading


def _typical(distances: Any) -> list[float]:
    return np.exp(-distances / distances.mean()).mean(axis=1).tolist()


def our_facility_location(x: Any, scores: Doubles, n: int) -> Result:
    """labelwise, 64 neighbours."""
    from labelwise.selection import facility_location

    rng = np.random.default_rng(0)
    return facility_location(n, np.arange(len(x)), NOTHING, x, rng, neighbours=64).rows.tolist(), 0.0


def apricot_facility_location(x: Any, scores: Doubles, n: int) -> Result:
    """apricot, lazy greedy on all similarities; computing them is its loading."""
    return _apricot(lambda: np.maximum(x @ x.T, 0), n)


def apricot_sparse(x: Any, scores: Doubles, n: int) -> Result:
    """apricot, lazy greedy on the 64 nearest that faiss finds; finding them is its loading."""

    def similarities() -> Any:
        import faiss
        from scipy.sparse import csr_matrix

        index = faiss.IndexFlatIP(x.shape[1])
        index.add(x)
        cosines, who = index.search(x, 64)
        at = np.arange(0, who.size + 1, 64)
        return csr_matrix((np.maximum(cosines, 0).ravel().astype(np.float64), who.ravel(), at), shape=(len(x),) * 2)

    return _apricot(similarities, n)


def _apricot(similarities: Callable[[], Any], n: int) -> Result:
    from apricot import FacilityLocationSelection

    began = time.perf_counter()
    given = similarities()
    loading = time.perf_counter() - began
    return FacilityLocationSelection(n, metric="precomputed", optimizer="lazy").fit(given).ranking.tolist(), loading


TASKS: dict[str, dict[str, Contestant]] = {
    "k_center": {
        "labelwise": our_k_center,
        "numpy": numpy_k_center,
        "lightly-mundig": mundig_k_center,
        "scikit-activeml": skactiveml_k_center,
    },
    "coral": {"labelwise": our_coral, "numpy": numpy_coral, "lightly-mundig": mundig_coral},
    "typicality": {
        "labelwise": our_typicality,
        "faiss flat": faiss_typicality,
        "scikit-learn": sklearn_typicality,
        "lightly-mundig": mundig_typicality,
    },
    "facility_location": {
        "labelwise": our_facility_location,
        "apricot, 64 neighbours": apricot_sparse,
        "apricot, dense": apricot_facility_location,
    },
}
