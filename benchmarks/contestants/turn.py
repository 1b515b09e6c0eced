"""One contestant's turn in a process of its own: seconds, memory, picks; one JSON line.

python benchmarks/contestants/turn.py TASK BY FILE PICKS [--mapped] [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from contestants.tasks import TASKS


def main() -> None:
    """Warm up, take the turn, print what it took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("task")
    options.add_argument("by")
    options.add_argument("file", type=Path)
    options.add_argument("picks", type=int)
    options.add_argument("--mapped", action="store_true", help="leave the vectors on the disk")
    options.add_argument("--check", action="store_true", help="prove k-centre's picks; the objective of others")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    contestant = TASKS[given.task][given.by]
    try:
        if given.by == "labelwise":
            import torch  # as it is in every run of labelwise

            assert torch
        small = np.random.default_rng(0).standard_normal((2500, 16), dtype=np.float32)
        small.flags.writeable = not given.mapped  # as mapped vectors are: code is compiled for either
        contestant(small, np.ones(2500), 900 if given.by == "labelwise" else 3)  # code is compiled and loaded by now
    except ImportError as error:
        print(json.dumps({"absent": str(error)}))
        return
    began = time.perf_counter()
    x = np.load(given.file, mmap_mode="r" if given.mapped else None)
    reading = time.perf_counter() - began
    scores = np.random.default_rng(1).beta(1, 4, len(x))
    before = _memory("RssAnon")
    with Peak() as peak:
        began = time.perf_counter()
        found, loading = contestant(x, scores, given.picks)
        seconds = time.perf_counter() - began - loading
    result: dict[str, Any] = {
        "seconds": seconds,
        "loading": loading,
        "reading": reading,
        "own_mb": peak.most - before,
        "rss_mb": _memory("VmHWM"),
        "found": found,
    }
    if given.check:
        result["check"] = _check(given.task, x, found)
    print(json.dumps(result))


class Peak:
    """The most memory beside mapped files, in MB, looked at every few milliseconds."""

    def __enter__(self) -> Peak:
        self.most, self.over = _memory("RssAnon"), threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.over.wait(0.005):
            self.most = max(self.most, _memory("RssAnon"))

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), float("nan"))


def _check(task: str, x: Any, picks: list[int]) -> float:
    """For k-centre how far its proof fails, for facility location the mean similarity; 0 for others."""
    if task == "k_center":
        return excess(x, picks)
    if task != "facility_location":
        return 0.0
    chosen, total = x[picks], 0.0
    for start in range(0, len(x), 2048):
        total += float(np.maximum(x[start : start + 2048] @ chosen.T, 0).max(axis=1).sum())
    return total / len(x)


def excess(x: Any, picks: list[int], rows: int = 0) -> float:
    """How far any row was ever beyond the next pick: the proof of a whole farthest-first run.

    At each step t no row may be farther from the first t picks than pick t is. Squared distances are float32 products,
    here written anew; the result is the worst excess as a share of the largest squared length. A few 1e-7 is rounding.
    """
    centres = x[picks].astype(np.float32)
    lengths = np.einsum("ij,ij->i", centres, centres)
    radius = np.array([_squared(centres, lengths, centres[t], t).min() for t in range(1, len(picks))])
    worst, rows = -np.inf, rows or max(64, 2**23 // len(picks))
    for start in range(0, len(x), rows):
        part = np.asarray(x[start : start + rows], np.float32)
        squared = np.einsum("ij,ij->i", part, part)[:, None] + lengths - 2 * (part @ centres.T)
        np.minimum.accumulate(squared, axis=1, out=squared)
        worst = max(worst, float((squared[:, :-1] - radius).max()))
    return worst / float(lengths.max())


def _squared(centres: Any, lengths: Any, point: Any, count: int) -> Any:
    return lengths[:count] + point @ point - 2 * (centres[:count] @ point)


if __name__ == "__main__":
    main()
