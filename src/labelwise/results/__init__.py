"""Reading a run: what happened in each round, as plain data, straight from its store."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from labelwise import config as configuration
from labelwise.agreement import Agreement, agreement
from labelwise.config import Config
from labelwise.curves import Curve
from labelwise.data.masks import class_counts
from labelwise.errors import RunError
from labelwise.evaluate import METRICS
from labelwise.evaluate.effort import ALIKE, Effort, effort, total
from labelwise.records import UNITS, Annotation, Problem, Query, Sample, Target
from labelwise.store import SETUP, STEPS, Store
from labelwise.store.schema import BEGINNING

_DEEDS = ("accepted", "moved", "renamed", "added", "deleted")


@dataclass(frozen=True)
class RunResult:
    """A run as it stands in its store: read once, unchanged by what happens later.

    ``rounds`` lists the rounds that were begun. ``labels[r]`` counts the images labelled for training at the end of
    round r; ``evaluations[split][r]`` holds the figures of round r on "test" or "audit"; ``seconds[r]`` the time of
    each step. ``shared`` holds what each annotator said to the queries that several answered; None: skipped.
    """

    folder: Path
    config: Config
    state: str
    message: str
    created: str
    classes: tuple[str, ...]
    split_sizes: dict[str, int]
    samples: dict[str, Sample]
    test_ids: frozenset[str]
    problems: list[Problem]
    queries: dict[int, list[Query]]
    annotations: dict[str, Annotation]
    evaluations: dict[str, dict[int, dict[str, Any]]]
    seconds: dict[int, dict[str, float]]
    shared: dict[str, dict[str, Target | None]] = field(default_factory=dict)

    @cached_property
    def agreement(self) -> Agreement:
        """How far people agree on the queries that several of them answered."""
        return agreement([self.shared[id] for id in sorted(self.shared)])

    @property
    def rounds(self) -> list[int]:
        """The rounds that were begun."""
        return sorted(r for r in self.seconds if r != SETUP)

    @property
    def split(self) -> str:
        """The split that the figures come from: the test split, or the audit sample where there is none."""
        return "test" if self.evaluations["test"] or not self.evaluations["audit"] else "audit"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The figures of the run's task, the one that arms are compared by first."""
        return METRICS[self.config.task]

    @property
    def unit(self) -> str:
        """What the budget counts, in the plural: images, regions or pixels."""
        if self.config.budget.cost == "pixel":
            return UNITS["pixel"]
        asked = {q.unit for queries in self.queries.values() for q in queries if q.purpose == "train"}
        return UNITS[next(iter(sorted(asked)), "image")]

    def labels(self, round: int) -> int:
        """What was labelled for training by the end of a round, in the unit of the budget."""
        return sum(_amount(query, answer) for query, answer in self._answered(round))

    def images(self, round: int) -> int:
        """Images labelled for training by the end of a round, whole or in part."""
        return len({query.sample_id for query, _ in self._answered(round)})

    def boxes(self, round: int) -> int:
        """Boxes labelled for training by the end of a round."""
        targets = (answer.target for _, answer in self._answered(round))
        return sum(len(t.classes) for t in targets if t is not None and t.codes is None and t.geometry is not None)

    def amount(self, round: int, unit: str = "") -> int:
        """What was labelled by the end of a round, in this unit: images, boxes, or that of the budget."""
        if unit and unit != self.unit:
            return self.boxes(round) if unit == "boxes" else self.images(round)
        return self.labels(round)

    @property
    def units(self) -> tuple[str, ...]:
        """What a learning curve can be drawn over: the unit of the budget first; with boxes images and boxes."""
        both = ("images", "boxes") if self.config.task == "detect" else ()
        return tuple(dict.fromkeys((self.unit, *both)))

    def effort(self, round: int) -> Effort:
        """What the answers of one round took: proposals accepted and corrected, and seconds where they are known."""
        found = ((query, self.annotations.get(query.id)) for query in self.queries.get(round, ()))
        return total(
            effort(query.proposal, answer.target, answer.seconds, alike=ALIKE if answer.annotator == "oracle" else 1.0)
            for query, answer in found
            if answer is not None and answer.target is not None and answer.annotator != "data"
        )

    def class_counts(self, round: int) -> Counter[str]:
        """Labels by class at the end of a round: images, boxes or pixels."""
        counts: Counter[str] = Counter()
        for _, answer in self._answered(round):
            assert answer.target is not None
            counts.update(class_counts(answer.target))
        return counts

    def curve(self, metric: str, unit: str = "") -> Curve | None:
        """The learning curve of a metric over labels in the budget's unit or another; None before the first figure."""
        figures = {r: s[metric] for r, s in self.evaluations[self.split].items() if np.isfinite(s[metric])}
        points = {self.amount(r, unit): value for r, value in figures.items()}
        return Curve(*zip(*sorted(points.items()), strict=True)) if points else None  # type: ignore[arg-type]

    def picks(self, round: int) -> list[str]:
        """Ids of the images asked in a round to train on, most wanted first."""
        return [q.sample_id for q in self.queries.get(round, []) if q.purpose == "train"]

    def metrics_csv(self) -> str:
        """One line a round: labels, figures, seconds of each step, and what its answers took."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        both = self.units if len(self.units) > 1 else ()
        columns = ["round", "labels", *both, "split", "n", *self.metrics, *_DEEDS]
        writer.writerow([*columns, *(f"seconds_{s}" for s in STEPS), "seconds_people"])
        for round, scores in sorted(self.evaluations[self.split].items()):
            figures = [f"{scores[m]:.6f}" for m in self.metrics]
            amounts = [self.labels(round), *(self.amount(round, unit) for unit in both)]
            done = self.effort(round)
            seconds = [f"{self.seconds[round].get(s, 0):.3f}" for s in STEPS]
            people = f"{done.seconds:.1f}" if done.timed else ""  # empty where nobody measured them
            deeds = [getattr(done, deed) for deed in _DEEDS]
            writer.writerow([round, *amounts, self.split, scores["n"], *figures, *deeds, *seconds, people])
        return text.getvalue()

    def _answered(self, last: int) -> Iterator[tuple[Query, Annotation]]:
        for round, queries in self.queries.items():
            for query in queries if round <= last else ():
                answer = self.annotations.get(query.id)
                if answer is not None and answer.target is not None and query.purpose == "train":
                    yield query, answer


def _amount(query: Query, answer: Annotation) -> int:
    """What an answer counts for: an image is an image, also where it came with the data and cost nothing."""
    if query.unit == "box":
        return len(answer.target.classes) if answer.target is not None else 0
    amount = 1.0 if query.unit == "image" else query.cost if answer.amount is None else answer.amount
    return int(amount)


def open_run(folder: str | Path) -> RunResult:
    """Read a run's folder. Raises RunError if there is no run in it."""
    folder = Path(folder)
    with Store(folder / "run.db", read_only=True) as store:
        if not (folder / "config.yaml").is_file():
            raise RunError(f"{folder}: {BEGINNING}")
        return read_run(folder, store)


def read_run(folder: Path, store: Store) -> RunResult:
    """A run as it stands in its open store."""
    queries: dict[int, list[Query]] = {}
    for query in store.queries():
        queries.setdefault(query.round, []).append(query)
    seconds: dict[int, dict[str, float]] = {}
    for step in store.steps():
        seconds.setdefault(step.round, {})[step.name] = step.seconds
    return RunResult(
        folder=folder,
        config=configuration.load(folder),
        state=store.setting("state", "running"),
        message=store.setting("message", "in its first call"),
        created=store.setting("created"),
        classes=store.classes(),
        split_sizes=store.split_sizes(),
        samples={s.id: s for s in store.samples()},
        test_ids=frozenset(s.id for s in store.samples("test")),
        problems=store.problems(),
        queries=queries,
        annotations=store.annotations(),
        evaluations={split: store.evaluations(split) for split in ("test", "audit")},
        seconds=seconds,
        shared={
            id: {answer.annotator: answer.target for answer in answers}
            for id, answers in store.people.answers().items()
            if len(answers) > 1
        },
    )
