"""How a job on another machine tells its progress: through a small actor that the driver empties now and then."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from labelwise.engine import Progress

SECONDS = 0.2  # between two messages of a job


class Relay:
    """A progress that can be pickled: called in a worker, heard by the driver; a message that is lost harms nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._post: Any = None
        self._last = 0.0

    def __reduce__(self) -> tuple[type[Relay], tuple[str]]:
        return Relay, (self._name,)

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tell it, unless the last message was a moment ago; the end is always told."""
        now = time.monotonic()
        if done < total and now - self._last < SECONDS:
            return
        self._last = now
        ray: Any = importlib.import_module("ray")
        with suppress(Exception):
            if self._post is None:
                self._post = ray.get_actor(self._name)
            sent = self._post.put.remote((done, total, what))
            if done >= total:
                ray.get(sent, timeout=5)


@contextmanager
def follow(ray: Any, progress: Progress) -> Iterator[tuple[Relay, Callable[[], None]]]:
    """A relay for a job, and a function that passes on what it has told since the last call."""
    name = f"labelwise-progress-{uuid.uuid4().hex}"
    post = ray.remote(_post()).options(name=name, num_cpus=0).remote()

    def look() -> None:
        try:
            told = ray.get(post.take.remote(), timeout=5)
        except ray.exceptions.RayError:  # its node died: the job goes on unheard
            return
        for message in told:
            progress(*message)

    try:
        yield Relay(name), look
        look()
    finally:
        ray.kill(post)


def _post() -> type:
    # Made here, so that Ray sends its code instead of its name: a node may find labelwise only once it is told where.
    class Post:
        def __init__(self) -> None:
            self.messages: list[tuple[int, int, str]] = []

        def put(self, message: tuple[int, int, str]) -> None:
            self.messages.append(message)

        def take(self) -> list[tuple[int, int, str]]:
            found, self.messages = self.messages, []
            return found

    return Post
