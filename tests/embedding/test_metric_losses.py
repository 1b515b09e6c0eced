"""Losses of embeddings against plain references, pair by pair and triplet by triplet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.embedding.metric.losses import FROM_LIBRARY, check_loss, make_objective
from labelwise.errors import ConfigError

MARGIN = 1.0


def batch(seed, n, classes, dim=3, spread=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)).astype(np.float32) * spread, rng.integers(0, classes, n)


def objective(spec="triplet", mining="random", seed=0, margin=MARGIN, dim=3, classes=3):
    return make_objective(spec, margin=margin, mining=mining, dim=dim, classes=classes, seed=seed)


def loss_of(made, x, y):
    found = made(torch.from_numpy(np.asarray(x, np.float32)), torch.from_numpy(np.asarray(y, np.int64)))
    return None if found is None else float(found.detach())


def candidates(x, y, mining):
    """For each pair of a class the values v = d²(a, p) - d²(a, n) + m of the negatives it may take."""
    x = x.astype(np.float64)
    for a, p in itertools.combinations(range(len(y)), 2):
        if y[a] != y[p]:
            continue
        values = [
            ((x[a] - x[p]) ** 2).sum() - ((x[a] - x[n]) ** 2).sum() + MARGIN for n in range(len(y)) if y[n] != y[a]
        ]
        fit = [v for v in values if v > 1e-9 and (mining != "semi_hard" or v < MARGIN)]
        if fit:
            yield fit


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 14), st.integers(1, 4), st.sampled_from([0.3, 1.0, 3.0]))
def test_hardest_triplets_are_those_of_the_definition(seed, n, classes, spread):
    x, y = batch(seed, n, classes, spread=spread)
    found, expected = loss_of(objective(mining="hardest"), x, y), [max(f) for f in candidates(x, y, "hardest")]
    if not expected:
        assert found is None
    else:
        assert found == pytest.approx(np.mean(expected), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("mining", ["random", "semi_hard"])
def test_drawn_negatives_are_uniform_over_those_that_fit(mining):
    x, y = batch(3, 12, 3, spread=0.5)
    fits = list(candidates(x, y, mining))
    drawn = [loss_of(objective(mining=mining, seed=seed), x, y) for seed in range(1500)]
    assert min(drawn) >= np.mean([min(f) for f in fits]) - 1e-4
    assert max(drawn) <= np.mean([max(f) for f in fits]) + 1e-4
    assert np.mean(drawn) == pytest.approx(np.mean([np.mean(f) for f in fits]), rel=0.03)
    assert len({round(v, 6) for v in drawn}) > 5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4))
def test_pairs_are_pulled_together_or_pushed_to_the_margin(seed, n, classes):
    x, y = batch(seed, n, classes)
    terms, near, far = [], [], []
    for a, b in itertools.combinations(range(n), 2):
        d = float(np.linalg.norm(x[a].astype(np.float64) - x[b]))
        (near if y[a] == y[b] else far).append(d)
    terms = [d**2 for d in near] + [max(0, MARGIN - d) ** 2 for d in far]
    found = loss_of(objective("contrastive", "all"), x, y)
    if not terms:
        assert found is None
        return
    assert found == pytest.approx(np.mean(terms), rel=1e-3, abs=1e-4)
    if near and len(far) > len(near):
        hard = [d**2 for d in near] + [max(0, MARGIN - d) ** 2 for d in sorted(far)[: len(near)]]
        assert loss_of(objective("contrastive", "hard_pair"), x, y) == pytest.approx(np.mean(hard), rel=1e-3, abs=1e-4)


def test_softmax_is_cross_entropy_on_the_rectified_embedding():
    made = objective("softmax")
    x, y = batch(0, 6, 3)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in made.classifier.parameters())
    logits = np.maximum(x, 0) @ weight.T + bias
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(6), y])
    assert loss_of(made, x, y) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("spec", ["triplet", "contrastive", "softmax", *FROM_LIBRARY])
@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1], [0, 1, 2, 2], [0, 0, 1, 1, 2, 2]])
def test_every_loss_takes_any_batch_and_gives_a_finite_gradient(spec, labels):
    if spec in FROM_LIBRARY:
        pytest.importorskip("pytorch_metric_learning")
    made = objective(spec, seed=1)
    x = torch.from_numpy(batch(0, len(labels), 2)[0]).requires_grad_()
    twins = torch.cat([x, x])  # a class with few images shows some twice
    for given_, y in ((x, labels), (twins, labels * 2)):
        loss = made(given_, torch.tensor(y))
        if loss is not None:
            assert torch.isfinite(loss)
            (gradient,) = torch.autograd.grad(loss, x, allow_unused=True)
            assert gradient is None or torch.isfinite(gradient).all()


def test_the_library_agrees_on_triplets():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    x, y = batch(5, 9, 3)
    fits = [
        (a, p, max((n for n in range(9) if y[n] != y[a]), key=lambda n, a=a: -((x[a] - x[n]) ** 2).sum()))
        for a, p in itertools.combinations(range(9), 2)
        if y[a] == y[p]
    ]
    theirs = losses.TripletMarginLoss(MARGIN, distance=distances.LpDistance(normalize_embeddings=False, power=2))
    indices = tuple(torch.tensor(c) for c in zip(*fits, strict=True))
    expected = float(theirs(torch.from_numpy(x), torch.from_numpy(y), indices))
    assert loss_of(objective(mining="hardest"), x, y) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("spec", "mining", "said"),
    [
        ("tripplet", "random", "did you mean 'triplet'"),
        ("triplet", "hard_pair", "triplet has random, hardest, semi_hard, but found 'hard_pair'"),
        ("contrastive", "semi_hard", "contrastive has random, hard_pair, all"),
        ({"name": "triplet", "margin": 2}, "random", "no options here, found margin"),
        ({"name": "multi_similarity", "alfa": 2}, "random", "cannot be made with"),
    ],
)
def test_what_does_not_fit_is_told(spec, mining, said):
    if isinstance(spec, dict) and spec["name"] in FROM_LIBRARY:
        pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(ConfigError, match=said) as error:
        check_loss(spec, mining)
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_metric_learning", None)
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[metric\]'"):
        check_loss("supcon", "random")
    check_loss("triplet", "random")
