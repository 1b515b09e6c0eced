"""The page on many images, in a browser: time to the first picture, to the middle, to a coloured map; and memory.

    python benchmarks/page.py [--images 100000] [--dim 256] [--quick]

A run is made in a temporary folder: pictures of 320 x 240 pixels (1,000 different ones under many names; a small one is
made of each name all the same), random vectors around 50 centres, scores and predictions of one round. It is served by
`labelwise serve` in a process of its own and looked at by chromium, without a graphics card, at 1280 x 720. "Cold":
nothing was kept yet; "again": another visit with a fresh browser, the small pictures of the first are on the disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from common import finish, parser, write_table
from labelwise.embedding.files import write_vectors
from labelwise.records import Sample
from labelwise.store import Store

CHROMIUM = Path("/usr/bin/chromium")
DIFFERENT, CLASSES = 1000, tuple(f"class {i}" for i in range(12))
MIB = 2**20


def make_run(place: Path, count: int, dim: int) -> Path:
    """A run of ``count`` images that has scored them once, and a file of their vectors beside it."""
    rng, images, folder = np.random.default_rng(0), place / "images", place / "runs" / "many"
    sources = []
    for i in range(min(DIFFERENT, count)):
        source = place / "sources" / f"{i:04d}.jpg"
        source.parent.mkdir(exist_ok=True)
        patches = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((320, 240), Image.Resampling.BICUBIC).save(source, quality=85)
        sources.append(source)
    samples = []
    for i in range(count):
        id = f"{i // 1000:03d}/{i:06d}.jpg"
        path = images / id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(sources[i % len(sources)])
        samples.append(Sample(id, path, group=f"camera {i % 40:02d}", content=f"{i:032x}", size=(320, 240)))
    kept = folder / "rounds" / "001"
    kept.mkdir(parents=True)
    tree = {"name": "many", "task": "classify", "out": str(folder.parent), "data": {"format": "x", "path": str(images)}}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    with Store(folder / "run.db") as store, store.transaction():
        store.add_samples((sample, "pool") for sample in samples)
        store.add_classes(CLASSES)
        store.finish_step(-1, "read", 0.0)
    centres, owner = 3 * rng.normal(size=(50, dim)), rng.integers(0, 50, count)
    ids = [s.id for s in samples]
    np.savez(
        kept / "candidates.npz",
        ids=np.array(ids),
        scores=rng.random(count),
        predicted=owner % len(CLASSES),
        confidences=rng.random(count).astype(np.float32),
    )
    vectors = (centres[owner] + rng.standard_normal((count, dim))).astype(np.float32)
    write_vectors(place / "vectors.npy", ids, vectors)
    return folder


@contextmanager
def served(folder: Path, vectors: Path) -> Iterator[tuple[str, int, float]]:
    """The page of a run by a process of its own: its address, its id, and the seconds until it answered."""
    words = ["serve", str(folder), "--embeddings", str(vectors), "--port", "0", "--no-open"]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "labelwise.cli", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[1], process.pid, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)


def resident(pid: int, what: str = "VmRSS") -> float:
    """The resident memory of a process in MiB, now or (VmHWM) at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def waited(page: Any, truth: str, limit: float = 120) -> float:
    """Seconds until an expression is true on the page."""
    began = time.perf_counter()
    while not page.evaluate(truth):
        if time.perf_counter() - began > limit:
            raise SystemExit(f"the page did not come to: {truth}")
        time.sleep(0.005)
    return time.perf_counter() - began


SEEN = (
    "(() => { const host = document.querySelector('.grid').getBoundingClientRect();"
    " const seen = [...document.querySelectorAll('.tile img')].filter(i => { const b = i.getBoundingClientRect();"
    " return b.bottom > host.top && b.top < host.bottom; });"
    " return seen.length > 0 && seen.every(i => i.complete && i.naturalWidth > 0); })()"
)
FRAMES = """async () => {
  const points = document.querySelector('.points'), box = points.getBoundingClientRect(), times = [], draws = [];
  for (let i = 0; i < 40; i++) {
    const began = performance.now();
    points.dispatchEvent(new WheelEvent('wheel', {
      deltaY: i < 20 ? -40 : 40, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, cancelable: true,
    }));
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - began);
    draws.push(Number(points.dataset.milliseconds));
  }
  draws.sort((a, b) => a - b);
  return draws[Math.floor(draws.length / 2)];
}"""


def visit(browser: Any, address: str) -> dict[str, float]:
    """One visit with a fresh browser: seconds, and at the end the memory of the page."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    figures = {}
    began = time.perf_counter()
    page.goto(f"{address}explore")
    waited(page, "[...document.querySelectorAll('.tile img')].some(i => i.complete && i.naturalWidth > 0)")
    figures["first picture"] = time.perf_counter() - began
    waited(page, "document.querySelector('.points').dataset.ready === 'yes'")
    waited(page, "document.querySelector('.points').dataset.milliseconds !== undefined")
    figures["map drawn"] = time.perf_counter() - began
    page.evaluate("(() => { const g = document.querySelector('.grid'); g.scrollTop = g.scrollHeight / 2; })()")
    figures["scroll to the middle"] = waited(page, f"document.querySelector('#tile-0') === null && {SEEN}")
    began = time.perf_counter()
    page.locator("#colour").select_option("score")
    waited(page, "document.querySelector('.legend .ramp') !== null")
    figures["colour the map by score"] = time.perf_counter() - began
    began = time.perf_counter()
    page.locator("#sort").select_option("score")
    waited(page, f"Number(document.querySelector('#tile-0')?.textContent) > 0.99 && {SEEN}")
    figures["sort by score"] = time.perf_counter() - began
    figures["draw the map (ms)"] = page.evaluate(FRAMES)
    began = time.perf_counter()
    page.locator(".tile").first.click()
    page.keyboard.press("s")
    waited(page, f"document.querySelector('#sort').value === 'similarity' && {SEEN}")
    figures["sort by similarity"] = time.perf_counter() - began
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")
    figures["page, JavaScript (MiB)"] = heap["usedSize"] / MIB
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    figures["page, process (MiB)"] = max(resident(p["id"]) for p in processes if p["type"] == "renderer")
    context.close()
    return figures


def main() -> None:
    """Make the run, visit it twice, write the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=256, help="numbers of a vector")
    given = options.parse_args()
    count = 2_000 if given.quick else given.images
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if sync_playwright is None or not CHROMIUM.exists():
        print(f"left out: this needs playwright and {CHROMIUM}")
        finish("page", {"left_out": True})
        return
    with tempfile.TemporaryDirectory(prefix="labelwise-page-") as place:
        folder = make_run(Path(place), count, given.dim)
        with served(folder, Path(place) / "vectors.npy") as (address, pid, ready), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
            cold, again = visit(browser, address), visit(browser, address)
            browser.close()
            peak = resident(pid, "VmHWM")
    rows = [f"| {name} | {_shown(name, cold[name])} | {_shown(name, again[name])} |" for name in cold]
    rows += [f"| server ready | {ready:.1f} s | |", f"| server, most memory | {peak:,.0f} MiB | |"]
    table = "\n".join(["| | cold | again |", "|---|---|---|", *rows])
    print(table)
    if not given.quick:
        what = f"{count:,} images, vectors of {given.dim} numbers, chromium without a graphics card"
        write_table("page", table, f"{what}; `python benchmarks/page.py`")
    figures = {f"{name}, {when}": f[name] for when, f in (("cold", cold), ("again", again)) for name in f}
    finish("page", {"images": count, "server_ready": ready, "server_peak_mib": peak, **json.loads(json.dumps(figures))})


def _shown(name: str, value: float) -> str:
    if name.endswith("(MiB)"):
        return f"{value:,.0f} MiB"
    return f"{value:.0f} ms" if name.endswith("(ms)") else f"{value:.2f} s"


if __name__ == "__main__":
    main()
