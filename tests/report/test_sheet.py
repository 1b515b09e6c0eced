"""The contact sheet: one file that loads nothing, with every name escaped, bounded in size."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.records import Problem
from labelwise.report import sheet
from labelwise.report.sheet import BoxView, CardView, SheetView, sheet_page


class Elements(HTMLParser):
    """The elements of a page with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def view(path: Path, count: int = 3, boxes: tuple[BoxView, ...] = (), **words: object) -> SheetView:
    cards = [CardView(i, f"{i}.png", path, f"Reason {i}.", boxes) for i in range(1, count + 1)]
    return SheetView("picks", cards, **words)  # type: ignore[arg-type]


def test_it_is_complete_and_loads_nothing(picture: Path) -> None:
    page = sheet_page(view(picture, facts={"seed": "0"}, notes=["a note"]))
    elements = Elements(page)
    assert [img["alt"] for img in elements.all("img")] == ["1.png", "2.png", "3.png"]
    assert all(str(img["src"]).startswith("data:image/jpeg;base64,") for img in elements.all("img"))
    assert elements.all("script") == elements.all("link") == []
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "Reason 2." in elements.text
    assert "a note" in elements.text
    assert "color-scheme" in page
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 40_000


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&.png'
    card = CardView(1, evil, tmp_path / "none", evil, ())
    problem = Problem(evil, "truncated", evil)
    page = sheet_page(SheetView(evil, [card], {evil: evil}, [evil], [problem], [problem]))
    elements = Elements(page)
    assert elements.all("script") == []
    assert elements.text.count(evil) >= 7


def test_boxes_lie_where_they_are(picture: Path) -> None:
    boxes = (
        BoxView((1.04, 2, 11, 22.26), "a <b>", 0.5, True),
        BoxView((0, 0, 60, 40), "c", 0.1),
        BoxView((0, 0, 1, 1), "c"),
    )
    elements = Elements(sheet_page(view(picture, 1, boxes)))
    assert elements.all("svg")[0]["viewbox"] == "0 0 60 40"
    first, second, third = elements.all("rect")
    assert (first["x"], first["y"], first["width"], first["height"]) == ("1.0", "2", "10.0", "20.3")
    assert (first["class"], second["class"], third["class"]) == ("c1 d", "c0 f", "c0")
    assert "a <b> 0.50" in elements.text


def test_turned_pictures_have_the_size_they_are_shown_in(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "t.jpg", exif=exif)
    page = sheet_page(view(tmp_path / "t.jpg", 1, (BoxView((0, 0, 5, 5), "a"),)))
    assert Elements(page).all("svg")[0]["viewbox"] == "0 0 40 60"


def test_many_classes_share_the_last_colour(picture: Path) -> None:
    boxes = tuple(BoxView((0, 0, 5, 5), f"class {i}") for i in range(12))
    elements = Elements(sheet_page(view(picture, 1, boxes)))
    assert {str(r["class"]) for r in elements.all("rect")} == {f"c{i}" for i in range(7)}
    assert "and 5 others" in elements.text


def test_pictures_are_bounded(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "CARDS", 4)
    page = sheet_page(view(picture, 6), picture_bytes=6_000)
    elements = Elements(page)
    assert 0 < len(elements.all("img")) < 4
    assert len([d for d in elements.all("div") if d.get("class") == "blank"]) == 4 - len(elements.all("img"))
    assert "and 2 more: the list has them all" in elements.text


def test_more_picks_have_smaller_pictures(picture: Path) -> None:
    few, many = (sheet_page(view(picture, n)) for n in (200, 201))
    assert "minmax(240px" in few
    assert "minmax(180px" in many


def test_nothing_picked_and_unreadable(tmp_path: Path) -> None:
    assert "Nothing was picked." in sheet_page(SheetView("none", []))
    broken = tmp_path / "b.png"
    broken.write_bytes(b"no picture")
    page = sheet_page(view(broken, 1, (BoxView((0, 0, 1, 1), "a"),)))
    assert "no picture" in Elements(page).text
    assert "<rect" not in page


def test_long_lists_of_problems_are_cut(picture: Path) -> None:
    problems = [Problem(f"{i}", "truncated", f"m{i}.") for i in range(300)]
    text = Elements(sheet_page(view(picture, 1, problems=problems, unknown=problems))).text
    assert text.count("and 100 more") == 2
