"""probcover against a greedy over the whole graph of balls, its radius against a search, ties and bad options."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import balls, probcover

rng = np.random.default_rng
NONE = np.array([], dtype=np.int64)


def plain(n, candidates, labelled, embeddings, delta):
    """Greedy set cover with the balls as sets."""
    points = embeddings.astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    rows = [*candidates, *labelled]
    ball = {i: {j for j in rows if np.linalg.norm(points[i] - points[j]) < delta} | {i} for i in rows}
    covered = set().union(*(ball[i] for i in labelled)) if len(labelled) else set()
    picks, gains = [], []
    for _ in range(n):
        best = min((i for i in candidates if i not in picks), key=lambda i: (-len(ball[i] - covered), i))
        picks.append(int(best))
        gains.append(len(ball[best] - covered) / len(rows))
        covered |= ball[best]
    return picks, gains


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), delta=st.sampled_from([0.05, 0.4, 0.9, 1.5]), known=st.sampled_from([0, 5]))
def test_equals_the_plain_cover(seed, delta, known):
    embeddings = rng(seed).normal(size=(50, 4)).astype(np.float32)
    embeddings[30:] = embeddings[:20]  # equal rows tie
    labelled = np.sort(rng(seed).choice(50, known, replace=False))
    candidates = np.setdiff1d(np.arange(0, 50), [*labelled, 3, 4])
    found = probcover(15, candidates, labelled, embeddings, rng(0), delta=delta)
    rows, gains = plain(15, candidates, labelled, embeddings, delta)
    assert found.rows.tolist() == rows
    np.testing.assert_allclose(found.facts["newly_covered"], gains)


@pytest.mark.parametrize("purity", [0.5, 0.9, 0.95, 1.0])
def test_the_radius_is_the_largest_at_which_enough_balls_are_pure(purity, monkeypatch):
    monkeypatch.setattr(balls, "_CELLS", 200)
    points, groups = rng(1).normal(size=(40, 3)), rng(2).integers(0, 3, 40)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)

    def pure(delta):
        return np.mean([len(set(groups[line < delta])) == 1 for line in distances])

    delta = balls._pure_radius(points, groups, purity)
    assert pure(delta * (1 - 1e-9)) >= purity
    assert pure(delta * (1 + 1e-6)) < purity


def test_the_found_radius_separates_clear_clusters():
    centres = np.repeat(np.eye(4), 12, axis=0)
    embeddings = (centres + 0.05 * rng(0).normal(size=centres.shape)).astype(np.float32)
    rows = probcover(4, np.arange(48), NONE, embeddings, rng(0), clusters=4).rows
    assert sorted((rows // 12).tolist()) == [0, 1, 2, 3]


def test_parts_and_samples(monkeypatch):
    embeddings = rng(0).normal(size=(50, 4)).astype(np.float32)
    whole = probcover(9, np.arange(50), NONE, embeddings, rng(0), delta=0.7).rows.tolist()
    monkeypatch.setattr(balls, "_CELLS", 120)
    assert probcover(9, np.arange(50), NONE, embeddings, rng(0), delta=0.7).rows.tolist() == whole
    assert len(probcover(9, np.arange(50), NONE, embeddings, rng(0), limit=12).rows) == 9


@pytest.mark.parametrize("clusters", [1, 3, 100])
def test_equal_vectors_still_give_every_pick_in_order(clusters):
    embeddings = np.ones((12, 3), dtype=np.float32)
    assert probcover(12, np.arange(12), NONE, embeddings, rng(0), clusters=clusters).rows.tolist() == list(range(12))


@pytest.mark.parametrize("options", [{"delta": 0.0}, {"purity": 0.0}, {"purity": 1.1}, {"clusters": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(SelectionError, match=next(iter(options)).rstrip("s")):
        probcover(1, np.arange(3), NONE, np.eye(3, dtype=np.float32), rng(0), **options)
