"""The report: complete offline, escaped, bounded, and whole for empty, odd and damaged runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise.curves import Curve
from labelwise.evaluate.effort import Effort
from labelwise.records import Problem
from labelwise.report import CompareView, PickView, RoundView, RunView, compare_page, run_page, thumbnails
from labelwise.report.pages import as_json

CLASSES = ("cat", "<script>alert(1)</script>", "größe & 猫")
EVIL = "<img src=x onerror=alert(1)>.png"
CHROMIUM = Path("/usr/bin/chromium")


class Page(HTMLParser):
    """Tags, attributes and visible text of a page, as a browser's parser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._inside = "", [""], ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data

    def charts(self) -> list[Any]:
        return [json.loads(s) for s in self.scripts if s.startswith('{"data"')]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (300, 200), (200, 30, 30)).save(path)
    return path


def a_round(number: int, picture: Path, picks: int = 3) -> RoundView:
    chosen = tuple(
        PickView(f"{EVIL}/{number}-{k}", picture, k, "margin <b>0.1</b>", CLASSES[0], (*CLASSES[:2], None)[k % 3])
        for k in range(picks)
    )
    return RoundView(
        round=number, labels=10 * (number + 1),
        metrics={"accuracy": 0.5 + number / 100, "macro_f1": 0.4, "nll": float("nan")},
        recall={CLASSES[0]: 0.5, CLASSES[1]: float("nan"), CLASSES[2]: 1.0},
        support={CLASSES[0]: 4, CLASSES[1]: 0, CLASSES[2]: 2}, confusion=np.array([[2, 1, 1], [0, 0, 0], [0, 0, 2]]),
        class_counts={CLASSES[0]: 5, CLASSES[2]: 5}, seconds={"train": 1.5, "score": 0.2}, picks=chosen,
    )  # fmt: skip


def a_run(*rounds: RoundView) -> RunView:
    return RunView(
        name="run </title><script>boom()</script>", state="waiting for 20 annotations", task="classify",
        unit="images", classes=CLASSES, strategy="margin", model="tiny", config_yaml="name: '</pre><b>x'",
        versions={"labelwise": "0.1"},
        created="2026-01-01", rounds=rounds, problems=(Problem(EVIL, "truncated", "the file <ends> early"),),
        duplicates=2, counts={"pool": 100, "labelled": 20},
    )  # fmt: skip


def curves(seeds: int, gain: float) -> dict[int, dict[str, Curve]]:
    labels = np.arange(100.0, 1001.0, 100.0)
    noise = np.random.default_rng(0).normal(0, 0.01, seeds)
    return {
        s: {
            "macro_f1": Curve(labels, (0.5 + gain) * labels / 1000 + noise[s]),
            "nll": Curve(labels, 2 - (0.5 + gain) * labels / 1000 + noise[s]),
        }
        for s in range(seeds)
    }


def a_comparison(seeds: int = 10, baseline: str | None = "random") -> CompareView:
    arms = {"random": curves(seeds, 0), "margin": curves(seeds, 0.5), "bad<i>": curves(seeds, -0.2)}
    return CompareView("several", "images", ("macro_f1", "nll", "absent"), arms, baseline, "a: 1", {"labelwise": "0.1"})


def pages(picture: Path) -> list[str]:
    return [run_page(a_run(a_round(0, picture))), compare_page(a_comparison())]


def test_nothing_is_loaded_from_outside(picture: Path) -> None:
    for text in pages(picture):
        page = Page(text)
        for tag, attributes in page.tags:
            assert tag not in {"link", "iframe", "object", "embed", "base"}
            for name in ("src", "href", "srcset", "action", "poster", "data"):
                assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attributes)
            assert not any(name.startswith("on") for name in attributes)
        assert "default-src 'none'" in text
        assert text.count("plotly.js v") >= 1
        style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
        assert style
        assert "url(" not in style.group(1)
        assert "@import" not in style.group(1)


def test_names_are_text_not_markup(picture: Path) -> None:
    page = Page(run_page(a_run(a_round(0, picture))))
    assert all(tag != "img" or (a["src"] or "").startswith("data:") for tag, a in page.tags)
    assert not any("boom()" in s or "alert(1)" in s for s in page.scripts if not s.startswith('{"data"'))
    assert "<script>alert(1)</script>" in page.text
    assert EVIL in page.text
    assert "margin <b>0.1</b>" in page.text
    assert "name: '</pre><b>x'" in page.text
    named = page.charts()[1]["data"][0]["customdata"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in named
    assert "bad&lt;i&gt;" in json.dumps(Page(compare_page(a_comparison())).charts())


def test_json_cannot_end_its_script() -> None:
    assert as_json({"a": "</script>&", "b": float("nan"), "c": np.array([1, 2])}) == (
        '{"a":"\\u003c/script\\u003e\\u0026","b":null,"c":[1,2]}'
    )


def test_every_round_is_there(picture: Path) -> None:
    text = run_page(a_run(*(a_round(i, picture) for i in range(40))))
    shown = Page(text).text
    for i in range(40):
        assert f"Round {i} " in shown
    assert Page(text).charts()[0]["data"][0]["x"] == [10 * (i + 1) for i in range(40)]
    assert shown.index("Round 39 ") < shown.index("Round 0 ")


def test_more_picks_than_shown(picture: Path) -> None:
    text = run_page(a_run(a_round(0, picture, picks=100)))
    assert text.count('src="data:image/jpeg') == thumbnails.PER_ROUND
    assert "and 40 more" in text


def test_answers_are_marked(picture: Path) -> None:
    shown = Page(run_page(a_run(a_round(0, picture)))).text
    assert "✓ cat" in shown
    assert f"✗ cat → {CLASSES[1]}" in shown
    assert "cat? not answered" in shown
    assert "1 of 2" in shown  # proposals that were right


def test_key_numbers(picture: Path) -> None:
    shown = Page(run_page(a_run(a_round(0, picture), a_round(1, picture)))).text
    for fact in ("waiting for 20 annotations", "20.0 % of 100 in the pool", "51.0 %", "3.4 s", "größe & 猫"):
        assert fact in shown


def test_class_without_support_is_named(picture: Path) -> None:
    assert f"without recall: {CLASSES[1]}." in Page(run_page(a_run(a_round(0, picture)))).text


def test_empty_run() -> None:
    page = Page(run_page(a_run()))
    assert "No round yet" in page.text
    assert page.charts() == []
    assert "No round has been evaluated" in Page(run_page(a_run(RoundView(0, 0)))).text
    bare = RunView("r", "not begun", "classify", "images", (), "random", "m", "", {}, "")
    assert "No file was left out" in Page(run_page(bare)).text


def test_unreadable_pictures_become_placeholders(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.png"
    broken.write_bytes(b"\xff\xd8\xff not a picture")
    empty.touch()
    picks = tuple(PickView(str(i), p, i) for i, p in enumerate([broken, empty, tmp_path / "missing.png", tmp_path]))
    text = run_page(a_run(RoundView(0, 4, picks=picks)))
    assert text.count("no picture</div>") == 4
    assert not any(tag == "img" for tag, _ in Page(text).tags)


def test_pictures_keep_to_their_budget(tmp_path: Path) -> None:
    paths = []
    for i in range(20):
        noise = np.random.default_rng(i).integers(0, 255, (400, 400, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(noise).save(paths[-1])
    uris = thumbnails.data_uris(paths, budget=50_000)
    assert 0 < sum(len(u or "") for u in uris) <= 50_000
    assert uris[0] is not None
    assert uris[-1] is None
    picks = tuple(PickView(p.name, p, i) for i, p in enumerate(paths))
    page = run_page(a_run(RoundView(0, 20, picks=picks)), picture_bytes=50_000)
    assert len(page) < 5_500_000


@pytest.mark.parametrize(("rounds", "expected"), [(0, 60), (1, 60), (20, 60), (40, 30), (5000, 1)])
def test_allowance(rounds: int, expected: int) -> None:
    assert thumbnails.allowance(rounds) == expected


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F", "I"])
def test_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.tif"
    Image.new(mode, (120, 60)).save(path)
    assert thumbnails.thumbnail(path)


def test_pictures_stand_upright(tmp_path: Path) -> None:
    import io

    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100)).save(path, exif=exif)
    with Image.open(io.BytesIO(thumbnails.thumbnail(path) or b"")) as small:
        assert small.height == 3 * small.width
        assert max(small.size) <= 1.5 * thumbnails.EDGE


def test_comparison_says_what_was_saved() -> None:
    shown = Page(compare_page(a_comparison())).text
    assert "margin reaches random’s macro-F1 of" in shown
    assert re.search(r"with \d+ labels: 5\d % \(95 % interval 5\d–5\d %\)\.", shown)
    assert "bad<i> does not reach random’s macro-F1" in shown
    assert "margin reaches random’s log loss of" in shown
    assert "Absent" not in shown


def test_comparison_is_honest_about_few_seeds() -> None:
    few = Page(compare_page(a_comparison(seeds=3))).text
    assert "Only 3 seeds: too few for a conclusion" in few
    assert "fewer than 5 seeds" in few
    assert "From one seed nothing can be concluded" in Page(compare_page(a_comparison(seeds=1))).text


def test_comparison_is_honest_about_chance() -> None:
    rng, labels = np.random.default_rng(4), np.arange(100.0, 1001.0, 100.0)
    arms = {
        name: {s: {"accuracy": Curve(labels, 0.5 * labels / 1000 + rng.normal(0, 0.05))} for s in range(8)}
        for name in ("random", "other")
    }
    shown = Page(compare_page(CompareView("t", "images", ("accuracy",), arms, "random", "", {}))).text
    assert "that other needs fewer labels than random is not shown" in shown or "Chance may play a part" in shown


def test_comparison_without_baseline_or_arms() -> None:
    assert "no random arm" in Page(compare_page(a_comparison(baseline=None))).text
    assert "No curves yet" in Page(compare_page(replace(a_comparison(), arms={}))).text


def test_arms_that_do_not_overlap_are_said_so() -> None:
    far = {0: {"macro_f1": Curve(np.array([5000.0, 6000.0]), np.array([0.1, 0.2]))}}
    view = replace(a_comparison(), arms={"random": curves(1, 0), "far": far})
    assert "far cannot be compared with random" in Page(compare_page(view)).text


def test_same_view_same_page(picture: Path) -> None:
    assert pages(picture) == pages(picture)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(tmp_path: Path, picture: Path, scheme: Any) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        for number, text in enumerate(pages(picture)):
            path, said = tmp_path / f"{number}.html", []
            path.write_text(text, encoding="utf-8")
            page = browser.new_page(viewport={"width": 800, "height": 720}, color_scheme=scheme)
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(path.as_uri())
            page.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
            for select in page.locator("select").all():
                select.select_option("1")
            assert said == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()


def test_effort_is_told_where_there_were_proposals() -> None:
    rounds = RoundView(0, 4), RoundView(1, 8, effort=Effort(8, 5, 2, 1, 3, 1, 7, 6.3, 4, 30.0, 2))
    view = a_run(*rounds)
    text = Page(run_page(replace(view, task="detect"))).text
    assert "People's effort" in text
    assert all(cell in text for cell in ("62.5 %", "0.90", "15.0"))
    assert "People's effort" not in Page(run_page(a_run(rounds[0]))).text
