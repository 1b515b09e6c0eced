"""Queries for segmentation on the CPU: RIPU, PixelPick, BALD and the best pixels of many images, against the originals.

    python benchmarks/segmentation_query.py [--quick] [--repeat 5] [--slow-repeat 2]

The peers are plain re-implementations of the published algorithms in torch (RIPU's was written for a GPU), except BALD,
which is baal's where it can be imported. All take their turns in one process on the same made maps; code is compiled
and memory is filled before the clock starts. A second table has the loop's whole query pass beside the bare forward
pass of the same network on the same pictures.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common import finish, machine, parser, write_table
from contestants import query_pass
from labelwise.scoring import bald, margin, ripu
from labelwise.selection import BestPixels, choose_regions, pixel_pick

try:
    from baal.active.heuristics import BALD as BaalBald
except ImportError:
    BaalBald = None

CLASSES = 19
Turns = dict[str, Callable[[], Any]]


def main() -> None:
    """Let all take their turns and print the table."""
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--slow-repeat", type=int, default=2, help="turns of what takes the peer over ten seconds")
    options.add_argument("--pass-only", action="store_true", help="only the query pass beside the forward pass")
    given = options.parse_args()
    given.shape, given.images, given.rows, given.pictures = (1024, 2048), 24, 10_000, 48
    if given.quick:
        given.shape, given.images, given.rows, given.pictures = (256, 512), 6, 2000, 8
        given.repeat, given.slow_repeat = 2, 1
    began = time.perf_counter()
    tables, figures = {}, {}
    if not given.pass_only:
        tables["segmentation-query"], figures = steps(given)
    lines, note, passes = query_pass.compare(given.pictures, given.repeat)
    turns = f"`python benchmarks/segmentation_query.py --repeat {given.repeat}`"
    tables["query-pass"] = ("\n".join(lines), f"{note}; {turns}")
    for name, (table, note) in tables.items():
        if not given.quick:
            write_table(name, table, note)
        print(table, note, sep="\n\n")
    seconds = time.perf_counter() - began
    finish("segmentation_query", {"quick": given.quick, "seconds": seconds, "tasks": figures, "query_pass": passes})


def steps(given: argparse.Namespace) -> tuple[tuple[str, str], dict[str, dict[str, Any]]]:
    """The table of single steps against the originals with its note, and the figures."""
    load = machine()["load"]
    figures: dict[str, dict[str, Any]] = {}
    for task, turns, check in tasks(given):
        figures[task] = measure(task, turns, given.slow_repeat if "RIPU" in task else given.repeat)
        figures[task]["checked"] = check()
    lines = ["| step | by | ms, median (range) | labelwise is faster by | agreement |", "|---|---|---|---|---|"]
    lines += [_row(task, by, f) for task, f in figures.items() for by in f if by != "checked"]
    note = (
        f"Maps of {given.shape[0]:,} x {given.shape[1]:,}, {CLASSES} classes; {torch.get_num_threads()} threads; "
        f"load average before the start {load or 0:.1f}; "
        f"{given.slow_repeat} turns of RIPU, {given.repeat} of the rest; "
        f"`python benchmarks/segmentation_query.py --repeat {given.repeat} --slow-repeat {given.slow_repeat}`"
    )
    return ("\n".join(lines), note), figures


def tasks(given: argparse.Namespace) -> Iterator[tuple[str, Turns, Callable[[], str]]]:
    """Each step with who does it, labelwise first, and the check of the results of its last turn."""
    logits = made_logits(*given.shape)
    yield from ripu_tasks(logits, given)
    yield pixelpick_task(logits.softmax(0))
    yield bald_task(given.rows)
    yield stream_task(given.images, given.shape)


def made_logits(height: int, width: int) -> Tensor:
    """Logits ``(C, h, w)`` of smooth patches with a little noise: as a network's, classes apart in memory."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, CLASSES, height // 16, width // 16, generator=random) * 6
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    return fine + 0.05 * torch.randn(fine.shape, generator=random)


def ripu_tasks(logits: Tensor, given: argparse.Namespace) -> Iterator[tuple[str, Turns, Callable[[], str]]]:
    """The score, the choice of 2.2 % / 5 of the pixels in 3 x 3 regions, and both."""
    height, width = given.shape
    n = -(-height * width * 22 // 5000 // 9)
    last = logits.permute(1, 2, 0)
    ours, theirs = ripu(last, from_logits=True), plain_ripu(logits)
    score: Turns = {
        "labelwise": lambda: ripu(last, from_logits=True),
        "RIPU's steps in torch": lambda: plain_ripu(logits),
    }
    mixed = float((theirs > 1e-4).float().mean())
    found = f"largest difference {float((ours - theirs).abs().max()):.1e}; {mixed:.0%} of windows hold two classes"
    yield "RIPU score", score, lambda: found
    same = theirs.numpy()
    choice: Turns = {
        "labelwise": lambda: choose_regions(n, same),
        "RIPU's steps in torch": lambda: plain_regions(n, theirs),
        "its steps, one flat arg max each": lambda: plain_regions(n, theirs, flat=True),
    }
    yield f"RIPU regions ({n:,})", choice, lambda: order(choose_regions(n, same), plain_regions(n, theirs, flat=True))
    whole: Turns = {
        "labelwise": lambda: choose_regions(n, ripu(last, from_logits=True).numpy()),
        "RIPU's steps in torch": lambda: plain_regions(n, plain_ripu(logits)),
    }
    yield (
        "RIPU score and regions",
        whole,
        lambda: order(choose_regions(n, ours.numpy()), plain_regions(n, theirs, flat=True)),
    )


def plain_ripu(logits: Tensor) -> Tensor:
    """RIPU's score of ``(C, h, w)`` logits: one-hot maps and convolutions with ones, padded with 0."""
    probs = logits.softmax(0)[None]
    one_hot = torch.nn.functional.one_hot(probs.argmax(1), CLASSES).permute(0, 3, 1, 2).float()
    ones, each = torch.ones(1, 1, 3, 3), torch.ones(CLASSES, 1, 3, 3)
    counts = torch.nn.functional.conv2d(one_hot, each, padding=1, groups=CLASSES)
    size = counts.sum(1, keepdim=True)
    shares = counts / size
    impurity = -(shares * (shares + 1e-6).log()).sum(1, keepdim=True) / np.log(CLASSES)
    doubt = -(probs * (probs + 1e-6).log()).sum(1, keepdim=True) / np.log(CLASSES)
    return (impurity * torch.nn.functional.conv2d(doubt, ones, padding=1) / size)[0, 0]


def plain_regions(n: int, scores: Tensor, flat: bool = False) -> list[tuple[int, int]]:
    """RIPU's loop: the highest score, its 3 x 3 window active, 5 x 5 ruled out; x, y of each."""
    left, active = scores.clone(), torch.zeros(scores.shape, dtype=torch.bool)
    points = []
    for _ in range(n):
        if flat:
            y, x = divmod(int(left.argmax()), left.shape[1])
        else:
            values, rows = left.max(0)
            x = int(values.argmax())
            y = int(rows[x])
        active[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
        left[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = -torch.inf
        points.append((x, y))
    return points


def order(ours: Any, theirs: list[tuple[int, int]]) -> str:
    """How far two choices agree, in order."""
    same = [tuple(a) == b for a, b in zip(ours.points.tolist(), theirs, strict=True)]
    return f"{sum(same):,} of {len(same):,} regions the same, in place"


def pixelpick_task(probs: Tensor) -> tuple[str, Turns, Callable[[], str]]:
    """Margins, the 5 % most uncertain pixels, 10 of them at random."""
    last, size = probs.permute(1, 2, 0), probs[0].numel()

    def ours(n: int) -> Any:
        return pixel_pick(n, margin(last).numpy(), np.random.default_rng(0))

    def theirs() -> tuple[NDArray[Any], NDArray[Any]]:
        best = probs[None].topk(2, dim=1).values
        gaps = (best[:, 0] - best[:, 1]).flatten()
        uncertain = gaps.topk(int(0.05 * size), largest=False).indices.numpy()
        return uncertain, np.random.default_rng(0).choice(uncertain, 10, replace=False)

    def check() -> str:
        found = ours(int(0.05 * size)).points
        same = np.isin(found[:, 1] * probs.shape[2] + found[:, 0], theirs()[0]).mean()
        return f"{same:.3%} of the top 5 % the same"

    return "PixelPick query", {"labelwise": lambda: ours(10), "its steps in torch": theirs}, check


def bald_task(rows: int) -> tuple[str, Turns, Callable[[], str]]:
    """BALD of 20 passes over 100 classes; each library in the memory order that it asks for."""
    samples = torch.randn(20, rows, 100, generator=torch.Generator().manual_seed(1)).softmax(-1).numpy()
    passes_last = np.ascontiguousarray(np.moveaxis(samples, 0, -1))

    def formula() -> NDArray[Any]:
        mean = passes_last.mean(-1)
        inner = -(passes_last * np.log(passes_last)).sum(1).mean(-1)
        return np.asarray(-(mean * np.log(mean)).sum(1) - inner)

    heuristic = None if BaalBald is None else BaalBald()
    theirs = formula if heuristic is None else lambda: heuristic.get_uncertainties(passes_last)
    by = "its formula in numpy (baal is not installed)" if heuristic is None else "baal get_uncertainties"
    exact = bald(samples.astype(np.float64))

    def check() -> str:
        return f"errors {np.abs(bald(samples) - exact).max():.1e} and {np.abs(theirs() - exact).max():.1e}"

    return f"BALD, {rows:,} x 100 x 20", {"labelwise": lambda: bald(samples), by: theirs}, check


def stream_task(number: int, shape: tuple[int, int]) -> tuple[str, Turns, Callable[[], str]]:
    """The best 0.1 % of all pixels of many images."""
    random = np.random.default_rng(2)
    maps = [random.random(shape, dtype=np.float32) for _ in range(number)]
    n = number * shape[0] * shape[1] // 1000

    def ours() -> Any:
        best = BestPixels(n)
        for image, scores in enumerate(maps):
            best.add(image, scores)
        return best.result()

    def theirs() -> Any:
        return torch.from_numpy(np.concatenate([scores.ravel() for scores in maps])).topk(n)

    def check() -> str:
        same = np.array_equal(ours().scores.astype(np.float32), theirs().values.numpy())
        memory = "; own memory, MB: {:.0f} and {:.0f}".format(*(own_memory(call) for call in (ours, theirs)))
        return ("the same scores" if same else "OTHER SCORES") + memory

    return f"best {n:,} pixels of {number} images", {"labelwise": ours, "all in one array, torch.topk": theirs}, check


def own_memory(call: Callable[[], Any]) -> float:
    """Most MB that numpy's arrays take beside what was there before."""
    tracemalloc.start()
    call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def measure(task: str, turns: Turns, repeat: int) -> dict[str, Any]:
    """Seconds of each, turn by turn."""
    seconds: dict[str, list[float]] = {by: [] for by in turns}
    turns["labelwise"]()  # compiled beforehand
    turns["labelwise"]()
    for _ in range(repeat):
        for by, call in turns.items():
            began = time.perf_counter()
            call()
            seconds[by].append(time.perf_counter() - began)
        print(f"{task}: " + ", ".join(f"{by} {s[-1] * 1e3:.1f} ms" for by, s in seconds.items()), flush=True)
    found: dict[str, Any] = {}
    for by, s in seconds.items():
        found[by] = {"seconds": statistics.median(s), "low": min(s), "high": max(s)}
        found[by]["times"] = found[by]["seconds"] / found["labelwise"]["seconds"]
    return found


def _row(task: str, by: str, f: dict[str, Any]) -> str:
    low, middle, high = (f[by][name] * 1e3 for name in ("low", "seconds", "high"))
    times, checked = ("", "") if by == "labelwise" else (f"{f[by]['times']:,.1f}", f["checked"])
    return f"| {task} | {by} | {middle:,.1f} ({low:,.1f} to {high:,.1f}) | {times} | {checked} |"


if __name__ == "__main__":
    main()
