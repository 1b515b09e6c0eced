"""Records of boxes against a plain selection box by box, and the optional packages when they are not there."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise import catalog
from labelwise.errors import ConfigError
from labelwise.models.found import corners, record
from labelwise.models.hub import same_shapes


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union in single precision, as networks have it: 96 / 320 is then more than 0.3."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(np.float32(shared / union)) if union > 0 else 0.0


def plainly(boxes, probs, size, threshold, most, limit):
    """Rows that stay, surest first, and the boxes cut at the edges."""
    cut = [[max(0, min(v, size[i % 2])) for i, v in enumerate(box)] for box in boxes.tolist()]
    sure = [max(p) for p in probs.tolist()]
    rows = [i for i in range(len(cut)) if sure[i] >= threshold and cut[i][2] > cut[i][0] and cut[i][3] > cut[i][1]]
    rows.sort(key=lambda i: (-sure[i], i))
    kept: list[int] = []
    for i in rows:
        label = int(np.argmax(probs[i]))
        same = [j for j in kept if int(np.argmax(probs[j])) == label]
        if limit == 1 or all(overlap(cut[i], cut[j]) <= limit for j in same):
            kept.append(i)
    return kept[:most], cut


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 12), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(1, 12))
def test_as_chosen_box_by_box(seed: int, count: int, limit: float, most: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.integers(-6, 30, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    probs = rng.choice([0.02, 0.05, 0.3, 0.6, 0.9], (count, 3)).astype(np.float32)
    vectors = rng.normal(size=(count, 2)).astype(np.float32)
    got = record(
        "a", (20, 16), torch.from_numpy(boxes), torch.from_numpy(probs), want=frozenset({"probs", "objects"}),
        objects=torch.from_numpy(vectors), overlap=limit, most=most, threshold=0.05, independent=True,
    )  # fmt: skip
    rows, cut = plainly(boxes, probs, (20, 16), np.float32(0.05), most, limit)
    np.testing.assert_array_equal(got.boxes, np.array(cut, np.float32).reshape(-1, 4)[rows])
    np.testing.assert_array_equal(got.probs, probs[rows])
    np.testing.assert_array_equal(got.embedding, vectors[rows])
    np.testing.assert_array_equal(got.labels, probs[rows].argmax(axis=1) if rows else [])
    np.testing.assert_array_equal(got.confidences, probs[rows].max(axis=1) if rows else [])


def test_only_what_is_wanted() -> None:
    box, probs = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[0.4, 0.6]])
    image, objects = torch.ones(3), torch.zeros(1, 2)
    plain = record("a", (9, 9), box, probs, want=frozenset({"boxes"}), image=image, objects=objects)
    assert plain.probs is None
    assert plain.embedding is None
    both = record("a", (9, 9), box, probs, want=frozenset({"objects", "embeddings"}), image=image, objects=objects)
    assert np.shape(both.embedding) == (1, 2)
    whole = record("a", (9, 9), box, probs, want=frozenset({"embeddings"}), image=image, objects=objects)
    assert np.shape(whole.embedding) == (3,)
    made = record("a", (9, 9), box, probs, want=frozenset({"objects"}), vectors=lambda keep: keep[:, None].float() + 5)
    assert made.embedding is not None
    assert made.embedding.tolist() == [[5]]
    sure = record("a", (9, 9), box, probs, want=frozenset(), confidences=torch.tensor([0.2]))
    assert sure.confidences is not None
    assert sure.confidences.tolist() == pytest.approx([0.2])


def test_corners() -> None:
    got = corners(torch.tensor([[0.5, 0.5, 0.5, 1.0], [0.25, 0.5, -1, 0.5]]), 40, 20)
    np.testing.assert_allclose(got, [[10, 0, 30, 20], [10, 5, 10, 15]])


def test_batches_of_one_shape() -> None:
    items = [(np.zeros((3, *shape), np.float32), None) for shape in ((2, 4), (4, 2), (2, 4), (2, 4), (4, 2))]
    assert list(same_shapes(items, 2)) == [[0, 2], [3], [1, 4]]
    assert list(same_shapes([], 2)) == []


@pytest.mark.parametrize(
    ("name", "package"),
    [("zero_shot", "transformers"), ("transformers", "transformers"), ("ultralytics", "ultralytics")],
)
def test_package_that_is_not_installed(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *rest: None if n == package else there(n, *rest))
    with pytest.raises(ConfigError, match=rf"found it not installed: pip install 'labelwise\[{package}\]'"):
        catalog.make("model", name)
