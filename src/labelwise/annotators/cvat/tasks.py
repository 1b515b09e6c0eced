"""Tasks in CVAT: found by their names or made, with their images prepared, their frames, and whose jobs they are."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from labelwise.annotators import Desk
from labelwise.annotators.cvat.link import Link, text_of
from labelwise.annotators.remote import status_of
from labelwise.errors import ServerAway, ServerError
from labelwise.records import Query, Sample

Images = Literal["upload", "share", "cloud"]
BATCH = 10 << 20  # bytes of images in one request, which must be sent before its timeout
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
    return {**newest, "status": text_of(newest.get("status"))}


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
