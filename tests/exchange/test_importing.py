"""Answers made elsewhere: joined by id, in every format, twice without harm, and every misfit told."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise.data import coco, cvat_xml, image_masks, label_tables, voc, yolo
from labelwise.errors import DataError, RunError
from labelwise.exchange.exporting import export
from labelwise.exchange.importing import import_answers
from labelwise.records import Query, Sample, Target
from labelwise.store import Store

MakeRun = Callable[..., Path]
WRITERS = {"coco": coco.write, "voc": voc.write, "yolo": yolo.write, "cvat_xml": cvat_xml.write}
CLASSES = ("cat", "dog", "blåbær")
TRUTH = {
    "a.png": [("cat", [1, 2, 11, 12]), ("dog", [3.5, 4, 20, 30])],
    "b.png": [("blåbær", [0, 0, 40, 30])],
    "sub/ü, c.jpg": [("dog", [5, 6, 7, 8])],
    "sub/a.png": [("cat", [30, 20, 39, 29])],
}


def boxes(*found: tuple[str, Sequence[float]]) -> Target:
    return Target(tuple(name for name, _ in found), np.array([b for _, b in found], float).reshape(-1, 4))


def samples_of(run: Path, truth: dict[str, Target | None] | None = None) -> list[Sample]:
    truth = {id: boxes(*found) for id, found in TRUTH.items()} if truth is None else truth
    with Store(run / "run.db", read_only=True) as store:
        return [replace(s, target=truth[s.id]) for s in store.samples() if s.id in truth]


def answers(run: Path) -> dict[str, Target | None]:
    with Store(run / "run.db", read_only=True) as store:
        asked = {q.id: q.sample_id for q in store.queries()}
        return {asked[id]: a.target for id, a in store.annotations().items()}


def plain(target: Target | None) -> list[tuple[str, list[float]]] | None:
    if target is None:
        return None
    assert target.geometry is not None
    return [(name, [float(v) for v in row]) for name, row in zip(target.classes, target.geometry.tolist(), strict=True)]


def of_truth(ids: Sequence[str] = tuple(TRUTH)) -> dict[str, list[tuple[str, list[float]]]]:
    return {id: [(name, [float(v) for v in row]) for name, row in TRUTH[id]] for id in ids}


@pytest.mark.parametrize("format", [*WRITERS, "csv"])
def test_answers_with_boxes_in_every_format(format: str, asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    place = tmp_path / ("theirs.csv" if format == "csv" else "theirs")
    if format == "csv":
        label_tables.write(place, samples_of(run), CLASSES)
    else:
        WRITERS[format](place, samples_of(run), CLASSES, images="leave")
    done = import_answers(run, place)
    assert (done.taken, done.left, done.lines) == (4, 0, ())
    assert {id: plain(target) for id, target in answers(run).items()} == of_truth()
    again = import_answers(run, place)
    assert (again.taken, again.left) == (0, 0)
    assert {id: plain(target) for id, target in answers(run).items()} == of_truth()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_cvats_xml_may_have_been_renamed(kind: str, asked_run: MakeRun, tmp_path: Path) -> None:
    """As a team does that keeps the exports of several jobs; it was taken for VOC's, of a picture called job_12."""
    run = asked_run("detect")
    cvat_xml.write(tmp_path / "job", samples_of(run), CLASSES, images="leave")
    (tmp_path / "job" / "annotations.xml").rename(tmp_path / "job" / "job_12.xml")
    place = tmp_path / "job"
    if kind == "zip":
        place = tmp_path / "job.zip"
        with zipfile.ZipFile(place, "w") as archive:
            archive.write(tmp_path / "job" / "job_12.xml", "job_12.xml")
    assert import_answers(run, place).taken == 4
    (tmp_path / "job" / "job_13.xml").write_bytes((tmp_path / "job" / "job_12.xml").read_bytes())
    with pytest.raises(DataError, match=r"expected one XML of CVAT, found 2 \(job_12\.xml, job_13\.xml\); name one"):
        import_answers(run, tmp_path / "job")


@pytest.mark.parametrize("format", WRITERS)
def test_a_folder_may_have_been_compressed_whole(format: str, asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    WRITERS[format](tmp_path / "theirs", samples_of(run), CLASSES, images="leave")
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for file in sorted(p for p in (tmp_path / "theirs").rglob("*") if p.is_file()):
            name = file.relative_to(tmp_path)
            archive.write(file, name)
            archive.writestr(f"__MACOSX/{name.parent}/._{file.name}", b"\x00\x05\x16\x07")
    done = import_answers(run, tmp_path / "theirs.zip")
    assert (done.taken, done.left, done.lines) == (4, 0, ())


def test_messages_name_the_file_that_was_given(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    coco.write(tmp_path / "c", samples_of(run), CLASSES)
    file = tmp_path / "c" / "annotations" / "instances_default.json"
    data = json.loads(file.read_text())
    data["categories"] += data["categories"][:1]
    (tmp_path / "mine.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}/mine.json: expected each id and name")):
        import_answers(run, tmp_path / "mine.json")


@pytest.mark.parametrize("format", [*WRITERS, "csv"])
def test_what_was_exported_comes_back_corrected(format: str, asked_run: MakeRun, tmp_path: Path) -> None:
    """Queries out with proposals, which a person accepts; labels out, and read by the reader of the format."""

    def asked(id: str, rank: int, sample: Sample) -> Query:
        return Query(id, 0, rank, sample.id, proposal=boxes(*TRUTH[sample.id][:1]))

    run = asked_run("detect", asked)
    place = tmp_path / ("q.csv" if format == "csv" else "q")
    out = export(run, place, format=format, what="queries")
    assert out.images == 4
    assert sum(out.labels.values()) == 4
    done = import_answers(run, place)
    assert (done.taken, done.left) == (4, 0)
    assert {id: plain(t) for id, t in answers(run).items()} == {id: of_truth()[id][:1] for id in TRUTH}
    labels = tmp_path / ("l.csv" if format == "csv" else "l")
    written = export(run, labels, format=format)
    assert (written.images, written.labels) == (4, {"cat": 2, "dog": 1, "blåbær": 1})
    if format != "csv":
        reader = {"coco": coco, "voc": voc, "yolo": yolo, "cvat_xml": cvat_xml}[format].read
        assert {s.id: plain(s.target) for s in reader(labels).samples} == {id: of_truth()[id][:1] for id in TRUTH}


def test_an_unknown_class_leaves_its_image_open(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    found = {id: boxes(*b) for id, b in TRUTH.items()}
    found["b.png"] = boxes(("catt", [1, 1, 5, 5]), ("dog", [2, 2, 9, 9]))
    coco.write(tmp_path / "c", samples_of(run, found), [*CLASSES, "catt"])
    done = import_answers(run, tmp_path / "c")
    assert (done.taken, done.left) == (3, 1)
    assert done.answers.unknown_classes == {"catt": ("b.png",)}
    line = (
        "unknown class 'catt' in 1 image (b.png), left open: did you mean 'cat'? known: blåbær, cat, dog; mend it, or"
    )
    assert done.lines == (f"{line} give --new-classes",)
    more = import_answers(run, tmp_path / "c", new_classes=True)
    assert (more.taken, more.left) == (1, 0)
    assert plain(answers(run)["b.png"]) == [("catt", [1, 1, 5, 5]), ("dog", [2, 2, 9, 9])]
    assert set(export(run, tmp_path / "l", format="voc").labels) == {"cat", "dog", "catt"}


def test_an_image_without_box_stays_open_unless_that_is_the_answer(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    coco.write(tmp_path / "c", samples_of(run, {"a.png": boxes(), "b.png": boxes(*TRUTH["b.png"])}), CLASSES)
    done = import_answers(run, tmp_path / "c")
    assert (done.taken, done.left, done.answers.empty) == (1, 3, ("a.png",))
    assert len(done.lines) == 1
    assert "1 images are named with nothing in them" in done.lines[0]
    done = import_answers(run, tmp_path / "c", blank="answer")
    assert (done.taken, done.left, done.answers.empty) == (1, 2, ())
    assert plain(answers(run)["a.png"]) == []


def test_names_without_folder_of_others_and_repeated(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    file = tmp_path / "x.csv"
    head = "path,class,x0,y0,x1,y1\n"
    rows = ["b.png,dog,1,1,2,2", '"ü, c.jpg",cat,1,1,2,2', "other/b.png,cat,1,1,2,2", "e.png,cat,1,1,2,2"]
    file.write_text(head + "\n".join([*rows, '"sub/ü, c.jpg",dog,1,1,3,3']), encoding="utf-8")
    done = import_answers(run, file)
    assert (done.taken, done.left) == (2, 2)
    found = done.answers
    assert (found.unmatched, found.settled, found.duplicates) == (("other/b.png",), ("e.png",), ("sub/ü, c.jpg",))
    assert plain(answers(run)["sub/ü, c.jpg"]) == [("cat", [1, 1, 2, 2])]
    assert done.counts["unmatched"] == done.counts["settled"] == done.counts["duplicates"] == 1
    file.write_text(head + "task_7/sub/a.png,dog,1,1,2,2", encoding="utf-8")
    assert import_answers(run, file).taken == 0
    assert import_answers(run, file, root="task_7").taken == 1


def test_a_file_name_alone_means_the_same_image_for_ever(asked_run: MakeRun, tmp_path: Path) -> None:
    """Another image of that name is asked in a later round: the old file must not answer it."""
    run = asked_run("classify")
    file = tmp_path / "x.csv"
    file.write_text('path,class\n"ü, c.jpg",cat\na.png,dog\n', encoding="utf-8")
    assert import_answers(run, file).taken == 2
    found = {id: t.classes for id, t in answers(run).items()}
    assert found == {"sub/ü, c.jpg": ("cat",), "a.png": ("dog",)}  # and not sub/a.png
    Image.new("RGB", (40, 30)).save(tmp_path / "c.jpg")
    with Store(run / "run.db") as store, store.transaction():
        store.add_samples([(Sample("late/ü, c.jpg", tmp_path / "c.jpg", size=(40, 30)), "pool")])
        store.add_queries([Query("001-00000", 1, 0, "late/ü, c.jpg")])
    done = import_answers(run, file)
    assert (done.taken, done.left) == (0, 3)
    assert done.answers.unmatched == ("ü, c.jpg",)
    assert done.answers.settled == ("a.png",)


def test_half_an_annotation_is_none(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    coco.write(tmp_path / "c", samples_of(run), CLASSES)
    file = tmp_path / "c" / "annotations" / "instances_default.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["annotations"][0]["bbox"] = [1, 2, "wide", 4]
    data["annotations"][2]["category_id"] = 99
    file.write_text(json.dumps(data), encoding="utf-8")
    done = import_answers(run, file)
    assert (done.taken, done.left) == (2, 2)
    assert {"a.png", "b.png"}.isdisjoint(answers(run))
    assert len(done.lines) == 3
    assert done.lines[0] == "2 images stay open for what is wrong in them: a.png, b.png"
    assert all("\n" not in line for line in done.lines)


def test_degenerate_boxes_are_told_and_the_others_taken(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    coco.write(tmp_path / "c", samples_of(run), CLASSES)
    file = tmp_path / "c" / "annotations" / "instances_default.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["annotations"][0]["bbox"] = [1, 2, 0, 4]
    file.write_text(json.dumps(data), encoding="utf-8")
    done = import_answers(run, file)
    assert (done.taken, done.left) == (4, 0)
    assert plain(answers(run)["a.png"]) == of_truth()["a.png"][1:]
    assert "1 box without area, left out" in done.lines[0]


def test_as_cvat_exports_it(asked_run: MakeRun, tmp_path: Path) -> None:
    """A ZIP, with pictures that are not looked at, and a subset's folder."""
    run = asked_run("detect")
    cvat_xml.write(tmp_path / "c", samples_of(run), CLASSES, images="leave")
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.write(tmp_path / "c" / "annotations.xml", "annotations.xml")
        archive.writestr("images/a.jpg", b"no picture at all")
    done = import_answers(run, tmp_path / "job.zip")
    assert (done.taken, done.left, done.lines) == (4, 0, ())


def test_a_voc_folder_as_labelimg_leaves_it(asked_run: MakeRun, tmp_path: Path) -> None:
    """XML files beside each other, names without folder, one broken."""
    run = asked_run("detect")
    flat = tmp_path / "flat"
    voc.write(tmp_path / "v", samples_of(run), CLASSES, images="leave")
    flat.mkdir()
    for file in (tmp_path / "v" / "Annotations").rglob("*.xml"):
        text = file.read_text(encoding="utf-8")
        if file.parent.name != "sub":
            (flat / file.name).write_text(text[: 60 if file.stem == "b" else None], encoding="utf-8")
    done = import_answers(run, flat)
    assert (done.taken, done.left) == (1, 3)
    assert plain(answers(run)["a.png"]) == of_truth()["a.png"]
    assert "b.png" in done.lines[1]
    assert "labelwise-" not in done.lines[1]


def test_yolo_without_names_means_the_classes_of_the_run(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "b.txt").write_text("2 0.5 0.5 1 1\n")
    (folder / "a.txt").write_text("7 0.5 0.5 1 1\n")  # no such class
    done = import_answers(run, folder)
    assert (done.taken, done.left) == (1, 3)
    assert plain(answers(run)["b.png"]) == [("blåbær", [0, 0, 40, 30])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class,x0,y0,x1,y1\na.png,cat,1,2,3\n", "no 5"),
        ("path,class,x0,y0,x1,y1\na.png,cat,1,2,3,wide\n", "expected a number"),
        ("name,kind\n", "expected a header"),
        ("path,class\na.png,cat\n", "expected the columns path, class, x0, y0, x1, y1"),
        ("", "empty file"),
    ],
)
def test_a_table_that_is_none(text: str, message: str, asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        import_answers(run, tmp_path / "x.csv")
    assert "\n" not in str(error.value)
    assert message.replace("no 5", "found 5") in str(error.value)
    assert answers(run) == {}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.png,,1,2,3,4", "expected a class"),
        ("a.png,cat,9,2,3,4", "without area"),
        ("a.png,cat,50,2,60,4", "found one outside"),
        ("a.png,cat,1,2,3,4\na.png,dog,,,,", "expected the place"),
        ("a.png,cat,,,,", "line 3: expected the place of cat, found none"),
    ],
)
def test_rows_that_cannot_be_used(row: str, why: str, asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect")
    (tmp_path / "x.csv").write_text(f"path,class,x0,y0,x1,y1\nb.png,dog,1,1,99,9\n{row}\n", encoding="utf-8")
    done = import_answers(run, tmp_path / "x.csv")
    assert (done.taken, done.left) == (1, 3)
    clipped, wrong = done.lines
    assert clipped == "b.png: 1 box that reached outside the image, clipped"
    assert why in wrong
    assert plain(answers(run)["b.png"]) == [("dog", [1, 1, 40, 9])]  # cut at the edge


def test_classes_of_images(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("classify")
    rows = [("a.png", "cat"), ("b.png", "-"), ("sub/a.png", ""), ("sub/ü, c.jpg", "dog"), ("a.png", "dog")]
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([("path", "class"), *rows])
    done = import_answers(run, tmp_path / "x.csv")
    assert (done.taken, done.skipped, done.left) == (2, 1, 2)
    assert "expected one class of the image, found 'cat' and 'dog'" in done.lines[0]
    assert answers(run) == {"b.png": None, "sub/ü, c.jpg": Target(("dog",))}


def test_tags_and_class_folders(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("classify")
    target = {"a.png": Target(("cat",)), "b.png": Target(("dog",)), "sub/a.png": None}
    cvat_xml.write(tmp_path / "c", samples_of(run, target), CLASSES)
    assert '<tag label="dog"' in (tmp_path / "c" / "annotations.xml").read_text(encoding="utf-8")
    done = import_answers(run, tmp_path / "c")
    assert (done.taken, done.left) == (2, 2)
    sorted_by_hand = tmp_path / "sorted"
    for place in ("dog/ü, c.jpg", "cat/sub/a.png", "dog/a.png", "dog/unknown.png"):
        (sorted_by_hand / place).parent.mkdir(parents=True, exist_ok=True)
        (sorted_by_hand / place).write_bytes(b"")
    done = import_answers(run, sorted_by_hand)
    assert (done.taken, done.left) == (2, 0)
    assert done.answers.settled == ("a.png",)
    assert done.answers.unmatched == ("unknown.png",)
    assert {id: t and t.classes for id, t in answers(run).items()} == {
        "a.png": ("cat",),
        "b.png": ("dog",),
        "sub/ü, c.jpg": ("dog",),
        "sub/a.png": ("cat",),
    }


def test_one_image_in_two_class_folders_stays_open(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("classify")
    for place in ("dog/b.png", "cat/b.png"):
        (tmp_path / "s" / place).parent.mkdir(parents=True)
        (tmp_path / "s" / place).write_bytes(b"")
    done = import_answers(run, tmp_path / "s")
    assert (done.taken, done.left) == (0, 4)
    assert "found it in 'cat' and 'dog'" in done.lines[0]


def pixels(id: str, rank: int, sample: Sample) -> Query:
    places = np.array([[1, 2], [39, 29], [4, 0]], np.int32)
    return Query(id, 0, rank, sample.id, "pixel", places, cost=3.0)


def test_pixels_are_answered_once_all_are(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("segment", pixels)
    export(run, tmp_path / "q.csv", format="csv", what="queries")
    with (tmp_path / "q.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [(r["path"], r["x"], r["y"]) for r in rows[:3]] == [
        ("a.png", "1", "2"),
        ("a.png", "39", "29"),
        ("a.png", "4", "0"),
    ]
    for row in rows:
        row["class"] = {"a.png": "cat", "b.png": "-", "sub/a.png": ""}.get(row["path"], "dog")
    rows[1]["class"] = "-"
    rows[-1]["class"] = "dog"  # one of three of the last image
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = import_answers(run, tmp_path / "a.csv")
    assert (done.taken, done.left) == (3, 1)
    assert "2 of 3 pixels have no class yet, e.g. (1, 2)" in done.lines[0]
    found = answers(run)
    assert found["a.png"] is not None
    assert found["b.png"] is not None
    assert (found["a.png"].classes, found["a.png"].geometry.tolist()) == (("cat",), [[1, 2], [4, 0]])
    assert found["b.png"].geometry.tolist() == []
    with Store(run / "run.db", read_only=True) as store:
        assert [a.amount for a in store.annotations().values()] == [2.0, 0.0, 3.0]


def regions(id: str, rank: int, sample: Sample) -> Query:
    return Query(id, 0, rank, sample.id, "region", np.array([[0, 0, 2, 2], [38, 28, 40, 30]]), cost=2.0)


def test_regions_take_what_lies_in_them(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("segment", regions)
    out = export(run, tmp_path / "q", format="masks", what="queries")
    assert out.images == 4
    white = np.asarray(Image.open(tmp_path / "q" / "regions" / "sub" / "a.png"))
    assert (white.shape, white.sum() // 255) == ((30, 40), 8)
    mask = np.full((30, 40), 255, np.uint8)
    mask[:, :20], mask[0, 0] = 1, 255
    for name in ("a.png", "sub/ü, c.png"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "m" / name)
    Image.fromarray(mask[:5]).save(tmp_path / "m" / "b.png")  # scaled
    done = import_answers(run, tmp_path / "m")
    assert (done.taken, done.left) == (2, 2)
    assert "expected the image's size 40 x 30" in done.lines[0]
    found = answers(run)["a.png"]
    assert found is not None
    assert (found.classes, sorted(found.geometry.tolist())) == (("dog",), [[0, 1], [1, 0], [1, 1]])


def test_whole_masks_are_copied_with_their_classes(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("segment")
    place = tmp_path / "m"
    (place / "masks").mkdir(parents=True)
    (place / "classes.txt").write_text("dog\nbird\ncat\n", encoding="utf-8")
    first, second = np.zeros((30, 40), np.uint8), np.full((30, 40), 2, np.uint8)
    second[0] = 1
    Image.fromarray(first).save(place / "masks" / "a.png")
    Image.fromarray(second).save(place / "masks" / "b.png")
    done = import_answers(run, place)
    assert (done.taken, done.left, done.answers.unknown_classes) == (1, 3, {"bird": ("b.png",)})
    assert import_answers(run, place, new_classes=True).taken == 1
    for file in (place / "masks").iterdir():
        file.unlink()  # the run does not need it any more
    export(run, tmp_path / "l", format="masks")
    listing = image_masks.read(tmp_path / "l")
    assert listing.classes == (*CLASSES, "bird")
    assert sorted(np.unique(np.asarray(Image.open(tmp_path / "l" / "masks" / "b.png"))).tolist()) == [0, 3]
    assert np.unique(np.asarray(Image.open(tmp_path / "l" / "masks" / "a.png"))).tolist() == [1]


def test_what_is_no_run_or_no_file(asked_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in"):
        import_answers(tmp_path, tmp_path)
    run = asked_run("detect")
    for name, message in (("gone.json", "nothing there"), ("gone", "nothing there"), ("bad.zip", "expected a ZIP")):
        (tmp_path / "bad.zip").write_bytes(b"PK")
        with pytest.raises(DataError, match=message):
            import_answers(run, tmp_path / name)
    with pytest.raises(DataError, match=r"unknown format 'cocoa': did you mean 'coco'"):
        import_answers(run, tmp_path, format="cocoa")
    with pytest.raises(DataError, match="masks are for the task segment"):
        import_answers(run, tmp_path, format="masks")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match='expected "annotations" and "images"') as error:
        import_answers(run, tmp_path / "x.json")
    assert answers(run) == {}
    assert "labelwise-" not in str(error.value)


def test_interrupted_in_the_middle_nothing_is_taken(
    asked_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelwise.exchange import importing

    run = asked_run("detect")
    coco.write(tmp_path / "c", samples_of(run), CLASSES)
    real, seen = importing.counted, []

    def counted(query: Query, *rest: Any) -> Any:
        seen.append(query)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(query, *rest)

    monkeypatch.setattr(importing, "counted", counted)
    with pytest.raises(KeyboardInterrupt):
        import_answers(run, tmp_path / "c")
    assert answers(run) == {}
    assert import_answers(run, tmp_path / "c").taken == 4
