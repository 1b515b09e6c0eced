"""Sharing out compiled work among threads, as many as numerical libraries may use here."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController


def in_threads(
    work: Callable[[slice], None],
    parts: list[slice],
    settings: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Do all parts, in as many threads as numerical libraries may use here; compiled code runs beside itself.

    No barrier but the one at the end: a thread that is late on a busy machine holds up only its last part. ``settings``
    hold meanwhile, for example that libraries use no threads of their own.
    """
    threads = min(len(parts) // 4, _threads()) if len(parts) >= 8 else 1
    with settings():
        if threads < 2:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, parts))


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(int(library["num_threads"]) for library in _libraries().info())])


@cache
def _libraries() -> ThreadpoolController:
    # Looking for them takes a millisecond each time.
    return ThreadpoolController()
