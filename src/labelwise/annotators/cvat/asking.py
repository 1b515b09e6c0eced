"""Asking in CVAT: a project and its labels, tasks found by their names or made, their images and proposals."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from labelwise.annotators import Desk
from labelwise.annotators.answer_formats import SKIP_TAG
from labelwise.annotators.cvat.link import Link
from labelwise.annotators.remote import status_of
from labelwise.data.areas import cvat_runs
from labelwise.data.masks import read_mask
from labelwise.errors import ServerAway, ServerError
from labelwise.records import Query, Sample, Target

Images = Literal["upload", "share", "cloud"]
BATCH = 10 << 20  # bytes of images in one request, which must be sent before its timeout
SHAPES = 2000  # proposals in one request, about
_LONGEST = 64  # letters of a label's name that CVAT keeps
_PREPARING = 1800.0  # seconds that CVAT may take to prepare the images of a task
LOOK = 0.2  # seconds between the first two looks at whether it has; later ones are further apart


@dataclass(frozen=True, slots=True)
class Plan:
    """A task: its name, by which it is found again, and the queries that it asks, a frame each."""

    name: str
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class How:
    """How tasks are made: see the options of `labelwise.annotators.cvat.Cvat`."""

    images: Images
    folder: str
    cloud: int | None
    job_size: int
    quality: int


def plans(queries: Sequence[Query], run: str, size: int | None) -> list[Plan]:
    """The tasks for queries of one round, ``size`` images each; names tell the run, the round and what is asked."""
    found = []
    for start in range(0, len(queries), size or len(queries) or 1):
        part = tuple(queries[start : start + (size or len(queries))])
        digest = hashlib.blake2b("\n".join(q.id + q.sample_id for q in part).encode(), digest_size=5).hexdigest()
        found.append(Plan(f"{round_name(run, part[0].round)}{digest}]", part))
    return found


def round_name(run: str, round: int) -> str:
    """What the names of a round's tasks begin with."""
    return f"{run[:160]} round {round:03d} ["


def frame_name(sample: Sample, how: How) -> str:
    """The name of an image in CVAT: its place in the share or bucket, or a plain file name of its own.

    The file name ends with a digest of id and content, so that no two images share it, in this run or another.
    """
    if how.images != "upload":
        return f"{how.folder.strip('/')}/{sample.id}".lstrip("/")
    path = PurePosixPath(sample.id)
    digest = hashlib.blake2b(f"{sample.id}\n{sample.content}".encode(), digest_size=6).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", str(path.with_suffix("")))[-80:].strip("_-")
    return f"{stem or 'image'}-{digest}{path.suffix.lower()}"


def label_names(classes: Iterable[str]) -> dict[str, str]:
    """The label of each class: its name, cut (with a digest) where CVAT would cut it silently."""
    labels: dict[str, str] = {}
    for name in classes:
        label = " ".join(name.split())
        if len(label) > _LONGEST or label in labels.values() or label == SKIP_TAG != name:
            label = f"{label[: _LONGEST - 9]}~{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
        labels[name] = label
    return labels


def find_project(link: Link, name: str) -> int | None:
    """The project of this name, or of this number (``#12``). Raises ServerError where several have the name."""
    if re.fullmatch(r"#\d+", name):
        return int(name[1:])
    found = [p["id"] for p in link.pages(lambda api: api.projects_api.list_endpoint, name=name) if p["name"] == name]
    if len(found) > 1:
        numbers = ", ".join(f"#{id}" for id in sorted(found))
        raise ServerError(
            f"CVAT at {link.url}: expected one project called {name!r}, found {numbers}; rename one, or give "
            f"annotator.project='#{min(found)}'"
        )
    return found[0] if found else None


def project_with(link: Link, name: str, classes: Sequence[str], kind: str) -> int:
    """The project, made if there is none, with a label for each class and one to skip an image.

    Labels are added, never removed or changed. Raises ServerError for one of another type.
    """
    wanted = dict.fromkeys(label_names(classes).values(), kind)
    if SKIP_TAG not in classes:
        wanted[SKIP_TAG] = "tag"
    specs = [{"name": label, "type": type, "attributes": []} for label, type in wanted.items()]

    def make() -> int:
        found = find_project(link, name)
        if found is not None:
            return found
        spec = {"name": name, "labels": specs}
        return int(link.once(lambda api: api.projects_api.create_endpoint, project_write_request=spec)["id"])

    project = link.ask(make, "making the project")
    present = {label["name"]: label["type"] for label in labels_of(link, project)}
    for label, type in wanted.items():
        if present.get(label, "any") not in ("any", type):
            raise ServerError(
                f"CVAT at {link.url}: expected the label {label!r} of project #{project} for {type} or any, found it "
                f"for {present[label]}; change it there, or give annotator.project=NAME for another project"
            )

    def add() -> None:
        there = {label["name"] for label in labels_of(link, project)}
        missing = [spec for spec in specs if spec["name"] not in there]
        if missing:
            change = {"labels": missing}
            link.once(
                lambda api: api.projects_api.partial_update_endpoint,
                id=project,
                patched_project_write_request=change,
            )

    if wanted.keys() - present.keys():
        link.ask(add, "adding labels to the project")
    return project


def labels_of(link: Link, project: int) -> list[dict[str, Any]]:
    """The labels of a project: id, name, type."""
    return list(link.pages(lambda api: api.labels_api.list_endpoint, "reading the labels", project_id=project))


def tasks_of(link: Link, project: int, run: str, round: int) -> Iterator[dict[str, Any]]:
    """The tasks of a round that hold images, the oldest first."""
    begin = round_name(run, round)
    tasks = link.pages(lambda api: api.tasks_api.list_endpoint, "looking for tasks", project_id=project)
    yield from sorted((t for t in tasks if t["name"].startswith(begin) and t.get("size")), key=lambda task: task["id"])


def make_task(link: Link, project: int, plan: Plan, desk: Desk, how: How) -> int:
    """The number of the task of a plan, with its images; made where it is not there.

    CVAT appends what is sent twice to the same file, so an upload that broke off is never continued: the task, still
    without any image and so without any answer, is removed and made anew. A task with images is never removed.
    """
    doing = f"putting {len(plan.queries):,} images into task {plan.name!r}"
    return link.ask(lambda: _make_task(link, project, plan, desk, how), doing)


def _make_task(link: Link, project: int, plan: Plan, desk: Desk, how: How) -> int:
    there = link.once_pages(lambda api: api.tasks_api.list_endpoint, project_id=project, name=plan.name)
    # A task without images has no "size" at all.
    tasks = sorted((t for t in there if t["name"] == plan.name), key=lambda t: (not t.get("size"), t["id"]))
    for task in tasks:
        if task.get("size") or _is_preparing(link, task["id"]):
            return _prepared(link, task["id"], plan)
        link.once(lambda api: api.tasks_api.destroy_endpoint, id=task["id"])
    spec = {"name": plan.name, "project_id": project, "segment_size": how.job_size, "overlap": 0}
    id = int(link.once(lambda api: api.tasks_api.create_endpoint, task_write_request=spec)["id"])
    samples = [desk.samples[query.sample_id] for query in plan.queries]
    about: dict[str, Any] = {
        "image_quality": how.quality,
        "use_zip_chunks": True,
        "use_cache": True,
        "sorting_method": "predefined",
    }
    if how.images == "upload":
        _upload(link, id, samples, how, about)
    else:
        about["server_files"] = [frame_name(sample, how) for sample in samples]
        if how.images == "cloud":
            about["cloud_storage_id"] = how.cloud
        link.once(lambda api: api.tasks_api.create_data_endpoint, id=id, data_request=about)
    return _prepared(link, id, plan)


def _upload(link: Link, task: int, samples: Sequence[Sample], how: How, about: Mapping[str, Any]) -> None:
    path = f"/api/tasks/{task}/data/"
    link.post(path, headers={"Upload-Start": ""}, fields={})
    for batch in _batches(samples):
        files = {f"client_files[{i}]": (frame_name(s, how), s.path.read_bytes()) for i, s in enumerate(batch)}
        link.post(
            path,
            headers={"Content-Type": "multipart/form-data", "Upload-Multiple": ""},
            fields={"image_quality": about["image_quality"], **files},
        )
    order = [frame_name(sample, how) for sample in samples]
    link.post(path, headers={"Upload-Finish": ""}, fields={**about, "upload_file_order": order})


def _batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The images in parts of a bounded number of bytes, at least one in each."""
    batch, bytes = list[Sample](), 0
    for sample in samples:
        size = Path(sample.path).stat().st_size
        if batch and bytes + size > BATCH:
            yield batch
            batch, bytes = [], 0
        batch.append(sample)
        bytes += size
    if batch:
        yield batch


def _is_preparing(link: Link, task: int) -> bool:
    return _request(link, task).get("status") in ("queued", "started", "finished")


def _request(link: Link, task: int) -> Mapping[str, Any]:
    """What CVAT says of the newest request to fill a task; nothing if it knows none."""
    found = link.once_pages(lambda api: api.requests_api.list_endpoint, task_id=task, action="create")
    newest: dict[str, Any] = max(found, key=lambda request: str(request.get("created_date")), default={})
    return {**newest, "status": _value(newest.get("status"))}


def _prepared(link: Link, task: int, plan: Plan) -> int:
    """The task, once CVAT has prepared its images."""
    until, pause = time.monotonic() + _PREPARING, LOOK
    while True:
        found = link.once(lambda api: api.tasks_api.retrieve_endpoint, id=task)
        request = _request(link, task)
        if found.get("size") and request["status"] not in ("queued", "started"):
            return task
        if request["status"] == "failed":
            why = " ".join(str(request.get("message") or "no reason given").split())[-200:]
            raise ServerError(
                f"CVAT at {link.url}: cannot prepare the images of task {plan.name!r}: {why}; mend that, then run again"
            )
        if time.monotonic() > until:
            raise ServerAway(
                f"CVAT at {link.url}: still prepares the images of task {plan.name!r}; run again later to go on"
            )
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def frames_of(link: Link, task: int) -> tuple[list[dict[str, Any]], set[int]] | None:
    """The frames of a task (name, width, height) and the numbers of those deleted; None if the task is gone."""

    def read() -> Any:
        try:
            return link.once(lambda api: api.tasks_api.retrieve_data_meta_endpoint, id=task)
        except Exception as error:
            if status_of(error) != 404:
                raise
            return None

    meta = link.ask(read, f"reading the frames of task #{task}")
    return None if meta is None else (list(meta.get("frames") or ()), set(meta.get("deleted_frames") or ()))


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
        fresh = [range(j["start_frame"], j["stop_frame"] + 1) for j in jobs if _value(j.get("state")) == "new"]
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


def assign(link: Link, task: int, name: str) -> None:
    """Give the jobs of a task that nobody has to this user. Raises ServerError if there is no such user."""
    users = link.pages(lambda api: api.users_api.list_endpoint, "looking for the assignee", search=name)
    id = next((user["id"] for user in users if user["username"] == name), None)
    if id is None:
        raise ServerError(f"CVAT at {link.url}: expected the user {name!r} (annotator.assignee), found none; mend it")
    for job in link.pages(lambda api: api.jobs_api.list_endpoint, task_id=task):
        if job.get("assignee") is None:
            link.get(
                lambda api: api.jobs_api.partial_update_endpoint,
                "assigning jobs",
                id=job["id"],
                patched_job_write_request={"assignee": id},
            )


def _value(text: Any) -> str:
    """A state of CVAT's, which is a text, or in older servers a mapping with one."""
    return str(text.get("value") if isinstance(text, Mapping) else text)
