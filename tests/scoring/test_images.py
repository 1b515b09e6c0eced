"""Scores of images from records: Lightly's golden values, policies for empty images, weights, streams, mistakes."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import ConfigError, SelectionError
from labelwise.presets import PRESETS, preset
from labelwise.records import Prediction
from labelwise.scoring import bald, entropy, margin
from labelwise.scoring.images import rescaled
from labelwise.strategies import Recipe, assemble

CLASSES = ["car", "dog", "cat"]
rng = np.random.default_rng


def objects(id, confidences=(), labels=None, probs=None, boxes=None, **more):
    n = len(confidences)
    return Prediction(
        id,
        probs=None if probs is None else np.array(probs, float).reshape(n, -1),
        boxes=np.array([[10.0 * i, 0, 10 * i + 5, 5] for i in range(n)] if boxes is None else boxes).reshape(n, 4),
        labels=np.array([0] * n if labels is None else labels, int),
        confidences=np.array(confidences, float),
        **more,
    )


def lightly():
    """The images of Lightly's own test of its detection scores; confidence = objectness x highest class."""
    one = objects("one", [0.57573 * 0.7, 0.988 * 0.5], [0, 1], [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]])
    two = objects("two", [0.1024 * 0.5], [0], [[0.5, 0.41, 0.09]])
    return [one, two, dataclasses.replace(objects("none"), probs=np.zeros((0, 3)))]


def values(recipe, predictions, **changes):
    recipe = preset(recipe) if isinstance(recipe, str) else recipe
    return assemble(dataclasses.replace(recipe, **changes)).score_stream(predictions, CLASSES).values.tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("object_frequency", [1.0, 0.95, 0.9]),
        ("objectness_least_confidence", [0.5514945, 0.9488, 0]),
        ("box_least_confidence", [0.5 / (1 - 1 / 3), 0.5 / (1 - 1 / 3), 0]),
        ("box_margin", [0.9, 0.91, 0]),
        ("box_entropy", [0.8586727, 0.8454702, 0]),
    ],
)
def test_golden_values_of_lightly(name, expected):
    assert values(name, lightly(), empty="lowest") == pytest.approx(expected, abs=1e-6)


def test_object_frequency_with_other_numbers():
    recipe = Recipe(
        score={"name": "object_frequency", "penalty": 0.55}, reduce="sum", rescale=(0.6, 1.0), empty="lowest"
    )
    images = [objects("a", [1, 1, 1], [0, 0, 1]), objects("b", [1], [2]), objects("c")]
    assert values(recipe, images) == pytest.approx([1.0, 0.6 + 0.4 / 2.55, 0.6])
    assert values(recipe, images[:1]) == [1.0]
    assert values(recipe, [images[1]] * 3) == [1.0, 1.0, 1.0]
    assert values(recipe, []) == []


def test_keypoints_of_lightly():
    points = np.zeros((2, 2, 3))
    points[..., 2] = [[0.5, 1.0], [0.3, 0.2]]
    two = Prediction("two", keypoints=points)
    assert values("keypoint_uncertainty", [two, Prediction("none", keypoints=np.zeros((0, 2, 3)))]) == [
        pytest.approx(0.5),
        0,
    ]


def test_a_box_with_a_confidence_alone_is_a_binary_choice():
    assert values("box_margin", [objects("a", [0.7])]) == pytest.approx([0.6])
    assert values("box_entropy", [objects("a", [1.0, 0.5])]) == [1.0]


def test_independent_classes_are_binary_choices_and_the_most_doubtful_counts():
    image = objects("a", [0.9], [0], [[0.9, 0.5, 0.1]], independent=True)
    assert values("box_entropy", [image]) == [1.0]
    sure = objects("a", [0.9], [0], [[0.99, 0.02, 0.01]], independent=True)
    assert values("box_margin", [sure]) == pytest.approx([1 - (0.98 - 0.02)])
    tags = Prediction("a", probs=np.array([0.9, 0.6]), independent=True)
    assert values("margin", [tags]) == pytest.approx([1 - (0.6 - 0.4)])
    pixels = Prediction("a", probs=np.full((2, 3, 4), 0.5), independent=True)
    assert values(Recipe(score="margin", reduce="mean"), [pixels]) == [1.0]


def test_pixels():
    probs = rng(0).dirichlet(np.ones(3), (4, 5))
    image = Prediction("a", probs=probs)
    doubt = margin(probs)
    assert values(Recipe(score="margin", reduce="mean"), [image]) == pytest.approx([doubt.mean()])
    assert values(Recipe(score="margin", reduce="max"), [image]) == pytest.approx([doubt.max()])
    few = np.sort(doubt.reshape(-1))[-2:].mean()
    assert values(Recipe(score="margin", reduce={"name": "top", "share": 0.1}), [image]) == pytest.approx([few])


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_passes_over_boxes_and_pixels(shape):
    samples = rng(1).dirichlet(np.ones(3), (5, *shape))
    one = {"labels": np.zeros(6, int)} if shape == (6,) else {}
    image = Prediction("a", samples=samples, **one)
    for score in ("bald", "vote_entropy", "variance", "mean_std", "variation_ratio"):
        assert 0 < values(Recipe(score=score, reduce="mean"), [image])[0] < 1.1
    assert values(Recipe(score="bald", reduce="max"), [image]) == pytest.approx([bald(samples).max()])


def test_weights_of_classes():
    images = lightly()[:2]
    weights = {"dog": 2.0}
    doubts = entropy(images[0].probs)
    assert values("box_entropy_sum", images, class_weights=weights)[0] == pytest.approx(doubts[0] + 2 * doubts[1])
    pixels = Prediction("p", probs=np.array([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]]))
    each = margin(pixels.probs)[0]
    weighted = values(Recipe(score="margin", reduce="sum", class_weights=weights), [pixels])
    assert weighted == pytest.approx([each[0] + 2 * each[1]])
    passes = Prediction("s", samples=np.stack([pixels.probs] * 2))
    assert values(Recipe(score="bald", reduce="sum", class_weights=weights), [passes]) == pytest.approx([0])


def test_weights_that_fit_no_class_are_refused():
    with pytest.raises(ConfigError, match="unknown class 'dgo': did you mean 'dog'"):
        values("box_margin", lightly(), class_weights={"dgo": 2})
    with pytest.raises(ConfigError, match=r"class_weights\.dog: expected a weight of 0 or more, but found -1"):
        assemble(dataclasses.replace(preset("box_margin"), class_weights={"dog": -1}))
    strange = objects("a", [0.5], [2])
    with pytest.raises(SelectionError, match="a has class 2, but 1 classes are named"):
        assemble(Recipe(score="margin", reduce="max", class_weights={"car": 2})).score_prediction(strange, ["car"])
    with pytest.raises(SelectionError, match="names no classes"):
        values("keypoint_uncertainty", [Prediction("a", keypoints=np.ones((1, 2, 3)))], class_weights={"dog": 2})


# --- images without detection -------------------------------------------------------------------------


@pytest.mark.parametrize(("empty", "expected"), [("lowest", 0), ("highest", 0.8), ("mean", 0.6), ("quota", 0)])
def test_what_an_empty_image_is_worth(empty, expected):
    recipe = Recipe(score="objectness_least_confidence", reduce="mean", empty=empty)
    found = assemble(recipe).score_stream([objects("a", [0.2]), objects("b"), objects("c", [0.6])])
    assert found.ids == ("a", "b", "c")
    assert found.empty.tolist() == [False, True, False]
    assert found.values.tolist() == pytest.approx([0.8, expected, 0.4])


@pytest.mark.parametrize("empty", ["lowest", "highest", "mean", "quota"])
def test_nothing_found_anywhere(empty):
    assert values(Recipe(score="margin", reduce="max", empty=empty), [objects("a"), objects("b")]) == [0, 0]


def test_by_default_an_empty_image_is_neither_first_nor_last():
    images = [objects("a", [0.5]), objects("b", [0.9]), objects("c")]
    sure, found = sorted(values(Recipe(score="margin", reduce="max"), images)[:2])
    assert sure < values(Recipe(score="margin", reduce="max"), images)[2] < found
    for name, recipe in PRESETS.items():
        if recipe.reduce is not None and name != "object_frequency":
            assert (recipe.empty, recipe.empty_share) == ("quota", 0.1)


def test_faint_boxes_order_the_images_where_none_is_shown():
    faint = objects("faint", [0.2, 0.1])
    images = [objects("shown", [0.9, 0.1]), faint, objects("none"), objects("hardly", [0.01])]
    found = assemble(Recipe(score="margin", reduce="max", empty="quota", shown=0.5)).score_stream(images)
    assert found.empty.tolist() == [False, True, True, True]
    assert found.values.tolist()[1:] == pytest.approx([0.3, 0, 0])
    assert values("missed_objects", images[:1]) == pytest.approx([0.1])


def test_what_is_no_number_of_a_recipe_is_refused():
    for changes, said in [
        ({"empty": "first"}, "strategy.empty"),
        ({"empty_share": 1.5}, "empty_share"),
        ({"shown": -1}, "shown"),
        ({"rescale": (1, 0)}, "rescale"),
    ]:
        with pytest.raises(ConfigError, match=said):
            assemble(dataclasses.replace(preset("box_margin"), **changes))


# --- properties, streams, mistakes --------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 8), st.integers(0, 500))
def test_the_order_of_boxes_does_not_matter_and_scores_stay_in_range(n, seed):
    generator = rng(seed)
    corners = generator.uniform(0, 50, (n, 2, 2))
    order = generator.permutation(n)
    fields = {
        "probs": generator.dirichlet(np.ones(3), n),
        "boxes": np.concatenate([corners.min(1), corners.max(1)], 1),
        "labels": generator.integers(0, 3, n),
        "confidences": generator.random(n),
        "keypoints": generator.random((n, 2, 3)),
        "flipped": generator.random((n, 8)),
    }
    image, turned = Prediction("a", **fields), Prediction("a", **{name: a[order] for name, a in fields.items()})
    for name, recipe in PRESETS.items():
        if recipe.reduce is not None:
            strategy = assemble(dataclasses.replace(recipe, class_weights={"dog": 0.5}))
            score = strategy.score_prediction(image, CLASSES)
            assert 0 <= score <= (max(1, n) if recipe.reduce == "sum" else 1 + 1e-9)
            assert strategy.score_prediction(turned, CLASSES) == pytest.approx(score, abs=1e-9), name


def test_a_stream_holds_one_record_at_a_time():
    alive = []

    class Map(np.ndarray):
        pass

    def stream():
        for i in range(5):
            array = np.full((4, 4, 2), 0.5).view(Map)
            alive.append(weakref.ref(array))
            record = Prediction(str(i), probs=array)
            del array
            yield record
            del record
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 1

    assert values(Recipe(score="margin", reduce="mean"), stream()) == [1.0] * 5


def test_mistakes_name_the_image():
    with pytest.raises(SelectionError, match="one for each of 2 elements; set reduce"):
        values("margin", [objects("a.png", [0.5, 0.5])])
    with pytest.raises(SelectionError, match=r"a\.png: expected boxes or pixels to reduce, found one prediction"):
        values("box_margin", [Prediction("a.png", probs=np.array([0.5, 0.5]))])
    with pytest.raises(SelectionError, match=r"needs samples, but the prediction for a\.png has none"):
        values(Recipe(score="bald", reduce="max"), [objects("a.png", [0.5])])
    with pytest.raises(SelectionError, match="no score"):
        assemble(preset("random")).score_prediction(objects("a"))
    with pytest.raises(ConfigError, match=r"gives one number per object; set strategy\.reduce"):
        assemble(Recipe(score="missed_objects"))


def test_scores_that_are_no_numbers_name_the_image(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def bad(probs):\n    return probs[..., 0] * float('nan')\ndef wide(probs):\n    return probs\n")
    with pytest.raises(SelectionError, match=r"score of a\.png is not a finite number"):
        values(Recipe(score=f"{file}:bad", reduce="max"), [objects("a.png", [0.5])])
    with pytest.raises(SelectionError, match=r"score of a\.png: expected one number for each element"):
        values(Recipe(score=f"{file}:wide", reduce="max"), [objects("a.png", [0.5])])


def test_needs_of_presets_for_objects():
    assert assemble(preset("missed_objects")).needs == {"boxes"}
    assert assemble(preset("object_frequency")).needs == {"boxes"}
    assert assemble(preset("keypoint_uncertainty")).needs == {"keypoints"}
    assert "empty" in assemble(preset("box_margin")).uses


def test_batches_of_maps_are_reduced_image_by_image():
    probs = rng(0).dirichlet(np.ones(3), (4, 2, 3))
    strategy = assemble(Recipe(score="margin", reduce="mean"))
    np.testing.assert_allclose(strategy.score({"probs": probs}), margin(probs).mean(axis=(1, 2)))
    import torch

    assert isinstance(strategy.score({"probs": torch.from_numpy(probs)}), torch.Tensor)
    with pytest.raises(SelectionError, match="leave reduce out"):
        strategy.score({"probs": probs[:, 0, 0]})


def test_rescaled():
    assert rescaled(np.array([2.0, 4, 3]), 0.9, 1).tolist() == pytest.approx([0.9, 1, 0.95])
    assert rescaled(np.array([2.0, 2]), 0.9, 1).tolist() == [1, 1]
    assert rescaled(np.array([]), 0.9, 1).tolist() == []
