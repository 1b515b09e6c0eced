"""First configurations: whatever the folder is called, the YAML loads, checks and runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from camera_trap_files import detection, megadetector, picture
from labelwise import api
from labelwise import config as configuration
from labelwise.data.digits import make_scenes
from labelwise.errors import ConfigError, DataError
from labelwise.parts import build
from labelwise.starter import write_starter
from timelapse_files import FIELDS, write_data, write_template

QUICK = {"model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"}, "threads": 1}


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(folder.name)))
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return folder


def classes(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        pictures(folder / name, count)
    return folder


def test_class_folders(tmp_path: Path) -> None:
    folder = classes(tmp_path / "animals", cat=30, doggy=20)
    lines = write_starter(folder, tmp_path / "c.yaml")
    assert lines[0] == "50 pictures, 50 labelled"
    assert lines[-1].endswith(f"next: labelwise check {tmp_path / 'c.yaml'}")
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.name, config.data.format, config.data.path) == ("animals", "class_folders", tmp_path / "animals")
    assert (config.annotator.name, config.audit, config.data.test) == ("oracle", 0, 0.2)
    assert api.run(tmp_path / "c.yaml", QUICK, report=False).state == "finished"


def test_every_value_is_the_default_or_a_guess(tmp_path: Path) -> None:
    """The file changes nothing of the model and the strategy behind the user's back."""
    write_starter(classes(tmp_path / "animals", cat=30, doggy=20), tmp_path / "c.yaml")
    written, default = (
        configuration.load(tmp_path / "c.yaml"),
        configuration.Config(name="x", data=configuration.Data(format="f", path=Path())),
    )
    for key in ("strategy", "cold_start", "seed", "task"):
        assert getattr(written, key) == getattr(default, key)
    from labelwise.models.frozen import Frozen

    assert all(getattr(Frozen(), k) == v for k, v in written.model.options.items())


def test_a_table_with_groups(tmp_path: Path) -> None:
    table = make_scenes(tmp_path, count=60)
    lines = write_starter(table.parent, tmp_path / "c.yaml")
    assert any("groups" in line for line in lines)
    assert configuration.load(tmp_path / "c.yaml").data.path == table
    assert api.run(tmp_path / "c.yaml", QUICK, report=False).state == "finished"


def test_flat_pictures_are_for_people(tmp_path: Path) -> None:
    write_starter(pictures(tmp_path / "flat", 40), tmp_path / "c.yaml")
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.data.format, config.annotator.name, config.audit, config.data.test) == (
        "images_folder",
        "web",
        8,
        0,
    )
    result = api.run(tmp_path / "c.yaml", QUICK, report=False, wait=False)
    assert result.state == "waiting"
    assert "page" in result.message
    result = api.run(tmp_path / "c.yaml", {**QUICK, "name": "table", "annotator": "files"}, report=False)
    assert (tmp_path / "runs/table/rounds/000/annotate.csv").is_file()


def test_a_partly_labelled_table_is_judged_by_an_audit(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "images", 40)
    rows = [f"images/{i:03d}.png,{'ab'[i % 2] if i < 10 else ''}" for i in range(40)]
    (tmp_path / "data" / "t.csv").write_text("path,class\n" + "\n".join(rows) + "\n")
    write_starter(tmp_path / "data" / "t.csv", tmp_path / "c.yaml")
    result = api.run(tmp_path / "c.yaml", QUICK, report=False, wait=False)
    assert result.state == "waiting"
    assert result.split_sizes == {"pool": 32, "audit": 8}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_very_few_pictures(tmp_path: Path, count: int) -> None:
    write_starter(pictures(tmp_path / "flat", count), tmp_path / "c.yaml")
    assert api.run(tmp_path / "c.yaml", QUICK, report=False, wait=False).state == "waiting"


NAMES = [
    "größe",
    "with space",
    "co:lon",
    "it's",
    'say "hi"',
    "#hash",
    "- dash",
    "{x}",
    "[1]",
    "123",
    "1e5",
    "true",
    "null",
    "2024-01-01",
    "~",
    "a\\b",
    "100%",
    "x...",
    "&a",
    "*b",
    "日本",
    "e\u0301t\u00e9",
    "a\tb",
    "a\nb",
    "a\u2028b",
    "  ",
    ".hidden",
    "...",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder(tmp_path: Path, name: str) -> None:
    folder = classes(tmp_path / "in" / name, a=6, b=6)
    (folder / name).mkdir()
    shutil.copy(folder / "a" / "000.png", folder / name / "copy.png")
    file = tmp_path / "out" / f"{name}.yaml"
    file.parent.mkdir()
    write_starter(folder, file)
    config = configuration.load(file)
    assert config.data.path.resolve() == folder
    assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8"))["name"], str)
    assert any(line.startswith("data: 1") for line in api.check(file, QUICK))


def test_relative_paths_hold_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes(tmp_path / "data", a=6, b=6)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_starter(Path("../data"), Path("c.yaml"))
    assert "path: ../data" in Path("c.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    assert configuration.load("work/c.yaml").data.path.resolve() == tmp_path / "data"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = classes(tmp_path / "d", a=6, b=6)
    (tmp_path / "c.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"c\.yaml is there already.*--out.*--force"):
        write_starter(folder, tmp_path / "c.yaml")
    assert (tmp_path / "c.yaml").read_text() == "mine"
    write_starter(folder, tmp_path / "c.yaml", force=True)
    assert configuration.load(tmp_path / "c.yaml").name == "d"


def test_what_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty folder"):
        write_starter(tmp_path / "empty", tmp_path / "c.yaml")
    assert not (tmp_path / "c.yaml").exists()
    with pytest.raises(ConfigError, match=r"--out .*\.yaml"):
        write_starter(classes(tmp_path / "d", a=6, b=6), tmp_path / "c.txt")


def test_boxes(tmp_path: Path) -> None:
    """The task is detect, and the splits that the data names are left to it."""
    pictures(tmp_path / "cells" / "images" / "train", 12)
    pictures(tmp_path / "cells" / "images" / "test", 3)
    for file in (tmp_path / "cells" / "images").rglob("*.png"):
        label = Path(str(file).replace("/images/", "/labels/")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "cells" / "data.yaml").write_text("train: images/train\ntest: images/test\nnames: [cell]\n")
    lines = write_starter(tmp_path / "cells", tmp_path / "c.yaml")
    assert lines[:2] == [
        "15 pictures, 15 labelled, with 15 boxes (0 pictures without)",
        "the data says: 12 pool, 3 test",
    ]
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.task, config.data.format, config.annotator.name) == ("detect", "yolo", "oracle")
    assert (config.model.name, config.strategy.name, config.budget.unit) == ("detector", "box_balanced", "image")
    assert build(config).model.provides >= {"boxes", "probs", "objects"}
    for file in (tmp_path / "cells" / "labels" / "train").iterdir():
        file.unlink()
    write_starter(tmp_path / "cells", tmp_path / "c.yaml", force=True)
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.annotator.name, config.audit) == ("web", 0)  # the test images are labelled
    for file in (tmp_path / "cells" / "labels" / "test").iterdir():
        file.unlink()
    first = min((tmp_path / "cells" / "images" / "train").iterdir())
    (tmp_path / "cells" / "labels" / "train" / f"{first.stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    write_starter(tmp_path / "cells", tmp_path / "c.yaml", force=True)
    assert configuration.load(tmp_path / "c.yaml").audit == 3  # what the comment in the file says is there


def masks(folder: Path, count: int) -> Path:
    """Pictures of 40 x 30 pixels, left half dark and right half light, and their masks in two folders."""
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 1
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        noise = rng.integers(0, 100, (30, 40), dtype=np.uint8) + 150 * truth
        Image.fromarray(noise).save(folder / "images" / f"{i}.png")
        Image.fromarray(truth).save(folder / "masks" / f"{i}_mask.png")
    return folder


SMALL = [
    *("model.weights=none", "model.backbone=mobilenetv3_small_050", "model.size=[32,32]", "model.epochs=1"),
    *("threads=1", "budget.rounds=2", "pictures=1"),
]


def test_pictures_and_masks(tmp_path: Path) -> None:
    folder = masks(tmp_path / "street", 10)
    lines = write_starter(folder, tmp_path / "c.yaml")
    assert lines[0] == "10 pictures, 10 labelled"
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.task, config.data.format, config.data.path) == ("segment", "image_masks", folder)
    assert config.data.options == {"mask_suffix": "_mask.png", "classes": ["class 0", "class 1"]}
    assert (config.annotator.name, config.data.test, config.model.options["size"]) == ("oracle", 0.2, [40, 30])
    assert "# what the values of masks from 0 on mean: rename them; 255 is void" in (tmp_path / "c.yaml").read_text()
    result = api.run(tmp_path / "c.yaml", SMALL, report=False)
    assert (result.state, result.labels(1)) == ("finished", 2 * 8 * 10)


def test_pictures_of_which_some_have_masks(tmp_path: Path) -> None:
    folder = masks(tmp_path / "street", 10)
    for file in sorted((folder / "masks").iterdir())[:4]:
        file.unlink()
    Image.new("L", (2000, 1000)).save(folder / "images" / "large.png")
    write_starter(folder, tmp_path / "c.yaml")
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.annotator.name, config.audit, config.data.test) == ("web", 0, 0.2)
    assert config.model.options["size"] == [480, 240]
    build(config)


def test_camera_traps_with_detections_and_a_template(tmp_path: Path) -> None:
    root = tmp_path / "Study: one"
    entries = []
    for place in range(6):
        for i in range(8):
            name = f"cam{place}/DCIM/100RECNX/IMG_{i}.JPG"
            picture(
                root / name,
                taken=f"2024:05:01 1{i // 4}:00:0{i % 4}",
                size=(80, 60),
                boxes=[(10 + i, 10, 40 + i, 40, (40 * place, 30 * i, 200))],
            )
            entries.append((name.replace("/", "\\"), [detection(0.9, (0.1, 0.1, 0.4, 0.4))] if i else []))
    megadetector(root / "md.json", entries)
    write_template(root / "TimelapseTemplate.tdb", choices=("deer, red", "fox"))
    picture(root / "Backups" / "x.jpg")
    lines = write_starter(root, tmp_path / "c.yaml")
    assert "42 crops, 6 whole" in lines
    text = (tmp_path / "c.yaml").read_text(encoding="utf-8")
    assert "# people: true" in text
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.name, config.data.format, config.strategy.per) == (
        "Study-one",
        "megadetector",
        {"sequence": 1, "location": 10},
    )
    assert config.data.options["classes"] == ["deer, red", "fox"]
    assert any("6 groups" in line for line in api.check(tmp_path / "c.yaml", QUICK))
    result = api.run(tmp_path / "c.yaml", {**QUICK, "annotator": "files"}, report=False)
    assert result.state == "waiting"
    samples = list(result.samples.values())
    assert {s.group for s in samples} == {f"cam{place}" for place in range(6)}
    assert len({s.meta["sequence"] for s in samples}) == 12
    asked = [result.samples[q.sample_id].meta["sequence"] for q in result.queries[0] if q.purpose == "train"]
    assert len(asked) == len(set(asked))


def test_timelapse_data_with_labels(tmp_path: Path) -> None:
    root = tmp_path / "set"
    rows = []
    for i in range(30):
        picture(root / f"site{i % 3}" / f"{i}.jpg", colour=(8 * i, 0, 0))
        rows.append({"File": f"{i}.jpg", "RelativePath": f"site{i % 3}", "Species": ("deer", "fox")[i % 2]})
    write_data(root / "TimelapseData.ddb", rows)
    write_starter(root, tmp_path / "c.yaml")
    config = configuration.load(tmp_path / "c.yaml")
    assert (config.data.format, config.data.options["column"], config.annotator.name) == (
        "timelapse",
        "Species",
        "oracle",
    )
    assert config.strategy.per == {"sequence": 1}  # so few locations must still give a whole round
    result = api.run(
        tmp_path / "c.yaml", {**QUICK, "budget": {"initial": 4, "per_round": 4, "rounds": 2}}, report=False
    )
    assert result.state == "finished"


def test_names_that_are_written_freely_must_be_allowed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for i in range(10):
        picture(root / f"site{i % 2}" / f"{i}.jpg", colour=(8 * i, 0, 0))
    write_template(root / "TimelapseTemplate.tdb")
    write_starter(root, tmp_path / "listed.yaml")
    assert configuration.load(tmp_path / "listed.yaml").annotator.options["new_classes"] is True
    fields = [(name, "Note" if name == "Species" else kind, *more) for name, kind, *more in FIELDS]
    (root / "TimelapseTemplate.tdb").unlink()
    write_template(root / "TimelapseTemplate.tdb", fields)
    write_starter(root, tmp_path / "free.yaml")
    config = configuration.load(tmp_path / "free.yaml")
    assert (config.annotator.name, config.annotator.options) == ("timelapse", {"species": "Species"})
    first = next(
        line for line in (tmp_path / "free.yaml").read_text(encoding="utf-8").splitlines() if "format:" in line
    )
    assert first.split("#")[1].startswith(" or megadetector")
