"""How far a running step is, in a small file beside the run, for whoever looks on from another process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from labelwise.ownership import replace_text

FILE = "progress.json"
APART = 0.5  # seconds between two writes, at least


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` of ``what``, begun and last heard of at these times (seconds since 1970)."""

    what: str
    done: int
    total: int
    begun: float
    at: float


class ProgressFile:
    """Tells progress on to ``tell`` and keeps it in a run's folder; a file that cannot be written stops nothing."""

    def __init__(self, folder: Path, tell: Callable[[int, int, str], None]) -> None:
        self.path, self.tell = folder / FILE, tell
        self._lock = threading.Lock()
        self._written = 0.0
        self._what, self._begun, self._done = "", 0.0, 0

    def __call__(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` of ``what``."""
        self.tell(done, total, what)
        with self._lock:
            now = time.time()
            if what != self._what or done < self._done:
                self._what, self._begun, self._written = what, now, self._written if what == self._what else 0.0
            self._done = done
            if 0 <= now - self._written < APART or not self.path.parent.is_dir():
                return
            self._written = now
            text = json.dumps(asdict(Progress(what, done, total, self._begun, now)), ensure_ascii=False)
            with suppress(OSError):
                replace_text(self.path, text)

    def close(self) -> None:
        """Nothing runs any more."""
        with self._lock, suppress(OSError):
            self.path.unlink(missing_ok=True)


def read_progress(folder: Path) -> Progress | None:
    """How far the running step of a run is; None where none is told, or the file is being replaced."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Progress(
            str(found["what"]), int(found["done"]), int(found["total"]), float(found["begun"]), float(found["at"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
