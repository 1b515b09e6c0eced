"""The verb pick as a whole process: seconds and peak memory on a folder of pictures, and on a file of vectors.

    python benchmarks/pick.py [--images 20000] [--backbone edges] [--picks 100] [--vectors 1000000] [--quick]

Small JPEG and PNG pictures are made in a temporary folder; the first call reads, decodes and embeds them, the second
finds their features in the table. With --vectors that many random vectors of 512 numbers are written to a temporary
Parquet file, and 10,000 of them are picked. Peak memory is the largest resident set of the process, which counts the
interpreter and its libraries; what the kernel caches of files is not in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from common import finish, parser, write_table

WIDTH, PICKED = 512, 10_000
SIDE = 96


def make_images(folder: Path, count: int) -> None:
    """Noise in patches, so that files have about 4 KB; every third is a PNG; one in a hundred is a copy."""
    rng = np.random.default_rng(0)
    for i in range(count):
        file = folder / f"{i // 1000:03d}" / f"{i:06d}.{'png' if i % 3 == 0 else 'jpg'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if i % 100 == 99:
            file.write_bytes((folder / "000" / "000000.png").read_bytes())
            continue
        patches = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file)


def make_vectors(file: Path, count: int) -> None:
    """Vectors around 1,000 centres, written some at a time; ids are not in alphabetical order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1_000, WIDTH)).astype(np.float32)
    schema = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32(), WIDTH))])
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, count, 20_000):
            size = min(20_000, count - start)
            noise = rng.standard_normal((size, WIDTH), dtype=np.float32)
            rows = centres[rng.integers(0, len(centres), size)] + np.float32(0.5) * noise
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), WIDTH)
            names = pa.array([f"{i}.jpg" for i in range(start, start + size)])
            writer.write_table(pa.table([names, vectors], schema=schema))


def measured(*words: str | Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one ``labelwise pick``."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "labelwise.cli", "pick", *map(str, words), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"labelwise pick {' '.join(map(str, words))} failed")
    return seconds, usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure and print the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=20_000)
    options.add_argument("--backbone", default="edges")
    options.add_argument("--weights", default="none", help="hub, a file or none, for a network")
    options.add_argument("--picks", type=int, default=100)
    options.add_argument("--vectors", type=int, default=0, help="rows of the Parquet file; 0: without that part")
    options.add_argument("--strategy", default="k_center", help="of the part on vectors")
    given = options.parse_args()
    images, picks = (400, 20) if given.quick else (given.images, given.picks)
    rows: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        make_images(folder / "images", images)
        common = [folder / "images", "-n", picks, "--backbone", given.backbone, "--weights", given.weights]
        common += ["--cache", folder / "cache", "--force", "--out", folder / "picks.csv", "--out", folder / "picks.txt"]
        name = f"{images:,} images, {given.backbone}, {picks} picks"
        rows[f"{name}: first"] = measured(*common)
        rows[f"{name}: again"] = measured(*common)
        rows[f"{name}: again, with a sheet"] = measured(*common, "--sheet", folder / "picks.html")
        if given.vectors:
            picked = min(PICKED, given.vectors // 2)
            make_vectors(folder / "v.parquet", given.vectors)
            size = given.vectors * WIDTH * 4 / 2**20
            name = (
                f"{given.vectors:,} vectors of {WIDTH} ({size:,.0f} MB) in Parquet, {picked:,} picks, {given.strategy}"
            )
            words = ["--embeddings", folder / "v.parquet", "-n", picked, "--strategy", given.strategy]
            rows[name] = measured(*words, "--out", folder / "v.csv")
    lines = ["| what | seconds | peak memory, MB |", "|---|---|---|"]
    lines += [f"| {name} | {seconds:.1f} | {memory:,.0f} |" for name, (seconds, memory) in rows.items()]
    print("\n".join(lines))
    if not given.quick and given.vectors:
        note = f"`python benchmarks/pick.py --vectors {given.vectors}`; {os.cpu_count()} cores"
        write_table("pick", "\n".join(lines), note)
    figures = {name: {"seconds": seconds, "megabytes": memory} for name, (seconds, memory) in rows.items()}
    finish("pick", {"quick": given.quick, "processes": figures})


if __name__ == "__main__":
    main()
