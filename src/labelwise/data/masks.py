"""Masks: one class index per pixel, in a PNG; read checked, written whole; and sparse labels laid on one.

Value i is class i; the highest value (255, or 65535 in 16 bits) is void: no class, never counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.data.listing import shown
from labelwise.errors import DataError
from labelwise.records import Target

Mask = NDArray[np.unsignedinteger[Any]]  # uint8, or uint16 for more than 255 classes

VOID_16 = np.iinfo(np.uint16).max


def void_of(mask: Mask) -> int:
    """The value that stands for no class."""
    return int(np.iinfo(mask.dtype).max)


def empty_mask(height: int, width: int, classes: int) -> Mask:
    """A mask ``(height, width)`` that is void everywhere, wide enough for that many classes."""
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if classes <= 255 else np.uint16
    return np.full((height, width), np.iinfo(kind).max, dtype=kind)


def read_mask(path: Path, classes: int, *, size: tuple[int, int] | None = None, name: str = "") -> Mask:
    """A mask file as ``(h, w)`` indices below ``classes``, or void.

    Grey and palette PNG (or another lossless picture) of 8 or 16 bits; a palette's colours do not matter. ``size`` is
    the (width, height) it must have. Raises DataError naming the file: missing, not a picture, RGB colours, another
    size, a value that is no class.
    """
    name = name or str(path)
    try:
        with Image.open(path) as picture:
            mode, found = picture.mode, np.asarray(picture)
    except FileNotFoundError:
        raise DataError(f"{name}: expected a mask, found no such file; add it or leave the image out") from None
    except Exception as error:
        raise DataError(f"{name}: expected a mask, found a file that cannot be read ({error}); save it again") from None
    if found.ndim != 2 or found.dtype.kind not in "uib":
        raise DataError(
            f"{name}: expected one class index per pixel (a grey or palette PNG), found colours ({mode}); save the "
            "indices instead"
        )
    if size is not None and (found.shape[1], found.shape[0]) != size:
        raise DataError(
            f"{name}: expected the image's size {size[0]} x {size[1]}, found {found.shape[1]} x {found.shape[0]}; "
            "save it without scaling"
        )
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if classes <= 255 else np.uint16
    mask: Mask = found.astype(kind, copy=False)
    wrong = found[(found >= classes) & (found != np.iinfo(kind).max)]
    if (wrong := wrong[wrong != VOID_16]).size:  # of few classes it is 255 now
        raise DataError(
            f"{name}: expected values from 0 to {classes - 1} or {np.iinfo(kind).max} for void, found "
            f"{int(wrong.flat[0])}; name all classes, or change the values"
        )
    return mask


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as a grey PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(mask).save(beside, format="PNG")
    beside.replace(path)


def target_mask(target: Target, classes: Sequence[str], size: tuple[int, int]) -> Mask:
    """A target of points, boxes of one class each, or a mask file, as a dense mask in the order of ``classes``.

    ``size`` is the image's (width, height); what the target does not say is void. Raises DataError for a class that is
    not among ``classes``, or a mask file that cannot be used.
    """
    at = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in target.classes if name not in at]
    if unknown:
        raise DataError(f"expected classes of {', '.join(classes)}, found {shown(unknown[0])!r}")
    numbers = np.array([at[name] for name in target.classes], dtype=np.int64)
    if target.mask is not None:
        found = read_mask(target.mask, len(target.classes), size=size)
        if target.classes == tuple(classes):
            return found
        mask = empty_mask(size[1], size[0], len(classes))
        known = found != void_of(found)
        mask[known] = numbers[found[known]]
        return mask
    mask = empty_mask(size[1], size[0], len(classes))
    if target.geometry is None:
        raise DataError("expected points, boxes or a mask file, found a class for the whole image")
    labels = numbers if target.codes is None else numbers[target.codes]
    if target.geometry.shape[1] == 2:
        x, y = target.geometry.astype(np.int64).T
        mask[y, x] = labels
    else:
        for (x0, y0, x1, y1), label in zip(target.geometry.astype(np.int64), labels, strict=True):
            mask[y0:y1, x0:x1] = label
    return mask


def points_of(mask: Mask, inside: NDArray[np.bool_], classes: Sequence[str]) -> Target:
    """The labels of a mask at the pixels ``inside`` ``(h, w)`` as a target of points; void pixels are left out."""
    y, x = np.nonzero(inside & (mask != void_of(mask)))
    return Target(tuple(classes), np.stack([x, y], axis=1).astype(np.int32), mask[y, x].astype(np.int32))


def class_counts(target: Target) -> dict[str, int]:
    """How often a target names each class: images, boxes or pixels. A mask file that is gone counts nothing."""
    if target.mask is not None:
        if not target.mask.is_file():
            return {}
        counts = _counts_in(target.mask, target.mask.stat().st_mtime_ns, len(target.classes))
    elif target.codes is not None:
        counts = np.bincount(target.codes, minlength=len(target.classes))
    else:
        return dict(Counter(target.classes))
    return {name: int(count) for name, count in zip(target.classes, counts, strict=True) if count}


@lru_cache(maxsize=100_000)  # every report counts all rounds' masks
def _counts_in(path: Path, _changed: int, classes: int) -> NDArray[np.int64]:
    mask = read_mask(path, classes)
    return np.bincount(mask[mask != void_of(mask)], minlength=classes)


def merged(targets: Sequence[Target]) -> Target:
    """Several answers about one image as one target: a mask file wins over points, later points over earlier ones."""
    for target in reversed(targets):
        if target.mask is not None:
            return target
    if len(targets) == 1:
        return targets[0]
    classes = tuple(dict.fromkeys(name for target in targets for name in target.classes))
    at = {name: i for i, name in enumerate(classes)}
    parts: list[Any] = [target.geometry for target in targets]
    codes = [
        np.array([at[name] for name in t.classes], dtype=np.int32)[t.codes if t.codes is not None else slice(None)]
        for t in targets
    ]
    return Target(classes, np.concatenate(parts), np.concatenate(codes))
