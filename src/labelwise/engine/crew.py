"""Workers on a Ray cluster: started as they are needed, given batches, replaced when they or their nodes die."""

from __future__ import annotations

import heapq
import importlib
import os
import pickle
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import labelwise
from labelwise import catalog
from labelwise.engine import Work
from labelwise.engine.local import do, portable
from labelwise.errors import RunError

START_SECONDS = 300.0  # that a worker may take to begin: a cluster may first have to start a node
LOOK_SECONDS = 0.5  # between two looks at progress and at workers that begin
QUICK_SECONDS = 1.0  # a worker whose batches take less gets a second one ahead
AHEAD = 4  # batches a worker that may be done before their turn comes
# Where things lie; a worker must look for them in the same places.
PLACES = ("LABELWISE_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TORCH_HOME")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Needs:
    """Cores and GPUs of one worker."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")


@dataclass(eq=False)
class _Member:
    actor: Any
    begun: bool = False
    quick: bool = False


@dataclass
class _Round:
    """One call of map: what waits, what is under way (reference -> member, batch, since), what is done."""

    task: Any
    batches: Sequence[Sequence[Any]]
    waiting: list[int] = field(default_factory=list)
    running: dict[Any, tuple[_Member, int, float]] = field(default_factory=dict)
    done: dict[int, bytes] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)
    shown: int = 0


class Crew:
    """Up to ``size`` workers (0: as many as the cluster has room for) with the same needs."""

    def __init__(self, ray: Any, size: int, needs: Needs, retries: int) -> None:
        self.ray, self.needs, self.retries = ray, needs, retries
        self.size, self.job = size or self._room(), job_of(ray)
        self._members: list[_Member] = []
        self._beginning: dict[Any, _Member] = {}  # the reference that tells that one has begun
        self._stillborn = 0
        self._since = time.monotonic()  # when there was a worker last

    def map(
        self, make: Callable[[], Work], batches: Sequence[Sequence[Any]], look: Callable[[], None] | None = None
    ) -> Iterator[list[Any]]:
        """Rows of the batches in their order; ``look`` is called now and then meanwhile."""
        dumps = self.ray.cloudpickle.dumps  # which also knows what the main script defines
        round = _Round(self.ray.put(pickle.dumps((catalog.loaded_files(), dumps(make)))), batches)
        round.waiting = list(range(len(batches)))
        self._stillborn, self._since = 0, time.monotonic()
        try:
            while round.shown < len(batches):
                while round.shown in round.done:
                    rows = _rows(round.done.pop(round.shown))
                    round.shown += 1
                    yield rows
                if round.shown < len(batches):
                    self._hire(min(self.size, len(batches) - round.shown))
                    self._assign(round)
                    self._collect(round)
                    if look is not None:
                        look()
        finally:
            # Whoever is still at work does so for nobody.
            for member in {m for m, _, _ in round.running.values()}:
                self._dismiss(member)

    def end(self) -> None:
        """End all workers."""
        for member in list(self._members):
            self._dismiss(member)

    def _room(self) -> int:
        total = self.ray.cluster_resources()
        rooms = [total.get("CPU", 0) // self.needs.cpus]
        if self.needs.gpus:
            rooms.append(total.get("GPU", 0) // self.needs.gpus)
        return max(1, int(min(rooms)))

    def _hire(self, wanted: int) -> None:
        while len(self._members) < wanted:
            make = self.ray.remote(_worker()).options(
                num_cpus=self.needs.cpus, num_gpus=self.needs.gpus, max_restarts=0, scheduling_strategy="SPREAD"
            )
            member = _Member(make.remote(_surroundings(), max(1, int(self.needs.cpus)), self.needs.gpus > 0))
            self._members.append(member)
            self._beginning[member.actor.begin.remote()] = member

    def _dismiss(self, member: _Member) -> None:
        if member in self._members:
            self._members.remove(member)
        self._beginning = {ref: m for ref, m in self._beginning.items() if m is not member}
        self.ray.kill(member.actor)

    def _assign(self, round: _Round) -> None:
        """Give the earliest batches to those with least to do, not too far ahead of what has been shown."""
        loads = Counter(m for m, _, _ in round.running.values())
        limit = round.shown + AHEAD * self.size
        for depth in (0, 1):
            for member in self._members:
                free = member.begun and loads[member] == depth and (depth == 0 or member.quick)
                if free and round.waiting and round.waiting[0] < limit:
                    index = heapq.heappop(round.waiting)
                    batch = self.ray.cloudpickle.dumps(round.batches[index])
                    ref = member.actor.work.remote(round.task, batch)
                    round.running[ref] = (member, index, time.monotonic())
                    loads[member] += 1

    def _collect(self, round: _Round) -> None:
        """Wait a moment for anything to happen: a batch done, a worker begun or dead."""
        for ref in self.ray.wait([*round.running, *self._beginning], num_returns=1, timeout=LOOK_SECONDS)[0]:
            try:
                value = self.ray.get(ref)
            except self.ray.exceptions.RayTaskError as error:
                raise RunError(f"Ray could not pass on a batch: {_last_line(error)}") from error
            except self.ray.exceptions.RayError as error:
                self._lost(round, ref, error)
                continue
            if ref in round.running:
                member, index, since = round.running.pop(ref)
                member.quick = time.monotonic() - since < QUICK_SECONDS
                round.done[index] = value
            elif ref in self._beginning:
                if value:
                    raise RunError(value)
                self._beginning.pop(ref).begun = True
        if any(m.begun for m in self._members):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > START_SECONDS:
            raise RunError(self._nobody())

    def _lost(self, round: _Round, ref: Any, error: Exception) -> None:
        """A worker died: its batches wait again, and the next look hires another."""
        member = round.running[ref][0] if ref in round.running else self._beginning[ref]
        mine = [(index, ref) for ref, (m, index, _) in round.running.items() if m is member]
        for index, ref in mine:
            del round.running[ref]
            heapq.heappush(round.waiting, index)
        if mine:  # the first of them was at work, the others only waited for it
            first = min(index for index, _ in mine)
            round.deaths[first] += 1
            if round.deaths[first] > self.retries:
                raise RunError(
                    f"the workers of one batch died {round.deaths[first]} times (out of memory?): {_last_line(error)}; "
                    "use fewer workers or larger nodes, then run again to resume"
                )
        else:
            self._stillborn += 1
            if self._stillborn > self.retries + self.size:
                raise RunError(f"workers end before they begin: {_last_line(error)}; look at the nodes of the cluster")
        self._dismiss(member)

    def _nobody(self) -> str:
        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        found = ", ".join(f"{free.get(k, 0):g} of {total.get(k, 0):g} {k}s" for k in ("CPU", "GPU") if k in total)
        return (
            f"no worker could begin in {START_SECONDS:g} s: expected room for {self.needs} on one node, found free on "
            f"all together {found or 'nothing'}; ask for less (engine.cpus, engine.gpus), or wait for others to finish"
        )


def job_of(ray: Any) -> str:
    """Ray's name for this process's connection."""
    return str(ray.get_runtime_context().get_job_id())


def work_on(task: bytes, batch: bytes) -> bytes:
    """What a worker does: unpickles, works and says how it went, as (rows, error, host, file that was not there)."""
    cloudpickle: Any = importlib.import_module("ray.cloudpickle")
    try:
        files, make = pickle.loads(task)
        for path in files:
            path.stat()  # one that is not there must be told as such
            catalog.load_file(path)  # what is pickled may be of a plug-in's file
        return bytes(cloudpickle.dumps((do((files, make), pickle.loads(batch)), None, "", "")))
    except Exception as error:
        return pickle.dumps((None, portable(error), socket.gethostname(), _missing_file(error)))


def _rows(result: bytes) -> list[Any]:
    """The rows of a batch, or its error: one that speaks of a file which is here tells what the cluster lacks."""
    rows, error, host, missing = pickle.loads(result)
    if error is None:
        return list(rows)
    if missing and Path(missing).exists():
        raise RunError(
            f"the worker on {host} cannot see {missing}, which is there on this machine: images, runs, cache and "
            "plug-ins must lie on a file system that all nodes share, under the same path"
        ) from error
    raise error


def _missing_file(error: BaseException | None) -> str:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, FileNotFoundError) and error.filename:
            return os.fsdecode(error.filename)
        seen.append(error)
        error = error.__cause__ or error.__context__
    return ""


def _surroundings() -> dict[str, Any]:
    """What a worker must know of this process to find the same code and the same files."""
    return {
        "version": labelwise.__version__,
        "paths": [os.path.abspath(path) for path in sys.path],  # noqa: PTH100 (an empty one is the working folder)
        "folder": os.getcwd(),  # noqa: PTH109
        "threads": THREADS,
        "variables": {name: os.environ[name] for name in (*PLACES, "PYTHONPATH") if name in os.environ},
    }


def _worker() -> type:
    # Made here, so that Ray sends its code instead of its name: a node may find labelwise only once it is told where.
    class Worker:
        def __init__(self, surroundings: dict[str, Any], threads: int, gpus: bool) -> None:
            self.surroundings, self.threads, self.gpus = surroundings, threads, gpus

        def begin(self) -> str:
            """Nothing, or one line why this worker cannot work."""
            import os
            import socket
            import sys

            os.environ.update(self.surroundings["variables"])
            if not self.gpus:  # else all workers of a node would share its first GPU
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            sys.path[:0] = [p for p in self.surroundings["paths"] if p not in sys.path and os.path.exists(p)]  # noqa: PTH110
            if os.path.isdir(self.surroundings["folder"]):  # noqa: PTH112
                os.chdir(self.surroundings["folder"])
            # Read by libraries that are loaded later; torch is, where it is needed.
            os.environ.update(dict.fromkeys(self.surroundings["threads"], str(self.threads)))
            wanted = self.surroundings["version"]
            try:
                import threadpoolctl

                import labelwise
            except ImportError as error:
                return (
                    f"the worker on {socket.gethostname()} cannot import labelwise ({error}): install labelwise "
                    f"{wanted} with the same extras on every node"
                )
            if labelwise.__version__ != wanted:
                return (
                    f"expected labelwise {wanted} on every node, found {labelwise.__version__} on "
                    f"{socket.gethostname()}: install the same version"
                )
            threadpoolctl.threadpool_limits(self.threads)
            return ""

        def work(self, task: bytes, batch: bytes) -> bytes:
            from labelwise.engine.crew import work_on

            return work_on(task, batch)

    return Worker


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
