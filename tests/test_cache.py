"""The user's folder for what is computed once: where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.cache import default_cache


def test_the_first_place_that_is_said_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABELWISE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert default_cache() == Path.home() / ".cache" / "labelwise"
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert default_cache() == Path("/local/labelwise")
    monkeypatch.setenv("XDG_CACHE_HOME", "/users")
    assert default_cache() == Path("/users/labelwise")
    monkeypatch.setenv("LABELWISE_CACHE", "/own")
    assert default_cache() == Path("/own")
    monkeypatch.setenv("LABELWISE_CACHE", "")
    assert default_cache() == Path("/users/labelwise")
