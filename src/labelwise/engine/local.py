"""The local engine: in this process, or in a pool of spawned ones."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from labelwise import catalog
from labelwise.engine import Progress, Work
from labelwise.errors import LabelwiseError, RunError

# The plug-ins' files that a worker must load, and the pickled `make`.
Task = tuple[Sequence[Path], bytes]


@dataclass
class Local:
    """Run on this machine. ``workers`` 0 works in this process; more spawn that many processes, each with its share of
    the cores, which stay until the engine is closed."""

    workers: NonNegativeInt = 0

    def __post_init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def map_batches(
        self, make: Callable[[], Work], items: Sequence[Any], *, batch_size: int, gpus: float = 0
    ) -> Iterator[Any]:
        """Rows for all items in their order; at most two batches a worker are under way."""
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        if self.workers == 0 or not batches:
            work = make()
            for batch in batches:
                yield from work(batch)
            return
        task = (catalog.loaded_files(), pickle.dumps(make))
        waiting: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                waiting.append(self._workers().submit(_work_on, task, batch))
                if len(waiting) >= 2 * self.workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            self.close()
            raise RunError(
                "a worker process ended before its batch was done (out of memory?): use fewer workers, then run "
                "again to resume"
            ) from None
        finally:
            for future in waiting:
                future.cancel()

    def run(self, job: Callable[..., Any], *, gpus: float = 0, progress: Progress | None = None) -> Any:
        """The result of ``job``, called here."""
        return job() if progress is None else job(progress=progress)

    def __getstate__(self) -> dict[str, Any]:
        return {"workers": self.workers, "_pool": None}

    def close(self) -> None:
        """End the worker processes; the engine can be used again."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _begin, (self.workers,))
        return self._pool


# What this process made last, with what it was made from: one round's batches share it.
_made: list[tuple[bytes, Work]] = []


def _begin(workers: int) -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(max(1, multiprocessing.cpu_count() // workers))


def _end_with_parent() -> None:
    # A worker whose parent was killed would wait for ever, or go on writing into a run that another process takes up.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work_on(task: Task, batch: Sequence[Any]) -> list[Any]:
    try:
        return do(task, batch)
    except Exception as error:
        raise portable(error) from error


def do(task: Task, batch: Sequence[Any]) -> list[Any]:
    """A worker's rows for a batch; what ``make`` gives is kept as long as the same task comes."""
    files, pickled = task
    if not _made or _made[0][0] != pickled:
        for path in files:
            catalog.load_file(path)  # what is pickled may be of a plug-in's file
        _made[:] = [(pickled, pickle.loads(pickled)())]
    return list(_made[0][1](batch))


def portable(error: Exception) -> Exception:
    """The error itself if it survives the way to the parent, else one that says the same."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # whatever a plug-in's error does when it is pickled
        pass
    kinds = [k for k in type(error).__mro__ if k.__module__ == LabelwiseError.__module__]
    return kinds[0](str(error)) if kinds else RuntimeError(f"{type(error).__name__}: {error}")


# Threads of torch, and of the libraries for linear algebra.
Threads = tuple[int, int]


def limit_threads(threads: int) -> None:
    """Let numerical libraries of this process use that many threads."""
    use_threads((threads, threads))


def use_threads(threads: Threads) -> None:
    """Set the threads of this process as ``threads_now`` found them, here or in another one."""
    import threadpoolctl
    import torch

    threadpoolctl.threadpool_limits({"openmp": threads[0], "blas": threads[1]})
    torch.set_num_threads(threads[0])


def threads_now() -> Threads:
    """How many threads numerical libraries use in this process."""
    import threadpoolctl
    import torch

    blas = [int(library["num_threads"]) for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    return torch.get_num_threads(), max(blas, default=torch.get_num_threads())
