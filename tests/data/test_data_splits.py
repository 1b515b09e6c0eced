"""Tests of data/splits.py: equal to scikit-learn, whole groups, and no class without training members."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from labelwise.data import class_folders
from labelwise.data.splits import choose_test
from labelwise.errors import DataError
from labelwise.records import Sample, Target


def make(labels: list[str | None], groups: list[str | None] | None = None) -> list[Sample]:
    groups = groups or [None] * len(labels)
    return [
        Sample(f"{i:05d}", Path("x"), group=group, target=Target((label,)) if label else None)
        for i, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


def test_equal_to_scikit_learn_whatever_the_order() -> None:
    labels = [f"c{i * i % 7}" for i in range(200)]
    _, expected = train_test_split(range(200), test_size=0.3, stratify=labels, random_state=5)
    samples = make(labels)
    assert choose_test(samples[::-1], 0.3, seed=5) == {f"{i:05d}" for i in expected}


@pytest.mark.parametrize(("name", "share"), [("plankton", 0.3), ("cifar10_test", 0.2)])
def test_equal_to_the_reference_split(shared_data: Path, name: str, share: float) -> None:
    samples = class_folders.read(shared_data / name / "images").samples
    by_class = sorted(samples, key=lambda sample: (sample.path.parent.name, sample.path.name))
    labels = [sample.path.parent.name for sample in by_class]
    _, expected = train_test_split(range(len(labels)), test_size=share, stratify=labels, random_state=0)
    assert choose_test(samples, share, seed=0) == {by_class[i].id for i in expected}


def test_no_share_no_test() -> None:
    assert choose_test(make(["a", "b"]), 0, seed=0) == set()
    assert choose_test([], 0, seed=0) == set()


@pytest.mark.parametrize("share", [-0.1, 1, 20, float("nan")])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(DataError, match="test share: expected 0"):
        choose_test(make(["a", "a"]), share, seed=0)


def test_singletons_stay_in_training() -> None:
    samples = make(["rare"] + ["a"] * 10 + ["b"] * 10)
    test = choose_test(samples, 0.5, seed=0)
    assert "00000" not in test
    assert len(test) == 10


def test_nothing_to_set_aside() -> None:
    for labels in ([], ["a"], ["a", "b"]):
        with pytest.raises(DataError, match="two images or more"):
            choose_test(make(list(labels)), 0.5, seed=0)


def test_unlabelled_pool_is_drawn_plainly() -> None:
    assert len(choose_test(make([None] * 50), 0.2, seed=0)) == 10


def test_only_labelled_ones_are_drawn_where_there_are_some() -> None:
    samples = make(["a"] * 10 + [None] * 90)
    test = choose_test(samples, 0.2, seed=0)
    assert len(test) == 2
    assert max(test) < "00010"


def test_one_class() -> None:
    assert len(choose_test(make(["a"] * 10), 0.2, seed=0)) == 2


def test_single_group_is_refused() -> None:
    with pytest.raises(DataError, match="found only 'cam'"):
        choose_test(make(["a", "b"], ["cam", "cam"]), 0.5, seed=0)


def test_groups_that_hold_all_of_a_class_are_refused() -> None:
    with pytest.raises(DataError, match="share their classes"):
        choose_test(make(["a", "a", "b", "b"], ["g", "g", "h", "h"]), 0.5, seed=0)


def test_group_share_and_class_shares_are_near() -> None:
    labels = [("a", "b", "b", "c")[i // 5 % 4] for i in range(2000)]
    samples = make(labels, [f"g{i // 5}" for i in range(2000)])
    test = choose_test(samples, 0.25, seed=3)
    assert abs(len(test) - 500) <= 5
    inside = Counter(label for sample, label in zip(samples, labels, strict=True) if sample.id in test)
    assert abs(inside["b"] / len(test) - 0.5) < 0.05


def test_samples_without_group_stand_alone() -> None:
    samples = make(["a"] * 20, ["g"] * 10 + [None] * 10)
    assert len(choose_test(samples, 0.2, seed=0)) == 4


labels_of = st.lists(st.sampled_from("abcde"), min_size=2, max_size=60)


@settings(max_examples=100, deadline=None)
@given(labels_of, st.floats(0.05, 0.95), st.integers(0, 1000))
def test_property_without_groups(labels: list[str], share: float, seed: int) -> None:
    samples = make(list(labels))
    counts = Counter(labels)
    if max(counts.values()) < 2:
        return
    test = choose_test(samples, share, seed=seed)
    assert test == choose_test(list(reversed(samples)), share, seed=seed)
    left = Counter(label for sample, label in zip(samples, labels, strict=True) if sample.id not in test)
    assert set(left) == set(counts)
    drawn_from = sum(count for count in counts.values() if count > 1)
    assert share * drawn_from - len(counts) <= len(test) <= share * drawn_from + 1


@settings(max_examples=100, deadline=None)
@given(st.data(), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_property_with_groups(data: st.DataObject, share: float, seed: int) -> None:
    labels = data.draw(labels_of)
    groups = data.draw(st.lists(st.sampled_from("pqrstuvw"), min_size=len(labels), max_size=len(labels)))
    samples = make(list(labels), list(groups))
    try:
        test = choose_test(samples, share, seed=seed)
    except DataError:
        return
    assert test == choose_test(samples, share, seed=seed)
    inside = {sample.group for sample in samples if sample.id in test}
    outside = {sample.group for sample in samples if sample.id not in test}
    assert inside
    assert not inside & outside
    assert {label for s, label in zip(samples, labels, strict=True) if s.id not in test} == set(labels)
