"""Ultralytics: settings that reach its training, nothing outside the run's folder, and probabilities of all classes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api, testing
from labelwise.data import coco
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Place, Plan
from labelwise.models.ultralytics.settings import read_settings
from labelwise.models.ultralytics.training import write_dataset
from labelwise.records import Labelled, Sample, Target
from labelwise.testing import quiet
from labelwise.testing.making import make_boxes

ALL = frozenset({"boxes", "probs", "objects"})
YAML = """
nc: 80
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3, 4], 1, Detect, [nc]]
"""


def squares(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> list[Labelled]:
    listing = coco.read(make_boxes(folder, count, size=size))
    return [Labelled(replace(s, size=size), s.target) for s in listing.samples if s.target is not None]


def made(folder: Path, **options: Any) -> Any:
    from labelwise.models.ultralytics import Ultralytics

    (folder / "tiny.yaml").write_text(YAML, encoding="utf-8")
    settings = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0}
    model = Ultralytics(**{"weights": str(folder / "tiny.yaml"), "settings": settings, "threshold": 0.0} | options)
    model.prepare([], [], place=Place(folder / "home", folder, 1), progress=quiet)
    return model


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "epochs: 3\nlr0: 0.001\n"),
        ("a.toml", "[predict]\nconf = 0.5\n[train]\nepochs = 3\nlr0 = 0.001\n"),
        ("a.json", '{"train": {"epochs": 3, "lr0": 0.001}}'),
    ],
)
def test_settings_from_a_file(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_settings(tmp_path / name) == {"epochs": 3, "lr0": 0.001}
    assert read_settings({"epochs": 3}) == {"epochs": 3}
    assert read_settings(None) == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.ini", "", r"expected a \.yaml, \.toml or \.json file"),
        ("a.yaml", "a: [", r"a\.yaml cannot be read: "),
        ("a.toml", "a = ", r"a\.toml cannot be read: "),
        ("a.json", "[1]", "expected settings by name, but found list"),
        ("a.yaml", "data: mine.yaml", r"model\.settings\.data: a run decides this itself"),
        ("a.yaml", "conf: 0.5", r"model\.threshold"),
    ],
)
def test_settings_that_cannot_be_used(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as told:
        read_settings(tmp_path / name)
    assert "\n" not in str(told.value)


def test_settings_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_settings(tmp_path / "none.yaml")


def test_dataset_for_training(tmp_path: Path) -> None:
    """Boxes as shares, classes by the plan's order, pictures as we see them, a name for none of them."""
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    Image.new("I;16", (40, 20)).save(tmp_path / "b.png")
    boxes = np.array([[10.0, 5, 30, 15], [-4, 0, 40, 20], [7, 7, 7, 9]])
    items = [
        Labelled(Sample("x/a.png", tmp_path / "a.png"), Target(("cat", "dog", "dog"), boxes)),
        Labelled(Sample("y/b.png", tmp_path / "b.png"), Target((), np.zeros((0, 4)))),
    ]
    write_dataset(tmp_path / "data", items, [], ["dog", 'c"at', "cat"])
    first = (tmp_path / "data/labels/train/000000.txt").read_text().splitlines()
    assert first[0] == "2 0.500000000 0.500000000 0.500000000 0.500000000"
    assert first[1:] == ["0 0.500000000 0.500000000 1.000000000 1.000000000"]
    assert (tmp_path / "data/labels/train/000001.txt").read_text() == ""
    with Image.open(tmp_path / "data/images/train/000001.png") as written:
        assert written.mode == "RGB"
    assert not (tmp_path / "data/images/train/000000.png").is_symlink()
    about = json.loads((tmp_path / "data/data.yaml").read_text())
    assert about["names"] == {"0": "dog", "1": 'c"at', "2": "cat"}
    assert len(list((tmp_path / "data/images/val").iterdir())) == 2


def plan(folder: Path) -> dict[str, Any]:
    settings = {"epochs": 3, "imgsz": 64, "batch": 4, "workers": 0}
    return {
        "name": "run", "task": "detect", "data": {"format": "coco", "path": str(folder.parent / "data"), "test": 0.25},
        "model": {"name": "ultralytics", "weights": str(folder.parent / "tiny.yaml"), "settings": settings},
        "budget": {"initial": 6, "per_round": 3, "rounds": 2}, "strategy": "random", "out": str(folder), "threads": 1,
    }  # fmt: skip


def run_killed(folder: str) -> None:
    def progress(done: int, total: int, what: str) -> None:
        if (done, total) == (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)

    api.run(plan(Path(folder)), report=False, progress=progress)


def trainings(folder: Path) -> list[int]:
    """Processes that train for a run in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes()
            if b"ultralytics.child" in line and str(folder).encode() in line:
                found.append(int(process.name))
    return found


@pytest.mark.ultralytics
@pytest.mark.filterwarnings("ignore")
class TestTrained:
    """What needs ultralytics itself; its trainings take seconds."""

    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if importlib.util.find_spec("ultralytics") is None:  # importing it here would write its settings file
            pytest.skip("ultralytics is optional")
        monkeypatch.setenv("HOME", str(tmp_path / "user"))
        (tmp_path / "user").mkdir()

    def test_a_round_and_the_next(self, tmp_path: Path) -> None:
        import torch

        items = squares(tmp_path / "data", 8)
        before, save = dict(os.environ), torch.save
        files = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
        model = made(tmp_path, start="previous")
        told: list[tuple[int, int]] = []
        given: dict[str, Any] = {"seed": 1, "progress": lambda done, total, what: told.append((done, total))}
        red = [x for x in items if "green" not in x.target.classes]
        first = model.fit(red[:2], red[2:], out=tmp_path / "a", start=None, plan=Plan(("red",), 0), **given)
        assert told == [(1, 1)]
        grown = Plan(("red", "green"), 1)
        second = model.fit(items[:6], [], out=tmp_path / "b", start=first, plan=grown, **given)
        assert {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()} == files
        assert list((tmp_path / "user").iterdir()) == []
        assert {k: v for k, v in os.environ.items() if "YOLO" in k} == {k: v for k, v in before.items() if "YOLO" in k}
        assert torch.save is save
        names = {p.name for p in second.iterdir()}
        assert names == {"network.safetensors", "about.json", "results.csv", "args.yaml", "ultralytics.log"}
        assert "imgsz: 64" in (second / "args.yaml").read_text()
        whole = list(model.predict(second, [x.sample for x in items], want=ALL))
        for item, p in zip(items, whole, strict=True):
            assert p.independent
            assert p.probs.shape == (len(p.boxes), 2)
            assert p.embedding.shape == (len(p.boxes), 16 + 32 + 32)
            assert (p.boxes >= 0).all()
            assert (p.boxes[:, 2:] <= item.sample.size).all()
            copy = pickle.loads(pickle.dumps(model))
            alone = next(copy.predict(second, [item.sample], want=ALL))
            np.testing.assert_allclose(alone.confidences, p.confidences, atol=1e-5)
        vectors = [p.embedding for p in model.predict(None, [x.sample for x in items], want=frozenset({"embeddings"}))]
        assert {v.shape for v in vectors} == {(32,)}

    def test_seam(self, tmp_path: Path) -> None:
        from labelwise.models.ultralytics import Ultralytics

        (tmp_path / "tiny.yaml").write_text(YAML, encoding="utf-8")
        settings = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0}
        weights = str(tmp_path / "tiny.yaml")
        testing.check_detection_model(lambda: Ultralytics(weights, settings, start="previous"), tmp_path / "check")

    def test_boxes_come_back_to_the_picture(self, tmp_path: Path) -> None:
        """A picture twice as large gives the same boxes, twice as large: both enter the network alike."""
        items = squares(tmp_path / "data", 2)
        large = tmp_path / "large.png"
        with Image.open(items[1].sample.path) as picture:
            picture.resize((128, 96), Image.Resampling.NEAREST).save(large)
        model = made(tmp_path, overlap=1.0)
        begin = model._original()
        small = next(model.predict(begin, [items[1].sample], want=ALL))
        big = next(model.predict(begin, [Sample("large", large, size=(128, 96))], want=ALL))
        assert len(small.boxes) > 10
        order = [np.lexsort(p.boxes.round(2).T) for p in (small, big)]
        np.testing.assert_allclose(small.boxes[order[0]].mean(axis=0) * 2, big.boxes[order[1]].mean(axis=0), rtol=0.05)

    def test_weights_from_a_pt_file(self, tmp_path: Path) -> None:
        """The network in a .pt file is the one that predicts, under the names of its own classes."""
        import torch

        from labelwise.models.ultralytics.networks import build
        from labelwise.models.ultralytics.quiet import load

        home = tmp_path / "quiet"
        (tmp_path / "tiny.yaml").write_text(YAML, encoding="utf-8")
        tasks = load("ultralytics.nn.tasks", home)
        torch.manual_seed(5)
        network = build(tasks.yaml_model_load(tmp_path / "tiny.yaml"), 3, home).eval()
        network.names = {0: "a", 1: "b", 2: "c"}
        torch.save({"model": network, "train_args": {}}, tmp_path / "own.pt")
        items = squares(tmp_path / "data", 2)
        model = made(tmp_path, weights=str(tmp_path / "own.pt"))
        begin = model._original()
        assert json.loads((begin / "about.json").read_text())["classes"] == ["a", "b", "c"]
        found = next(model.predict(begin, [items[1].sample], want=ALL))
        pixels = torch.from_numpy(np.asarray(model.scaled(Image.open(items[1].sample.path)))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            rows = network(pixels.float() / 255)[0][0].T
        assert float(rows[:, 4:].max()) == pytest.approx(float(found.confidences[0]), abs=1e-5)

    def test_what_is_wrong_is_said_before_a_round(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"unknown key model\.settings\.epoch: did you mean 'epochs'"):
            made(tmp_path, settings={"epoch": 3})
        with pytest.raises(ModelError, match=r"expected a \.pt file .* nothing is downloaded here"):
            made(tmp_path, weights="yolo11n.pt")
        with pytest.raises(ModelError, match=r"expected a YOLO that detects boxes, found the head|cannot build"):
            made(tmp_path, weights="yolo11n-seg.yaml")
        (tmp_path / "bad.pt").write_bytes(b"no weights")
        with pytest.raises(ModelError, match="ultralytics: "):
            made(tmp_path, weights=str(tmp_path / "bad.pt"))

    def test_training_that_fails_says_why_in_one_line(self, tmp_path: Path) -> None:
        items = squares(tmp_path / "data", 3)
        model = made(tmp_path, settings={"epochs": 1, "imgsz": 64, "optimizer": "Nothing"})
        with pytest.raises(ModelError, match="ultralytics: ") as told:
            model.fit(items, [], out=tmp_path / "a", start=None, plan=Plan(("red", "green"), 0), seed=0, progress=quiet)
        assert "\n" not in str(told.value)

    @pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
    def test_a_run_killed_while_it_trains_leaves_no_process_and_goes_on(self, tmp_path: Path) -> None:
        make_boxes(tmp_path / "data", 16)
        (tmp_path / "tiny.yaml").write_text(YAML, encoding="utf-8")
        process = multiprocessing.get_context("spawn").Process(target=run_killed, args=(str(tmp_path / "killed"),))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        end = time.monotonic() + 20
        while trainings(tmp_path) and time.monotonic() < end:
            time.sleep(0.1)
        assert trainings(tmp_path) == []
        whole, after = (api.run(plan(tmp_path / name), report=False) for name in ("whole", "killed"))
        assert [after.picks(r) for r in after.rounds] == [whole.picks(r) for r in whole.rounds]
        assert after.evaluations["test"] == whole.evaluations["test"]
