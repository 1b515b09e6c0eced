"""What a query asks of a person, and what was answered or proposed, as plain data for the page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.agreement import points
from labelwise.data.masks import read_mask, void_of
from labelwise.errors import DataError
from labelwise.reasons import sentence
from labelwise.records import Query, Sample, Target, Task

Json = dict[str, Any]
VOID = -1  # in runs of a mask: no class


def kind_of(task: Task, query: Query) -> str:
    """How a query is answered: by a class, boxes, a mask, the classes of pixels, or a mask inside regions."""
    if task != "segment":
        return {"classify": "class", "detect": "boxes"}[task]
    if query.geometry is None:
        return "mask"
    return "pixels" if query.geometry.shape[1] == 2 else "regions"


def question(task: Task, query: Query, sample: Sample, classes: tuple[str, ...], mine: Target | None = None) -> Json:
    """A query as the page shows it: the image, the places asked, what the model proposes, and why it is asked."""
    kind = kind_of(task, query)
    facts: Json = {
        "id": query.id,
        "kind": kind,
        "round": query.round,
        "rank": query.rank,
        "sample": sample.id,
        "width": sample.size[0],
        "height": sample.size[1],
        "audit": query.purpose == "audit",
        "reason": sentence(query.reason) if query.reason else "",
        "probability": query.reason.get("probability") if kind == "class" else None,
        "proposal": shown(kind, query, query.proposal, classes, sample),
        "mine": shown(kind, query, mine, classes, sample),
    }
    if kind == "pixels" and query.geometry is not None:
        facts["points"] = query.geometry.tolist()
    if kind == "regions":
        facts["regions"] = [box for _, box in regions_of(query)]
    return facts


def shown(kind: str, query: Query, target: Target | None, classes: tuple[str, ...], sample: Sample) -> Any:
    """A target as the page draws it: a class; boxes with classes; a class for each pixel; runs of a mask."""
    if target is None:
        return None
    if kind == "class":
        return target.classes[0]
    if kind == "boxes":
        places = [] if target.geometry is None else target.geometry.tolist()
        return [{"name": name, "box": box} for name, box in zip(target.classes, places, strict=True)]
    if kind == "pixels":
        assert query.geometry is not None
        labels = points(target)
        return [labels.get((int(x), int(y))) for x, y in query.geometry.tolist()]
    return runs_of(_dense(target, classes, sample))


def _dense(target: Target, classes: tuple[str, ...], sample: Sample) -> NDArray[np.int64]:
    """A mask ``(h, w)`` of indices of ``classes``, VOID where there is none."""
    width, height = sample.size
    at = np.array([classes.index(name) if name in classes else VOID for name in (*target.classes, "")])
    mask = np.full((height, width), VOID, dtype=np.int64)
    if target.mask is not None:
        found = read_mask(target.mask, len(target.classes), size=sample.size)
        known = found != void_of(found)
        mask[known] = at[found[known]]
    elif target.geometry is not None:
        for (x, y), name in points(target).items():
            mask[y, x] = classes.index(name) if name in classes else VOID
    return mask


def runs_of(mask: NDArray[np.int64]) -> list[int]:
    """A mask as runs, row after row: value, length, value, length, and so on."""
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1]) if len(flat) else np.empty(0, np.int64)
    lengths = np.diff(np.concatenate([starts, [len(flat)]]))
    return [int(n) for n in np.stack([flat[starts], lengths], axis=1).ravel()]


def mask_of(runs: list[int], size: tuple[int, int], classes: int) -> NDArray[np.int64]:
    """The mask ``(h, w)`` that runs describe. Raises DataError if they do not fill it, or name no class."""
    width, height = size
    values, lengths = np.array(runs[::2], dtype=np.int64), np.array(runs[1::2], dtype=np.int64)
    if len(runs) % 2 or (len(lengths) and lengths.min() < 1) or sum(lengths.tolist()) != width * height:
        raise DataError(f"expected runs that fill {width} x {height} pixels, found others; load the page again")
    if len(values) and not VOID <= values.min() <= values.max() < classes:
        raise DataError(f"expected classes 0 to {classes - 1}, found {values.max()}; load the page again")
    return values.repeat(lengths).reshape(height, width)


def regions_of(query: Query) -> list[tuple[Any, list[int]]]:
    """The regions that are asked: what selects the pixels of each in an array ``(h, w)``, and its bounds."""
    assert query.geometry is not None
    geometry = query.geometry.astype(np.int64)
    if geometry.shape[1] == 4:
        return [((slice(y0, y1), slice(x0, x1)), [x0, y0, x1, y1]) for x0, y0, x1, y1 in geometry.tolist()]
    found = []
    _, first = np.unique(geometry[:, 2], return_index=True)
    for number in geometry[np.sort(first), 2].tolist():
        x, y = geometry[geometry[:, 2] == number, :2].T
        found.append(((y, x), [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]))
    return found


def inside_of(query: Query, size: tuple[int, int]) -> NDArray[np.int64]:
    """For each pixel ``(h, w)`` the number of the region it is in, from 1 on; 0 outside."""
    numbers = np.zeros((size[1], size[0]), dtype=np.int64)
    for number, (where, _) in enumerate(regions_of(query), start=1):
        numbers[where] = number
    return numbers


def regions_png(query: Query, size: tuple[int, int]) -> bytes:
    """The numbers of the regions as a PNG: red holds the lower eight bits, green the upper."""
    numbers = inside_of(query, size)
    picture = np.zeros((*numbers.shape, 3), np.uint8)
    picture[..., 0], picture[..., 1] = numbers & 255, numbers >> 8
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="PNG")
    return data.getvalue()
