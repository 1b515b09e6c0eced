"""The local engine: in this process, or in a pool of spawned ones."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from labelwise.engine import Work
from labelwise.errors import RunError


@dataclass(frozen=True)
class Local:
    """Run on this machine. ``workers`` 0 works in this process; more spawn that many processes, each with its share of the cores."""

    workers: int = 0

    def map_batches(self, make: Callable[[], Work], items: Sequence[Any], *, batch_size: int, gpus: float = 0) -> Iterator[Any]:
        """Rows for all items in their order; at most two batches a worker are under way."""
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        if self.workers == 0 or not batches:
            work = make()
            for batch in batches:
                yield from work(batch)
            return
        workers = min(self.workers, len(batches))
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (make, workers))
        waiting: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(_work_on, batch))
                if len(waiting) >= 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise RunError("a worker process ended before its batch was done (out of memory?): use fewer workers, then run again to resume") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, job: Callable[[], Any], *, gpus: float = 0) -> Any:
        """The result of ``job``, called here."""
        return job()


_worker: list[Work] = []


def _begin(make: Callable[[], Work], workers: int) -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads(max(1, (multiprocessing.cpu_count() or 1) // workers))
    _worker[:] = [make()]


def _work_on(batch: Sequence[Any]) -> list[Any]:
    return _worker[0](batch)


def limit_threads(threads: int) -> None:
    """Let numerical libraries of this process use that many threads."""
    import threadpoolctl
    import torch

    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
