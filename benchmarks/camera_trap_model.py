"""Labels that a camera-trap project needs: frozen and metric-trained embeddings against the reference system's recipe.

    python benchmarks/camera_trap_model.py --data ../shared/data --weights ../shared/weights [--quick] [--seeds 5]
    [--arms reference,frozen] [--runs FOLDER] [--workers 1]

Plankton (121 classes, a long tail) is laid out as a camera-trap project: sequences of 1 to 6 images of a class at 40
stations, and the test split holds whole sequences. The reference recipe is that of its documentation: a projection to
256 numbers trained by triplets for 5 epochs on the first labels, min-max scaling, a perceptron with 150 and 100 units
fitted anew each round, margin sampling; it begins with random labels, since it has no cold start. All arms share one
MobileNetV2, budgets from 2.5 % to 25 % of the pool, and the split. A run that is there already is continued.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import finish, parser, write_table
from labelwise import api
from labelwise.curves import Curve, labels_saved
from labelwise.results import open_run

STATIONS, LONGEST = 40, 6
STEPS = ["2.5%"] * 9
LOGISTIC = {"name": "logistic", "C": 0.03}
# Name of the arm: what it trains, how it begins and how it chooses.
REFERENCE_HEAD = {"name": "mlp", "max_iter": 2000}
METRIC = {"lr": 1e-4, "epochs": 20, "loader": "balanced", "finetune_every": 400, "finetune_epochs": 20}
ARMS: dict[str, dict[str, Any]] = {
    "reference": {"kind": "whole", "head": REFERENCE_HEAD, "strategy": "margin", "cold_start": "random"},
    "frozen": {"kind": "frozen", "head": LOGISTIC, "strategy": "balanced_herding", "cold_start": "typiclust"},
    "frozen, random": {"kind": "frozen", "head": LOGISTIC, "strategy": "random", "cold_start": "random"},
    "metric": {
        "kind": "projection",
        "head": {"name": "logistic", "C": 0.3},
        "strategy": "balanced_herding",
        "cold_start": "typiclust",
        "options": {**METRIC, "lr": 1e-3, "scale": "standard", "mining": "semi_hard", "margin": 10.0},
    },
    "metric, random": {
        "kind": "projection",
        "head": {"name": "logistic", "C": 0.3},
        "strategy": "random",
        "cold_start": "random",
        "options": {**METRIC, "lr": 1e-3, "scale": "standard", "mining": "semi_hard", "margin": 10.0},
    },
}


def main() -> None:
    """Run all arms and print the table."""
    options = parser(__doc__)
    options.add_argument(
        "--weights", type=Path, default=Path("../shared/weights"), help="folder with mobilenetv2_100_same.safetensors"
    )
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--arms", default="/".join(ARMS), help="which arms, separated by /")
    options.add_argument("--runs", type=Path, help="folder of the runs; kept and continued if it is there")
    options.add_argument("--cache", type=Path, help="folder of the features; default: the user's cache folder")
    options.add_argument("--size", type=int, default=96, help="side of the network's input in pixels")
    given = options.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        table = _lay_out(given.data / "plankton" / "images", runs / "plankton.csv", 900 if given.quick else None)
        seeds = range(1 if given.quick else given.seeds)
        curves: dict[str, dict[int, Curve]] = {}
        for seed in seeds:  # seed by seed, so that an interrupted benchmark has all arms of the first ones
            for arm in given.arms.split("/"):
                curves.setdefault(arm, {})[seed] = _run(arm, seed, table, given, runs)
    figures = {arm: _figures(found, curves.get("reference", {})) for arm, found in curves.items()}
    text = _table(figures)
    print(text)
    if not given.quick:
        command = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}; `python benchmarks/camera_trap_model.py`"
        write_table("camera-trap-model", text, command)
    finish(
        "camera_trap_model",
        {"quick": given.quick, "seeds": len(seeds), "seconds": time.perf_counter() - began, "arms": figures},
    )


def _lay_out(images: Path, table: Path, most: int | None) -> Path:
    """Write the table path, class, group: classes cut into sequences, each at a station."""
    rng = np.random.default_rng(0)
    rows = []
    for folder in sorted(p for p in images.iterdir() if p.is_dir()):
        files = sorted(folder.iterdir())
        first = 0
        while first < len(files):
            length = int(rng.integers(1, LONGEST + 1))
            group = f"station{rng.integers(STATIONS):02d}/{folder.name}-{first:04d}"
            rows += [(f"{folder.name}/{f.name}", folder.name, group) for f in files[first : first + length]]
            first += length
    if most is not None:
        rows = [row for row in rows if row[1] in sorted({r[1] for r in rows})[:12]][:most]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "class", "group"), *rows])
    return table


def _run(arm: str, seed: int, table: Path, given: argparse.Namespace, runs: Path) -> Curve:
    spec = ARMS[arm]
    network = {
        "backbone": "mobilenetv2_100",
        "network": {"pad_type": "same"},
        "weights": str((given.weights / "mobilenetv2_100_same.safetensors").resolve()),
        "size": given.size,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    if given.quick:
        # The features of a network take longer than a quick look may: the pictures themselves stand in.
        network = {"backbone": "pixels", "size": 12}
    if spec["kind"] == "frozen":
        model = {"name": "frozen", **network, "head": spec["head"]}
    else:
        trained = "network" if spec["kind"] == "whole" and not given.quick else "projection"
        model = {"name": "metric", **network, "head": spec["head"], "trained": trained, **spec.get("options", {})}
    config = {
        "name": f"{arm.replace(', ', '-')}-{seed}",
        "out": str(runs),
        **({"cache": str(given.cache)} if given.cache else {}),
        "seed": seed,
        "data": {
            "format": "csv_table",
            "path": str(table),
            "root": str((given.data / "plankton" / "images").resolve()),
            "test": 0.3,
            "on_duplicate": "keep",
        },
        "model": model,
        "strategy": spec["strategy"],
        "cold_start": spec["cold_start"],
        "budget": {"initial": "2.5%", "per_round": ["5%", "5%"] if given.quick else STEPS},
    }
    result = api.run(config, report=False, tell=lambda line: print(f"{arm}, seed {seed}: {line}", flush=True))
    found = open_run(result.folder).curve("macro_f1")
    assert found is not None, "every round is judged"
    return found


def _figures(curves: dict[int, Curve], reference: dict[int, Curve]) -> dict[str, float]:
    final = float(np.mean([c.values[-1] for c in curves.values()]))
    found = {"macro_f1": final, "halfway": float(np.mean([c.values[len(c.values) // 2 - 1] for c in curves.values()]))}
    if reference and curves is not reference:
        saved = labels_saved(curves, reference, rng=np.random.default_rng(0))
        found |= {"labels": saved.needed, "of": saved.of, "share": saved.ratio, "low": saved.low, "high": saved.high}
    return found


def _table(figures: dict[str, dict[str, float]]) -> str:
    lines = [
        "| arm | labels to reach the reference's last macro-F1 | share (95 % interval) | macro-F1 at 12.5 % | 25 % |",
        "|---|---|---|---|---|",
    ]
    for arm, f in figures.items():
        needed, share = "", ""
        if "share" in f:
            needed = f"{f['labels']:,.0f} of {f['of']:,.0f}" if math.isfinite(f["labels"]) else "not reached"
            share = f"{f['share']:.0%}" if math.isfinite(f["share"]) else ""
            if math.isfinite(f["low"]):  # of one seed there is no interval
                high = f"{f['high']:.0%}" if math.isfinite(f["high"]) else "not reached"
                share += f" ({f['low']:.0%} to {high})"
        lines.append(f"| {arm} | {needed} | {share} | {f['halfway']:.3f} | {f['macro_f1']:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
