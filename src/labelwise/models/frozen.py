"""A frozen backbone with a small head: features are computed once and kept, a round trains the head in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from labelwise import catalog
from labelwise.embedding.backbone import NetworkSpec, create_network
from labelwise.embedding.extractor import Extractor, fill, make_extractor
from labelwise.embedding.plain import FEATURES
from labelwise.embedding.table import Table
from labelwise.models import Place, Plan, Progress, Want, samples_of
from labelwise.models.heads import Fitted, Head, Scaling, fit_calibrated, head_predictions, probabilities, read_fitted
from labelwise.ownership import replace_text
from labelwise.records import Labelled, Prediction, Sample, Task

Array = NDArray[np.float32]
VECTORS = "vectors.json"  # in the model's folder: where the table of the run's vectors lies


@dataclass
class Frozen:
    """Features of a backbone that is not trained, standardised over the pool, and a head fitted on the labelled ones.

    ``backbone`` is a name of timm; or "pixels", the grey picture itself at ``size`` x ``size``, or "edges", its edges
    in a grid: both need no network and no weights, and are meant for tiny or simple pictures. ``weights`` is "hub", a
    file, or "none" for an untrained network; ``network`` holds further arguments of timm.create_model. ``size``,
    ``resize``, ``interpolation``, ``mean`` and ``std`` replace the backbone's own preprocessing. ``head`` is logistic,
    mlp or knn, or ``{name: logistic, C: 0.03}``. ``passes`` and ``dropout`` are those of the MC-dropout samples (inputs
    of the head dropped).
    """

    backbone: str = "convnext_nano.in12k_ft_in1k"
    weights: str = "hub"
    network: dict[str, Any] = field(default_factory=dict)
    size: PositiveInt | None = None
    resize: Literal["squash", "crop"] = "squash"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    head: str | dict[str, Any] = "logistic"
    passes: PositiveInt = 20
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3

    def __post_init__(self) -> None:
        self._head: Head = catalog.make("head", self.head, "model.head")
        self._place: Place | None = None
        self._table_at: tuple[Path, int] | None = None

    tasks = frozenset[Task]({"classify"})
    validation = 0.0
    batch_size = 4096
    start: ClassVar[Literal["scratch"]] = "scratch"

    @property
    def provides(self) -> frozenset[str]:
        """Probabilities and embeddings; samples if the head drops inputs."""
        return frozenset({"probs", "embeddings"}) | samples_of(self.passes, self._head.dropout and self.dropout > 0)

    def __getstate__(self) -> dict[str, Any]:
        # The network, the table and its lock belong to one process.
        return {k: v for k, v in self.__dict__.items() if k not in ("extractor", "_table", "moments")}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Compute the features that the table does not have, and the mean and deviation of the pool's."""
        self._place, self._table_at = place, None
        for name in ("_table", "moments"):  # of an earlier place
            self.__dict__.pop(name, None)
        # A worker that gets this object finds the table without building the network.
        self._table_at = (self._table.folder, self._table.dim)
        missing = set(self._table.missing([s.content for s in [*pool, *others]]))
        first = {s.content: s for s in [*pool, *others] if s.content in missing}
        if first:
            fill(
                self._table,
                list(first.values()),
                self.extractor,
                threads=place.threads,
                progress=progress,
                engine=place.engine,
                make=self._own_extractor,
            )
        # Who looks at the run finds the vectors by this, without building the network.
        replace_text(
            place.home / VECTORS, json.dumps({"folder": str(self._table_at[0].absolute()), "dim": self._table_at[1]})
        )
        moments = place.home / "standard.npz"
        if not moments.exists():
            features = self._table.lookup([s.content for s in pool])
            std = features.std(axis=0)
            beside = moments.with_suffix(".partial.npz")
            # A feature that is the same all over the pool says nothing: it must not blow up where a test image differs.
            np.savez(beside, mean=features.mean(axis=0), std=np.where(std > 1e-6, std, 1).astype(np.float32))
            beside.replace(moments)

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
        """Fit and calibrate the head; the checkpoint is one .npz with everything but the backbone."""
        features = self._features([x.sample for x in train])
        labels = np.array([plan.classes.index(x.target.classes[0]) for x in train], dtype=np.int64)
        state = fit_calibrated(self._head, features, labels, seed=seed)
        fitted = Fitted(state, Scaling(*self.moments), plan.classes)
        fitted.save(out, {"backbone": self.backbone, "head": self.head})
        return out

    def folded(
        self, labelled: Sequence[Labelled], folds: NDArray[np.int64], classes: Sequence[str], *, seed: int
    ) -> Array:
        """Probabilities ``(n, C)`` of each image by a head that was fitted on the images of the other folds."""
        features = self._features([x.sample for x in labelled])
        labels = np.array([classes.index(x.target.classes[0]) for x in labelled], dtype=np.int64)
        probs = np.full((len(labelled), len(classes)), 1 / len(classes), dtype=np.float32)
        for fold in np.unique(folds):
            out = folds == fold
            if not out.all():
                state = fit_calibrated(self._head, features[~out], labels[~out], seed=seed)
                probs[out] = probabilities(self._head, state, features[out], len(classes))
        return probs

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Predictions from cached features, one matrix product a batch."""
        fitted = read_fitted(checkpoint) if checkpoint is not None else None
        features = self._features(samples)
        return head_predictions(self._head, fitted, features, samples, want, passes=self.passes, dropout=self.dropout)

    def _features(self, samples: Sequence[Sample]) -> Array:
        return Scaling(*self.moments).applied(self.raw(samples))

    def raw(self, samples: Sequence[Sample]) -> Array:
        """The backbone's features ``(n, d)`` as they are; those of images that `prepare` has seen."""
        return self._table.lookup([s.content for s in samples])

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean and deviation of the pool's features, ``(d,)`` each."""
        assert self._place is not None, "prepare comes first"
        with np.load(self._place.home / "standard.npz") as stored:
            return stored["mean"], stored["std"]

    @cached_property
    def extractor(self) -> Extractor:
        """How an image becomes features."""
        return make_extractor(
            backbone=self.backbone,
            weights=self.weights,
            network=self.network,
            size=self.size,
            resize=self.resize,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )

    def whole(self, checkpoint: Path) -> Any:
        """A checkpoint as one network, see `labelwise.models.whole`."""
        from labelwise.models.head_networks import calibrated

        fitted = read_fitted(checkpoint)
        return self.whole_with(calibrated(self._head, str(self.head), fitted), fitted)

    def whole_with(self, top: Any, fitted: Fitted) -> Any:
        """The backbone under a torch module that takes its features."""
        from labelwise.models.entry import Entry, plain_entry
        from labelwise.models.whole import FromPixels, GreyPixels, Whole

        temperature = float(fitted.state["temperature"][0])
        if self.backbone in FEATURES:
            entry = plain_entry(
                self.backbone, self.size or FEATURES[self.backbone].size, self.interpolation or "bilinear"
            )
            return Whole(GreyPixels(top), entry, fitted.classes, temperature)
        preprocessing = self.extractor.preprocessing
        assert preprocessing is not None, self.backbone
        return Whole(FromPixels(self.create(), top, preprocessing), Entry(preprocessing), fitted.classes, temperature)

    def create(self) -> Any:
        """The backbone's network, on the CPU, with pooled features as its output."""
        return create_network(NetworkSpec(self.backbone, self.weights, self.network), num_classes=0, size=self.size)

    def _own_extractor(self) -> Extractor:
        # As a method it can be sent to a worker, whose copy of this object builds the network for itself.
        return self.extractor

    @cached_property
    def _table(self) -> Table:
        assert self._place is not None, "prepare comes first"
        if self._table_at is None:
            return self.extractor.table(self._place.cache)
        (self._table_at[0] / "table.json").stat()  # where a worker cannot see the cache, none must be made
        return Table(*self._table_at, {})
