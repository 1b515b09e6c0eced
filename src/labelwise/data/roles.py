"""What the splits that a dataset names (train, val, test) are for in a run: the pool, the test, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from labelwise.errors import DataError

Split = Literal["pool", "test", "unused"]

BOTH = "trainval"  # train and val in one: passed over where train is there too
TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")


def named_split(name: str) -> str:
    """The split that the name of a file or folder speaks of: "instances_val2017" is "val"; other names as they are."""
    word = name.casefold().removeprefix("instances_").rstrip("0123456789").rstrip("_-")
    for plain, words in (("train", (*TRAIN, BOTH)), ("val", VAL), ("test", TEST)):
        if word in words:
            return plain
    return word


def without_union(names: Collection[str]) -> list[str]:
    """The names, less "trainval" where "train" is among them: what it holds is told apart there."""
    words = {name: name.casefold().removeprefix("instances_").rstrip("0123456789") for name in names}
    return [name for name in names if words[name] != BOTH or "train" not in words.values()]


def roles_of(names: Collection[str], splits: Mapping[str, Split] | None, where: Path) -> dict[str, Split]:
    """What each named split is for. Given ``splits`` are taken at their word.

    Else train is the pool and test the test; val is the test, or unused where there is one. Without val or test nothing
    is said. Raises DataError if ``splits`` name what is not there.
    """
    if splits is not None:
        strange = sorted(set(splits) - set(names))
        if strange:
            there = ", ".join(sorted(names)) or "none"
            raise DataError(f"data.splits: expected splits of {where} ({there}), found {strange[0]!r}; correct it")
        return dict(splits)
    plain = {name: named_split(name) for name in names}
    tested = "test" in plain.values()
    if not tested and "val" not in plain.values():
        return {}
    meant: dict[str, Split] = {"train": "pool", "test": "test", "val": "unused" if tested else "test"}
    return {name: meant[word] for name, word in plain.items() if word in meant}
