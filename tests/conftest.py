"""Fixtures for all tests: where the shared data lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("LABELWISE_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("shared data absent")
    return folder
