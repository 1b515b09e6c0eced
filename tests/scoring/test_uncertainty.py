"""Uncertainty scores: golden values, ranges, axes, kinds of array, and numbers that are not finite."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwise import scoring
from labelwise.errors import SelectionError
from labelwise.scoring import bald, entropy, least_confidence, margin, mean_std, variation_ratio, vote_entropy

OF_PROBS = [least_confidence, margin, entropy]
OF_SAMPLES = [bald, mean_std, variation_ratio, vote_entropy]


def normalised(array):
    return array / array.sum(axis=-1, keepdims=True)


positive = st.floats(1e-6, 1.0, allow_nan=False)
distributions = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 7)), elements=positive).map(
    normalised
)
passes = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 5)), elements=positive
).map(normalised)


@pytest.mark.parametrize(("score", "expected"), [(least_confidence, 0.75), (margin, 0.91), (entropy, 0.8455)])
def test_golden_values_of_lightly(score, expected):
    assert score(np.array([0.5, 0.41, 0.09])) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("score", OF_PROBS)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_certain_is_0_and_uniform_is_1(score, classes):
    probs = np.stack([np.eye(classes)[0], np.full(classes, 1 / classes)])
    np.testing.assert_allclose(score(probs), [0, 1], atol=1e-12)


@pytest.mark.parametrize("score", OF_PROBS)
def test_one_class_is_always_certain(score):
    np.testing.assert_array_equal(score(np.ones((3, 4, 1))), np.zeros((3, 4)))


@pytest.mark.parametrize("score", OF_SAMPLES)
def test_one_class_or_one_pass_has_no_disagreement(score):
    np.testing.assert_array_equal(score(np.ones((5, 3, 1))), np.zeros(3))
    np.testing.assert_allclose(score(np.array([[[0.2, 0.8], [0.5, 0.5]]])), 0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(distributions)
def test_equal_to_plain_formulas(probs):
    classes = probs.shape[1]
    ordered = np.sort(probs, axis=1)
    np.testing.assert_allclose(least_confidence(probs), (1 - ordered[:, -1]) / (1 - 1 / classes), atol=1e-12)
    np.testing.assert_allclose(margin(probs), 1 - (ordered[:, -1] - ordered[:, -2]), atol=1e-12)
    np.testing.assert_allclose(entropy(probs), -(probs * np.log(probs)).sum(1) / np.log(classes), atol=1e-12)
    for score in OF_PROBS:
        assert ((score(probs) >= 0) & (score(probs) <= 1 + 1e-9)).all()


@settings(deadline=None, max_examples=50)
@given(passes)
def test_disagreement_equals_plain_formulas(samples):
    mean = samples.mean(0)
    mutual = -(mean * np.log(mean)).sum(-1) + (samples * np.log(samples)).sum(-1).mean(0)
    assert (bald(samples) >= 0).all()
    np.testing.assert_allclose(bald(samples), np.maximum(mutual, 0), atol=1e-12)
    np.testing.assert_allclose(mean_std(samples), samples.std(0).mean(-1), atol=1e-12)
    votes = np.stack([np.bincount(column, minlength=samples.shape[2]) for column in samples.argmax(-1).T])
    np.testing.assert_allclose(variation_ratio(samples), 1 - votes.max(1) / len(samples), atol=1e-12)
    shares = votes / len(samples)
    nats = -np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0).sum(1)
    most = min(len(samples), samples.shape[2])
    np.testing.assert_allclose(vote_entropy(samples), nats / np.log(most) if most > 1 else 0, atol=1e-12)
    divergence = (samples * np.log(samples / mean)).sum(-1).mean(0)
    np.testing.assert_allclose(bald(samples), np.maximum(divergence, 0), atol=1e-9)


def test_vote_entropy_of_known_votes():
    """Two votes against two of four passes over three classes; one class each of three; all for one."""
    votes = np.eye(3)[[[0, 0, 1], [0, 1, 1], [1, 2, 1], [1, 2, 1]]]
    expected = [np.log(2) / np.log(3), 1.5 * np.log(2) / np.log(3), 0]
    np.testing.assert_allclose(vote_entropy(votes), expected, atol=1e-12)
    assert vote_entropy(np.eye(4)[:, None, :]) == pytest.approx(1)


def test_bald_is_log_c_when_passes_are_certain_of_different_classes():
    assert bald(np.eye(4)[:, None, :]) == pytest.approx(np.log(4))
    assert variation_ratio(np.eye(4)[:, None, :]) == pytest.approx(0.75)


@pytest.mark.parametrize("score", OF_PROBS)
@pytest.mark.parametrize("shape", [(4,), (6, 4), (3, 5, 4), (0, 4)])
def test_class_axis_is_last_and_the_rest_stays(score, shape):
    probs = normalised(np.random.default_rng(0).random(shape) + 0.1)
    result = score(probs)
    assert isinstance(result, np.ndarray)
    assert result.shape == shape[:-1]
    tensor = score(torch.from_numpy(probs))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), result)


@pytest.mark.parametrize("score", OF_PROBS + OF_SAMPLES)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_any_float_and_any_memory(score, kind):
    samples = normalised(np.random.default_rng(1).random((3, 5, 4)) + 0.1)
    array = samples.astype(kind)[:, ::-1]
    array.setflags(write=False)
    before = array.copy()
    result = score(array)
    assert result.dtype == (np.float64 if kind == np.float64 else np.float32)
    np.testing.assert_allclose(result, score(samples[:, ::-1]), atol=2e-3)
    np.testing.assert_array_equal(array, before)


def test_half_tensors_and_keywords():
    probs = torch.tensor([[0.5, 0.5]], dtype=torch.bfloat16)
    assert entropy(probs=probs).item() == pytest.approx(1)


@pytest.mark.parametrize("score", OF_PROBS + OF_SAMPLES)
@pytest.mark.parametrize("classes", [1, 3])
def test_nan_is_never_hidden(score, classes):
    array = np.full((4, 5, classes), 1 / classes)
    array[2, 3, 0] = np.nan
    result = score(array)
    assert np.isnan(result[..., 3]).any()
    assert not np.isnan(result[..., :3]).any()


@pytest.mark.parametrize("score", OF_PROBS + OF_SAMPLES)
def test_missing_axes_are_refused(score):
    with pytest.raises(SelectionError, match="class axis last"):
        score(np.array(0.5))
    with pytest.raises(SelectionError, match="found \\(3, 0\\)"):
        score(np.empty((3, 0)))


def test_importing_the_package_loads_no_torch():
    code = "import sys, labelwise.scoring, labelwise.selection; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(scoring.__all__) <= set(dir(scoring))
    with pytest.raises(AttributeError, match="entropie"):
        _ = scoring.entropie
