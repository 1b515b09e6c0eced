"""Ways of asking people. People are slow: an annotator is given queries, and asked later what is finished."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from labelwise.data.observed import EMPTY
from labelwise.records import Annotation, Query, Sample, Task

SKIP = "-"  # instead of a class: the image is skipped, or a pixel shows no class


def named(classes: Collection[str]) -> bool:
    """True once somebody has said what may be answered; until then any name may become a class. ``empty`` alone, which
    readers of camera traps know beforehand, says nothing of what is in the others."""
    return not set(classes) <= {EMPTY}


def _say_nothing(line: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Desk:
    """What an annotator works with: the run's samples by id, its classes, the folder of its rounds, and its task.

    ``ever`` are the images that were asked in any round, None if that is not known; ``tell`` says a line to people.
    """

    samples: Mapping[str, Sample]
    classes: tuple[str, ...]
    folder: Path
    task: Task = "classify"
    ever: Collection[str] | None = None
    tell: Callable[[str], None] = _say_nothing


class Annotator(Protocol):
    """The seam to people and their tools. Calls are idempotent by query id: they may come again after an interruption.

    ``simulated`` says that answers come from the data's own truth, which is then hidden from everything else.

    It may also have ``tasks`` and ``units``, what it can ask for (absent: everything), ``waits``, true if a run is to
    wait for its people without being told to, ``poll``, the seconds between two looks at whether they are done, and a
    method ``remarks() -> list[str]``: lines that tell what was odd in the answers collected last, each once.
    """

    @property
    def simulated(self) -> bool: ...

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Ask these queries; one that was asked before is not asked twice."""
        ...

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """What is finished now among the open queries."""
        ...

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """What a person must do now, in half a sentence."""
        ...


def counted(query: Query, answer: Annotation, cost: Literal["region", "pixel"] = "region") -> Annotation:
    """The answer with what it counts for: boxes; of pixels those that have a class, the others were void.

    ``cost`` is what regions are counted in.
    """
    if query.unit == "box" and answer.target is not None:
        return replace(answer, amount=float(len(answer.target.classes)) if query.purpose == "train" else 0.0)
    pixels = query.unit == "pixel" or (query.unit == "region" and cost == "pixel")
    if not pixels or answer.target is None or answer.target.geometry is None:
        return answer
    return replace(answer, amount=float(len(answer.target.geometry)))
