"""Speaking with a Label Studio server through its SDK: one call at a time, tried again, nothing made twice."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from labelwise.annotators.label_studio.interface import Kind, completed, written
from labelwise.annotators.label_studio.library import failure, quiet, sdk
from labelwise.annotators.remote import Patience, Server, asked, read_notes, write_notes
from labelwise.errors import ServerError

V = TypeVar("V")

PAGE = 100  # tasks or projects in one answer
CHUNK = 20  # tasks or pictures that are sent at once
VERSION = "labelwise"  # the model version of all proposals: a project shows those of one
_TITLE = 50  # characters that a project's title may have


class Studio:
    """A connection to one server. ``token`` is a legacy token, or a personal access token, which the SDK refreshes."""

    def __init__(self, server: Server, token: str, timeout: float, patience: Patience) -> None:
        import httpx

        self.server, self.patience = server, patience
        self._token, self._timeout = token, timeout
        self._library = sdk()
        self._failure = failure()
        self._http = httpx.Client(timeout=timeout)
        self._client: Any = None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ask(self, method: str, path: str, doing: str, **parts: Any) -> Any:
        """What the server answers to a call that may be made again without harm."""
        return self.ask_for(lambda: self.once(method, path, **parts), doing)

    def ask_for(self, call: Callable[[], V], doing: str) -> V:
        """What a call of several parts gives; made again as a whole if it fails."""
        return asked(call, self.server, patience=self.patience, doing=doing)

    def fill(
        self,
        wanted: Iterable[str],
        find: Callable[[], Mapping[str, V]],
        make: Callable[[Sequence[str]], Any],
        doing: str,
        chunk: int = CHUNK,
    ) -> Mapping[str, V]:
        """What ``find`` finds by key, after ``make`` made those of ``wanted`` that were lacking.

        When a call fails it is not known whether the server has done its work: what is there is looked up again.
        """
        known = self.ask_for(find, doing)
        lacking = [key for key in dict.fromkeys(wanted) if key not in known]
        for start in range(0, len(lacking), chunk):
            part, tried = lacking[start : start + chunk], False

            def once(part: Sequence[str] = part) -> None:
                nonlocal tried
                there = find() if tried else {}
                tried = True
                if left := [key for key in part if key not in there]:
                    make(left)

            self.ask_for(once, doing)
        found = self.ask_for(find, doing) if lacking else known
        if lost := [key for key in lacking if key not in found]:
            raise ServerError(
                f"{self.server.tool} at {self.server.url}, {doing}: it took them, but {len(lost):,} cannot be found "
                "there; is somebody removing them? run again"
            )
        return found

    def once(self, method: str, path: str, *, absent: bool = False, **parts: Any) -> Any:
        """What the server answers to one call, not tried again; None if it is ``absent``, where that may be."""
        response = self._sent(method, path, parts)
        if response.status_code == 401:  # an access token that the server holds for expired: refreshed once
            self._client = None
            response = self._sent(method, path, parts)
        if response.status_code == 404 and absent:
            return None
        if response.status_code >= 400:
            raise self._failure(status_code=response.status_code, body=response.text)
        if response.status_code >= 300:
            raise ServerError(
                f"{self.server.tool} at {self.server.url}: it redirects to {response.headers.get('location', '?')}; "
                "set annotator.url to the address where it is"
            )
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise ServerError(
                f"{self.server.tool} at {self.server.url}: expected JSON, found something else; is it the address of "
                f"{self.server.tool}?"
            ) from None

    def _sent(self, method: str, path: str, parts: Mapping[str, Any]) -> Any:
        with quiet():
            if self._client is None:
                self._client = self._library.LabelStudio(
                    base_url=self.server.url, api_key=self._token, timeout=self._timeout, httpx_client=self._http
                )
            # The typed calls of the SDK refuse answers of servers that are newer than itself, and upload no pictures.
            return self._client._client_wrapper.httpx_client.request(path, method=method, **parts)


@contextmanager
def connected(server: Server, token: str, timeout: float, patience: Patience) -> Iterator[Studio]:
    """A connection that is closed at the end."""
    studio = Studio(server, token, timeout, patience)
    try:
        yield studio
    finally:
        studio.close()


def key_of(notes: Path) -> str:
    """The key of a run, by which its projects are found on any server; drawn and written down when first asked for."""
    known = read_notes(notes)
    if not isinstance(known.get("key"), str):
        known = {**known, "key": f"labelwise-{uuid.uuid4().hex}"}
        write_notes(notes, known)
    return str(known["key"])


def find_project(studio: Studio, key: str, hint: int | None = None) -> dict[str, Any] | None:
    """The project with this key in its description, if there is one: of several the oldest; looked for first at the
    number ``hint``. One call that fails makes it fail as a whole."""
    if hint is not None:
        project: dict[str, Any] | None = studio.once("GET", f"api/projects/{hint}/", absent=True)
        if project is not None and _has(project, key):
            return project
    found = [
        project for project in _paged(studio, "api/projects/", {"page_size": PAGE}, "results") if _has(project, key)
    ]
    return min(found, key=lambda project: int(project["id"]), default=None)


def ensured_project(
    studio: Studio, key: str, hint: int | None, title: str, kind: Kind, classes: Sequence[str], overlap: int
) -> dict[str, Any]:
    """The run's project for a kind of question: found by its key, or made; with all classes among its labels."""

    def find() -> Mapping[str, dict[str, Any]]:
        found = find_project(studio, key, hint)
        return {} if found is None else {key: found}

    def make(_: Sequence[str]) -> None:
        settings = {
            "title": title[:_TITLE],
            "description": f"Made by labelwise, which finds this project by the key in this line: {key}",
            "label_config": written(kind, classes),
            "maximum_annotations": overlap,
            "skip_queue": "IGNORE_SKIPPED",
            "enable_empty_annotation": kind != "classify",
            "show_collab_predictions": True,
            "model_version": VERSION,
        }
        studio.once("POST", "api/projects/", json=settings)

    project = studio.fill([key], find, make, "making the project")[key]
    where = f"Label Studio project {project['id']} ({studio.server.url}/projects/{project['id']})"
    changes: dict[str, Any] = {}
    if (configuration := completed(project["label_config"], kind, classes, where)) is not None:
        changes["label_config"] = configuration
    if int(project.get("maximum_annotations") or 1) < overlap:
        changes["maximum_annotations"] = overlap
    if changes:
        studio.ask("PATCH", f"api/projects/{project['id']}/", "changing the project's labels", json=changes)
    return project


def tasks_of(studio: Studio, project: int, round: int, *, full: bool) -> list[dict[str, Any]]:
    """The tasks of a round, oldest first; with annotations if ``full``. One call fails as a whole."""
    wanted = {
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:data.round", "operator": "equal", "type": "Number", "value": round}],
        },
        "ordering": ["tasks:id"],
    }
    params = {"project": project, "page_size": PAGE, "query": json.dumps(wanted)} | ({"fields": "all"} if full else {})
    return list(_paged(studio, "api/tasks/", params, "tasks"))


def people(studio: Studio) -> dict[int, str]:
    """The e-mail or name of each user by number; nothing if the token's owner may not see them."""
    try:
        found = studio.ask("GET", "api/users/", "listing the annotators")
    except ServerError:
        return {}
    users = found if isinstance(found, list) else found.get("results", [])
    return {int(user["id"]): user.get("email") or user.get("username") or f"user {user['id']}" for user in users}


def _has(project: Mapping[str, Any], key: str) -> bool:
    return key in (project.get("description") or "").split()


def _paged(studio: Studio, path: str, params: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """All rows of a list that comes in pages."""
    seen, page = 0, 1
    while True:
        found = studio.once("GET", path, params={**params, "page": page})
        rows = found[key]
        yield from rows
        seen, page = seen + len(rows), page + 1
        if not rows or seen >= int(found.get("total", found.get("count", 0))):
            return
