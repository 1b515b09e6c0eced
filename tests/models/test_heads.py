"""Heads: what they compute against scikit-learn and plain loops, calibration, and classes that were not seen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from labelwise import catalog
from labelwise.models.heads import (
    Logistic,
    Neighbours,
    Perceptron,
    fit_calibrated,
    fit_temperature,
    probabilities,
)

HEADS = list(catalog.TABLES["head"])


def data(classes=3, n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    centres = rng.normal(size=(classes, 6))
    return (centres[labels] + rng.normal(size=(n, 6))).astype(np.float32), labels


def head_of(name):
    return catalog.make("head", {"name": name, **({"max_iter": 30} if name == "mlp" else {})})


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("occurring", [[0], [4], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_probabilities_sum_to_one_and_unseen_classes_have_none(name, occurring):
    head = head_of(name)
    features, own = data(len(occurring))
    labels = np.array(occurring)[own]
    state = fit_calibrated(head, features, labels, seed=1)
    probs = probabilities(head, state, features, 6)
    assert probs.shape == (60, 6)
    assert probs.dtype == np.float32
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    unseen = sorted({0, 1, 2, 3, 4, 5} - set(occurring))
    assert (probs[:, unseen] == 0).all()
    assert (probs[:, occurring] > 0).all()
    assert (probs.argmax(axis=1) == labels).mean() > 0.6


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("labels", [[2], [0, 1], [1, 1], [3, 1, 0]])
def test_a_few_labels_are_enough_to_begin(name, labels):
    head = head_of(name)
    features = data(3, max(len(labels), 3))[0][: len(labels)]
    state = fit_calibrated(head, features, np.array(labels), seed=1)
    probs = probabilities(head, state, features, 4)
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_gives_the_same_state(name):
    features, labels = data()
    one, two = (fit_calibrated(head_of(name), features, labels, seed=5) for _ in range(2))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("name", [n for n in HEADS if head_of(n).dropout])
def test_dropped_inputs_change_the_answer(name):
    head = head_of(name)
    features, labels = data()
    state = fit_calibrated(head, features, labels, seed=1)
    keep = np.array([0, 2, 0, 2, 0, 2], np.float32)
    dropped = probabilities(head, state, features, 3, keep)
    assert not np.allclose(dropped, probabilities(head, state, features, 3), atol=1e-3)
    assert np.allclose(dropped, probabilities(head, state, features * keep, 3), atol=1e-5)
    whole = probabilities(head, state, features, 3, np.ones(6, np.float32))
    assert np.allclose(whole, probabilities(head, state, features, 3), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_logistic_is_scikit_learns(classes):
    features, labels = data(classes)
    state = Logistic(C=0.1).fit(features, labels, seed=0)
    peer = LogisticRegression(C=0.1, max_iter=100, tol=1e-3).fit(features, labels)
    assert np.allclose(softmax(Logistic().logits(state, features), axis=1), peer.predict_proba(features), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_perceptron_is_scikit_learns(classes):
    features, labels = data(classes)
    state = Perceptron((8, 5), max_iter=20).fit(features, labels, seed=3)
    peer = MLPClassifier((8, 5), max_iter=20, random_state=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(features, labels)
    assert np.allclose(softmax(Perceptron().logits(state, features), axis=1), peer.predict_proba(features), atol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 200])
def test_neighbours_are_those_of_a_plain_loop(k):
    features, labels = data()
    queries = data(seed=1)[0][:9]
    queries[0] = 0
    head = Neighbours(k=k)
    logits = head.logits(head.fit(features, labels, seed=0), queries)
    for query, row in zip(queries, logits, strict=True):
        length = max(np.linalg.norm(query), 1e-12)
        cosines = [float(query @ f / length / np.linalg.norm(f)) for f in features]
        votes = np.full(3, 1e-6)
        for i in sorted(range(len(features)), key=lambda i: -cosines[i])[:k]:
            votes[labels[i]] += np.exp((cosines[i] - 1) / 0.07)
        if query.any() or k == 200:
            assert np.allclose(row, np.log(votes), atol=1e-3)


@pytest.mark.parametrize("true", [0.5, 3.0, 8.0])
def test_the_temperature_of_overconfident_logits_is_recovered(true):
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 5)) * 2
    labels = np.array([rng.choice(5, p=p) for p in softmax(honest, axis=1)])
    assert fit_temperature((honest * true).astype(np.float32), labels) == pytest.approx(true, rel=0.08)


def test_few_labels_leave_the_temperature_near_one_and_it_stays_in_its_range():
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1
    right = np.array([[9, 0, 0]], np.float32)
    assert 0.3 < fit_temperature(right, np.array([0])) <= 1
    assert 0.05 <= fit_temperature(np.tile(right / 9, (9999, 1)), np.zeros(9999, np.int64)) < 0.3
    assert 5 < fit_temperature(np.tile(right * 99, (999, 1)), np.arange(999) % 3) <= 20


def test_calibration_makes_an_overfitted_head_less_sure():
    features, labels = data(3, 150)
    labels[::3] = np.random.default_rng(1).integers(0, 3, 50)
    head = Perceptron((64,), alpha=0.0, max_iter=300)
    state = fit_calibrated(head, features, labels, seed=0)
    assert state["temperature"][0] > 1.3
    raw = softmax(head.logits(state, features), axis=1).max(axis=1).mean()
    assert probabilities(head, state, features, 3).max(axis=1).mean() < raw
