"""Writing what a run holds, or a dataset, for other tools: labels, open queries with proposals, or predictions."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labelwise import catalog
from labelwise import config as configuration
from labelwise.annotators.files import WRITERS, questions_table, samples_to_fill, write_masks_to_fill
from labelwise.config import Config
from labelwise.data import class_folders, image_masks, label_tables
from labelwise.data.box_writing import Images
from labelwise.data.crops import written_id
from labelwise.data.guess import guess
from labelwise.data.masks import class_counts, empty_mask, merged, write_mask
from labelwise.data.roles import Split
from labelwise.errors import ConfigError, RunError
from labelwise.evaluate.abstaining import UNKNOWN, answered
from labelwise.exchange.publishing import PREFIX, publish
from labelwise.models import Place, Progress
from labelwise.ownership import replace_text
from labelwise.parts import Parts, build, cache_folder, threads_of
from labelwise.records import Prediction, Sample, Target, Task
from labelwise.results import open_run
from labelwise.store import Store

What = Literal["labels", "queries", "predictions"]
FORMATS: Mapping[Task, tuple[str, ...]] = {
    "classify": ("csv", "class_folders", "cvat_xml"),
    "detect": ("coco", "voc", "yolo", "cvat_xml", "csv"),
    "segment": ("masks", "csv"),
}
_WRITERS: Mapping[str, Callable[..., list[str]]] = {
    **WRITERS,
    "csv": label_tables.write,
    "class_folders": class_folders.write,
    "masks": image_masks.write,
}
FIFTYONE = "fiftyone"  # a dataset in its database: for runs of every task
ONNX = "onnx"  # no labels: the model of a round, of runs that classify
SURE = 0.5  # boxes below this confidence are no proposals


@dataclass(frozen=True)
class Exported:
    """What was written: how many ``images``, ``labels`` by class, and ``notes`` on what the format cannot hold."""

    place: Path
    format: str
    images: int
    labels: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Content:
    """What is to be written."""

    task: Task
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    confidences: Mapping[str, Sequence[float]] | None = None


def export(
    source: str | Path,
    place: str | Path,
    *,
    format: str,
    what: What = "labels",
    images: Images | None = None,
    source_format: str | None = None,
    confidence: float = SURE,
    round: int | None = None,
    threshold: float | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Exported:
    """Write the new folder or CSV ``place`` from a run's folder, or from a dataset.

    Of a run ``what`` is written: "labels", all that people have labelled, with the test split where its truth came with
    the data; "queries", the open ones with their proposals, to be answered elsewhere and taken in by
    `labelwise.import_answers`; "predictions", what the last round's model says about the images of the pool that nobody
    labelled (boxes from ``confidence`` on). ``images``: copy (the default), link, or leave them where they are. Raises
    LabelwiseError for a format that the task does not have, and for what a format cannot hold at all. The format
    ``fiftyone`` brings the dataset called ``place`` in FiftyOne's database up to date: labels, open queries and rounds,
    see `labelwise.exchange.publishing.publish`, and predictions of all images where these are asked for. The format
    ``onnx`` writes the model of a ``round`` (the last one) with its ``threshold``, see
    `labelwise.exchange.onnx_export.export_onnx`.
    """
    source, place = Path(source), Path(place)
    run = (source / "run.db").is_file()
    if format == FIFTYONE:
        return _to_fiftyone(source, str(place), what, confidence, progress)
    if format == ONNX:
        return _to_onnx(source, place, round, threshold)
    if not run:
        if what != "labels":
            raise RunError(f"no run in {source}: a dataset has labels only, found --what {what}")
        content = _dataset(source, source_format)
        _check_format(format, content.task)
        return _written(content, place, format, images)
    config = configuration.load(source)
    _check_format(format, config.task)
    with Store(source / "run.db", read_only=True) as store:
        if what == "queries":
            return _queries(config, store, place, format, images)
        if what == "predictions":
            with _predictions(config, store, confidence, progress) as content:
                return _written(content, place, format, images)
        return _written(labelled(config, store), place, format, images)


def _to_fiftyone(source: Path, name: str, what: What, confidence: float, progress: Progress) -> Exported:
    result = open_run(source)
    config = configuration.load(source)
    told: dict[str, tuple[Target, list[float]]] | None = None
    if what == "predictions":
        told = {}
        with Store(source / "run.db", read_only=True) as store:
            for sample, prediction in predicted(config, store, store.samples(), progress):
                mask = source / "predicted_masks" / f"{sample.content}.png"
                told[sample.id] = proposed(config.task, prediction, result.classes, confidence, mask)
    prefix = config.data.options.get("write_back") or PREFIX
    count = publish(result, name, prefix=str(prefix), predictions=told, progress=progress)
    last = max(result.rounds, default=0)
    return Exported(Path(name), FIFTYONE, count, dict(result.class_counts(last)), ())


def _to_onnx(source: Path, place: Path, round: int | None, threshold: float | None) -> Exported:
    from labelwise.exchange.onnx_export import export_onnx

    result = open_run(source)
    with Store(source / "run.db", read_only=True) as store:
        number, checkpoint = model_of(result.config, store, round)
        crops = store.has_crops()
    notes = export_onnx(result.config, number, checkpoint, place, threshold=threshold, crops=crops)
    return Exported(place, ONNX, result.labels(number), dict(result.class_counts(number)), tuple(notes))


def _check_format(format: str, task: Task) -> None:
    known = (*FORMATS[task], FIFTYONE, *([ONNX] if task == "classify" else []))
    if format not in known:
        raise ConfigError(f"format {format!r} is not for the task {task}: {catalog.suggest(format, known)}")


def _written(content: _Content, place: Path, format: str, images: Images | None) -> Exported:
    how = images or ("leave" if format == "csv" else "copy")
    samples = content.samples
    if how != "leave":  # crops become pictures of their own
        samples = [replace(sample, id=written_id(sample)) for sample in samples]
    if format == "csv" and content.confidences is not None:
        notes = label_tables.write(place, samples, content.classes, images=how, confidences=content.confidences)
    else:
        notes = _WRITERS[format](place, samples, content.classes, images=how)
        if content.confidences is not None:
            notes.append("confidences are not written; csv holds them")
    if how == "leave" and (crops := sum(sample.crop is not None for sample in samples)):
        notes.append(f"{crops:,} are parts of pictures; which parts is not written")
    return _exported(place, format, samples, [*content.notes, *notes])


def _exported(place: Path, format: str, samples: Sequence[Sample], notes: Iterable[str]) -> Exported:
    counts: Counter[str] = Counter()
    for sample in samples:
        if sample.target is not None:
            counts.update(class_counts(sample.target))
    return Exported(place, format, len(samples), dict(counts), tuple(notes))


def _dataset(source: Path, format: str | None) -> _Content:
    """A dataset as its reader gives it; what the reader left out is counted."""
    path, options = source, {}
    if format is None:
        found = guess(source)
        path, format, options = found.path, found.format, {} if found.cameras else dict(found.options)
    listing = catalog.resolve("data", format)(path, **options)
    codes = Counter(problem.code for problem in listing.problems)
    first = {problem.code: problem.message for problem in reversed(listing.problems)}
    notes = tuple(f"read with {code}: {count:,}, e.g. {first[code]}" for code, count in sorted(codes.items()))
    return _Content(_task_of(listing.samples), listing.samples, listing.classes, notes)


def _task_of(samples: Sequence[Sample]) -> Task:
    target = next((s.target for s in samples if s.target is not None), None)
    if target is None or (target.geometry is None and target.mask is None):
        return "classify"
    return "detect" if target.geometry is not None and target.geometry.shape[1] == 4 else "segment"


def labelled(config: Config, store: Store) -> _Content:
    """All that is labelled: the answers of people (the audit sample is for testing), and the test split's truth."""
    by_id = {sample.id: sample for sample in store.samples()}
    samples = []
    splits: tuple[tuple[str, Split], ...] = (("train", "pool"), ("audit", "test"))
    for purpose, split in splits:
        answers: dict[str, list[Target]] = {}
        for id, target in store.answered(purpose):
            answers.setdefault(id, []).append(target)
        samples += [replace(by_id[id], target=merged(targets), split=split) for id, targets in answers.items()]
    samples += [replace(sample, split="test") for sample in store.samples("test") if sample.target is not None]
    if not samples:
        raise RunError(f"{store.path.parent}: nothing is labelled yet; answer some queries first")
    return _Content(config.task, samples, _classes(store, samples))


def _classes(store: Store, samples: Iterable[Sample]) -> tuple[str, ...]:
    """The run's classes, and those of answers that its round has not taken over yet."""
    new = {name for sample in samples if sample.target is not None for name in sample.target.classes}
    known = store.classes()
    return (*known, *sorted(new - set(known)))


def _queries(config: Config, store: Store, place: Path, format: str, images: Images | None) -> Exported:
    queries, classes = store.queries(open_only=True), store.classes()
    if not queries:
        raise RunError(f"{store.path.parent}: no query is open: run it to the next round, or export labels")
    by_id = {sample.id: sample for sample in store.samples()}
    how: Images = images or "copy"
    if format == "csv" and config.task != "detect":
        if place.exists():
            raise RunError(f"{place}: expected a new file to write, found something there; choose another name")
        if any(query.unit == "region" for query in queries):
            raise ConfigError("regions are answered by masks, found format csv: choose masks")
        replace_text(place, "\ufeff" + questions_table(queries, by_id))
        return _exported(place, format, [replace(by_id[q.sample_id], target=None) for q in queries], ())
    if format == "masks":
        notes = write_masks_to_fill(place, queries, by_id, classes, how)
        return _exported(place, format, [replace(by_id[q.sample_id], target=q.proposal) for q in queries], notes)
    samples = samples_to_fill(queries, by_id)
    if config.task == "classify":
        samples = [replace(sample, target=q.proposal) for sample, q in zip(samples, queries, strict=True)]
    return _written(_Content(config.task, samples, classes), place, format, images)


@contextmanager
def _predictions(config: Config, store: Store, confidence: float, progress: Progress) -> Iterator[_Content]:
    """What the last model says about the images of the pool that nobody labelled; masks lie in a folder for a while."""
    samples = unlabelled(store)
    classes = store.classes()
    confidences: dict[str, Sequence[float]] = {}
    told = []
    with tempfile.TemporaryDirectory(prefix="labelwise-") as folder:
        for done, (sample, prediction) in enumerate(predicted(config, store, samples, progress), start=1):
            target, sure = proposed(config.task, prediction, classes, confidence, Path(folder) / f"{done}.png")
            if config.task == "classify" and not answered(np.array([sure]), config.threshold)[0]:
                target = Target((UNKNOWN,))
            told.append(replace(sample, target=target, split=None))
            confidences[sample.id] = sure
        if config.threshold > 0:
            classes = tuple(dict.fromkeys((*classes, UNKNOWN)))
        yield _Content(config.task, told, classes, (), None if config.task == "segment" else confidences)


def unlabelled(store: Store) -> list[Sample]:
    """The images of the pool without an answer."""
    known = {id for id, _ in store.answered()}
    return [sample for sample in store.samples("pool") if sample.id not in known]


def last_model(config: Config, store: Store) -> tuple[int, Path]:
    """The last round that trained a model, and its checkpoint. Raises RunError if there is none."""
    return model_of(config, store, None)


def model_of(config: Config, store: Store, round: int | None) -> tuple[int, Path]:
    """A round that trained a model, the last one if none is named, and its checkpoint. Raises RunError if there is
    none."""
    trained = [step.round for step in store.steps() if step.name == "train"]
    for number in sorted(trained, reverse=True):
        path = config.folder / "rounds" / f"{number:03d}" / "checkpoint"
        if round in (None, number) and path.exists():
            return number, path
    if round is None:
        raise RunError(f"{config.folder}: no model is trained yet: finish a round first")
    raise RunError(
        f"{config.folder}: round {round} has no model; rounds with one: {', '.join(map(str, sorted(trained)))}"
    )


def predicted(
    config: Config, store: Store, samples: Sequence[Sample], progress: Progress
) -> Iterator[tuple[Sample, Prediction]]:
    """What the last round's model says about each of the samples, in their order."""
    _, checkpoint = last_model(config, store)
    parts: Parts = build(config)
    place = Place(config.folder / "model", cache_folder(config), threads_of(config), parts.engine)
    try:
        parts.model.prepare(
            store.samples("pool"), [*store.samples("test"), *store.samples("audit")], place=place, progress=progress
        )
        want = frozenset({"boxes"}) if config.task == "detect" else frozenset({"probs"})
        size = max(1, parts.model.batch_size)
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            yield from zip(batch, parts.model.predict(checkpoint, batch, want=want), strict=True)
            progress(start + len(batch), len(samples), "images predicted")
    finally:
        parts.engine.close()


def proposed(
    task: Task, prediction: Prediction, classes: tuple[str, ...], confidence: float, mask: Path
) -> tuple[Target, list[float]]:
    """A prediction as a target, and how sure the model is of each class or box; ``mask`` is where a map is written."""
    if task == "detect":
        assert prediction.boxes is not None
        assert prediction.labels is not None
        assert prediction.confidences is not None
        keep = np.flatnonzero(prediction.confidences >= confidence)
        keep = keep[np.argsort(-prediction.confidences[keep], kind="stable")]
        names = tuple(classes[int(i)] for i in prediction.labels[keep])
        return Target(names, prediction.boxes[keep].astype(float)), prediction.confidences[keep].tolist()
    probs: Any = prediction.probs
    assert probs is not None, prediction.id
    if task == "classify":
        best = int(probs.argmax())
        return Target((classes[best],)), [float(probs[best])]
    values = empty_mask(probs.shape[0], probs.shape[1], len(classes))
    values[:] = probs.argmax(axis=-1)
    write_mask(mask, values)
    return Target(classes, mask=mask), []
