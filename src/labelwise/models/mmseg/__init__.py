"""Semantic segmentation with mmsegmentation: any of its backbones and heads, as its own configuration describes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from labelwise import mmlab
from labelwise.data.images import read_ahead
from labelwise.errors import ModelError, RunChanged
from labelwise.models import Place, Plan, Progress, Want
from labelwise.records import Labelled, Prediction, Sample, Task

# What of a configuration decides what is learnt: it must not change within a run.
LEARNING = (
    *("model", "data_preprocessor", "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "load_from"),
    *("custom_hooks", "test_pipeline", "randomness"),
)


@dataclass
class MMSeg:
    """A network of mmsegmentation, trained by its own runner as a configuration of mmengine describes.

    ``config`` is the configuration (.py), ``cfg_options`` are merged into it. ``length`` is how long a round trains, in
    the unit of its ``train_cfg`` (epochs or iterations): one number, or a list with one a round; None: all that
    ``train_cfg`` says. Its schedules are stretched to that length. ``start``: "scratch" begins each round from
    ``load_from`` or the backbone's weights, "previous" from the last round's network, "continue" also keeps optimiser
    and schedule, which then last as long as all rounds together. ``passes`` are those of MC-dropout.
    With a ``source``, whose images ``train_dataloader.dataset`` must hold too, each batch has one of its pictures for
    each of the pool's, losses are summed over both halves, and the decode head gets RIPU's two losses, with the weights
    ``consistency`` and ``negative``. ``keep_points``: where the pipeline makes a picture smaller, every labelled pixel
    stays on the nearest one; else scaling loses most of them.
    """

    config: Path
    cfg_options: dict[str, Any] = field(default_factory=dict)
    start: Literal["scratch", "previous", "continue"] = "scratch"
    length: PositiveInt | list[PositiveInt] | None = None
    passes: PositiveInt = 8
    consistency: NonNegativeFloat = 0.1
    negative: NonNegativeFloat = 1.0
    negative_below: Annotated[float, Field(gt=0, lt=1)] = 0.05
    keep_points: bool = True

    tasks = frozenset[Task]({"segment"})
    provides = frozenset({"probs", "samples", "embeddings"})
    adapts = True  # learns from a source
    validation = 0.0
    batch_size = 8

    def __post_init__(self) -> None:
        self._place: Place | None = None
        self._loaded: tuple[Path, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and refuse a configuration that changed since the run began."""
        self._place = place
        config = self._read()
        learning = "\n".join(f"{key} = {config.get(key)!r}" for key in LEARNING)
        digest = hashlib.blake2b(learning.encode(), digest_size=16).hexdigest()
        file = place.home / "config.digest"
        if file.is_file() and file.read_text(encoding="utf-8") != digest:
            raise RunChanged(
                f"{self.config} describes another training than when this run began ({place.home / 'config.py'}): put "
                "it back to continue, or give name=NEW to begin another run"
            )
        (place.home / "config.py").write_text(config.pretty_text, encoding="utf-8")
        file.write_text(digest, encoding="utf-8")

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
        """Train on the labelled pixels and write network and classes to ``out``; images without any are left out."""
        config = self._read()
        _check_classes(config, plan.classes, self.config)
        from labelwise.models.mmseg.rounds import Round, train_round

        amounts = self.length if isinstance(self.length, list) else [self.length or 0]
        here = amounts[min(plan.round, len(amounts) - 1)]
        whole = sum(amounts) if self.start == "continue" and isinstance(self.length, list) else here
        out.mkdir(parents=True, exist_ok=True)
        labelled = [x for x in train if x.target.mask is not None or len(x.target.classes)]
        before = start if self.start != "scratch" else None
        losses = (self.consistency, self.negative, self.negative_below)
        round = Round(
            labelled, plan, before, self.start == "continue", here, whole, seed, out, losses, self.keep_points
        )
        train_round(config, round, progress)
        about = {"classes": plan.classes, "config": str(self.config)}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Class probabilities ``(h, w, C)`` at the size of each picture, one at a time, by the test pipeline."""
        assert checkpoint is not None, "without a checkpoint a segmentation has nothing to say"
        predictor = self._load(checkpoint)
        threads = self._place.threads if self._place else 1
        ready = read_ahead(samples, predictor.prepared, threads=threads, window=2 * threads)
        for sample, data in zip(samples, ready, strict=True):
            yield predictor.predict(sample, data, want, self.passes)

    def _load(self, checkpoint: Path) -> Any:
        from labelwise.models.mmseg.predictor import Predictor

        if self._loaded is None or self._loaded[0] != checkpoint:
            self._loaded = (checkpoint, Predictor(self._read(), checkpoint))
        return self._loaded[1]

    def _read(self) -> Any:
        return mmlab.load_config(self.config, self.cfg_options)


def _check_classes(config: Any, classes: Sequence[str], path: Path) -> None:
    for head in mmlab.heads(config.get("model") or {}):
        if head.get("num_classes") != len(classes):
            raise ModelError(
                f"{path}: expected model.decode_head.num_classes={len(classes)} for the classes {', '.join(classes)}, "
                f"found {head.get('num_classes')}; a network of mmsegmentation cannot learn further classes"
            )
