"""Thresholds on scores and metadata: what is a condition, who meets it, and what is said when nobody does."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise import pick
from labelwise.errors import ConfigError, SelectionError
from labelwise.selection.conditions import condition
from labelwise.strategies import Recipe, assemble

METADATA = {"width": [100, 640, 640, 800], "weather": ["fog", "sun", None, "sun"], "light": [0.5, np.nan, 2, 3]}
SCORES = [0.9, 0.2, 0.5, 0.1]


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        (["width >= 640"], [2, 1, 3]),
        (["width>640"], [3]),
        ("weather == sun", [1, 3]),
        (["weather != sun"], [0, 2]),
        (["score <= 0.5", "width < 800"], [2, 1]),
        (["light > 0"], [0, 2, 3]),
        (["score==0.5"], [2]),
    ],
)
def test_who_meets_a_condition(texts, rows):
    picked = pick(None, scores=SCORES, metadata=METADATA, threshold=texts)
    assert picked.indices.tolist() == rows
    assert picked.ended == "the rules allow no more"


@pytest.mark.parametrize("text", ["width", "", ">= 3", "score >=", "score ~ 3"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ConfigError, match="threshold: expected a column, a comparison"):
        condition(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width >= 900", r"none of 4 candidates has width >= 900 \(they range from 100 to 800\); loosen"),
        ("weather == rain", "none of 4 candidates has weather == rain; loosen"),
        ("weather > fog", "holds words, which can be compared by == and != only"),
        ("width > wide", "expected a number, since width holds numbers"),
        ("hight > 3", "no column 'hight': it has light, weather, width"),
    ],
)
def test_what_cannot_be_met_is_said_in_one_line(text, said):
    with pytest.raises(SelectionError, match=said) as caught:
        pick(1, scores=SCORES, metadata=METADATA, threshold=text)
    assert "\n" not in str(caught.value)


def test_conditions_ask_for_what_they_need():
    assert assemble(Recipe(select="k_center", threshold=["width > 3"])).uses >= {"metadata", "embeddings"}
    assert "scores" not in assemble(Recipe(select="k_center", threshold="width > 3")).uses
    with pytest.raises(ConfigError, match=r"threshold \(before 'k_center'\) needs scores"):
        assemble(Recipe(select="k_center", threshold="score > 3"))
    with pytest.raises(SelectionError, match="threshold needs metadata"):
        pick(1, scores=SCORES, threshold="width > 3")
    with pytest.raises(SelectionError, match="metadata 'width' 2"):
        pick(1, scores=SCORES, metadata={"width": [1, 2]})


def test_pick_without_a_number_takes_what_the_end_condition_allows():
    line = np.array([[0.0], [0.1], [5], [5.1], [10]])
    picked = pick(None, embeddings=line, strategy="k_center", least_distance=1.0)
    assert sorted(round(float(line[i, 0])) for i in picked.indices) == [0, 5, 10]
    assert "nearer than 1 " in picked.ended
    assert pick(None, embeddings=line, strategy="k_center").ended == ""
    parts = [{"by": "balance", "column": "place"}, {"by": "metadata", "column": "size", "strength": 0.5}]
    columns = {"place": ["a", "a", "a", "b", ""], "size": [1, 2, 3, 4, 5]}
    picked = pick(2, metadata=columns, strategy=Recipe(select={"name": "combined", "parts": parts}))
    assert picked.indices.tolist() == [3, 2]
    assert "from place" not in picked.reasons[0]
    assert "from balance" in picked.reasons[1]
