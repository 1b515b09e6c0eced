"""Inputs, needs and bind: what plug-in functions may look like, and what is said when they do not."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection import Inputs, Picks, bind, needs, wrap
from labelwise.selection.compose import SCORE_VOCABULARY
from labelwise.selection.picks import join

rng = np.random.default_rng


def inputs(**changes):
    return Inputs(**{"n": 2, "candidates": np.arange(4), "rng": rng(0), **changes})


def first(n, candidates, *, step=1):
    return candidates[::step][:n]


def test_needs_are_the_parameter_names():
    assert needs(first) == {"n", "candidates"}
    assert needs(lambda inner, inputs, scores, *, factor=2: None) == {"scores"}
    assert needs(lambda samples: samples, SCORE_VOCABULARY) == {"samples"}


def test_an_unknown_parameter_names_function_parameter_and_vocabulary():
    def mine(n, candidates, embedding): ...

    with pytest.raises(ConfigError, match=r"mine: parameter 'embedding' .*labelled.*embeddings.*keyword-only"):
        bind(mine)
    with pytest.raises(ConfigError, match="'rest'"):
        bind(lambda n, **rest: None)


def test_options_are_checked_when_bound():
    assert bind(first, {"step": 2})(inputs()).rows.tolist() == [0, 2]
    with pytest.raises(ConfigError, match="no option 'stepp': did you mean 'step'"):
        bind(first, {"stepp": 2})
    with pytest.raises(ConfigError, match="known: none"):
        bind(lambda n, candidates: candidates[:n], {"beta": 1})
    with pytest.raises(ConfigError, match="'least' has no default"):
        bind(lambda n, *, least: None)


def test_a_missing_input_is_named():
    with pytest.raises(SelectionError, match="needs embeddings"):
        bind(lambda n, embeddings: None)(inputs())
    with pytest.raises(SelectionError, match="needs groups"):
        wrap(lambda inner, inputs, groups: inner(inputs), bind(first))(inputs())


@pytest.mark.parametrize(
    ("rows", "what"), [([0], "shape"), ([1, 1], "more than once"), ([0, 9], "row 9"), ([[0, 1]], "shape")]
)
def test_results_are_held_to_the_contract(rows, what):
    with pytest.raises(SelectionError, match=f"expected 2 different rows.*{what}"):
        bind(lambda n: np.array(rows))(inputs())


def test_inputs_are_checked():
    with pytest.raises(SelectionError, match="ascending"):
        inputs(candidates=np.array([2, 1]))
    with pytest.raises(SelectionError, match="one label per labelled row, 1, found 2"):
        inputs(labelled=np.array([5]), labels=np.array([0, 1]))
    assert inputs().labels.tolist() == []
    assert inputs(labelled=np.array([5])).labels is None


def test_after_counts_picks_as_labelled_with_the_predicted_class():
    before = inputs(n=3, labelled=np.array([5]), labels=np.array([1]), probs=np.eye(6))
    after = before.after(np.array([2, 0]))
    assert (after.n, after.candidates.tolist()) == (1, [1, 3])
    assert (after.labelled.tolist(), after.labels.tolist(), after.picked.tolist()) == ([5, 2, 0], [1, 2, 0], [2, 0])
    assert before.replace(probs=None).after(np.array([2])).labels.tolist() == [1, -1]


def test_join_keeps_common_facts():
    one = Picks(np.array([1]), {"a": np.array([1.0]), "b": np.array([2])})
    two = Picks(np.array([4]), {"a": np.array([3.0])})
    joined = join([one, Picks(np.array([], int)), two])
    assert joined.rows.tolist() == [1, 4]
    assert {name: values.tolist() for name, values in joined.facts.items()} == {"a": [1.0, 3.0]}
    assert join([]).rows.tolist() == []
