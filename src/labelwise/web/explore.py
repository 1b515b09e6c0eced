"""Exploring: the map, the grid, filters, tags, and everything known of one image."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from labelwise.data.name_lists import Row, list_text
from labelwise.errors import DataError
from labelwise.models.texts import LONGEST
from labelwise.web.colours import palette
from labelwise.web.comparing import compare
from labelwise.web.details import details, score_map, target_of
from labelwise.web.explored import Explored
from labelwise.web.overlays import overlay
from labelwise.web.served import Served, ServedFolder

MOST = 2_000_000  # ids in one request
Ids = Annotated[list[str], Field(max_length=MOST)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]


class Images(BaseModel):
    """Images by their ids."""

    ids: Ids


class Layout(BaseModel):
    """Which kind of map to make."""

    kind: Literal["pca", "tsne", "umap", "pacmap"]


class Text(BaseModel):
    """What an image shows, in words."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)]


class Tagging(BaseModel):
    """Images to put under a tag and to take from it; ``delete`` takes all."""

    name: Name
    add: Ids = []
    remove: Ids = []
    delete: bool = False


class Two(BaseModel):
    """Two selections."""

    first: Ids
    second: Ids


def routes(served: Served | ServedFolder) -> APIRouter:
    """Routes of the room in which images are explored."""
    router = APIRouter(prefix="/api/explore")
    explored = Explored(served)
    served.at_end.append(explored.end)
    _looking(router, explored)
    _mapping(router, explored)
    _tagging(router, explored)
    _one(router, explored)
    return router


def _looking(router: APIRouter, explored: Explored) -> None:
    served = explored.served

    @router.get("/state")
    def state() -> dict[str, Any]:
        """What is there, and what is under way in the background."""
        explored.vectors.begin()
        version, columns = explored.columns()
        return {
            "name": served.name,
            "key": served.key,
            "images": len(served.samples),
            "version": version,
            "columns": len(columns),
            "run": isinstance(served, Served),
            "text": explored.vectors.words is not None,
            "vectors": explored.vectors.facts(),
            "layouts": explored.layouts.facts(),
            "warnings": explored.warnings,
        }

    @router.get("/ids")
    def ids() -> Response:
        """The ids of all images, in the order that columns, maps and distances follow."""
        return Response(json.dumps({"ids": explored.ids(), "key": served.key}), media_type="application/json")

    @router.get("/columns")
    def columns() -> dict[str, Any]:
        """What is known of the images: the names and kinds of its columns."""
        version, found = explored.columns()
        return {"version": version, "columns": [c.facts for c in found.values()], "palette": palette()}

    @router.get("/column", response_class=Response)
    def column(name: str) -> Response:
        """The data of a column: float64 numbers (NaN: missing) or int32 indices of values (-1: missing)."""
        found = explored.column(name)
        return _binary(found.data, "<f8" if found.values is None else "<i4")


def _mapping(router: APIRouter, explored: Explored) -> None:
    @router.get("/layout", response_class=Response)
    def layout(kind: str = "pca") -> Response:
        """The coordinates of all images on a map: float32 x, y (NaN: not on it)."""
        return _binary(explored.layouts.coordinates(kind), "<f4")

    @router.post("/layout")
    def begin(what: Layout) -> dict[str, Any]:
        """Begin a map in the background; the state tells how far it is."""
        explored.layouts.start(what.kind)
        return {"layouts": explored.layouts.facts()}

    @router.post("/similar", response_class=Response)
    def similar(images: Images) -> Response:
        """For every image its distance to the nearest of these: float32 (NaN: no vector)."""
        return _binary(explored.vectors.distances(explored.known(images.ids)), "<f4")

    @router.post("/text", response_class=Response)
    def text(what: Text) -> Response:
        """For every image how far it is from a text, where a model knows: float32, 0 to 2 (NaN: no vector)."""
        return _binary(explored.vectors.far_from(what.text), "<f4")

    @router.post("/compare")
    def comparison(two: Two) -> dict[str, Any]:
        """Two selections beside each other."""
        first, second = (explored.rows(explored.known(ids)) for ids in (two.first, two.second))
        return compare(explored, first, second)


def _tagging(router: APIRouter, explored: Explored) -> None:
    served = explored.served

    @router.get("/tags")
    def tags() -> dict[str, Any]:
        """The tags, each with its images."""
        return {"tags": served.tags()}

    @router.post("/tags")
    def change(what: Tagging) -> dict[str, Any]:
        """Put images under a tag, take images from it, or delete it."""
        if what.add:
            served.tag(what.name, explored.known(what.add))
        gone = served.tags().get(what.name, []) if what.delete else what.remove
        if gone:
            served.untag(what.name, gone)
        return {"tags": {name: len(ids) for name, ids in served.tags().items()}}

    @router.get("/tag.{format}", response_class=Response)
    def export(format: Literal["txt", "csv", "json"], name: str) -> Response:
        """A tag as a list that other programs read: names, or rows with all that is known of each image."""
        found = served.tags().get(name)
        if found is None:
            raise DataError(f"no tag {name!r:.80}")
        return _listed(explored, found, format, name)

    @router.post("/list.{format}", response_class=Response)
    def listed(format: Literal["txt", "csv", "json"], images: Images) -> Response:
        """Any selection as such a list."""
        return _listed(explored, explored.known(images.ids), format, "selection")


def _one(router: APIRouter, explored: Explored) -> None:
    served = explored.served

    @router.get("/image")
    def image(id: str) -> dict[str, Any]:
        """Everything known of one image."""
        return details(explored, id)

    @router.get("/overlay", response_class=Response)
    def layer(id: str, layer: str) -> Response:
        """A mask, pixels or regions of an image as a transparent PNG."""
        if not isinstance(served, Served):
            raise DataError("a folder without a run has no annotations")
        sample, target = target_of(served, id, layer)
        png = overlay(target, served.store.classes(), sample.size, asked=layer.startswith("asked"))
        return Response(png, media_type="image/png", headers={"Cache-Control": "no-cache"})

    @router.get("/map", response_class=Response)
    def score(id: str, round: Annotated[int, Query(ge=0, le=10**6)]) -> Response:
        """The score map of an image in a round, as a PNG."""
        if not isinstance(served, Served):
            raise DataError("a folder without a run has no score maps")
        data = score_map(served, id, round).read_bytes()
        return Response(data, media_type="image/png", headers={"Cache-Control": "no-cache"})


def _binary(data: NDArray[Any], kind: str) -> Response:
    whole = np.ascontiguousarray(data, dtype=np.dtype(kind))
    return Response(whole.tobytes(), media_type="application/octet-stream", headers={"Cache-Control": "no-cache"})


def _listed(explored: Explored, ids: list[str], format: str, name: str) -> Response:
    _, columns = explored.columns()
    row_of = {id: i for i, id in enumerate(explored.ids())}
    rows = []
    for rank, id in enumerate(ids, start=1):
        at, facts = row_of.get(id), dict[str, Any]()
        for column in columns.values() if at is not None and format != "txt" else ():
            value = column.data[at].item()
            if column.values is not None:
                value = column.values[value] if value >= 0 else None
            elif column.form == "whole" and np.isfinite(value):
                value = int(value)
            if value is not None and value == value:
                facts[column.name] = value
        rows.append(Row(rank, id, "", facts))
    kinds = {"txt": "text/plain", "csv": "text/csv", "json": "application/json"}
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(f'{name}.{format}', safe='')}"}
    text = list_text(f".{format}", rows, {"tag": name})
    return Response(text, media_type=f"{kinds[format]}; charset=utf-8", headers=headers)
