"""Asking people in CVAT: images and proposals go to a server, answers come back from its completed jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from labelwise.annotators import Desk
from labelwise.annotators.answers import Blank
from labelwise.annotators.cvat.collecting import Rules, Seen, Stage, collected
from labelwise.annotators.cvat.link import URL, Link, check_installed
from labelwise.annotators.cvat.projects import project_with
from labelwise.annotators.cvat.proposals import propose
from labelwise.annotators.cvat.tasks import (
    How,
    Images,
    Plan,
    assign,
    frame_name,
    frames_of,
    make_task,
    plans,
    tasks_of,
)
from labelwise.annotators.remote import Patience, checked_url, credential, read_notes, write_notes
from labelwise.errors import ConfigError, ServerError
from labelwise.records import Annotation, Query

Shape = Literal["rectangle", "polygon", "mask", "any"]
NOTES = "cvat.json"  # in a round's folder: which task asks which query
_KINDS: Mapping[str, str] = {"classify": "tag", "detect": "rectangle", "segment": "any"}


@dataclass(frozen=True)
class Cvat:
    """One project for a run, a task for a round (or for every ``task_size`` images), jobs of ``job_size`` images.

    Credentials come from the environment or ``.env``: CVAT_ACCESS_TOKEN, or CVAT_USERNAME and CVAT_PASSWORD; the
    address from ``url`` or CVAT_URL. Images are uploaded, or named where the server finds them: below ``folder`` of its
    share, or of the cloud storage number ``cloud``. An image is answered when its job is completed at ``stage`` or a
    later one; the tag "skip", or deleting the frame, skips it. Nothing that a person may have touched is removed.
    """

    url: str | None = None
    organisation: str | None = None
    project: str | None = None
    task_size: Annotated[int, Field(ge=1)] | None = None
    job_size: Annotated[int, Field(ge=1)] = 50
    images: Images = "upload"
    folder: str = ""
    cloud: int | None = None
    quality: Annotated[int, Field(ge=1, le=100)] = 80
    shape: Shape | None = None
    proposals: bool = True
    assignee: str | None = None
    stage: Stage = "annotation"
    blank: Blank = "answer"
    new_classes: bool = False
    poll: Annotated[float, Field(gt=0)] = 30.0
    timeout: Annotated[float, Field(gt=0)] = 60.0
    patience: Annotated[float, Field(ge=0)] = 90.0
    _seen: Seen = field(default_factory=Seen, init=False, repr=False, compare=False)
    _links: dict[str, Link] = field(default_factory=dict, init=False, repr=False, compare=False)
    _told: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    simulated = False
    tasks = frozenset({"classify", "detect", "segment"})
    units = frozenset({"image", "box"})

    def __post_init__(self) -> None:
        check_installed()
        if self.url is not None:
            checked_url(self.url, "annotator.url")
        if (self.images == "cloud") != (self.cloud is not None):
            raise ConfigError(
                "annotator.cloud: expected the number of a cloud storage with images=cloud, and only with it, found "
                f"images={self.images} and cloud={self.cloud}"
            )

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Make the tasks that are not there yet. Raises ServerError where the server does not take them."""
        if not queries:
            return
        file = _notes_file(queries, desk)
        notes = read_notes(file)
        asked: dict[str, int] = dict(notes.get("asked") or {})
        new = [query for query in queries if query.id not in asked]
        if not new:
            return
        _check(new, desk)
        with self._link() as link:
            project = project_with(link, self._project(desk), desk.classes, self.shape or _KINDS[desk.task])

            def keep(task: int, frames: Mapping[int, Query]) -> None:
                # What is proposed and assigned is done before it is noted: interrupted, it is looked at again.
                if self.proposals:
                    propose(link, task, project, frames, desk.classes)
                if self.assignee:
                    assign(link, task, self.assignee)
                asked.update({query.id: task for query in frames.values()})
                write_notes(file, {"url": link.url, "project": project, "asked": asked})

            for task in tasks_of(link, project, _run(desk), queries[0].round):
                if frames := self._frames(link, task["id"], new, desk):
                    keep(task["id"], frames)
            for plan in plans([q for q in new if q.id not in asked], _run(desk), self.task_size):
                task_id = make_task(link, project, plan, desk, self._how())
                frames = self._frames(link, task_id, plan.queries, desk)
                _check_frames(link, plan, frames)
                keep(task_id, frames)

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """What is answered in completed jobs. Raises ServerError where a task is gone."""
        if not open_queries:
            return []
        notes = read_notes(_notes_file(open_queries, desk))
        tasks: dict[int, list[Query]] = {}
        for query in open_queries:
            if query.id in notes.get("asked", {}):
                tasks.setdefault(int(notes["asked"][query.id]), []).append(query)
        if not tasks:
            return []
        rules = Rules(self.stage, self.blank, self.new_classes)
        with self._link() as link:
            answers, lines = collected(link, tasks, int(notes["project"]), desk, self._how(), rules, self._seen)
        for line in lines:
            self._told.setdefault(line, False)
        return answers

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Where to annotate, how many jobs are completed, and why images of completed ones stay open."""
        notes = read_notes(_notes_file(open_queries, desk)) if open_queries else {}
        where = f"{notes['url']}/projects/{notes['project']}" if "project" in notes else "CVAT"
        seen = self._seen
        done = f" ({seen.completed} of {seen.jobs} jobs are)" if seen.jobs else ""
        why = f"; {seen.left[0]}" if seen.left else ""
        return f"annotate them in {where} and set their jobs to completed{done}, then run again{why}"

    def remarks(self) -> list[str]:
        """What people should know of the answers collected so far, each line once."""
        lines = [line for line, said in self._told.items() if not said]
        self._told.update(dict.fromkeys(lines, True))
        return lines

    def _how(self) -> How:
        return How(self.images, self.folder, self.cloud, self.job_size, self.quality)

    def _project(self, desk: Desk) -> str:
        return self.project or _run(desk)

    def _frames(self, link: Link, task: int, queries: Sequence[Query], desk: Desk) -> dict[int, Query]:
        """The queries of a task by the numbers of their frames."""
        found, _ = frames_of(link, task) or ([], set())
        by_name = {frame_name(desk.samples[query.sample_id], self._how()): query for query in queries}
        return {number: by_name[frame["name"]] for number, frame in enumerate(found) if frame["name"] in by_name}

    @contextmanager
    def _link(self) -> Iterator[Link]:
        """The connection, kept while all goes well."""
        url = checked_url(self.url or credential(*URL) or "", "annotator.url (or CVAT_URL)")
        link = self._links.setdefault(url, Link(url, self.organisation, self.timeout, Patience(total=self.patience)))
        try:
            yield link
        except BaseException:
            link.close()
            raise

    def __getstate__(self) -> dict[str, Any]:
        """Options only: a copy opens a connection of its own."""
        return {**self.__dict__, "_links": {}, "_seen": Seen()}


def _notes_file(queries: Sequence[Query], desk: Desk) -> Path:
    return desk.folder / f"{queries[0].round:03d}" / NOTES


def _run(desk: Desk) -> str:
    """The name of the run, which is that of its folder."""
    return desk.folder.parent.name


def _check(queries: Sequence[Query], desk: Desk) -> None:
    if any(query.geometry is not None for query in queries):
        raise ConfigError(
            "annotator cvat asks for whole images, found a query for pixels or regions; set annotator=files to paint "
            "or fill in these"
        )
    if not desk.classes:
        raise ConfigError(
            "annotator cvat sends the full list of classes, but the run knows none; name them in data.classes"
        )


def _check_frames(link: Link, plan: Plan, frames: Mapping[int, Query]) -> None:
    held = {query.id for query in frames.values()}
    lost = [query.sample_id for query in plan.queries if query.id not in held]
    if lost:
        raise ServerError(
            f"CVAT at {link.url}: task {plan.name!r} does not hold {len(lost):,} of its {len(plan.queries):,} images, "
            f"e.g. {lost[0]}; remove the task there, then run again"
        )
