"""How a verb says how far it is: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


@contextmanager
def progress_of(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet."""
    if quiet:
        yield lambda done, total, what: None
        return
    if not sys.stderr.isatty():
        yield plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[tuple[str, int], Any] = {}

        def show(done: int, total: int, what: str) -> None:
            if (what, total) not in known:
                known[what, total] = bars.add_task(what, total=total)
            bars.update(known[what, total], completed=done, visible=done < total)

        yield show


def plain_progress() -> Callable[[int, int, str], None]:
    """A line every five seconds, with the time left."""
    last: list[float] = []  # when something was said, from the first call on
    begun: dict[str, tuple[float, int]] = {}  # when each kind of work began, and how far it was

    def show(done: int, total: int, what: str) -> None:
        now = time.monotonic()
        last[:] = last or [now]
        if done <= begun.get(what, (0.0, done))[1]:  # it begins, or begins anew in another round
            begun[what] = now, done
        start, before = begun[what]
        if now - last[0] >= 5:
            last[0] = now
            left = (now - start) / (done - before) * (total - done) if done > before else 0.0
            soon = f", about {_duration(left)} left" if left >= 1 else ""
            typer.echo(f"{what}: {done} of {total}{soon}", err=True)

    return show


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def teller(quiet: bool) -> Callable[[str], None]:
    """Where lines for people go."""
    return (lambda line: None) if quiet else typer.echo
