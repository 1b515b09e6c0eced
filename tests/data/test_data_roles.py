"""Tests of data/roles.py: what named splits are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.data.roles import named_split, roles_of, without_union
from labelwise.errors import DataError


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("instances_train2017", "train"),
        ("Validation", "val"),
        ("testing", "test"),
        ("trainval", "train"),
        ("test-1", "test"),
        ("aeroplane_train", "aeroplane_train"),
        ("default", "default"),
        ("2017", ""),
    ],
)
def test_names_of_splits(name: str, plain: str) -> None:
    assert named_split(name) == plain


def test_what_they_are_for() -> None:
    here = Path()
    assert roles_of(["train", "val", "test"], None, here) == {"train": "pool", "val": "unused", "test": "test"}
    assert roles_of(["Train", "valid"], None, here) == {"Train": "pool", "valid": "test"}
    assert roles_of(["val", "extra"], None, here) == {"val": "test"}
    for nothing_said in ([], ["train"], ["default", "train"]):
        assert roles_of(nothing_said, None, here) == {}
    assert roles_of(["train", "val"], {"val": "unused"}, here) == {"val": "unused"}
    with pytest.raises(DataError, match="splits of data \\(train\\), found 'tset'"):
        roles_of(["train"], {"tset": "test"}, Path("data"))


def test_both_in_one() -> None:
    assert without_union(["train", "val", "trainval"]) == ["train", "val"]
    assert without_union(["trainval", "test"]) == ["trainval", "test"]
