"""Object detection with transformers: RT-DETR, DETR, Deformable DETR and their kin, by name or from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from labelwise.embedding.backbone import device
from labelwise.errors import ModelError
from labelwise.models import Place, Plan, Progress, Want
from labelwise.models.found import corners, record
from labelwise.models.hub import (
    load_network,
    load_pretrained,
    parts,
    prepared,
    quiet_transformers,
    require,
    same_shapes,
)
from labelwise.records import Labelled, Prediction, Sample, Task

Share = Annotated[float, Field(ge=0, lt=1)]
Confidence = Annotated[float, Field(ge=0, le=1)]
KIND = "AutoModelForObjectDetection"


@dataclass
class TransformersDetector:
    """A detector of transformers, fine-tuned on the labelled boxes with the loss it was made with (AdamW).

    ``weights`` is a name of the hub or a folder; its classifier is replaced by one for the run's classes. ``size`` is
    the side that pictures are scaled to (the shorter one where the network takes any shape), None for its own.
    ``start``: "scratch" begins each round from ``weights``, "previous" from the last round's network. ``lr`` is the
    highest learning rate, ``backbone_lr`` that of the backbone. Training stops when the validation loss has not fallen
    for ``patience`` epochs, and keeps the best epoch; ``validation`` is the share of the labelled images set apart for
    that. ``flips`` and ``brightness`` change the pictures at random; batch normalisation stays as it came
    (``freeze_norm``). ``threshold`` is the least confidence of a box that scores see; ``overlap`` that of boxes of one
    class of which the surer stays (1: all, as these networks are made); ``most`` boxes of an image are kept.
    ``batch_size`` images are predicted at once.
    """

    weights: str = "PekingU/rtdetr_v2_r18vd"
    size: PositiveInt | None = None
    start: Literal["scratch", "previous"] = "scratch"
    epochs: PositiveInt = 50
    train_batch: PositiveInt = 4
    lr: PositiveFloat = 1e-4
    backbone_lr: NonNegativeFloat = 1e-5
    weight_decay: NonNegativeFloat = 1e-4
    warmup: Share = 0.05
    patience: PositiveInt = 10
    validation: Share = 0.15
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    brightness: Share = 0.2
    freeze_norm: bool = True
    threshold: Confidence = 0.05
    overlap: Confidence = 1.0
    most: PositiveInt = 300
    batch_size: PositiveInt = 8

    tasks = frozenset[Task]({"detect"})
    provides = frozenset({"probs", "boxes", "objects", "embeddings"})

    def __post_init__(self) -> None:
        require()
        self._place: Place | None = None
        self._loaded: tuple[str, Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and meet missing weights before the first round."""
        self._place = place
        self._load(self.weights)

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
        """Fine-tune with early stopping on ``val`` and write network, processor and classes to ``out``."""
        import torch

        from labelwise.models.detr_training import DetrTraining

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed % 2**63)
            source = str(start) if start is not None and self.start == "previous" else self.weights
            network = network_for(source, plan.classes, "the last round" if source != self.weights else "model.weights")
            processor = self._processor(self.weights)
            rng = np.random.default_rng(seed)
            training = DetrTraining(
                self,
                network.to(device()),
                train,
                val,
                plan.classes,
                processor=processor,
                threads=self._threads,
                rng=rng,
            )
            training.run(progress)
        out.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            network.cpu().save_pretrained(out)
            processor.save_pretrained(out)
        about = {"classes": plan.classes, "weights": self.weights, "epochs": training.epochs, "loss": training.losses}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Boxes with the probabilities of all classes; without a checkpoint only vectors of whole images.

        Networks with a no-object class (DETR, YOLOS) give a distribution: its share is taken out of ``probs`` and
        the rest scaled to a sum of 1, while ``confidences`` are those with it. The others (RT-DETR, Deformable DETR)
        give each class by itself. Vectors of objects are the decoder's last states.
        """
        import torch

        network, processor = self._load(str(checkpoint) if checkpoint else self.weights)
        for part in parts(samples, 4 * self.batch_size):
            pictures = list(prepared(part, processor, square=False, threads=self._threads))
            found: dict[int, Prediction] = {}
            for places in same_shapes(pictures, self.batch_size):
                pixels = torch.stack([torch.from_numpy(pictures[i][0]) for i in places]).to(device())
                with torch.inference_mode():
                    out = network(pixel_values=pixels)
                    image = _image_vectors(out)
                    for row, i in enumerate(places):
                        if checkpoint is None:
                            found[i] = Prediction(part[i].id, embedding=image[row].float().cpu().numpy())
                        else:
                            found[i] = self._record(part[i], pictures[i][1], out, row, image, network, want)
            yield from (found[i] for i in range(len(part)))

    def _record(
        self, sample: Sample, size: tuple[int, int], out: Any, row: int, image: Any, network: Any, want: Want
    ) -> Prediction:
        queries = out.logits.shape[1]
        probs, confidences, independent = class_probabilities(out.logits[row].float(), network.config.num_labels)
        return record(
            sample.id,
            size,
            corners(out.pred_boxes[row].float(), *size),
            probs,
            want=want,
            confidences=confidences,
            independent=independent,
            objects=out.last_hidden_state[row, -queries:],  # of YOLOS patches come first
            image=image[row],
            threshold=self.threshold,
            overlap=self.overlap,
            most=self.most,
        )

    @property
    def _threads(self) -> int:
        return self._place.threads if self._place else 1

    def _processor(self, source: str) -> Any:
        processor = load_pretrained("AutoImageProcessor", source)
        if self.size is not None:
            processor = load_pretrained("AutoImageProcessor", source, size=_sides(processor.size, self.size))
        if hasattr(processor, "do_pad"):
            processor.do_pad = False  # one picture at a time: there is nothing to fill up to
        return processor

    def _load(self, source: str) -> tuple[Any, Any]:
        if self._loaded is None or self._loaded[0] != source:
            network = load_network(KIND, source)
            self._loaded = source, network.to(device()).eval(), self._processor(source)
        return self._loaded[1:]


def class_probabilities(logits: Any, classes: int) -> tuple[Any, Any, bool]:
    """Of logits ``(N, C)`` or ``(N, C + 1)``, the last for no object: probabilities ``(N, C)``, confidences ``(N,)``,
    and whether the classes are independent."""
    if logits.shape[-1] == classes:
        probs = logits.sigmoid()
        return probs, probs.amax(dim=-1), True
    shares = logits.softmax(dim=-1)[:, :classes]
    return logits[:, :classes].softmax(dim=-1), shares.amax(dim=-1), False


def network_for(source: str, classes: Sequence[str], key: str) -> Any:
    """The network in ``source`` with a classifier for ``classes``; where they are those of an earlier round and more,
    the rows of the earlier ones are kept. Raises ModelError if it is no network for boxes."""
    names = dict(enumerate(classes))
    options = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    network = load_network(KIND, source, key, ignore_mismatched_sizes=True, **options)
    about = Path(source) / "about.json"
    if about.is_file():
        known = json.loads(about.read_text(encoding="utf-8"))["classes"]
        if list(classes[: len(known)]) != known:
            raise ModelError(f"{source}: expected the classes {', '.join(known)} first, found {', '.join(classes)}")
        if len(known) < len(classes):
            _keep_rows(load_network(KIND, source, key).state_dict(), network, len(known), len(classes))
    return network


def _keep_rows(old: dict[str, Any], network: Any, before: int, now: int) -> None:
    """Copy the rows of the classes known before into a classifier that has grown, and the last row, of no object."""
    import torch

    with torch.no_grad():
        for name, value in network.state_dict().items():
            had = old[name]
            if had.shape == value.shape:
                continue
            value[:before] = had[:before]
            if len(value) == now + 1 and len(had) == before + 1:
                value[now] = had[before]


def _sides(known: Any, size: int) -> dict[str, int]:
    """The size of a processor, in its words: a square, or the shorter side (and DETR's limit of the longer)."""
    shorter = known.get("shortest_edge") if isinstance(known, dict) else getattr(known, "shortest_edge", None)
    if shorter:
        return {"shortest_edge": size, "longest_edge": size * 5 // 3}
    return {"height": size, "width": size}


def _image_vectors(out: Any) -> Any:
    """A vector of each image ``(B, d)``: the mean of the encoder's last states, or of the objects' if it has none."""
    states = getattr(out, "encoder_last_hidden_state", None)
    if isinstance(states, list | tuple):
        states = states[-1]
    if states is None:
        return out.last_hidden_state.mean(dim=1)
    return states.mean(dim=(2, 3)) if states.ndim == 4 else states.mean(dim=1)
