"""The report's charts: what they show first, ticks that differ, names that have room, and a narrow screen."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.advice import Outlook
from labelwise.curves import Curve
from labelwise.forecast import forecast
from labelwise.report import RoundView, RunView, figures, run_page

CHROMIUM = Path("/usr/bin/chromium")
LONG = ("an_extremely_long_name_of_a_class_that_somebody_typed_" + "a" * 40, "<b>größe & 猫</b> " * 5, "x", "y")


def a_view(task: Any, metrics: list[dict[str, float]], classes: tuple[str, ...] = LONG, **more: Any) -> RunView:
    rounds = tuple(
        RoundView(
            round=n, labels=20 * (n + 1), metrics=figure, confusion=np.full((len(classes), len(classes)), 12345),
            recall=dict.fromkeys(classes, 0.5), support=dict.fromkeys(classes, 12345),
            class_counts={name: 3 * k for k, name in enumerate(classes)},
        )
        for n, figure in enumerate(metrics)
    )  # fmt: skip
    return RunView(
        name="run", state="finished", task=task, unit="regions" if task == "segment" else "images", classes=classes,
        strategy="margin", model="tiny", config_yaml="a: 1", versions={}, created="2026-01-01", rounds=rounds, **more,
    )  # fmt: skip


def charts(page: str) -> list[Any]:
    return [json.loads(s) for s in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def an_outlook(metric: str, values: list[float]) -> Outlook:
    curve = Curve(np.arange(20.0, 20 * len(values) + 1, 20), np.array(values))
    found = forecast(curve)
    assert found is not None
    unknown = np.full(len(values), math.nan)
    return Outlook(metric, "images", curve, unknown, found, 20, 100, None, None, None, None, 0.0, None, "go on", "so")


def test_the_forecast_stands_beside_its_own_figure() -> None:
    values = [0.2, 0.4, 0.5, 0.55]
    metrics = [{"accuracy": v + 0.3, "macro_f1": v} for v in values]
    outlook = an_outlook("macro_f1", values)
    first = charts(run_page(a_view("classify", metrics, outlook=outlook)))[0]
    assert [choice["label"] for choice in first["choices"]] == ["Macro-F1", "Accuracy"]
    shown = [
        [trace.get("name", "band") for trace, seen in zip(first["data"], choice["visible"], strict=True) if seen]
        for choice in first["choices"]
    ]
    assert shown == [["Macro-F1", "band", "forecast"], ["Accuracy"]]
    assert first["data"][0]["y"] == values
    # A figure that the forecast is not about has none.
    only = charts(run_page(a_view("classify", [{"accuracy": v} for v in values], outlook=outlook)))[0]
    assert [t["name"] for t in only["data"]] == ["Accuracy"]


def test_the_ticks_of_a_small_share_differ() -> None:
    assert figures.value_axis("map")["tickformat"] == "~%"  # ".0%" writes 0.0002 and 0.0004 as 0 %


def test_a_band_of_one_point_is_seen() -> None:
    one, two = figures.ribbon([20], [0.1], [0.3], "@0"), figures.ribbon([20, 40], [0.1, 0.2], [0.3, 0.4], "@0")
    assert one["line"]["width"] > 0
    assert (one["x"], sorted(one["y"])) == ([20, 20], [0.1, 0.3])
    assert two["line"]["width"] == 0


def test_pixels_are_not_counted_as_regions() -> None:
    found = charts(run_page(a_view("segment", [{"miou": 0.3}], judged="pixels")))
    titles = {axis.get("title", {}).get("text") for c in found for axis in (c["layout"]["xaxis"], c["layout"]["yaxis"])}
    assert {"labelled pixels", "labelled pixels of the class", "class", "labelled regions"} <= titles


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.text("abc", min_size=1, max_size=14)), max_size=12, min_size=1
    )
)
def test_no_name_covers_another(points: list[tuple[float, float, str]]) -> None:
    x, y, names = (list(column) for column in zip(*points, strict=True))
    found = figures._rooms(x, y, names)
    boxes = []
    for a, b, name, place in zip(x, y, names, found, strict=True):
        if place is not None:
            wide = 0.028 * len(name)
            left = {"middle left": a - wide - 0.03, "middle right": a + 0.03}.get(place, a - wide / 2)
            low = {"top center": b + 0.03, "bottom center": b - 0.105}.get(place, b - 0.0375)
            assert left >= 0
            assert all(
                abs(left + wide / 2 - m) >= (wide + w) / 2 - 1e-9 or abs(low - n) >= 0.075 - 1e-9 for m, n, w in boxes
            )
            boxes.append((left + wide / 2, low, wide))


def test_a_lone_name_has_room() -> None:
    assert figures._rooms([0.5], [0.5], ["name"]) == ["top center"]
    assert figures._rooms([1.0], [0.5], ["a long name"]) == ["middle left"]
    assert figures._rooms([0.5] * 9, [0.5] * 9, ["crowded"] * 9).count(None) == 7


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
@pytest.mark.parametrize(
    "classes", [LONG, tuple(f"class {i}" for i in range(30)), tuple(f"class {i}" for i in range(121))]
)
def test_a_narrow_screen(tmp_path: Path, classes: tuple[str, ...]) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "report.html"
    path.write_text(run_page(a_view("segment", [{"miou": 0.3}], classes, judged="pixels")), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto(path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # Nothing but the matrix stands where it is, and no name is lower than a line of text.
        plot = "document.querySelector('.confusion .plot')"
        assert page.evaluate(f"{plot}.clientHeight - {plot}.querySelector('.main-svg').clientHeight") <= 2
        names = page.locator(".confusion .yaxislayer-above text").evaluate_all(
            "all => all.map(t => t.getBoundingClientRect()).map(r => [r.top, r.bottom])"
        )
        assert len(names) == (0 if len(classes) > 20 else len(classes))
        assert all(one[1] <= other[0] + 1 for one, other in zip(sorted(names), sorted(names)[1:], strict=False))
        # The table of confusions shows all of its columns.
        assert page.evaluate("(t => t.scrollWidth <= t.clientWidth + 1)(document.querySelector('.confusion .table'))")
        browser.close()
