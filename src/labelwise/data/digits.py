"""The data the program makes itself: scikit-learn's digits, and cluttered long-tailed scenes composed of them."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from labelwise.data import class_folders, csv_table
from labelwise.data.listing import Listing
from labelwise.errors import DataError

SIDE = 32  # width and height of a scene in pixels
MARGIN = 1  # a scene is drawn this much larger on every side, so that frames can be shifted
IMBALANCE = 20  # images of the largest class per image of the smallest
ORDER = (1, 0, 6, 4, 7, 2, 5, 3, 9, 8)  # classes from frequent to rare: the ones that are easily confused are rare
LONGEST_BURST = 6

Grey = NDArray[np.float64]


def read(path: Path | str, *, kind: Literal["digits", "scenes"] = "digits") -> Listing:
    """Make the digits or the scenes in ``path``, unless they are there, and list them."""
    return class_folders.read(make_digits(path)) if kind == "digits" else csv_table.read(make_scenes(path))


def make_digits(folder: Path | str) -> Path:
    """Write scikit-learn's 1,797 digits as 8x8 grey PNG; returns the class folders ``folder/digits``.

    Files are ``<digit>/<number>.png``. Does nothing if they are there already; raises DataError if ``folder/digits`` is
    something else.
    """
    return _publish(Path(folder), "digits", {"made": "digits", "version": 1}, _write_digits)


def make_scenes(folder: Path | str, *, count: int = 1500, seed: int = 0) -> Path:
    """Write ``count`` grey scenes of 32x32 pixels with one digit each; returns the table ``folder/scenes/scenes.csv``.

    The digit is enlarged two to three times and jittered, over fragments of other digits, noise and uneven light.
    Classes are long-tailed (about 20 to 1). Scenes are taken in bursts of 1 to 6 near-identical frames, the table's
    column group. The same bytes for the same seed. Does nothing if they are there already; raises DataError if other
    ones are.
    """
    if count < len(ORDER):
        raise DataError(f"scenes: expected {len(ORDER)} or more (one per class), found {count}; ask for more")
    about = {"made": "scenes", "version": 1, "count": count, "seed": seed}
    return _publish(Path(folder), "scenes", about, partial(_write_scenes, count=count, seed=seed)) / "scenes.csv"


def _publish(folder: Path, name: str, about: Mapping[str, object], write: Callable[[Path], None]) -> Path:
    """Write a folder beside its place and rename it, so that it is there whole or not at all."""
    final = folder / name
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}-{uuid.uuid4().hex}"
        try:
            draft.mkdir()
            write(draft)
            (draft / "about.json").write_text(json.dumps(about, sort_keys=True) + "\n", encoding="utf-8")
            os.rename(draft, final)  # noqa: PTH104 (fails if another process was quicker, which is as good)
        except OSError:
            if not final.exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    if _about(final) != about:
        found = _about(final) or "other data"
        raise DataError(f"{final}: expected {dict(about)}, found {found}; choose another folder")
    return final


def _about(folder: Path) -> object:
    try:
        return json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_digits(folder: Path) -> None:
    images, classes = _digits()
    for number, (image, name) in enumerate(zip(images, classes, strict=True)):
        (folder / str(name)).mkdir(exist_ok=True)
        _save(image * 255, folder / str(name) / f"{number:04d}.png")


def _write_scenes(folder: Path, *, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, classes = _digits()
    sources = {name: _cycle(np.flatnonzero(classes == name), rng) for name in ORDER}
    (folder / "images").mkdir()
    lines = ["path,class,group"]
    for number, (name, length) in enumerate(_bursts(count, rng)):
        scene = _scene(images[next(sources[name])], images, rng)
        for frame in range(length):
            path = f"images/{number:04d}_{frame}.png"
            _save(_frame(scene, rng), folder / path)
            lines.append(f"{path},{name},seq{number:04d}")
    (folder / "scenes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _digits() -> tuple[Grey, NDArray[np.int64]]:
    """The images (1797, 8, 8) from 0 to 1, and their classes (1797,)."""
    bunch = load_digits()
    return np.asarray(bunch.images, np.float64) / 16, np.asarray(bunch.target, np.int64)


def _save(values: Grey, path: Path) -> None:
    Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8)).save(path)


def _cycle(positions: NDArray[np.intp], rng: np.random.Generator) -> Iterator[int]:
    """The positions in random order, each once before any comes again."""
    while True:
        yield from rng.permutation(positions).tolist()


def _bursts(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(class, number of frames) of every burst, in random order; the frames sum to ``count``."""
    bursts = []
    for name, left in zip(ORDER, _class_counts(count), strict=True):
        while left > 0:
            length = min(left, int(rng.integers(1, LONGEST_BURST + 1)))
            bursts.append((name, length))
            left -= length
    return [bursts[i] for i in rng.permutation(len(bursts))]


def _class_counts(count: int) -> list[int]:
    """Images per class, falling geometrically to 1 / IMBALANCE of the first, at least 1 each, summing to ``count``."""
    shares = IMBALANCE ** -np.linspace(0, 1, len(ORDER))
    counts = np.maximum(1, np.floor(count * shares / shares.sum())).astype(int)
    counts[0] += count - counts.sum()
    return [int(number) for number in counts]


def _scene(digit: Grey, images: Grey, rng: np.random.Generator) -> Grey:
    """A canvas of SIDE + 2 MARGIN pixels: uneven light, fragments of other digits, and the digit on top."""
    side = SIDE + 2 * MARGIN
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    canvas = rng.uniform(40, 90) + rng.uniform(-30, 30) * across + rng.uniform(-30, 30) * down
    for _ in range(rng.integers(2, 5)):
        _lay(canvas, _fragment(images, rng), rng.integers(0, side, 2), rng.uniform(90, 190))
    size = int(rng.integers(17, 25))
    offset = side / 2 - size / 2 + rng.uniform(-2.5, 2.5, 2)
    _lay(canvas, _enlarged(digit, size), np.round(offset).astype(int), rng.uniform(190, 250))
    return canvas


def _fragment(images: Grey, rng: np.random.Generator) -> Grey:
    top, left = rng.integers(0, 5, 2)
    height, width = rng.integers(3, 6, 2)
    part = images[rng.integers(len(images)), top : top + height, left : left + width]
    return _enlarged(part, int(rng.integers(6, 12)))


def _enlarged(part: Grey, height: int) -> Grey:
    width = max(1, round(height * part.shape[1] / part.shape[0]))
    grown = Image.fromarray(part.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(grown, np.float64)


def _lay(canvas: Grey, stroke: Grey, corner: NDArray[np.int64], light: float) -> None:
    """Paint a stroke (opacity 0 to 1) with its top left at ``corner`` (row, column); what stands over is cut."""
    row, column = (int(value) for value in corner)
    part = canvas[row : row + stroke.shape[0], column : column + stroke.shape[1]]
    opacity = stroke[: part.shape[0], : part.shape[1]]
    part += opacity * (light - part)


def _frame(scene: Grey, rng: np.random.Generator) -> Grey:
    """One picture of a scene: shifted by up to MARGIN pixels, a little lighter or darker, with fresh noise."""
    row, column = rng.integers(0, 2 * MARGIN + 1, 2)
    view = scene[row : row + SIDE, column : column + SIDE]
    return view * rng.uniform(0.95, 1.05) + rng.normal(0, 7, view.shape)
