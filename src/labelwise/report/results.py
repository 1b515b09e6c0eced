"""The files with a round's results: results.json, confusion.csv and confusion.png in the round's folder."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from labelwise.ownership import replace_text

FILES = ("results.json", "confusion.csv", "confusion.png")
_CELLS = 900  # pixels that the cells of a picture take at most, in each direction
_DARK, _PAPER = np.array([15, 70, 130]), np.array([255, 255, 255])


def write_results(folder: Path, results: Mapping[str, Any], labels: Mapping[str, int]) -> None:
    """Write the files of `labelwise.evaluate.abstaining.round_results`; ``labels`` are the labels so far by class.

    Of the confusion matrix rows are the truth, columns the prediction; each cell of the picture is as dark as its share
    of the row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = results["confusion"]
    classes = [{**row, "labels": int(labels.get(row["name"], 0))} for row in results["classes"]]
    told = {**{k: v for k, v in results.items() if k != "confusion"}, "classes": classes}
    replace_text(folder / FILES[0], json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["truth \\ predicted", *table["columns"]])
    writer.writerows([name, *row] for name, row in zip(table["rows"], table["counts"], strict=True))
    replace_text(folder / FILES[1], "\ufeff" + text.getvalue())  # the mark: else Excel misreads names
    picture = confusion_picture(np.array(table["counts"], np.int64), table["rows"], table["columns"])
    beside = folder / f"{FILES[2]}.partial"
    picture.save(beside, format="PNG")
    beside.replace(folder / FILES[2])


def confusion_picture(counts: NDArray[np.int64], rows: list[str], columns: list[str]) -> Image.Image:
    """Counts ``(r, c)`` as a picture with the names beside it, and the numbers in cells that have room for them."""
    high, wide = max(1, len(rows)), max(1, len(columns))
    side = max(4, min(34, _CELLS // max(high, wide)))
    size = max(7, min(13, side - 2))
    font = ImageFont.load_default(size)
    margin = 12 + min(240, math.ceil(max((font.getlength(name) for name in [*rows, *columns]), default=0)))
    picture = Image.new("RGB", (margin + wide * side + 8, margin + high * side + 8), "white")
    if not counts.size:
        return picture
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = (_PAPER + share[..., None] * (_DARK - _PAPER)).round().astype(np.uint8)
    picture.paste(Image.fromarray(np.kron(colours, np.ones((side, side, 1), np.uint8))), (margin, margin))
    _write_names(picture, rows, columns, font, side, margin)
    if side >= 18:
        draw = ImageDraw.Draw(picture)
        for i, j in zip(*np.nonzero(counts), strict=True):
            ink = "white" if share[i, j] > 0.5 else "black"
            at = (margin + (int(j) + 0.5) * side, margin + (int(i) + 0.5) * side)
            draw.text(at, _short(int(counts[i, j])), ink, ImageFont.load_default(min(size, 10)), anchor="mm")
    return picture


def _write_names(picture: Image.Image, rows: list[str], columns: list[str], font: Any, side: int, margin: int) -> None:
    draw = ImageDraw.Draw(picture)
    every = math.ceil(font.size / side)  # of cells lower than a line of text only some are named
    for i, name in list(enumerate(rows))[::every]:
        draw.text((margin - 4, margin + (i + 0.5) * side), name, "black", font, anchor="rm")
    for j, name in list(enumerate(columns))[::every]:
        strip = Image.new("RGB", (margin - 4, max(side, font.size + 2)), "white")
        ImageDraw.Draw(strip).text((0, strip.height / 2), name, "black", font, anchor="lm")
        turned = strip.rotate(90, expand=True)
        picture.paste(turned, (margin + round((j + 0.5) * side - turned.width / 2), 0))
    draw.rectangle((margin - 1, margin - 1, margin + len(columns) * side, margin + len(rows) * side), outline="grey")


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.0f}k"
