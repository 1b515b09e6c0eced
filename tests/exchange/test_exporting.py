"""Labels, queries and predictions to other tools; datasets from one format to another, and what is lost said."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api, cli
from labelwise.data import class_folders, coco, csv_table, cvat_xml, image_masks, label_tables, voc, yolo
from labelwise.data.digits import make_digits
from labelwise.errors import ConfigError, DataError, RunError
from labelwise.exchange.exporting import export
from labelwise.exchange.importing import import_answers
from labelwise.records import Annotation, Prediction, Query, Sample, Target
from labelwise.store import Store
from labelwise.testing import make_masks

MakeRun = Callable[..., Path]
READERS = {"coco": coco.read, "voc": voc.read, "yolo": yolo.read, "cvat_xml": cvat_xml.read}


@pytest.fixture
def boxes(tmp_path: Path) -> list[Sample]:
    """Three images with two boxes, none, and unknown."""
    Image.new("RGB", (64, 48)).save(tmp_path / "p.png")
    two = Target(("cat", "dog"), np.array([[1.25, 2, 30, 40], [3, 4, 64, 48]]))
    nothing = Target((), np.zeros((0, 4)))
    made = [("a.png", two, "pool"), ("b/c.png", nothing, "test"), ("d.png", None, None)]
    return [Sample(id, tmp_path / "p.png", target=target, split=split) for id, target, split in made]


@pytest.mark.parametrize("first", READERS)
@pytest.mark.parametrize("second", READERS)
def test_a_dataset_from_one_format_to_another(first: str, second: str, boxes: list[Sample], tmp_path: Path) -> None:
    {"coco": coco, "voc": voc, "yolo": yolo, "cvat_xml": cvat_xml}[first].write(tmp_path / "1", boxes, ["cat", "dog"])
    done = export(tmp_path / "1", tmp_path / "2", format=second)
    assert (done.images, done.labels) == (3, {"cat": 1, "dog": 1})
    assert any("unlabelled" in note for note in done.notes)
    read = {s.id: s for s in READERS[second](tmp_path / "2").samples}
    for sample in boxes:
        target, found = sample.target, read[sample.id].target
        assert (target is None) == (found is None)
        if target is not None and found is not None:
            assert found.classes == target.classes
            assert found.geometry.tolist() == target.geometry.tolist()
            assert read[sample.id].split == sample.split


def test_what_the_reader_left_out_is_said(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": [1, 2, i, 4]} for i in range(2)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "x.json").write_text(json.dumps(data))
    done = export(tmp_path / "x.json", tmp_path / "out", format="voc")
    assert done.labels == {"cat": 1}
    assert any(note.startswith("read with degenerate_boxes: 1, e.g. a.png") for note in done.notes)


def test_boxes_in_a_table(boxes: list[Sample], tmp_path: Path) -> None:
    coco.write(tmp_path / "1", boxes, ["cat", "dog"])
    done = export(tmp_path / "1", tmp_path / "x.csv", format="csv")
    rows = list(csv.reader((tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[:2] == [["path", "class", "x0", "y0", "x1", "y1"], ["a.png", "cat", "1.25", "2", "30", "40"]]
    assert rows[3:] == [["b/c.png", "", "", "", "", ""], ["d.png", "", "", "", "", ""]]
    assert any("known to hold nothing" in note for note in done.notes)
    kind, read = label_tables.read_rows(tmp_path / "x.csv")
    assert kind == "box"
    assert label_tables.target_of(read[:2]).geometry.tolist() == boxes[0].target.geometry.tolist()


def test_classes_to_folders_and_back(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    labels = {"cat/1.png": "cat", "1.png": "cat", "dog/2.png": "cat", "u.png": None}
    samples = [Sample(id, tmp_path / "p.png", target=Target((c,)) if c else None) for id, c in labels.items()]
    notes = class_folders.write(tmp_path / "out", samples, ["cat", "dog"])
    listing = class_folders.read(tmp_path / "out")
    assert [s.id for s in listing.samples] == ["cat/1.png", "cat/cat/1.png", "cat/dog/2.png"]
    assert listing.classes == ("cat", "dog")
    assert "1 unlabelled images are not written: there is no folder for them" in notes
    for odd in ("a/b", "..", ".hidden", " x", "a\nb"):
        with pytest.raises(DataError, match="cannot name a folder"):
            class_folders.write(tmp_path / "no", [replace(samples[0], target=Target((odd,)))], [odd])
    with pytest.raises(DataError, match="expected images=copy or link"):
        class_folders.write(tmp_path / "no", samples, ["cat"], images="leave")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("known", ["image_masks", None])
def test_masks_from_masks(tmp_path: Path, known: str | None) -> None:
    listing = image_masks.read(make_masks(tmp_path / "m", 3))
    export(tmp_path / "m", tmp_path / "out", format="masks", source_format=known)
    back = image_masks.read(tmp_path / "out")
    assert back.classes == listing.classes
    for one, two in zip(listing.samples, back.samples, strict=True):
        assert one.id == two.id
        assert np.array_equal(np.asarray(Image.open(one.target.mask)), np.asarray(Image.open(two.target.mask)))


def test_formats_of_other_tasks_are_refused_by_name(asked_run: MakeRun, tmp_path: Path) -> None:
    for task, format in (("classify", "coco"), ("detect", "masks"), ("segment", "yolo"), ("detect", "coc")):
        with pytest.raises(ConfigError, match=f"format '{format}' is not for the task {task}"):
            export(
                asked_run(task) if not (tmp_path / "runs").exists() else _again(asked_run, tmp_path, task),
                tmp_path / "x",
                format=format,
            )
    assert not (tmp_path / "x").exists()


def _again(make: MakeRun, folder: Path, task: str) -> Path:
    (folder / "runs").rename(folder / f"runs-{len(list(folder.iterdir()))}")
    return make(task)


def test_nothing_to_write(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("classify")
    with pytest.raises(RunError, match="nothing is labelled yet"):
        export(run, tmp_path / "x.csv", format="csv")
    with pytest.raises(RunError, match="no model is trained yet"):
        export(run, tmp_path / "x.csv", format="csv", what="predictions")
    with pytest.raises(RunError, match="a dataset has labels only"):
        export(tmp_path / "images", tmp_path / "x.csv", format="csv", what="queries")
    export(run, tmp_path / "x.csv", format="csv", what="queries")
    with pytest.raises(RunError, match="expected a new file"):
        export(run, tmp_path / "x.csv", format="csv", what="queries")
    with Store(run / "run.db") as store:
        store.add_annotations(Annotation(q.id, None) for q in store.queries())
    with pytest.raises(RunError, match="no query is open"):
        export(run, tmp_path / "y.csv", format="csv", what="queries")


def test_the_audit_sample_and_the_test_split_are_for_testing(asked_run: MakeRun, tmp_path: Path) -> None:
    run = asked_run("detect", lambda id, rank, s: Query(id, 0, rank, s.id, purpose="audit" if rank else "train"))
    box = Target(("cat",), np.array([[1.0, 2, 3, 4]]))
    with Store(run / "run.db") as store:
        store.add_annotations(Annotation(q.id, box) for q in store.queries()[:2])
        store.add_samples([(Sample("t.png", tmp_path / "images" / "a.png", target=box), "test")])
    export(run, tmp_path / "out", format="yolo", images="link")
    found = {s.id: s.split for s in yolo.read(tmp_path / "out").samples}
    assert found == {"a.png": "pool", "b.png": "test", "t.png": "test"}


class Boxes:
    """A detector that finds a cat surely and a dog hardly."""

    tasks, provides = frozenset({"detect"}), frozenset({"boxes"})
    validation, batch_size, start = 0.0, 2, "scratch"

    def prepare(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def predict(self, checkpoint: Path, samples: list[Sample], *, want: Any) -> Any:
        for sample in samples:
            found = np.array([[5, 6, 7, 8], [1, 2, 3, 4]]), np.array([1, 0]), np.array([0.2, 0.9])
            yield Prediction(sample.id, boxes=found[0], labels=found[1], confidences=found[2])


def test_predictions_of_boxes(asked_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labelwise.engine.local import Local
    from labelwise.exchange import trained
    from labelwise.parts import Parts

    run = asked_run("detect")
    (run / "rounds" / "000" / "checkpoint").mkdir(parents=True)
    with Store(run / "run.db") as store:
        store.finish_step(0, "train", 0.0)
        store.add_annotations([Annotation("000-00000", Target((), np.zeros((0, 4))))])
    parts = Parts(None, Boxes(), None, None, None, Local())  # type: ignore[arg-type]
    monkeypatch.setattr(trained, "build", lambda config: parts)
    done = export(run, tmp_path / "p", format="coco", what="predictions")
    assert (done.images, done.labels) == (4, {"cat": 4})
    assert "confidences are not written; csv holds them" in done.notes
    assert {s.id for s in coco.read(tmp_path / "p").samples} == {"b.png", "e.png", "sub/a.png", "sub/ü, c.jpg"}
    export(run, tmp_path / "p.csv", format="csv", what="predictions", confidence=0.1)
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()))
    assert [(r["class"], r["confidence"]) for r in rows[:2]] == [("cat", "0.9"), ("dog", "0.2")]


def test_a_run_of_classes_and_its_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A whole round with people elsewhere: export, answer, import, run; then predictions of the rest; by the verbs."""
    tree = {
        "name": "r",
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "data": {"format": "images_folder", "path": str(make_digits(tmp_path)), "classes": [str(i) for i in range(10)]},
        "model": {"name": "frozen", "backbone": "pixels", "size": 8, "head": "knn"},
        "annotator": "files",
        "budget": {"initial": 12, "rounds": 1},
        "threads": 1,
    }
    waiting = api.run(tree, report=False)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labelwise", *map(str, words)])
        monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return (int(stop.value.code or 0), *capsys.readouterr())

    run = waiting.folder
    assert call("export", run, "--format", "csv", "--what", "queries", "-o", tmp_path / "q.csv", "-q") == (0, "", "")
    with (tmp_path / "q.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "class"], *([r["path"], r["path"].partition("/")[0]] for r in rows)])
    code, out, err = call("import", run, tmp_path / "a.csv")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "took 12 answers; 0 queries stay open"
    code, out, _ = call("import", run, tmp_path / "a.csv", "--json")
    assert json.loads(out)["settled"] == 12
    assert call("import", run, tmp_path / "gone.csv")[2].startswith("error: ")
    done = api.run(tree, report=False)
    assert (done.state, done.labels(0)) == ("finished", 12)
    code, out, _ = call("export", run, "--format", "class_folders", "-o", tmp_path / "labels")
    assert out.startswith(f"wrote {tmp_path / 'labels'}: 12 images; ")
    assert len(class_folders.read(tmp_path / "labels").samples) == 12
    code, out, _ = call("export", run, "--format", "csv", "--what", "predictions", "-o", tmp_path / "p.csv", "--json")
    assert (code, json.loads(out)["images"]) == (0, done.split_sizes["pool"] - 12)
    read = csv_table.read(tmp_path / "p.csv", root=tree["data"]["path"])
    right = [s.id.startswith(f"{s.target.classes[0]}/") for s in read.samples]
    assert np.mean(right) > 0.3
    code, _, err = call("export", run, "--format", "coco", "-o", tmp_path / "no")
    assert (code, err.count("\n")) == (1, 1)
    assert "is not for the task classify" in err
    assert import_answers(run, tmp_path / "a.csv").taken == 0
