"""Detection by torchvision's networks on any timm backbone: boxes with the probabilities of all classes and vectors."""

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

from labelwise import evaluate
from labelwise.embedding.backbone import (
    NetworkSpec,
    Preprocessing,
    create_network,
    device,
    preprocessing_of,
    read_pixels,
    save_tensors,
)
from labelwise.errors import ModelError
from labelwise.models import Place, Plan, Progress, Want
from labelwise.records import Labelled, Prediction, Sample, Task

Share = Annotated[float, Field(ge=0, lt=1)]
Steps = PositiveInt | list[PositiveInt]


@dataclass
class Detector:
    """A detector on a timm backbone with a small feature pyramid: FCOS, RetinaNet, Faster R-CNN or SSDlite.

    ``architecture`` is fcos, retinanet, faster_rcnn or ssdlite; ``backbone``, ``weights``, ``network``, ``mean`` and
    ``std`` as for a frozen backbone. ``size`` is the length in pixels that the longer side of a picture is scaled to.
    ``channels`` is the width of the pyramid (for the first two a multiple of 32), ``finest`` its finest stride.
    ``iterations`` (or ``epochs``) is how long a round trains, one number or a list with one a round. ``start``:
    "scratch" begins each round from ``weights``, "previous" from the last round's network. ``lr`` is the highest
    learning rate of the backbone, ``head_lr`` that of the rest (one cycle, ``warmup`` its rising share). ``flips`` and
    ``brightness`` change the pictures at random. ``validation`` is the share of the labelled images set apart: ten
    times in a training their mAP is taken, the best network stays, and ``patience`` times without gain end it.
    The backbone's normalisation stays as it came (``freeze_norm``). ``threshold`` is the least confidence of a box that
    scores see; ``overlap`` that of boxes of one class of which the surer stays; ``most`` boxes of an image are kept.
    """

    architecture: Literal["fcos", "retinanet", "faster_rcnn", "ssdlite"] = "fcos"
    backbone: str = "convnext_nano.in12k_ft_in1k"
    weights: str = "hub"
    network: dict[str, Any] = field(default_factory=dict)
    size: PositiveInt = 640
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: PositiveInt = 64
    finest: PositiveInt = 8
    start: Literal["scratch", "previous"] = "scratch"
    iterations: Steps = 400
    epochs: Steps | None = None
    train_batch: PositiveInt = 4
    lr: PositiveFloat = 1e-3
    head_lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-4
    warmup: Share = 0.1
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    brightness: Share = 0.2
    validation: Share = 0.0
    patience: PositiveInt = 4
    freeze_norm: bool = True
    threshold: Share = 0.05
    overlap: Share = 0.6
    most: PositiveInt = 100

    tasks = frozenset[Task]({"detect"})
    provides = frozenset({"probs", "boxes", "objects", "embeddings"})
    batch_size = 16

    def __post_init__(self) -> None:
        self._place: Place | None = None
        self._loaded: tuple[Path | None, Any, list[str]] | None = None
        if self.architecture in ("fcos", "retinanet") and self.channels % 32:
            raise ModelError(
                f"model.channels: expected a multiple of 32 for {self.architecture}, but found {self.channels}"
            )

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

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
        """Train on the labelled boxes and write network and classes to ``out``; images without box are background."""
        import torch

        from labelwise.models.detectors.training import BoxTraining

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed % 2**63)
            network = self._create(len(plan.classes))
            if start is not None and self.start == "previous":
                self._take_over(network, start)
            network.to(device())
            known = any(len(x.target.classes) for x in val)
            BoxTraining(
                self,
                network,
                train,
                plan,
                preprocessing=self._preprocessing(network),
                threads=self._threads,
                rng=np.random.default_rng(seed),
                check=(lambda: self._quality(network, val, plan.classes)) if known else None,
            ).run(progress)
        out.mkdir(parents=True, exist_ok=True)
        save_tensors(network.state_dict(), out / "network.safetensors", {})
        about = {"classes": plan.classes, "architecture": self.architecture, "backbone": self.backbone}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Boxes, surest first, with the probability of each class alone and the pyramid's features at the box.

        Wanting "embeddings" without "objects" gives one vector an image, from the backbone's coarsest level; with a
        checkpoint of None that is all there is. One picture at a time, so that it does not depend on the batch.
        """
        network, classes = self._load(checkpoint)
        assert classes or want <= {"embeddings"}, "boxes come from a checkpoint"
        yield from self._predict(network, samples, want)

    def _predict(self, network: Any, samples: Sequence[Sample], want: Want) -> Iterator[Prediction]:
        import torch

        from labelwise.models.detectors.rows import find
        from labelwise.models.pixelwise import padded

        preprocessing = self._preprocessing(network)
        for sample, pixels in zip(samples, read_pixels(samples, self.scaled, threads=self._threads), strict=True):
            with torch.inference_mode():
                image = padded([pixels], preprocessing)
                if want <= {"embeddings"}:
                    vector, found = network.backbone.summary(image)[0], None
                else:
                    found = find(network, self, image, pixels.shape[:2])
            if found is None:
                yield Prediction(sample.id, embedding=_plain(vector))
                continue
            back = np.array([sample.size[0] / pixels.shape[1], sample.size[1] / pixels.shape[0]] * 2, np.float32)
            probs = _plain(found.probs)
            yield Prediction(
                sample.id,
                probs=probs if "probs" in want else None,
                embedding=_plain(found.vectors) if "objects" in want else None,
                boxes=_plain(found.boxes) * back,
                labels=probs.argmax(axis=1),
                confidences=probs.max(axis=1, initial=0.0),
                independent=True,
            )

    def scaled(self, image: Image.Image) -> NDArray[np.uint8]:
        """A picture as the network sees it: its longer side ``size`` pixels long, its aspect kept."""
        share = self.size / max(image.size)
        to = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        return np.asarray(image if to == image.size else image.resize(to, Image.Resampling.BILINEAR))

    def _quality(self, network: Any, val: Sequence[Labelled], classes: tuple[str, ...]) -> float:
        """mAP on labelled images set apart."""
        truths = {x.sample.id: x.target for x in val}
        found = self._predict(network.eval(), [x.sample for x in val], frozenset({"boxes"}))
        return evaluate.detection(found, truths, classes).map

    @property
    def _threads(self) -> int:
        return self._place.threads if self._place else 1

    def _create(self, classes: int) -> Any:
        from labelwise.models.detectors.networks import build

        spec = NetworkSpec(self.backbone, self.weights, {**self.network, "features_only": True})
        backbone = create_network(spec, num_classes=0)
        return build(self.architecture, backbone, classes=classes, channels=self.channels, finest=self.finest)

    def _preprocessing(self, network: Any) -> Preprocessing:
        own = network.backbone.backbone
        return preprocessing_of(own, size=None, resize="squash", interpolation=None, mean=self.mean, std=self.std)

    def _load(self, checkpoint: Path | None) -> tuple[Any, list[str]]:
        if self._loaded is None or self._loaded[0] != checkpoint:
            import torch

            classes: list[str] = []
            if checkpoint is not None:
                classes = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["classes"]
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                torch.manual_seed(0)
                network = self._create(max(1, len(classes)))
            if checkpoint is not None:
                self._take_over(network, checkpoint)
            self._loaded = (checkpoint, network.to(device()).eval(), classes)
        return self._loaded[1:]

    def _take_over(self, network: Any, checkpoint: Path) -> None:
        """Load a checkpoint; where classes were added since, the layers that name them begin anew."""
        from safetensors.torch import load_file

        own, stored = network.state_dict(), load_file(checkpoint / "network.safetensors")
        if own.keys() != stored.keys():
            raise ModelError(f"{checkpoint} holds another network than {self.architecture} on {self.backbone}")
        network.load_state_dict(own | {k: v for k, v in stored.items() if v.shape == own[k].shape})


def _plain(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy())
