"""The demo: data the program makes itself, a strategy against random over several seeds, a table and a report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelwise import api
from labelwise.data.digits import make_digits, make_scenes
from labelwise.models import Progress
from labelwise.results import open_run
from labelwise.tables import print_comparison

# Neither needs weights: the demo runs offline.
_PIXELS = {"name": "frozen", "backbone": "pixels", "size": 8}
_EDGES = {"name": "frozen", "backbone": "edges"}


def run_demo(folder: Path, *, seeds: int, progress: Progress, tell: Callable[[str], None]) -> None:
    """Simulate the default strategy and random on digits and on scenes made of them; say where the reports are."""
    began = time.perf_counter()
    tell(f"making digits, and scenes composed of them, in {folder}")
    plans = {"digits": _digits(folder), "scenes": _scenes(folder)}
    for name, config in plans.items():
        tell(f"\n{name}: balanced_herding and margin against random, {seeds} seeds")
        comparison = api.simulate(config, ["random", "margin", "balanced_herding"], seeds=seeds, progress=progress)
        print_comparison(comparison)
        tell(f"report: {folder / 'runs' / name / 'report.html'}")
    one = folder / "runs" / "scenes" / "balanced_herding-00"
    api.write_outputs(open_run(one))
    tell(f"one of these runs, picture by picture: {one / 'report.html'}")
    tell(f"\ndone in {time.perf_counter() - began:.0f} s; next: labelwise init FOLDER_OF_YOUR_IMAGES")


def _digits(folder: Path) -> dict[str, Any]:
    # 8 x 8 pixels hold many equal pictures: they stay, as in the set that everybody knows.
    data = {"format": "class_folders", "path": make_digits(folder / "data"), "test": 0.4, "on_duplicate": "keep"}
    return {**_places("digits", folder), "data": data, "model": _PIXELS, "budget": {"initial": 20, "per_round": 20}}


def _scenes(folder: Path) -> dict[str, Any]:
    data = {"format": "csv_table", "path": make_scenes(folder / "data"), "test": 0.4}
    return {**_places("scenes", folder), "data": data, "model": _EDGES, "budget": {"initial": 30, "per_round": 30}}


def _places(name: str, folder: Path) -> dict[str, str]:
    return {"name": name, "out": str(folder / "runs"), "cache": str(folder / "cache")}
