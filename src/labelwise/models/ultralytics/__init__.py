"""YOLO by ultralytics (AGPL, an extra): any weights or yaml, trained by its own trainer in a process of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from labelwise.embedding.backbone import device, read_pixels
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Place, Plan, Progress, Want
from labelwise.models.found import record
from labelwise.models.hub import parts, same_shapes
from labelwise.models.ultralytics.quiet import require
from labelwise.models.ultralytics.settings import checked, read_settings
from labelwise.records import Labelled, Prediction, Sample, Task

Share = Annotated[float, Field(ge=0, lt=1)]
Confidence = Annotated[float, Field(ge=0, le=1)]


@dataclass
class Ultralytics:
    """A YOLO detector of ultralytics, trained as ultralytics trains it, with probabilities of all classes.

    ``weights`` is a .pt file, or the name or path of a .yaml of ultralytics (an untrained network); nothing is
    downloaded. ``settings`` are those of its training (epochs, imgsz, batch, lr0, ...): a mapping, or a .yaml, .toml or
    .json file, whose part ``train`` counts where it has one. ``size`` is the longer side of pictures in pixels; None:
    ``imgsz`` of the settings. ``start``: "scratch" begins each round from ``weights``, "previous" from the last round's
    network. ``validation`` is the share of the labelled images set apart to choose the best epoch and to stop early
    (``patience`` of the settings). ``threshold`` is the least confidence of a box that scores see; ``overlap`` that of
    boxes of one class of which the surer stays; ``most`` boxes of an image are kept. ``batch_size`` images are
    predicted at once.
    """

    weights: str = "yolo11n.pt"
    settings: dict[str, Any] | Path | None = None
    size: PositiveInt | None = None
    start: Literal["scratch", "previous"] = "scratch"
    validation: Share = 0.0
    threshold: Confidence = 0.05
    overlap: Confidence = 0.6
    most: PositiveInt = 300
    batch_size: PositiveInt = 8

    tasks = frozenset[Task]({"detect"})
    provides = frozenset({"probs", "boxes", "objects", "embeddings"})

    def __post_init__(self) -> None:
        require()
        self._place: Place | None = None
        self._loaded: tuple[Path, Any] | None = None
        self._given = read_settings(self.settings)

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, meet unknown settings, and take the weights over once, as plain arrays."""
        self._place = place
        checked(self._given, self._home)
        self._original()

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
        """Train by ultralytics in a process of its own and write network, classes and its figures to ``out``."""
        from labelwise.models.ultralytics.training import train as trained

        begin = start if start is not None and self.start == "previous" else self._original()
        settings = {**self._given, "imgsz": self._size, "seed": seed % 2**31}
        trained(
            train,
            val,
            out=out,
            begin=begin,
            classes=plan.classes,
            settings=settings,
            home=self._home,
            progress=progress,
        )
        self._loaded = None
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Boxes with the probability of each class alone, from the head before any suppression of overlapping boxes.

        A vector of an object is what the levels of features hold at its box. Without a checkpoint only vectors of
        whole images can be had.
        """
        import torch

        network = self._load(checkpoint if checkpoint is not None else self._original())
        strides = [float(stride) for stride in network.model[-1].stride]
        for part in parts(samples, 4 * self.batch_size):
            pixels = read_pixels(part, self.scaled, threads=self._threads)
            pictures = [(p.transpose(2, 0, 1).astype(np.float32) / np.float32(255), None) for p in pixels]
            found: dict[int, Prediction] = {}
            for places in same_shapes(pictures, self.batch_size):
                inputs = torch.from_numpy(np.stack([pictures[i][0] for i in places])).to(device())
                with torch.inference_mode():
                    rows, levels = _forward(network, inputs)
                    for row, i in enumerate(places):
                        one = [level[row : row + 1] for level in levels]
                        found[i] = self._record(part[i], rows[row], one, strides if checkpoint else None, want)
            yield from (found[i] for i in range(len(part)))

    def _record(
        self, sample: Sample, rows: Any, levels: list[Any], strides: list[float] | None, want: Want
    ) -> Prediction:
        import torch

        image = levels[-1].float().mean(dim=(2, 3))[0]
        if strides is None:
            return Prediction(sample.id, embedding=image.cpu().numpy())
        share, left, top = _placing(sample.size, self._size)
        half = rows[:, 2:4] / 2
        inner = torch.cat([rows[:, :2] - half, rows[:, :2] + half], dim=1)
        moved = (inner - torch.tensor([left, top, left, top], device=rows.device)) / share
        return record(
            sample.id,
            sample.size,
            moved,
            rows[:, 4:],
            want=want,
            independent=True,
            vectors=lambda keep: _at_boxes(levels, strides, inner[keep]),
            image=image,
            threshold=self.threshold,
            overlap=self.overlap,
            most=self.most,
        )

    def scaled(self, image: Image.Image) -> NDArray[np.uint8]:
        """A picture as the network sees it: its longer side ``size`` pixels long, on grey up to a multiple of 32."""
        import cv2

        share, left, top = _placing(image.size, self._size)
        width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
        pixels = np.asarray(image)
        if (width, height) != image.size:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        filled = np.full((_up(height), _up(width), 3), 114, np.uint8)
        filled[top : top + height, left : left + width] = pixels
        return filled

    @property
    def _size(self) -> int:
        size = self.size or self._given.get("imgsz", 640)
        if type(size) is not int or size < 32:
            raise ConfigError(f"model.settings.imgsz: expected a number of pixels of 32 or more, but found {size!r}")
        return _up(size)

    @property
    def _threads(self) -> int:
        return self._place.threads if self._place else 1

    @property
    def _home(self) -> Path:
        assert self._place is not None, "a model is prepared first"
        return self._place.home / "ultralytics"

    def _original(self) -> Path:
        """The weights that the run begins from, as plain arrays, taken over once for each content."""
        from labelwise.models.ultralytics.training import take_over

        file = Path(self.weights).expanduser()
        if file.is_file():
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()[:12]
        else:
            content = "named"
        place = self._home / f"{file.stem}-{content}"
        if not (place / "about.json").is_file():
            take_over(self.weights, place, self._home)
        return place

    def _load(self, checkpoint: Path) -> Any:
        if self._loaded is None or self._loaded[0] != checkpoint:
            from labelwise.models.ultralytics.networks import load

            self._loaded = checkpoint, load(checkpoint, self._home).to(device()).eval()
        return self._loaded[1]


def _up(side: int) -> int:
    return -(-side // 32) * 32


def _placing(size: tuple[int, int], longer: int) -> tuple[float, int, int]:
    """How much a picture is scaled, and where its left upper corner lies in the input."""
    share = longer / max(size)
    width, height = max(1, round(size[0] * share)), max(1, round(size[1] * share))
    return share, (_up(width) - width) // 2, (_up(height) - height) // 2


def _forward(network: Any, inputs: Any) -> tuple[Any, list[Any]]:
    """What the head says ``(B, A, 4 + C)``: centre, size, class probabilities; and the levels that entered it."""
    levels: list[Any] = []
    head = network.model[-1]
    hook = head.register_forward_pre_hook(lambda _, given: levels.extend(given[0]))
    try:
        out = network(inputs)
    finally:
        hook.remove()
    rows = (out[0] if isinstance(out, tuple | list) else out).float().transpose(1, 2)
    if rows.shape[-1] != 4 + head.nc:
        raise ModelError(f"the head {type(head).__name__} gives {rows.shape[-1]} numbers a box, expected {4 + head.nc}")
    return rows, levels


def _at_boxes(levels: Sequence[Any], strides: Sequence[float], boxes: Any) -> Any:
    """Vectors ``(N, d)``: the mean of each level's features inside a box, all levels one after the other."""
    import torch
    from torchvision.ops import roi_align

    pooled = [
        roi_align(level.float(), [boxes.float()], 1, spatial_scale=1 / stride, sampling_ratio=2).flatten(1)
        for level, stride in zip(levels, strides, strict=True)
    ]
    return torch.cat(pooled, dim=1)
