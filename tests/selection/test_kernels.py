"""The lazy selections equal plain float64 ones: every pick, on every kind of vectors, and large runs by certificate."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.selection import half_products, halves, k_center, nearest
from labelwise.selection.nearest import Bounds
from labelwise.selection.spread import most_central
from labelwise.selection.threads import in_threads

rng = np.random.default_rng


def plain(n, candidates, labelled, embeddings):
    """Farthest first with one float64 distance to every row per pick."""
    points = np.asarray(embeddings, np.float64)
    nearest, left, picks = np.full(len(points), np.inf), np.zeros(len(points), bool), []
    left[candidates] = True
    for centre in labelled:
        nearest = np.minimum(nearest, ((points - points[centre]) ** 2).sum(1))
    for _ in range(min(n, len(candidates))):
        if not picks and not len(labelled):
            away = ((points[candidates] - points[candidates].mean(0)) ** 2).sum(1)
            pick = int(candidates[np.argmin(away)])
        else:
            pick = int(np.argmax(np.where(left, nearest, -1)))
        picks.append(pick)
        left[pick] = False
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(1))
    return picks


def clusters(size, width, seed=0, count=300):
    """Unit vectors in clusters of uneven size."""
    r = rng(seed)
    chances = 1 / np.arange(1, count + 1) ** 0.7
    centres = r.normal(size=(count, width)) / np.sqrt(np.arange(1, width + 1))
    x = centres[r.choice(count, size, p=chances / chances.sum())] + 0.02 * r.normal(size=(size, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def certify(picks, labelled, candidates, embeddings):
    """No candidate is ever farther from the centres than the pick of that step: proof of a whole run, in float64.

    Steps are looked at in blocks: each needs one matrix product. ``picks`` has its distances as a fact.
    """
    points, centres = np.asarray(embeddings, np.float64), np.concatenate([labelled, picks.rows])
    norms = (points**2).sum(1)
    nearest = np.full(len(candidates), np.inf)
    radius = np.concatenate([np.full(len(labelled), np.nan), picks.facts["distance"] ** 2])
    for step, centre in enumerate(centres):
        if not np.isnan(radius[step]):
            assert nearest.max() <= radius[step] * (1 + 1e-9) + 1e-12, step
        product = norms[candidates] + norms[centre] - 2 * points[candidates] @ points[centre]
        np.minimum(nearest, product, out=nearest)
        nearest[candidates == centre] = -1


KINDS = {
    "gaussian": lambda r, size, width: r.normal(size=(size, width)),
    "duplicates": lambda r, size, width: r.normal(size=(max(1, size // 4), width))[
        r.integers(0, max(1, size // 4), size)
    ],
    "grid": lambda r, size, width: r.integers(0, 3, (size, width)),
    "zeros": lambda r, size, width: r.normal(size=(size, width)) * (r.random(size) < 0.5)[:, None],
    "offset": lambda r, size, width: 1000 + r.normal(size=(size, width)),
    "tiny": lambda r, size, width: 1e-18 * r.normal(size=(size, width)),
    "huge": lambda r, size, width: 1e18 * r.normal(size=(size, width)) / np.sqrt(width),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 120), st.integers(0, 60), st.integers(1, 40))
def test_equals_plain_greedy(kind, seed, size, known, width):
    r = rng(seed)
    x = KINDS[kind](r, size + known + 3, width).astype(np.float32)
    rows = r.permutation(size + known + 3)
    labelled, candidates = rows[:known], np.sort(rows[known : known + size])
    assert k_center(size, candidates, labelled, x).rows.tolist() == plain(size, candidates, labelled, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_clusters_of_20000(dtype):
    x = clusters(20_000, 128).astype(dtype)
    candidates, labelled = np.arange(50, 20_000), np.arange(50)
    picks = k_center(60, candidates, labelled, x)
    assert picks.rows.tolist() == plain(60, candidates, labelled, x)


@pytest.mark.parametrize("kind", ["gaussian", "clusters", "one_hot", "duplicates"])
def test_larger_runs_have_a_certificate(kind):
    r = rng(3)
    x = {
        "gaussian": lambda: r.normal(size=(6000, 24)),
        "clusters": lambda: clusters(6000, 24),
        "one_hot": lambda: np.eye(24)[r.integers(0, 24, 6000)],
        "duplicates": lambda: r.normal(size=(400, 24))[r.integers(0, 400, 6000)],
    }[kind]().astype(np.float32)
    candidates, labelled = np.arange(10, 6000), np.arange(10)
    picks = k_center(700, candidates, labelled, x)
    assert len(np.unique(picks.rows)) == 700
    certify(picks, labelled, candidates, x)


def test_more_equal_distances_than_a_block_holds():
    x = np.zeros((5000, 4), np.float32)
    x[:, 0] = 1
    x[0] = 0
    picks = k_center(8, np.arange(1, 5000), np.array([0]), x)
    assert picks.rows.tolist() == list(range(1, 9))
    assert picks.facts["distance"].tolist() == [1, *[0] * 7]


def test_memory_mapped_vectors_are_not_copied(tmp_path):
    x = clusters(60_000, 64)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    k_center(3, np.arange(100), np.array([], int), mapped)  # compiled beforehand
    tracemalloc.start()
    picks = k_center(50, np.arange(60_000), np.array([], int), mapped)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert picks.rows.tolist() == k_center(50, np.arange(60_000), np.array([], int), x).rows.tolist()
    assert most < 2 * x.nbytes  # blocks of a fixed size; in proportion to the vectors only for larger sets


def test_threads_do_every_part_once_and_pass_errors_on():
    done = []
    in_threads(done.append, [slice(i, i + 1) for i in range(50)])
    assert sorted(part.start for part in done) == list(range(50))
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda part: 1 / (part.start - 20), [slice(i, i + 1) for i in range(50)])


def test_bounds_stay_above_the_truth():
    x = rng(0).normal(size=(500, 16)).astype(np.float32)
    bounds = Bounds(x, np.arange(500), np.arange(0, 500, 7), 0)
    bounds.begin()
    block = bounds.above(12.0)
    true = ((x[:, None].astype(float) - x[::7].astype(float)) ** 2).sum(-1).min(1)
    assert (bounds.bound >= true * (1 - bounds.margin)).all()
    assert set(np.flatnonzero(true >= bounds.ceiling(12.0))) <= set(block)
    np.testing.assert_allclose(bounds.exact(block), true[block], rtol=1e-12)


@pytest.mark.parametrize("kind", [*KINDS, "clusters", "gaussian16"])
def test_products_of_halves_change_no_pick(kind, monkeypatch):
    monkeypatch.setattr(halves, "device", lambda work: "cpu")
    monkeypatch.setattr(nearest, "_MANY", 150)
    used = []
    refresh = halves.Halves.refresh
    monkeypatch.setattr(halves.Halves, "refresh", lambda self, *given: (used.append(1), refresh(self, *given)))
    x = KINDS[kind](rng(5), 4000, 40) if kind in KINDS else clusters(4000, 40) if kind == "clusters" else None
    x = rng(6).normal(size=(4000, 40)).astype(np.float16) if x is None else x.astype(np.float32)
    candidates, labelled = np.arange(4000), np.arange(0, 4000, 13)
    for known in (labelled, labelled[:1]):
        free = np.setdiff1d(candidates, known)
        picks = k_center(900, free, known, x)
        assert picks.rows.tolist() == plain(900, free, known, x)
    assert used or kind not in ("gaussian", "clusters", "gaussian16")  # elsewhere halves are too coarse to be used


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 70), st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([0.0, 3.0]))
def test_halves_never_rule_out_what_could_be_nearest(seed, width, scale, offset):
    x = (scale * (rng(seed).normal(size=(300, width)) + offset)).astype(np.float32)
    products = halves.Halves(x[:20], 300, "cpu")
    products.add(x)
    product = products.products(slice(0, 300), slice(0, 40))
    true = ((x[:, None].astype(float) - x[:40].astype(float)) ** 2).sum(-1)
    own, low = products.squared - products.error(products.squared, products.lost), np.empty(40, np.float32)
    for i in range(300):
        limit = np.float32(np.median(true[i]))
        count = halves.possible(product[i], own[i], products.squared[:40], limit, low)
        assert (low <= true[i]).all()
        assert count == (low <= limit).sum() >= 20


@pytest.mark.parametrize("points", [4, 5, 6, 7, 64, 67, 130])
@pytest.mark.parametrize("others", [1, 3, 4, 9])
def test_products_of_bfloat16(points, others):
    x = rng(points).normal(size=(points + 10, 64)).astype(np.float32)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    true = (bits.astype(np.uint32) << 16).view(np.float32).astype(float)
    out = np.full((points - 1, others), np.nan, np.float32)
    half_products.products(bits, 2, bits, 1, out)
    np.testing.assert_allclose(out, true[2 : points + 1] @ true[1 : others + 1].T, atol=1e-4)


def test_products_without_the_instruction():
    bits = (rng(1).normal(size=(9, 96)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    true, found = (bits.astype(np.uint32) << 16).view(np.float32).astype(float), np.empty((4, 4), np.float32)
    half_products.tile_anywhere(bits, 8, 0, 3, 3, bits, 5, found)
    np.testing.assert_allclose(found, true[[8, 0, 3, 3]] @ true[5:].T, atol=1e-4)


def test_the_most_central_point_is_the_same_however_vectors_are_stored():
    x = rng(4).normal(size=(5000, 12)).astype(np.float16)
    true = ((x.astype(float) - x[100:].astype(float).mean(0)) ** 2).sum(1)[100:].argmin()
    for stored in (x, x.astype(np.float32), np.asfortranarray(x.astype(np.float32))):
        assert most_central(stored, np.arange(100, 5000)) == true
