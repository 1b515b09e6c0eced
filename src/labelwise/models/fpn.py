"""Semantic segmentation with a timm backbone and a small feature pyramid: trains on sparse pixels on a laptop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from labelwise.embedding.backbone import NetworkSpec, Preprocessing, create_network, device, preprocessing_of
from labelwise.embedding.backbone import read_pixels as read_prepared
from labelwise.errors import ConfigError
from labelwise.models import Place, Plan, Progress, Want, samples_of
from labelwise.models.folding import fold_norms
from labelwise.models.pixelwise import PixelTraining, Pyramid, feature_map, padded
from labelwise.models.training import load_weights
from labelwise.records import Labelled, Prediction, Sample, Task
from labelwise.scoring.maps import softmax

Share = Annotated[float, Field(ge=0, lt=1)]
Steps = PositiveInt | list[PositiveInt]
MANY = 8  # classes


@dataclass
class Fpn:
    """A feature pyramid on a timm backbone: levels of stride 4 to 32 are summed at stride 4 and classified per pixel.

    ``backbone``, ``weights``, ``network``, ``mean`` and ``std`` as for a frozen backbone. ``size`` is the (width,
    height) pictures are scaled to for the network, None for their own; predictions always have the picture's own size.
    ``channels`` is the width of the pyramid. ``iterations`` (or else ``epochs``) is how long a round trains, one number
    or a list with one a round. ``start``: "scratch" begins each round from ``weights``, "previous" from the last
    round's network, "continue" also keeps its optimiser and goes on in one schedule over all that ``epochs`` or
    ``iterations`` list. ``lr`` is the highest learning rate of the backbone, ``head_lr`` that of the pyramid (one
    cycle, ``warmup`` its rising share). ``class_weights`` "enet" gives rare classes more weight (Paszke et al. 2016),
    "none" none. The backbone's normalisation stays as it came (``freeze_norm``). ``passes`` and ``dropout`` are those
    of MC-dropout (channels of the pyramid dropped); with ``sampling`` "flips" samples are those of the picture and its
    mirror image instead, with "both" passes alternate between these two. With a ``source`` every step learns from as
    many of its images as of the pool's; ``consistency`` and ``negative`` are then the weights of RIPU's two losses,
    local consistency on the source and negative learning of probabilities under ``negative_below`` on the pool.
    """

    backbone: str = "convnext_nano.in12k_ft_in1k"
    weights: str = "hub"
    network: dict[str, Any] = field(default_factory=dict)
    size: tuple[PositiveInt, PositiveInt] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: PositiveInt = 64
    start: Literal["scratch", "previous", "continue"] = "scratch"
    epochs: Steps = 10
    iterations: Steps | None = None
    train_batch: PositiveInt = 8
    lr: PositiveFloat = 5e-4
    head_lr: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 1e-4
    warmup: Share = 0.1
    class_weights: Literal["enet", "none"] = "enet"
    dropout: Share = 0.1
    passes: PositiveInt = 8
    sampling: Literal["dropout", "flips", "both"] = "dropout"
    augment: bool = True
    freeze_norm: bool = True
    consistency: NonNegativeFloat = 0.1
    negative: NonNegativeFloat = 1.0
    negative_below: Annotated[float, Field(gt=0, lt=1)] = 0.05

    tasks = frozenset[Task]({"segment"})
    adapts = True  # learns from a source
    validation = 0.0
    batch_size = 8

    def __post_init__(self) -> None:
        length = self.epochs if self.iterations is None else self.iterations
        if self.start == "continue" and not isinstance(length, list):
            raise ConfigError(
                "model.start=continue: expected model.iterations or model.epochs as a list with one number a round, "
                f"since its schedule runs over all of them, but found {length}"
            )
        self._place: Place | None = None
        self._loaded: tuple[Path, Any, list[str]] | None = None

    @property
    def provides(self) -> frozenset[str]:
        """Probabilities and embeddings; samples if passes differ."""
        flips = self.sampling == "flips"
        several = samples_of(2 if flips else self.passes, self.dropout > 0 or self.sampling != "dropout")
        return frozenset({"probs", "embeddings"}) | several

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and meet a missing weight file before the first round."""
        self._place = place
        self._create(2)

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
        import torch

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed % 2**63)
            network = self._create(len(plan.classes))
            if start is not None and self.start != "scratch":
                load_weights(network, start, len(plan.classes))
            training = PixelTraining(
                self,
                network.to(device()),
                train,
                plan,
                preprocessing=self._preprocessing(network),
                threads=self._threads,
                rng=np.random.default_rng(seed),
            )
            if start is not None and self.start == "continue":
                training.restore(start)
            training.run(progress)
        out.mkdir(parents=True, exist_ok=True)
        training.save(out)
        about = {"classes": plan.classes, "backbone": self.backbone, "step": training.step}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Class probabilities ``(h, w, C)`` at the size of each picture, one picture at a time.

        Embeddings are what the classifier sees: a map ``(h', w', channels)``, coarser than the picture.
        """
        assert checkpoint is not None, "without a checkpoint a segmentation has nothing to say"
        network, _ = self._load(checkpoint)
        preprocessing = self._preprocessing(network)
        pictures = read_prepared(samples, self._scaled, threads=self._threads)
        for sample, pixels in zip(samples, pictures, strict=True):
            yield Prediction(sample.id, **self._outputs(network, pixels, preprocessing, sample.size, want))

    def _outputs(
        self, network: Any, pixels: NDArray[np.uint8], preprocessing: Preprocessing, size: tuple[int, int], want: Want
    ) -> dict[str, Any]:
        import torch

        outputs: dict[str, Any] = {}
        with torch.inference_mode():
            fused = network.fused(padded([pixels], preprocessing))
            if "probs" in want:
                outputs["probs"] = self._probs(network, fused, pixels.shape[:2], size)
            if "samples" in want:
                views = [fused]
                if self.sampling != "dropout":
                    views.append(network.fused(padded([pixels[:, ::-1]], preprocessing)))
                outputs["samples"] = self._samples(network, views, pixels.shape[:2], size)
            if "embeddings" in want:
                outputs["embedding"] = feature_map(fused, pixels.shape[:2], network.stride)
        return outputs

    def _probs(self, network: Any, fused: Any, inner: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.float32]:
        import torch

        coarse = network.classifier(fused).float()
        # On the CPU torch enlarges many classes faster where those of a pixel lie together.
        together = coarse.device.type == "cpu" and coarse.shape[1] >= MANY
        coarse = coarse.contiguous(memory_format=torch.channels_last if together else torch.contiguous_format)
        logits = network.enlarged(coarse)[:, :, : inner[0], : inner[1]]
        if inner != (size[1], size[0]):
            shape = (size[1], size[0])
            logits = torch.nn.functional.interpolate(logits, shape, mode="bilinear", align_corners=False)
        # The classes of large maps leave it apart in memory, as the compiled loops of the scores read them fastest.
        return np.asarray(softmax(logits[0].permute(1, 2, 0)).cpu().numpy())

    def _samples(
        self, network: Any, views: Sequence[Any], inner: tuple[int, ...], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        import torch

        # Masks come from a generator of their own, one a pass: the same for every picture and batch.
        passes = []
        for index in range(2 if self.sampling == "flips" else self.passes):
            fused = views[index % len(views)]
            generator = torch.Generator().manual_seed(index)
            keep = (torch.rand(fused.shape[1], generator=generator) >= self.dropout).float() / (1 - self.dropout)
            if self.sampling != "flips":
                fused = fused * keep.to(fused.device)[None, :, None, None]
            probs = self._probs(network, fused, inner, size)
            passes.append(probs[:, ::-1] if index % len(views) else probs)  # the mirror image turned back
        return np.stack(passes)

    def _scaled(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image if self.size is None else image.resize(self.size, Image.Resampling.BILINEAR))

    @property
    def _threads(self) -> int:
        return self._place.threads if self._place else 1

    def _create(self, classes: int) -> Any:
        spec = NetworkSpec(self.backbone, self.weights, {**self.network, "features_only": True})
        return Pyramid(create_network(spec, num_classes=0), self.channels, classes, self.dropout)

    def _preprocessing(self, network: Any) -> Preprocessing:
        return preprocessing_of(
            network.backbone, size=None, resize="squash", interpolation=None, mean=self.mean, std=self.std
        )

    def _load(self, checkpoint: Path) -> tuple[Any, list[str]]:
        if self._loaded is None or self._loaded[0] != checkpoint:
            classes = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["classes"]
            network = self._create(len(classes))
            load_weights(network, checkpoint, len(classes))
            network = network.to(device()).eval()
            fold_norms(network)
            self._loaded = (checkpoint, network, classes)
        return self._loaded[1:]
