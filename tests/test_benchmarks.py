"""The benchmark's proof of a farthest-first run accepts the true picks and no others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from labelwise.selection import k_center

TURN = Path(__file__).parent.parent / "benchmarks" / "contestants" / "turn.py"


@pytest.fixture
def turn(monkeypatch):
    monkeypatch.syspath_prepend(TURN.parent.parent)
    spec = importlib.util.spec_from_file_location("turn", TURN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_proof_of_k_centre(turn):
    x = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)
    picks = [0, *k_center(300, np.arange(1, 3000), np.array([0]), x).rows.tolist()]
    assert turn.excess(x, picks) < 1e-5
    assert turn.excess(x, picks, rows=64) < 1e-5
    others = np.setdiff1d(np.arange(3000), picks)
    for at in (1, 150, 300):
        wrong = [*picks[:at], int(others[0]), *picks[at + 1 :]]
        assert turn.excess(x, wrong) > 1e-4
