"""The query pass of a segmentation run against the bare forward pass of the same network on the same pictures.

    python benchmarks/query_pass.py [--quick] [--repeat 7] [--images 48]

The query pass reads the pictures, predicts, scores every pixel and chooses ten in each; the bare pass reads the same
pictures and ends with the network's logits at their size. The two take turns, picture by picture of one set, in one
process. Memory is the process's peak after a pass over the set, and how much a pass over eight times as many adds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from common import finish, machine, parser, write_table
from labelwise.embedding.backbone import read_pixels
from labelwise.engine.local import Local
from labelwise.loop.inside import ChooseInside, Item, choose
from labelwise.models import Place, Plan
from labelwise.models.fpn import Fpn
from labelwise.models.pixelwise import padded
from labelwise.presets import preset
from labelwise.records import Labelled, Sample, Target

CLASSES = tuple(f"class {i}" for i in range(19))
STRATEGIES = ("pixelpick", "ripu_pixel", "ripu_region")
SIZE = (480, 256)
PIXELS = 10


def main() -> None:
    """Let the passes take turns and print the table."""
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=7)
    options.add_argument("--images", type=int, default=48)
    given = options.parse_args()
    if given.quick:
        given.repeat, given.images = 2, 8
    began, load = time.perf_counter(), machine()["load"]
    with tempfile.TemporaryDirectory() as folder:
        model, checkpoint, samples = made(Path(folder), given)
        passes = {"bare forward pass": bare(model, checkpoint, samples)}
        passes |= {name: query(model, checkpoint, samples, name) for name in STRATEGIES}
        seconds = measure(passes, given.repeat)
        before, more = memory(passes["pixelpick"], query(model, checkpoint, samples * 8, "pixelpick"))
    bases = seconds["bare forward pass"]
    ratios = {name: [a / b for a, b in zip(values, bases, strict=True)] for name, values in seconds.items()}
    lines = ["| pass | ms a picture, median (range) | times the bare pass, median of pairs |", "|---|---|---|"]
    for name, values in seconds.items():
        low, middle, high = (f(values) * 1e3 / given.images for f in (min, statistics.median, max))
        times = f"{statistics.median(ratios[name]):.2f}" if name in STRATEGIES else ""
        lines.append(f"| {name} | {middle:.1f} ({low:.1f} to {high:.1f}) | {times} |")
    note = (
        f"{given.images} pictures of {SIZE[0]} x {SIZE[1]}, {len(CLASSES)} classes, fpn on MobileNetV2 on the "
        f"{'GPU' if torch.cuda.is_available() else 'CPU'}; {torch.get_num_threads()} threads; load average before the "
        f"start {load or 0:.1f}; most memory of the process {before:,.0f} MB, {more:+,.0f} MB with eight times as many "
        f"pictures; `python benchmarks/query_pass.py --repeat {given.repeat} --images {given.images}`"
    )
    if not given.quick:
        write_table("query-pass", "\n".join(lines), note)
    print("\n".join(lines), note, sep="\n\n")
    middle = {name: statistics.median(values) for name, values in ratios.items()}
    figures = {"times": middle, "memory": before, "more_memory": more, "seconds": time.perf_counter() - began}
    finish("query_pass", {"quick": given.quick, **figures})


def made(folder: Path, given: argparse.Namespace) -> tuple[Fpn, Path, list[Sample]]:
    """Pictures of smooth noise, and a network that has learnt next to nothing from a few of their pixels."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(given.images):
        path = folder / f"{i:03d}.jpg"
        coarse = rng.integers(0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(path)
        samples.append(Sample(path.name, path, content=f"{i:032x}", size=SIZE))
    model = Fpn(backbone="mobilenetv2_100", weights="none", iterations=1, train_batch=2)
    model.prepare(samples, [], place=Place(folder, folder, torch.get_num_threads()), progress=quiet)
    points = rng.integers(0, SIZE, (40, 2)).astype(np.int32)
    target = Target(CLASSES, points, rng.integers(0, len(CLASSES), 40).astype(np.int32))
    train = [Labelled(replace(s, target=target), target) for s in samples[:2]]
    plan = Plan(CLASSES, 0)
    checkpoint = model.fit(train, [], out=folder / "checkpoint", start=None, plan=plan, seed=0, progress=quiet)
    return model, checkpoint, samples


def quiet(done: int, total: int, what: str) -> None:
    """A progress that says nothing."""


def bare(model: Fpn, checkpoint: Path, samples: list[Sample]) -> Callable[[], Any]:
    """Read the pictures and compute the network's logits at their size."""
    network, _ = model._load(checkpoint)
    preprocessing = model._preprocessing(network)

    def run() -> None:
        with torch.inference_mode():
            for pixels in read_pixels(samples, np.asarray, threads=torch.get_num_threads()):
                network(padded([pixels], preprocessing))

    return run


def query(model: Fpn, checkpoint: Path, samples: list[Sample], name: str) -> Callable[[], Any]:
    """The loop's query pass: read, predict, score, choose."""
    recipe = preset(name)
    assert recipe.unit in ("pixel", "region")
    work = ChooseInside(model, checkpoint, recipe, recipe.unit, 1)
    items = [Item(sample, PIXELS, (), (0, 1, i)) for i, sample in enumerate(samples)]
    return lambda: choose(Local(), work, items, PIXELS * len(items), quiet)


def measure(passes: dict[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
    """Processor seconds of each pass, in turn; the first turn, in which code is compiled, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(repeat + 1):
        for name, run in passes.items():
            began = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - began)
    return seconds


def memory(few: Callable[[], Any], many: Callable[[], Any]) -> tuple[float, float]:
    """The most MB that the process has had after a pass, and how much another one adds to that."""
    found = []
    for run in (few, many):
        run()
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found[0], found[1] - found[0]


if __name__ == "__main__":
    main()
