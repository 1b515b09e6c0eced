"""Semantic segmentation with a network of segmentation-models-pytorch: any of its architectures on any encoder."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.catalog import suggest
from labelwise.embedding.backbone import NetworkSpec, Preprocessing, create_network
from labelwise.errors import ModelError
from labelwise.models.fpn import Fpn

INSTALL = "pip install 'labelwise[smp]'"


@dataclass
class Smp(Fpn):
    """A network of segmentation-models-pytorch, trained and used as ``fpn`` is.

    ``architecture`` is one of its architectures (Unet, FPN, DeepLabV3Plus, ...), ``backbone`` one of its encoders or
    any network of timm that gives levels of features, ``network`` further arguments of the architecture. ``weights``
    are those of the encoder. Everything else as for ``fpn``; MC-dropout drops channels of the decoder's output.
    """

    architecture: str = "Unet"
    backbone: str = "resnet34"
    channels: int = field(init=False, default=0)  # the architecture's own

    def _create(self, classes: int) -> Any:
        smp = _library()
        known = {name.lower(): name for name in (a.__name__ for a in smp._MODEL_ARCHITECTURES)}
        if self.architecture.lower() not in known:
            raise ModelError(
                f"model.architecture: unknown {self.architecture!r}: {suggest(self.architecture, known.values())}"
            )
        name, native = self._encoder(smp)
        own = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[self.architecture.lower()]).parameters
        for key in self.network:
            # further ones are the encoder's, of which the library's own take none
            if native and key not in own:
                raise ModelError(f"model.network.{key} is unknown: {suggest(key, [*own])}")
        hub = native and self.weights == "hub"
        given = {"encoder_weights": "imagenet" if hub else None, "in_channels": 3, "classes": classes}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = smp.create_model(self.architecture, encoder_name=name, **given, **self.network)
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"no {self.architecture} on {self.backbone} (weights {self.weights}): {line}: check model.backbone, "
                "model.network and model.weights (a file, 'hub', or 'none' for an untrained encoder)"
            ) from error
        if not hub:
            self._load_encoder(network.encoder, native)
        return Encoded(network, self.dropout)

    def _encoder(self, smp: Any) -> tuple[str, bool]:
        """The encoder's name for the library, and whether it is one of its own rather than timm's."""
        import timm

        plain = self.backbone.removeprefix("tu-")
        if plain == self.backbone and plain in smp.encoders.encoders:
            return plain, True
        if not timm.is_model(plain):
            raise ModelError(f"model.backbone: unknown encoder {plain!r}: {suggest(plain, smp.encoders.encoders)}")
        return f"tu-{plain}", False

    def _load_encoder(self, encoder: Any, native: bool) -> None:
        if not native:
            spec = NetworkSpec(self.backbone.removeprefix("tu-"), self.weights, {"features_only": True})
            state: Mapping[str, Any] = create_network(spec, num_classes=0).state_dict() if self._trained else {}
            encoder = encoder.model
        else:
            state = _read(self.weights) if self._trained else {}
        own = encoder.state_dict()
        fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
        lacking = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
        if state and lacking:
            raise ModelError(
                f"{self.weights} does not fit {self.backbone}: it has no weights for {lacking[0]} ({len(lacking)} "
                "missing): check model.backbone and model.weights"
            )
        encoder.load_state_dict({**own, **fitting})

    @property
    def _trained(self) -> bool:
        return self.weights != "none"

    def _preprocessing(self, network: Any) -> Preprocessing:
        smp = _library()
        name, native = self._encoder(smp)
        if not native:
            return super()._preprocessing(network.timm_parts())
        about: Any = {"mean": Preprocessing.mean, "std": Preprocessing.std}
        if self.weights == "hub":  # where the library looks it up
            about = smp.encoders.get_preprocessing_params(name, "imagenet")
        most = float((about.get("input_range") or [0, 1])[1])
        mean, std = (tuple(float(v) / most for v in about[key]) for key in ("mean", "std"))
        return Preprocessing(mean=tuple(self.mean or mean), std=tuple(self.std or std))


class Encoded(nn.Module):
    """A network of the library in the parts that training and prediction here work with."""

    def __init__(self, network: Any, dropout: float) -> None:
        super().__init__()
        self.backbone, self.decoder = network.encoder, network.decoder
        head = network.segmentation_head
        self.classifier, self.upsampling = head[0], head[1]
        self.stride = round(getattr(self.upsampling, "scale_factor", 1) or 1)
        self.drop = nn.Dropout2d(dropout)

    def fused(self, images: Tensor) -> Tensor:
        """What the decoder makes of images ``(n, 3, h, w)``, h and w multiples of 32."""
        found = self.backbone(images)
        # vision transformers give their further tokens beside the features
        return torch.as_tensor(self.decoder(*found) if isinstance(found, tuple) else self.decoder(found))

    def enlarged(self, logits: Tensor) -> Tensor:
        """Logits at the size of the input."""
        return torch.as_tensor(self.upsampling(logits))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, C, h, w)`` of images ``(n, 3, h, w)``."""
        return self.enlarged(self.classifier(self.drop(self.fused(images))))

    def timm_parts(self) -> Any:
        """A view of the encoder for those who ask timm's network about its pictures."""
        return _Parts(self.backbone.model)


@dataclass(frozen=True)
class _Parts:
    backbone: Any


def _library() -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ModelError(f"model smp needs segmentation-models-pytorch, found none ({error}): {INSTALL}") from None
    return segmentation_models_pytorch


def _read(file: str) -> Mapping[str, Any]:
    """The tensors of a file, without those of a classifier."""
    path = Path(file)
    if not path.is_file():
        raise ModelError(
            f"no weight file {file!r}: give model.weights a .safetensors or .pth file, 'hub', or 'none' for an "
            "untrained encoder"
        )
    from timm.models import load_state_dict

    return dict(load_state_dict(str(path), device="cpu", weights_only=True))
