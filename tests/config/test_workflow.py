"""How long each round of a workflow trains."""

from __future__ import annotations

from typing import Any

import pytest

from labelwise.config.workflow import round_lengths
from labelwise.errors import ConfigError


def test_a_regular_workflow_trains_every_round_alike() -> None:
    lengths, notes = round_lengths([("train", 7), ("query", 1)], 5, "workflow")
    assert lengths == [7] * 5
    assert sum(lengths) == 7 * 5
    assert notes == []
    assert round_lengths([("train", 7)], 1, "workflow")[0] == [7]
    assert round_lengths([["train", 2000], ["val", 1], ["query", 1]], 2, "workflow")[0] == [2000, 2000]


def test_an_irregular_workflow_has_a_tuple_a_round() -> None:
    guide = [(("train", n), ("query", 1)) for n in (10, 2, 2, 2)] + [(("train", 14),)]
    lengths, notes = round_lengths(guide, 5, "workflow")
    assert lengths == [10, 2, 2, 2, 14]
    assert sum(lengths) == 30
    assert notes == []
    assert round_lengths(guide, 4, "workflow")[1] == [], "as the old assertion wanted it"
    assert round_lengths(guide, None, "workflow") == (lengths, [])


def test_the_guides_own_example_runs_with_a_note() -> None:
    guide = [(("train", 3), ("query", 1)), (("train", 1), ("query", 1)), (("train", 10),)]
    lengths, notes = round_lengths(guide, 5, "workflow")
    assert lengths == [3, 1, 10]
    assert len(notes) == 1
    assert "3 rounds" in notes[0]


def test_a_tuple_without_query_goes_on_into_the_next() -> None:
    assert round_lengths([(("train", 3),), (("train", 2), ("query", 1)), (("train", 4),)], 2, "w")[0] == [5, 4]


def test_a_query_with_no_training_after_it_is_left_out() -> None:
    lengths, notes = round_lengths([(("train", 3), ("query", 1)), (("train", 2), ("query", 1))], 2, "w")
    assert lengths == [3, 2]
    assert "last query" in notes[0]


@pytest.mark.parametrize(
    ("workflow", "rounds", "words"),
    [
        ([], 3, "expected"),
        ("train", 3, "expected"),
        ([("train", 5), ("query", 1)], None, "sample_rounds"),
        ([("train", 5)], 3, "query"),
        ([("train", 0), ("query", 1)], 3, "above 0"),
        ([("train", True), ("query", 1)], 3, "above 0"),
        ([("train", 2.5), ("query", 1)], 3, "above 0"),
        ([("train", 5), ("query", 2)], 3, r"\('query', 1\)"),
        ([("query", 1), ("train", 5)], 3, "begin with"),
        ([("learn", 5), ("query", 1)], 3, "train, val or query"),
        ([("train", 5), ("train", 5)], 3, "once"),
        ([(("train", 3), ("query", 1)), ("train", 10)], 2, "comma"),
        ([(("train", 3), ("query", 1)), ()], 2, "expected"),
        ([(("train", 3), "query")], 2, "expected"),
    ],
)
def test_what_is_no_workflow_is_refused_in_one_line(workflow: Any, rounds: int | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        round_lengths(workflow, rounds, "a.py: workflow")
    assert str(caught.value).startswith("a.py: workflow")
    assert "\n" not in str(caught.value)
