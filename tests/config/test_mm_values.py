"""Values of an mmsegmentation configuration: what is taken, and what is refused with its key in one line."""

from __future__ import annotations

import re
from typing import Any

import pytest

from labelwise.config.mm_values import branch, truth, whole
from labelwise.errors import ConfigError


def test_what_fits_is_given_back() -> None:
    assert branch({"k": 1}, "c.py: x", ("k", "size")) == {"k": 1}
    assert (whole(1, "c.py: x"), whole(0, "c.py: x", least=0)) == (1, 0)
    assert truth(True, "c.py: x") is True
    assert truth(False, "c.py: x") is False


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None])
def test_other_numbers_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^c.py: x: expected a number above 0, found {re.escape(repr(value))}$"):
        whole(value, "c.py: x")


def test_what_is_expected_can_be_said() -> None:
    with pytest.raises(ConfigError, match=r"^c.py: size: expected a number of pictures, found -1$"):
        whole(-1, "c.py: size", least=0, expected="a number of pictures")


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_only_true_and_false_are_truth_values(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^c.py: x: expected True or False, found {value!r}$"):
        truth(value, "c.py: x")


def test_branches_hold_known_keys() -> None:
    with pytest.raises(ConfigError, match=re.escape("c.py: x: expected dict(k=..., size=...), found [1]")):
        branch([1], "c.py: x", ("k", "size"))
    with pytest.raises(ConfigError, match=r"^c.py: x.sizes is unknown: .*size"):
        branch({"sizes": 1}, "c.py: x", ("k", "size"))
