"""What few labelled pixels are worth on CamVid at half size: mean IoU by budget and strategy, beside all labels.

    python benchmarks/camvid.py [--out runs/camvid] [--arms random,pixelpick] [--budgets 10,20] [--seeds 0,1,2]
    [--weights ../shared/weights] [--quick]

Every arm and seed is a run of labelwise in a folder of its own; a round is worked on at a time, small budgets of all
arms first. What is there already is not done again, so that the benchmark can be stopped and continued at any time,
or work on some arms, budgets and seeds only. The first round of arms that draw it alike is done once a seed. The table
printed is of all rounds that are finished; that of what was asked for is written into the documentation. Settings are
those of the reference figures: pictures of 240 x 180 pixels, MobileNetV2 with ImageNet weights, ten epochs a round from
scratch, the test images of CamVid.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import finish, parser, write_table
from labelwise import api, loop
from labelwise.config import load
from labelwise.data.masks import write_mask
from labelwise.errors import LabelwiseError
from labelwise.results import open_run

SIZE = (240, 180)
WEIGHTS = "mobilenetv2_100_same.safetensors"
ALL = "all"


@dataclass(frozen=True)
class Arm:
    """A strategy and its rounds: the name of each budget, and what the round adds to it in every image."""

    strategy: str | dict[str, Any]
    unit: str
    rounds: dict[str, int]
    baseline: str | None = None

    def budget(self, images: int) -> dict[str, Any]:
        """Its part of the configuration."""
        if self.unit == "image":
            return {"unit": "image", "initial": images, "rounds": 1}
        initial, *later = self.rounds.values()
        more = {"per_round": later} if later else {}
        return {"unit": self.unit, "per_image": True, "initial": initial, "rounds": len(self.rounds)} | more


PIXELS = {"10": 10, "20": 10, "40": 20, "100": 60}
# Windows of 3 x 3 pixels: 24, 48 and 106 of an image of 240 x 180.
REGIONS = {"0.5 %": 24, "1 %": 24, "2.2 %": 58}
ARMS = {
    "full": Arm("random", "image", {ALL: 0}),
    "random": Arm("random", "pixel", PIXELS),
    "pixelpick": Arm("pixelpick", "pixel", PIXELS, "random"),
    "entropy": Arm({"name": "pixelpick", "score": "entropy"}, "pixel", PIXELS, "random"),
    # RIPU's radius of 32 is for pictures of 2048 x 1024: here it would leave room for no more than ten pixels.
    "ripu_pixel": Arm(
        {"name": "ripu_pixel", "score": {"name": "ripu_pixel", "radius": 4}, "apart": 4}, "pixel", PIXELS, "random"
    ),
    "random_region": Arm("random", "region", REGIONS),
    "ripu_region": Arm("ripu_region", "region", REGIONS, "random_region"),
}
BUDGETS = [ALL, *PIXELS, *REGIONS]


@dataclass(frozen=True)
class Job:
    """One round of one run."""

    budget: str
    seed: int
    arm: str

    @property
    def round(self) -> int:
        """Its number in the run."""
        return list(ARMS[self.arm].rounds).index(self.budget)


Found = dict[Job, float]


def main() -> None:
    """Work through what is asked for and not there yet, then print the table."""
    given = _options()
    if given.out is not None:
        _work_through(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        given.out = Path(folder)
        _work_through(given)


def _work_through(given: argparse.Namespace) -> None:
    began = time.perf_counter()
    every = [
        Job(budget, seed, arm)
        for budget in BUDGETS
        for seed in given.seeds
        for arm in ARMS
        if budget in ARMS[arm].rounds and (not given.quick or budget in (ALL, "10", "20", "0.5 %", "1 %"))
    ]
    wanted = [j for j in every if j.arm in given.arms and j.budget in given.budgets]
    found: Found = {}
    try:
        data, images = scaled(given)
        for job in wanted:
            work(job, given, data, images)
        for job in every:
            value = figure(job, given.out)
            if value is not None:
                found[job] = value
    except LabelwiseError as error:
        raise SystemExit(str(error)) from error
    missing = [j for j in every if j not in found]
    print("\n".join(lines(found)))
    if missing:
        print("\nnot there yet: " + "; ".join(f"{j.arm} {j.budget} of seed {j.seed}" for j in missing))
    if not given.quick and len(given.seeds) >= 3:
        note = f"{len(given.seeds)} seeds; `python benchmarks/camvid.py{_asked(given)}`"
        write_table("camvid", "\n".join(lines({j: v for j, v in found.items() if j in wanted})), note)
    figures = {f"{j.arm} {j.budget} {j.seed}": value for j, value in found.items()}
    seconds = time.perf_counter() - began
    finish("camvid", {"quick": given.quick, "seconds": seconds, "missing": len(missing), "miou": figures})


def _asked(given: argparse.Namespace) -> str:
    """The options that ask for the same again."""
    parts = {"arms": ARMS, "budgets": BUDGETS, "seeds": ()}
    chosen = {name: getattr(given, name) for name, every in parts.items() if list(getattr(given, name)) != list(every)}
    return "".join(f" --{name} {shlex.quote(','.join(map(str, some)))}" for name, some in chosen.items())


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--weights", type=Path, default=Path("../shared/weights"), help=f"folder with {WEIGHTS}")
    options.add_argument(
        "--out", type=Path, help="folder of the runs, continued if it is there [runs/camvid; --quick: none is kept]"
    )
    options.add_argument("--arms", type=_names(ARMS), default=list(ARMS), help="only these: " + ", ".join(ARMS))
    options.add_argument(
        "--budgets",
        type=_names(BUDGETS),
        default=BUDGETS,
        help="only these; a budget needs the smaller ones of its run. all, 10, 20, 40, 100 pixels an image; 0.5 %%, "
        "1 %%, 2.2 %% of the pixels in regions",
    )
    options.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2])
    given = options.parse_args()
    if not given.quick:
        given.out = given.out or Path("runs/camvid")
    else:
        given.seeds = given.seeds[:1]
    return given


def _names(known: Any) -> Any:
    """An option that lists names of what is known."""

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {name!r}")
        return names

    return read


def scaled(given: argparse.Namespace) -> tuple[Path, int]:
    """CamVid's training and test images at half size with their masks, and how many are for training.

    Pictures are scaled bilinearly, masks to the nearest pixel; what is there already is not written again.
    """
    source, target = given.data / "camvid", given.out / "data"
    size, limits = (SIZE, {"train": None, "test": None}) if not given.quick else ((80, 60), {"train": 8, "test": 4})
    files = {split: sorted((source / "images" / split).glob("*.jpg"))[:limit] for split, limit in limits.items()}
    if not all(files.values()):
        raise SystemExit(
            f"{source}: expected CamVid's pictures in images/train and images/test, found none; give --data"
        )
    for split, pictures in files.items():
        for picture in pictures:
            image, mask = (target / kind / split / f"{picture.stem}.png" for kind in ("images", "masks"))
            if not mask.exists():  # written last
                image.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(picture) as opened:
                    opened.convert("RGB").resize(size, Image.Resampling.BILINEAR).save(image)
                with Image.open(source / "masks" / split / mask.name) as opened:
                    write_mask(mask, np.asarray(opened.resize(size, Image.Resampling.NEAREST)))
    names = (source / "classes.txt").read_text(encoding="utf-8")
    (target / "classes.txt").write_text(names, encoding="utf-8")
    return target, len(files["train"])


def configuration(job: Job, given: argparse.Namespace, data: Path, images: int) -> dict[str, Any]:
    """The configuration of the run that a job belongs to."""
    arm = ARMS[job.arm]
    weights = "none" if given.quick else str((given.weights / WEIGHTS).resolve())
    model: dict[str, Any] = {
        "name": "fpn",
        "backbone": "mobilenetv2_100",
        "network": {"pad_type": "same"},
        "weights": weights,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "epochs": 1 if given.quick else 10,
    }
    return {
        "name": folder_name(job),
        "out": str(given.out),
        "task": "segment",
        "data": {"format": "image_masks", "path": str(data.resolve()), "on_duplicate": "keep"},
        "model": model,
        "strategy": arm.strategy,
        "cold_start": "random",
        "budget": arm.budget(images),
        "seed": job.seed,
        "threads": 1,
        "pictures": 0,
    }


def folder_name(job: Job) -> str:
    """The folder of a job's run below --out."""
    return f"{job.arm}-{job.seed}"


def work(job: Job, given: argparse.Namespace, data: Path, images: int) -> None:
    """Do the rounds up to a job's that are not finished yet."""
    for earlier in list(ARMS[job.arm].rounds)[: job.round + 1]:
        step = Job(earlier, job.seed, job.arm)
        if figure(step, given.out) is None:
            config = configuration(job, given, data, images)
            print(f"{step.arm}, {step.budget}, seed {step.seed}", flush=True)
            if step.round > 0 or not take_first_round(job, given.out, config):
                api.run(config, rounds=1, report=False, tell=_tell)


def take_first_round(job: Job, out: Path, config: dict[str, Any]) -> bool:
    """Take the first round from an arm that has done it and no more; False if there is none.

    It is drawn at random, with the seed's random numbers, so that it would come out the same.
    """
    arm = ARMS[job.arm]
    for name, other in ARMS.items():
        source, target = out / folder_name(Job(job.budget, job.seed, name)), out / folder_name(job)
        if (arm.unit, arm.rounds) == (other.unit, other.rounds) and source != target and (source / "run.db").exists():
            found = open_run(source)
            if found.rounds == [0] and 0 in found.evaluations["test"]:
                shutil.copytree(source / "rounds", target / "rounds", dirs_exist_ok=True)
                loop.adopt(load(config), source)
                _tell(f"as that of {name}")
                return True
    return False


def _tell(line: str) -> None:
    print("  " + line, flush=True)


def figure(job: Job, out: Path) -> float | None:
    """The mean IoU on the test images after a job's round, None if it is not finished."""
    folder = out / folder_name(job)
    if not (folder / "run.db").exists():
        return None
    scores = open_run(folder).evaluations["test"].get(job.round)
    return None if scores is None else float(scores["miou"])


def lines(found: Found) -> list[str]:
    """The table: a row for each budget and arm of which a seed is finished."""
    full = {j.seed: v for j, v in found.items() if j.arm == "full"}
    rows = ["| labels | strategy | mean IoU (spread over seeds) | of all labels' | over random, paired | seeds |"]
    rows.append("|---|---|---|---|---|---|")
    for budget in BUDGETS:
        for name, arm in ARMS.items():
            values = by_seed(found, name, budget)
            if values:
                share = paired(values, full, lambda a, b: a / b)
                cells = [
                    _labels(budget, arm.unit),
                    name if budget != ALL else "",
                    _spread(list(values.values())),
                    f"{statistics.mean(share):.1%}" if share and budget != ALL else "",
                    _difference(paired(values, by_seed(found, arm.baseline, budget), lambda a, b: a - b)),
                    str(len(values)),
                ]
                rows.append(f"| {' | '.join(cells)} |")
    return rows


def by_seed(found: Found, arm: str | None, budget: str) -> dict[int, float]:
    """The figures of an arm at a budget."""
    return {j.seed: v for j, v in found.items() if (j.arm, j.budget) == (arm, budget)}


def paired(first: dict[int, float], second: dict[int, float], of: Any) -> list[float]:
    """What ``of`` makes of two figures, for each seed that both have."""
    return [of(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]


def _labels(budget: str, unit: str) -> str:
    if budget == ALL:
        return "all pixels"
    return f"{budget} pixels an image" if unit == "pixel" else f"{budget} of the pixels, in regions"


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def _difference(values: list[float]) -> str:
    if not values:
        return ""
    error = f" (se {statistics.stdev(values) / len(values) ** 0.5:.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.3f}{error}"


if __name__ == "__main__":
    main()
