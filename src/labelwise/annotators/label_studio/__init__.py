"""Asking in Label Studio: a project for the run, a task for each query, proposals drawn in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from labelwise.annotators import Desk
from labelwise.annotators.label_studio import delivery
from labelwise.annotators.label_studio.interface import Kind, kind_of
from labelwise.annotators.label_studio.results import Reading, UnknownLabel, Unusable, proposed, target_of
from labelwise.annotators.label_studio.server import (
    VERSION,
    Studio,
    connected,
    ensured_project,
    find_project,
    key_of,
    people,
    tasks_of,
)
from labelwise.annotators.remote import Patience, Server, checked_url, credential, read_notes, write_notes
from labelwise.catalog import suggest
from labelwise.data.listing import shown
from labelwise.errors import ConfigError
from labelwise.reasons import sentence
from labelwise.records import Annotation, Query

_TOKEN, _URL = "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_URL"
_CREDENTIALS = f"{_TOKEN} (Account & Settings; legacy tokens may be switched off in the organisation)"


@dataclass(frozen=True)
class LabelStudio:
    """Ask in a Label Studio server at ``url`` (or LABEL_STUDIO_URL), with the token in LABEL_STUDIO_API_KEY.

    ``images`` says how pictures get there: "upload", "local" (it serves ``document_root``, in which they lie) or "url"
    (``images_url`` and their ids). A task is finished with ``overlap`` annotations, of which the one set as ground
    truth ``counts``, else the "latest" or "first". With ``new_classes`` a label that the run does not know becomes a
    class; without, its task stays open and is reported. ``background`` is the class of what is left unpainted in a
    mask. Without ``proposals`` people see no class that they did not choose. ``title`` is the project's, the run's name
    if not said. A run that waits looks every ``poll`` seconds; a call may take ``timeout`` seconds and is tried again
    for ``patience`` seconds in all. Nothing is removed there.
    """

    url: str = ""
    images: Literal["upload", "local", "url"] = "upload"
    document_root: Path | None = None
    images_url: str = ""
    overlap: Annotated[int, Field(ge=1)] = 1
    counts: Literal["latest", "first"] = "latest"
    new_classes: bool = False
    background: str = ""
    title: str = ""
    proposals: bool = True
    poll: Annotated[float, Field(gt=0)] = 30.0
    timeout: Annotated[float, Field(gt=0)] = 60.0
    patience: Annotated[float, Field(ge=0)] = 90.0
    _wrong: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _told: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _sent: set[tuple[str, Path, int]] = field(default_factory=set, init=False, repr=False, compare=False)

    simulated = False
    tasks = frozenset({"classify", "detect", "segment"})

    def __post_init__(self) -> None:
        if self.url:
            checked_url(self.url, "annotator.url")
        for images, name in (("local", "document_root"), ("url", "images_url")):
            if self.images == images and not getattr(self, name):
                raise ConfigError(f"the key annotator.{name} is missing: annotator.images={images} needs it")

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Make a task of each query that has none. Raises ServerAway and ServerError."""
        # What this process has asked stands there: a run that waits comes here at every look.
        sent = {(query.id, desk.folder, len(desk.classes)) for query in queries}
        if sent <= self._sent:
            return
        key = key_of(_notes(desk))
        with self._studio() as studio:
            for kind, asked in _by_kind(queries, desk).items():
                notes = read_notes(_notes(desk))
                title = self.title or f"{desk.folder.absolute().parent.name} ({kind})"
                project = ensured_project(
                    studio, f"{key}-{kind}", notes.get(kind), title, kind, desk.classes, self.overlap
                )
                write_notes(_notes(desk), {**notes, "url": studio.server.url, kind: int(project["id"])})
                for round in sorted({query.round for query in asked}):
                    self._ask(studio, int(project["id"]), kind, [q for q in asked if q.round == round], desk)
        self._sent.update(sent)

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """What is finished now; what cannot be used stays open, and `advice` tells of it."""
        self._wrong.clear()
        if not open_queries:
            return []
        found: dict[str, Annotation] = {}
        with self._studio() as studio:
            names: Mapping[int, str] | None = None
            for kind, asked in _by_kind(open_queries, desk).items():
                tasks = self._finished(studio, kind, asked, desk)
                for query in asked:
                    if not tasks.get(query.id):
                        continue
                    names = people(studio) if names is None else names
                    answer = self._answer(tasks[query.id], query, kind, desk, names)
                    if answer is not None:
                        found[query.id] = answer
        return [found[query.id] for query in open_queries if query.id in found]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Where to label, and what is wrong with answers that are there."""
        notes = read_notes(_notes(desk))
        projects = [notes[kind] for kind in _by_kind(open_queries, desk) if kind in notes]
        places = " and ".join(f"{notes.get('url', '')}/projects/{project}" for project in projects)
        advice = f"label the tasks in Label Studio, {places}, then run again"
        told = [self._wrong[query.id] for query in open_queries if query.id in self._wrong]
        others = f" (and {len(told) - 1:,} others)" if len(told) > 1 else ""
        return advice + (f"; {told[0]}{others}" if told else "")

    def remarks(self) -> list[str]:
        """Why answers that are there cannot be used, each line once."""
        lines = [line for line in self._wrong.values() if line not in self._told]
        self._told.update(lines)
        return lines

    def _studio(self) -> AbstractContextManager[Studio]:
        token = credential(_TOKEN)
        if token is None:
            raise ConfigError(
                f"expected Label Studio's access token in {_TOKEN} (environment or .env), found none; copy it from "
                "Account & Settings there"
            )
        server = self._server(token)
        return connected(server, token, self.timeout, Patience(total=self.patience))

    def _server(self, token: str = "") -> Server:
        url = self.url or credential(_URL) or ""
        if not url:
            raise ConfigError(f"the key annotator.url is missing: give Label Studio's address, there or in {_URL}")
        return Server("Label Studio", checked_url(url, "annotator.url"), _CREDENTIALS, (token,) if token else ())

    def _ask(self, studio: Studio, project: int, kind: Kind, queries: Sequence[Query], desk: Desk) -> None:
        by_id = {query.id: query if self.proposals else replace(query, proposal=None) for query in queries}
        urls: dict[str, str] = {}
        round = queries[0].round

        def find() -> Mapping[str, Any]:
            return {t["data"].get("labelwise"): t for t in reversed(tasks_of(studio, project, round, full=False))}

        def make(ids: Sequence[str]) -> None:
            rows = [_task(by_id[id], urls[by_id[id].sample_id], kind, desk) for id in ids]
            studio.once("POST", f"api/projects/{project}/import", json=rows)

        known = studio.ask_for(find, "listing the tasks")
        new = {query.sample_id: desk.samples[query.sample_id] for query in queries if query.id not in known}
        if new:
            urls |= self._delivered(studio, project, list(new.values()))
            studio.fill(by_id, find, make, "making tasks")

    def _delivered(self, studio: Studio, project: int, samples: Sequence[Any]) -> dict[str, str]:
        if self.images == "url":
            return delivery.by_address(samples, self.images_url)
        if self.images == "local":
            assert self.document_root is not None
            return delivery.from_folder(studio, project, samples, self.document_root)
        return delivery.uploaded(studio, project, samples)

    def _finished(
        self, studio: Studio, kind: Kind, queries: Sequence[Query], desk: Desk
    ) -> dict[str, list[dict[str, Any]]]:
        """The annotations of each query that has as many as are wanted; also of a task that stands there twice."""
        key, hint = f"{key_of(_notes(desk))}-{kind}", read_notes(_notes(desk)).get(kind)
        project = studio.ask_for(lambda: find_project(studio, key, hint), "finding the project")
        if project is None:
            self._sent.clear()  # people deleted it: what is open is asked again
            return {}
        wanted = {query.id for query in queries}
        found: dict[str, list[dict[str, Any]]] = {}
        for round in sorted({query.round for query in queries}):
            tasks = studio.ask_for(
                partial(tasks_of, studio, int(project["id"]), round, full=True), "fetching annotations"
            )
            for task in tasks:
                if (id := task["data"].get("labelwise")) in wanted:
                    found.setdefault(id, []).extend(task.get("annotations") or [])
        return {id: given for id, given in found.items() if len(given) >= self.overlap or any(map(_truth, given))}

    def _answer(
        self, given: Sequence[Mapping[str, Any]], query: Query, kind: Kind, desk: Desk, names: Mapping[int, str]
    ) -> Annotation | None:
        chosen = _chosen(given, self.counts)
        who = chosen.get("completed_by")
        who = who.get("id") if isinstance(who, dict) else who
        name = names.get(int(who), f"user {who}") if who is not None else "label_studio"
        seconds = chosen.get("lead_time")
        took = float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0 else None
        if chosen.get("was_cancelled"):
            return Annotation(query.id, None, name, took)
        masks = desk.folder / f"{query.round:03d}" / "masks"
        reading = Reading(desk.classes, self.new_classes, self.background, masks)
        size = desk.samples[query.sample_id].size
        try:
            target = target_of(chosen.get("result") or [], query, kind, size, reading)
        except UnknownLabel as error:
            way_out = "mend it there, or set annotator.new_classes=true"
            text = f"{error}: {suggest(error.label, desk.classes)}; {way_out}"
            self._wrong[query.id] = f"{shown(query.sample_id)} stays open: {text}"
            return None
        except Unusable as error:
            self._wrong[query.id] = f"{shown(query.sample_id)} stays open: {error}"
            return None
        return Annotation(query.id, target, name, took)


def _notes(desk: Desk) -> Path:
    return desk.folder / "label_studio.json"


def _by_kind(queries: Sequence[Query], desk: Desk) -> dict[Kind, list[Query]]:
    found: dict[Kind, list[Query]] = {}
    for query in queries:
        found.setdefault(kind_of(query, desk.task), []).append(query)
    return found


def _task(query: Query, url: str, kind: Kind, desk: Desk) -> dict[str, Any]:
    """A task with its proposal, as it is imported."""
    reason = query.reason
    data: dict[str, Any] = {"image": url, "labelwise": query.id, "round": query.round, "sample": query.sample_id}
    data |= {"reason": sentence(reason)} | ({"score": reason["score"]} if "score" in reason else {})
    results = proposed(query, kind, desk.samples[query.sample_id].size, desk.classes)
    if not results:
        return {"data": data}
    sure = {"score": reason["probability"]} if "probability" in reason else {}
    return {"data": data, "predictions": [{"model_version": VERSION, "result": results, **sure}]}


def _truth(annotation: Mapping[str, Any]) -> bool:
    return bool(annotation.get("ground_truth")) and not annotation.get("was_cancelled")


def _chosen(given: Sequence[Mapping[str, Any]], counts: Literal["latest", "first"]) -> Mapping[str, Any]:
    """The annotation that counts: one set as ground truth before others, a label before a skip, then by time."""

    def when(annotation: Mapping[str, Any]) -> tuple[str, int]:
        time = annotation.get("created_at") if counts == "first" else annotation.get("updated_at")
        return (time or annotation.get("created_at") or "", int(annotation["id"]))

    labelled = [a for a in given if not a.get("was_cancelled")] or list(given)
    best = [a for a in labelled if _truth(a)] or labelled
    return min(best, key=when) if counts == "first" else max(best, key=when)
