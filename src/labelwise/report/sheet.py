"""The contact sheet of picks: a picture of each with its rank, the reason for it and what the model saw in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.images import header_size
from labelwise.records import Problem
from labelwise.report import thumbnails
from labelwise.report.pages import render

CARDS = 5_000  # picks shown; the list has them all
PICTURE_BYTES = 24_000_000  # of all pictures together; text and boxes add at most as much again
_EDGES = ((200, 240), (1_000, 180), (CARDS, 120))  # up to so many picks, a picture's longer side in pixels on screen
_BOXES = 40  # drawn in one picture, those that count first
_FILES = 200
_COLOURS = 7
_FAINT = 0.3  # boxes of less confidence are drawn pale


@dataclass(frozen=True, slots=True)
class BoxView:
    """A box ``x0, y0, x1, y1`` in pixels of the image as shown, with its class; ``decisive`` if it made the score."""

    box: tuple[float, float, float, float]
    label: str
    confidence: float | None = None
    decisive: bool = False


@dataclass(frozen=True, slots=True)
class CardView:
    """One pick. ``boxes``: what the model found, the decisive ones first."""

    rank: int
    id: str
    path: Path
    reason: str
    boxes: Sequence[BoxView] = ()


@dataclass(frozen=True, slots=True)
class SheetView:
    """Picks in their order; ``facts`` are name and value for the top of the page, ``notes`` lines for people."""

    title: str
    cards: Sequence[CardView]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    unknown: Sequence[Problem] = ()
    problems: Sequence[Problem] = ()


def sheet_page(view: SheetView, *, picture_bytes: int = PICTURE_BYTES) -> str:
    """The sheet as a self-contained HTML page.

    It shows the first ``CARDS`` picks; of more picks smaller pictures, and none once ``picture_bytes`` are used up.
    """
    shown = view.cards[:CARDS]
    edge = next(edge for most, edge in _EDGES if len(shown) <= most)
    pictures = thumbnails.data_uris([card.path for card in shown], picture_bytes, edge=edge)
    colours = _colours(shown)
    return render(
        "sheet.html",
        view=view,
        edge=edge,
        cards=[_card(card, picture, colours) for card, picture in zip(shown, pictures, strict=True)],
        more=len(view.cards) - len(shown),
        colours=_legend(colours),
        problems=_by_code(view.problems),
        files=_FILES,
    )


def _card(card: CardView, picture: str | None, colours: Mapping[str, int]) -> dict[str, Any]:
    size = header_size(card.path) if card.boxes and picture else None
    width, height = size or (0, 0)
    boxes = [_box(box, colours) for box in card.boxes[:_BOXES]] if size else []
    return {"card": card, "picture": picture, "width": width, "height": height, "boxes": boxes}


def _box(view: BoxView, colours: Mapping[str, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(value, 1) for value in view.box)
    title = view.label if view.confidence is None else f"{view.label} {view.confidence:.2f}"
    colour = min(colours[view.label], _COLOURS - 1)
    faint = view.confidence is not None and view.confidence < _FAINT and not view.decisive
    return {"x": x0, "y": y0, "w": round(x1 - x0, 1), "h": round(y1 - y0, 1), "title": title, "colour": colour} | {
        "kind": " d" if view.decisive else " f" if faint else ""
    }


def _colours(cards: Sequence[CardView]) -> dict[str, int]:
    """A number for each class, the most frequent first; from the seventh on they share a colour."""
    counts = Counter(box.label for card in cards for box in card.boxes[:_BOXES])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {label: number for number, (label, _) in enumerate(ranked)}


def _legend(colours: Mapping[str, int]) -> list[tuple[str, int]]:
    shown = list(colours.items())[:_COLOURS]
    if len(colours) > _COLOURS:
        shown[-1] = f"{shown[-1][0]} and {len(colours) - _COLOURS} others", _COLOURS - 1
    return shown


def _by_code(problems: Sequence[Problem]) -> list[tuple[str, list[Problem]]]:
    counts = Counter(problem.code for problem in problems)
    return [(code, [p for p in problems if p.code == code]) for code, _ in counts.most_common()]
