"""Reading ahead of whoever uses it, in threads: results in order, and never more than a few of them waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(items: Iterable[A], load: Callable[[A], B], *, threads: int, window: int) -> Iterator[B]:
    """Yield ``load(item)`` in the order of ``items``, working ahead in threads.

    Never more than ``window`` results or calls are waiting. When the consumer stops early, or ``load`` or ``items``
    raises, calls not yet begun are dropped and running ones are waited for. ``items`` is drawn from in the consumer's
    thread.
    """
    assert threads >= 1, threads
    assert window >= 1, window
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="labelwise-read") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(load, item))
                if len(waiting) >= window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
