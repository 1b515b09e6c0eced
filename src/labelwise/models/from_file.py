"""Predictions from a file as a model: somebody trains elsewhere, and every round reads what that model says now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.catalog import suggest
from labelwise.data.predictions import PredictionSet, read
from labelwise.data.predictions.joining import listed
from labelwise.errors import ConfigError, DataError
from labelwise.models import Place, Plan, Progress, Want
from labelwise.records import Labelled, Prediction, Sample, Task

ARRAYS, ABOUT = "predictions.npz", "about.json"
_OF_BOXES = ("boxes", "labels", "confidences", "probs")


@dataclass
class FromFile:
    """What a model trained elsewhere says: a file or folder of predictions, read anew in every round.

    ``path`` and ``format`` are those of `labelwise.read_predictions`, ``options`` the format's own; ``classes`` are the
    model's, in the order of its outputs, or by number, where the file does not name them and they are not those of the
    run. ``absent`` says what an image without entry means: "missing" is an error, "empty" that nothing was found
    there, "auto" what the format says of it. ``unchanged`` says what to do if a round would read the very same
    predictions again: "use" them, or "stop" until there are new ones.
    """

    path: Path
    format: str = "auto"
    classes: list[str] | dict[int, str] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    absent: Literal["auto", "missing", "empty"] = "auto"
    unchanged: Literal["use", "stop"] = "use"

    tasks = frozenset[Task]({"classify", "detect"})
    provides = frozenset({"probs", "boxes"})
    needs_labels = False
    looks = False  # it sees no picture, so that it cannot be asked about a changed one
    validation = 0.0
    batch_size = 512
    start = "previous"

    def __post_init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()
        self._loaded: tuple[Path, dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What is read is read anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember which images there are, and meet a file that is not there before the first round."""
        self._samples = (*pool, *others)
        if not self.path.expanduser().exists():
            raise DataError(
                f"model.path: expected predictions at {str(self.path)!r}, found nothing there; write them first"
            )

    def fit(
        self,
        train: Sequence[Labelled],
        val: Sequence[Labelled],
        *,
        out: Path,
        start: Path | None,
        plan: Plan,
        seed: int,
        progress: Progress,
    ) -> Path:
        """Read the predictions of all images as they are now and keep them in ``out``, so that a round does not change.

        Raises DataError for images without prediction, classes the run does not have, and unchanged predictions where
        these are to stop the run.
        """
        samples = self._samples or tuple(x.sample for x in (*train, *val))
        digest = _digest(self.path.expanduser())
        if self.unchanged == "stop" and train and start is not None and _about(start)["digest"] == digest:
            raise DataError(
                f"{self.path}: expected new predictions for round {plan.round + 1}, found those of the round before: "
                "train on the labels so far, write what the new model says there, then run again"
            )
        found = self._read(samples, plan.classes)
        out.mkdir(parents=True, exist_ok=True)
        _write(out / ARRAYS, found, samples, _order(self.path, found.classes, plan.classes), len(plan.classes))
        about = {"classes": plan.classes, "path": str(self.path), "digest": digest, "notes": found.summary()}
        (out / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """What the file said when the round read it; probabilities of boxes where it had them."""
        assert checkpoint is not None, "predictions are read in fit"
        stored = self._stored(checkpoint)
        for sample in samples:
            row = stored["row_of"].get(sample.id)
            if row is None:
                raise DataError(f"{self.path}: no prediction for {sample.id}; begin another run to read the file anew")
            if "boxes" not in stored:
                yield Prediction(sample.id, probs=stored["probs"][row])
                continue
            part = slice(int(stored["ends"][row] - stored["counts"][row]), int(stored["ends"][row]))
            arrays = {name: stored[name][part] for name in _OF_BOXES if name in stored}
            yield Prediction(sample.id, independent=bool(stored["independent"]) and "probs" in arrays, **arrays)

    def _read(self, samples: Sequence[Sample], classes: Sequence[str]) -> PredictionSet:
        sizes = {s.id: s.size for s in samples if min(s.size) > 0}
        declared = self.classes if self.classes is not None else None
        given: Any = {"format": self.format, "sizes": sizes or None, **self._absent(), **self.options}
        path, ids = self.path.expanduser(), [s.id for s in samples]
        try:
            found = read(path, ids, classes=declared, **given)
        except DataError:
            if declared is not None:
                raise
            found = read(path, ids, classes=list(classes), **given)  # it declares none: then they are the run's
        if found.missing:
            raise DataError(
                f"{self.path}: expected a prediction for each of {len(samples):,} images, found none for "
                f"{len(found.missing):,}: {listed(found.missing)}; predict them, or set model.absent=empty if nothing "
                "was found in them"
            )
        return found

    def _absent(self) -> dict[str, str]:
        """The reader's own word for images without entry, where it has one."""
        from labelwise import catalog
        from labelwise.data.predictions import guess

        name = guess(self.path.expanduser()) if self.format == "auto" else self.format
        known = catalog.option_types(catalog.resolve("predictions", name))
        if "absent" in known:
            return {"absent": self.absent}
        if self.absent == "empty":
            raise ConfigError(
                f"model.absent: expected missing, since {name} has no images without detection; take it out"
            )
        return {}

    def _stored(self, checkpoint: Path) -> dict[str, Any]:
        if self._loaded is None or self._loaded[0] != checkpoint:
            with np.load(checkpoint / ARRAYS, allow_pickle=False) as file:
                stored: dict[str, Any] = {name: file[name] for name in file.files}
            stored["row_of"] = {id: row for row, id in enumerate(stored["ids"].tolist())}
            self._loaded = checkpoint, stored
        return self._loaded[1]


def _about(checkpoint: Path) -> Mapping[str, Any]:
    known: Mapping[str, Any] = json.loads((checkpoint / ABOUT).read_text(encoding="utf-8"))
    return known


def _order(path: Path, given: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the file its place among the run's. Raises DataError for one that the run does not have."""
    strange = [name for name in given if name not in wanted]
    if strange:
        raise DataError(f"{path}: class {strange[0]!r} is none of the run's: {suggest(strange[0], wanted)}; rename it")
    return np.array([list(wanted).index(name) for name in given], dtype=np.int64)


def _write(file: Path, found: PredictionSet, samples: Sequence[Sample], order: NDArray[np.int64], classes: int) -> None:
    """All predictions in one file of arrays, with the class axis of the run."""
    by_id = {prediction.id: prediction for prediction in found}
    predictions = [by_id[sample.id] for sample in samples]
    arrays: dict[str, Any] = {"ids": np.array([p.id for p in predictions], dtype=np.str_)}
    if found.task == "detect":
        lacking = next((p.id for p in predictions if p.boxes is None or p.confidences is None), None)
        if lacking is not None:
            raise DataError(f"{file.name}: expected boxes with a confidence, found none for {lacking}; write them")
        arrays["counts"] = np.array([len(p.boxes) for p in predictions if p.boxes is not None], dtype=np.int64)
        arrays["ends"] = np.cumsum(arrays["counts"])
        arrays["boxes"] = _joined([p.boxes for p in predictions], (0, 4))
        arrays["confidences"] = _joined([p.confidences for p in predictions], (0,))
        arrays["labels"] = order[_joined([p.labels for p in predictions], (0,)).astype(np.int64)]
        arrays["independent"] = np.array(any(p.independent for p in predictions))
        if any(p.probs is not None and len(p.probs) for p in predictions):
            arrays["probs"] = _placed(_joined([p.probs for p in predictions], (0, len(order))), order, classes)
    else:
        arrays["probs"] = _placed(np.stack([np.asarray(p.probs) for p in predictions]), order, classes)
    with file.open("wb") as target:
        np.savez(target, **arrays)


def _joined(values: Sequence[NDArray[Any] | None], empty: tuple[int, ...]) -> NDArray[Any]:
    some = [v for v in values if v is not None and len(v)]
    return np.concatenate(some) if some else np.zeros(empty, np.float32)


def _placed(probs: NDArray[Any], order: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Probabilities on the class axis of the run, 0 for classes that the file does not have."""
    placed = np.zeros((len(probs), classes), np.float32)
    placed[:, order] = probs
    return placed


def _digest(path: Path) -> str:
    """A digest of a file, or of all files of a folder."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() if file != path else b"")
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "blake2b").digest())
    return digest.hexdigest()
