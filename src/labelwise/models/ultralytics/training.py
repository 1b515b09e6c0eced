"""Training by ultralytics, seen from the run: a dataset of copies, a process of its own, and its progress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise.data.images import open_image
from labelwise.engine import children
from labelwise.errors import ModelError
from labelwise.models import Progress
from labelwise.models.ultralytics.quiet import environment
from labelwise.records import Labelled

_PLAIN = {".jpg", ".jpeg", ".png", ".bmp"}
_FEW = 8  # training images that ultralytics looks at where no image is set apart: it wants some
LOG = "ultralytics.log"


def take_over(weights: str, out: Path, home: Path) -> None:
    """Write the network of a .pt file or a .yaml of ultralytics to ``out`` as arrays and JSON.

    Raises ModelError if there is no such file, or it holds no detector.
    """
    file = Path(weights).expanduser()
    if not file.is_file() and file.suffix not in (".yaml", ".yml"):
        raise ModelError(
            f"model.weights: expected a .pt file or a .yaml of ultralytics, found none at {weights!r}; nothing is "
            f"downloaded here: where there is a network, run `yolo predict model={file.name}`, and copy the file"
        )
    beside = out.with_name(f"{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    given = str(file.resolve()) if file.is_file() else weights
    _run({"job": "take_over", "weights": given, "out": str(beside.resolve())}, beside, home, lambda *_: None)
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)


def train(
    items: Sequence[Labelled],
    val: Sequence[Labelled],
    *,
    out: Path,
    begin: Path,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    home: Path,
    progress: Progress,
) -> None:
    """Train from the checkpoint ``begin`` and write the new one to ``out``, with what ultralytics wrote of its course.

    Raises ModelError with the last line of ultralytics if it fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    write_dataset(work / "data", items, val, classes)
    job = {
        "job": "train",
        "begin": str(begin.resolve()),
        "out": str(out.resolve()),
        "work": str(work.resolve()),
        "classes": list(classes),
        "settings": dict(settings),
        "validate": bool(val),
    }
    _run(job, out, home, progress)
    for name in ("results.csv", "args.yaml"):
        if (work / "run" / name).is_file():
            shutil.copyfile(work / "run" / name, out / name)
    shutil.rmtree(work)


def write_dataset(folder: Path, items: Sequence[Labelled], val: Sequence[Labelled], classes: Sequence[str]) -> None:
    """Write what ultralytics reads: copies of the pictures, since it mends broken ones in place, and their boxes."""
    index = {name: i for i, name in enumerate(classes)}
    splits = {"train": items, "val": val or items[:_FEW]}
    for split, members in splits.items():
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for i, item in enumerate(members):
            size = _copy(item, folder / "images" / split / f"{i:06d}")
            text = "".join(_lines(item, index, size))
            (folder / "labels" / split / f"{i:06d}.txt").write_text(text, encoding="utf-8")
    about = {"path": str(folder.resolve()), "train": "images/train", "val": "images/val"}
    # JSON is YAML, and quotes every name.
    text = json.dumps({**about, "names": dict(enumerate(classes))}, ensure_ascii=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _copy(item: Labelled, place: Path) -> tuple[int, int]:
    """Copy a picture that every reader understands alike; any other is written as we see it. Gives its size."""
    image, note = open_image(item.sample.path, name=item.sample.id)
    suffix = item.sample.path.suffix.lower()
    if suffix in _PLAIN and not note:
        shutil.copyfile(item.sample.path, place.with_suffix(suffix))
    else:
        image.save(place.with_suffix(".png"))
    return image.size


def _lines(item: Labelled, index: Mapping[str, int], size: tuple[int, int]) -> list[str]:
    """The lines of a label file: class, centre and size in shares; a box without area teaches nothing."""
    lines = []
    boxes = [] if item.target.geometry is None else item.target.geometry.tolist()
    for name, (x0, y0, x1, y1) in zip(item.target.classes, boxes, strict=True):
        x0, x1 = max(0.0, x0) / size[0], min(size[0], x1) / size[0]
        y0, y1 = max(0.0, y0) / size[1], min(size[1], y1) / size[1]
        if x1 > x0 and y1 > y0:
            lines.append(f"{index[name]} {(x0 + x1) / 2:.9f} {(y0 + y1) / 2:.9f} {x1 - x0:.9f} {y1 - y0:.9f}\n")
    return lines


def _run(job: Mapping[str, Any], folder: Path, home: Path, progress: Progress) -> None:
    """Do a job in a process that ends with this one; what it prints goes to a log in ``folder``."""
    home.mkdir(parents=True, exist_ok=True)
    given = (dict(job), home.resolve())
    child = children.Child("labelwise.models.ultralytics.child", folder / LOG, given, environment(home))
    children.work([child], lambda told: progress(told["done"], told["total"], "epochs"), "ultralytics")
