"""What a run knows of its images, as fields and tags of a FiftyOne dataset: picks, reasons, scores, labels, rounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.config import Config
from labelwise.data.fiftyone_fields import Told, write_fields
from labelwise.data.masks import merged
from labelwise.errors import ConfigError, LabelwiseError
from labelwise.reasons import sentence
from labelwise.records import Target
from labelwise.results import RunResult, open_run
from labelwise.results.candidates import kept_candidates

PREFIX = "labelwise"
Progress = Callable[[int, int, str], None]
Tell = Callable[[str], None]


def _quiet(*_: Any) -> None:
    """Say nothing."""


def publish(
    result: RunResult,
    name: str,
    *,
    prefix: str = PREFIX,
    predictions: Mapping[str, tuple[Target, list[float]]] | None = None,
    progress: Progress = _quiet,
) -> int:
    """Write a run into the FiftyOne dataset ``name``; returns how many images that were.

    Fields begin with ``prefix_``: ``round`` and ``rank`` (when an image was picked), ``reason``, ``score`` (of the
    last round that scored it), ``split``, ``proposal`` (what the model said when it was asked), ``label`` (the answer),
    and ``prediction`` where ``predictions`` are given. Tags begin with ``prefix:``: ``round-3``, ``labelled``,
    ``open``, ``skipped``, ``test``, ``audit``. Other fields and tags stay; again writes the same. Raises DataError
    without FiftyOne's database.
    """
    check_prefix(prefix)
    columns: dict[str, dict[str, Any]] = {n: {} for n in ("round", "rank", "reason", "score", "proposal", "label")}
    tags: dict[str, list[str]] = {id: [] for id in result.samples}
    answers: dict[str, list[Target]] = {}
    for round in sorted(result.queries):
        for query in result.queries[round]:
            id, answer = query.sample_id, result.annotations.get(query.id)
            columns["round"].setdefault(id, round)
            columns["rank"].setdefault(id, query.rank)
            columns["reason"][id] = sentence(query.reason)
            if query.proposal is not None:
                columns["proposal"][id] = Told(query.proposal)
            tags[id].append(f"round-{round}")
            tags[id].append("open" if answer is None else "skipped" if answer.skipped else "labelled")
            if query.purpose == "audit":
                tags[id].append("audit")
            if answer is not None and answer.target is not None:
                answers.setdefault(id, []).append(answer.target)
    columns["score"] = _scores(result)
    columns["label"] = {id: Told(merged(targets)) for id, targets in answers.items()}
    columns["split"] = {id: "test" if id in result.test_ids else "pool" for id in result.samples}
    if predictions is not None:
        columns["prediction"] = {id: Told(target, sure) for id, (target, sure) in predictions.items()}
    for id in result.test_ids:
        tags[id].append("test")
    return write_fields(
        name,
        list(result.samples.values()),
        columns,
        {id: list(dict.fromkeys(own)) for id, own in tags.items()},
        prefix=prefix,
        classes=result.classes,
        progress=progress,
    )


def check_prefix(prefix: str) -> None:
    """Raises ConfigError for what cannot begin the name of a field."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", prefix):
        raise ConfigError(f"expected small letters, digits and _ to begin the fields with, found {prefix!r}")


def _scores(result: RunResult) -> dict[str, float]:
    """The last score of each image, from what the rounds keep beside them."""
    scores: dict[str, float] = {}
    for found in kept_candidates(result.folder).values():
        if found.scores is not None:
            pairs = zip(found.ids, found.scores.tolist(), strict=True)
            scores |= {id: float(score) for id, score in pairs if np.isfinite(score)}
    return {id: score for id, score in scores.items() if id in result.samples}


def write_back(config: Config, tell: Tell = _quiet, progress: Progress = _quiet) -> None:
    """Bring the FiftyOne dataset that a run began from up to date; nothing for other data.

    What goes wrong is told and does not stop the run: all of it is written again next time.
    """
    prefix = config.data.options.get("write_back", PREFIX)
    if config.data.format != "fiftyone" or not prefix:
        return
    name = config.data.options.get("dataset") or Path(config.data.path).name
    try:
        publish(open_run(config.folder), str(name), prefix=str(prefix), progress=progress)
    except LabelwiseError as error:
        tell(f"note: not written to FiftyOne: {error}; 'labelwise export {config.folder} --format fiftyone' writes it")
