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

# Pictures of 8 and 32 pixels say more as they are than through a network that was trained on photographs.
_COMMON = {"annotator": "oracle", "model": {"name": "frozen", "backbone": "pixels"}}


def run_demo(folder: Path, *, seeds: int, progress: Progress, tell: Callable[[str], None]) -> None:
    """Simulate the default strategy and random on digits and on scenes composed of them, and say where the reports are."""
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
    path = make_digits(folder / "data")
    model = {**_COMMON["model"], "size": 8}  # type: ignore[dict-item]
    return _plan("digits", folder, {"format": "class_folders", "path": path, "test": 0.4, "on_duplicate": "keep"}, model, 20, 20, 10)


def _scenes(folder: Path) -> dict[str, Any]:
    path = make_scenes(folder / "data")
    model = {**_COMMON["model"], "size": 16, "head": {"name": "mlp", "hidden": [64]}}  # type: ignore[dict-item]
    return _plan("scenes", folder, {"format": "csv_table", "path": path, "test": 0.4}, model, 30, 30, 8)


def _plan(name: str, folder: Path, data: dict[str, Any], model: dict[str, Any], initial: int, per_round: int, rounds: int) -> dict[str, Any]:
    return {
        **_COMMON,
        "name": name,
        "data": data,
        "model": model,
        "budget": {"initial": initial, "per_round": per_round, "rounds": rounds},
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
    }
