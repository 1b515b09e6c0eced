"""A small CVAT server on 127.0.0.1 for tests: what cvat-sdk calls, people who work in it, and faults on demand."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image, ImageOps

TOKEN = "fake-token-1"
SHAPES = {"rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"}


class Refused(Exception):
    """An answer that is not 200: its status and body."""

    def __init__(self, status: int, body: Any = "") -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match: a status, or one of

    drop (the connection breaks before the work is done), drop_after (after), half (in the middle of the answer), hang
    (no answer in time, the work done), html (a page instead of JSON).
    """

    kind: str
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    after: int = 0  # requests that match before it begins


@dataclass
class FakeCvat:
    """The server's state. All of it is changed under one lock, as in one transaction."""

    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    passwords: dict[str, str] = field(default_factory=lambda: {"ann": "pass-word-1", "bob": "pass-word-2"})
    share: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    preparing: int = 1  # looks at a request before it is finished
    page: int = 5  # entries a page at most
    hang: float = 1.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    labels: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        server = self

        class Handler(_Handler):
            fake = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def next(self) -> int:
        """A number that was never given."""
        self._number += 1
        return self._number

    # What people do.

    def label(self, name: str) -> int:
        """The number of a label."""
        return next(id for id, label in self.labels.items() if label["name"] == name)

    def frames(self) -> list[tuple[int, int, str]]:
        """Task, frame number and name of all images."""
        return [(t["id"], n, f["name"]) for t in self.tasks.values() for n, f in enumerate(t["frames"])]

    def draw(self, task: int, frame: int, label: str, points: Any = None, **more: Any) -> None:
        """Add a shape, or without points a tag, as a person in the page does."""
        kind = "tags" if points is None else "shapes"
        about = {"id": self.next(), "frame": frame, "label_id": self.label(label), "source": "manual", "attributes": []}
        if points is not None:
            about |= {"type": "rectangle", "points": list(points), "rotation": 0.0, "z_order": 0, "occluded": False}
        with self.lock:
            self.tasks[task]["annotations"][kind].append({**about, **more})
            self._touch(task)

    def clear(self, task: int, frame: int) -> None:
        """Delete all that is in a frame."""
        with self.lock:
            content = self.tasks[task]["annotations"]
            for kind in content:
                content[kind] = [entry for entry in content[kind] if entry["frame"] != frame]
            self._touch(task)

    def complete(self, *tasks: int, stage: str = "annotation", assignee: str | None = None) -> None:
        """Set all jobs (of these tasks) to completed."""
        with self.lock:
            for job in self.jobs.values():
                if not tasks or job["task_id"] in tasks:
                    job |= {"state": "completed", "stage": stage, "updated_date": self._now()}
                    if assignee:
                        job["assignee"] = {"id": 1, "username": assignee}

    def _touch(self, task: int) -> None:
        for job in self.jobs.values():
            if job["task_id"] == task:
                job["updated_date"] = self._now()

    def _now(self) -> str:
        return f"2026-01-01T00:00:00.{self.next():06d}Z"

    # What the server does.

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> tuple[int, Any]:
        """Status and content of an answer."""
        if path == "/api/auth/login":
            given = json.loads(body)
            if self.passwords.get(given["username"]) != given["password"]:
                raise Refused(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
            key = f"session-{self.next()}"
            self.sessions[key] = given["username"]
            return 200, {"key": key}
        self._allowed(headers)
        org = headers.get("X-Organization") or ""
        for pattern, handle in self._routes():
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return handle(*map(int, found.groups()), query=query, headers=headers, body=body, org=org)
        raise Refused(404, {"detail": "Not found."})

    def _allowed(self, headers: Any) -> None:
        bearer = (headers.get("Authorization") or "").removeprefix("Bearer ")
        session = re.search(r"sessionid=([\w-]+)", headers.get("Cookie") or "")
        if bearer in self.tokens or (session and session.group(1) in self.sessions):
            return
        raise Refused(401, {"detail": "Authentication credentials were not provided."})

    def _routes(self) -> list[tuple[str, Any]]:
        return [
            (r"GET /api/projects", self._list_projects),
            (r"POST /api/projects", self._make_project),
            (r"PATCH /api/projects/(\d+)", self._change_project),
            (r"GET /api/labels", self._list_labels),
            (r"GET /api/users", self._list_users),
            (r"GET /api/tasks", self._list_tasks),
            (r"POST /api/tasks", self._make_task),
            (r"GET /api/tasks/(\d+)", self._get_task),
            (r"DELETE /api/tasks/(\d+)", self._remove_task),
            (r"POST /api/tasks/(\d+)/data/", self._data),
            (r"GET /api/tasks/(\d+)/data/meta", self._meta),
            (r"GET /api/tasks/(\d+)/annotations/?", self._task_annotations),
            (r"PATCH /api/tasks/(\d+)/annotations/?", self._add_annotations),
            (r"GET /api/jobs", self._list_jobs),
            (r"PATCH /api/jobs/(\d+)", self._change_job),
            (r"GET /api/jobs/(\d+)/annotations/?", self._job_annotations),
            (r"GET /api/requests", self._list_requests),
        ]

    def _paged(self, entries: list[dict[str, Any]], query: dict[str, str]) -> tuple[int, Any]:
        size, page = min(int(query.get("page_size", 10)), self.page), int(query.get("page", 1))
        part = entries[(page - 1) * size : page * size]
        if page > 1 and not part:
            raise Refused(404, {"detail": "Invalid page."})
        more = f"{self.url}/next" if page * size < len(entries) else None
        return 200, {"count": len(entries), "next": more, "previous": None, "results": part}

    def _list_projects(self, *, query: dict[str, str], org: str, **_: Any) -> tuple[int, Any]:
        found = [p for p in self.projects.values() if p["org"] == org and query.get("name", p["name"]) == p["name"]]
        return self._paged(found, query)

    def _make_project(self, *, body: bytes, org: str, **_: Any) -> tuple[int, Any]:
        given = json.loads(body)
        id = self.next()
        self.projects[id] = {"id": id, "name": given["name"][:256], "org": org}
        self._add_labels(id, given["labels"])
        return 201, self.projects[id]

    def _change_project(self, id: int, *, body: bytes, **_: Any) -> tuple[int, Any]:
        if id not in self.projects:
            raise Refused(404, {"detail": "Not found."})
        self._add_labels(id, json.loads(body)["labels"])
        return 200, self.projects[id]

    def _add_labels(self, project: int, labels: list[dict[str, Any]]) -> None:
        names = [label["name"] for label in self.labels.values() if label["project_id"] == project]
        for label in labels:
            name = label["name"].strip()[:64]
            if name in names or not name:
                raise Refused(400, {"labels": [f"All label names must be unique, found {name!r}"]})
            id = self.next()
            names.append(name)
            self.labels[id] = {"id": id, "name": name, "type": label.get("type", "any"), "project_id": project}

    def _list_labels(self, *, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        found = [label for label in self.labels.values() if str(label["project_id"]) == query.get("project_id")]
        return self._paged(found, query)

    def _list_users(self, *, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        users = [{"id": i, "username": name} for i, name in enumerate(self.passwords, start=100)]
        return self._paged([u for u in users if query.get("search", "") in u["username"]], query)

    def _shown(self, task: dict[str, Any]) -> dict[str, Any]:
        about = {key: task[key] for key in ("id", "name", "project_id", "segment_size")}
        return {**about, "size": len(task["frames"])} if task["frames"] else about

    def _list_tasks(self, *, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        found = [
            self._shown(t)
            for t in self.tasks.values()
            if str(t["project_id"]) == query.get("project_id") and query.get("name", t["name"]) == t["name"]
        ]
        return self._paged(found, query)

    def _make_task(self, *, body: bytes, **_: Any) -> tuple[int, Any]:
        given = json.loads(body)
        if given["project_id"] not in self.projects:
            raise Refused(400, {"project_id": ["no such project"]})
        id = self.next()
        self.tasks[id] = {
            "id": id,
            "name": given["name"][:256],
            "project_id": given["project_id"],
            "segment_size": given["segment_size"],
            "frames": [],
            "files": {},
            "deleted": [],
            "annotations": {"tags": [], "shapes": [], "tracks": []},
        }
        return 201, self._shown(self.tasks[id])

    def _task(self, id: int) -> dict[str, Any]:
        if id not in self.tasks:
            raise Refused(404, {"detail": "No Task matches the given query."})
        return self.tasks[id]

    def _get_task(self, id: int, **_: Any) -> tuple[int, Any]:
        return 200, self._shown(self._task(id))

    def _remove_task(self, id: int, **_: Any) -> tuple[int, Any]:
        del self.tasks[self._task(id)["id"]]
        self.jobs = {n: job for n, job in self.jobs.items() if job["task_id"] != id}
        self.removed.append(id)
        return 204, None

    def _data(self, id: int, *, headers: Any, body: bytes, **_: Any) -> tuple[int, Any]:
        task = self._task(id)
        if task["frames"] or any(r["task"] == id and r["status"] != "failed" for r in self.running.values()):
            raise Refused(400, "Adding more data is not supported")
        if "Upload-Start" in headers:
            return 202, None
        if "Upload-Multiple" in headers:
            for name, content in _files(headers["Content-Type"], body):
                # As the real server does: what comes again is appended.
                task["files"][name] = task["files"].get(name, b"") + content
            return 200, None
        given = json.loads(body)
        id_ = f"action=create&target=task&id={id}"
        request = {"id": id_, "task": id, "given": given, "status": "queued", "looks": 0, "message": ""}
        self.running[id_] = {**request, "created_date": self._now()}
        return 202, {"rq_id": id_}

    def _list_requests(self, *, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        for request in self.running.values():
            self._work(request)
        kept = ("id", "status", "message", "created_date")
        found = [{key: r[key] for key in kept} for r in self.running.values() if str(r["task"]) == query["task_id"]]
        return self._paged(found, query)

    def _work(self, request: dict[str, Any]) -> None:
        """Prepare a task's images, after some looks."""
        request["looks"] += 1
        if request["status"] not in ("queued", "started") or request["task"] not in self.tasks:
            return
        request["status"] = "started"
        if request["looks"] <= self.preparing:
            return
        task, given = self.tasks[request["task"]], request["given"]
        files = {name: self.share.get(name) for name in given.get("server_files", ())} or task["files"]
        order = given.get("upload_file_order") or given.get("server_files") or sorted(files)
        frames = []
        try:
            if set(order) != set(files):
                raise ValueError("Uploaded files do not match the 'upload_file_order' field contents.")
            for name in order:
                if files[name] is None:
                    raise ValueError(f"No such file or directory: {name}")
                with Image.open(io.BytesIO(files[name])) as picture:
                    width, height = ImageOps.exif_transpose(picture).size
                frames.append({"name": name, "width": width, "height": height, "related_files": 0})
        except Exception as error:
            request |= {"status": "failed", "message": str(error)}
            return
        task["frames"], request["status"] = frames, "finished"
        size = task["segment_size"] or len(frames)
        for start in range(0, len(frames), size):
            id = self.next()
            about = {"start_frame": start, "stop_frame": min(start + size, len(frames)) - 1, "type": "annotation"}
            state = {"state": "new", "stage": "annotation", "assignee": None, "updated_date": self._now()}
            self.jobs[id] = {"id": id, "task_id": task["id"], **about, **state}

    def _meta(self, id: int, **_: Any) -> tuple[int, Any]:
        task = self._task(id)
        return 200, {"size": len(task["frames"]), "frames": task["frames"], "deleted_frames": task["deleted"]}

    def _task_annotations(self, id: int, **_: Any) -> tuple[int, Any]:
        return 200, {"version": 0, **self._task(id)["annotations"]}

    def _add_annotations(self, id: int, *, query: dict[str, str], body: bytes, **_: Any) -> tuple[int, Any]:
        task, given = self._task(id), json.loads(body)
        if query.get("action") != "create":
            raise Refused(400, "action")
        made: dict[str, Any] = {"tags": [], "shapes": []}
        for kind in made:
            for entry in given[kind]:
                label = self.labels.get(entry["label_id"])
                wanted = entry["type"] if kind == "shapes" else "tag"
                if label is None or label["type"] not in ("any", wanted) or entry["frame"] >= len(task["frames"]):
                    raise Refused(400, [f"label_id {entry['label_id']!r} is not found"])
                made[kind].append({"id": self.next(), **entry})
        for kind, entries in made.items():
            task["annotations"][kind] += entries
        self._touch(id)
        return 200, {"version": 0, **made, "tracks": []}

    def _list_jobs(self, *, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        return self._paged([j for j in self.jobs.values() if str(j["task_id"]) == query["task_id"]], query)

    def _change_job(self, id: int, *, body: bytes, **_: Any) -> tuple[int, Any]:
        given = json.loads(body)
        name = list(self.passwords)[given["assignee"] - 100]
        self.jobs[id]["assignee"] = {"id": given["assignee"], "username": name}
        return 200, self.jobs[id]

    def _job_annotations(self, id: int, **_: Any) -> tuple[int, Any]:
        job = self.jobs[id]
        content = self.tasks[job["task_id"]]["annotations"]
        inside = range(job["start_frame"], job["stop_frame"] + 1)
        kept = {kind: [e for e in entries if e["frame"] in inside] for kind, entries in content.items()}
        return 200, {"version": 0, **kept}


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, breaks what a fault says, and writes the answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    fake: FakeCvat

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, OSError):
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.fake.lock:
            self.fake.requests.append((self.command, parts.path))
            self.fake.bodies.append(body)
            fault = self._fault(parts.path)
            if fault == "drop":
                return self._break()
            if fault.isdigit():
                return self._send(int(fault), {"detail": "made to fail"})
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            try:
                status, content = self.fake.answer(self.command, parts.path, query, self.headers, body)
            except Refused as refused:
                status, content = refused.status, refused.body
        if fault == "drop_after":
            return self._break()
        if fault == "hang":
            time.sleep(self.fake.hang)
            return self._break()
        return self._send(status, content, half=fault == "half", page=fault == "html")

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def _fault(self, path: str) -> str:
        for fault in self.fake.faults:
            if fault.times and re.fullmatch(fault.method, self.command) and re.fullmatch(fault.path, path):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault.kind
        return ""

    def _send(self, status: int, content: Any, *, half: bool = False, page: bool = False) -> None:
        text = b"" if content is None else json.dumps(content).encode()
        text = b"<html><body>please log in</body></html>" if page else text
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/vnd.cvat+json")
        self.send_header("Content-Length", str(len(text)))
        if self.path == "/api/auth/login" and status == 200:
            self.send_header("Set-Cookie", f"sessionid={content['key']}; Path=/")
            self.send_header("Set-Cookie", "csrftoken=abc; Path=/")
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if half else text)
        self.wfile.flush()
        if half:
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _files(kind: str, body: bytes) -> list[tuple[str, bytes]]:
    """The files of a form: base names and contents."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    return [
        (part.get_filename().replace("\\", "/").rpartition("/")[2], part.get_payload(decode=True))
        for part in message.iter_parts()
        if part.get_filename()
    ]


def mask_points(area: np.ndarray) -> list[float]:
    """The points of CVAT's mask, made slowly: runs of the box row by row, then its corners."""
    rows, columns = np.nonzero(area)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    runs, last = [0], False
    for value in area[top : bottom + 1, left : right + 1].ravel().tolist():
        if value != last:
            runs.append(0)
            last = value
        runs[-1] += 1
    return [float(v) for v in [*runs, left, top, right, bottom]]
