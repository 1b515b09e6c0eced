"""typiclust and centroids: against plain references on the same clusters, uneven clusters, duplicates, exact counts."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.errors import SelectionError
from labelwise.selection import centroids, density, partition, typiclust
from labelwise.selection.density import typicality

rng = np.random.default_rng
NONE = np.array([], dtype=np.int64)


def blobs(sizes, seed=0, width=6, spread=0.05):
    generator = rng(seed)
    centres = np.eye(width)[: len(sizes)]
    parts = [
        centre + spread * generator.normal(size=(size, width)) for centre, size in zip(centres, sizes, strict=True)
    ]
    return np.concatenate(parts).astype(np.float32), np.repeat(np.arange(len(sizes)), sizes)


def plain_typicality(points, neighbours):
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.array([1 / (1e-5 + np.sort(np.delete(row, i))[:neighbours].mean()) for i, row in enumerate(distances)])


def reference(n, candidates, labelled, embeddings, clusters_of, min_size=5):
    """TypiClust with known clusters: again and again the best cluster, then its most typical candidate."""
    points = embeddings.astype(np.float64)
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    rows = np.concatenate([candidates, labelled])
    done, picks = set(labelled.tolist()), []
    for _ in range(n):
        options = []
        for cluster in np.unique(clusters_of[rows]):
            members = np.sort(rows[clusters_of[rows] == cluster])
            left = [row for row in members if row not in done]
            if left:
                labels = sum(row in done for row in members)
                options.append((len(members) < min_size, labels, -len(members), members[0], cluster))
        members = np.sort(rows[clusters_of[rows] == min(options)[-1]])
        values = plain_typicality(points[members], min(20, len(members) // 2))
        best = max((value, -row) for value, row in zip(values, members, strict=True) if row not in done)
        picks.append(-best[1])
        done.add(-best[1])
    return picks


@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_typiclust_on_clear_clusters(seed, monkeypatch):
    embeddings, truth = blobs([30, 12, 45, 8, 3], seed)
    monkeypatch.setattr(density, "k_means", lambda vectors, k, generator: (truth[np.r_[candidates, labelled]], None))
    labelled = rng(seed).choice(98, 6, replace=False)
    candidates = np.setdiff1d(np.arange(98), labelled)
    picks = typiclust(40, candidates, labelled, embeddings, rng(0))
    assert picks.rows.tolist() == reference(40, candidates, labelled, embeddings, truth)


def test_one_of_each_unlabelled_cluster_first_the_largest():
    embeddings, truth = blobs([30, 12, 45, 8])
    picks = typiclust(4, np.arange(95), NONE, embeddings, rng(0))
    assert truth[picks.rows].tolist() == [2, 0, 1, 3]
    assert picks.facts["cluster_size"].tolist() == [45, 30, 12, 8]
    assert picks.facts["cluster_labelled"].tolist() == [0, 0, 0, 0]
    assert (picks.facts["typicality"] > 0).all()


def test_labelled_clusters_wait_and_small_ones_come_last():
    embeddings, truth = blobs([30, 12, 3])
    labelled = np.array([0])
    picks = typiclust(44, np.arange(1, 45), labelled, embeddings, rng(0), max_clusters=3)
    assert truth[picks.rows[:2]].tolist() == [1, 0]
    assert set(truth[picks.rows[-3:]]) == {2}
    assert sorted(picks.rows) == list(range(1, 45))


@pytest.mark.parametrize("total", [2, 3, 9, 40])
def test_typicality_equals_the_plain_one(total):
    points = rng(total).normal(size=(total, 5)).astype(np.float32)
    for neighbours in {1, total // 2, total - 1}:
        got = typicality(points, neighbours)
        np.testing.assert_allclose(got, plain_typicality(points.astype(float), neighbours), rtol=1e-5)


def test_typicality_in_parts_is_the_same(monkeypatch):
    points = rng(0).normal(size=(50, 5)).astype(np.float32)
    whole = typicality(points, 7)
    monkeypatch.setattr(density, "_KNN_CELLS", 130)
    np.testing.assert_array_equal(typicality(points, 7), whole)
    assert typicality(points[:1], 3).tolist() == [0]


def test_centroids_take_the_row_nearest_each_centre():
    embeddings, truth = blobs([30, 12, 45, 8])
    picks = centroids(4, np.arange(95), embeddings, rng(0))
    assert truth[picks.rows].tolist() == [2, 0, 1, 3]
    points = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1, keepdims=True)
    for row, distance in zip(picks.rows, picks.facts["centre_distance"], strict=True):
        members = np.flatnonzero(truth == truth[row])
        distances = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        assert row == members[distances.argmin()]
        assert distance == pytest.approx(distances.min(), abs=1e-5)


@pytest.mark.parametrize("select", ["typiclust", "centroids"])
@pytest.mark.parametrize("different", [1, 2, 5])
def test_duplicates_still_give_the_exact_number_without_a_warning(select, different):
    embeddings = np.eye(6, dtype=np.float32)[np.arange(40) % different]
    embeddings[::2] *= 1 + 1e-7
    for n in (1, 7, 40, 50):
        picks = (
            typiclust(n, np.arange(40), NONE, embeddings, rng(0))
            if select == "typiclust"
            else centroids(n, np.arange(40), embeddings, rng(0))
        )
        assert len(set(picks.rows.tolist())) == min(n, 40)


def test_zero_vectors_are_vectors():
    embeddings = np.zeros((8, 3), dtype=np.float32)
    embeddings[0, 0] = 1
    assert len(typiclust(5, np.arange(8), NONE, embeddings, rng(0)).rows) == 5
    assert len(centroids(5, np.arange(8), embeddings, rng(0)).rows) == 5


def test_many_rows_go_through_small_batches(monkeypatch):
    monkeypatch.setattr(partition, "MANY", 50)
    embeddings, truth = blobs([30, 12, 45, 8])
    first = typiclust(4, np.arange(95), NONE, embeddings, rng(3)).rows.tolist()
    assert first == typiclust(4, np.arange(95), NONE, embeddings, rng(3)).rows.tolist()
    assert len(set(truth[first])) >= 3


def test_bad_vectors_name_the_row():
    embeddings = np.ones((4, 2), dtype=np.float32)
    embeddings[2] = np.nan
    with pytest.raises(SelectionError, match="row 2"):
        typiclust(1, np.arange(3), NONE, embeddings, rng(0))
    with pytest.raises(SelectionError, match="row 2"):
        centroids(1, np.arange(3), embeddings, rng(0))
    assert len(typiclust(2, np.array([0, 1, 3]), NONE, embeddings, rng(0)).rows) == 2
