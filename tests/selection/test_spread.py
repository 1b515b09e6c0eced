"""k_center equals a plain float64 farthest-first, with its facts, ties, duplicates and offsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import k_center


def reference(n, candidates, labelled, embeddings):
    """Farthest first, every distance in float64, one loop at a time."""
    points = embeddings.astype(np.float64)
    centres, picks = list(labelled), []
    for _ in range(min(n, len(candidates))):
        best, best_value = None, -1.0
        for row in candidates:
            if row in picks:
                continue
            if centres:
                value = min(((points[row] - points[centre]) ** 2).sum() for centre in centres)
            else:
                value = 1e30 - ((points[row] - points[candidates].mean(0)) ** 2).sum() * 1e20
            if value > best_value:
                best, best_value = row, value
        picks.append(best)
        centres.append(best)
    return picks


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 40), st.integers(1, 6))
def test_equals_plain_greedy(seed, size, known, width):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(size + known, width)).astype(np.float32)
    rows = rng.permutation(size + known)
    labelled, candidates = rows[:known], np.sort(rows[known:])
    n = int(rng.integers(0, size + 3))
    assert k_center(n, candidates, labelled, embeddings).rows.tolist() == reference(n, candidates, labelled, embeddings)


def test_equals_plain_greedy_on_more_rows():
    rng = np.random.default_rng(7)
    embeddings = rng.normal(size=(400, 32)).astype(np.float32)
    candidates, labelled = np.arange(100, 400), np.arange(70)
    picks = k_center(40, candidates, labelled, embeddings)
    assert picks.rows.tolist() == reference(40, candidates, labelled, embeddings)
    for i, row in enumerate(picks.rows):
        before = np.concatenate([labelled, picks.rows[:i]])
        distances = np.linalg.norm(embeddings[before].astype(float) - embeddings[row], axis=1)
        assert picks.facts["distance"][i] == pytest.approx(distances.min(), rel=1e-5)
        assert picks.facts["nearest"][i] == before[distances.argmin()]


def test_it_ends_before_a_pick_that_is_too_near_and_keeps_an_equal_distance():
    grid = np.array([[x, y] for x in range(5) for y in range(5)], dtype=np.float32)
    candidates, labelled = np.arange(1, 25), np.array([0])
    whole = k_center(24, candidates, labelled, grid)
    for least in (0.0, 1.0, 1.1, 2.0, 2.5, 99.0):
        picks = k_center(24, candidates, labelled, grid, least_distance=least)
        assert picks.rows.tolist() == whole.rows[whole.facts["distance"] >= least].tolist()
        assert bool(picks.ended) == (len(picks.rows) < 24)
        assert len(picks.facts["distance"]) == len(picks.rows)
    assert k_center(3, candidates, np.array([], int), grid, least_distance=99.0).rows.tolist() == [12]


def test_integer_grid_ties_go_to_the_lowest_row():
    grid = np.array([[x, y] for x in range(5) for y in range(5)], dtype=np.float32)
    for known in ([], [12], [0, 24]):
        candidates = np.setdiff1d(np.arange(25), known)
        expected = reference(20, candidates, known, grid)
        assert k_center(20, candidates, np.array(known, int), grid).rows.tolist() == expected


def test_a_large_offset_does_not_drown_the_distances():
    rng = np.random.default_rng(3)
    embeddings = (1000 + rng.normal(size=(60, 8))).astype(np.float32)
    picks = k_center(20, np.arange(60), np.array([], int), embeddings).rows.tolist()
    assert picks == reference(20, np.arange(60), [], embeddings)


def test_duplicates_come_last_in_row_order_at_distance_0():
    embeddings = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)[[0, 1, 0, 2, 1, 3]]
    picks = k_center(5, np.array([1, 2, 3, 4, 5]), np.array([0]), embeddings)
    assert sorted(picks.rows[:3]) == [1, 3, 5]
    assert picks.rows[3:].tolist() == [2, 4]
    assert picks.facts["distance"][3:].tolist() == [0, 0]
    assert picks.facts["nearest"][3:].tolist() == [0, 1]


def test_all_equal_vectors():
    assert k_center(3, np.arange(4), np.array([], int), np.ones((4, 3), np.float32)).rows.tolist() == [0, 1, 2]


def test_first_pick_without_labels_is_the_most_central():
    embeddings = np.array([[9, 9], [0, 0], [1, 0], [0, 1], [-1, -1]], dtype=np.float32)
    picks = k_center(2, np.array([1, 2, 3, 4]), np.array([], int), embeddings)
    assert picks.rows.tolist() == [1, 4]
    assert np.isnan(picks.facts["distance"][0])
    assert picks.facts["nearest"].tolist() == [-1, 1]


def test_rows_outside_do_not_matter():
    embeddings = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    candidates, labelled = np.arange(2, 14), np.array([15, 17])
    clean = k_center(6, candidates, labelled, embeddings).rows.tolist()
    embeddings[[0, 1, 14, 16, 18, 19]] = np.array([[np.nan], [np.inf], [1e38], [-np.inf], [np.nan], [np.nan]])
    assert k_center(6, candidates, labelled, embeddings).rows.tolist() == clean


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "not finite"), (np.inf, "not finite"), (1e30, "scale the vectors")])
@pytest.mark.parametrize("row", [1, 3])
def test_bad_vectors_name_the_row(bad, what, row):
    embeddings = np.ones((4, 2), dtype=np.float32)
    embeddings[row, 1] = bad
    with pytest.raises(SelectionError, match=f"row {row} has .*{what}"):
        k_center(1, np.array([0, 1]), np.array([3]), embeddings)


def test_shape_of_vectors_is_checked():
    with pytest.raises(SelectionError, match=r"shape \(N, d\)"):
        k_center(1, np.arange(2), np.array([], int), np.ones(2))
