"""Thresholds: what they cost and buy, and a round's results against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from labelwise.errors import DataError
from labelwise.evaluate.abstaining import abstention_curve, answered, round_results

CLASSES = ("empty", "fox", "red deer", "wolf")


def case(seed, n, classes=4):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.4), n), rng.integers(0, classes, n)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_results_without_a_threshold_are_those_of_scikit_learn(seed, n):
    probs, truth = case(seed, n)
    predicted = probs.argmax(axis=1)
    found = round_results(probs, truth, CLASSES)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    for kind in ("micro", "macro"):
        for name, score in (("precision", precision_score), ("recall", recall_score)):
            assert found[f"{kind}_{name}"] == pytest.approx(score(truth, predicted, average=kind, zero_division=0))
    seen = sorted({*truth.tolist(), *predicted.tolist()})
    assert found["confusion"]["rows"] == found["confusion"]["columns"] == [CLASSES[i] for i in seen]
    assert (
        found["confusion"]["counts"] == confusion_matrix(truth, predicted, labels=range(4))[np.ix_(seen, seen)].tolist()
    )
    assert sum(c["images"] for c in found["classes"]) == n


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.01, 1))
def test_what_is_not_sure_enough_is_unknown_and_counts_as_no_answer(seed, n, threshold):
    probs, truth = case(seed, n)
    found = round_results(probs, truth, CLASSES, threshold)
    told = [i for i in range(n) if probs[i].max() >= threshold - 5e-7]
    right = sum(probs[i].argmax() == truth[i] for i in told)
    assert found["answered"] == len(told)
    assert found["micro_recall"] == found["accuracy"] == pytest.approx(right / n)
    assert found["micro_precision"] == (pytest.approx(right / len(told)) if told else None)
    assert found["confusion"]["columns"][-1] == "unknown"
    counts = np.array(found["confusion"]["counts"])
    assert counts.sum() == n
    assert counts[:, -1].sum() == n - len(told)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_the_curve_begins_with_everything_and_covers_less_and_less(seed, n):
    probs, truth = case(seed, n)
    curve = np.array(abstention_curve(probs, truth))
    assert curve[0].tolist() == [0, 1, pytest.approx((probs.argmax(1) == truth).mean())]
    assert (np.diff(curve[:, 1]) <= 0).all()
    assert curve[-1, 1] > 0
    for threshold, coverage, accuracy in curve[::17]:
        found = round_results(probs, truth, CLASSES, float(threshold))
        assert coverage == pytest.approx(found["answered"] / n)
        assert accuracy == pytest.approx(found["micro_precision"])


def test_a_class_that_the_model_does_not_know_is_never_right_and_in_no_row():
    probs = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = round_results(probs, np.array([-1, 1]), ("fox", "wolf"))
    assert found["accuracy"] == 0.5
    assert [c["images"] for c in found["classes"]] == [0, 1]
    assert found["classes"][0]["recall"] is None
    assert abstention_curve(probs, np.array([-1, 1]))[0][2] == 0.5


def test_no_image_and_one_image():
    found = round_results(np.zeros((0, 2)), np.zeros(0, int), ("a", "b"))
    assert found["accuracy"] is None
    assert found["classes"] == []
    assert abstention_curve(np.zeros((0, 2)), np.zeros(0, int)) == []
    assert round_results(np.array([[1.0, 0.0]]), np.array([0]), ("a", "b"), 1.0)["accuracy"] == 1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_told(threshold):
    with pytest.raises(DataError, match="between 0 and 1"):
        answered(np.ones((1, 1)), threshold)
