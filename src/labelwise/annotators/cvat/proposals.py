"""Proposals in CVAT: what a model says of the frames of a task, sent where nobody has begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labelwise.annotators.cvat.link import Link, text_of
from labelwise.annotators.cvat.projects import label_names, labels_of
from labelwise.data.areas import cvat_runs
from labelwise.data.masks import read_mask
from labelwise.records import Query, Target

SHAPES = 2000  # proposals in one request, about


def propose(link: Link, task: int, project: int, frames: Mapping[int, Query], classes: Sequence[str]) -> None:
    """Send the proposals of a task's frames, in bounded parts, to frames in which nothing is drawn and no job begun.

    Safe to repeat: each part is taken whole by the server or not at all, and what is there is looked at before.
    """
    wanted = {number: query.proposal for number, query in frames.items() if query.proposal is not None}
    if not any(target.classes for target in wanted.values()):
        return
    ids = {label["name"]: label["id"] for label in labels_of(link, project)}
    labels = {name: ids[label] for name, label in label_names(classes).items() if label in ids}

    def send(part: Mapping[int, Target]) -> None:
        there = link.once(lambda api: api.tasks_api.retrieve_annotations_endpoint, id=task)
        taken = {entry["frame"] for kind in ("shapes", "tags") for entry in there[kind]}
        jobs = link.once_pages(lambda api: api.jobs_api.list_endpoint, task_id=task)
        fresh = [range(j["start_frame"], j["stop_frame"] + 1) for j in jobs if text_of(j.get("state")) == "new"]
        left = {n: t for n, t in part.items() if n not in taken and any(n in frames for frames in fresh)}
        if left:
            link.once(
                lambda api: api.tasks_api.partial_update_annotations_endpoint,
                action="create",
                id=task,
                patched_labeled_data_request=_proposals(left, labels),
            )

    part: dict[int, Target] = {}
    for number, target in wanted.items():
        if part and sum(len(t.classes) for t in part.values()) + len(target.classes) > SHAPES:
            link.ask(lambda part=part: send(part), "sending proposals")  # type: ignore[misc]
            part = {}
        part[number] = target
    link.ask(lambda: send(part), "sending proposals")


def _proposals(targets: Mapping[int, Target], labels: Mapping[str, int]) -> dict[str, Any]:
    """Proposals as CVAT's annotations: boxes, masks, or tags of whole images, their source "auto"."""
    shapes: list[dict[str, Any]] = []
    tags: list[dict[str, Any]] = []
    for number, target in targets.items():
        for name, about in _drawn(target):
            if name not in labels:
                continue
            entry = {"frame": number, "label_id": labels[name], "source": "auto", "attributes": [], **about}
            (shapes if about else tags).append(entry)
    return {"version": 0, "shapes": shapes, "tags": tags, "tracks": []}


def _drawn(target: Target) -> Iterator[tuple[str, dict[str, Any]]]:
    """The class of each proposal with its shape, which is empty for a class of the whole image."""
    if target.mask is not None:
        mask = read_mask(target.mask, len(target.classes))
        for value, name in enumerate(target.classes):
            if (mask == value).any():
                runs, (left, top), (wide, high) = cvat_runs(mask == value)
                yield name, _shape("mask", [*runs, left, top, left + wide - 1, top + high - 1])
    elif target.geometry is None:
        yield from ((name, {}) for name in target.classes)
    elif target.geometry.shape[1] == 4:
        for name, corners in zip(target.classes, target.geometry.tolist(), strict=True):
            yield name, _shape("rectangle", corners)


def _shape(kind: str, points: Sequence[float]) -> dict[str, Any]:
    return {"type": kind, "points": [float(value) for value in points], "occluded": False}
