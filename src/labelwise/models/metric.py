"""A metric-trained embedding with a small head: the network learns rarely, the head in every round."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from labelwise import catalog
from labelwise.embedding.backbone import device
from labelwise.embedding.metric.losses import check_loss, make_objective
from labelwise.embedding.metric.training import Course, Loader, train
from labelwise.embedding.plain import FEATURES
from labelwise.errors import ConfigError
from labelwise.models import Place, Plan, Progress, Want, samples_of
from labelwise.models.embedded import Embedded
from labelwise.models.frozen import Frozen
from labelwise.models.heads import Fitted, Head, fit_calibrated, head_predictions, read_fitted, scaling_of
from labelwise.records import Labelled, Prediction, Sample, Task

NETWORK = "network.safetensors"
SCALED_ON = 10_000  # images of the pool that the scaling is read from


@dataclass
class Metric:
    """A timm network with a projection to ``dim`` numbers, trained so that images of one class come to lie together.

    It is trained on the labels of round 0, and further each time ``finetune_every`` labels have come since; in every
    round the head is fitted anew. ``backbone`` to ``std``, ``passes`` and ``dropout`` as for a frozen backbone.
    ``trained``: "network" trains all layers; "projection" keeps the backbone and works on its features, in seconds.
    ``loss`` is triplet, contrastive, softmax, or one of pytorch-metric-learning, ``{name: multi_similarity, alpha: 2}``
    with its options. ``mining`` chooses negatives: random, hardest or semi_hard for triplets; random, hard_pair or all
    for pairs. ``scale`` is of the embedding, read from the pool when the network is trained. ``epochs``, ``lr``,
    ``weight_decay`` and ``loader`` are those of the first training, with ``finetune_`` in front those of later ones.
    The loader "single" makes plain batches of ``train_batch``, "balanced" ones of ``classes_per_batch`` x
    ``images_per_class``.
    """

    backbone: str = "resnet18.tv_in1k"
    weights: str = "hub"
    network: dict[str, Any] = field(default_factory=dict)
    size: PositiveInt | None = None
    resize: Literal["squash", "crop"] = "squash"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    head: str | dict[str, Any] = field(default_factory=lambda: {"name": "mlp", "max_iter": 2000})
    passes: PositiveInt = 20
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    trained: Literal["network", "projection"] = "network"
    dim: PositiveInt = 256
    loss: str | dict[str, Any] = "triplet"
    margin: PositiveFloat = 1.0
    mining: str = "random"
    scale: Literal["minmax", "standard", "none"] = "minmax"
    epochs: NonNegativeInt = 5
    lr: PositiveFloat = 1e-5
    weight_decay: NonNegativeFloat = 5e-4
    loader: Loader = "single"
    finetune_every: PositiveInt = 2000
    finetune_epochs: NonNegativeInt = 20
    finetune_lr: PositiveFloat = 1e-4
    finetune_weight_decay: NonNegativeFloat = 0.0
    finetune_loader: Loader = "balanced"
    train_batch: Annotated[int, Field(ge=2)] = 128
    classes_per_batch: Annotated[int, Field(ge=2)] = 20
    images_per_class: Annotated[int, Field(ge=2)] = 10
    augment: bool = True
    freeze_norm: bool | None = None

    tasks = frozenset[Task]({"classify"})
    validation = 0.0
    batch_size = 4096
    start: ClassVar[Literal["previous"]] = "previous"

    def __post_init__(self) -> None:
        check_loss(self.loss, self.mining)
        self._head: Head = catalog.make("head", self.head, "model.head")
        names = ("backbone", "weights", "network", "size", "resize", "interpolation", "mean", "std")
        self._frozen = Frozen(**{name: getattr(self, name) for name in names})
        whole = self.trained == "network"
        if whole and self.backbone in FEATURES:
            raise ConfigError(
                f"backbone {self.backbone!r} has nothing to train: give trained: projection, or a network of timm"
            )
        self._embedded = Embedded(self._frozen, self.dim, whole, self.augment, self.freeze_norm)
        self._pool: tuple[Sample, ...] = ()

    @property
    def provides(self) -> frozenset[str]:
        """Probabilities and embeddings; samples if the head drops inputs."""
        return frozenset({"probs", "embeddings"}) | samples_of(self.passes, self._head.dropout and self.dropout > 0)

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Compute the backbone's own features, which round 0 is chosen by, and note what the scaling is read from."""
        self._frozen.prepare(pool, others, place=place, progress=progress)
        self._embedded.place = place
        by_content = sorted(pool, key=lambda s: (hashlib.blake2b(s.content.encode()).digest(), s.id))
        self._pool = tuple(by_content[:SCALED_ON])

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
        """Train the network where enough labels have come, and the head always; the checkpoint holds both."""
        samples = [x.sample for x in train]
        labels = np.array([plan.classes.index(x.target.classes[0]) for x in train], dtype=np.int64)
        out.mkdir(parents=True, exist_ok=True)
        trained_on = _trained_on(start)
        if start is not None and len(train) - trained_on < self.finetune_every:
            _link(start / NETWORK, out / NETWORK)
            scaling = read_fitted(start).scaling
        else:
            network = self._train_network(samples, labels, start, plan, seed, progress)
            self._embedded.save(network, out / NETWORK)
            trained_on = len(train)
            scaling = scaling_of(self.scale, self._embedded.vectors(out / NETWORK, self._pool or samples, progress))
        features = scaling.applied(self._embedded.vectors(out / NETWORK, samples, progress))
        fitted = Fitted(fit_calibrated(self._head, features, labels, seed=seed), scaling, plan.classes)
        fitted.save(out, {"backbone": self.backbone, "head": self.head, "trained_on": trained_on})
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Predictions from embeddings, which are computed once for each state of the network; before the first training
        from the backbone's own features."""
        if checkpoint is None:
            return self._frozen.predict(None, samples, want=want)
        fitted = read_fitted(checkpoint)
        found = self._embedded.vectors(checkpoint / NETWORK, samples, lambda done, total, what: None)
        features = fitted.scaling.applied(found)
        return head_predictions(self._head, fitted, features, samples, want, passes=self.passes, dropout=self.dropout)

    def whole(self, checkpoint: Path) -> Any:
        """A checkpoint as one network, see `labelwise.models.whole`."""
        from torch import nn

        from labelwise.models.entry import Entry
        from labelwise.models.head_networks import calibrated
        from labelwise.models.whole import FromPixels, Whole

        fitted = read_fitted(checkpoint)
        network = self._embedded.create(checkpoint / NETWORK).cpu()
        top = calibrated(self._head, str(self.head), fitted)
        if not self._embedded.whole:
            return self._frozen.whole_with(nn.Sequential(network, top), fitted)
        entry = Entry(self._embedded.preprocessing)
        temperature = float(fitted.state["temperature"][0])
        return Whole(FromPixels(network, top, entry.preprocessing), entry, fitted.classes, temperature)

    def _train_network(
        self,
        samples: Sequence[Sample],
        labels: NDArray[np.int64],
        start: Path | None,
        plan: Plan,
        seed: int,
        progress: Progress,
    ) -> Any:
        import torch

        # Embeddings must not say which class was named first: a class without a label has no place in the loss.
        seen, own = np.unique(labels, return_inverse=True)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed % 2**63)
            network = self._embedded.create(start / NETWORK if start is not None else None)
            objective = make_objective(
                self.loss, margin=self.margin, mining=self.mining, dim=self.dim, classes=len(seen), seed=seed
            ).to(device())
            rng = np.random.default_rng(seed)
            train(
                network,
                objective,
                own,
                self._embedded.inputs(samples, rng),
                self._course(first=start is None),
                before_epoch=lambda: self._embedded.training_mode(network),
                rng=rng,
                progress=progress,
            )
        return network

    def _course(self, *, first: bool) -> Course:
        common = (self.classes_per_batch, self.images_per_class, self.train_batch)
        if first:
            return Course(self.epochs, self.lr, self.weight_decay, self.loader, *common)
        later = (self.finetune_epochs, self.finetune_lr, self.finetune_weight_decay, self.finetune_loader)
        return Course(*later, *common)


def _trained_on(checkpoint: Path | None) -> int:
    """How many labels a checkpoint's network was trained on."""
    if checkpoint is None:
        return 0
    return int(json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["trained_on"])


def _link(source: Path, place: Path) -> None:
    """The same file in another folder: without a second copy where the file system can."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
