"""Values in an mmsegmentation configuration, checked: dictionaries of known keys, whole numbers, truth values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labelwise import catalog
from labelwise.errors import ConfigError


def branch(value: Any, where: str, known: Iterable[str]) -> dict[str, Any]:
    """A dictionary in which all keys are known. Raises ConfigError that begins with ``where``, as the others here."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected dict({', '.join(f'{k}=...' for k in known)}), found {value!r}")
    for key in value:
        if key not in known:
            raise ConfigError(f"{where}.{key} is unknown: {catalog.suggest(str(key), known)}")
    return dict(value)


def whole(value: Any, where: str, *, least: int = 1, expected: str = "a number above 0") -> int:
    """A whole number from ``least`` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{where}: expected {expected}, found {value!r}")
    return value


def truth(value: Any, where: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: expected True or False, found {value!r}")
    return value
