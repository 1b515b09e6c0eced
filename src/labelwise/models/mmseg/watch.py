"""Looking on while a network is trained: losses on the validation images, and pictures of what it reconstructs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS
from numpy.typing import NDArray
from PIL import Image

from labelwise import mmlab
from labelwise.errors import ModelError
from labelwise.models.mmseg.predictor import looking_pipeline

EVERY = 500  # iterations between two series of pictures
_HIDDEN = 0.5  # hidden patches are this grey


class ValidationLosses(Hook):  # type: ignore[misc]
    """Every so many iterations the mean losses on the validation images, as ``val/...`` beside those of the training.

    The network learns nothing from them, and its random numbers stay those of a training without them.
    """

    def __init__(self, config: Any, every: int) -> None:
        loader = config.get("val_dataloader") or config.get("test_dataloader")
        if loader is None:
            raise ModelError("validation losses need val_dataloader, found none: give it, or leave validate_every out")
        plain = mmlab.plain_datasets(loader["dataset"])
        self.datasets = [DATASETS.build({**one, "lazy_init": False}) for one in plain]
        self.every = every

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Called by the runner."""
        if (runner.iter + 1) % self.every:
            return
        means = self._losses(single(runner.model))
        runner.logger.info(f"validation: {', '.join(f'{k} {v:.4f}' for k, v in means.items())}")
        add_scalars(runner.visualizer, {f"val/{name}": value for name, value in means.items()}, runner.iter + 1)

    def _losses(self, model: Any) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        count = 0
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(0)  # the same patches are hidden each time
            for dataset in self.datasets:
                for i in range(len(dataset)):
                    item = dataset[i]
                    batch = {"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]}
                    losses = model(**model.data_preprocessor(batch, False), mode="loss")
                    for name, value in losses.items():
                        parts = value if isinstance(value, (list, tuple)) else [value]
                        sums[name] += float(sum(part.mean() for part in parts))
                    count += 1
        model.train()
        return {name: value / count for name, value in sums.items()} if count else {}


class Reconstructions(Hook):  # type: ignore[misc]
    """Pictures of reconstructions every 500 iterations and at the end: image, what is shown of it, what is made of it.

    They lie in ``folder``/iter N. ``images`` are looked at through the test pipeline of the configuration, in windows
    of the size the network was made for. Of several ranks the first one draws.
    """

    def __init__(self, config: Any, folder: Path, images: Sequence[Path]) -> None:
        self.folder, self.images, self.pipeline = folder, images, Compose(looking_pipeline(config))
        self.drawn = -1

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Called by the runner."""
        if (runner.iter + 1) % EVERY == 0 and dist.is_main_process():
            self._draw(single(runner.model), runner.iter + 1)

    def after_train(self, runner: Any) -> None:
        """Called by the runner."""
        if self.drawn != runner.iter and dist.is_main_process():
            self._draw(single(runner.model), runner.iter)

    def _draw(self, model: Any, step: int) -> None:
        place = self.folder / f"iter{step}"
        place.mkdir(parents=True, exist_ok=True)
        model.eval()
        for index, path in enumerate(self.images):
            item = self.pipeline({"img_path": str(path), "seg_fields": [], "reduce_zero_label": False})
            batch = {"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]}
            images = _middle(model.data_preprocessor(batch, False)["inputs"], model.backbone.img_size)
            made, hidden = model.reconstructed(images)
            shown = images * (1 - hidden)
            parts = [_pixels(model.data_preprocessor, one) for one in (images, shown, made)]
            parts[1][hidden[0, 0].bool().cpu().numpy()] = round(255 * _HIDDEN)
            Image.fromarray(np.concatenate(parts, axis=1)).save(place / f"sample_{index}.png")
        model.train()
        self.drawn = step


def single(model: Any) -> Any:
    """The network itself, without what several ranks wrap it in."""
    return model.module if is_model_wrapper(model) else model


def add_scalars(visualizer: Any, values: Mapping[str, float], step: int) -> None:
    """Give numbers to all backends of a visualizer, each for the axis it draws on."""
    visualizer.add_scalars({**values, "step": step}, step=step)


def _middle(images: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    top, left = (max(0, (have - want) // 2) for have, want in zip(images.shape[-2:], window, strict=True))
    return images[:, :, top : top + window[0], left : left + window[1]]


def _pixels(preprocessor: Any, images: torch.Tensor) -> NDArray[np.uint8]:
    """The first of normalised images as RGB ``(h, w, 3)``."""
    image = images[0].float()
    if hasattr(preprocessor, "mean"):
        image = image * preprocessor.std + preprocessor.mean
    if not getattr(preprocessor, "_channel_conversion", False):
        image = image.flip(0)  # mmcv reads BGR
    return image.round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).cpu().numpy()
