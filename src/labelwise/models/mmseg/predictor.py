"""A trained network of mmsegmentation that gives class probabilities at the size of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from numpy.typing import NDArray
from safetensors.torch import load_file

from labelwise import mmlab
from labelwise.embedding.backbone import device
from labelwise.errors import ModelError
from labelwise.models import Want
from labelwise.records import Prediction, Sample


class Predictor:
    """The network of a checkpoint with the test pipeline of its configuration."""

    def __init__(self, config: Any, checkpoint: Path, flip: bool = False) -> None:
        self.flip = flip
        self.pipeline, network = built(config)
        network.load_state_dict(load_file(checkpoint / "network.safetensors"))
        self.network: Any = network.to(device()).eval()
        head = mmlab.heads(config["model"])[-1]
        losses = head.get("loss_decode") or {}
        first = losses[0] if isinstance(losses, (list, tuple)) else losses
        self.sigmoid = bool(first.get("use_sigmoid"))

    def prepared(self, sample: Sample) -> Any:
        """What the pipeline makes of a picture."""
        return self.pipeline({"img_path": str(sample.path), "seg_fields": [], "reduce_zero_label": False})

    def predict(self, sample: Sample, data: Any, want: Want, passes: int) -> Prediction:
        """The prediction of one picture, with ``samples`` ``(passes, h, w, C)`` if they are wanted."""
        outputs: dict[str, Any] = {}
        if "embeddings" in want:
            outputs["probs"], outputs["embedding"] = self._with_features(sample, data)
        elif "probs" in want:
            outputs["probs"] = self._probs(sample, data)
        if "samples" in want:
            outputs["samples"] = self._samples(sample, data, passes)
        if "reconstruction" in want:
            outputs["reconstruction"] = self._errors(sample, data)
        return Prediction(sample.id, **outputs)

    def _probs(self, sample: Sample, data: Any) -> NDArray[np.float32]:
        """Class probabilities; with ``flip`` the mean of the picture's and of its mirror image's."""
        probs = self._seen(sample, data)
        if self.flip:
            mirrored = {**data, "inputs": data["inputs"].flip(-1)}
            probs = np.asarray((probs + self._seen(sample, mirrored)[:, ::-1]) / 2, np.float32)
        return probs

    def _seen(self, sample: Sample, data: Any) -> NDArray[np.float32]:
        batch = {"inputs": [data["inputs"]], "data_samples": [data["data_samples"].clone()]}
        with torch.inference_mode():
            logits = self.network.test_step(batch)[0].seg_logits.data.float()
        if tuple(logits.shape[1:]) != (sample.size[1], sample.size[0]):
            raise ModelError(
                f"{sample.id}: expected a prediction of {sample.size[0]} x {sample.size[1]} pixels, found "
                f"{logits.shape[2]} x {logits.shape[1]}: the test pipeline must not turn or cut pictures"
            )
        if len(logits) == 1:  # of two classes, and its sigmoid is taken already
            probs = torch.cat([1 - logits, logits])
        elif self.sigmoid:
            probs = logits.sigmoid()
            probs = probs / probs.sum(dim=0).clamp_min(1e-12)
        else:
            probs = logits.softmax(dim=0)
        return np.asarray(probs.permute(1, 2, 0).contiguous().cpu().numpy())

    def _with_features(self, sample: Sample, data: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities, and what the last layer of the decode head sees as a map ``(h', w', d)``."""
        head = self.network.decode_head
        last = getattr(head[-1] if isinstance(head, torch.nn.ModuleList) else head, "conv_seg", None)
        seen: list[Any] = []
        if last is not None:
            hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            try:
                probs = self._probs(sample, data)
            finally:
                hook.remove()
        if len(seen) != 1:
            raise ModelError(
                "vectors of regions need a decode head that ends with conv_seg and sees each picture once, in one "
                "piece (test_cfg.mode='whole'): choose another head, or a strategy without embeddings"
            )
        batch = {"inputs": [data["inputs"]], "data_samples": [data["data_samples"].clone()]}
        filled = self.network.data_preprocessor(batch)["inputs"].shape[-2:]  # at the right and below
        features, own = seen[0][0].float(), data["inputs"].shape[-2:]
        height, width = (-(-features.shape[1 + i] * own[i] // filled[i]) for i in (0, 1))
        return probs, np.asarray(features[:, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy())

    def _errors(self, sample: Sample, data: Any) -> NDArray[np.float32]:
        """How badly each pixel is reconstructed, at the size of the picture."""
        batch = {"inputs": [data["inputs"]], "data_samples": [data["data_samples"].clone()]}
        seen = self.network.data_preprocessor(batch, False)["inputs"]
        height, width = data["inputs"].shape[-2:]  # what is beyond was added to fill
        with torch.inference_mode():
            errors = self.network.reconstruction_errors(seen)[:, None, :height, :width]
            size = (sample.size[1], sample.size[0])
            fitted = torch.nn.functional.interpolate(errors, size=size, mode="bilinear", align_corners=False)
        return np.asarray(fitted[0, 0].float().cpu().numpy())

    def _samples(self, sample: Sample, data: Any, passes: int) -> NDArray[np.float32]:
        """Stochastic passes with dropout on; pass i has the same random numbers for every picture."""
        parts = [part for name, part in self.network.named_children() if name != "auxiliary_head"]
        modules = [module for part in parts for module in part.modules()]
        drops = [m for m in modules if isinstance(m, torch.nn.modules.dropout._DropoutNd) and m.p > 0]
        if not drops:
            raise ModelError("the network has no dropout to draw samples with: set model.decode_head.dropout_ratio")
        found = []
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            for drop in drops:
                drop.train()
            try:
                for index in range(passes):
                    torch.manual_seed(index)
                    found.append(self._probs(sample, data))
            finally:
                for drop in drops:
                    drop.eval()
        return np.stack(found)


def built(config: Any) -> tuple[Any, Any]:
    """The test pipeline of a configuration and its network, of which nothing is loaded."""
    with mmlab.scope(config):
        from labelwise.models.mmseg import multitask  # in the scope, where nothing is printed

        multitask.register()
        return Compose(looking_pipeline(config)), revert_sync_batchnorm(MODELS.build(_without_weights(config)))


def looking_pipeline(config: Any) -> list[Any]:
    """The pipeline of the test images, without annotations."""
    loader = next((config[key] for key in ("test_dataloader", "val_dataloader") if config.get(key)), None)
    if loader is not None:
        pipeline = mmlab.plain_datasets(loader["dataset"])[0].get("pipeline")
    else:
        pipeline = config.get("test_pipeline")
    if not pipeline:
        raise ModelError(
            "the configuration has no test pipeline: give test_dataloader, val_dataloader or test_pipeline"
        )
    return [step for step in pipeline if "Annotation" not in mmlab.type_name(step["type"])]


def _without_weights(config: Any) -> dict[str, Any]:
    """The model as configured, but nothing of it is loaded from elsewhere."""
    model = dict(config["model"])
    if config.get("data_preprocessor") is not None:
        model.setdefault("data_preprocessor", config["data_preprocessor"])
    if "pretrained" in model:
        model["pretrained"] = None
    if isinstance(model.get("backbone"), dict):
        model["backbone"] = {k: v for k, v in model["backbone"].items() if k not in ("init_cfg", "pretrained")}
    return model
