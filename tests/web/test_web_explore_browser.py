"""The room explore in a browser: lasso, tag, filter, sort, open an image, compare, export; by pointer and by keys."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from exploring import IDS, ODD, make_images, make_run

from labelwise.store import Store
from labelwise.web.served import Beside
from labelwise.web.serving import serving

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]
Open = Callable[..., Any]


@pytest.fixture
def visit() -> Iterator[Open]:
    """Opens the room for a folder; what the page says in its console is a failure."""
    sync_api = pytest.importorskip("playwright.sync_api")
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        served: list[Any] = []

        def visit(folder: Path, *, mapped: bool = True, beside: Beside | None = None, **shape: Any) -> Any:
            served.append(serving(folder, port=0, beside=beside))
            address = served[-1].__enter__()
            page = browser.new_page(viewport={"width": 1280, "height": 720}, accept_downloads=True, **shape)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{address}explore")
            if mapped:
                page.wait_for_selector(".points[data-ready=yes]")
                page.wait_for_selector(".tile")
            return page

        yield visit
        browser.close()
        for one in served:
            one.__exit__(None, None, None)
    assert [line for line in said if "400 (Bad Request)" not in line] == []


def until(page: Any, truth: str, seconds: float = 30) -> None:
    """Wait until an expression is true on the page; playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, truth
        time.sleep(0.03)


def lasso(page: Any, share: float = 0.49) -> None:
    """Draw around the middle of the map, as wide as a share of its shorter side."""
    box = page.locator(".points").bounding_box()
    x, y, reach = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, share * min(box["width"], box["height"])
    corners = [(x + reach * math.cos(i * math.pi / 12), y + reach * math.sin(i * math.pi / 12)) for i in range(25)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners:
        page.mouse.move(*corner)
    page.mouse.up()


def shown(page: Any) -> list[str]:
    """The ids of the tiles in their order."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('.tile')].sort((a, b) => a.id.slice(5) - b.id.slice(5)).map(t => t.dataset.id)"
    )
    return found


def test_lasso_tag_filter_and_export(tmp_path: Path, visit: Open) -> None:
    folder = make_run(tmp_path)
    page = visit(folder)
    lasso(page, 0.6)
    words = page.locator(".selection-bar strong")
    until(page, "document.querySelector('.selection-bar strong').textContent.endsWith('selected')")
    chosen = int(words.text_content().split()[0])
    assert 0 < chosen <= len(IDS)
    page.keyboard.press("t")
    page.keyboard.type("<i>near</i>")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tags .tag")
    assert page.locator(".tags .name").text_content() == "<i>near</i>"
    assert page.locator(".tags i").count() == 0
    with Store(folder / "run.db") as store:
        kept = store.tags()["<i>near</i>"]
    assert len(kept) == chosen
    page.keyboard.press("Escape")
    until(page, "document.querySelector('.selection-bar').hidden")
    page.locator(".tags .value").click()
    until(page, f"document.querySelector('.found').textContent.startsWith('{chosen}')")
    assert sorted(shown(page)) == kept
    page.locator(".tags summary").click()
    with page.expect_download() as download:
        page.locator(".tags a", has_text=".txt").click()
    assert sorted(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == kept
    page.locator(".tags .danger").click()
    page.locator(".tags .danger", has_text="again").click()
    until(page, "!document.querySelector('.tags .tag')")
    until(page, f"document.querySelectorAll('.tile').length === {len(IDS)}")
    with Store(folder / "run.db") as store:
        assert store.tags() == {}


def test_the_run_going_on_takes_nothing_from_sight(tmp_path: Path, visit: Open) -> None:
    folder = make_run(tmp_path, ids=[f"{i:03d}.png" for i in range(120)])
    page = visit(folder)
    page.keyboard.press("3")
    page.locator(".grid").evaluate("grid => { grid.scrollTop = 700; }")
    page.locator(".facet", has_text="status").locator("summary").wait_for()
    with Store(folder / "run.db") as store, store.transaction():
        store.withdraw(["001-00002"])
    until(page, "document.querySelector('.facet .value[title^=\"open\"] .count')?.textContent === '1'")
    assert page.locator(".grid").evaluate("grid => grid.scrollTop") == 700
    page.locator("#turn").click()  # another order is looked at from its beginning
    until(page, "document.querySelector('.grid').scrollTop === 0")


def test_a_tag_that_is_shown_follows_what_is_put_under_it(tmp_path: Path, visit: Open) -> None:
    folder = make_run(tmp_path)
    with Store(folder / "run.db") as store:
        store.tag("t", IDS[:3])
    page = visit(folder)
    page.locator(".tags .value").click()
    until(page, "document.querySelector('.found').textContent === '3 of 21'")
    page.locator("#tile-0").click()
    page.keyboard.press("t")
    page.keyboard.type("t")
    page.keyboard.press("Shift+Enter")
    until(page, "document.querySelector('.found').textContent === '2 of 21'")
    assert shown(page) == IDS[1:3]


def test_filter_by_value_and_range_and_sort(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path))
    page.locator(".facet", has_text="status").locator(".value", has_text="labelled").click()
    until(page, "document.querySelector('.found').textContent === '5 of 21'")
    assert shown(page) == IDS[:5]
    page.locator(".facet", has_text="status").locator(".clear").click()
    until(page, "document.querySelector('.found').textContent === '21 images'")
    page.locator("#sort").select_option("score")
    until(page, "document.querySelector('#tile-0')?.textContent === '1'")
    assert shown(page)[:2] == IDS[4:6]
    page.locator("#turn").click()
    until(page, "document.querySelector('#tile-0')?.textContent === '0'")
    assert shown(page)[0] == IDS[-4]
    page.locator("input[aria-label='score: least']").fill("0.9")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.found').textContent === '2 of 21'")
    page.locator("#search").fill("SCRIPT")
    until(page, "document.querySelector('.found').textContent === '0 of 21'")
    assert "No image passes" in page.locator(".grid .empty").text_content()
    page.locator("#search").fill("")
    page.locator("#colour").select_option("meta:location")
    until(page, "document.querySelector('.legend')?.textContent.includes('cam 1')")


def test_keys_walk_select_and_open_an_image(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path))
    page.locator(".grid").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator(".selection-bar strong").text_content() == "2 selected"
    page.locator("#colour").select_option("meta:location")
    until(page, "document.querySelector('.legend')?.textContent.includes('cam 1')")
    bar, legend = (page.locator(name).bounding_box() for name in (".selection-bar", ".legend"))
    assert bar["y"] + bar["height"] <= legend["y"], "what is selected stands above the legend, not on it"
    page.locator(".grid").focus()
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".facts .query")
    assert page.locator("#image-title").text_content() == IDS[4]
    text = page.locator(".facts").text_content()
    assert "Score 0.75, rank 1 of 14." in text
    assert "cam 0" in text
    page.keyboard.press("t")
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.wait_for_selector(".image-tags .chip")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('#image-title').textContent === {IDS[5]!r}")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog[open]')")
    assert page.locator(".selection-bar strong").text_content() == "3 selected"
    page.keyboard.press("End")
    assert page.locator(".tile.focus").get_attribute("data-id") == IDS[-1]


def test_names_are_text_everywhere(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path))
    page.locator("#search").fill("quoted")
    until(page, "document.querySelector('.found').textContent === '1 of 21'")
    assert shown(page) == [ODD]
    page.locator(".tile").dblclick()
    page.wait_for_selector(".facts dl")
    assert page.locator("#image-title").text_content() == ODD
    assert page.locator("main script, dialog script, dialog b").count() == 0
    until(page, "document.querySelector('.photo').naturalWidth === 40")


def test_similar_images_and_comparison(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path))
    page.locator(".tile").nth(3).click()
    page.keyboard.press("s")
    until(page, "document.querySelector('#sort').value === 'similarity'")
    until(page, f"document.querySelector('#tile-0')?.dataset.id === {IDS[3]!r}")
    page.keyboard.press("c")
    page.wait_for_selector(".compared .balance")
    page.locator("select[aria-label='First selection']").select_option("round 0")
    page.locator("select[aria-label='Second selection']").select_option("all")
    until(page, "document.querySelector('.compared td')?.textContent === '4'")
    assert "100 %" in page.locator(".compared table").first.text_content()
    (tmp_path / "list.txt").write_text(f"{IDS[0]}\n{IDS[1]}\nnobody.png\n", encoding="utf-8")
    page.locator("input[type=file]").set_input_files(tmp_path / "list.txt")
    until(page, "document.querySelectorAll('.compared td')[1]?.textContent === '2'")
    page.locator(".compared .main").click()
    until(page, "document.querySelector('.legend')?.textContent.includes('in both')")


def test_another_map_is_made_in_the_background(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path))
    page.locator("#layout").select_option("tsne")
    until(page, "document.querySelector('#said').textContent === 't-SNE is ready'", seconds=90)
    assert list((tmp_path / "runs/r/cache/maps").glob("*-tsne.npy"))


def test_broken_images_and_no_vectors(tmp_path: Path, visit: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    make_images(tmp_path / "photos", IDS[:3])
    (tmp_path / "photos" / "bad.png").write_bytes(b"\x89PNG")
    (tmp_path / "v.npy").write_bytes(b"none")
    page = visit(tmp_path / "photos", mapped=False, beside=Beside(embeddings=tmp_path / "v.npy"))
    page.wait_for_selector(".tile.broken")
    until(page, "document.querySelector('.note').textContent.includes('v.npy')")
    assert page.locator(".top nav a").all_text_contents() == ["Explore"]
    page.locator(".tile.broken").dblclick()
    page.wait_for_selector(".image-view .empty:has-text('bad.png: expected')")  # and what was found there


def test_a_run_without_images_yet(tmp_path: Path, visit: Open) -> None:
    page = visit(make_run(tmp_path, ids=[]), mapped=False)
    until(page, "document.querySelector('.note').textContent.includes('taken in its images')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)])
def test_fits_the_screen(tmp_path: Path, visit: Open, scheme: str, size: tuple[int, int]) -> None:
    page = visit(make_run(tmp_path), color_scheme=scheme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    for part in (".points", ".grid"):
        box = page.locator(part).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 250
