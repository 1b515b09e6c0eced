"""Large arrays take the compiled loops and give what the plain formulas give: layouts, classes, edges, NaN, threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.scoring import bald, entropy, least_confidence, maps, margin, variation_ratio, vote_entropy

OF_PROBS = [least_confidence, margin, entropy]
OF_SAMPLES = [bald, variation_ratio, vote_entropy]
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _every_array_counts_as_large(monkeypatch):
    monkeypatch.setattr(maps, "LARGE", 0)


def made(shape, seed=0, sharp=3.0):
    logits = np.random.default_rng(seed).normal(size=shape) * sharp
    return (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)


def exact(score, array):
    """The torch functions in float64, which never take the loops."""
    return score(array.astype(np.float64))


@pytest.mark.parametrize("score", OF_PROBS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 2), (1, 1, 19), (3, 5, 1), (7, 131, 2), (40, 33, 19), (9, 30, 150), (0, 4, 3)]
)
def test_maps_equal_the_plain_formulas_in_either_memory_order(score, shape):
    probs = made(shape)
    apart = np.moveaxis(np.ascontiguousarray(np.moveaxis(probs, -1, 0)), 0, -1)
    one, other = score(torch.from_numpy(probs)), score(torch.from_numpy(apart))
    assert one.shape == shape[:2]
    assert one.dtype == torch.float32
    assert torch.equal(one, other)
    np.testing.assert_allclose(one.numpy(), exact(score, probs), atol=TOLERANCE)
    np.testing.assert_array_equal(score(probs), one.numpy())


@pytest.mark.parametrize("score", OF_SAMPLES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (4, 3, 50, 1), (20, 30, 9, 7), (3, 5, 11, 150), (5, 2, 3, 3000)])
def test_samples_equal_the_plain_formulas(score, shape):
    samples = made(shape, seed=1)
    np.testing.assert_allclose(score(samples), exact(score, samples), atol=TOLERANCE)
    passes_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(samples, 0, -1)), -1, 0)
    np.testing.assert_array_equal(score(torch.from_numpy(passes_last)).numpy(), score(samples))


def test_bald_of_many_classes_and_passes_that_agree():
    samples = np.repeat(made((1, 200, 1000)), 30, axis=0)
    assert np.abs(bald(samples)).max() < TOLERANCE
    assert (bald(samples) >= 0).all()


def test_certain_and_impossible_classes():
    probs = np.zeros((2, 130, 4), np.float32)
    probs[..., 1] = 1
    for score in OF_PROBS:
        assert (score(probs) == 0).all()
    probs[1, 3] = 0.25
    assert entropy(probs)[1, 3] == pytest.approx(1)
    probs[1, 3, 0] = -0.1  # as torch has it
    assert entropy(probs)[1, 3] == -np.inf


@pytest.mark.parametrize("score", OF_PROBS + OF_SAMPLES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 127, 128, 149])
def test_what_is_not_finite_shows_where_it_is(score, bad, place):
    array = made((3, 150, 5))
    array[1, place, 2] = bad
    result = score(array)
    at = (1, place) if score in OF_PROBS else (place,)
    assert not np.isfinite(result[at])
    assert np.isfinite(np.delete(result.reshape(-1), np.ravel_multi_index(at, result.shape))).all()


@pytest.mark.parametrize("score", OF_PROBS + OF_SAMPLES)
def test_equal_elements_have_equal_scores_wherever_they_stand(score):
    array = np.ascontiguousarray(np.broadcast_to(made((3, 1, 7), seed=4)[:, :1], (3, 517, 7)))
    result = score(array)
    assert len(np.unique(result.reshape(-1, 517)[0])) == 1


def test_half_precision_double_precision_and_gradients(monkeypatch):
    probs = made((20, 30, 5))
    np.testing.assert_allclose(entropy(probs.astype(np.float16)), exact(entropy, probs.astype(np.float16)), atol=1e-5)
    assert entropy(probs.astype(np.float64)).dtype == np.float64
    tensor = torch.from_numpy(probs).requires_grad_()
    entropy(tensor).sum().backward()
    assert tensor.grad is not None


def test_strips_in_threads_are_all_done(monkeypatch):
    monkeypatch.setattr(maps, "_STRIP", 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    probs = made((50, 60, 4))
    np.testing.assert_allclose(margin(probs), exact(margin, probs), atol=TOLERANCE)
    with pytest.raises(ZeroDivisionError):
        maps.in_strips(500, 10, lambda a, b: 1 // (a - 200))


def test_small_arrays_load_no_compiler(monkeypatch):
    monkeypatch.setattr(maps, "LARGE", 1 << 18)
    assert not maps.large(torch.zeros(100, 100))
    assert maps.large(torch.zeros(1 << 18))
    assert not maps.large(torch.zeros(1 << 18, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 5, 1), (7, 131, 2), (40, 33, 19), (9, 30, 150), (0, 4, 3)])
@pytest.mark.parametrize("cut", [False, True])
def test_softmax_equals_torchs_in_any_memory_order(shape, cut):
    logits = torch.from_numpy(np.random.default_rng(4).normal(size=shape).astype(np.float32) * 8)
    apart = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    if cut:
        logits, apart = logits[:, :3], apart[:, :3]
    one, other = maps.softmax(logits), maps.softmax(apart)
    assert torch.equal(one, other)
    assert one.shape == logits.shape
    np.testing.assert_allclose(one.numpy(), logits.double().softmax(-1).numpy(), atol=1e-6)


def test_softmax_of_numbers_that_are_none_is_nan_and_the_others_stay():
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 0], logits[0, 1, 2], logits[0, 2, 3], logits[1] = np.nan, np.inf, -np.inf, -np.inf
    found = maps.softmax(logits)
    assert found[0, :2].isnan().all()
    assert found[1].isnan().all()
    np.testing.assert_allclose(found[0, 2].numpy(), [1 / 3, 1 / 3, 1 / 3, 0], atol=1e-6)
    single = torch.full((1, 2, 3), 1e30)
    np.testing.assert_allclose(maps.softmax(single).numpy(), 1 / 3, atol=1e-6)


def test_numpy_maps_with_their_classes_apart_are_not_copied(monkeypatch):
    monkeypatch.setattr(maps, "LARGE", 1)
    probs = np.moveaxis(np.ascontiguousarray(np.moveaxis(made((20, 30, 5)), -1, 0)), 0, -1)
    seen = []
    plain = maps.elements
    monkeypatch.setattr(maps, "elements", lambda array: seen.append(array) or plain(array))
    margin(probs)
    assert np.shares_memory(seen[0], probs)
    records = np.zeros((20, 30, 5), np.dtype([("p", np.float32), ("odd", np.uint8)]))
    records["p"] = probs
    np.testing.assert_array_equal(margin(records["p"]), margin(probs))
    turned = probs[::-1, :, ::-1]
    np.testing.assert_array_equal(margin(turned), margin(probs)[::-1])
