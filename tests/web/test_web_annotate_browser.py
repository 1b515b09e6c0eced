"""The room annotate in a browser, as a person uses it: keys, boxes, masks, pixels, regions, second looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from labelwise.data.masks import read_mask
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.store import Store
from labelwise.store.second_looks import Suspect

CHROMIUM = Path("/usr/bin/chromium")
SIZE = (64, 48)
CLASSES = ("cat", "dog", "blåbær", "<b>fox</b>")
LONG = "a name that goes on " * 9 + "and on"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]
pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def asked(id: str, rank: int, sample: Sample) -> Query:
    return Query(id, 0, rank, sample.id, proposal=Target(("dog",)), reason={"score": 0.5})


def make_run(
    folder: Path,
    task: str,
    query: Callable[[str, int, Sample], Query] = asked,
    count: int = 6,
    classes: tuple[str, ...] = CLASSES,
    size: tuple[int, int] = SIZE,
) -> Path:
    """A run that asks ``count`` noisy images on the page; two more were labelled before."""
    images, run = folder / "images", folder / "runs" / "r"
    images.mkdir()
    run.mkdir(parents=True)
    rng = np.random.default_rng(0)
    samples = []
    for i in range(count + 2):
        pixels = rng.integers(60, 120, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i:02d}.png")
        samples.append(Sample(f"{i:02d}.png", images / f"{i:02d}.png", content=str(i), size=size))
    tree = {"name": "r", "task": task, "out": str(run.parent), "data": {"format": "x", "path": str(images)}}
    (run / "config.yaml").write_text(yaml.safe_dump({**tree, "annotator": "web"}), encoding="utf-8")
    with Store(run / "run.db") as store, store.transaction():
        store.add_samples((sample, "pool") for sample in samples)
        store.add_classes(classes)
        store.finish_step(-1, "read", 0.0)
        store.add_queries(query(f"000-{i:05d}", i, sample) for i, sample in enumerate(samples[:count]))
        store.finish_step(0, "query", 0.0)
    return run


class Person:
    """Somebody at the page: presses keys, points at pixels of the picture, and sees what is shown."""

    def __init__(self, page: Any, name: str) -> None:
        self.page, self.name = page, name

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sees(self, sample: str) -> None:
        self.page.wait_for_selector(f'#stage[aria-label="Picture {sample}"]')

    def saved(self) -> None:
        self.page.wait_for_selector('#count:has-text("all saved")')

    @property
    def note(self) -> str:
        return str(self.page.locator("#note").text_content())

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the whole picture lies on the screen."""
        box = self.page.locator("#stage").bounding_box()
        scale = min(64, 0.98 * min(box["width"] / SIZE[0], box["height"] / SIZE[1]))
        return (
            box["x"] + box["width"] / 2 + (x - SIZE[0] / 2) * scale,
            box["y"] + box["height"] / 2 + (y - SIZE[1] / 2) * scale,
        )

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=6)
        self.page.mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))


@contextmanager
def opened(browser: Any, run: Path, *names: str, **how: Any) -> Iterator[list[Person]]:
    """The room in a browser, once for each person; fails on anything that is said in the console."""
    from labelwise.web.serving import serving

    said: list[str] = []
    with serving(run, port=0) as address:
        people, contexts = [], []
        for name in names or ("Ann",):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **how})
            contexts.append(context)
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{address}annotate")
            page.fill("#your-name", name)
            page.keyboard.press("Enter")
            page.wait_for_selector("#stage:not([hidden])")
            people.append(Person(page, name))
        yield people
        for context in contexts:
            context.close()
    assert said == []


def answers(run: Path, who: str = "Ann") -> dict[str, Any]:
    with Store(run / "run.db") as store:
        return {
            id: answer.target
            for id, found in store.people.answers().items()
            for answer in found
            if answer.annotator == who
        }


def test_twenty_classes_by_keys(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "classify", count=20)
    with opened(browser, run) as (ann,):
        for i in range(12):
            ann.sees(f"{i:02d}.png")
            ann.keys("1" if i % 2 else "2")
        ann.sees("12.png")
        assert ann.note == "Proposed: dog"
        ann.keys("Enter")
        ann.sees("13.png")
        ann.keys("-")
        ann.sees("14.png")
        ann.keys("Backspace")
        ann.sees("13.png")
        ann.keys("3")
        ann.sees("14.png")
        ann.keys("+")
        ann.page.keyboard.type("wolf & cub")
        ann.keys("Enter")
        ann.page.wait_for_selector('[data-class="wolf & cub"] kbd:text("5")')
        ann.page.wait_for_selector("#stage:focus")  # keys mean classes again
        ann.keys("5")
        ann.sees("15.png")
        ann.keys("ArrowLeft", "ArrowLeft")
        ann.sees("13.png")
        ann.page.wait_for_selector('#banner:has-text("earlier answer")')
        ann.keys("4")
        ann.sees("15.png")
        ann.keys("/")
        ann.page.keyboard.type("blå")
        ann.keys("Enter")
        ann.sees("16.png")
        ann.page.click('[data-class="cat"]')
        ann.sees("17.png")
        ann.keys("-")
        ann.sees("18.png")
        ann.keys("1")
        ann.sees("19.png")
        ann.keys("1")
        ann.page.wait_for_selector("#nothing:not([hidden])")
        ann.saved()
        ann.page.wait_for_selector('#nothing:has-text("All 20 questions")')
    found = answers(run)
    said = [found[f"000-{i:05d}"] and found[f"000-{i:05d}"].classes[0] for i in range(20)]
    assert said == ["dog", "cat"] * 6 + ["dog", "<b>fox</b>", "wolf & cub", "blåbær", "cat", None, "cat", "cat"]
    with Store(run / "run.db") as store:
        first = store.people.answers()["000-00001"][0]
        assert 0 <= first.seconds < 60
        assert first.effort["keys"] >= 1
        assert first.effort["corrections"] == 1
        assert "corrections" not in store.people.answers()["000-00000"][0].effort


def test_what_is_typed_means_one_class(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "classify", lambda id, rank, s: Query(id, 0, rank, s.id), classes=(LONG, "red fox", "fox"))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        assert ann.page.locator("#accept").is_disabled()
        assert "Nothing is proposed" in ann.page.locator("#accept").text_content()
        ann.keys("1")  # as long as a name may be
        ann.sees("01.png")
        ann.keys("/")
        ann.page.keyboard.type("fox")
        assert ann.page.locator(".one-class.meant").get_attribute("data-class") == "fox"
        ann.keys("Enter")  # the name itself, not the first that holds it
        ann.sees("02.png")
        ann.keys("/")
        ann.page.keyboard.type("re")
        ann.keys("Enter")
        ann.sees("03.png")
        ann.keys("+")
        ann.page.keyboard.type("red")
        assert "Enter adds" in ann.page.locator(".classes").text_content()
        ann.keys("Enter")  # a new class, though another begins so
        ann.page.wait_for_selector('[data-class="red"]')
        ann.page.wait_for_selector("#stage:focus")
        ann.sees("03.png")
        ann.keys("4", "ArrowLeft")
        ann.sees("03.png")
        assert "Keep the answer" in ann.page.locator("#accept").text_content()
        ann.saved()
    said = [target.classes[0] for _, target in sorted(answers(run).items())]
    assert said == [LONG, "fox", "red fox", "red"]


def test_answers_wait_for_a_server_that_is_away(browser: Any, tmp_path: Path) -> None:
    from labelwise.web.serving import serving

    run = make_run(tmp_path, "classify")
    page = browser.new_page()
    with serving(run, port=0) as address:
        page.goto(f"{address}annotate")
        page.fill("#your-name", "Ann")
        page.keyboard.press("Enter")
        ann = Person(page, "Ann")
        ann.sees("00.png")
    ann.keys("1")
    ann.sees("01.png")
    page.wait_for_selector('#said.wrong:has-text("does not answer")')
    with serving(run, port=int(address.rsplit(":", 1)[1].strip("/"))):
        page.wait_for_selector('#count:has-text("1 by you")')
        ann.saved()
        page.wait_for_selector("#said:empty", state="attached")  # it answers again: nothing else is said
        page.close()
    assert [target.classes[0] for target in answers(run).values()] == ["cat"]


def test_two_people_never_see_the_same(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "classify", count=14)
    with opened(browser, run, "Ann", "Ben") as (ann, ben):
        ann.sees("00.png")
        ben.sees("04.png")  # four are held ahead
        for _ in range(4):
            ann.keys("1")
            ben.keys("2")
            ann.saved()
            ben.saved()
        ann.page.on("dialog", lambda dialog: dialog.accept())
        ann.page.click("#close")
        ann.page.wait_for_selector("#close:disabled")
    first, second = answers(run), answers(run, "Ben")
    assert (len(first), len(second)) == (4, 4)
    assert not first.keys() & second.keys()
    with Store(run / "run.db") as store:
        assert len(store.queries()) == 8


def test_boxes_drawn_corrected_removed(browser: Any, tmp_path: Path) -> None:
    proposed = Target(("dog", "cat"), np.array([[5.0, 5.0, 15.0, 15.0], [40.0, 30.0, 60.0, 44.0]]))
    run = make_run(tmp_path, "detect", lambda id, rank, s: Query(id, 0, rank, s.id, "box", proposal=proposed))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        assert ann.note == "2 boxes, 2 proposed"
        ann.keys("Enter")
        ann.sees("01.png")
        ann.click(10, 10)  # select, name, move, resize
        ann.keys("3")
        ann.drag((10, 10), (20, 12))
        ann.drag((25, 17), (30, 20))
        ann.keys("Tab", "Delete")
        ann.drag((30, 25), (50, 40))  # draw; its class is the last one chosen
        ann.keys("1", "ArrowRight", "Shift+ArrowUp")
        ann.drag((50, 2), (60, 8))
        ann.keys("Control+z")
        assert ann.note == "2 boxes"
        ann.keys("Enter")
        ann.sees("02.png")
        ann.click(10, 10)
        ann.keys("Delete", "Delete")
        assert ann.note == "0 boxes"
        ann.keys("Enter")
        ann.sees("03.png")
        ann.keys("Escape", "ArrowLeft")
        ann.sees("02.png")
        ann.drag((-2, -0.3), (10, 10))  # cut off at the image's edge
        ann.keys("2", "Enter")
        ann.sees("03.png")
        ann.saved()
    found = answers(run)
    assert found["000-00000"].classes == proposed.classes
    assert found["000-00000"].geometry.tolist() == proposed.geometry.tolist()
    assert found["000-00001"].classes == ("blåbær", "cat")
    assert found["000-00001"].geometry.tolist() == [[15, 7, 30, 20], [31, 15, 51, 30]]
    assert found["000-00002"].geometry.tolist() == [[0, 0, 10, 10]]
    with Store(run / "run.db") as store:
        effort = store.people.answers()["000-00001"][0].effort
    assert effort["corrections"] >= 3
    assert effort["undone"] == 1


def test_a_box_keeps_an_area_whatever_the_keys_do(browser: Any, tmp_path: Path) -> None:
    proposed = Target(("dog",), np.array([[5.0, 5.0, 15.0, 15.0]]))
    run = make_run(tmp_path, "detect", lambda id, rank, s: Query(id, 0, rank, s.id, "box", proposal=proposed))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        ann.keys("Tab", "Alt+Shift+ArrowLeft", *["Alt+Shift+ArrowUp"] * 2, "Enter")
        ann.sees("01.png")
        ann.saved()
    assert answers(run)["000-00000"].geometry.tolist() == [[5, 5, 6, 6]]


def test_a_box_by_keys_alone(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "detect", lambda id, rank, s: Query(id, 0, rank, s.id, "box"))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        ann.keys("?")
        assert "begin a box" in ann.page.locator("dialog[open]").inner_text()
        ann.keys("Escape", ".", "Enter")
        assert "no class" in ann.page.locator("#said").inner_text()
        ann.keys("2", "ArrowLeft", "Alt+Shift+ArrowDown", "Enter")
        ann.sees("01.png")
        # Of a part that is seen the middle of that part; taken back like any other.
        ann.keys(".", "Control+z", *["PageUp"] * 12, ".", "1", "Enter")
        ann.sees("02.png")
        ann.saved()
    first, second = answers(run)["000-00000"], answers(run)["000-00001"]
    # A quarter of 64 x 48 in its middle, one to the left, ten higher.
    assert (first.classes, first.geometry.tolist()) == (("dog",), [[23, 18, 39, 40]])
    assert second.classes == ("cat",)
    ((x0, y0, x1, y1),) = second.geometry.tolist()
    assert 1 <= x1 - x0 < 4
    assert 1 <= y1 - y0 < 4


@pytest.mark.parametrize("size", [(4000, 1), (1, 4000)])
def test_a_very_thin_picture_is_seen(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    run = make_run(tmp_path, "classify", size=size)
    Image.new("RGB", size, (250, 40, 40)).save(tmp_path / "images" / "00.png")
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        red = """(() => {
          const c = document.getElementById("stage");
          const all = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
          let n = 0;
          for (let i = 0; i < all.length; i += 4) n += all[i] > 200 && all[i + 1] < 100 && all[i + 3] > 200;
          return n / Math.max(c.width, c.height);
        })()"""
        ann.page.wait_for_timeout(300)
        assert ann.page.evaluate(red) > 2


def test_pixels_one_key_each(browser: Any, tmp_path: Path) -> None:
    places = np.array([[3, 4], [60, 40], [0, 0]], np.int32)
    proposed = Target(("cat", "dog"), places, np.array([1, 0, 1], np.int32))
    run = make_run(tmp_path, "segment", lambda id, rank, s: Query(id, 0, rank, s.id, "pixel", places, 3, proposed))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        assert ann.note == "Pixel 1 of 3 · proposed dog"
        ann.keys("1", "0")
        assert ann.note.startswith("Pixel 3 of 3")
        ann.keys("Backspace", "3", "Enter")
        ann.sees("01.png")
        ann.keys("1", "1", "1")
        ann.sees("02.png")
        ann.keys("Control+z")  # back into the image before, at its last pixel
        ann.sees("01.png")
        assert ann.note == "Pixel 3 of 3 · now cat"
        ann.keys("2")
        ann.sees("02.png")
        ann.saved()
    found = answers(run)
    assert [found["000-00000"].classes[c] for c in found["000-00000"].codes] == ["cat", "blåbær", "dog"]
    assert [found["000-00001"].classes[c] for c in found["000-00001"].codes] == ["cat", "cat", "dog"]


def test_regions_by_one_key_or_painted_inside(browser: Any, tmp_path: Path) -> None:
    windows = np.array([[4, 4, 14, 14], [40, 20, 50, 30]], np.int32)
    run = make_run(tmp_path, "segment", lambda id, rank, s: Query(id, 0, rank, s.id, "region", windows, 2))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        ann.page.wait_for_timeout(200)
        assert ann.note == "Region 1 of 2"
        ann.keys("1")
        assert ann.note == "Region 2 of 2"
        ann.keys("3")
        ann.sees("01.png")
        ann.page.wait_for_timeout(200)
        ann.keys("2")
        ann.page.click("text=Zoom out")
        ann.keys("b", "1")
        box = ann.page.locator("#stage").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        ann.page.mouse.move(middle[0], middle[1] - 400)
        ann.page.mouse.click(*middle)
        ann.keys("Enter")
        ann.sees("02.png")
        ann.keys("-")
        ann.sees("03.png")
        ann.saved()
    found = answers(run)
    first = found["000-00000"]
    assert (first.classes, len(first.codes), np.bincount(first.codes).tolist()) == (("cat", "blåbær"), 200, [100, 100])
    painted = found["000-00001"]
    inside = {(x, y) for x0, y0, x1, y1 in windows.tolist() for x in range(x0, x1) for y in range(y0, y1)}
    assert {tuple(p) for p in painted.geometry.tolist()} <= inside
    assert np.bincount(painted.codes, minlength=2).tolist()[1] == 100  # dog, the whole of one region
    assert 0 < np.bincount(painted.codes)[0] <= 100
    assert found["000-00002"] is None


def test_a_mask_by_polygon_fill_brush_and_eraser(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "segment", lambda id, rank, s: Query(id, 0, rank, s.id))
    with opened(browser, run) as (ann,):
        ann.sees("00.png")
        ann.keys("Enter")  # nothing is painted yet
        assert "nothing is painted" in ann.page.locator("#said").text_content()
        ann.keys("p", "1")
        for corner in ((10, 10), (30, 10), (30, 30), (10, 30)):
            ann.click(*corner)
        ann.keys("Enter", "f", "2")
        ann.click(50, 40)
        ann.keys("b", "3", *[","] * 20)  # the smallest brush
        ann.drag((15.5, 15.5), (25.5, 15.5))
        ann.keys("e")
        ann.drag((15.5, 15.5), (17.5, 15.5))
        ann.keys("b", "4")
        ann.drag((5.5, 5.5), (9.5, 5.5))
        ann.keys("Control+z", "Enter")
        ann.sees("01.png")
        ann.saved()
        ann.keys("Control+z")
        ann.sees("00.png")
        assert ann.note == "100 % painted"
    mask = read_mask(answers(run)["000-00000"].mask, 3, size=SIZE)
    wanted = np.full((SIZE[1], SIZE[0]), 1)
    wanted[10:30, 10:30] = 0
    wanted[15, 18:26] = 2
    wanted[15, 15:18] = 255
    assert (mask == wanted).mean() > 0.999


def test_labels_looked_at_again(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, "classify", classes=(*CLASSES, LONG))
    with Store(run / "run.db") as store, store.transaction():
        for i in (6, 7):
            store.add_queries([Query(f"000-{i:05d}", 0, i, f"{i:02d}.png")])
            store.add_annotations([Annotation(f"000-{i:05d}", Target(("cat",)), "Ben")])
        store.second_looks.set_suspects(
            Suspect(f"{i:02d}.png", f"000-{i:05d}", 0, "cat", LONG if i == 6 else "dog", 0.1, "by others")
            for i in (7, 6)
        )
    with opened(browser, run) as (ann,):
        ann.page.click("#tab-again")
        ann.sees("07.png")
        assert ann.note == "Labelled cat, rather dog? 2 left"
        ann.keys("2")
        ann.sees("06.png")
        ann.keys("Backspace")
        ann.sees("07.png")
        ann.keys("2")
        ann.sees("06.png")
        note, accept = (ann.page.locator(f"#{id}") for id in ("note", "accept"))
        assert LONG in note.text_content()
        assert note.evaluate("e => e.getBoundingClientRect().top + e.scrollHeight") <= accept.bounding_box()["y"]
        ann.keys("Enter")
        ann.page.wait_for_selector("#nothing:not([hidden])")
        ann.page.click("#tab-open")
        ann.sees("00.png")
        ann.keys("1")
        ann.sees("01.png")
    with Store(run / "run.db") as store:
        assert [(c.query_id, c.new.classes[0]) for c in store.second_looks.checks()] == [
            ("000-00007", "dog"),
            ("000-00006", "cat"),
        ]
        assert store.annotations()["000-00007"].target == Target(("cat",))  # until the next training


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_reached_by_keys(browser: Any, tmp_path: Path, width: int, height: int, scheme: str) -> None:
    run = make_run(tmp_path, "segment", lambda id, rank, s: Query(id, 0, rank, s.id), classes=(LONG, *CLASSES))
    how = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "has_touch": width < 900}
    with opened(browser, run, **how) as (ann,):
        fits = (
            "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
        )
        assert ann.page.evaluate(fits)
        for id in ("accept", "skip", "back", "undo", "help", "filter", "add-class"):
            box = ann.page.locator(f"#{id}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
        ann.keys("?")
        assert "skip: cannot tell" in ann.page.locator("dialog.keys dd").all_inner_texts()
        assert "Ctrl Z" in ann.page.locator("dialog.keys kbd").all_inner_texts()
        ann.keys("Escape")
        seen = set()
        for _ in range(25):
            ann.keys("Tab")
            seen.add(ann.page.evaluate("document.activeElement.id"))
        assert {"accept", "skip", "filter", "help"} <= seen
