"""Fine-tuning of a timm network on the labelled images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from labelwise.embedding.backbone import (
    NetworkSpec,
    Preprocessing,
    create_network,
    device,
    preprocessing_of,
    read_pixels,
    to_input,
)
from labelwise.models import Place, Plan, Progress, Want, samples_of
from labelwise.models.training import EVAL_BATCH, Training, batches, load_weights
from labelwise.records import Labelled, Prediction, Sample, Task

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass
class Finetune:
    """All layers of a timm network are trained (AdamW, warm-up then cosine), with random flips, crops and brightness.

    ``backbone``, ``weights``, ``network``, ``size``, ``resize``, ``mean`` and ``std`` as for a frozen backbone.
    ``start``: "scratch" begins each round from ``weights``, "previous" from the last round's network, "continue" also
    keeps its optimiser and goes on with its schedule. ``lr`` is the highest learning rate of the network, ``head_lr``
    that of its classifier. Training stops when the validation loss has not fallen for ``patience`` epochs, and keeps
    the best epoch. ``validation`` is the share of the labelled images set apart for that and for the temperature.
    ``passes`` and ``dropout`` are those of MC-dropout.
    """

    backbone: str = "convnext_nano.in12k_ft_in1k"
    weights: str = "hub"
    network: dict[str, Any] = field(default_factory=dict)
    size: PositiveInt | None = None
    resize: Literal["squash", "crop"] = "squash"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    start: Literal["scratch", "previous", "continue"] = "scratch"
    epochs: PositiveInt = 20
    train_batch: PositiveInt = 32
    lr: PositiveFloat = 2e-4
    head_lr: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 0.02
    warmup: Share = 0.1
    patience: PositiveInt = 5
    validation: Share = 0.15
    dropout: Share = 0.2
    passes: PositiveInt = 10
    augment: bool = True
    freeze_norm: bool | None = None

    tasks = frozenset[Task]({"classify"})
    batch_size = 256

    def __post_init__(self) -> None:
        self._place: Place | None = None
        self._loaded: tuple[Path, Any, list[str], float] | None = None
        self._bare: Any = None

    @property
    def provides(self) -> frozenset[str]:
        """Probabilities and embeddings; samples if anything is dropped."""
        return frozenset({"probs", "embeddings"}) | samples_of(self.passes, self.dropout > 0)

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None, "_bare": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and meet a missing weight file before the first round."""
        self._place = place
        self._load(None)

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
        """Train with early stopping on ``val`` and write network, classes and temperature to ``out``."""
        import torch

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed % 2**63)
            network = self._network_to_train(start, plan.classes).to(device())
            training = Training(
                self,
                network,
                train,
                val,
                plan.classes,
                preprocessing=self._preprocessing(network),
                threads=self._threads,
                rng=np.random.default_rng(seed),
            )
            if start is not None and self.start == "continue":
                training.restore(start)
            training.run(progress)
        out.mkdir(parents=True, exist_ok=True)
        training.save(out)
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Predictions, read ahead of the device; embeddings are the pooled features of the network as trained so
        far."""
        import torch

        network, classes, temperature = self._load(checkpoint)
        preprocessing = self._preprocessing(network)
        pictures = read_pixels(samples, preprocessing.pixels, threads=self._threads)
        for batch, pixels in batches(samples, pictures, EVAL_BATCH):
            outputs: dict[str, NDArray[Any]] = {}
            with torch.inference_mode():
                maps = network.forward_features(to_input(pixels, preprocessing, device()))
                pooled = network.forward_head(maps, pre_logits=True)
                if "embeddings" in want:
                    outputs["embedding"] = pooled.float().cpu().numpy()
                if classes and "probs" in want:
                    logits = network.get_classifier()(pooled).float() / temperature
                    outputs["probs"] = logits.softmax(dim=-1).cpu().numpy()
                if classes and "samples" in want:
                    outputs["samples"] = self._samples(network, pooled, temperature)
            for i, sample in enumerate(batch):
                yield Prediction(sample.id, **{k: v[i] for k, v in outputs.items()})

    def whole(self, checkpoint: Path) -> Any:
        """A checkpoint as one network, see `labelwise.models.whole`."""
        from torch import nn

        from labelwise.models.entry import Entry
        from labelwise.models.whole import FromPixels, Pooled, Whole

        about = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))
        network = self._create(len(about["classes"]))
        load_weights(network, checkpoint, len(about["classes"]))
        preprocessing = self._preprocessing(network)
        body = FromPixels(nn.Identity(), Pooled(network, about["temperature"]), preprocessing)
        return Whole(body, Entry(preprocessing), tuple(about["classes"]), about["temperature"])

    def _samples(self, network: Any, pooled: Any, temperature: float) -> NDArray[Any]:
        import torch

        # Masks come from a generator of their own, one a pass: the same for every image and batch, and
        # nobody's random state is touched.
        passes = []
        for index in range(self.passes):
            generator = torch.Generator().manual_seed(index)
            keep = (torch.rand(pooled.shape[1], generator=generator) >= self.dropout).float() / (1 - self.dropout)
            passes.append(
                (network.get_classifier()(pooled * keep.to(pooled.device)).float() / temperature).softmax(dim=-1)
            )
        return np.asarray(torch.stack(passes, dim=1).cpu().numpy())

    @property
    def _threads(self) -> int:
        return self._place.threads if self._place else 1

    def _create(self, num_classes: int) -> Any:
        return create_network(
            NetworkSpec(self.backbone, self.weights, self.network), num_classes=num_classes, size=self.size
        )

    def _preprocessing(self, network: Any) -> Preprocessing:
        return preprocessing_of(
            network, size=self.size, resize=self.resize, interpolation=None, mean=self.mean, std=self.std
        )

    def _network_to_train(self, start: Path | None, classes: tuple[str, ...]) -> Any:
        network = self._create(len(classes))
        # A new classifier begins undecided: some networks draw it so large that the first steps destroy their features.
        for parameter in network.get_classifier().parameters():
            parameter.data.zero_()
        if start is not None and self.start != "scratch":
            load_weights(network, start, len(classes))
        return network

    def _load(self, checkpoint: Path | None) -> tuple[Any, list[str], float]:
        if checkpoint is None:
            self._bare = self._bare if self._bare is not None else self._create(0).to(device())
            return self._bare, [], 1.0
        if self._loaded is None or self._loaded[0] != checkpoint:
            about = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))
            network = self._create(len(about["classes"]))
            load_weights(network, checkpoint, len(about["classes"]))
            self._loaded = (checkpoint, network.to(device()).eval(), about["classes"], about["temperature"])
        return self._loaded[1:]
