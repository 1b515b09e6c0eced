"""Finishing a run: what is known of every image of it, people's labels on top of the model's predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.config import Config
from labelwise.data.crops import box_of, file_of
from labelwise.data.megadetector_writing import CATEGORIES, EMPTY, About
from labelwise.errors import ConfigError
from labelwise.evaluate.abstaining import checked_threshold
from labelwise.exchange.predicting import TOP, Predicted, check_place, predict_images
from labelwise.exchange.told import Thing, Told, write_told
from labelwise.exchange.trained import model_of, predicted
from labelwise.models import Progress
from labelwise.records import Prediction, Sample, left_out
from labelwise.results import RunResult, open_run
from labelwise.store import Store

UNREADABLE = ("missing", "not_permitted", "empty_file", "not_an_image", "truncated", "too_large", "broken")


def predict(
    model: str | Path,
    images: str | Path | None,
    place: str | Path,
    *,
    format: str = "megadetector",
    detections: str | Path | None = None,
    least: float | None = None,
    threshold: float | None = None,
    threads: int | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Predicted:
    """Write what a classifier says of a folder of images, or without one all that is known of a run's images.

    The first is `labelwise.exchange.predicting.predict_images`, the second `finish_pool`; ``model`` is an .onnx file or
    a run's folder. Raises LabelwiseError.
    """
    if images is None:
        if Path(model).suffix == ".onnx":
            raise ConfigError(f"{model}: expected a folder of images beside a model; without one give a run")
        return finish_pool(model, place, format=format, threshold=threshold, progress=progress)
    return predict_images(
        model,
        images,
        place,
        format=format,
        detections=detections,
        least=least,
        threshold=threshold,
        threads=threads or os.cpu_count() or 1,
        progress=progress,
    )


def finish_pool(
    run: str | Path,
    place: str | Path,
    *,
    format: str = "megadetector",
    threshold: float | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Predicted:
    """Write what is known of all images of a run (the pool, the test split, the audit sample) to the new ``place``.

    What people said comes first, and what came labelled with the data; the last model says the rest. Images that could
    not be read are told as failures. ``format`` and ``threshold`` as for `predict_images`. Raises LabelwiseError.
    """
    place, result = Path(place), open_run(run)
    check_place(place, format)
    config = result.config
    if config.task != "classify":
        raise ConfigError(
            f"{run}: expected a run that classifies, found task={config.task}: use export --what predictions"
        )
    limit = config.threshold if threshold is None else checked_threshold(threshold)
    counts: dict[str, int] = {}
    with Store(config.folder / "run.db", read_only=True) as store:
        said = human_labels(result, store.answered_at())
        round, _ = model_of(config, store)
        name = f"{config.name}, round {round}"
        every = [s for split in ("pool", "test", "audit") for s in store.samples(split)]
        samples = sorted(every, key=lambda s: (file_of(s), s.id))
        told = _all(config, store, samples, said, result, name, progress)
        classes = list(dict.fromkeys([*store.classes(), *(one.label for one in said.values())]))
        written = write_told(
            place,
            format,
            _counted(told, limit, counts),
            classes=classes,
            threshold=limit,
            least=0.0,
            about=About(classifier=f"labelwise {name}", classification=limit or 0.05),
        )
    copies = sum("duplicate" in p.code for p in result.problems) if config.data.on_duplicate == "skip" else 0
    notes = [f"{copies:,} copies of other images are left out"] if copies else []
    notes += _not_told(result)
    failures = counts.pop("", 0)
    images = counts.pop("\n", 0)
    return Predicted(place, images, failures, dict(sorted(counts.items())), (*notes, *written))


def _not_told(result: RunResult) -> list[str]:
    """A line about files that the run left out for what they are, such as people; "failures" tell of the others."""
    found = left_out(result.problems, result.samples)
    why = {code: n for code, n in found.most_common() if code not in UNREADABLE and "duplicate" not in code}
    if not why:
        return []
    named = ", ".join(f"{count:,} {code}" for code, count in why.items())
    return [f"{sum(why.values()):,} files that the run left out are not told ({named}): predict their folder for all"]


@dataclass(frozen=True, slots=True)
class Said:
    """What people said of a sample: the class, who, and when (ISO with a zone; "" if nobody noted it)."""

    label: str
    by: str
    at: str = ""


def human_labels(result: RunResult, at: Mapping[str, float]) -> dict[str, Said]:
    """What people said, and what came labelled with the data for the test split, by sample; ``at`` is when each query
    was answered, in seconds since 1970."""
    said: dict[str, Said] = {}
    for id in result.test_ids:
        if (target := result.samples[id].target) is not None:
            said[id] = Said(target.classes[0], "data")
    for queries in result.queries.values():
        for query in queries:
            answer = result.annotations.get(query.id)
            if answer is not None and answer.target is not None:
                moment = f"{datetime.fromtimestamp(at[query.id], UTC):%Y-%m-%dT%H:%M:%SZ}"
                said[query.sample_id] = Said(answer.target.classes[0], answer.annotator or "people", moment)
    return said


def _all(
    config: Config,
    store: Store,
    samples: Sequence[Sample],
    said: Mapping[str, Said],
    result: RunResult,
    name: str,
    progress: Progress,
) -> Iterator[Told]:
    rest = [sample for sample in samples if sample.id not in said]
    stream = predicted(config, store, rest, progress) if rest else iter(())
    classes = store.classes()
    for file, of_file in groupby(samples, file_of):
        things = []
        for sample in of_file:
            if sample.id in said:
                one = said[sample.id]
                nothing = 0.0 if one.label != EMPTY else 1.0
                things.append(_thing(sample, ((one.label, 1.0),), nothing, one.label, one.by, one.at))
            else:
                _, prediction = next(stream)
                things.append(_machine(sample, prediction, classes, name))
            path = sample.path
        yield Told(file, path, tuple(things))
    known = {file_of(sample) for sample in samples}
    for problem in result.problems:
        if problem.code in UNREADABLE and problem.id not in known:
            known.add(problem.id)
            yield Told(problem.id, Path(problem.id), failure=problem.message)


def _machine(sample: Sample, prediction: Prediction, classes: Sequence[str], name: str) -> Thing:
    assert prediction.probs is not None, sample.id
    order = np.argsort(-prediction.probs, kind="stable")[:TOP]
    probs = tuple((classes[i], float(prediction.probs[i])) for i in order)
    nothing = float(prediction.probs[classes.index(EMPTY)]) if EMPTY in classes else 0.0
    return _thing(sample, probs, nothing, "", name)


def _thing(
    sample: Sample, probs: tuple[tuple[str, float], ...], nothing: float, human: str, by: str, at: str = ""
) -> Thing:
    meta: Mapping[str, Any] = sample.meta
    box = box_of(sample)
    there = min(1.0, max(0.0, 1.0 - nothing))
    confidence = float(meta.get("confidence", 1.0)) if box is not None else there
    category = str(meta.get("detected", "animal"))
    return Thing(
        sample.id, box, category if category in CATEGORIES else "animal", confidence, probs, human, by, at, sample.meta
    )


def _counted(told: Iterator[Told], threshold: float, counts: dict[str, int]) -> Iterator[Told]:
    """The same, counted on the way: files as a line's end, failures as "", and classes."""
    for one in told:
        names = [""] if one.failure else [t.label(threshold)[0] for t in one.things]
        for name in ("\n", *names):
            counts[name] = counts.get(name, 0) + 1
        yield one
