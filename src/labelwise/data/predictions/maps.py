"""Format: probability maps, one .npy or .npz a picture: (h, w, C), read one at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from labelwise.data.listing import checked_folder, has_image_extension
from labelwise.data.predictions.joining import Classes, Join, PredictionSet, Sizes
from labelwise.data.predictions.reading import distributions, names_of
from labelwise.errors import DataError
from labelwise.records import Prediction


def read(
    path: Path,
    ids: tuple[str, ...],
    classes: Classes | None,
    sizes: Sizes | None,
    *,
    logits: bool = False,
    independent: bool = False,
    channels: Literal["last", "first"] = "last",
    root: str = "",
) -> PredictionSet:
    """Class probabilities of every pixel from a folder of ``.npy`` or ``.npz`` files with one array ``(h, w, C)`` each.

    A file belongs to the image of the same path without extension; the map may be smaller than the image. ``classes``
    are needed: their number is C. ``channels`` first: arrays are ``(C, h, w)``. ``logits`` and ``independent`` as in a
    table of probabilities. Types and shapes of all files are looked at first, the numbers when the map is asked for.
    Raises DataError naming the file; also for pictures of class indices, which hold no probabilities.
    """
    folder = checked_folder(path)
    if classes is None:
        raise DataError(f"{folder}: expected the names of the classes, which maps do not hold; give classes=")
    names = names_of(classes)
    join = Join(ids, root)
    files: dict[str, Path] = {}
    for file in _files(folder):
        id = join.claim(file.relative_to(folder).with_suffix("").as_posix())
        if id is not None:
            _check_form(file, len(names), channels)
            files[id] = file

    def stream() -> Iterator[Prediction]:
        for id, file in files.items():
            values = _load(file)
            values = np.moveaxis(values, 0, -1) if channels == "first" else values
            width = values.shape[1]
            probs = distributions(
                values,
                lambda i, file=file, width=width: f"{file}: pixel x {i % width}, y {i // width}",  # type: ignore[misc]
                logits=logits,
                independent=independent,
            )
            yield Prediction(id, probs=probs, independent=independent)

    return join.close(folder, "segment", names, stream)


def _files(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix in (".npy", ".npz"))
    if found:
        return found
    pictures = next((file for file in sorted(folder.rglob("*")) if has_image_extension(file.name)), None)
    if pictures is not None:
        raise DataError(
            f"{pictures}: expected probabilities in .npy or .npz, found a picture: class indices say which class won, "
            "not by how much; save the softmax output"
        )
    raise DataError(f"{folder}: expected .npy or .npz files, found none; check the path")


def _check_form(file: Path, classes: int, channels: str) -> None:
    shape, kind = _form(file)
    wanted = f"({classes}, h, w)" if channels == "first" else f"(h, w, {classes})"
    if kind != "f":
        raise DataError(
            f"{file}: expected floating-point probabilities, found type {kind!r} of shape {shape}: class indices "
            "hold no probabilities; save the softmax output"
        )
    axis, other = (0, -1) if channels == "first" else (-1, 0)
    if len(shape) != 3 or 0 in shape or shape[axis] != classes:
        turned = len(shape) == 3 and shape[other] == classes
        way_out = f"give channels={'last' if channels == 'first' else 'first'}" if turned else "mend it or classes="
        raise DataError(f"{file}: expected an array of shape {wanted}, found {shape}; {way_out}")


def _form(file: Path) -> tuple[tuple[int, ...], str]:
    """Shape and kind of the array in a file, from its header alone."""
    try:
        if file.suffix == ".npy":
            with file.open("rb") as stream:
                return _header(stream)
        with zipfile.ZipFile(file) as archive, archive.open(_member(file, archive.namelist())) as stream:
            return _header(stream)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{file}: expected an array, found: {what}; write it again") from None


def _header(stream: Any) -> tuple[tuple[int, ...], str]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype.kind


def _member(file: Path, names: list[str]) -> str:
    if "probs.npy" in names:
        return "probs.npy"
    if len(names) != 1:
        raise DataError(f"{file}: expected one array, or one called probs, found {len(names)}; save it alone")
    return names[0]


def _load(file: Path) -> NDArray[Any]:
    try:
        if file.suffix == ".npy":
            return np.asarray(np.load(file, allow_pickle=False))
        with np.load(file, allow_pickle=False) as stored:
            return np.asarray(stored[_member(file, [f"{name}.npy" for name in stored.files]).removesuffix(".npy")])
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{file}: expected an array, found: {what}; write it again") from None
