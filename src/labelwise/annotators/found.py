"""What answers are read for, what was found so far, and which image a name in them means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelwise.annotators.timelapse_answers import Sheet
from labelwise.data.box_writing import stem_of
from labelwise.data.listing import shown
from labelwise.data.predictions.joining import Join
from labelwise.records import Problem, Query, Sample, Target, Task


@dataclass(frozen=True, slots=True)
class Asked:
    """What answers are read for: the open queries, all samples of the run by id, its classes and task.

    ``ever`` are the images that were asked in any round, among which names without folder are looked for; None: all.
    ``sheet`` says how a Timelapse project calls things.
    """

    queries: Sequence[Query]
    samples: Mapping[str, Sample]
    classes: tuple[str, ...]
    task: Task
    ever: Collection[str] | None = None
    sheet: Sheet | None = None

    @property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """(width, height) of the images that are asked."""
        return {q.sample_id: self.samples[q.sample_id].size for q in self.queries}


@dataclass(slots=True)
class Found:
    """What has been read so far: the target of each image (None: skipped), and what went wrong with others."""

    targets: dict[str, Target | None] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)  # why an image's answer cannot be used
    scratch: Path = Path()  # where masks are painted
    unknown: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    rows: tuple[int, int] = (0, 0)

    def refuse(self, id: str, why: str) -> None:
        """Leave an image open."""
        self.open[id] = why
        self.problems.append(Problem(id, "not_taken", f"{shown(id)}: {why}; stays open"))


class Names:
    """Finds the image with an open query that a name means, and remembers the names that mean none.

    A name is looked for among all images that were ever asked, so that a file read again, in a later round, means the
    same images as before; and one that is the id of another image means that one.
    """

    def __init__(self, asked: Asked, root: str) -> None:
        known = asked.samples.keys() if asked.ever is None else asked.ever
        self.open = {q.sample_id for q in asked.queries}
        self.join = Join(tuple(sorted({*known, *self.open})), root)
        others = asked.samples.keys() - set(self.join.ids)
        self.others = others | {stem_of(id) for id in others}
        self.settled: list[str] = []

    def __call__(self, name: str) -> str | None:
        """The id, once for each image."""
        if self._other(name):
            self.settled.append(name)
            return None
        id = self.join.claim(name)
        if id is not None and id not in self.open:
            self.settled.append(name)
        return id if id in self.open else None

    def find(self, name: str) -> str | None:
        """The id, without remembering anything."""
        id = None if self._other(name) else self.join.find(name)[0]
        return id if id in self.open else None

    def cut(self, name: str) -> str:
        """The name without the root that is to be cut off."""
        return name.removeprefix(f"{self.join.root.rstrip('/')}/") if self.join.root else name

    def _other(self, name: str) -> bool:
        return self.cut(name) in self.others
