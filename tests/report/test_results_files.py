"""The files with a round's results: numbers, table and picture, in a run and alone."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

import labelwise
from labelwise import testing
from labelwise.evaluate.abstaining import round_results
from labelwise.report.results import FILES, confusion_picture, write_results


def test_files_say_what_the_results_say(tmp_path):
    names = ("réd fox, young", 'a "quoted" name', "貓")
    probs = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
    results = round_results(probs, np.array([0, 1, 2, 2]), names, 0.55)
    write_results(tmp_path / "000", results, {names[0]: 7})
    told = json.loads((tmp_path / "000" / "results.json").read_text(encoding="utf-8"))
    assert [c["labels"] for c in told["classes"]] == [7, 0, 0]
    assert told["accuracy"] == 0.75
    with (tmp_path / "000" / "confusion.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == [*names, "unknown"]
    assert [r[0] for r in rows[1:]] == list(names)
    assert [[int(v) for v in r[1:]] for r in rows[1:]] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]
    with Image.open(tmp_path / "000" / "confusion.png") as picture:
        assert picture.format == "PNG"
    assert sorted(p.name for p in (tmp_path / "000").iterdir()) == sorted(FILES)


def test_cells_are_as_dark_as_their_share_of_the_row():
    counts = np.array([[8, 0], [4, 4]])
    picture = np.asarray(confusion_picture(counts, ["a", "b"], ["a", "b"]).convert("L")).astype(int)
    side = 34
    top = picture.shape[0] - 8 - 2 * side
    corner = [[picture[top + i * side + 3, top + j * side + 3] for j in (0, 1)] for i in (0, 1)]
    assert corner[0][0] < corner[1][0] == corner[1][1] < corner[0][1] == 255


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 1), (1, 1), (3, 4), (121, 122), (400, 400)])
def test_any_number_of_classes_is_drawn(rows, columns):
    counts = np.arange(rows * columns).reshape(rows, columns)
    names = [f"a species with a name that is longer than usual, number {i}" for i in range(columns)]
    picture = confusion_picture(counts, names[:rows], names)
    assert max(picture.size) < 2000


def test_a_run_writes_them_for_every_round(tmp_path):
    for sample in testing.make_images(tmp_path / "made", 80, classes=3):
        place = tmp_path / "images" / sample.target.classes[0] / sample.id
        place.parent.mkdir(parents=True, exist_ok=True)
        sample.path.rename(place)
    config = {
        "name": "r",
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "data": {"format": "class_folders", "path": str(tmp_path / "images")},
        "model": {"name": "frozen", "backbone": "pixels", "size": 2},
        "budget": {"initial": 9, "per_round": 9, "rounds": 2},
        "threshold": 0.9999,
        "strategy": "margin",
        "cold_start": "random",  # they compile nothing
    }
    result = labelwise.run(config)
    for round in (0, 1):
        told = json.loads((result.folder / f"rounds/{round:03d}/results.json").read_text(encoding="utf-8"))
        assert told["round"] == round
        assert told["labels"] == 9 + 9 * round
        assert told["n"] == result.split_sizes["test"]
        assert sum(c["labels"] for c in told["classes"]) == told["labels"]
        assert told["answered"] < told["n"]
        figures = result.evaluations["test"][round]
        assert figures["abstention"][0][2] == pytest.approx(figures["accuracy"])
        assert told["macro_f1"] == pytest.approx(figures["macro_f1"])
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "When to say" in page
    again = labelwise.run({**config, "threshold": 0.5})  # a threshold is chosen afterwards
    assert again.config.threshold == 0.5
