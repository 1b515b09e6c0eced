"""Writing what a run holds, or a dataset, for other tools: labels, open queries with proposals, or predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from labelwise import catalog
from labelwise import config as configuration
from labelwise.annotators.files import WRITERS, questions_table, samples_to_fill, write_masks_to_fill
from labelwise.config import Config
from labelwise.data import class_folders, image_masks, label_tables
from labelwise.data.box_writing import Images
from labelwise.data.crops import written_id
from labelwise.data.masks import class_counts
from labelwise.errors import ConfigError, RunError
from labelwise.exchange.contents import Content, labelled, of_dataset, predictions
from labelwise.exchange.publishing import PREFIX, publish
from labelwise.exchange.trained import model_of, predicted, proposed
from labelwise.models import Progress
from labelwise.ownership import replace_text
from labelwise.records import Sample, Target, Task
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
        content = of_dataset(source, source_format)
        _check_format(format, content.task)
        return _written(content, place, format, images)
    config = configuration.load(source)
    _check_format(format, config.task)
    with Store(source / "run.db", read_only=True) as store:
        if what == "queries":
            return _queries(config, store, place, format, images)
        if what == "predictions":
            with predictions(config, store, confidence, progress) as content:
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


def _written(content: Content, place: Path, format: str, images: Images | None) -> Exported:
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
    return _written(Content(config.task, samples, classes), place, format, images)
