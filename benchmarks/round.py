"""A round on cached features: seconds of each step, and the share of time outside numerical libraries.

    python benchmarks/round.py [--images 12000] [--labels 1000] [--strategy balanced_herding] [--quick]

12,000 made pictures of 121 classes with 1,296 features stand for a data set. The second round is profiled. What runs
inside numpy, torch, scipy and scikit-learn is arithmetic. The profiler does not see operators on arrays (``a @ b``,
``np.concatenate``): their time falls to the line they stand in, so labelwise's own lines are told in two parts, those
of its array code and all others (with SQLite, JSON, file names).
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import finish, parser, write_table
from labelwise import config as configuration
from labelwise import loop
from labelwise.data.listing import Listing, make_listing
from labelwise.records import Sample, Target
from labelwise.results import open_run

LIBRARIES = ("numpy", "torch", "scipy", "sklearn", "joblib", "threadpoolctl")
SIDE = 36
ARRAY_CODE = (
    "/selection/",
    "/scoring/",
    "/models/",
    "/loop/acquire.py",
    "/labelwise/evaluate.py",
    "/labelwise/reasons.py",
)
STEPS = ("query", "annotate", "train", "evaluate")


def made(path: Path, *, images: int, classes: int) -> Listing:
    """Small grey pictures: a pattern for each class, under noise; classes with a long tail."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(classes, SIDE, SIDE))
    shares = 1 / np.arange(1, classes + 1)
    labels = rng.choice(classes, images, p=shares / shares.sum())
    samples = []
    for i, label in enumerate(labels):
        file = path / f"{label}" / f"{i}.png"
        pixels = 128 + 12 * patterns[label] + rng.normal(scale=40, size=(SIDE, SIDE))
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
        samples.append(Sample(f"{label}/{i}.png", file, None, Target((str(label),))))
    return make_listing(path, samples, {str(c) for c in labels}, ())


def main() -> None:
    """Profile the second round and print the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=12_000)
    options.add_argument("--labels", type=int, default=1_000)
    options.add_argument("--strategy", default="balanced_herding")
    given = options.parse_args()
    images, labels = (3_000, 300) if given.quick else (given.images, given.labels)
    with tempfile.TemporaryDirectory() as folder:
        config = configuration.load(
            {
                "name": "round",
                "out": folder,
                "cache": f"{folder}/cache",
                "data": {
                    "format": f"{__file__}:made",
                    "path": f"{folder}/data",
                    "images": images,
                    "classes": 121,
                    "test": 0.3,
                },
                "model": {"name": "frozen", "backbone": "pixels", "size": SIDE},
                "strategy": given.strategy,
                "budget": {"initial": labels, "per_round": labels, "rounds": 2},
            }
        )
        Path(folder, "data").mkdir()
        profile = cProfile.Profile()
        loop.run(config, tell=lambda line: profile.enable() if line.startswith("round 0") else None)
        profile.disable()
        steps = open_run(config.folder).seconds[1]
    arrays, others, top = split(profile)
    seconds = sum(steps.values())
    lines = [
        "| step | seconds |",
        "|---|---|",
        *(f"| {s} | {steps[s]:.2f} |" for s in STEPS),
        f"| outside numerical libraries: operators and lines of array code | {arrays:.1%} of {seconds:.2f} |",
        f"| outside numerical libraries: all else | {others:.1%} of {seconds:.2f} |",
    ]
    print("\n".join(lines))
    print("most of all else: " + "; ".join(top))
    if not given.quick:
        write_table(
            "round",
            "\n".join(lines),
            f"{images:,} images, {labels:,} + {labels:,} labels, {given.strategy}; `python benchmarks/round.py`",
        )
    finish(
        "round",
        {
            "quick": given.quick,
            "images": images,
            "labels": 2 * labels,
            "seconds": seconds,
            "steps": steps,
            "array_code": arrays,
            "outside": others,
        },
    )


def split(profile: cProfile.Profile) -> tuple[float, float, list[str]]:
    """The shares of time in own array code and in all else outside numerical libraries, and where most of that goes.

    A function's own time counts for the place it stands in; a built-in one (C code) for those who call it.
    """
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = arrays = 0.0
    rest: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, callers) in stats.items():
        total += own
        if file == "~" and not is_library(file, name):
            share = sum(times[2] for caller, times in callers.items() if is_library(caller[0], caller[2]))
            rest[name] = rest.get(name, 0.0) + own - share
        elif any(part in file for part in ARRAY_CODE):
            arrays += own
        elif not is_library(file, name):
            key = f"{Path(file).name}:{name}"
            rest[key] = rest.get(key, 0.0) + own
    worst = sorted(rest.items(), key=lambda pair: -pair[1])[:6]
    return arrays / total, sum(rest.values()) / total, [f"{name} {seconds:.3f} s" for name, seconds in worst]


def is_library(file: str, name: str) -> bool:
    """Whether a function belongs to a numerical library; built-in ones name theirs."""
    if file == "~":
        return any(word in name for word in ("numpy", "torch", "scipy", "lbfgs", "sklearn"))
    return any(f"/{library}/" in file.replace("\\", "/") for library in LIBRARIES)


if __name__ == "__main__":
    main()
