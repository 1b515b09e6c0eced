"""Two-round selections of a pool that is made part by part and never held whole.

    python benchmarks/distributed.py [--quick] [--size 10000000] [--width 64] [--parts 40] [--picks 1000]

The pool has 5,000 clusters of uneven size; each part is made from its number where it is worked on, as a worker would
read its file. First the two rounds are compared with one round on a pool that one machine can hold, then the whole pool
is selected from. ``--engine ray`` uses a Ray cluster of this machine instead of two local processes.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import finish, parser, write_table
from labelwise.catalog import make
from labelwise.selection.distributed import Part, facility_location_of_parts, k_center_of_parts, radius, served

Vectors = NDArray[np.float32]


def main() -> None:
    """Compare with one machine, then select from the whole pool."""
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=10_000_000)
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--parts", type=int, default=40)
    options.add_argument("--picks", type=int, default=1000)
    options.add_argument("--compared", type=int, default=200_000, help="rows of the pool that one machine holds")
    options.add_argument("--serving", type=int, default=1_000_000, help="rows that facility location selects from")
    options.add_argument("--served", type=int, default=100, help="picks of facility location")
    options.add_argument("--engine", default="local", help="local or ray")
    given = options.parse_args()
    if given.quick:
        given.size, given.parts, given.picks, given.served = 200_000, 8, 100, 20
        given.compared, given.serving = 20_000, 20_000
    began = time.perf_counter()
    engine = make("engine", {"name": given.engine, "workers": 2})
    try:
        lines, figures = _compared(given, engine)
        more, whole = _whole(given, engine)
    finally:
        engine.close()
    head = ["| pool | parts | selection | result | seconds |", "|---|---|---|---|---|"]
    here, workers = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    pool_mb = given.size * given.width * 4 / 1e6
    note = (
        f"{given.picks:,} picks, {given.served:,} of facility location, of {given.width} numbers each, by 2 workers "
        f"of the engine {given.engine}; the largest pool would take {pool_mb:,.0f} MB. Most memory with libraries: "
        f"{here:,.0f} MB in the first process, {workers:,.0f} MB in a worker; `python benchmarks/distributed.py`"
    )
    table = "\n".join([*head, *lines, *more])
    if not given.quick:
        write_table("distributed", table, note)
    print(table, note, sep="\n\n")
    finish(
        "distributed",
        {
            "quick": given.quick,
            "seconds": time.perf_counter() - began,
            "peak_mb": here,
            "worker_peak_mb": workers,
            **figures,
            **whole,
        },
    )


def made(index: int, size: int, width: int) -> Vectors:
    """A part of the pool: points of 5,000 clusters whose sizes fall as rank^-0.7, some far out."""
    fixed = np.random.default_rng(0)
    centres = fixed.standard_normal((5000, width), dtype=np.float32)
    chances = np.arange(1, 5001) ** -0.7
    rng = np.random.default_rng([1, index])
    found = centres[rng.choice(5000, size, p=chances / chances.sum())]
    found += 0.4 * rng.standard_normal((size, width), dtype=np.float32)
    return found


def cut(size: int, parts: int, width: int) -> list[Part]:
    """A pool of that size in parts."""
    ends = np.linspace(0, size, parts + 1).astype(int)
    return [
        Part(range(int(a), int(b)), partial(made, i, int(b - a), width))
        for i, (a, b) in enumerate(itertools.pairwise(ends))
    ]


def _compared(given: argparse.Namespace, engine: Any) -> tuple[list[str], dict[str, float]]:
    """One pool, cut in several ways: the same vectors each time, held by one machine or in parts."""
    pool = np.concatenate([part.read() for part in cut(given.compared, 8, given.width)])
    shares = {n: np.array_split(np.arange(len(pool)), n) for n in (1, 8, 40)}
    pieces = {n: [Part(rows, partial(np.asarray, pool[rows])) for rows in shares[n]] for n in shares}
    lines, figures, one, best = [], {}, 0.0, 0.0
    for n, factor in ((1, 1.0), (8, 1.0), (8, 4.0), (40, 1.0)):
        call = partial(k_center_of_parts, given.picks, pieces[n], engine=engine, factor=factor)
        seconds, (_, centres) = _timed(call)
        found = radius(pieces[n], centres, engine=engine)
        one = one or found
        what = f"two_round_k_center, factor {factor:g}" if n > 1 else "k_center"
        lines.append(_row(len(pool), n, what, f"radius {found:.2f}, {found / one:.3f} of one machine's", seconds))
        figures[f"radius_{n}_{factor:g}"] = found / one
    for n in (1, 8):
        call = partial(facility_location_of_parts, given.served, pieces[n], engine=engine, clients=1000)
        seconds, (_, centres) = _timed(call)
        value = served(pieces[n], centres, clients=1000, seed=1)  # other clients than those it was selected by
        best = best or value
        what = "two_round_facility_location" if n > 1 else "facility location, one round"
        lines.append(_row(len(pool), n, what, f"served {value:.3f}, {value / best:.3f} of one machine's", seconds))
        figures[f"served_{n}"] = value / best
    return lines, figures


def _whole(given: argparse.Namespace, engine: Any) -> tuple[list[str], dict[str, float]]:
    """The pool that nobody holds."""
    pieces = cut(given.size, given.parts, given.width)
    seconds, (_, centres) = _timed(partial(k_center_of_parts, given.picks, pieces, engine=engine))
    looking, found = _timed(partial(radius, pieces, centres, engine=engine))
    result = f"radius {found:.2f} (measured in {looking:.0f} s)"
    few = cut(given.serving, given.parts, given.width)
    call = partial(facility_location_of_parts, given.served, few, engine=engine, clients=1000)
    serving, (_, centres) = _timed(call)
    value = served(few, centres, clients=1000, seed=1)
    lines = [
        _row(given.size, given.parts, "two_round_k_center", result, seconds),
        _row(given.serving, len(few), "two_round_facility_location", f"served {value:.3f}", serving),
    ]
    return lines, {"k_center_seconds": seconds, "radius": found, "serving_seconds": serving, "served": value}


def _row(size: int, parts: int, what: str, result: str, seconds: float) -> str:
    return f"| {size:,} | {parts} | {what} | {result} | {seconds:.1f} |"


def _timed(call: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


if __name__ == "__main__":
    main()
