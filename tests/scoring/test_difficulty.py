"""Entropy weighted by class difficulty: PPAL's numbers, extremes, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.errors import SelectionError
from labelwise.scoring import class_weights, difficulty_entropy


def test_weights_run_from_1_to_1_plus_strength():
    assert class_weights([0, 1]) == [1, pytest.approx(1.2)]
    gamma = math.exp(1 / 0.3) - 1
    assert class_weights([0.5])[0] == pytest.approx(1 + 0.3 * 0.2 * math.log(1 + gamma * 0.5))


def test_equals_the_formula_box_by_box():
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    weights = class_weights([0.1, 0.5, 1.0])
    expected = [
        weights[p.argmax()] * (-p.max() * math.log(p.max()) - (1 - p.max()) * math.log(1 - p.max())) for p in probs
    ]
    assert np.allclose(difficulty_entropy(probs, difficulty=[0.1, 0.5, 1.0]), expected)
    assert torch.allclose(difficulty_entropy(torch.tensor(probs), difficulty=[0.1, 0.5, 1.0]), torch.tensor(expected))


def test_certain_boxes_score_0_and_the_most_is_that_of_an_even_guess():
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert difficulty_entropy(probs).tolist() == pytest.approx([0, 1.2 * math.log(2), 0])
    assert difficulty_entropy(probs, strength=0.0)[1] == pytest.approx(math.log(2))
    assert np.isnan(difficulty_entropy(np.array([[np.nan, np.nan]]))).all()
    assert difficulty_entropy(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty": [0.5]}, "each of 2 classes, found 1"),
        ({"difficulty": [0.5, 1.5]}, "class 1 has 1.5"),
        ({"difficulty": [math.nan, 1]}, "class 0 has nan"),
        ({"alpha": 0.0}, "alpha of 0.01 or more"),
        ({"strength": -1.0}, "strength of 0 or more"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SelectionError, match=message):
        difficulty_entropy(np.full((1, 2), 0.5), **options)
