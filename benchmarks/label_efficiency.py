"""Labels that strategies need to reach random's quality, on plankton and CIFAR-10 with frozen MobileNetV2 features.

    python benchmarks/label_efficiency.py --data ../shared/data --weights ../shared/weights [--quick] [--seeds 10]
    [--workers 2]

The settings are those of the reference figures: pictures squashed to 128 pixels, logistic regression, budgets from 1 %
to 25 % of the pool, a fixed stratified test split. Every arm and seed is a whole run of labelwise; a run that is there
already is continued, not repeated.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from common import finish, parser, write_table
from labelwise import api
from labelwise.curves import paired_difference
from labelwise.results.comparison import Comparison

SETS: dict[str, dict[str, Any]] = {
    "plankton": {"folder": "plankton/images", "test": 0.3, "C": 0.03},
    "cifar10_test": {"folder": "cifar10_test/images", "test": 0.2, "C": 0.003},
}
STEPS = ["1%", "1%", "2%", "2.5%", "2.5%", "3%", "4%", "4%", "4%"]
ARMS = ["random", "margin+random", "badge+random", "margin+typiclust", "balanced_herding+typiclust"]
OTHER_ARMS = ["random", "balanced_herding+typiclust"]


def main() -> None:
    """Run all arms on both sets and print the table."""
    options = parser(__doc__)
    options.add_argument(
        "--weights", type=Path, default=Path("../shared/weights"), help="folder with mobilenetv2_100_same.safetensors"
    )
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--sets", default=",".join(SETS), help="which sets")
    options.add_argument("--runs", type=Path, help="folder of the runs; kept and continued if it is there")
    options.add_argument(
        "--splits", default="", help="seeds of other test splits, such as 1,2,3,4: default preset alone"
    )
    given = options.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        if given.splits:
            _other_splits(given, runs)
            return
        found = {name: _simulate(name, given, runs) for name in given.sets.split(",")}
    figures = {name: _figures(comparison) for name, comparison in found.items()}
    lines = [
        (
            "| set | strategy | labels to reach random's macro-F1 at 25 % | share (95 % interval) | macro-F1 at 25 % "
            "| lowest gain on random, in standard errors |"
        )
    ]
    lines += ["|---|---|---|---|---|---|"]
    lines += [_row(name, arm, f) for name, arms in figures.items() for arm, f in arms.items()]
    if not given.quick:
        write_table(
            "label-efficiency", "\n".join(lines), f"{given.seeds} seeds; `python benchmarks/label_efficiency.py`"
        )
    print("\n".join(lines))
    finish(
        "label_efficiency",
        {
            "quick": given.quick,
            "seeds": 2 if given.quick else given.seeds,
            "seconds": time.perf_counter() - began,
            "sets": figures,
        },
    )


def _other_splits(given: argparse.Namespace, runs: Path) -> None:
    """The share of random's labels on other test splits: what the choice of one split decides."""
    lines = [
        "| set | split seed | share (95 % interval) | lowest gain on random, in standard errors |",
        "|---|---|---|---|",
    ]
    figures: dict[str, dict[str, float]] = {}
    for name in given.sets.split(","):
        for split in (int(s) for s in given.splits.split(",")):
            f = _figures(_simulate(name, given, runs, split))["balanced_herding"]
            figures[f"{name}-{split}"] = f
            lines.append(f"| {name} | {split} | {_share(f)} | {f['lowest_gain_in_se']:+.1f} |")
    command = f"`python benchmarks/label_efficiency.py --seeds {given.seeds} --splits {given.splits}`"
    if not given.quick:
        write_table("other-splits", "\n".join(lines), f"{given.seeds} seeds; {command}")
    print("\n".join(lines))
    finish("label_efficiency_splits", {"seeds": given.seeds, "splits": figures})


def _simulate(name: str, given: argparse.Namespace, runs: Path, split: int = 0) -> Comparison:
    spec = SETS[name]
    head = {"name": "logistic", "C": spec["C"]}
    model = {
        "name": "frozen",
        "backbone": "mobilenetv2_100",
        "network": {"pad_type": "same"},
        "weights": str((given.weights / "mobilenetv2_100_same.safetensors").resolve()),
        "size": 128,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "head": head,
    }
    config: dict[str, Any] = {
        "name": f"{name}-{split}" if split else name,
        "out": str(runs),
        "data": {
            "format": "class_folders",
            "path": str(given.data / spec["folder"]),
            "test": spec["test"],
            "split_seed": split,
            "on_duplicate": "keep",
        },
        "model": model,
        "budget": {"initial": "1%", "per_round": STEPS},
    }
    if given.quick:
        # The features of a whole set take longer than a quick look may: the pictures themselves stand in.
        config |= {
            "model": {"name": "frozen", "backbone": "pixels", "size": 12, "head": head},
            "budget": {"initial": "1%", "per_round": ["1%", "3%"]},
        }
    seeds, arms = (
        (2, ["random", "margin+random", "balanced_herding+typiclust"])
        if given.quick
        else (given.seeds, OTHER_ARMS if split else ARMS)
    )
    return api.simulate(config, arms, seeds=seeds, workers=given.workers, tell=lambda line: print(line, flush=True))


def _figures(comparison: Comparison) -> dict[str, dict[str, float]]:
    found = {}
    for arm in comparison.arms:
        curves = comparison.curves(arm, "macro_f1")
        final = sum(c.values[-1] for c in curves.values()) / len(curves)
        saved = comparison.saved(arm)
        found[arm] = {"macro_f1": float(final)}
        if saved is not None:
            found[arm] |= {
                "labels": saved.needed,
                "of": saved.of,
                "share": saved.ratio,
                "low": saved.low,
                "high": saved.high,
            }
            found[arm]["lowest_gain_in_se"] = _lowest_gain(curves, comparison.curves("random", "macro_f1"))
    return found


def _lowest_gain(arm: Any, random: Any) -> float:
    """The least mean difference to random over all budgets, in standard errors; below -2: below random beyond noise."""
    budgets = next(iter(random.values())).labels
    differences = [paired_difference(arm, random, at=float(b)) for b in budgets]
    return min(d.mean / d.standard_error if d.standard_error > 0 else 0.0 for d in differences)


def _row(name: str, arm: str, f: dict[str, float]) -> str:
    if "share" not in f:
        return f"| {name} | {arm} | | | {f['macro_f1']:.3f} | |"
    labels = f"{f['labels']:,.0f} of {f['of']:,.0f}" if math.isfinite(f["labels"]) else ""
    return f"| {name} | {arm} | {labels} | {_share(f)} | {f['macro_f1']:.3f} | {f['lowest_gain_in_se']:+.1f} |"


def _share(f: dict[str, float]) -> str:
    share, low, high = (f"{f[k]:.0%}" if math.isfinite(f[k]) else "not reached" for k in ("share", "low", "high"))
    return f"{share} ({low} to {high})"


if __name__ == "__main__":
    main()
