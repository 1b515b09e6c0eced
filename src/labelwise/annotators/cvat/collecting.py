"""Collecting from CVAT: what people drew in completed jobs, read like CVAT's own XML."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from labelwise.annotators import Desk
from labelwise.annotators.answer_formats import HALF, SKIP_TAG
from labelwise.annotators.answers import Answers, Blank, read_answers, told
from labelwise.annotators.cvat.link import Link, text_of
from labelwise.annotators.cvat.projects import label_names, labels_of
from labelwise.annotators.cvat.tasks import How, frame_name, frames_of
from labelwise.annotators.found import Asked
from labelwise.data.cvat_shapes import OTHERS, element_of
from labelwise.data.predictions.joining import listed
from labelwise.errors import ServerError
from labelwise.records import Annotation, Query

Stage = Literal["annotation", "validation", "acceptance"]
_STAGES = ("annotation", "validation", "acceptance")
_WAY_OUT = "set annotator.new_classes=true"


@dataclass(slots=True)
class Seen:
    """What was read last: how many jobs are completed, what people should know, and the content of completed jobs by
    number and time of the last change, so that a job is not read again before somebody changes it."""

    completed: int = 0
    jobs: int = 0
    left: list[str] = field(default_factory=list)
    content: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """How answers are read: see the options of `labelwise.annotators.cvat.Cvat`."""

    stage: Stage
    blank: Blank
    new_classes: bool


@dataclass(slots=True)
class _Sheet:
    """What one look gathers: CVAT's XML of the frames that are done, who did each query, and lines for people."""

    tree: ET.Element = field(default_factory=lambda: ET.Element("annotations"))
    who: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    deleted: list[Query] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)  # of classes, by the numbers of their labels
    read: set[int] = field(default_factory=set)  # numbers of jobs


def collected(
    link: Link, tasks: Mapping[int, Sequence[Query]], project: int, desk: Desk, how: How, rules: Rules, seen: Seen
) -> tuple[list[Annotation], list[str]]:
    """The answers in completed jobs to the open queries of each task, and lines that tell what was odd in them.

    Raises ServerError where a task is gone, or an image in it.
    """
    sheet = _Sheet()
    completed = jobs = 0
    for task, queries in tasks.items():
        found = _jobs(link, task, len(queries))
        done = [job for job in found if _is_done(job, rules.stage)]
        completed, jobs = completed + len(done), jobs + len(found)
        if done:
            sheet.names = sheet.names or _class_names(link, project, desk.classes)
            _gather(link, task, queries, done, desk, how, seen, sheet)
    seen.completed, seen.jobs = completed, jobs
    seen.content = {key: content for key, content in seen.content.items() if key[0] in sheet.read}
    lines = sheet.lines
    skipped = [Annotation(query.id, None, sheet.who[query.id]) for query in sheet.deleted]
    if skipped:
        ids = [query.sample_id for query in sheet.deleted]
        lines.append(f"{len(ids):,} images were deleted in CVAT and count as skipped: {listed(ids)}")
    if not len(sheet.tree):
        seen.left = lines
        return skipped, lines
    answers = _read(sheet.tree, [query for queries in tasks.values() for query in queries], desk, rules)
    lines += told(replace(answers, empty=()), desk.classes, _WAY_OUT)
    if answers.empty:
        lines.append(_empty(answers, desk))
    seen.left = [*_open(answers, desk), *lines]
    others = [replace(answer, annotator=sheet.who[answer.query_id]) for answer in answers.annotations]
    return [*skipped, *others], lines


def _gather(
    link: Link,
    task: int,
    queries: Sequence[Query],
    done: Sequence[Mapping[str, Any]],
    desk: Desk,
    how: How,
    seen: Seen,
    sheet: _Sheet,
) -> None:
    """Add the frames of a task's completed jobs that answer open queries."""
    frames, gone = frames_of(link, task) or ([], set())
    by_name = {frame["name"]: number for number, frame in enumerate(frames)}
    for query in queries:
        id = query.sample_id
        number = by_name.get(frame_name(desk.samples[id], how))
        if number is None:
            raise _lost(link, task, id)
        job = next((job for job in done if job["start_frame"] <= number <= job["stop_frame"]), None)
        if job is None:
            continue
        sheet.who[query.id] = str((job.get("assignee") or {}).get("username") or "cvat")
        size, shown = desk.samples[id].size, (frames[number].get("width"), frames[number].get("height"))
        if number in gone:
            sheet.deleted.append(query)
        elif min(size) > 0 and shown != size:
            sheet.lines.append(
                f"{id}: expected {size[0]} x {size[1]} pixels as in the run, CVAT has {shown[0]} x {shown[1]}; it "
                "stays open"
            )
        else:
            about = {"name": id, "width": str(shown[0]), "height": str(shown[1])}
            sheet.read.add(int(job["id"]))
            _fill(ET.SubElement(sheet.tree, "image", about), number, _content(link, job, seen), desk.task, sheet)


def _read(tree: ET.Element, asked: Sequence[Query], desk: Desk, rules: Rules) -> Answers:
    with tempfile.TemporaryDirectory(prefix="labelwise-") as folder:
        file = Path(folder) / "annotations.xml"
        ET.ElementTree(tree).write(file, encoding="utf-8", xml_declaration=True)
        return read_answers(
            file,
            Asked(asked, desk.samples, desk.classes, desk.task, ever={query.sample_id for query in asked}),
            format="cvat_xml",
            new_classes=rules.new_classes,
            blank=rules.blank,
            who="cvat",
            masks=desk.folder / f"{asked[0].round:03d}" / "masks",
        )


def _empty(answers: Answers, desk: Desk) -> str:
    what = {"classify": "no tag", "detect": "no box", "segment": "nothing drawn"}[desk.task]
    more = "; annotator.blank=answer takes that as the answer" if desk.task == "detect" else ""
    return f"{len(answers.empty):,} images of completed jobs have {what} and stay open: {listed(answers.empty)}{more}"


def _open(answers: Answers, desk: Desk) -> list[str]:
    """Why images of completed jobs stay open, in one line."""
    half = [id for id, why in answers.open.items() if why == HALF]
    stay = sorted({*answers.empty, *answers.open})
    if not stay:
        return []
    first = next((p.message for p in answers.problems if p.id in stay), "")
    unknown = next(iter(answers.unknown_classes), None)
    if unknown is not None:
        first = f"label {unknown!r} is no class of the run: use another there, or {_WAY_OUT}"
    if not first and answers.empty:
        return [_empty(answers, desk)]
    what = f"{len(stay):,} images of completed jobs stay open"
    return [f"{what}, e.g. {first}" if first else f"{what}: {listed(half or stay)}"]


def _jobs(link: Link, task: int, images: int) -> list[dict[str, Any]]:
    """The jobs in which people annotate a task; not those that only check or repeat others."""
    jobs = list(link.pages(lambda api: api.jobs_api.list_endpoint, f"looking at task #{task}", task_id=task))
    if not jobs and frames_of(link, task) is None:
        raise ServerError(
            f"CVAT at {link.url}: task #{task}, which asks {images:,} open images, is gone; remove cvat.json in the "
            "round's folder and run again to ask them anew"
        )
    return [job for job in jobs if text_of(job.get("type") or "annotation") == "annotation"]


def _lost(link: Link, task: int, id: str) -> ServerError:
    return ServerError(
        f"CVAT at {link.url}: task #{task} no longer holds {id}; remove cvat.json in the round's folder and run again "
        "to ask it anew"
    )


def _is_done(job: Mapping[str, Any], stage: Stage) -> bool:
    """Completed, at this stage or a later one."""
    found = text_of(job.get("stage") or "annotation")
    far = _STAGES.index(found) if found in _STAGES else 0
    return text_of(job.get("state")) == "completed" and far >= _STAGES.index(stage)


def _content(link: Link, job: Mapping[str, Any], seen: Seen) -> Mapping[str, Any]:
    """What is drawn in a job, read once as long as nobody changes it."""
    key = int(job["id"]), str(job.get("updated_date"))
    if key not in seen.content:
        for old in [other for other in seen.content if other[0] == key[0]]:
            del seen.content[old]
        seen.content[key] = link.get(
            lambda api: api.jobs_api.retrieve_annotations_endpoint, f"reading job #{job['id']}", id=job["id"]
        )
    return seen.content[key]


def _class_names(link: Link, project: int, classes: Sequence[str]) -> dict[int, str]:
    """The class of each label by its number; a label that is no class keeps its own name."""
    by_label = {label: name for name, label in label_names(classes).items()}
    return {label["id"]: by_label.get(label["name"], label["name"]) for label in labels_of(link, project)}


def _fill(entry: ET.Element, number: int, content: Mapping[str, Any], task: str, sheet: _Sheet) -> None:
    """Write a frame's tags and shapes as CVAT's XML has them."""
    names, lines = sheet.names, sheet.lines
    for tag in content.get("tags") or ():
        if tag["frame"] == number:
            label = names.get(tag["label_id"], f"label {tag['label_id']}")
            ET.SubElement(entry, "tag", {"label": label, "source": text_of(tag.get("source") or "manual")})
            if task != "classify" and label != SKIP_TAG:
                lines.append(f"{entry.get('name')}: the tag {label!r} was not read: the task asks for shapes")
    shapes = [shape for shape in content.get("shapes") or () if shape["frame"] == number]
    # A track is for videos: what it says of the frames between its own is not known here.
    shapes += [
        {"type": "skeleton", "label_id": track["label_id"], "points": []}
        for track in content.get("tracks") or ()
        if any(shape["frame"] <= number for shape in track.get("shapes") or ())
    ]
    for shape in shapes:
        label = names.get(shape["label_id"], f"label {shape['label_id']}")
        if task == "classify":
            lines.append(
                f"{entry.get('name')}: a {text_of(shape['type'])} {label!r} was not read: the task asks for tags"
            )
            continue
        try:
            entry.append(element_of({**shape, "type": text_of(shape["type"])}, label))
        except ValueError:
            entry.append(ET.Element(OTHERS[0], {"label": label}))
