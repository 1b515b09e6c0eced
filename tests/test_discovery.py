"""Discovery of classes against plain counting and published figures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.discovery import Discovery, discovered
from labelwise.errors import DataError

# Ten counts used by other programs' tests; intervals by EstimateS, for many units.
COUNTS = (1, 1, 4, 2, 5, 2, 4, 1, 2)


def test_chao_and_its_interval_are_the_published_ones() -> None:
    found = Discovery(COUNTS, 10**9).richness()
    assert found.estimate == pytest.approx(10.5, abs=1e-6)
    assert (round(found.low, 2), round(found.high, 2)) == (9.17, 21.88)


@pytest.mark.parametrize(("counts", "units"), [((1, 2, 2), 4), ((1, 1, 3), 5), ((5,), 5), ((1,), 1), ((4, 4, 1), 6)])
def test_rarefaction_is_the_mean_over_all_subsets(counts: tuple[int, ...], units: int) -> None:
    rng = np.random.default_rng(0)
    where = [set(rng.choice(units, count, replace=False)) for count in counts]
    found = Discovery(counts, units)
    for size in range(units + 1):
        seen = [sum(bool(w & set(subset)) for w in where) for subset in itertools.combinations(range(units), size)]
        assert found.rarefied(size) == pytest.approx(np.mean(seen), abs=1e-9)


def test_nothing_found_and_nothing_more() -> None:
    empty = Discovery((), 0)
    assert (empty.found, empty.unseen, empty.new(10), empty.rarefied(0)) == (0, 0, 0, 0)
    assert math.isnan(empty.coverage)
    assert empty.richness().high == 0
    assert Discovery((), 7).rarefied(7) == 0  # images without any class
    sure = Discovery((50, 60), 110)
    assert sure.coverage == 1
    assert sure.richness().high == pytest.approx(2)
    assert sure.new(1000) == 0


def test_a_class_seen_once_leaves_doubt() -> None:
    assert Discovery((1,), 1).richness().high > 1
    rare = Discovery((1, 1, 1, 9), 12)
    assert rare.unseen > 2
    assert rare.richness().high > 2 * rare.found
    assert 0 < rare.coverage < 1


def test_wrong_counts_are_told() -> None:
    for counts in ((0,), (3,), (-1, 1)):
        with pytest.raises(DataError, match="found"):
            Discovery(counts, 2)
    with pytest.raises(DataError, match="expected 0 to 2"):
        Discovery((1,), 2).rarefied(3)
    with pytest.raises(DataError, match="further images"):
        Discovery((1,), 2).new(-1)


def test_images_are_counted_by_their_classes() -> None:
    found = discovered([["cat", "cat", "dog"], ["dog"], [], ["<b>ü</b>"]])
    assert (found.counts, found.units) == ((1, 1, 2), 4)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(200):
        chances = rng.dirichlet(np.full(30, 3.0))
        drawn = rng.multinomial(60, chances)
        told = Discovery(tuple(int(c) for c in drawn[drawn > 0]), 60).richness()
        hits.append(told.low <= 30 <= told.high)
    assert 0.85 <= np.mean(hits) <= 1


def test_new_classes_come_as_foretold() -> None:
    rng = np.random.default_rng(4)
    foretold, came = [], []
    for _ in range(300):
        chances = rng.dirichlet(np.full(40, 1.0))
        first, second = rng.multinomial(80, chances), rng.multinomial(20, chances)
        foretold.append(Discovery(tuple(int(c) for c in first[first > 0]), 80).new(20))
        came.append(((first == 0) & (second > 0)).sum())
    assert np.mean(foretold) == pytest.approx(np.mean(came), rel=0.15)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n), max_size=30))))
def test_whatever_the_counts(drawn: tuple[int, list[int]]) -> None:
    units, counts = drawn
    found = Discovery(tuple(counts), units)
    places, classes = found.curve()
    assert places[-1] == units
    assert (np.diff(classes) >= -1e-9).all()
    assert (np.diff(np.diff(classes) / np.diff(places)) <= 1e-6).all() if len(places) > 2 else True
    assert classes[-1] == pytest.approx(found.found)
    told = found.richness()
    assert found.found <= told.low + 1e-9
    assert told.low <= told.high
    assert found.found - 1e-9 <= told.estimate
    assert 0 <= found.new(5) <= found.unseen + 1e-9
    assert found.new(0) == 0
    if counts:
        assert -1e-9 <= found.coverage <= 1
    assert found.rarefied(units) == pytest.approx(found.found)
