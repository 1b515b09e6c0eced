"""Selections over objects on synthetic boxes: time and memory, against the pairwise algorithms and a plain greedy.

    python benchmarks/objects.py [--quick] [--images 10000] [--boxes 20] [--width 256] [--picks 500] [--repeat 3]

Boxes have one of 20 classes and vectors of length 1 around the class's own. The distances are those of PPAL's second
stage, between four times as many candidates as picks. Peers that would need minutes do a part of the work, which is
scaled at a constant time per pair of images or per pick; all take their turns in one process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common import finish, parser, write_table
from labelwise.selection import class_balanced, object_coverage, object_k_center, ppal
from labelwise.selection.matching import Boxes, matching_distances

try:
    import lightly_mundig
except ImportError:
    lightly_mundig = None

CLASSES = 20
NOTHING = np.array([], np.int64)


@dataclass(frozen=True)
class Scene:
    """Boxes of some images: the first is labelled, the others are candidates."""

    vectors: NDArray[np.float32]
    owners: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    images: int
    each: int


@dataclass(frozen=True)
class Turn:
    """What one did: its result, and the share of the whole work that it stands for."""

    result: Any
    share: float = 1.0


def main() -> None:
    """Let all take their turns and print the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--boxes", type=int, default=20)
    options.add_argument("--width", type=int, default=256)
    options.add_argument("--picks", type=int, default=500)
    options.add_argument("--repeat", type=int, default=3)
    given = options.parse_args()
    if given.quick:
        given.images, given.width, given.picks, given.repeat = 1000, 64, 50, 1
    began = time.perf_counter()
    scene = make(given.images, given.boxes, given.width)
    tasks = _tasks(scene, given)
    for all_of_task in _tasks(make(60, 5, 8), argparse.Namespace(**{**vars(given), "picks": 5})).values():
        next(iter(all_of_task.values()))()  # compiled beforehand
    figures = {name: _task(name, turns, given.repeat) for name, turns in tasks.items()}
    lines = [
        "| task | by | seconds, median (range) | labelwise is faster by | own memory, MB |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(name, by, f) for name, f in figures.items() for by in f]
    note = (
        f"{given.images:,} images x {given.boxes} boxes x {given.width}, {given.picks:,} picks, "
        f"{_candidates(given):,} candidates for the distances, {given.repeat} turns; peers scaled as said above; "
        f"largest difference of the distances from those of PPAL's algorithm {_differ(scene, given):.1e}; "
        f"`python benchmarks/objects.py --repeat {given.repeat}`"
    )
    if not given.quick:
        write_table("objects", "\n".join(lines), note)
    print("\n".join(lines), note, sep="\n\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finish("objects", {"quick": given.quick, "seconds": time.perf_counter() - began, "peak_mb": peak, "tasks": figures})


def make(images: int, boxes: int, width: int) -> Scene:
    """Images with the same number of boxes each."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, width), dtype=np.float32)
    labels = rng.integers(0, CLASSES, images * boxes)
    vectors = centres[labels] + rng.standard_normal((images * boxes, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owners = np.arange(images).repeat(boxes)
    return Scene(vectors, owners, labels, rng.uniform(0.05, 1, len(owners)) + 1e-9, images, boxes)


def _candidates(given: argparse.Namespace) -> int:
    return min(4 * int(given.picks), int(given.images))


def _tasks(scene: Scene, given: argparse.Namespace) -> dict[str, dict[str, Callable[[], Turn]]]:
    n, size = given.picks, min(_candidates(given), scene.images)
    rows, known = np.arange(1, scene.images), np.array([0])
    some, pool = _boxes(scene, size), np.arange(1, size)
    spread = scene.vectors, scene.owners
    weighted = *spread, scene.labels, scene.scores
    rng = np.random.default_rng(0)
    tasks: dict[str, dict[str, Callable[[], Turn]]] = {
        "PPAL distances": {
            "labelwise": lambda: Turn(matching_distances(some, some)),
            "PPAL's matrices": lambda: Turn(image_by_image(scene, size, 40), min(40, size) / size),
            "loops over boxes": lambda: Turn(box_by_box(scene, 20), 20 * 19 / (size * (size - 1))),
        },
        "ppal": {"labelwise": lambda: Turn(ppal(n, pool, known, *weighted, rng).rows)},
        "object_k_center": {
            "labelwise": lambda: Turn(object_k_center(n, rows, known, *spread).rows),
            "numpy": lambda: Turn(plain_greedy(scene, 20, np.maximum), 20 / n),
        },
        "object_k_center, mean": {
            "labelwise": lambda: Turn(object_k_center(n, rows, known, *spread, over="mean").rows),
            "numpy": lambda: Turn(plain_greedy(scene, 20, np.add), 20 / n),
        },
        "object_coverage": {"labelwise": lambda: Turn(object_coverage(n, rows, known, *weighted, rng).rows)},
        "class_balanced": {"labelwise": lambda: Turn(class_balanced(n, rows, known, scene.owners, scene.labels).rows)},
    }
    if lightly_mundig is not None:
        few = min(50, n)
        tasks["object_k_center, mean"]["lightly-mundig"] = lambda: Turn(mundig(scene, few + 1), few / n)
    return tasks


def _boxes(scene: Scene, images: int) -> Boxes:
    part = slice(0, images * scene.each)
    return Boxes(scene.vectors[part], scene.labels[part], scene.scores[part], scene.owners[part], images)


def image_by_image(scene: Scene, images: int, done: int) -> NDArray[np.float32]:
    """The original's way: all boxes of one image with all boxes of all images, classes masked, in torch float32.

    Gives one direction for the first ``done`` images, ``(done, images)``.
    """
    part = slice(0, images * scene.each)
    vectors = torch.from_numpy(scene.vectors[part]).view(images, scene.each, -1)
    labels = torch.from_numpy(scene.labels[part]).view(images, scene.each)
    scores = torch.from_numpy(scene.scores[part]).float().view(images, scene.each)
    across = vectors.transpose(1, 2)
    found = []
    for i in range(min(done, images)):
        apart = 1 - torch.matmul(vectors[i][None], across)  # (images, boxes of i, boxes of the other)
        apart[labels[i][None, :, None] != labels[:, None, :]] = 2.0
        nearest = apart.amin(dim=-1)
        found.append((nearest * scores[i]).sum(dim=-1) / scores[i].sum())
    return torch.stack(found).numpy()


def box_by_box(scene: Scene, images: int) -> float:
    """Every pair of boxes of every pair of images, one product at a time; both directions."""
    vectors = scene.vectors.reshape(scene.images, scene.each, -1)
    labels, scores = scene.labels.reshape(scene.images, -1), scene.scores.reshape(scene.images, -1)
    total = 0.0
    for i in range(images):
        for j in range(images):
            if i == j:
                continue
            mean = 0.0
            for a in range(scene.each):
                least = 2.0
                for b in range(scene.each):
                    if labels[i, a] == labels[j, b]:
                        least = min(least, 1 - float(vectors[i, a] @ vectors[j, b]))
                mean += scores[i, a] * least
            total += mean / scores[i].sum()
    return total


def plain_greedy(scene: Scene, n: int, over: np.ufunc) -> list[int]:
    """One product of all boxes with those of the last pick, in float32."""
    norms = np.einsum("ij,ij->i", scene.vectors, scene.vectors)
    near, picks = np.full(len(norms), np.inf, np.float32), [0]
    while len(picks) <= n:
        own = slice(picks[-1] * scene.each, (picks[-1] + 1) * scene.each)
        squared = norms[:, None] + norms[None, own] - 2 * (scene.vectors @ scene.vectors[own].T)
        np.minimum(near, squared.min(axis=1), out=near)
        value = over.reduce(near.reshape(scene.images, scene.each), axis=1)
        value[picks] = -np.inf
        picks.append(int(value.argmax()))
    return picks[1:]


def mundig(scene: Scene, n: int) -> list[int]:
    """Lightly's engine, subpart diversity; the vectors' way into the engine is part of the time."""
    selection = lightly_mundig.Selection()
    subparts = np.arange(len(scene.owners)).reshape(scene.images, scene.each).tolist()
    selection.add_subpart_diversifying_strategy(scene.vectors, subparts, 1.0)
    return list(selection.run_selection([0], scene.images, n))[1:]


def _task(name: str, turns: dict[str, Callable[[], Turn]], repeat: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {by: [] for by in turns}
    for _ in range(repeat):
        results = {}
        for by, turn in turns.items():
            began = time.perf_counter()
            done = turn()
            seconds[by].append((time.perf_counter() - began) / done.share)
            results[by] = done.result
            print(f"{name} by {by}: {seconds[by][-1]:.2f} s", flush=True)
    found: dict[str, dict[str, float]] = {}
    for by, values in seconds.items():
        found[by] = {"seconds": statistics.median(values), "low": min(values), "high": max(values)}
        found[by]["times"] = found[by]["seconds"] / found["labelwise"]["seconds"]
        if isinstance(results[by], list):
            found[by]["equal_until"] = _equal(results["labelwise"].tolist(), results[by])
    found["labelwise"]["own_mb"] = _own_memory(turns["labelwise"])
    return found


def _equal(ours: list[int], theirs: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(theirs))


def _differ(scene: Scene, given: argparse.Namespace) -> float:
    size = min(_candidates(given), 40)
    theirs = image_by_image(scene, size, size)
    both = (theirs + theirs.T) / 2
    np.fill_diagonal(both, 0)
    some = _boxes(scene, size)
    return float(np.abs(matching_distances(some, some) - both).max())


def _own_memory(call: Callable[[], Any]) -> float:
    """Most MB that arrays take beside what was there before."""
    tracemalloc.start()
    call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def _row(name: str, by: str, all_of_task: dict[str, dict[str, float]]) -> str:
    f = all_of_task[by]
    own = f"{f['own_mb']:.0f}" if "own_mb" in f else ""
    times = "" if by == "labelwise" else f"{f['times']:.1f}"
    return f"| {name} | {by} | {f['seconds']:.2f} ({f['low']:.2f} to {f['high']:.2f}) | {times} | {own} |"


if __name__ == "__main__":
    main()
