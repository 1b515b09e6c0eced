"""What is known of every image, as columns of numbers or of named values: to colour, filter, sort and count by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.data.masks import class_counts, merged
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.results.candidates import Candidates

MISSING = -1  # of a named value; a missing number is NaN
MOST_VALUES = 20_000  # a text with more different values tells images apart, not kinds of them


@dataclass(frozen=True, eq=False)
class Column:
    """``data`` is ``(n,)``: float64 numbers, or int32 indices into ``values``; ``group`` is the heading
    it stands under.

    ``form`` says how a number is shown: "", "whole" or "time" (seconds since 1970, UTC). ``classes`` is true for the
    run's classes, which keep their colours.
    """

    name: str
    title: str
    group: str
    data: NDArray[Any]
    values: tuple[str, ...] | None = None
    form: Literal["", "whole", "time"] = ""
    classes: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """All but the data, for the page."""
        return {
            "name": self.name,
            "title": self.title,
            "group": self.group,
            "kind": "number" if self.values is None else "category",
            "values": self.values,
            "form": self.form,
            "classes": self.classes,
        }


@dataclass(frozen=True, eq=False)
class Known:
    """What a run says of its images: splits, queries, answers and candidates of its rounds."""

    samples: Sequence[Sample]
    splits: Mapping[str, str]
    classes: tuple[str, ...]
    queries: Sequence[Query]
    annotations: Mapping[str, Annotation]
    candidates: Mapping[int, Candidates]
    simulated: bool


def run_columns(known: Known) -> list[Column]:
    """The columns of a run: where each image stands, what it is said to be, what the rounds thought of it."""
    ids = [s.id for s in known.samples]
    row_of = {id: i for i, id in enumerate(ids)}
    found = [*_standing(known, row_of), *_labels(known, row_of), *_rounds(known, row_of)]
    return [column for column in found if _tells(column)] + sample_columns(known.samples)


def sample_columns(samples: Sequence[Sample]) -> list[Column]:
    """The columns that need no run: groups, folders, sizes and metadata."""
    sizes = np.array([s.size for s in samples], np.float64).reshape(-1, 2)
    sizes[(sizes == 0).any(axis=1)] = np.nan
    folders = [s.id.rpartition("/")[0] for s in samples]
    found = [
        texts("group", "group", "Images", [s.group for s in samples]),
        texts("folder", "folder", "Images", [f or "(top)" for f in folders]),
        Column("width", "width", "Images", sizes[:, 0].copy(), form="whole"),
        Column("height", "height", "Images", sizes[:, 1].copy(), form="whole"),
    ]
    if len(set(folders)) < 2:
        del found[1]
    names = dict.fromkeys(name for s in samples for name in s.meta)
    found += [described(f"meta:{name}", name, "Metadata", [s.meta.get(name) for s in samples]) for name in names]
    return [column for column in found if _tells(column)]


def described(name: str, title: str, group: str, given: Sequence[Any]) -> Column:
    """A column of whatever was given: numbers, times in ISO format, truth values, or texts; None is missing."""
    there = [v for v in given if v is not None and v != ""]
    if there and all(isinstance(v, bool) for v in there):
        return texts(name, title, group, [None if v is None or v == "" else "yes" if v else "no" for v in given])
    if there and all(isinstance(v, int | float) and not isinstance(v, bool) for v in there):
        data = np.array([np.nan if v is None or v == "" else float(v) for v in given], np.float64)
        data[~np.isfinite(data)] = np.nan
        return Column(name, title, group, data, form="whole" if all(float(v).is_integer() for v in there) else "")
    if there and (times := _times(given)) is not None:
        return Column(name, title, group, times, form="time")
    return texts(name, title, group, [None if v is None or v == "" else str(v) for v in given])


def texts(name: str, title: str, group: str, given: Sequence[str | None]) -> Column:
    """A column of named values, the names in their natural order."""
    values = sorted({v for v in given if v is not None})
    at = {value: i for i, value in enumerate(values)}
    data = np.array([MISSING if v is None else at[v] for v in given], np.int32)
    return Column(name, title, group, data, tuple(values))


def _tells(column: Column) -> bool:
    """Whether a column says anything: something is there, and not too many names."""
    if column.values is not None:
        return bool((column.data >= 0).any()) and len(column.values) <= MOST_VALUES
    return bool(np.isfinite(column.data).any())


def _times(given: Sequence[Any]) -> NDArray[np.float64] | None:
    found = np.full(len(given), np.nan)
    for i, text in enumerate(given):
        if text is None or text == "":
            continue
        if not isinstance(text, str) or len(text) < 10:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        found[i] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return found


def _standing(known: Known, row_of: Mapping[str, int]) -> list[Column]:
    n = len(row_of)
    status: list[str | None] = ["test" if known.splits.get(s.id) == "test" else "not asked" for s in known.samples]
    rounds, ranks = np.full(n, np.nan), np.full(n, np.nan)
    for query in known.queries:
        row = row_of.get(query.sample_id)
        if row is None:
            continue
        answer = known.annotations.get(query.id)
        status[row] = "open" if answer is None else "skipped" if answer.skipped else "labelled"
        if np.isnan(rounds[row]):
            rounds[row], ranks[row] = query.round, query.rank
    splits = [known.splits.get(s.id) for s in known.samples]
    return [
        texts("status", "status", "Run", status),
        texts("split", "split", "Run", splits),
        Column("round", "round picked", "Run", rounds, form="whole"),
        Column("rank", "rank in its round", "Run", ranks, form="whole"),
    ]


def _labels(known: Known, row_of: Mapping[str, int]) -> list[Column]:
    """What people said of each image, and the truth that came with it; the class that is there most."""
    n = len(row_of)
    answers: dict[int, list[Target]] = {}
    for query in known.queries:
        answer, row = known.annotations.get(query.id), row_of.get(query.sample_id)
        if answer is not None and answer.target is not None and row is not None:
            answers.setdefault(row, []).append(answer.target)
    labels, counts = np.full(n, MISSING, np.int32), np.full(n, np.nan)
    truths, true_counts = np.full(n, MISSING, np.int32), np.full(n, np.nan)
    at = {name: i for i, name in enumerate(known.classes)}
    for row, targets in answers.items():
        labels[row], counts[row] = _summed(merged(targets) if len(targets) > 1 else targets[0], at)
    for row, sample in enumerate(known.samples):
        if sample.target is not None:
            truths[row], true_counts[row] = _summed(sample.target, at)
    tests = np.array([known.splits.get(s.id) == "test" for s in known.samples], bool)
    if not known.simulated:  # a label is a label, wherever it came from
        labels = np.where((labels < 0) & (truths >= 0), truths, labels)
    else:
        labels = np.where((labels < 0) & tests, truths, labels)
    found = [
        Column("label", "class", "Labels", labels, known.classes, classes=True),
        Column("objects", "boxes", "Labels", counts, form="whole"),
    ]
    if known.simulated:
        found.append(Column("truth", "true class", "Labels", truths, known.classes, classes=True))
        found.append(Column("truth_objects", "true boxes", "Labels", true_counts, form="whole"))
    return found


def _summed(target: Target, at: Mapping[str, int]) -> tuple[int, float]:
    """The class that is there most (ties: the first class), and how many boxes there are (NaN where none are meant)."""
    if target.mask is not None:  # reading all masks would take longer than anybody waits
        return MISSING, np.nan
    counts = class_counts(target) if target.codes is not None else Counter(target.classes)
    boxes = target.geometry is not None and target.geometry.ndim == 2 and target.geometry.shape[1] == 4
    most = max(counts, key=lambda name: (counts[name], -at.get(name, 0))) if counts else None
    return at.get(most, MISSING) if most is not None else MISSING, float(len(target.classes)) if boxes else np.nan


def _rounds(known: Known, row_of: Mapping[str, int]) -> list[Column]:
    """The last prediction and score of each image, whether that is its label, and the scores of each round."""
    n = len(row_of)
    predicted, sure, score = np.full(n, MISSING, np.int32), np.full(n, np.nan), np.full(n, np.nan)
    each = []
    for round, found in sorted(known.candidates.items()):
        rows = np.array([row_of.get(id, -1) for id in found.ids], np.int64)
        there = rows >= 0
        if found.predicted is not None and found.confidences is not None and len(found.predicted) == len(rows):
            names = found.predicted[there]
            predicted[rows[there]] = np.where((names >= 0) & (names < len(known.classes)), names, MISSING)
            sure[rows[there]] = found.confidences[there]
        if found.scores is not None and len(found.scores) == len(rows):
            own = np.full(n, np.nan)
            own[rows[there]] = found.scores[there]
            own[~np.isfinite(own)] = np.nan
            score = np.where(np.isnan(own), score, own)
            each.append(Column(f"score:{round}", f"score in round {round}", "Scores of rounds", own))
    for query in known.queries:  # what was proposed stands for what was not kept
        row = row_of.get(query.sample_id)
        if row is not None and predicted[row] < 0 and query.proposal is not None and query.proposal.geometry is None:
            name = query.proposal.classes[0] if query.proposal.classes else ""
            predicted[row] = known.classes.index(name) if name in known.classes else MISSING
    return [
        Column("prediction", "prediction", "Model", predicted, known.classes, classes=True),
        Column("confidence", "confidence", "Model", sure),
        Column("score", "score", "Model", score),
        _agreement(known, row_of, predicted),
        *(each if len(each) > 1 else []),
    ]


def _agreement(known: Known, row_of: Mapping[str, int], predicted: NDArray[np.int32]) -> Column:
    """Whether the last prediction is what people said, where both are there."""
    label = next(c for c in _labels(known, row_of) if c.name == "label").data
    both = (label >= 0) & (predicted >= 0)
    data = np.where(both, (label == predicted).astype(np.int32), MISSING).astype(np.int32)
    return Column("agreement", "prediction against class", "Model", data, ("differs", "agrees"))


def listed(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """The facts of columns, each name once."""
    seen: dict[str, dict[str, Any]] = {}
    for column in columns:
        seen.setdefault(column.name, column.facts)
    return list(seen.values())
