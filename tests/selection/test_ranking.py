"""top, random and stochastic: order, ties, chances, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise import selection
from labelwise.errors import SelectionError
from labelwise.selection import random, stochastic, top

rng = np.random.default_rng


@given(st.lists(st.integers(-3, 3), max_size=20), st.integers(0, 25))
def test_top_is_a_stable_sort(values, n):
    scores = np.array(values, dtype=float)
    expected = sorted(range(len(values)), key=lambda row: (-values[row], row))[:n]
    assert top(n, np.arange(len(values)), scores).rows.tolist() == expected


def test_top_looks_only_at_candidates():
    scores = np.array([np.nan, 1.0, np.inf, 3.0, 2.0])
    assert top(2, np.array([1, 3, 4]), scores).rows.tolist() == [3, 4]


def test_unsigned_scores_are_not_negated_in_their_own_type():
    assert top(3, np.arange(3), np.array([0, 255, 7], dtype=np.uint8)).rows.tolist() == [1, 2, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_row(bad):
    with pytest.raises(SelectionError, match=r"row 2 has .*\(and 1 more\)"):
        top(1, np.arange(4), np.array([0.0, 1.0, bad, bad]))


def test_shapes_and_counts_are_checked():
    with pytest.raises(SelectionError, match="reduce them first"):
        top(1, np.arange(2), np.ones((2, 2)))
    with pytest.raises(SelectionError, match="found 2 rows"):
        top(1, np.arange(3), np.ones(2))
    with pytest.raises(SelectionError, match="0 or more"):
        top(-1, np.arange(3), np.ones(3))


def test_random_is_the_beginning_of_one_permutation():
    candidates = np.array([3, 5, 8, 9])
    expected = candidates[rng(4).permutation(4)]
    for n in range(6):
        assert random(n, candidates, rng(4)).rows.tolist() == expected[:n].tolist()


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_stochastic_follows_its_chances(kind):
    scores = np.array([0.0, 1.0, 2.0, 5.0])
    chance = {"power": scores, "softmax": np.exp(scores), "softrank": 1 / np.array([4.0, 3, 2, 1])}[kind]
    generator, draws = rng(0), 4000
    first = [stochastic(1, np.arange(4), scores, generator, kind=kind).rows[0] for _ in range(draws)]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / draws, chance / chance.sum(), atol=0.03)


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_stochastic_draws_without_replacement_as_plackett_and_luce(kind):
    scores, beta, draws = np.array([0.5, 1.0, 2.0]), 2.0, 6000
    weight = {"power": scores**beta, "softmax": np.exp(beta * scores), "softrank": np.array([3.0, 2, 1]) ** -beta}[kind]
    generator, seen = rng(1), np.zeros((3, 3))
    for _ in range(draws):
        first, second = stochastic(2, np.arange(3), scores, generator, kind=kind, beta=beta).rows
        seen[first, second] += 1 / draws
    total = weight.sum()
    for i in range(3):
        for j in range(3):
            expected = weight[i] / total * weight[j] / (total - weight[i]) if i != j else 0.0
            assert abs(seen[i, j] - expected) < 0.03


def test_beta_0_is_uniform_and_infinite_is_top():
    scores = np.array([0.0, 1.0, 2.0, 5.0])
    generator = rng(0)
    first = [stochastic(1, np.arange(4), scores, generator, beta=0).rows[0] for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 4000, 0.25, atol=0.03)
    assert stochastic(4, np.arange(4), scores, generator, beta=np.inf).rows.tolist() == [3, 2, 1, 0]


def test_scores_of_0_come_last_in_random_order():
    scores = np.array([0.0, 0.0, 0.0, 1e-9])
    orders = {tuple(stochastic(4, np.arange(4), scores, rng(seed)).rows) for seed in range(30)}
    assert {order[0] for order in orders} == {3}
    assert len(orders) == 6


def test_stochastic_refuses():
    with pytest.raises(SelectionError, match="row 1 has a negative one"):
        stochastic(1, np.arange(2), np.array([0.0, -1.0]), rng(0))
    with pytest.raises(SelectionError, match="softrank, but found 'cube'"):
        stochastic(1, np.arange(2), np.ones(2), rng(0), kind="cube")
    with pytest.raises(SelectionError, match="beta of 0 or more"):
        stochastic(1, np.arange(2), np.ones(2), rng(0), beta=float("nan"))


def test_public_names_are_functions_whatever_was_imported_first():
    for name in selection.__all__:
        assert callable(getattr(selection, name)), name
    assert set(selection.__all__) <= set(dir(selection))
    with pytest.raises(AttributeError, match="toop"):
        _ = selection.toop
