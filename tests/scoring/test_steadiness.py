"""Steadiness under mirroring, against the formula written out box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from labelwise import testing
from labelwise.errors import SelectionError
from labelwise.presets import preset
from labelwise.records import Prediction
from labelwise.scoring import consistency
from labelwise.strategies import assemble


def plainly(b, s, p, f, base: float) -> float:
    """One box, as the paper writes it."""
    if not any(f):
        return 1 - base / 2
    wide, high = min(b[2], f[2]) - max(b[0], f[0]), min(b[3], f[3]) - max(b[1], f[1])
    shared = max(0.0, wide) * max(0.0, high)
    union = (b[2] - b[0]) * (b[3] - b[1]) + (f[2] - f[0]) * (f[3] - f[1]) - shared
    iou = shared / union if union > 0 else 0.0
    q = f[5:]
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    js = 0.0
    for x, y in zip(p, q, strict=True):
        middle = (x + y) / 2
        js += 0.5 * sum(z * math.log(z / middle) for z in (x, y) if z > 0)
    return 1 - abs(iou + 0.5 * (1 - js) * (s + f[4]) - base) / 2


def drawn(seed: int, count: int) -> tuple[NDArray[np.float64], ...]:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 20, (2, count, 2, 2)), axis=2).astype(float)
    boxes, back = (c.reshape(count, 4) for c in corners)
    probs, other = rng.random((2, count, 3)) + 0.01
    flipped = np.concatenate([back, rng.random((count, 1)), other], axis=1)
    flipped[rng.random(count) < 0.2] = 0
    return boxes, rng.random(count), probs, flipped


@given(st.integers(0, 10**6), st.integers(0, 6), st.sampled_from([0.0, 1.0, 1.3, 2.0]))
def test_as_the_formula_says(seed: int, count: int, base: float) -> None:
    boxes, sure, probs, flipped = drawn(seed, count)
    got = consistency(boxes=boxes, confidences=sure, class_probs=probs, flipped=flipped, base=base)
    wanted = [plainly(*row, base) for row in zip(boxes, sure, probs.tolist(), flipped.tolist(), strict=True)]
    np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_golden_values() -> None:
    box = np.array([[0.0, 0, 10, 10]])
    same = np.array([[0.0, 0, 10, 10, 1, 1, 0]])
    one = {"boxes": box, "confidences": np.ones(1), "class_probs": np.array([[1.0, 0]])}
    assert consistency(**one, flipped=same) == pytest.approx([1 - 0.7 / 2])  # wholly steady: m = 2
    assert consistency(**one, flipped=np.zeros((1, 7))) == pytest.approx([1 - 1.3 / 2])  # vanished: m = 0
    other = np.array([[0.0, 0, 10, 10, 1, 0, 1]])  # another class: m = 1 + (1 - ln 2)
    assert consistency(**one, flipped=other) == pytest.approx([1 - abs(2 - math.log(2) - 1.3) / 2])


def test_seam() -> None:
    testing.check_score(consistency)
    testing.check_score(consistency, base=0.5)
    testing.check_strategy("box_consistency")


def test_what_does_not_fit() -> None:
    boxes, sure, probs, flipped = drawn(0, 3)
    with pytest.raises(SelectionError, match="expected a base of 0 to 2"):
        consistency(boxes=boxes, confidences=sure, class_probs=probs, flipped=flipped, base=3)
    with pytest.raises(SelectionError, match=r"expected flipped of shape \(N, 8\)"):
        consistency(boxes=boxes, confidences=sure, class_probs=probs, flipped=flipped[:, :6])


@pytest.mark.parametrize("independent", [True, False])
def test_an_image_counts_as_its_least_steady_box(independent: bool) -> None:
    boxes, sure, probs, flipped = drawn(3, 5)
    probs = probs if independent else probs / probs.sum(axis=1, keepdims=True)
    strategy = assemble(preset("box_consistency"))
    assert strategy.needs == {"boxes", "probs", "flipped"}
    record = Prediction(
        "a", boxes=boxes, confidences=sure, probs=probs, labels=probs.argmax(axis=1), flipped=flipped,
        independent=independent,
    )  # fmt: skip
    wanted = max(plainly(*row, 1.3) for row in zip(boxes, sure, probs.tolist(), flipped.tolist(), strict=True))
    assert strategy.score_prediction(record) == pytest.approx(wanted)
    with pytest.raises(SelectionError, match="needs flipped"):
        strategy.score_prediction(Prediction("a", boxes=boxes, confidences=sure, probs=probs))
