"""The room of the rounds in a browser; what the page forbids there; and a whole run as a person does it."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api
from labelwise.records import Annotation, Query, Target
from labelwise.store import Store
from labelwise.web.serving import serving

CHROMIUM = Path("/usr/bin/chromium")
CLASSES = ("dark", "<img src=x onerror=document.title='hurt'>")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def new_page(browser: Any, said: list[str], **how: Any) -> Any:
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 720}, **how})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page


def until(page: Any, truth: str, seconds: float = 60) -> None:
    """Wait until an expression is true on the page; playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, truth
        time.sleep(0.03)


@pytest.fixture
def judged_run(asked_run: Callable[..., Path]) -> Path:
    """Five judged rounds of a class with a dangerous name, and a sixth that is asked."""
    folder = asked_run("classify", None, CLASSES)
    with Store(folder / "run.db") as store, store.transaction():
        images = [query.sample_id for query in store.queries()]
        for round in range(6):
            if round:
                asked = [Query(f"{round:03d}-{i:05d}", round, i, id) for i, id in enumerate(images)]
                store.add_queries(asked)
                store.finish_step(round, "query", 1.0)
            if round == 5:
                break
            names = CLASSES if round % 2 else CLASSES[::-1]
            store.add_annotations(
                Annotation(q.id, Target((names[i % 2],)), "ann", 3.0) for i, q in enumerate(store.queries(round))
            )
            for step in ("annotate", "train", "evaluate"):
                store.finish_step(round, step, 2.0)
            value = 0.9 - 0.5 * (round + 1) ** -0.7
            figures = {"n": 400, "macro_f1": value, "accuracy": value, "ece": 0.1, "nll": 1.0, "classes": list(CLASSES),
                       "recall": [1.0, 0.5], "precision": [1.0, 1.0], "support": [200, 200]}  # fmt: skip
            store.add_evaluation(round, "test", figures)
        store.set_setting("state", "waiting")
        store.set_setting("message", "waiting for 4 annotations of round 5")
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)])
def test_what_it_shows(browser: Any, judged_run: Path, scheme: str, size: tuple[int, int]) -> None:
    said: list[str] = []
    with serving(judged_run, port=0) as address:
        page = new_page(browser, said, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page.goto(f"{address}rounds")
        page.wait_for_selector(".chart .point.next")
        text = page.locator("main").inner_text()
        for words in ("waiting for people", "waiting for 4 annotations of round 5", "Answer 4 open", "Go on",
                      "may bring", "Learning curve", "Discovery of classes", "3.0 s each"):  # fmt: skip
            assert words in text, words
        assert page.locator(".chart .point:not(.next):not(.classes)").count() == 5
        assert page.locator(".steps [aria-current]").inner_text() == "annotate"
        # Nothing is wider than the window, and nothing small stands out of its card.
        assert page.evaluate("document.querySelector('main').scrollWidth <= window.innerWidth")
        names = page.locator(".balance tbody th").all_inner_texts()
        assert set(names) == set(CLASSES)
        assert page.locator(".rounds img").count() == 0
        assert "hurt" not in page.title()
        # A target, by keys; what it needs is told below the curve.
        page.locator("#target").focus()
        page.keyboard.type("86")
        page.keyboard.press("Enter")
        page.wait_for_selector(".chart .level", state="attached")  # flat, so never "visible"
        assert "macro-F1 of 86.0 %" in page.locator(".plot + .hint").first.inner_text()
        # What the pointer tells.
        point = page.locator(".chart .point").first.bounding_box()
        page.mouse.move(point["x"] + 4, point["y"] + 4)
        assert "round 0" in page.locator(".told").first.inner_text()
        page.close()
    assert said == []


def test_it_follows_the_run(browser: Any, judged_run: Path) -> None:
    said: list[str] = []
    with serving(judged_run, port=0) as address:
        page = new_page(browser, said)
        page.goto(f"{address}rounds")
        page.wait_for_selector(".chart")
        page.locator("text=Report").focus()
        with Store(judged_run / "run.db") as store, store.transaction():
            store.add_annotations(Annotation(q.id, Target(("dark",)), "ann") for q in store.queries(5))
            for step in ("annotate", "train", "evaluate"):
                store.finish_step(5, step, 2.0)
            store.add_evaluation(5, "test", {"n": 400, "macro_f1": 0.79, "accuracy": 0.8, "ece": 0.1, "nll": 1.0})
            store.set_setting("state", "finished")
            store.set_setting("message", "the budget is spent")
        until(page, "document.querySelectorAll('.chart .point:not(.next):not(.classes)').length === 6")
        assert page.locator(".pill").inner_text() == "finished"
        page.close()
    assert said == []


def test_the_report_opens_and_draws(browser: Any, judged_run: Path) -> None:
    """Its scripts are its own, and run in a sandbox without eval."""
    said: list[str] = []
    with serving(judged_run, port=0) as address:
        page = new_page(browser, said)
        page.goto(f"{address}rounds")
        with page.expect_popup() as popup:
            page.locator("text=Report").click()
        report = popup.value
        report.wait_for_selector("#curve .main-svg")
        assert report.evaluate("self.origin") == "null"
        report.close()
        page.close()
    assert said == []


@pytest.mark.parametrize("state", ["finished", "waiting"])
def test_a_page_that_closes_at_the_end_of_the_run(browser: Any, judged_run: Path, state: str) -> None:
    with Store(judged_run / "run.db") as store:
        store.set_setting("state", state)
    with serving(judged_run, port=0) as address:
        page = new_page(browser, [])
        page.goto(f"{address}rounds")
        page.wait_for_selector(".chart")
    wrong = "true" if state == "waiting" else "false"
    said = "the server does not answer" if state == "waiting" else "the run has finished and closed its page"
    until(page, f"document.getElementById('said').textContent.includes('{said}')")
    assert page.evaluate("String(document.getElementById('said').classList.contains('wrong'))") == wrong
    page.close()


def test_what_the_page_forbids(browser: Any, judged_run: Path) -> None:
    said: list[str] = []
    with serving(judged_run, port=0) as address:
        page = new_page(browser, said)
        page.goto(f"{address}rounds")
        page.wait_for_selector(".chart")
        page.evaluate(
            """() => {
              const script = document.createElement('script');
              script.textContent = "document.title = 'inline'";
              document.body.append(script);
              const picture = document.createElement('div');
              picture.innerHTML = '<img src=/none onerror="document.title=\\'handler\\'">';
              document.body.append(picture);
              setTimeout("document.title = 'text as a program'", 0);
            }"""
        )
        time.sleep(0.5)
        assert page.title() not in ("inline", "handler", "text as a program")
        assert sum("Content Security Policy" in line for line in said) >= 3
        # Another site: neither a read nor a write comes through, and no frame.
        other = new_page(browser, [])
        other.route("**/evil.example/**", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
        other.goto("http://evil.example/")
        for options in ("{}", "{method: 'POST', body: '{}', headers: {'Content-Type': 'application/json'}}",
                        "{method: 'POST', body: '{}', mode: 'no-cors'}"):  # fmt: skip
            got = other.evaluate(
                f"fetch('{address}api/annotate/next', {options}).then(r => r.type + r.status, () => 'refused')"
            )
            assert got in ("refused", "opaque0")
        with Store(judged_run / "run.db") as store:
            assert store.people.leased() == {}
        other.close()
        page.close()


# --- a whole run --------------------------------------------------------------------------------------


def right(sample: str) -> str:
    """The key of the class of a picture: every second one is light."""
    return str(1 + int(sample[:4]) % 2)


def pictures(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        pixels = rng.integers(0, 110, (24, 24, 3)) + (100 if i % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:04d}.png")
    return folder


def lasso(page: Any) -> None:
    box = page.locator(".points").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    reach = 0.48 * min(box["width"], box["height"])
    corners = [(x + reach * np.cos(i * np.pi / 12), y + reach * np.sin(i * np.pi / 12)) for i in range(25)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners:
        page.mouse.move(*corner)
    page.mouse.up()


def answer_by_keys(page: Any, count: int) -> None:
    """Answer so many questions: look at the picture, press the key of its class."""
    for _ in range(count):
        page.wait_for_selector("#stage:not([hidden])")
        until(page, "/^Picture /.test(document.getElementById('stage').getAttribute('aria-label'))")
        sample = page.locator("#stage").get_attribute("aria-label").removeprefix("Picture ")
        page.keyboard.press(right(sample))
        until(
            page,
            f"document.getElementById('stage').hidden || "
            f"document.getElementById('stage').getAttribute('aria-label') !== 'Picture {sample}'",
        )


@pytest.mark.slow
def test_a_whole_run_as_a_person(browser: Any, tmp_path: Path) -> None:
    """Look at the map, lasso, tag; answer twenty classes by keys; the run trains and the curve moves; again."""
    told: queue.Queue[str] = queue.Queue()
    data = {"format": "images_folder", "path": str(pictures(tmp_path / "images", 60)), "classes": ["dark", "light"]}
    tree = {
        "name": "r", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "threads": 1, "audit": 8,
        "data": data,
        "model": {"name": "frozen", "backbone": "pixels", "size": 8}, "strategy": "margin", "cold_start": "random",
        "annotator": {"name": "web", "port": 0, "open": False, "poll": 0.2, "overlap": 0},
        "budget": {"initial": 12, "per_round": 6, "rounds": 2},
    }  # fmt: skip
    ended: list[Any] = []
    run = threading.Thread(target=lambda: ended.append(api.run(tree, tell=told.put, report=False)), daemon=True)
    run.start()
    address = ""
    while not address:
        found = re.search(r"http://127\.0\.0\.1:\d+/", told.get(timeout=60))
        address = found[0] if found else ""

    said: list[str] = []
    page = new_page(browser, said)
    page.goto(address)
    with Store(tmp_path / "runs" / "r" / "run.db") as store:
        while not store.queries(open_only=True):
            time.sleep(0.1)
    # Look at the map, and tag what lies in the middle.
    page.goto(f"{address}explore")
    page.wait_for_selector(".points[data-ready=yes]")
    lasso(page)
    until(page, "document.querySelector('.selection-bar strong').textContent.endsWith('selected')")
    page.keyboard.press("t")
    page.keyboard.type("middle")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tags .tag")
    # Twenty questions: twelve to learn from, eight to judge by.
    page.goto(f"{address}annotate")
    page.fill("#your-name", "Ada")
    page.keyboard.press("Enter")
    answer_by_keys(page, 20)
    page.wait_for_selector('#count:has-text("all saved")')  # only then may one leave
    page.goto(f"{address}rounds")
    until(page, "document.querySelectorAll('.chart .point:not(.next):not(.classes)').length === 1")
    until(page, "document.querySelector('.pill').textContent === 'waiting for people'")
    page.locator("text=Answer 6 open").click()
    answer_by_keys(page, 6)
    # The page stays until the run has ended and whoever looks knows; then only what was drawn is there.
    page.wait_for_selector('#nothing:has-text("The run has finished.")', timeout=120_000)
    run.join(120)
    assert ended
    result = ended[0]
    assert result.state == "finished"
    assert {a.annotator for a in result.annotations.values()} == {"Ada"}
    assert all(a.seconds is not None for a in result.annotations.values())
    assert len(result.curve("accuracy").labels) == 2
    with Store(result.folder / "run.db") as store:
        assert store.tags()["middle"]
        answers = {q.sample_id: store.annotations()[q.id].target.classes[0] for q in store.queries()}
    assert answers == {sample: {"1": "dark", "2": "light"}[right(sample)] for sample in answers}
    page.close()
    # And afterwards, served again.
    with serving(result.folder, port=0) as again:
        page = new_page(browser, said)
        page.goto(f"{again}rounds")
        until(page, "document.querySelectorAll('.chart .point:not(.next):not(.classes)').length === 2")
        assert page.locator(".pill").inner_text() == "finished"
        page.close()
    gone = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    assert [line for line in said if not any(word in line for word in gone)] == []
