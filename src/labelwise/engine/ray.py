"""The Ray engine: batches and jobs on the workers of a Ray cluster, or of one that is started here."""

# Ray's core is enough: what passes between driver and workers are ordered batches of a few rows, held by nobody longer
# than needed. Ray Data would add its own blocks, planner and dependencies, and gives no order of its own.

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from labelwise.engine import Progress, Work
from labelwise.engine.crew import Crew, Needs, job_of
from labelwise.engine.local import Threads, threads_now, use_threads
from labelwise.engine.relay import Relay, follow
from labelwise.errors import ConfigError, RunError

Cpus = Annotated[float, Field(gt=0)]


@dataclass
class Ray:
    """Run on a Ray cluster; rows and picks are those of the local engine. A worker that dies is replaced, and its
    batches are done again.

    ``address`` is "host:port" of a cluster, "auto" for the one this machine belongs to, or empty: then a cluster is
    started on this machine, unless $RAY_ADDRESS names one or this process is connected already. ``workers`` 0 is as
    many as the cluster has room for; each has ``cpus`` cores and ``gpus`` GPUs to itself (or what a call asks for, if
    that is more). ``retries`` is how often a batch is done again when its worker dies.
    """

    address: str = ""
    workers: NonNegativeInt = 0
    cpus: Cpus = 1.0
    gpus: NonNegativeFloat = 0.0
    retries: NonNegativeInt = 3

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ConfigError("engine 'ray' needs the package ray: pip install 'labelwise[ray]'")
        if "://" in self.address:
            raise ConfigError(
                f"engine.address: expected host:port, auto or nothing, found {self.address!r}: run labelwise on a "
                "machine of the cluster, Ray's client is not used"
            )
        self._crew: Crew | None = None
        self._connected = False

    def __getstate__(self) -> dict[str, Any]:
        # What is under way belongs to one process.
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"_crew": None, "_connected": False}

    def map_batches(
        self, make: Callable[[], Work], items: Sequence[Any], *, batch_size: int, gpus: float = 0
    ) -> Iterator[Any]:
        """Rows for all items in their order; a few batches a worker are under way.

        Raises what the work raises, RunError if a batch's workers die more than ``retries`` times or none can start.
        """
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        if batches:
            for rows in self._workers(gpus).map(make, batches):
                yield from rows

    def run(self, job: Callable[..., Any], *, gpus: float = 0, progress: Progress | None = None) -> Any:
        """The result of ``job``, done by one worker; what it tells of its progress is passed on.

        It has as many threads as it would have here: sums of a training are split by threads, and so would its picks
        depend on ``cpus``.
        """
        crew, threads = self._workers(gpus), threads_now()
        if progress is None:
            ((result,),) = crew.map(partial(_once, job, threads), [[None]])
            return result
        with follow(crew.ray, progress) as (relay, look):
            ((result,),) = crew.map(partial(_once, job, threads, relay), [[None]], look)
            return result

    def close(self) -> None:
        """End the workers, and the cluster if it was started here; one that was joined is only left."""
        if self._crew is not None:
            self._look_after_connection(self._crew.ray)
        if self._crew is not None:
            self._crew.end()
            self._crew = None
        if self._connected:
            _ray().shutdown()
            self._connected = False

    def _look_after_connection(self, ray: Any) -> None:
        """Forget the workers if somebody else in this process has ended the connection that they came with."""
        if self._crew is not None and not (ray.is_initialized() and self._crew.job == job_of(ray)):
            self._crew, self._connected = None, False

    def _workers(self, gpus: float) -> Crew:
        """The workers with these GPUs; those with others must end first, since they hold the cores."""
        needs, ray = Needs(self.cpus, max(self.gpus, gpus)), _ray()
        self._look_after_connection(ray)
        if self._crew is not None and self._crew.needs != needs:
            self._crew.end()
            self._crew = None
        if self._crew is None:
            if not ray.is_initialized():
                _connect(ray, self.address, math.ceil(self.workers * self.cpus))
                self._connected = True
            self._crew = Crew(ray, self.workers, needs, self.retries)
        return self._crew


def _once(job: Callable[..., Any], threads: Threads, relay: Relay | None = None) -> Work:
    """A job as the work of one batch."""

    def work(batch: Sequence[Any]) -> list[Any]:
        before = threads_now()
        use_threads(threads)
        try:
            return [job() if relay is None else job(progress=relay)]
        finally:
            use_threads(before)

    return work


def _ray() -> Any:
    # Read by Ray when it is imported or begins: nothing is sent anywhere, nothing is said that the user cannot mend.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return importlib.import_module("ray")


def _connect(ray: Any, address: str, cores: int) -> None:
    """Join the cluster, or start one that only this machine can reach."""
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray prints every death of a worker to standard output, where our own tables and JSON go.
    private: Any = importlib.import_module("ray._private.worker")
    private.print_to_stdstream = _say_nothing
    where = address or os.environ.get("RAY_ADDRESS", "")
    try:
        _knock(where)
        with _signals_kept():
            if where:
                ray.init(address=where, **quiet)
            else:
                with _loopback():
                    cpus = max(cores, os.cpu_count() or 1)
                    ray.init("local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        if where:
            raise RunError(
                f"no Ray cluster can be joined at {where!r} ({_line(error)}): start one with 'ray start --head', or "
                "set engine.address to host:port of one that runs"
            ) from error
        raise RunError(f"Ray cannot be started on this machine: {_line(error)}") from error


def _knock(where: str) -> None:
    # Ray would try for half a minute, and say little.
    host, separator, port = where.rpartition(":")
    if separator and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _loopback() -> Iterator[None]:
    # Ray turns 127.0.0.1 into the machine's own address unless it believes that there can be no other machines.
    constants: Any = importlib.import_module("ray._private.ray_constants")
    before = getattr(constants, "ENABLE_RAY_CLUSTER", True)
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    # Ray takes SIGTERM for itself, and would end the process without a word about resuming.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # else it was not set from Python
            signal.signal(signal.SIGTERM, before)


def _say_nothing(*_: Any, **__: Any) -> None:
    """Instead of Ray's printing."""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
