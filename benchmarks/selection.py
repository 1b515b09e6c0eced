"""k-centre and CORAL against the plain greedy in numpy and lightly-mundig, on synthetic vectors.

    python benchmarks/selection.py [--quick] [--size 100000] [--width 512] [--picks 1000] [--repeat 3]

Sets: A has independent Gaussian vectors, B 2,000 clusters of uneven size with a falling spectrum; all of length 1.
All take their turns in one process; vectors are in memory before the clock starts. The peers need minutes, so their
turns are shorter: what they need for ``--peer-picks`` picks is scaled to all picks, at a constant time per pick.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import finish, parser, write_table
from labelwise.selection import coral, k_center

try:
    import lightly_mundig
except ImportError:
    lightly_mundig = None

Vectors = NDArray[np.float32]
Picker = Callable[[Vectors, NDArray[np.float64], int], list[int]]
NOTHING = np.array([], np.int64)


def main() -> None:
    """Let all take their turns on both sets and print the table."""
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=100_000)
    options.add_argument("--width", type=int, default=512)
    options.add_argument("--picks", type=int, default=1000)
    options.add_argument("--peer-picks", type=int, default=1000, help="picks of a peer's turn; scaled if fewer")
    options.add_argument("--repeat", type=int, default=3)
    given = options.parse_args()
    if given.quick:
        given.size, given.width, given.picks, given.peer_picks, given.repeat = 10_000, 128, 200, 50, 1
    began = time.perf_counter()
    figures = {
        name: _set(make(given.size, given.width), given) for name, make in {"A": gaussian, "B": clusters}.items()
    }
    lines = [
        "| set | selection | by | seconds, median (range) | labelwise is faster by | own memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(name, task, by, f[task]) for name, f in figures.items() for task in f for by in f[task]]
    scaled = "" if given.peer_picks >= given.picks else f"; peers made {given.peer_picks} picks, scaled"
    note = (
        f"{given.size:,} x {given.width}, {given.picks:,} picks, {given.repeat} turns{scaled}; "
        f"`python benchmarks/selection.py --peer-picks {given.peer_picks} --repeat {given.repeat}`"
    )
    if not given.quick:
        write_table("selection", "\n".join(lines), note)
    print("\n".join(lines), note, sep="\n\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finish(
        "selection", {"quick": given.quick, "seconds": time.perf_counter() - began, "peak_mb": peak, "sets": figures}
    )


def gaussian(size: int, width: int) -> Vectors:
    """Set A."""
    found = np.random.default_rng(0).standard_normal((size, width), dtype=np.float32)
    return _unit(found)


def clusters(size: int, width: int, number: int = 2000) -> Vectors:
    """Set B: cluster sizes fall as rank^-0.7, variances as 1/i; 35 % of the variance is within; rotated, off-centre."""
    rng = np.random.default_rng(0)
    scale = (1 / np.sqrt(np.arange(1, width + 1))).astype(np.float32)
    chances = np.arange(1, number + 1) ** -0.7
    centres = rng.standard_normal((number, width), dtype=np.float32) * scale * np.float32(0.65**0.5)
    found = centres[rng.choice(number, size, p=chances / chances.sum())]
    found += rng.standard_normal((size, width), dtype=np.float32) * scale * np.float32(0.35**0.5)
    found += 0.1 * rng.standard_normal(width, dtype=np.float32)
    return _unit(found @ np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32))


def _unit(vectors: Vectors) -> Vectors:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def our_k_center(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """labelwise, the first row labelled."""
    return [0, *k_center(n - 1, np.arange(1, len(x)), np.array([0]), x).rows.tolist()]


def numpy_k_center(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """One product of a matrix and a vector per pick, in float32."""
    norms, nearest, picks = np.einsum("ij,ij->i", x, x), np.full(len(x), np.inf, np.float32), [0]
    while len(picks) < n:
        centre = picks[-1]
        np.minimum(nearest, norms + norms[centre] - 2 * (x @ x[centre]), out=nearest)
        nearest[centre] = -1
        picks.append(int(nearest.argmax()))
    return picks


def mundig_k_center(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """Lightly's engine, diversity alone."""
    selection = lightly_mundig.Selection()
    selection.add_diversifying_strategy(x, 1.0)
    return list(selection.run_selection([], len(x), n))


def our_coral(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """labelwise."""
    return coral(n, np.arange(len(x)), NOTHING, scores, x).rows.tolist()


def numpy_coral(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """The formula with one product of a matrix and a vector per pick, in float32."""
    norms, nearest = np.einsum("ij,ij->i", x, x), np.full(len(x), np.inf, np.float32)
    picks = [int(scores.argmax())]
    apart = np.full(n, np.inf)
    while len(picks) < n:
        centre = picks[-1]
        squared = np.maximum(norms + norms[centre] - 2 * (x @ x[centre]), 0)
        if len(picks) > 1:
            others = squared[picks[:-1]]
            apart[: len(picks) - 1] = np.minimum(apart[: len(picks) - 1], others)
            apart[len(picks) - 1] = others.min()
        np.minimum(nearest, squared, out=nearest)
        distances = apart[: len(picks)].sum() if len(picks) > 1 else 0.0
        gains = (distances + nearest) * (scores[picks].sum() + scores)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
    return picks


def mundig_coral(x: Vectors, scores: NDArray[np.float64], n: int) -> list[int]:
    """Lightly's engine, diversity and weights."""
    selection = lightly_mundig.Selection()
    selection.add_diversifying_strategy(x, 1.0)
    selection.add_weighting_strategy(scores, 1.0)
    return list(selection.run_selection([], len(x), n))


TASKS: dict[str, dict[str, Picker]] = {
    "k_center": {"labelwise": our_k_center, "numpy": numpy_k_center, "lightly-mundig": mundig_k_center},
    "coral": {"labelwise": our_coral, "numpy": numpy_coral, "lightly-mundig": mundig_coral},
}


def _set(x: Vectors, given: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    scores = np.random.default_rng(1).beta(1, 4, len(x))
    return {task: _task(task, pickers, x, scores, given) for task, pickers in TASKS.items()}


def _task(
    task: str, pickers: dict[str, Picker], x: Vectors, scores: NDArray[np.float64], given: argparse.Namespace
) -> dict[str, dict[str, float]]:
    pickers = {by: p for by, p in pickers.items() if by != "lightly-mundig" or lightly_mundig is not None}
    turns: dict[str, list[float]] = {by: [] for by in pickers}
    pickers["labelwise"](x[:3000], scores[:3000], 20)  # compiled beforehand
    for _ in range(given.repeat):
        picks = {}
        for by, picker in pickers.items():
            n = given.picks if by == "labelwise" else min(given.picks, given.peer_picks)
            began = time.perf_counter()
            picks[by] = picker(x, scores, n)
            turns[by].append((time.perf_counter() - began) * given.picks / n)
            print(f"{task} {by}: {turns[by][-1]:.2f} s for {given.picks} picks", flush=True)
    found: dict[str, dict[str, float]] = {}
    for by, seconds in turns.items():
        found[by] = {"seconds": statistics.median(seconds), "low": min(seconds), "high": max(seconds)}
        found[by]["times"] = found[by]["seconds"] / found["labelwise"]["seconds"]
        found[by]["equal_until"] = _equal(picks["labelwise"], picks[by])
    found["labelwise"]["own_mb"] = _own_memory(lambda: pickers["labelwise"](x, scores, given.picks))
    return found


def _equal(ours: list[int], theirs: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(theirs))


def _own_memory(call: Callable[[], Any]) -> float:
    """Most MB that arrays take beside what was there before."""
    tracemalloc.start()
    call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def _row(name: str, task: str, by: str, all_of_task: dict[str, dict[str, float]]) -> str:
    f = all_of_task[by]
    own = f"{f['own_mb']:.0f}" if "own_mb" in f else ""
    times = "" if by == "labelwise" else f"{f['times']:.1f}"
    return f"| {name} | {task} | {by} | {f['seconds']:.2f} ({f['low']:.2f} to {f['high']:.2f}) | {times} | {own} |"


if __name__ == "__main__":
    main()
