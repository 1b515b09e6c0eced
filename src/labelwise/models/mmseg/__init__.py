"""Semantic segmentation with mmsegmentation: any of its backbones and heads, as its own configuration describes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from labelwise import mmlab
from labelwise.data.ahead import read_ahead
from labelwise.errors import ModelError, RunChanged
from labelwise.models import Place, Plan, Progress, Want, samples_of
from labelwise.records import Labelled, Prediction, Sample, Task

if TYPE_CHECKING:
    from labelwise.models.mmseg.rounds import Round

# What of a configuration decides what is learnt: it must not change within a run.
LEARNING = (
    *("model", "data_preprocessor", "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "load_from"),
    *("custom_hooks", "test_pipeline", "randomness"),
)
DIGEST = "config.digest"  # in the model's folder, once something has been learnt
FIGURES = "mmengine/judged"  # in a checkpoint: what a visualizer writes of the round's figures
PICTURES = 10  # images of which reconstructions are drawn


@dataclass
class MMSeg:
    """A network of mmsegmentation, trained by its own runner as a configuration of mmengine describes.

    ``config`` is the configuration (.py), ``cfg_options`` are merged into it. ``length`` is how long a round trains, in
    the unit of its ``train_cfg`` (epochs or iterations): one number, or a list with one a round; None: all that
    ``train_cfg`` says. Its schedules are stretched to that length. ``start``: "scratch" begins each round from
    ``load_from`` or the backbone's weights, "previous" from the last round's network, "continue" also keeps optimiser
    and schedule, which then last as long as all rounds together. ``passes`` are those of MC-dropout; with ``flip``
    each prediction is the mean of the picture's and of its mirror image's.
    With a ``source``, whose images ``train_dataloader.dataset`` must hold too, each batch has one of its pictures for
    each of the pool's, losses are summed over both halves, and the decode head gets RIPU's two losses, with the weights
    ``consistency`` and ``negative``. ``keep_points``: where the pipeline makes a picture smaller, every labelled pixel
    stays on the nearest one; else scaling loses most of them. ``processes`` train together, one for each GPU, or
    sharing the processor: ``batch_size`` of the loader is that of each.

    A MultiTaskSegmentor also gives ``reconstruction``. It may learn to reconstruct the whole pool for ``warmup`` epochs
    before the first round, without labels; ``reconstructions`` is a folder for pictures of what it makes of images.
    Every ``validate_every`` iterations the losses on the validation images are logged.
    """

    config: Path
    cfg_options: dict[str, Any] = field(default_factory=dict)
    start: Literal["scratch", "previous", "continue"] = "scratch"
    length: PositiveInt | list[PositiveInt] | None = None
    passes: PositiveInt = 8
    consistency: NonNegativeFloat = 0.1
    negative: NonNegativeFloat = 1.0
    negative_below: Annotated[float, Field(gt=0, lt=1)] = 0.05
    flip: bool = False
    warmup: NonNegativeInt = 0
    reconstructions: Path | None = None
    validate_every: PositiveInt | None = None
    keep_points: bool = True
    processes: PositiveInt = 1

    tasks = frozenset[Task]({"segment"})
    adapts = True  # learns from a source
    validation = 0.0
    batch_size = 8

    def __post_init__(self) -> None:
        self._place: Place | None = None
        self._loaded: tuple[Path, Any] | None = None
        self._pool: tuple[Sample, ...] = ()

    @cached_property
    def provides(self) -> frozenset[str]:
        """Probabilities, vectors and, from a network that has dropout or learns it, samples and reconstruction."""
        config = self._read()
        found = frozenset({"probs", "embeddings"}) | samples_of(self.passes, mmlab.drops(config.get("model") or {}))
        return found | {"reconstruction"} if mmlab.multi_task(config) else found

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and refuse a configuration that changed since the run began."""
        self._place = place
        config = self._read()
        if self.warmup and not mmlab.multi_task(config):
            raise ModelError(f"{self.config}: warmup={self.warmup} needs model.type='MultiTaskSegmentor'")
        self._pool = tuple(pool) if self.warmup else ()
        if known := next((s.target.classes for s in [*pool, *others] if s.target and s.target.mask), None):
            _check_classes(config, known, self.config)
        file = place.home / DIGEST
        if not file.is_file():
            self._try(config, place.home)
        elif file.read_text(encoding="utf-8") != _digest(config):
            raise RunChanged(
                f"{self.config} describes another training than when this run began ({place.home / 'config.py'}): put "
                "it back to continue, or give name=NEW to begin another run"
            )
        (place.home / "config.py").write_text(config.pretty_text, encoding="utf-8")

    def _try(self, config: Any, home: Path) -> None:
        """Build what will train, so that a slip shows before anyone has labelled for it."""
        from labelwise.models.mmseg.predictor import built
        from labelwise.models.mmseg.rounds import guarded

        guarded(built, config, failed=f"{self.config}: mmsegmentation cannot build the network", told=home)
        begin = config.get("load_from")
        if begin and not re.match(r"[\w-]{2,}:", begin) and not Path(begin).is_file():
            raise ModelError(f"{self.config}: load_from: no file {begin!r} in the working folder: correct the path")

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
        from labelwise.models.mmseg.rounds import Round

        amounts = self.length if isinstance(self.length, list) else [self.length or 0]
        here = amounts[min(plan.round, len(amounts) - 1)]
        whole = sum(amounts) if self.start == "continue" and isinstance(self.length, list) else here
        out.mkdir(parents=True, exist_ok=True)
        labelled = [x for x in train if x.target.mask is not None or len(x.target.classes)]
        before = start if self.start != "scratch" else None
        losses = (self.consistency, self.negative, self.negative_below)
        weights = self._warmed(config, plan, seed, progress) if self.warmup and before is None else None
        hooks = self._hooks(config, f"round{plan.round}", [x.sample for x in labelled])
        goes_on = self.start == "continue"
        round = Round(
            labelled,
            plan,
            before,
            goes_on,
            here,
            whole,
            seed,
            out,
            losses,
            self.keep_points,
            weights,
            hooks=hooks,
            home=self._home(out),
        )
        self._train(config, round, progress)
        about = {"classes": plan.classes, "config": str(self.config)}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._bind(config)
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Class probabilities ``(h, w, C)`` at the size of each picture, one at a time, by the test pipeline."""
        assert checkpoint is not None, "without a checkpoint a segmentation has nothing to say"
        from labelwise.models.mmseg.rounds import guarded

        predictor = self._load(checkpoint)
        threads = self._place.threads if self._place else 1
        prepared = partial(guarded, predictor.prepared, failed="the test pipeline failed")
        ready = read_ahead(samples, prepared, threads=threads, window=2 * threads)
        for sample, data in zip(samples, ready, strict=True):
            failed = f"{sample.id}: the prediction failed"
            yield guarded(predictor.predict, sample, data, want, self.passes, failed=failed)

    def judged(self, checkpoint: Path, round: int, figures: Mapping[str, Mapping[str, Any]]) -> None:
        """Give a round's figures, by split, to the backends that draw the curves of its training."""
        config = self._read()
        if mmlab.backends(config):
            from labelwise.models.mmseg.curves import draw_figures

            draw_figures(config, self._home(checkpoint), checkpoint / FIGURES, round, figures)

    def _bind(self, config: Any) -> None:
        """From here on the run holds to this configuration: something has been learnt with it."""
        if self._place is not None:
            (self._place.home / DIGEST).write_text(_digest(config), encoding="utf-8")

    def _home(self, other: Path) -> Path:
        return self._place.home if self._place is not None else other

    def _warmed(self, config: Any, plan: Plan, seed: int, progress: Progress) -> Path:
        """The network that has learnt to reconstruct the pool; made once in a run, whole or not at all."""
        from labelwise.models.mmseg.rounds import Round, unlabelled

        assert self._place is not None, "prepare comes first"
        done = self._place.home / "warmup"
        if not done.is_dir():
            beside = done.with_name("warmup.partial")
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            loader = config["train_dataloader"]
            steps = -(-len(self._pool) // int(loader.get("batch_size") or 1))
            length = self.warmup * (1 if mmlab.by_epoch(config.get("train_cfg") or {}) else steps)
            items, hooks = unlabelled(self._pool), self._hooks(config, "warmup", self._pool)
            round = Round(
                items,
                plan,
                None,
                False,
                length,
                length,
                seed,
                beside,
                stage="mae",
                hooks=hooks,
                home=self._home(beside),
            )
            self._train(config, round, progress)
            beside.replace(done)
            self._bind(config)
        return done

    def _train(self, config: Any, round: Round, progress: Progress) -> None:
        from labelwise.models.mmseg.ranks import train_on_ranks
        from labelwise.models.mmseg.rounds import train_round

        if self.processes == 1:
            train_round(config, round, progress)
        else:
            threads = self._place.threads if self._place else 1
            train_on_ranks(self.config, self.cfg_options, round, self.processes, threads, progress)

    def _hooks(self, config: Any, name: str, samples: Sequence[Sample]) -> list[Callable[[Any], Any]]:
        """What looks on while it learns."""
        from labelwise.models.mmseg.watch import Reconstructions, ValidationLosses

        hooks: list[Callable[[Any], Any]] = []
        if self.validate_every:
            hooks.append(partial(ValidationLosses, every=self.validate_every))
        if self.reconstructions and mmlab.multi_task(config):
            folder, images = self.reconstructions / name, [s.path for s in samples[:PICTURES]]
            hooks.append(partial(Reconstructions, folder=folder, images=images))
        return hooks

    def _load(self, checkpoint: Path) -> Any:
        from labelwise.models.mmseg.predictor import Predictor
        from labelwise.models.mmseg.rounds import guarded

        if self._loaded is None or self._loaded[0] != checkpoint:
            found = guarded(
                Predictor, self._read(), checkpoint, self.flip, failed=f"the network in {checkpoint} cannot be built"
            )
            self._loaded = (checkpoint, found)
        return self._loaded[1]

    def _read(self) -> Any:
        return mmlab.load_config(self.config, self.cfg_options)


def _digest(config: Any) -> str:
    """What tells whether two configurations learn alike."""
    learning = "\n".join(f"{key} = {config.get(key)!r}" for key in LEARNING)
    return hashlib.blake2b(learning.encode(), digest_size=16).hexdigest()


def _check_classes(config: Any, classes: Sequence[str], path: Path) -> None:
    for head in mmlab.heads(config.get("model") or {}):
        if head.get("num_classes") != len(classes):
            raise ModelError(
                f"{path}: expected model.decode_head.num_classes={len(classes)} for the classes {', '.join(classes)}, "
                f"found {head.get('num_classes')}; a network of mmsegmentation cannot learn further classes"
            )
