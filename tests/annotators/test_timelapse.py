"""Asking in Timelapse: the hand-off a round writes, answers read back, and whole rounds with a stand-in for it."""

from __future__ import annotations

import csv
import dataclasses
import os

import pytest

from labelwise.annotators import Desk
from labelwise.annotators.timelapse import Timelapse
from labelwise.data.timelapse import read_template
from labelwise.records import Sample, Target
from labelwise.testing import check_annotator, make_queries
from megadetector_rules import as_timelapse_reads, validate
from timelapse_fake import Refused
from timelapse_fake import Timelapse as Program
from timelapse_files import FIELDS, write_data, write_template

CLASSES = ("deer", "empty", "fox")
NAMES = ["root.jpg", "camA/100RECNX/IMG_1.JPG", "camA/100RECNX/IMG_2.JPG", "camB/Ä 3.jpg", "camB/it's, 4.jpeg"]
SELECT_FIELDS = (*FIELDS, ("Selected", "Flag", "Selected", "false"))


@pytest.fixture
def root(tmp_path):
    for name in [*NAMES, "camB/other.jpg"]:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")
    return tmp_path / "images"


@pytest.fixture
def desk(root, tmp_path):
    names = [*NAMES, "camB/other.jpg"]
    return Desk({n: Sample(n, root / n) for n in names}, CLASSES, tmp_path / "rounds", ever=set(NAMES))


@pytest.fixture
def queries(desk):
    made = make_queries([desk.samples[name] for name in NAMES], 3)
    reason = {"class": "fox", "probability": 0.123}
    return [
        dataclasses.replace(made[0], proposal=Target(("fox",)), reason=reason),
        dataclasses.replace(made[1], proposal=Target(("empty",)), reason={"probability": 0.9}),
        *made[2:],
    ]


def folder_of(desk):
    return desk.folder / "003" / "timelapse"


def selection_of(desk):
    with (folder_of(desk) / "selection.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def answers_of(found, queries):
    by_id = {q.id: q.sample_id for q in queries}
    return {by_id[a.query_id]: a.target and a.target.classes[0] for a in found}


def report_of(desk):
    return (folder_of(desk) / "report.txt").read_text(encoding="utf-8")


def put(desk, text, name="answers.csv", **how):
    folder_of(desk).mkdir(parents=True, exist_ok=True)
    (folder_of(desk) / name).write_text(text, **{"encoding": "utf-8", **how})


def test_it_keeps_the_rules_of_an_annotator(tmp_path):
    def answer(queries, desk):
        rows = [[q.sample_id.rpartition("/")[2], q.sample_id.rpartition("/")[0], "red"] for q in queries]
        with (desk.folder / f"{queries[0].round:03d}" / "timelapse" / "a.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["File", "RelativePath", "Species"], *rows])

    check_annotator(Timelapse, tmp_path, answer=answer)


def test_without_a_template_one_is_offered(desk, queries, root):
    Timelapse().submit(queries, desk)
    assert not list(root.glob("*.?db"))
    fields = {c.data_label: c for c in read_template(folder_of(desk) / "TimelapseTemplate.tdb")}
    assert list(fields) == ["File", "RelativePath", "DateTime", "DeleteFlag", "Species", "Selected", "Note"]
    assert fields["Species"].choices == (*CLASSES, "unknown", "unsure")
    assert fields["Species"].may_be_empty
    assert not fields["DeleteFlag"].exported
    readme = (folder_of(desk) / "README.txt").read_text(encoding="utf-8")
    assert f"Copy TimelapseTemplate.tdb from this folder to {root}" in readme
    assert "5 images" in readme


def test_a_row_for_every_image_and_true_for_what_is_asked(desk, queries):
    Timelapse().submit(queries, desk)
    rows = selection_of(desk)
    assert list(rows[0]) == ["File", "RelativePath", "Selected"]
    found = {(row["RelativePath"], row["File"]): row["Selected"] for row in rows}
    assert found == {
        ("", "root.jpg"): "true",
        (r"camA\100RECNX", "IMG_1.JPG"): "true",
        (r"camA\100RECNX", "IMG_2.JPG"): "true",
        ("camB", "Ä 3.jpg"): "true",
        ("camB", "it's, 4.jpeg"): "true",
        ("camB", "other.jpg"): "false",
    }


def test_proposals_are_recognitions_that_timelapse_takes(desk, queries):
    Timelapse().submit(queries, desk)
    path = folder_of(desk) / "recognitions.json"
    validate(path)
    found = as_timelapse_reads(path)
    assert found == {"root.jpg": [("animal", 0.123, "fox", 0.123)], "camA/100RECNX/IMG_1.JPG": []}
    (folder_of(desk) / "handed_off.json").unlink()
    path.unlink()
    Timelapse(recognitions=False).submit(queries, desk)
    assert not path.exists()


def test_boxes_of_a_detector_are_shown_with_the_class_of_the_model(desk, queries):
    boxed = {"detected": "animal", "confidence": 0.812, "box": "0.1, 0.2, 0.3, 0.4"}
    of_person = {**boxed, "detected": "person", "file": NAMES[2]}
    samples = {
        **desk.samples,
        NAMES[0]: dataclasses.replace(desk.samples[NAMES[0]], meta=boxed, crop=(0.0, 0.1, 0.5, 0.7)),
        NAMES[1]: dataclasses.replace(desk.samples[NAMES[1]], meta=boxed),
        f"{NAMES[2]}#1": Sample(f"{NAMES[2]}#1", desk.samples[NAMES[2]].path, meta=of_person),
        f"{NAMES[2]}#2": Sample(f"{NAMES[2]}#2", desk.samples[NAMES[2]].path, meta={**boxed, "file": NAMES[2]}),
    }
    del samples[NAMES[2]]
    asked = [*queries[:2], *(dataclasses.replace(queries[2], id=f"q{i}", sample_id=f"{NAMES[2]}#{i}") for i in (1, 2))]
    Timelapse().submit(asked, dataclasses.replace(desk, samples=samples))
    data = validate(folder_of(desk) / "recognitions.json")
    found = {image["file"]: image["detections"] for image in data["images"]}
    assert found[NAMES[0]] == [
        {"category": "1", "conf": 0.812, "bbox": [0.1, 0.2, 0.3, 0.4], "classifications": [["2", 0.123]]}
    ]
    assert found[NAMES[1]] == [{"category": "1", "conf": 0.812, "bbox": [0.1, 0.2, 0.3, 0.4]}]  # it proposes empty
    assert [d["category"] for d in found[NAMES[2]]] == ["2", "1"]
    assert [r["Selected"] for r in selection_of(desk)].count("true") == 3


def test_a_round_with_timelapse(desk, queries, root):
    annotator = Timelapse(template="root")
    annotator.submit(queries, desk)
    program = Program(root)
    assert annotator.collect(queries, desk) == []
    assert "5 asked images are not Selected in TimelapseData.ddb" in report_of(desk)
    annotator.submit(queries, desk)
    assert program.import_csv(folder_of(desk) / "selection.csv") == 6
    program.show_selected()
    assert sorted(program.files_shown()) == sorted(NAMES)
    for name, species in zip(NAMES, ["fox", "deer", "unsure", "", "empty"], strict=True):
        program.label(name, species)
    found = answers_of(annotator.collect(queries, desk), queries)
    assert found == {NAMES[0]: "fox", NAMES[1]: "deer", NAMES[2]: None, NAMES[4]: "empty"}
    assert "TimelapseData.ddb: 4 of 5 open images answered (1 skipped); 6 rows are images of the run" in report_of(desk)


def test_an_older_selection_is_reset(desk, queries, root):
    annotator = Timelapse(template="root")
    annotator.submit(queries[:2], desk)
    program = Program(root)
    program.import_csv(folder_of(desk) / "selection.csv")
    later = [dataclasses.replace(q, round=4) for q in queries[2:4]]
    annotator.submit(later, desk)
    program.show_selected()
    program.import_csv(desk.folder / "004" / "timelapse" / "selection.csv")  # only what was shown
    annotator.collect(later, desk)
    told = (desk.folder / "004" / "timelapse" / "report.txt").read_text(encoding="utf-8")
    assert "2 asked images are not Selected" in told
    assert "Select > All files" in told
    program.show_all()
    program.import_csv(desk.folder / "004" / "timelapse" / "selection.csv")
    program.show_selected()
    assert sorted(program.files_shown()) == sorted(q.sample_id for q in later)


def test_only_columns_that_the_template_has(desk, queries, root):
    write_template(root / "mine.tdb")
    program = Program(root)
    annotator = Timelapse()
    annotator.submit(queries, desk)
    assert list(selection_of(desk)[0]) == ["File", "RelativePath"]
    assert program.import_csv(folder_of(desk) / "selection.csv") == 6
    assert "the template has no 'Selected'" in annotator.advice(queries, desk)
    assert "add a Flag" in (folder_of(desk) / "README.txt").read_text(encoding="utf-8")
    program.edit_template("Selected", "Flag")
    annotator.submit(queries, desk)
    assert list(selection_of(desk)[0]) == ["File", "RelativePath", "Selected"]
    program.import_csv(folder_of(desk) / "selection.csv")
    assert list(program.values("Selected").values()).count("true") == 5
    assert "'Selected'" not in annotator.advice(queries, desk)


def test_a_template_above_is_for_others(desk, queries, root):
    write_template(root.parent / "master.tdb", SELECT_FIELDS, CLASSES)
    Timelapse().submit(queries, desk)
    assert (folder_of(desk) / "TimelapseTemplate.tdb").exists()


def test_columns_may_have_other_names(desk, queries, root):
    fields = [("Animal" if n == "Species" else n, *rest) for n, *rest in FIELDS] + [("Ask", "Flag", "Ask", "false")]
    write_template(root / "mine.tdb", fields)
    annotator = Timelapse(species="Animal", selected="Ask")
    annotator.submit(queries, desk)
    program = Program(root)
    program.import_csv(folder_of(desk) / "selection.csv")
    program.label(NAMES[0], "fox", "Animal")
    assert answers_of(annotator.collect(queries, desk), queries) == {NAMES[0]: "fox"}


def test_differences_between_list_and_classes_are_told(desk, queries, root):
    write_template(root / "mine.tdb", SELECT_FIELDS, ("deer", "lynx", "unknown"))
    annotator = Timelapse()
    annotator.submit(queries, desk)
    text = (folder_of(desk) / "README.txt").read_text(encoding="utf-8")
    assert "the list of 'Species' lacks 'empty', 'fox': add them in the Template Editor" in text
    assert "also offers 'lynx', which the run does not know" in text
    assert "unknown'," not in text
    path = folder_of(desk) / "bad.csv"
    path.write_text("File,RelativePath,Nothing\na,b,c\n", encoding="utf-8")
    program = Program(root)
    with pytest.raises(Refused):  # what the stand-in does with a column it does not know
        program.import_csv(path)


def test_images_that_timelapse_does_not_know_are_told(desk, queries, root):
    write_template(root / "mine.tdb", SELECT_FIELDS, CLASSES)
    rows = [{"File": "IMG_1.JPG", "RelativePath": r"CAMA\100RECNX"}, {"File": "x.jpg", "RelativePath": ""}]
    write_data(root / "TimelapseData.ddb", rows, SELECT_FIELDS, CLASSES)
    annotator = Timelapse()
    annotator.submit(queries, desk)
    rows = selection_of(desk)
    assert [(r["RelativePath"], r["File"], r["Selected"]) for r in rows] == [
        (r"CAMA\100RECNX", "IMG_1.JPG", "true"),
        ("", "x.jpg", "false"),
    ]
    assert "4 asked images are not in TimelapseData.ddb" in annotator.advice(queries, desk)


def test_nothing_is_written_twice_and_all_anew_when_something_changed(desk, queries):
    annotator = Timelapse()
    annotator.submit(queries, desk)
    before = {p.name: p.stat().st_mtime_ns for p in folder_of(desk).iterdir()}
    annotator.submit(queries, desk)
    assert {p.name: p.stat().st_mtime_ns for p in folder_of(desk).iterdir()} == before
    more = dataclasses.replace(desk, classes=(*CLASSES, "lynx"))
    annotator.submit(queries, more)
    fields = {c.data_label: c for c in read_template(folder_of(desk) / "TimelapseTemplate.tdb")}
    assert "lynx" in fields["Species"].choices


def test_before_any_class_is_known_species_is_a_note(desk, queries):
    Timelapse().submit(queries, dataclasses.replace(desk, classes=()))
    fields = {c.data_label: c for c in read_template(folder_of(desk) / "TimelapseTemplate.tdb")}
    assert fields["Species"].type == "Note"


def test_where_only_empty_is_known_the_species_are_written_freely(desk, queries):
    desk = dataclasses.replace(desk, classes=("empty",))
    Timelapse().submit(queries, desk)
    fields = {c.data_label: c for c in read_template(folder_of(desk) / "TimelapseTemplate.tdb")}
    assert (fields["Species"].type, fields["Species"].choices) == ("Note", ())
    assert "'empty' where nothing is to be seen" in (folder_of(desk) / "README.txt").read_text(encoding="utf-8")


def test_what_a_template_offers_is_not_complained_about_where_any_name_may_become_a_class(desk, queries, root):
    write_template(root / "TimelapseTemplate.tdb", SELECT_FIELDS, (*CLASSES, "lynx"))
    assert "lynx" in Timelapse().advice(queries, submitted(Timelapse(), queries, desk))
    free = Timelapse(new_classes=True)
    assert "lynx" not in free.advice(queries, submitted(free, queries, desk))
    unnamed = dataclasses.replace(desk, classes=("empty",))
    assert "lynx" not in Timelapse().advice(queries, submitted(Timelapse(), queries, unnamed))


def submitted(annotator, queries, desk):
    annotator.submit(queries, desk)
    return desk


def test_a_readme_says_where_the_list_lacks_the_words_for_skipping(desk, queries, root):
    write_template(root / "TimelapseTemplate.tdb", SELECT_FIELDS, CLASSES)
    Timelapse().submit(queries, desk)
    readme = (folder_of(desk) / "README.txt").read_text(encoding="utf-8")
    assert "'unknown' or 'unsure', once the list has it, skips it." in readme


def test_what_is_not_selected_is_no_news_before_timelapse_was_used(desk, queries, root):
    write_template(root / "TimelapseTemplate.tdb", SELECT_FIELDS, CLASSES)
    program = Program(root)
    said = []
    desk = dataclasses.replace(desk, tell=said.append)
    Timelapse().submit(queries, desk)
    assert Timelapse().collect(queries, desk) == []
    assert not any("not Selected" in line for line in said)
    later = (folder_of(desk) / "handed_off.json").stat().st_mtime + 5
    os.utime(program.data, (later, later))
    Timelapse().collect(queries, desk)
    assert any("not Selected" in line for line in said)
