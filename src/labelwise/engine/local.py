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
from labelwise.engine import Work
from labelwise.errors import LabelwiseError, RunError


@dataclass(frozen=True)
class Local:
    """Run on this machine. ``workers`` 0 works in this process; more spawn that many processes, each with its share of
    the cores."""

    workers: NonNegativeInt = 0

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
        workers = min(self.workers, len(batches))
        context = multiprocessing.get_context("spawn")
        begin = (catalog.loaded_files(), pickle.dumps(make), workers)
        pool = ProcessPoolExecutor(workers, context, _begin, begin)
        waiting: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(_work_on, batch))
                if len(waiting) >= 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise RunError(
                "a worker process ended before its batch was done (out of memory?): use fewer workers, then run "
                "again to resume"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, job: Callable[[], Any], *, gpus: float = 0) -> Any:
        """The result of ``job``, called here."""
        return job()


_given: list[tuple[Sequence[Path], bytes]] = []
_worker: list[Work] = []


def _begin(files: Sequence[Path], pickled: bytes, workers: int) -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(max(1, multiprocessing.cpu_count() // workers))
    # An error here would be told as a dead worker: the work itself is made with the first batch.
    _given[:] = [(files, pickled)]


def _end_with_parent() -> None:
    # A worker whose parent was killed would wait for ever, or go on writing into a run that another process takes up.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work_on(batch: Sequence[Any]) -> list[Any]:
    try:
        if not _worker:
            files, pickled = _given[0]
            for path in files:
                catalog.load_file(path)  # what is pickled may be of a plug-in's file
            _worker.append(pickle.loads(pickled)())
        return _worker[0](batch)
    except Exception as error:
        raise _portable(error) from error


def _portable(error: Exception) -> Exception:
    """The error itself if it survives the way to the parent, else one that says the same."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # whatever a plug-in's error does when it is pickled
        pass
    kinds = [k for k in type(error).__mro__ if k.__module__ == LabelwiseError.__module__]
    return kinds[0](str(error)) if kinds else RuntimeError(f"{type(error).__name__}: {error}")


def limit_threads(threads: int) -> None:
    """Let numerical libraries of this process use that many threads."""
    import threadpoolctl
    import torch

    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
