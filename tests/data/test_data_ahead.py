"""Reading ahead in threads: in order, bounded, and stopped where it should."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from labelwise.data.ahead import read_ahead


def test_it_keeps_order_and_window() -> None:
    started = 0
    lock = threading.Lock()

    def load(item: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return item * item

    results = read_ahead(range(50), load, threads=3, window=5)
    for taken, result in enumerate(results, start=1):
        assert result == (taken - 1) ** 2
        assert started <= taken + 5
    assert started == 50


def test_it_closes_early() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            drawn.append(item)
            yield item

    results = read_ahead(items(), lambda item: item, threads=2, window=4)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(drawn) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("labelwise-read")]


def test_it_passes_errors_on_and_stops() -> None:
    def load(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = read_ahead(range(100), load, threads=2, window=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("labelwise-read")]


def test_nothing_gives_nothing() -> None:
    assert list(read_ahead([], lambda item: item, threads=1, window=1)) == []
