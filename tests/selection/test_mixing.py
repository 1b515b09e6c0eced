"""mixture: exact quotas by largest remainder, no repeats, even order; bandit: the chances of Exp3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.errors import ConfigError, SelectionError
from labelwise.reasons import explain, sentence
from labelwise.selection import Share, bandit, mixture
from labelwise.selection.mixing import exp3, shared
from labelwise.strategies import Recipe, assemble
from labelwise.testing import make_inputs


@given(st.integers(0, 200), st.lists(st.floats(0, 10), min_size=1, max_size=6).filter(lambda w: sum(w) > 1e-3))
def test_shares_are_within_one_of_their_weight(n, weights):
    quotas = shared(n, weights)
    assert quotas.sum() == n
    assert (np.abs(quotas - np.array(weights) / sum(weights) * n) < 1 + 1e-6).all()


def test_shares_by_largest_remainder():
    assert shared(10, [1, 1, 1]).tolist() == [4, 3, 3]
    assert shared(7, [0.5, 0.25, 0.25]).tolist() == [3, 2, 2]
    assert shared(1, [1, 2]).tolist() == [0, 1]
    for weights in ([-1, 2], [0, 0], [float("nan")]):
        with pytest.raises(SelectionError, match="weights of 0 or more"):
            shared(3, weights)


def test_quotas_are_exact_and_every_beginning_is_shared_out():
    parts = (Share("k_center", 2), Share({"name": "stochastic", "beta": 2.0}), Share("top", 0))
    inputs = make_inputs(9, labelled=4)
    picks = mixture(inputs, parts=parts)
    assert len(set(picks.rows.tolist())) == 9
    assert picks.facts["chosen_by"].tolist().count("k_center") == 6
    assert set(picks.facts["chosen_by"][:3]) == {"k_center", "stochastic"}
    reasons = explain(picks, inputs)
    assert ("distance" in reasons[0], "drawn" in reasons[0]) == (True, False)
    assert sentence(reasons[0]).startswith("Chosen by k_center; ")


def test_what_a_part_cannot_fill_goes_to_the_others():
    inputs = make_inputs(12, labelled=0)
    parts = (Share({"name": "k_center", "least_distance": 100.0}), Share("random"))
    picks = mixture(inputs, parts=parts)
    assert picks.facts["chosen_by"].tolist().count("k_center") == 1
    assert len(picks.rows) == 12
    alone = mixture(inputs, parts=parts[:1])
    assert len(alone.rows) == 1
    assert "nearer than 100" in alone.ended


def test_parts_ask_for_what_they_need_and_wrong_ones_are_refused():
    recipe = Recipe(select={"name": "mixture", "parts": [{"select": "k_center"}, {"select": "random", "weight": 3}]})
    assert assemble(recipe).uses == {"embeddings", "n", "candidates", "rng", "labelled"}
    with pytest.raises(ConfigError, match="did you mean 'k_center'"):
        assemble(Recipe(select={"name": "mixture", "parts": [{"select": "k_centre"}]}))
    with pytest.raises(ConfigError, match=r"strategy\.select\.parts"):
        assemble(Recipe(select={"name": "mixture", "parts": [{"select": "top", "wieght": 1}]}))


def test_exp3_is_its_recursion():
    rewards, gamma = [{"a": 1.0}, {"b": 0.5, "a": 0.25}, {}, {"gone": 1.0}, {"a": 0.0}], 0.4
    weights = {"a": 1.0, "b": 1.0, "c": 1.0}

    def chance(arm):
        return (1 - gamma) * weights[arm] / sum(weights.values()) + gamma / 3

    for played in rewards:
        now = {arm: chance(arm) for arm in weights}
        for arm, reward in played.items():
            if arm in weights:
                weights[arm] *= np.exp(gamma * reward / now[arm] / 3)
    np.testing.assert_allclose(exp3(rewards, ["a", "b", "c"], gamma=gamma), [chance(arm) for arm in "abc"])
    np.testing.assert_allclose(exp3([], ["a", "b"]), [0.5, 0.5])


def test_the_bandit_comes_to_play_what_pays():
    parts = (Share("top"), Share("random"), Share("random"))
    paid = tuple({"random_2": 1.0} for _ in range(30))
    inputs = make_inputs(3).replace(rewards=paid)
    picks = bandit(inputs, parts=parts, gamma=0.2)
    assert picks.facts["arm"].tolist() == ["random_2"] * 3
    assert picks.facts["chance"][0] > 0.8
    with pytest.raises(SelectionError, match="rewards from 0 to 1"):
        bandit(inputs.replace(rewards=({"top": 2.0},)), parts=parts)
    with pytest.raises(SelectionError, match="gamma above 0"):
        bandit(inputs, parts=parts, gamma=0)
