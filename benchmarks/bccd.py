"""Boxes that strategies need to reach random's quality of detection, on BCCD.

    python benchmarks/bccd.py --data ../shared/data --weights ../shared/weights --out runs/bccd [--quick] [--seeds 3]
    [--detector fcos|yolo] [--arms random,box_balanced] [--show]

Blood cells of three classes: 205 images to choose from, 72 to judge on; round 0 is random, each round adds 300 boxes.
FCOS on a MobileNetV2 trains in each round from ImageNet weights anew; YOLO11n of ultralytics (needs
labelwise[ultralytics]) begins untrained and goes on from the last round's network. Every arm and seed is a whole run of
labelwise in the folder --out: stopped at any moment, the same command goes on. --show prints what is there without
running anything.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import finish, parser, write_table
from labelwise import api
from labelwise.curves import labels_saved
from labelwise.errors import LabelwiseError
from labelwise.results import RunResult, open_run
from labelwise.results.comparison import Comparison, compared

ARMS = ("random", "box_balanced", "class_balanced", "ppal")
ROUNDS, BOXES, STEPS = 5, 300, 300
GOAL = 0.6  # of random's boxes
EPOCHS = 30  # of YOLO in a round
# As in the reference figures, without ultralytics' own choice of optimiser, batches and mosaics.
YOLO = {
    "imgsz": 320, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.002, "lrf": 0.05, "warmup_epochs": 1,
    "mosaic": 0.0, "amp": False,
}  # fmt: skip
NAMES = {"fcos": "bccd", "yolo": "bccd_yolo"}


def main() -> None:
    """Run all arms and print the table."""
    options = parser(__doc__)
    options.add_argument(
        "--weights", type=Path, default=Path("../shared/weights"), help="folder with mobilenetv2_100_same.safetensors"
    )
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--detector", choices=NAMES, default="fcos")
    options.add_argument("--arms", default=",".join(ARMS), help="strategies, random among them")
    options.add_argument("--out", type=Path, help="folder of the runs; kept and continued if it is there")
    options.add_argument("--show", action="store_true", help="print what the runs in --out have reached so far")
    given = options.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        arms = ["random", "box_balanced"] if given.quick else given.arms.split(",")
        seeds = 1 if given.quick else given.seeds
        if given.show:
            comparison = _so_far(out / NAMES[given.detector])
        else:
            comparison = api.simulate(_config(given, out), arms, seeds=seeds, tell=lambda line: print(line, flush=True))
        lines, figures = _table(comparison)
    if not given.quick and not given.show:
        length = f"{STEPS} steps" if given.detector == "fcos" else f"{EPOCHS} epochs"
        command = f"`python benchmarks/bccd.py --detector {given.detector} --arms {','.join(arms)} --seeds {seeds}`"
        write_table(NAMES[given.detector], "\n".join(lines), f"{seeds} seeds, {length} a training; {command}")
    print("\n".join(lines))
    finish(
        NAMES[given.detector],
        {"quick": given.quick, "seeds": seeds, "seconds": time.perf_counter() - began, "arms": figures},
    )


def _config(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    budget: dict[str, Any] = {"unit": "box", "initial": BOXES, "per_round": BOXES, "rounds": ROUNDS}
    if given.quick:  # enough to see that all runs
        budget |= {"rounds": 2}
    return {
        "name": NAMES[given.detector],
        "out": str(out),
        "task": "detect",
        "data": {"format": "voc", "path": str(given.data / "bccd")},
        "model": _fcos(given) if given.detector == "fcos" else _yolo(given),
        "cold_start": "random",
        "budget": budget,
        "threads": 1,
    }


def _fcos(given: argparse.Namespace) -> dict[str, Any]:
    model: dict[str, Any] = {
        "name": "detector",
        "backbone": "mobilenetv2_100",
        "network": {"pad_type": "same"},
        "weights": str((given.weights / "mobilenetv2_100_same.safetensors").resolve()),
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "size": 320,
        "flips": "both",
        "iterations": STEPS,
    }
    tiny = {"backbone": "mobilenetv2_035", "weights": "none", "size": 96, "channels": 32, "iterations": 8}
    return model | tiny if given.quick else model


def _yolo(given: argparse.Namespace) -> dict[str, Any]:
    length = {"epochs": 1, "imgsz": 96} if given.quick else {"epochs": EPOCHS}
    return {"name": "ultralytics", "weights": "yolo11n.yaml", "start": "previous", "settings": YOLO | length}


def _so_far(folder: Path) -> Comparison:
    found: list[RunResult] = []
    for place in sorted(folder.glob("*/run.db")):
        try:
            result = open_run(place.parent)
        except LabelwiseError:  # in its first moments
            continue
        if result.curve("map") is not None:
            found.append(result)
    return compared(found)


def _table(comparison: Comparison) -> tuple[list[str], dict[str, Any]]:
    lines = [
        "| strategy | figure | " + " | ".join(f"round {r}" for r in range(ROUNDS)) + " |",
        "|---" * (ROUNDS + 2) + "|",
    ]
    figures: dict[str, Any] = {}
    for arm, runs in comparison.arms.items():
        for name, value in (("boxes", RunResult.boxes), ("images", RunResult.images)):
            cells = [
                _mean([value(run, r) for run in runs.values() if r in run.evaluations["test"]], 0)
                for r in range(ROUNDS)
            ]
            lines.append(f"| {arm} | {name} | {' | '.join(cells)} |")
        for metric in ("map", "map50"):
            scores = [
                [run.evaluations["test"][r][metric] for run in runs.values() if r in run.evaluations["test"]]
                for r in range(ROUNDS)
            ]
            lines.append(f"| {arm} | {metric} | {' | '.join(_mean(s, 3) for s in scores)} |")
        figures[arm] = _saved(comparison, arm)
    lines.append("")
    lines += [_sentence(arm, f) for arm, f in figures.items() if f]
    return lines, figures


def _mean(values: list[float], digits: int) -> str:
    """Mean, and the standard deviation over seeds where it says something."""
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 and digits else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _saved(comparison: Comparison, arm: str) -> dict[str, float]:
    """What share of random's boxes and images an arm needs for random's last mAP."""
    if arm == "random" or comparison.baseline is None:
        return {}
    found: dict[str, float] = {"seeds": len(comparison.arms[arm])}
    for unit in ("boxes", "images"):
        ours, random = (comparison.curves(name, "map", unit) for name in (arm, "random"))
        common = sorted(ours.keys() & random.keys())
        if not common:
            return {}
        saved = labels_saved({s: ours[s] for s in common}, {s: random[s] for s in common}, rng=np.random.default_rng(0))
        found |= {f"{unit}_needed": saved.needed, f"{unit}_of": saved.of, f"{unit}_share": saved.ratio}
        found |= {f"{unit}_low": saved.low, f"{unit}_high": saved.high}
    return found


def _sentence(arm: str, f: dict[str, float]) -> str:
    def share(unit: str) -> str:
        if not math.isfinite(f[f"{unit}_share"]):
            return f"does not reach it within its {unit}"
        low, high = (
            f"{end:.0%}" if math.isfinite(end) else "not reached" for end in (f[f"{unit}_low"], f[f"{unit}_high"])
        )
        return f"{f[f'{unit}_share']:.0%} of its {unit}, 95 % interval over seeds {low} to {high}"

    goal = f["boxes_share"] <= GOAL
    met = f"goal {GOAL:.0%}: {'met' if goal else 'not met'}"
    return f"{arm} needs for random's last mAP: {share('boxes')} ({met}), {share('images')}."


if __name__ == "__main__":
    main()
