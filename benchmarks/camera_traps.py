"""A survey of 200,000 images, without pixels: processor seconds and memory of listing, sequences, splits and a query.

    python benchmarks/camera_traps.py [--images 200000] [--picks 200] [--quick]

A MegaDetector JSON and empty files are made in a temporary folder: 200 locations, bursts of three. Measured are reading
the JSON beside its files, sequences and groups, the test split, taking all into a run's store, and one round's query
from features that the table already has, under caps like those that ``labelwise init`` writes. Memory is the largest
resident set of a process of its own that does only this; empty files are no pictures, so that nothing is scanned:
digests are made up.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from common import finish, parser, write_table

LOCATIONS, BURST, WIDTH, CLASSES, LABELLED = 200, 3, 384, 20, 1_000


def make_survey(folder: Path, count: int) -> Path:
    """Empty files, and the JSON that names them with Windows separators."""
    chance = random.Random(0)
    entries = []
    start = datetime(2024, 1, 1)
    for i in range(count):
        location, within = i % LOCATIONS, i // LOCATIONS
        name = f"site{location % 20:02d}/cam{location:03d}/DCIM/{100 + within // 1000}RECNX/IMG_{within:05d}.JPG"
        file = folder / name
        if within % 1000 == 0:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        taken = start + timedelta(seconds=1800 * (within // BURST) + within % BURST)
        found = []
        if chance.random() < 0.5:
            for _ in range(chance.randrange(1, 4)):
                box = [round(chance.uniform(0, 0.7), 4), round(chance.uniform(0, 0.7), 4), 0.2, 0.25]
                found.append({"category": "1", "conf": round(chance.random() ** 2, 3), "bbox": box})
        when = taken.strftime("%Y:%m:%d %H:%M:%S")
        entries.append({"file": name.replace("/", "\\"), "datetime": when, "detections": found})
    file = folder / "md.json"
    categories = {"1": "animal", "2": "person", "3": "vehicle"}
    whole = {"images": entries, "detection_categories": categories, "info": {"format_version": "1.4"}}
    file.write_text(json.dumps(whole), encoding="utf-8")
    return file


def peak() -> float:
    """The largest resident set of this process so far, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def measure(file: Path, picks: int) -> dict[str, Any]:
    """Each step's processor seconds, which other work on the machine disturbs little, and the memory after it."""
    from labelwise.data.megadetector import read
    from labelwise.data.sequences import settle
    from labelwise.data.splits import choose_test
    from labelwise.embedding.table import Table
    from labelwise.loop.columns import Columns
    from labelwise.presets import preset
    from labelwise.records import Target
    from labelwise.selection import Inputs
    from labelwise.store import Store
    from labelwise.strategies import assemble

    figures: dict[str, Any] = {"memory at the start": peak()}

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        figures[name], figures[f"memory after {name}"] = time.process_time() - began, peak()
        return result

    listing = step("listing", lambda: read(file))
    assert listing.camera is not None
    rng = np.random.default_rng(0)
    samples = [
        replace(s, content=hashlib.blake2b(s.id.encode(), digest_size=16).hexdigest(), size=(640, 480))
        for s in listing.samples
    ]
    samples, _ = step("sequences", lambda: settle(samples, listing.camera))
    figures["sequences found"] = len({s.meta["sequence"] for s in samples})
    labels = rng.integers(0, CLASSES, len(samples))
    known = [replace(s, target=Target((f"class {c}",))) for s, c in zip(samples, labels.tolist(), strict=True)]
    test = step("split", lambda: choose_test(known, 0.2, seed=0))
    assert not {s.group for s in known if s.id in test} & {s.group for s in known if s.id not in test}

    def stored() -> Any:
        with Store(file.parent / "run.db") as store:
            with store.transaction():
                store.add_samples((s, "test" if s.id in test else "pool") for s in samples)
            return store.samples("pool")

    pool = step("store, written and read", stored)
    table = Table(file.parent / "table", WIDTH, {})
    for first in range(0, len(samples), 10_000):
        part = [s.content for s in samples[first : first + 10_000]]
        table.append(part, rng.standard_normal((len(part), WIDTH), dtype=np.float32))

    strategy = assemble(replace(preset("margin"), per={"sequence": 1, "location": 10}, near_duplicates=0.02))

    def query() -> Any:
        vectors = table.lookup([s.content for s in pool])
        head = rng.standard_normal((WIDTH, CLASSES), dtype=np.float32) / WIDTH**0.5
        logits = np.asarray(vectors @ head)
        probs = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        labelled = np.sort(rng.permutation(len(pool))[: min(LABELLED, len(pool) // 10)])
        inputs = Inputs(
            n=picks,
            candidates=np.setdiff1d(np.arange(len(pool)), labelled),
            rng=rng,
            labelled=labelled,
            labels=rng.integers(0, CLASSES, len(labelled)),
            scores=strategy.score({"probs": probs}),
            probs=probs,
            embeddings=vectors,
            metadata=Columns(pool),
        )
        return strategy.select(inputs).rows

    rows = step("query", query)
    assert len({pool[i].meta["sequence"] for i in rows}) == len(rows)
    figures |= {"images": len(samples), "pool": len(pool), "picked": len(rows)}
    return figures


def main() -> None:
    """Make the survey, measure in a process of its own, write the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=200_000)
    options.add_argument("--picks", type=int, default=200)
    options.add_argument("--measure", type=Path, help="measure this JSON in this process, and print the figures")
    args = options.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.picks)))
        return
    count = 5_000 if args.quick else args.images
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        file = make_survey(Path(folder), count)
        print(f"{count:,} files and their JSON made in {time.perf_counter() - began:.0f} s", flush=True)
        words = [sys.executable, __file__, "--measure", str(file), "--picks", str(args.picks)]
        found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    names = ("listing", "sequences", "split", "store, written and read", "query")
    lines = ["| step | processor seconds | memory, MiB |", "|---|---:|---:|"]
    lines += [f"| {name} | {found[name]:.1f} | {found[f'memory after {name}']:.0f} |" for name in names]
    table = "\n".join(lines)
    print(table)
    if not args.quick:
        note = (
            f"{found['images']:,} images of {LOCATIONS} locations, {found['sequences found']:,} sequences; memory is "
            f"the largest so far ({found['memory at the start']:.0f} MiB before the first step); the query picks "
            f"{found['picked']} of {found['pool']:,} by margin, one a sequence, ten a location, none nearer than 0.02."
        )
        write_table("camera traps", table, note)
    finish("camera_traps", found)


if __name__ == "__main__":
    main()
