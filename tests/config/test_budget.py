"""The goals of the rounds: numbers, shares, lists and totals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.config import Budget


@pytest.mark.parametrize(
    ("budget", "pool", "goals"),
    [
        ({}, 1000, [50, 100, 150, 200, 250, 300, 350, 400, 450, 500]),
        ({}, 120, [50, 100, 120]),
        ({"initial": 5, "per_round": [1, 2, 3]}, 100, [5, 6, 8, 11]),
        ({"initial": 5, "per_round": [1, 2], "rounds": 5}, 100, [5, 6, 8, 10, 12]),
        ({"initial": 5, "per_round": [1, 2], "rounds": 2}, 100, [5, 6]),
        ({"initial": 5, "per_round": 4, "total": 12}, 100, [5, 9, 12]),
        ({"initial": 5, "per_round": 4, "total": 12, "rounds": 2}, 100, [5, 9]),
        ({"initial": 50, "total": 12}, 100, [12]),
        ({"initial": "2.5%", "per_round": "2.5%", "rounds": 4}, 1000, [25, 50, 75, 100]),
        ({"initial": "1.5%", "per_round": "1.5%", "rounds": 4}, 100, [2, 3, 4, 6]),
        ({"initial": "0.1%", "rounds": 1}, 10, [1]),
        ({"initial": 10, "per_round": "0.1%", "total": 13}, 100, [10, 11, 12, 13]),
        ({"initial": 1, "total": "0.1%"}, 100, [1]),
        ({"initial": "100%"}, 7, [7]),
    ],
)
def test_goals(budget, pool, goals):
    assert Budget(**budget).cumulative(pool) == goals


counts = st.integers(1, 60)
percents = st.integers(1, 1000).map(lambda v: f"{v / 10}%")
amounts = st.one_of(counts, percents)


@given(
    initial=amounts,
    per_round=st.one_of(amounts, st.lists(amounts, min_size=1, max_size=4)),
    rounds=st.one_of(st.none(), st.integers(1, 30)),
    total=st.one_of(st.none(), amounts),
    pool=st.integers(1, 300),
)
def test_goals_rise_strictly_and_never_pass_the_pool(initial, per_round, rounds, total, pool):
    goals = Budget(initial=initial, per_round=per_round, rounds=rounds, total=total).cumulative(pool)
    assert goals
    assert all(a < b for a, b in zip([0, *goals], goals, strict=False))
    assert goals[-1] <= pool
    assert rounds is None or len(goals) <= rounds
    if isinstance(total, int):
        assert goals[-1] <= total
        assert goals[-1] == min(total, pool) or rounds is not None or isinstance(per_round, list)


@given(initial=counts, per_round=counts, rounds=st.integers(1, 9))
def test_counts_are_met_exactly(initial, per_round, rounds):
    expected = [initial + per_round * i for i in range(rounds)]
    assert Budget(initial=initial, per_round=per_round, rounds=rounds).cumulative(10_000) == expected


@given(percent=st.integers(1, 100), pool=st.integers(100, 1000))
def test_shares_do_not_drift(percent, pool):
    goals = Budget(initial=f"{percent}%", per_round=f"{percent}%", rounds=100).cumulative(pool)
    assert all(abs(g - percent / 100 * pool * (i + 1)) <= 0.5 + 1e-6 for i, g in enumerate(goals[:-1]))
    assert goals[-1] == pool or len(goals) == 100
