"""Takes the pictures in docs/images anew from the page as it is, of data made here: ``python docs/pictures.py``.

Needs playwright and a Chromium (``LABELWISE_CHROMIUM``, otherwise /usr/bin/chromium); takes about two minutes.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFilter

from labelwise import api
from labelwise.data.digits import make_digits, make_scenes
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.store import Store
from labelwise.store.people import Answer
from labelwise.store.second_looks import Suspect
from labelwise.web.serving import serving

CHROMIUM = os.environ.get("LABELWISE_CHROMIUM", "/usr/bin/chromium")
SIZE = WIDE, HIGH = 960, 640
DESK, TABLET = (1280, 720), (820, 1180)
ANIMALS = ("hartebeest", "impala", "blue wildebeest", "plains zebra", "giraffe", "warthog", "nothing")
GROUND = ("sky", "hills", "grass", "tree", "antelope")
SKYLINE = [(0, 0), (960, 0), (960, 378), (860, 385), (560, 220), (346, 360), (200, 250), (0, 385)]
Act = Callable[[Any, Callable[[float, float], tuple[float, float]]], None]


# --- a savanna to annotate --------------------------------------------------------------------------------


def savanna(number: int) -> tuple[Image.Image, Target]:
    """A drawn landscape with trees and antelopes, and their boxes."""
    rng = np.random.default_rng(number + 2)
    image = Image.new("RGB", SIZE)
    draw = ImageDraw.Draw(image)
    for y in range(HIGH):
        t = y / HIGH
        sky, grass = (150 - 40 * t, 185 - 40 * t, 215 - 50 * t), (198 - 80 * t, 158 - 30 * t, 90)
        draw.line([0, y, WIDE, y], fill=tuple(int(v) for v in (sky if y < 380 else grass)))
    draw.polygon([(0, 390), (200, 250), (380, 385)], fill=(110, 120, 130))
    draw.polygon([(300, 390), (560, 220), (860, 390)], fill=(95, 108, 120))
    names, boxes = [], []
    for k in range(3 + number % 2):
        x, y, s = 80 + k * 260 + int(rng.integers(0, 90)), int(rng.integers(400, 470)), int(rng.integers(70, 110))
        if k % 2 == 0:
            draw.rectangle([x + s * 0.42, y, x + s * 0.58, y + s * 0.8], fill=(96, 68, 40))
            draw.ellipse([x, y - s * 0.9, x + s, y + s * 0.25], fill=(58, 110, 62))
            box = [x, y - s * 0.9, x + s, y + s * 0.8]
        else:
            draw.ellipse([x, y, x + s * 1.3, y + s * 0.62], fill=(150, 98, 58))
            draw.ellipse([x + s * 1.12, y - s * 0.25, x + s * 1.5, y + s * 0.2], fill=(150, 98, 58))
            for leg in (0.2, 0.42, 0.85, 1.05):
                draw.rectangle([x + s * leg, y + s * 0.45, x + s * (leg + 0.1), y + s], fill=(120, 76, 44))
            box = [x, y - s * 0.25, x + s * 1.5, y + s]
        names.append(("tree", "antelope")[k % 2])
        boxes.append(box)
    return image.filter(ImageFilter.GaussianBlur(1.2)), Target(tuple(names), np.array(boxes, float).round(1))


def asked(kind: str, number: int, sample: Sample, boxes: Target) -> Query:
    """The question about one landscape: its class, boxes, pixels, regions or a mask."""
    reason: dict[str, Any] = {"score": 0.93 - 0.01 * number, "score_rank": number + 1, "score_of": 4000}
    own: dict[str, Any] = {}
    if kind == "classes":
        guess = ANIMALS[number % 2]
        own, reason = {"proposal": Target((guess,))}, reason | {"class": guess, "probability": 0.41}
    elif kind == "boxes":
        own = {"unit": "box", "cost": 0.0, "proposal": boxes}
    elif kind == "pixels":
        places = np.array([[480, 386], [250, 300], [430, 420], [600, 460], [100, 500], [800, 120]], np.int32)
        guessed = Target(GROUND, places, np.array([1, 1, 3, 2, 2, 0], np.int32))
        own = {"unit": "pixel", "cost": 6.0, "geometry": places, "proposal": guessed}
    elif kind == "regions":
        y, x = np.mgrid[0:HIGH, 0:WIDE]
        parts = []
        for k, (cx, cy, a, b) in enumerate([(250, 300, 70, 44), (520, 330, 80, 50), (700, 520, 90, 40)]):
            wave = 0.25 * np.sin(x / 17) + 0.2 * np.cos(y / 11)
            down, across = np.nonzero((x - cx) ** 2 / a**2 + (y - cy) ** 2 / b**2 + wave < 1)
            parts.append(np.stack([across, down, np.full(len(across), k + 5)], 1))
        own = {"unit": "region", "cost": 3.0, "geometry": np.concatenate(parts).astype(np.int32)}
    return Query(f"002-{number:05d}", 2, number, sample.id, reason=reason, **own)


def asking(root: Path, kind: str, count: int = 24) -> tuple[Path, list[Target]]:
    """A run that asks on the page, and the boxes in its images; of classes some answers are contradicted."""
    images, folder = root / "images", root / kind / "savanna"
    images.mkdir(exist_ok=True)
    folder.mkdir(parents=True)
    samples, found = [], []
    for i in range(count):
        picture, boxes = savanna(i)
        file = images / f"IMG_{i:04d}.png"
        picture.save(file)
        found.append(boxes)
        samples.append(Sample(file.name, file, content=str(i), size=SIZE))
    task = {"classes": "classify", "boxes": "detect"}.get(kind, "segment")
    tree = {"name": "savanna", "task": task, "out": str(folder.parent), "data": {"format": "x", "path": str(images)}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**tree, "annotator": "web"}), encoding="utf-8")
    classes = {"classes": ANIMALS, "boxes": ("antelope", "tree", "bird")}.get(kind, GROUND)
    with Store(folder / "run.db") as store, store.transaction():
        store.add_samples((sample, "pool") for sample in samples)
        store.add_classes(classes)
        store.finish_step(-1, "read", 0.0)
        store.add_queries(asked(kind, i, s, found[i]) for i, s in enumerate(samples[:-4]))
        store.finish_step(2, "query", 0.0)
        if kind == "classes":
            old = [(f"001-{i:05d}", s) for i, s in enumerate(samples[-4:])]
            store.add_queries(Query(id, 1, i, s.id) for i, (id, s) in enumerate(old))
            store.add_annotations(Annotation(id, Target((ANIMALS[1],)), "ann") for id, _ in old)
            why = "by models that were trained without it"
            store.second_looks.set_suspects(
                Suspect(s.id, id, 1, ANIMALS[1], ANIMALS[0], 0.03 * (i + 1), why) for i, (id, s) in enumerate(old)
            )
    return folder, found


# --- looking ----------------------------------------------------------------------------------------------


@contextmanager
def looking(browser: Any, folder: Path, room: str, size: tuple[int, int], scheme: str) -> Iterator[Any]:
    """A room of the page of a run; what it says in its console is printed."""
    with serving(folder, port=0) as address:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message: print(room, message.text, file=sys.stderr))
        page.add_init_script("localStorage.setItem('labelwise-name', 'Ann')")
        page.goto(f"{address}{room}")
        yield page
        context.close()


def keep(page: Any, out: Path, name: str) -> None:
    """The page as it stands as ``name``.png."""
    page.wait_for_timeout(700)
    file = out / f"{name}.png"
    page.screenshot(path=str(file))
    Image.open(file).convert("RGB").save(file, optimize=True)
    print(f"{file}: {file.stat().st_size:,} bytes")


def press(page: Any, *keys: str) -> None:
    """Keys, with the time that a person takes."""
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(150)


def annotate(browser: Any, root: Path, out: Path) -> None:
    """The room annotate, for each kind of question."""

    def shot(kind: str, name: str, size: tuple[int, int], scheme: str, act: Act) -> None:
        folder = root / kind / "savanna"
        with looking(browser, folder, "annotate", size, scheme) as page:
            page.wait_for_selector("#stage:not([hidden])")
            page.wait_for_timeout(500)
            box = page.locator("#stage").bounding_box()
            scale = 0.98 * min(box["width"] / WIDE, box["height"] / HIGH)
            left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            act(page, lambda x, y: (left + (x - WIDE / 2) * scale, top + (y - HIGH / 2) * scale))
            keep(page, out, name)

    found = {kind: asking(root, kind)[1] for kind in ("classes", "boxes", "pixels", "regions", "masks")}
    tree, antelope = (found["boxes"][0].geometry[i] for i in (0, 1))  # type: ignore[index]

    def boxes(page: Any, at: Callable[[float, float], tuple[float, float]]) -> None:
        for x0, y0, x1, y1 in (tree, antelope):
            page.mouse.click(*at((x0 + x1) / 2, (y0 + y1) / 2))
        press(page, "1")
        page.mouse.move(*at(560, 150))

    def mask(page: Any, at: Callable[[float, float], tuple[float, float]]) -> None:
        press(page, "p", "1")
        for point in SKYLINE:
            page.mouse.click(*at(*point))
        press(page, "Enter", "2", "f", "b", "4", *"." * 5)
        middle, top = (tree[0] + tree[2]) / 2, tree[1] + 45
        page.mouse.move(*at(middle - 25, top))
        page.mouse.down()
        page.mouse.move(*at(middle + 25, top), steps=8)
        page.mouse.move(*at(middle, top + 15), steps=8)
        page.mouse.up()

    shot("classes", "annotate-classes", DESK, "light", lambda page, _: press(page, "1", "2", "Enter", "4", "Enter"))
    shot("classes", "annotate-check-again", DESK, "dark", lambda page, _: page.click("#tab-again"))
    shot("boxes", "annotate-boxes", DESK, "light", boxes)
    shot("pixels", "annotate-pixels", DESK, "dark", lambda page, _: press(page, "Enter"))
    shot("regions", "annotate-regions", TABLET, "light", lambda page, _: press(page, "2"))
    shot("masks", "annotate-masks", DESK, "dark", mask)


def chosen(page: Any, name: str) -> Any:
    """The list with this name in a bar of the room explore."""
    return page.locator(f".pane-bar label:has-text('{name}') select")


def explore(browser: Any, root: Path, out: Path) -> None:
    """The room explore of a simulated run on digits."""
    plan = {
        "name": "digits", "out": str(root / "runs"), "cache": str(root / "cache"), "threads": 1,
        "data": {"format": "class_folders", "path": str(make_digits(root)), "test": 0.3, "on_duplicate": "keep"},
        "model": {"name": "frozen", "backbone": "pixels", "size": 8},
        "budget": {"initial": 20, "per_round": 20, "rounds": 4},
    }  # fmt: skip
    folder = api.run(plan, report=False).folder
    with looking(browser, folder, "explore", DESK, "light") as page:
        page.wait_for_selector(".points[data-ready=yes]")
        chosen(page, "Map").select_option(label="t-SNE")
        for _ in range(180):  # a process of its own computes it; until then dots stand behind its name
            page.wait_for_timeout(1000)
            if chosen(page, "Map").locator("option:checked").inner_text() == "t-SNE":
                break
        page.wait_for_timeout(2000)
        chosen(page, "Colour").select_option(label="prediction")
        chosen(page, "Sort").select_option(label="score")
        box = page.locator(".points").bounding_box()
        x, y = box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.4
        corners = [(x + 70 * np.cos(a), y + 60 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 25)]
        page.mouse.move(*corners[0])
        page.mouse.down()
        for corner in corners:
            page.mouse.move(*corner)
        page.mouse.up()
        keep(page, out, "explore")
    with looking(browser, folder, "explore", TABLET, "light") as page:
        page.wait_for_selector(".points[data-ready=yes]")
        press(page, "c")
        page.get_by_label("First selection").select_option("round 0")
        page.get_by_label("Second selection").select_option("round 3")
        page.wait_for_selector(".compared table")
        page.wait_for_timeout(500)
        keep(page, out, "explore-compare")


def answered_by_people(root: Path) -> Path:
    """A run on scenes of digits that two people have answered for seven rounds; they are in the eighth."""
    table = make_scenes(root, count=700)
    with table.open(encoding="utf-8") as lines:
        truth = {Path(row["path"]).name: row["class"] for row in csv.DictReader(lines)}
    plan = {
        "name": "scenes", "out": str(root / "runs"), "cache": str(root / "cache"), "threads": 1, "audit": 120,
        "advice": {"target": 0.97}, "annotator": {"name": "web", "open": False},
        "data": {"format": "images_folder", "path": str(table.parent / "images"), "classes": [*"0123456789"]},
        "model": {"name": "frozen", "backbone": "edges"}, "budget": {"initial": 30, "per_round": 20, "rounds": 12},
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(8):
        folder = api.run(plan, report=False, wait=False).folder
        with Store(folder / "run.db") as store:
            for i, query in enumerate(store.queries(open_only=True)):
                if number == 7 and i == 7:
                    # Not where the run lies on this machine.
                    store.set_setting("message", "waiting for 20 annotations of round 7: answer them on the page")
                    return folder
                target = Target((truth[Path(query.sample_id).name],))
                seconds = round(float(rng.uniform(1, 4)), 1)
                store.people.answer(Answer(query.id, ("ada", "bo")[i % 2], target, seconds), lambda _: 1)
    raise AssertionError("the eighth round asks more than seven questions")


def follow(browser: Any, root: Path, out: Path) -> None:
    """The room rounds, and one image of the same run in the room explore."""
    folder = answered_by_people(root)
    with looking(browser, folder, "explore", DESK, "dark") as page:
        page.wait_for_selector(".points[data-ready=yes]")
        chosen(page, "Sort").select_option(label="score")
        page.wait_for_timeout(1000)
        page.locator(".tile").first.dblclick()
        keep(page, out, "explore-image")
    for name, size, scheme in (("rounds", (1280, 1240), "light"), ("rounds-dark", TABLET, "dark")):
        with looking(browser, folder, "rounds", size, scheme) as page:
            page.wait_for_selector(".chart .point.next", timeout=60_000)
            keep(page, out, name)


def main(out: Path) -> None:
    """All pictures into a folder."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for part in (annotate, explore, follow):
            folder = Path(place) / part.__name__
            folder.mkdir()
            part(browser, folder, out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
