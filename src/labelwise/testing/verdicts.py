"""How a check says no: one line that says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labelwise.errors import LabelwiseError


def accepted(call: Callable[[], Any], who: str) -> Any:
    """What the call gives; an error that users see becomes the verdict."""
    try:
        return call()
    except LabelwiseError as error:
        raise AssertionError(f"{who}: {error}") from error


def require(condition: bool, message: str) -> None:
    """Raises AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)
