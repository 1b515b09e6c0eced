"""The share of picks without detection: exact counts, every beginning, other rules around it, bad input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.reasons import explain, sentence
from labelwise.selection import Inputs, bind, empty_quota, k_center, top, wrap
from labelwise.strategies import Recipe, assemble

rng = np.random.default_rng


def inputs(n, empty, **changes):
    size = len(empty)
    fields = {
        "n": n,
        "candidates": np.arange(size),
        "rng": rng(3),
        "scores": np.linspace(1, 0, size),
        "empty": np.array(empty, bool),
        "groups": np.arange(size) // 2,
        "embeddings": rng(0).normal(size=(size, 3)).astype(np.float32),
    }
    return Inputs(**{**fields, **changes})


def quota(share=0.1, inner=top, **options):
    return wrap(empty_quota, bind(inner), {"share": share, **options})


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 30), st.lists(st.booleans(), max_size=30), st.floats(0, 1))
def test_exactly_the_share_never_more_than_there_are(n, empty, share):
    given_ = inputs(n, empty)
    rows = quota(share)(given_).rows
    blank, others = sum(empty), len(empty) - sum(empty)
    wanted = min(n, len(empty))
    expected = min(blank, max(math.floor(share * wanted + 0.5 + 1e-9), wanted - others))
    assert len(set(rows.tolist())) == len(rows) == wanted
    assert given_.empty[rows].sum() == expected
    kept = [row for row in rows.tolist() if not empty[row]]
    assert kept == sorted(kept)  # the others by score, here in order of rows


def test_every_beginning_has_its_share():
    rows = quota(0.25)(inputs(20, np.arange(60) % 2 == 0)).rows
    counts = np.cumsum(rows % 2 == 0)
    assert counts.tolist() == [math.floor(0.25 * t + 0.5) for t in range(1, 21)]


def test_drawn_at_random_or_by_the_missed_object_score():
    empty = np.arange(40) >= 20
    drawn = {tuple(quota(1.0)(inputs(3, empty, rng=rng(seed))).rows.tolist()) for seed in range(5)}
    assert len(drawn) > 1
    assert quota(1.0)(inputs(3, empty)).rows.tolist() == quota(1.0)(inputs(3, empty)).rows.tolist()
    scores = np.zeros(40)
    scores[[25, 31]] = 0.5, 0.9
    found = {tuple(quota(1.0, by="missed")(inputs(3, empty, scores=scores, rng=rng(s))).rows) for s in range(5)}
    assert {rows[:2] for rows in found} == {(31, 25)}
    assert len(found) > 1  # the rest, all equal, at random
    with pytest.raises(SelectionError, match="finite scores"):
        quota(1.0, by="missed")(inputs(3, empty, scores=np.full(40, np.nan)))


def test_facts_of_both_kinds_become_sentences():
    given_ = inputs(10, np.arange(40) % 4 == 0)
    picks = quota(0.3, inner=k_center)(given_)
    reasons = explain(picks, given_)
    told = [reason.get("drawn") for reason in reasons]
    assert told.count("from the images without detection") == 3
    for reason in reasons:
        assert "nan" not in sentence(reason)
    assert ["distance" in reason for reason in reasons[:3]] == [False, False, True]


def test_a_hard_rule_around_it_counts_earlier_picks_in():
    ready = assemble(Recipe(score="margin", reduce="max", empty="quota", empty_share=0.5, per_group=1))
    empty = np.arange(40) % 4 < 2
    rows = ready.select(inputs(10, empty)).rows
    assert len(rows) == len(set(rows // 2)) == 10
    assert empty[rows].sum() == 5


def test_empty_masks_of_rows_outside_do_not_matter():
    given_ = inputs(4, np.ones(20, bool), candidates=np.arange(5, 12))
    assert set(quota(0.5)(given_).rows) <= set(range(5, 12))
    assert len(quota(0.5)(given_).rows) == 4


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share):
    with pytest.raises(SelectionError, match="share of 0 to 1"):
        quota(share)(inputs(2, [True, False]))


def test_without_the_mask_it_says_what_it_needs():
    with pytest.raises(SelectionError, match=r"empty_quota needs empty, \(N,\) True where"):
        quota()(dataclasses.replace(inputs(2, [True, False]), empty=None))
    with pytest.raises(SelectionError, match="0 or more"):
        quota()(inputs(-1, [True]))
