"""Facts of a pick and the sentence made of them."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.reasons import explain, sentence
from labelwise.selection import Inputs, Picks


def inputs(**changes):
    fields = {
        "n": 2,
        "candidates": np.array([1, 2, 3]),
        "rng": np.random.default_rng(0),
        "labelled": np.array([0]),
        "scores": np.array([np.nan, 0.5, 0.25, 0.5]),
        "probs": np.array([[np.nan, np.nan], [0.25, 0.75], [1, 0], [0.5, 0.5]]),
        "embeddings": np.array([[0, 0], [3, 4], [3, 3], [9, 9]], dtype=np.float32),
    }
    return Inputs(**{**fields, **changes})


def test_facts_are_plain_and_count_earlier_picks():
    first, second = explain(Picks(np.array([1, 2]), {"weight": np.array([1.5, np.nan])}), inputs())
    assert first == {
        "score": 0.5,
        "score_rank": 1,
        "score_of": 3,
        "class": 1,
        "probability": 0.75,
        "distance": 5.0,
        "nearest": 0,
        "weight": 1.5,
    }
    assert (second["nearest"], second["distance"], second["score_rank"]) == (1, 1.0, 3)
    assert "weight" not in second
    assert all(type(value) in (int, float) for value in first.values())


def test_the_first_pick_of_nothing_has_no_nearest():
    reason = explain(Picks(np.array([1])), inputs(labelled=np.array([], int), scores=None, probs=None))[0]
    assert reason == {}
    assert sentence(reason) == "Chosen without a score, a prediction or vectors."


def test_the_object_that_counted_is_named_with_its_class():
    facts = {
        "object": np.array([1, 0, -1]),
        "object_distance": np.array([2.5, np.nan, np.nan]),
        "nearest": np.array([0, -1, -1]),
        "near_object": np.array([3, -1, -1]),
    }
    of = {"owners": np.array([0, 1, 1, 3]), "object_labels": np.array([0, 0, 1, 0]), "scores": None, "probs": None}
    given = inputs(**of)
    one, two, none = explain(Picks(np.array([1, 3, 2]), facts), given, ids="abcd", classes=["cat", "dog"])
    assert one == {"object": 1, "object_distance": 2.5, "nearest": "a", "near_object": 3, "object_class": "dog"}
    assert sentence(one) == "Object 1 (dog) is 2.5 away from the nearest covered one, object 3 of a."
    assert sentence(two) == "Above all for its object 0 (cat)."
    assert none == {}
    assert sentence(explain(Picks(np.array([1]), {"object": np.array([0])}), given)[0]).startswith("Above all for")


def test_the_selections_own_facts_win():
    facts = {"distance": np.array([7.0]), "nearest": np.array([3])}
    assert explain(Picks(np.array([1]), facts), inputs())[0]["distance"] == 7


def test_many_picks_have_the_nearest_of_a_plain_search():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(1300, 3)).astype(np.float32)
    rows = generator.permutation(1200)
    everything = inputs(candidates=np.arange(1200), labelled=np.arange(1200, 1300), embeddings=embeddings)
    reasons = explain(Picks(rows), everything.replace(scores=None, probs=None))
    for i in (0, 1, 511, 512, 1199):
        before = np.concatenate([np.arange(1200, 1300), rows[:i]])
        distances = np.linalg.norm(embeddings[before].astype(float) - embeddings[rows[i]], axis=1)
        assert reasons[i]["nearest"] == before[distances.argmin()]
        assert reasons[i]["distance"] == pytest.approx(distances.min())


def test_sentences_use_names():
    names = {"ids": ["a,b/ü.png", "1", "2", "3"], "classes": ["cat", "dog"]}
    reason = explain(Picks(np.array([1])), inputs(), **names)[0]
    assert (reason["nearest"], reason["class"]) == ("a,b/ü.png", "dog")
    assert sentence(reason | {"drawn": "at random", "class_share": 0.125}) == (
        "Drawn at random; score 0.5, rank 1 of 3; the model says dog with probability 0.75; "
        "5 away from the nearest labelled or picked image, a,b/ü.png; class share 0.125."
    )
    assert sentence({"class": 1, "probability": 0.5, "distance": 2.0, "nearest": 4}) == (
        "The model says class 1 with probability 0.5; 2 away from the nearest labelled or picked image, row 4."
    )


def test_sentences_of_clusters_and_gradients():
    assert sentence({"typicality": 3.14159, "cluster_size": 1200, "cluster_labelled": 0}) == (
        "Typicality 3.14 in a cluster of 1,200 with 0 labelled."
    )
    assert sentence({"centre_distance": 0.5, "cluster_size": 3}) == "0.5 from the centre of a cluster of 3."
    assert sentence({"gradient": 2.0}) == "Gradient of length 2."
    assert sentence({"gradient": 2.0, "gradient_distance": 1.0}) == ("Gradient of length 2, 1 from the nearest pick's.")


def test_what_a_pick_covers_comes_first():
    text = sentence({"score": 0.5, "score_rank": 2, "score_of": 10, "coverage_gain": 0.0123})
    assert text == "Covers 1.23% of what is uncertain in the pool; score 0.5, rank 2 of 10."


def test_shares_of_the_gain_are_told_in_per_cent():
    text = sentence({"score": 0.5, "gain_diversity": 0.625, "gain_score": 0.375, "chosen_by": "coral"})
    assert text == "Chosen by coral; of the gain 62% from diversity, 38% from score; score 0.5."


def test_sentences_of_similar_and_typical_images():
    assert sentence({"similarity": 0.5, "query_distance": 2.0}) == "Similarity 0.5, 2 from the nearest image asked for."
    assert sentence({"typical": 0.25}) == "Typicality 0.25 of 1."
