"""Selections against their peers: k-centre, CORAL, typicality and facility location, with loading and memory told.

    python benchmarks/selection.py [--quick] [--only kcenter,million] [--repeat 3] [--cache FOLDER]

Every turn is a process of its own; the contestants of a part take turns, so that all meet the same machine. Before the
clock starts, code is compiled, a small problem is solved, and the vectors are read (or mapped); what a contestant does
to take them in is told as its loading, apart from its run. A peer that is too slow for all picks makes fewer, and its
run is extrapolated at a constant time per pick; the table says from how many. Own memory is the most beside mapped
files and what was there before. Sets: A independent Gaussian vectors, B clusters, both of length 1; C features of
CIFAR-10 test pictures. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import finish, parser, write_table
from contestants.vectors import made

TURN = Path(__file__).parent / "contestants" / "turn.py"
LIMIT = 3600  # seconds of a turn


@dataclasses.dataclass(frozen=True)
class Part:
    """One comparison: each contestant with the number of picks it makes, None for all."""

    task: str
    about: str
    sets: str
    size: int
    picks: int
    by: dict[str, int | None]
    width: int = 512
    mapped: bool = False
    turns: int | None = None  # None: as many as asked for


K_CENTER = {"labelwise": None, "numpy": None, "lightly-mundig": None, "scikit-activeml": 10}
PARTS = {
    "kcenter": Part("k_center", "k-centre", "AB", 100_000, 1000, K_CENTER),
    "features": Part("k_center", "k-centre", "C", 10_000, 1000, K_CENTER, width=1280),
    "kcenter10k": Part(
        "k_center", "k-centre", "AB", 100_000, 10_000, {"labelwise": None, "numpy": 1000, "lightly-mundig": 1000}
    ),
    "million": Part(
        "k_center",
        "k-centre, mapped",
        "AB",
        1_000_000,
        1000,
        {"labelwise": None, "numpy": 40, "lightly-mundig": 40},
        mapped=True,
    ),
    "million10k": Part(
        "k_center", "k-centre, mapped", "B", 1_000_000, 10_000, {"labelwise": None, "numpy": 40}, mapped=True, turns=1
    ),
    "coral": Part("coral", "CORAL", "AB", 100_000, 1000, {"labelwise": None, "numpy": None, "lightly-mundig": None}),
    "typicality": Part(
        "typicality",
        "typicality",
        "B",
        20_000,
        0,
        {"labelwise": None, "faiss flat": None, "scikit-learn": None, "lightly-mundig": None},
    ),
    "facility": Part(
        "facility_location",
        "facility location",
        "B",
        20_000,
        1000,
        {"labelwise": None, "apricot, 64 neighbours": None, "apricot, dense": None},
        turns=1,
    ),
}
QUICK = {"kcenter": (8000, 200), "coral": (8000, 200), "million": (20_000, 100), "typicality": (3000, 0)}
HEAD = (
    "| selection | set | by | run, seconds (range) | labelwise is faster by | loading, seconds "
    "| with loading, faster by | own memory, MB | agrees |\n|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Let all take their turns and print the table."""
    options = parser(__doc__)
    options.add_argument("--only", default="", help=f"parts, of {','.join(PARTS)}")
    options.add_argument("--repeat", type=int, default=3, help="turns of each contestant")
    options.add_argument("--scale", type=float, default=1.0, help="share of the rows, to try a part out")
    options.add_argument("--cache", type=Path, help="folder of the vectors, kept; up to 5 GB")
    options.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    given = options.parse_args()
    if unknown := set(given.only.split(",")) - {*PARTS, ""}:
        options.error(f"--only: no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    began, load, figures = time.perf_counter(), os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.only.split(",") if given.only else QUICK if given.quick else PARTS:
            for letter in PARTS[name].sets[-1:] if given.quick else PARTS[name].sets:
                part = _sized(name, given)
                file = made(letter, part.size, part.width, given.cache or Path(temporary), given.data, given.weights)
                if file is None:
                    print(f"{name} {letter}: left out, the pictures or the weights are absent", flush=True)
                    continue
                figures[f"{name} {letter}"] = _part(f"{name} {letter}", part, file, given.repeat)
                if given.cache is None and part.size > 500_000:
                    file.unlink()  # two of them may not fit
    table = "\n".join([HEAD, *(line for found in figures.values() for line in found.pop("lines"))])
    note = _note(given, figures, load)
    if not given.quick and not given.only and given.scale == 1:
        write_table("selection", table, note)
    print(table, note, sep="\n\n")
    finish("selection", {"quick": given.quick, "seconds": time.perf_counter() - began, "parts": figures})


def _sized(name: str, given: argparse.Namespace) -> Part:
    part = PARTS[name]
    if given.quick:
        size, picks = QUICK.get(name, (4000, 50))
        by = {one: n and min(n, picks) for one, n in part.by.items() if one != "scikit-activeml"}
        return dataclasses.replace(part, size=size, picks=picks, width=128, by=by, turns=1)
    size = int(part.size * given.scale)
    return dataclasses.replace(part, size=size, picks=min(part.picks, size))


def _part(name: str, part: Part, file: Path, repeat: int) -> dict[str, Any]:
    turns: dict[str, list[dict[str, Any]]] = {by: [] for by in part.by}
    for turn in range(part.turns or repeat):
        for by, fewer in part.by.items():
            if turns[by] and "absent" in turns[by][0]:
                continue
            n = min(fewer or part.picks, part.picks)
            result = _turn(part, by, file, n, check=turn == 0 and (by == "labelwise" or part.task != "k_center"))
            turns[by].append(result)
            if "absent" in result:
                print(f"{name} {by}: left out: {result['absent']}", flush=True)
                continue
            result["run"] = result["seconds"] * (part.picks / n if n else 1)
            print(f"{name} {by}: {result['run']:.2f} s{_from(part, by)}, loading {result['loading']:.2f} s", flush=True)
    present = {by: found for by, found in turns.items() if "absent" not in found[0]}
    ours = present["labelwise"][0]["found"]
    found = {by: _summary(results, ours) for by, results in present.items()}
    lines = [_row(part, file.name[0], by, found) for by in found]
    absent = {by: results[0]["absent"] for by, results in turns.items() if by not in present}
    return {"by": found, "absent": absent, "lines": lines}


def _turn(part: Part, by: str, file: Path, n: int, *, check: bool) -> dict[str, Any]:
    words = [part.task, by, str(file), str(n), *["--mapped"] * part.mapped, *["--check"] * check]
    done = subprocess.run(
        [sys.executable, str(TURN), *words], capture_output=True, text=True, timeout=LIMIT, env=dict(os.environ)
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        if by == "labelwise":
            raise SystemExit(f"{part.task} {by}: {lines[-1]}")
        return {"absent": lines[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _summary(results: list[dict[str, Any]], ours: list[Any]) -> dict[str, Any]:
    runs = [r["run"] for r in results]
    theirs = results[0]["found"]
    both = list(zip(ours, theirs, strict=False))
    return {
        "seconds": statistics.median(runs),
        "low": min(runs),
        "high": max(runs),
        "loading": statistics.median(r["loading"] for r in results),
        "reading": statistics.median(r["reading"] for r in results),
        "own_mb": max(r["own_mb"] for r in results),
        "rss_mb": max(r["rss_mb"] for r in results),
        "check": results[0].get("check"),
        "equal": next((i for i, (a, b) in enumerate(both) if a != b), len(both)),
        "difference": max((abs(a - b) for a, b in both), default=0.0),
        "compared": len(both),
    }


def _from(part: Part, by: str) -> str:
    fewer = part.by[by]
    return "" if fewer is None or fewer >= part.picks else f", extrapolated from k={fewer:,}"


def _row(part: Part, letter: str, by: str, found: dict[str, dict[str, Any]]) -> str:
    f, ours = found[by], found["labelwise"]
    peer = by != "labelwise"
    faster = f"{f['seconds'] / ours['seconds']:.1f}" if peer else ""
    total = f"{(f['seconds'] + f['loading']) / (ours['seconds'] + ours['loading']):.1f}" if peer else ""
    if part.task == "typicality":
        agrees = f"within {f['difference']:.0e}" if peer else ""
    elif part.task == "facility_location":
        agrees = f"mean similarity {f['check']:.4f}"
    elif peer:
        agrees = f"{f['equal']:,} of {f['compared']:,} picks"
    else:
        agrees = f"proved, excess {f['check']:.0e}" if part.task == "k_center" else ""
    picks = f", k={part.picks:,}" if part.picks else ""
    run = f"{f['seconds']:.2f} ({f['low']:.2f} to {f['high']:.2f}){_from(part, by)}"
    return (
        f"| {part.about}, {part.size:,} x {part.width}{picks} | {letter} | {by} | {run} | {faster} "
        f"| {f['loading']:.2f} | {total} | {f['own_mb']:.0f} | {agrees} |"
    )


def _note(given: argparse.Namespace, figures: dict[str, dict[str, Any]], load: float) -> str:
    absent = {by: why for found in figures.values() for by, why in found["absent"].items()}
    left = "".join(f"; without {by} ({why})" for by, why in absent.items())
    machine = f"{os.cpu_count()} processors, load {load:.1f} before"
    turns = f"{given.repeat} turns each, one for facility location and the largest"
    return f"{turns}; {machine}{left}; `python benchmarks/selection.py`"


if __name__ == "__main__":
    main()
