"""RIPU's losses against plain loops, and where its published code goes wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.models.adaptation import class_borders, local_consistency, negative_learning


def softmax(values):
    e = np.exp(values - values.max())
    return e / e.sum()


def probabilities(logits):
    """A softmax over classes, pixel by pixel."""
    n, _, height, width = logits.shape
    found = np.empty_like(logits)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                found[i, :, y, x] = softmax(logits[i, :, y, x])
    return found


def neighbours(y, x, shape):
    return [(b, a) for b in (y - 1, y, y + 1) for a in (x - 1, x, x + 1) if 0 <= b < shape[0] and 0 <= a < shape[1]]


def plain_consistency(logits, labels, void):
    probs, terms = probabilities(logits), []
    n, _, height, width = logits.shape
    for i in range(n):
        for y in range(height):
            for x in range(width):
                near = [labels[i, b, a] for b, a in neighbours(y, x, (height, width))]
                if labels[i, y, x] == void or all(c == labels[i, y, x] for c in near):
                    continue
                rows = np.clip([y - 1, y, y + 1], 0, height - 1)
                columns = np.clip([x - 1, x, x + 1], 0, width - 1)
                mean = probs[i][:, rows][:, :, columns].mean(axis=(1, 2))
                terms.append(np.abs(probs[i, :, y, x] - mean).sum())
    return np.mean(terms) if terms else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_local_consistency_is_that_of_a_plain_loop(seed):
    r = np.random.default_rng(seed)
    logits, labels = r.normal(size=(2, 4, 6, 7)), r.integers(0, 3, (2, 6, 7))
    labels[r.random(labels.shape) < 0.3] = 255
    found = local_consistency(torch.tensor(logits), torch.tensor(labels), void=255)
    assert float(found) == pytest.approx(plain_consistency(logits, labels, 255), rel=1e-5)


def test_borders_are_between_classes_only():
    labels = torch.zeros((1, 5, 6), dtype=torch.long) + 2
    assert not class_borders(labels, 255).any()  # the frame of a picture is no border
    labels[0, 0, 0] = 255
    assert class_borders(labels, 255)[0].nonzero().tolist() == [[0, 1], [1, 0], [1, 1]]  # void itself has no class
    labels[0, 0, 0] = 2
    labels[0, 2, 2:5] = torch.tensor([1, 2, 3])  # 1 and 3 around 2 add up to the same as 2 and 2
    border = class_borders(labels, 255)[0]
    assert border[2, 3]
    assert border.sum() == 5 * 3
    loss = local_consistency(torch.randn(1, 4, 5, 6, requires_grad=True), torch.full((1, 5, 6), 255), void=255)
    assert float(loss.detach()) == 0
    loss.backward()  # no borders at all: no learning, not "not a number"


def test_negative_learning_is_that_of_a_plain_loop():
    logits = np.random.default_rng(0).normal(size=(2, 5, 4, 3)) * 3
    low = [p for p in probabilities(logits).flat if p < 0.05]
    expected = sum(-math.log(1 - p) for p in low) / len(low)
    assert float(negative_learning(torch.tensor(logits))) == pytest.approx(expected, rel=1e-5)
    assert float(negative_learning(torch.zeros(1, 3, 2, 2))) == 0
    values = torch.tensor(logits, requires_grad=True)
    negative_learning(values, below=0.2).backward()
    assert torch.isfinite(values.grad).all()  # type: ignore[arg-type]


def test_the_softmax_is_over_classes():
    """A number added to all classes of a pixel changes nothing; a softmax over pixels, as in segal, would."""
    logits = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = logits + 5 * torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(30).reshape(1, 6, 5) % 3
    for loss in (lambda z: local_consistency(z, labels, void=255), lambda z: negative_learning(z, below=0.2)):
        assert float(loss(shifted)) == pytest.approx(float(loss(logits)), rel=1e-5)

    def over_pixels(z):
        return z.flatten(2).softmax(dim=-1).view_as(z)

    assert not torch.allclose(over_pixels(shifted), over_pixels(logits), rtol=0.1)


def test_what_learning_from_them_does():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    with torch.no_grad():
        logits[:, 0] += 4  # classes 1 and 2 have probabilities under 0.05
        logits[:, 1, :, :2] += 1
    before = logits.detach().softmax(dim=1)
    negative_learning(logits).backward()
    after = (logits - logits.grad).softmax(dim=1)  # type: ignore[operator]
    assert (after[:, 1:] < before[:, 1:]).all()
