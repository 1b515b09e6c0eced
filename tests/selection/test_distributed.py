"""Two rounds over parts: the stated bounds against brute force, one part equals one machine, no engine matters."""

from __future__ import annotations

import itertools
import math
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.engine.local import Local
from labelwise.errors import SelectionError
from labelwise.picking import pick
from labelwise.selection import (
    facility_location,
    k_center,
    two_round_facility_location,
    two_round_k_center,
)
from labelwise.selection.compose import Here
from labelwise.selection.distributed import Part, facility_location_of_parts, k_center_of_parts, radius, served
from labelwise.selection.serving import serve

NOBODY = np.array([], dtype=np.int64)


def made(seed, index, size, width):
    """Vectors that are made where they are needed."""
    return np.random.default_rng([seed, index]).normal(size=(size, width)).astype(np.float32)


def parts_of(seed, sizes, width):
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [
        Part(range(int(starts[i]), int(starts[i + 1])), partial(made, seed, i, size, width))
        for i, size in enumerate(sizes)
    ]


def whole(parts):
    return np.concatenate([part.read() for part in parts])


def reach(points, centres):
    """The largest distance of a point to its nearest centre, one pair at a time."""
    return max(min(math.dist(p, c) for c in centres) for p in points)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 3),
    known=st.integers(0, 2),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    factor=st.sampled_from([1.0, 2.0]),
    clustered=st.booleans(),
)
def test_radius_is_within_four_times_the_best(seed, n, known, sizes, factor, clustered):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(sum(sizes), 2))
    if clustered:
        points = points * 0.1 + rng.integers(0, 3, (len(points), 1)) * 5
    points, fixed = points.astype(np.float32), rng.normal(size=(known, 2)).astype(np.float32)
    ends = np.cumsum(sizes)
    parts = [Part(range(e - s, e), partial(np.asarray, points[e - s : e])) for s, e in zip(sizes, ends, strict=True)]
    picks, vectors = k_center_of_parts(n, parts, 100 + np.arange(known), fixed, factor=factor)
    assert np.array_equal(vectors, points[picks.rows])
    best = min(
        reach(points, [*fixed, *(points[i] for i in chosen)])
        for chosen in itertools.combinations(range(len(points)), min(n, len(points)))
    )
    found = reach(points, [*fixed, *vectors])
    assert found <= 4 * best + 1e-5
    assert radius(parts, np.concatenate([fixed, vectors])) == pytest.approx(found, abs=1e-6)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 3), known=st.integers(0, 2), m=st.integers(1, 4))
def test_what_is_served_is_within_the_bound_of_the_best(seed, n, known, m):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(10 + known, 3)).astype(np.float32)
    labelled, candidates = np.arange(known), np.arange(known, 10 + known)
    picks = two_round_facility_location(n, candidates, labelled, points, Here(), rng, partitions=m)
    directions = points.astype(np.float64) / np.linalg.norm(points, axis=1, keepdims=True)
    similarity = np.maximum(directions @ directions.T, 0)

    def value(chosen):
        return similarity[:, chosen].max(axis=1).sum() if chosen else 0.0

    base = value(labelled.tolist())
    best = max(value([*labelled, *c]) for c in itertools.combinations(candidates.tolist(), n)) - base
    found = value([*labelled, *picks.rows.tolist()]) - base
    assert found >= (1 - 1 / math.e) / min(math.sqrt(n), m) * best - 1e-4
    assert found == pytest.approx(picks.facts["newly_covered"].sum() * len(points), abs=1e-4)


@pytest.mark.parametrize("known", [0, 5])
def test_one_part_is_one_machine(known):
    points = made(1, 0, 120, 6)
    labelled, candidates = np.arange(known), np.arange(known, 120)
    one = k_center(20, candidates, labelled, points)
    two = two_round_k_center(20, candidates, labelled, points, Here(), partitions=1)
    assert two.rows.tolist() == one.rows.tolist()
    for fact in ("distance", "nearest"):
        assert np.array_equal(two.facts[fact], one.facts[fact], equal_nan=True)
    rng = np.random.default_rng
    served_by_one = facility_location(20, candidates, labelled, points, rng(0), neighbours=120)
    found = two_round_facility_location(20, candidates, labelled, points, Here(), rng(0), partitions=1)
    assert found.rows.tolist() == served_by_one.rows.tolist()


def test_facts_are_those_of_the_second_round():
    points = made(2, 0, 200, 4)
    labelled, candidates = np.array([3, 50, 199]), np.setdiff1d(np.arange(200), [3, 50, 199, 7, 8])
    picks = two_round_k_center(15, candidates, labelled, points, Here(), partitions=4)
    for i, row in enumerate(picks.rows):
        before = np.concatenate([labelled, picks.rows[:i]])
        distances = np.linalg.norm(points[before].astype(float) - points[row], axis=1)
        assert picks.facts["distance"][i] == pytest.approx(distances.min(), rel=1e-5)
        assert picks.facts["nearest"][i] == before[distances.argmin()]
    assert np.isin(picks.rows, candidates).all()
    first = two_round_k_center(1, candidates, NOBODY, points, Here())
    assert np.isnan(first.facts["distance"][0])
    assert first.facts["nearest"].tolist() == [-1]


@pytest.mark.parametrize("engine", [Here(), Local(), pytest.param(Local(workers=1), marks=pytest.mark.slow)])
def test_the_engine_decides_nothing(engine, tmp_path):
    points = made(3, 0, 90, 5)
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    labelled, candidates = np.array([0, 40]), np.setdiff1d(np.arange(90), [0, 40])
    for stored in (points, mapped, mapped[:]):
        spread = two_round_k_center(9, candidates, labelled, stored, engine, partitions=3)
        here = two_round_k_center(9, candidates, labelled, points, Here(), partitions=3)
        assert spread.rows.tolist() == here.rows.tolist()
        serving, again = (
            two_round_facility_location(
                9, candidates, labelled, x, e, np.random.default_rng(1), partitions=3, clients=50
            )
            for x, e in ((stored, engine), (points, Here()))
        )
        assert serving.rows.tolist() == again.rows.tolist()
    parts = parts_of(0, [30, 50, 1], 4)
    for function in (k_center_of_parts, facility_location_of_parts):
        one, two = function(7, parts, engine=engine), function(7, parts)
        assert one[0].rows.tolist() == two[0].rows.tolist()
        assert np.array_equal(one[1], whole(parts)[one[0].rows])
    if isinstance(engine, Local):
        engine.close()


def test_of_a_mapped_file_only_its_name_travels(tmp_path):
    np.save(tmp_path / "points.npy", made(4, 0, 5000, 16))
    sizes = []

    class Weighing(Here):
        def map_batches(self, make, items, *, batch_size):
            sizes.extend(len(pickle.dumps(item)) for item in items)
            return super().map_batches(make, items, batch_size=batch_size)

    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    rows = two_round_k_center(5, np.arange(5000), NOBODY, mapped, Weighing(), partitions=2).rows
    assert max(sizes) < 5000 * 16 * 4 / 2
    sizes.clear()
    view = two_round_k_center(5, np.arange(4000), NOBODY, mapped[1000:], Weighing(), partitions=2).rows
    assert (
        view.tolist()
        == two_round_k_center(5, np.arange(4000), NOBODY, mapped[1000:].copy(), Here(), partitions=2).rows.tolist()
    )
    assert len(rows) == 5


def test_more_of_each_part_comes_nearer_to_one_machine():
    radii = []
    for seed in range(6):
        parts = parts_of(seed, [150] * 8, 8)
        points = whole(parts)
        one = reach_of(points, k_center(30, np.arange(1200), NOBODY, points).rows)
        radii.append([radius(parts, k_center_of_parts(30, parts, factor=f)[1]) / one for f in (1, 4)])
    once, more = np.mean(radii, axis=0)
    assert more < once < 1.5
    value = served(parts, facility_location_of_parts(20, parts)[1])
    crowd = np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float64)
    best, _ = serve(20, points, crowd, np.zeros(1200))
    assert value > 0.97 * served(parts, points[best])


def reach_of(points, rows):
    return float(np.sqrt(((points[:, None] - points[rows][None]) ** 2).sum(axis=2)).min(axis=1).max())


def test_ties_go_to_the_lowest_row_and_equal_vectors_give_every_pick():
    same = np.ones((12, 3), np.float32)
    for n in (0, 1, 12, 20):
        spread = two_round_k_center(n, np.arange(12), NOBODY, same, Here(), partitions=5).rows
        assert spread.tolist() == list(range(min(n, 12)))
        serving = two_round_facility_location(n, np.arange(12), NOBODY, same, Here(), np.random.default_rng(0)).rows
        assert sorted(serving.tolist()) == sorted(set(serving.tolist()))
        assert len(serving) == min(n, 12)
    assert two_round_facility_location(2, np.array([4]), NOBODY, same * 0, Here(), np.random.default_rng(0)).rows == [4]
    assert k_center_of_parts(3, [])[0].rows.tolist() == []
    assert facility_location_of_parts(3, [Part(NOBODY, partial(np.zeros, (0, 3)))])[0].rows.tolist() == []
    assert radius([], same) == 0


@pytest.mark.parametrize("select", ["two_round_k_center", "two_round_facility_location"])
def test_a_vector_that_is_not_finite_names_its_row(select):
    points = made(6, 0, 40, 3)
    points[29, 1] = np.nan
    with pytest.raises(SelectionError, match=r"row 29 .*not finite"):
        pick_with(select, points)


def pick_with(select, points):
    from labelwise.strategies import Recipe

    return pick(5, embeddings=points, strategy=Recipe(select={"name": select, "partitions": 4}))


def test_what_cannot_be_is_refused():
    with pytest.raises(SelectionError, match="factor of 1 or more"):
        two_round_k_center(1, np.arange(3), NOBODY, np.eye(3, dtype=np.float32), Here(), factor=0.5)
    with pytest.raises(SelectionError, match="expected 3 vectors in a part of the pool, found 2"):
        k_center_of_parts(1, [Part(range(3), partial(np.zeros, (2, 4)))])
    with pytest.raises(SelectionError, match="0 or more"):
        k_center_of_parts(-1, [Part(range(3), partial(np.zeros, (3, 4)))])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), few=st.booleans())
def test_serving_equals_looking_at_every_row_in_every_turn(seed, few):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 4))
    if few:
        points = np.eye(4)[rng.integers(0, 4, 60)]
    crowd = points[rng.permutation(60)[:20]]
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    covered = np.round(rng.random(20) * 0.2, 3)
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    similarity = np.round(np.maximum(directions @ crowd.T, 0) * 2**20) / 2**20
    now, expected = covered.copy(), []
    for _ in range(12):
        gains = [-1.0 if i in expected else np.maximum(similarity[i] - now, 0).sum() for i in range(60)]
        expected.append(int(np.argmax(gains)))
        now = np.maximum(now, similarity[expected[-1]])
    assert serve(12, points, crowd, covered)[0].tolist() == expected
