"""A new store for each test."""

from __future__ import annotations

import pytest

from labelwise.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as opened:
        yield opened
