"""The report of detection: boxes over the pictures, what was done to proposals, and figures by class and size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from labelwise.curves import Curve
from labelwise.evaluate.effort import Effort
from labelwise.report.compare import compare_page
from labelwise.report.figures import value_axis
from labelwise.report.run import run_page
from labelwise.report.views import BoxesView, CompareView, PickView, RoundView, RunView


def run_view(path: Path, **changes: Any) -> RunView:
    boxes = BoxesView(
        (64, 48), (("<i>cat", 1.0, 2.0, 10.0, 20.0),), (("<i>cat", 1.0, 2.0, 12.0, 20.0), ("dog", 0, 0, 5, 5))
    )
    picks = tuple(PickView(f"{i}.png", path, i, "Score 0.5.", "<i>cat 1", "<i>cat 1, dog 1", boxes) for i in range(4))
    effort = Effort(proposed=13, accepted=3, moved=2, renamed=1, added=4, deleted=7, kept=6, overlap=4.5, answers=4)
    metrics = {"map": 0.4, "map50": 0.7, "map75": 0.3, "map_small": 0.2, "map_medium": 0.5}
    round = RoundView(
        1, 20, metrics, {"<i>cat": 0.3, "dog": 0.5}, {"<i>cat": 9, "dog": 4}, None, {"<i>cat": 12, "dog": 8},
        {"train": 1.0}, picks, effort=effort, amounts={"boxes": 20, "images": 6},
    )  # fmt: skip
    view = RunView(
        "cells", "finished: done", "detect", "images", ("<i>cat", "dog"), "box_balanced", "detector", "", {}, "today",
        (round,), judged="boxes", figure="AP", pictures=2,
    )  # fmt: skip
    return replace(view, **changes)


def test_boxes_are_drawn_over_the_chosen_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    page = run_page(run_view(tmp_path / "a.png"))
    assert page.count('viewBox="0 0 64 48"') == 2, "as many as pictures= says"
    assert page.count('<rect class="answered"') == 4
    assert page.count('<rect class="proposed"') == 2
    assert 'x="1.0" y="2.0" width="10.0" height="20.0"' in page
    assert "<i>cat" not in page, "names are escaped"
    assert "3 of 13" in page, "of the proposed boxes three were left as they were"
    for text in ("mAP, small", ">AP<", "boxes accepted", "Average precision against labels", "test boxes"):
        assert text in page


def test_a_picture_that_is_gone_leaves_a_blank(tmp_path: Path) -> None:
    page = run_page(run_view(tmp_path / "gone.png"))
    assert "no picture" in page
    assert '<rect class="' not in page


def test_no_picture_is_wanted(tmp_path: Path) -> None:
    assert '<rect class="' not in run_page(run_view(tmp_path / "gone.png", pictures=0))


def test_runs_over_boxes_and_over_images_have_sections_of_their_own() -> None:
    def arms(labels: list[int]) -> dict[str, Any]:
        return {name: {0: {"map": Curve(labels, [0.1, 0.2 + 0.1 * i])}} for i, name in enumerate(("random", "ppal"))}

    other = CompareView("cells", "boxes", ("map",), arms([50, 100]), "random", "", {})
    page = compare_page(CompareView("cells", "images", ("map",), arms([5, 10]), "random", "", {}, (other,)))
    assert 'id="map"' in page
    assert 'id="map-boxes"' in page
    assert "mAP over boxes" in page
    assert "at 100 boxes" in page
    assert "10 images" in page
    alone = compare_page(replace(other, unit="images"))
    assert "mAP over images" not in alone


def test_no_axis_of_figures_goes_below_zero() -> None:
    """A detector's first rounds are at 0, around which an axis would go from -100 % to 100 %."""
    assert value_axis("map")["rangemode"] == "nonnegative"
