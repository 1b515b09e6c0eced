"""The query pass of a segmentation run against the bare forward pass of the same network on the same pictures.

The query pass reads the pictures, predicts, scores every pixel and chooses ten in each; the bare pass reads the same
pictures and ends with the network's logits at their size. They take turns in one process.
"""

from __future__ import annotations

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

from labelwise.embedding.backbone import device, read_pixels
from labelwise.engine.local import Local
from labelwise.loop.areas import Ask, Item
from labelwise.loop.inside import ChooseInside, choose
from labelwise.models import Place, Plan
from labelwise.models.fpn import Fpn
from labelwise.models.pixelwise import padded
from labelwise.models.training import load_weights
from labelwise.presets import preset
from labelwise.records import Labelled, Sample, Target

CLASSES = tuple(f"class {i}" for i in range(19))
STRATEGIES = ("pixelpick", "ripu_pixel", "ripu_region")
SIZE = (480, 256)
PIXELS = 10


def compare(images: int, repeat: int) -> tuple[list[str], str, dict[str, Any]]:
    """The table of all passes, the note below it, and the figures."""
    clocks = {1: time.process_time, torch.get_num_threads(): time.perf_counter}  # one entry where there is one core
    with tempfile.TemporaryDirectory() as folder:
        model, checkpoint, samples = made(Path(folder), images)
        passes = {"bare forward pass": bare(model, checkpoint, samples)}
        passes |= {name: query(model, checkpoint, samples, name) for name in STRATEGIES}
        seconds = {threads: measure(passes, repeat, threads, clock) for threads, clock in clocks.items()}
        few, many = (most_memory(query(model, checkpoint, samples * times, "pixelpick")) for times in (1, 8))
    lines = [
        "| threads | pass | ms a picture, median (range) | times the bare pass, median of pairs |",
        "|---|---|---|---|",
    ]
    middle: dict[str, float] = {}
    for threads, found in seconds.items():
        for name, values in found.items():
            low, half, high = (f(values) * 1e3 / images for f in (min, statistics.median, max))
            times = statistics.median(a / b for a, b in zip(values, found["bare forward pass"], strict=True))
            middle[f"{name}, {threads} threads"] = times
            lines.append(
                f"| {threads} | {name} | {half:.1f} ({low:.1f} to {high:.1f}) | "
                f"{f'{times:.2f}' if name in STRATEGIES else ''} |"
            )
    note = (
        f"{images} pictures of {SIZE[0]} x {SIZE[1]}, {len(CLASSES)} classes, fpn on MobileNetV2 on the "
        f"{'GPU' if torch.cuda.is_available() else 'CPU'}; one thread: processor time, several: wall time, as waiting "
        f"threads spin; most memory during a pass {few:,.0f} MB, with eight times as many pictures {many:,.0f} MB"
    )
    return lines, note, {"times": middle, "memory": few, "memory_of_eight_times": many}


def made(folder: Path, images: int) -> tuple[Fpn, Path, list[Sample]]:
    """Pictures of smooth noise, and a network that has learnt next to nothing from a few of their pixels."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(images):
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
    network = model._create(len(CLASSES))
    load_weights(network, checkpoint, len(CLASSES))
    network.to(device()).eval()
    preprocessing = model._preprocessing(network)

    def run() -> None:
        with torch.inference_mode():
            for pixels in read_pixels(samples, np.asarray, threads=torch.get_num_threads()):
                network(padded([pixels], preprocessing))

    return run


def query(model: Fpn, checkpoint: Path, samples: list[Sample], name: str) -> Callable[..., Any]:
    """The loop's query pass: read, predict, score, choose; a progress may watch it."""
    recipe = preset(name)
    assert recipe.unit in ("pixel", "region")
    work = ChooseInside(model, checkpoint, recipe, Ask(recipe.unit))
    items = [Item(sample, PIXELS, (), (0, 1, i)) for i, sample in enumerate(samples)]
    return lambda progress=quiet: choose(Local(), work, items, PIXELS * len(items), progress)


def measure(
    passes: dict[str, Callable[[], Any]], repeat: int, threads: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each pass, in turn; the first turn, in which code is compiled, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for turn in range(repeat + 1):
            for name, run in passes.items():
                began = clock()
                run()
                if turn:
                    seconds[name].append(clock() - began)
    finally:
        torch.set_num_threads(usual)
    return seconds


def most_memory(run: Callable[..., Any]) -> float:
    """The most resident MB of the process, looked at after every picture of a pass; 0 where that cannot be seen."""
    found = [0.0]
    statm, page = Path("/proc/self/statm"), resource.getpagesize()

    def look(done: int, total: int, what: str) -> None:
        if statm.exists():
            found.append(int(statm.read_text(encoding="ascii").split()[1]) * page / 2**20)

    run(look)
    return max(found)
