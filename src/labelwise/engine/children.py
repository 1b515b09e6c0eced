"""Work in processes of its own: they end with the one that began them, tell how far they are, and fail in one line."""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from labelwise.errors import ModelError

Told = Mapping[str, Any]


@dataclass(frozen=True)
class Child:
    """A process to be: the module it runs, the file for what it prints, what it is given, and its environment beside
    ours."""

    module: str
    log: Path
    given: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)


def work(children: Sequence[Child], tell: Callable[[Told], None], name: str) -> None:
    """Start them all and wait for them, passing on what they tell (JSON, one line each).

    Raises ModelError with what the first of them that fails says, or the last line of its log after ``name``; the
    others are ended then, as they are when ``tell`` raises or we are interrupted.
    """
    heard: queue.SimpleQueue[tuple[int, Told | None]] = queue.SimpleQueue()
    with ExitStack() as stack:
        started = [_start(child, stack) for child in children]
        try:
            for number, (child, process) in enumerate(zip(children, started, strict=True)):
                threading.Thread(target=_listen, args=(number, process, heard), daemon=True).start()
                _give(process, pickle.dumps(child.given))
            working = len(started)
            while working:
                number, told = heard.get()
                if told is None:
                    working -= 1
                    if code := started[number].wait():
                        raise ModelError(f"{name} ended with {code}: {_last_line(children[number].log)}")
                elif "failed" in told:
                    raise ModelError(told["failed"])
                else:
                    tell(told)
        finally:
            for process in started:
                process.kill()


def begin() -> tuple[Any, IO[str]]:
    """To be called first in a child: what it is given, and where it tells; what it prints goes to its log."""
    given = pickle.load(sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who began us ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return given, out


def tell(out: IO[str], **told: Any) -> None:
    """Tell the parent; ``failed`` ends the work with this line."""
    print(json.dumps(told), file=out, flush=True)


def _start(child: Child, stack: ExitStack) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(p for p in sys.path if p)
    log = stack.enter_context(child.log.open("wb"))
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", child.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **child.variables, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        )
    )


def _give(process: subprocess.Popen[bytes], given: bytes) -> None:
    """Its input stays open afterwards: the child ends when it closes."""
    assert process.stdin is not None
    try:
        process.stdin.write(given)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it ended already, which is heard of


def _listen(number: int, process: subprocess.Popen[bytes], heard: queue.SimpleQueue[tuple[int, Told | None]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        heard.put((number, json.loads(line)))
    heard.put((number, None))


def _end_with_parent() -> None:
    """The other end of our input closes when the parent ends, however it ends."""
    while os.read(0, 64):
        pass
    os._exit(3)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
