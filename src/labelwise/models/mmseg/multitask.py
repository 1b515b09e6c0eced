"""Segmentation and masked-autoencoder reconstruction on one vision transformer, as modules of mmsegmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from mmseg.models.backbones.vit import TransformerEncoderLayer, VisionTransformer
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from labelwise.errors import ModelError
from labelwise.models.mmseg.patches import (
    as_image,
    as_patches,
    fixed_places,
    hidden_sets,
    padded,
    resized_places,
    starts,
)

PLACES = ("learnable", "fixed")


class SharedVisionTransformer(VisionTransformer):  # type: ignore[misc]
    """mmsegmentation's vision transformer, which can also look at some patches of an image only.

    ``pos_embed_type`` is "learnable" or "fixed" (sines and cosines of the place, not learnt).
    """

    def __init__(self, *, pos_embed_type: str = "learnable", **options: Any) -> None:
        super().__init__(**options)
        self.pos_embed_type = _known(pos_embed_type)
        self.pos_embed.requires_grad_(pos_embed_type == "learnable")
        self._fix_places()

    def init_weights(self) -> None:
        """Called by the runner."""
        super().init_weights()
        self._fix_places()

    def visible(self, images: Tensor, kept: Tensor) -> Tensor:
        """Tokens ``(B, k, d)`` of the patches ``kept`` ``(B, k)`` of images ``(B, 3, h, w)``; no other is looked at."""
        tokens, grid = self.patch_embed(images)
        whole = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        placed = self._pos_embeding(whole, grid, self.pos_embed)
        tokens = placed[:, 1:].gather(1, kept[..., None].expand(-1, -1, placed.shape[-1]))
        if self.with_cls_token:
            tokens = torch.cat([placed[:, :1], tokens], dim=1)
        if self.pre_norm:
            tokens = self.pre_ln(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        if self.final_norm:
            tokens = self.norm1(tokens)
        found: Tensor = tokens[:, 1:] if self.with_cls_token else tokens
        return found

    def _fix_places(self) -> None:
        if self.pos_embed_type == "fixed":
            rows, columns = (side // self.patch_size for side in self.img_size)
            places = fixed_places(rows, columns, self.pos_embed.shape[-1])
            self.pos_embed.data = torch.cat([torch.zeros_like(places[:, :1]), places], dim=1)


class MaskDecodeHead(BaseModule):  # type: ignore[misc]
    """The decoder of a masked autoencoder: tokens of the visible patches in, the pixels of all patches out.

    He et al. 2022, Masked autoencoders are scalable vision learners, section 3. ``img_size`` and ``patch_size`` are the
    backbone's, ``in_channels`` its ``embed_dims``. ``channels``, ``num_classes`` and ``align_corners`` mean nothing
    here; configurations of segal have them.
    """

    def __init__(
        self,
        in_channels: int,
        img_size: int | Sequence[int],
        patch_size: int = 16,
        embed_dims: int = 512,
        num_layers: int = 8,
        num_heads: int = 16,
        mlp_ratio: int = 4,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        pos_embed_type: str = "learnable",
        norm_cfg: Mapping[str, Any] | None = None,
        loss_decode: Mapping[str, Any] | None = None,
        channels: int | None = None,
        num_classes: int = 3,
        align_corners: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.patch_size, self.grid = patch_size, (height // patch_size, width // patch_size)
        self.pos_embed_type = _known(pos_embed_type)
        norm = dict(norm_cfg or {"type": "LN"})
        self.embed = nn.Linear(in_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(fixed_places(*self.grid, embed_dims), requires_grad=pos_embed_type == "learnable")
        drops = torch.linspace(0, drop_path_rate, num_layers).tolist()
        shape = {"embed_dims": embed_dims, "num_heads": num_heads, "feedforward_channels": mlp_ratio * embed_dims}
        rates = {"drop_rate": drop_rate, "attn_drop_rate": attn_drop_rate, "norm_cfg": norm}
        self.layers = ModuleList(TransformerEncoderLayer(**shape, **rates, drop_path_rate=drop) for drop in drops)
        self.norm = build_norm_layer(norm, embed_dims)[1]
        self.pixels = nn.Linear(embed_dims, 3 * patch_size**2)
        self.loss_decode = MODELS.build(dict(loss_decode or {"type": "ReconstructionLoss"}))

    def init_weights(self) -> None:
        """Called by the runner."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pixels ``(B, L, 3 p p)`` of all patches of a ``grid`` (rows, columns), from tokens ``(B, k, d)``."""
        known = self.embed(tokens)
        batch, _, dims = known.shape
        all_places = self.mask_token.to(known.dtype).expand(batch, grid[0] * grid[1], dims)
        x = all_places.scatter(1, kept[..., None].expand(-1, -1, dims), known)
        x = x + resized_places(self.pos_embed, self.grid, grid)
        for layer in self.layers:
            x = layer(x)
        return self.pixels(self.norm(x))  # type: ignore[no-any-return]


class ReconstructionLoss(nn.Module):
    """The mean over hidden patches of the squared difference of pixels, times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_mae") -> None:
        super().__init__()
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def forward(self, found: Tensor, wanted: Tensor, hidden: Tensor) -> Tensor:
        """``found`` and ``wanted`` are ``(B, L, 3 p p)``, ``hidden`` ``(B, L)`` is 1 where a patch was not seen."""
        each = (found.float() - wanted).square().mean(dim=-1)
        return self.loss_weight * (each * hidden).sum() / hidden.sum()


class MultiTaskSegmentor(EncoderDecoder):  # type: ignore[misc]
    """An encoder-decoder whose backbone also learns to reconstruct hidden patches, with or without labels.

    ``auxiliary_head`` is a MaskDecodeHead, ``mae_config`` may hold ``mask_ratio``, the share of the patches that is
    hidden. ``stage`` "mae" learns to reconstruct only, "both" everything.
    """

    def __init__(self, *, mae_config: Mapping[str, Any] | None = None, stage: str = "both", **options: Any) -> None:
        super().__init__(**options)
        self.stage = stage
        self.mask_ratio = float((mae_config or {}).get("mask_ratio", 0.5))
        if not 0 < self.mask_ratio < 1:
            raise ModelError(
                f"model.mae_config.mask_ratio: expected a share above 0 and below 1, found {self.mask_ratio}"
            )
        if not isinstance(self.backbone, SharedVisionTransformer):
            raise ModelError("MultiTaskSegmentor needs model.backbone.type='SharedVisionTransformer'")
        if not isinstance(getattr(self, "auxiliary_head", None), MaskDecodeHead):
            raise ModelError("MultiTaskSegmentor needs model.auxiliary_head=dict(type='MaskDecodeHead', ...), one head")
        if self.backbone.patch_size != self.auxiliary_head.patch_size:
            raise ModelError(
                f"model.auxiliary_head.patch_size: expected the backbone's {self.backbone.patch_size}, found "
                f"{self.auxiliary_head.patch_size}"
            )

    def loss(self, inputs: Tensor, data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """The losses of both heads, by name; that of the labels is left out in the stage "mae"."""
        losses: dict[str, Tensor] = {}
        if self.stage != "mae":
            losses |= self._decode_head_forward_train(self.extract_feat(inputs), data_samples)
        count = as_patches(padded(inputs, self.backbone.patch_size), self.backbone.patch_size).shape[1]
        order = torch.rand(len(inputs), count, device=inputs.device).argsort(dim=1)
        shown = count - _hidden_count(count, self.mask_ratio)
        found, wanted, _ = self._reconstruct(inputs, order[:, :shown])
        hidden = torch.ones_like(order, dtype=torch.float32).scatter(1, order[:, :shown], 0.0)
        head = self.auxiliary_head.loss_decode
        losses |= add_prefix({head.loss_name: head(found, wanted, hidden)}, "reconstruct")
        return losses

    @torch.no_grad()
    def reconstruction_errors(self, images: Tensor) -> Tensor:
        """How wrong each pixel of images ``(B, 3, h, w)`` is where it is hidden: ``(B, h, w)``.

        Half the squared difference, averaged over the channels, in the normalised values the network sees. Windows of
        the backbone's size lie half a window apart. In each every patch is hidden once at least, with others as many as
        ``mask_ratio`` says, the same in every image; a pixel gets the mean over all times that it was hidden.
        """
        total = images.new_zeros((len(images), *images.shape[-2:]))
        times = torch.zeros_like(total)
        for y, x in self._windows(images):
            height, width = self.backbone.img_size
            place = (slice(None), slice(y, y + height), slice(x, x + width))
            errors, seen = self._window_errors(images[:, :, place[1], place[2]])
            total[place] += errors
            times[place] += seen
        return total / times

    @torch.no_grad()
    def reconstructed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(B, 3, h, w)`` with hidden patches reconstructed, and where these are ``(B, 1, h, w)``, 1 or 0."""
        height, width = images.shape[-2:]
        size = self.backbone.patch_size
        count = as_patches(padded(images, size), size).shape[1]
        hidden = hidden_sets(count, _hidden_count(count, self.mask_ratio), 0)[0].to(images.device)
        found, wanted, grid = self._reconstruct(images, _others(hidden, count, len(images)))
        where = torch.zeros_like(wanted)
        where[:, hidden] = 1
        both = as_image(torch.where(where > 0, found.to(wanted.dtype), wanted), grid, size)
        return both[..., :height, :width], as_image(where, grid, size)[:, :1, :height, :width]

    def _window_errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of errors and how often they were measured, ``(B, h, w)`` each."""
        height, width = images.shape[-2:]
        size = self.backbone.patch_size
        count = as_patches(padded(images, size), size).shape[1]
        total, times = images.new_zeros((2, len(images), height, width))
        for chosen in hidden_sets(count, _hidden_count(count, self.mask_ratio), 0):
            hidden = chosen.to(images.device)
            found, wanted, grid = self._reconstruct(images, _others(hidden, count, len(images)))
            where = torch.zeros_like(wanted)
            where[:, hidden] = 1
            errors = as_image(0.5 * (found.float() - wanted).square() * where, grid, size).mean(dim=1)
            total += errors[:, :height, :width]
            times += as_image(where, grid, size)[:, 0, :height, :width]
        return total, times

    def _reconstruct(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Patches found and wanted ``(B, L, 3 p p)`` where only ``kept`` ``(B, k)`` are shown, and their grid."""
        size = self.backbone.patch_size
        whole = padded(images, size)
        grid = (whole.shape[-2] // size, whole.shape[-1] // size)
        found = self.auxiliary_head(self.backbone.visible(whole, kept), kept, grid)
        return found, as_patches(whole, size), grid

    def _windows(self, images: Tensor) -> Iterator[tuple[int, int]]:
        sides = self.backbone.img_size
        step = max(1, min(sides) // 2)
        for y in starts(images.shape[-2], sides[0], step):
            for x in starts(images.shape[-1], sides[1], step):
                yield y, x


def register() -> None:
    """Let configurations name these modules."""
    for module in (SharedVisionTransformer, MaskDecodeHead, ReconstructionLoss, MultiTaskSegmentor):
        MODELS.register_module(module=module, force=True)


def _known(kind: str) -> str:
    if kind not in PLACES:
        raise ModelError(f"pos_embed_type: expected {' or '.join(PLACES)}, found {kind!r}")
    return kind


def _hidden_count(count: int, ratio: float) -> int:
    """How many of so many patches are hidden: one at least, and not all."""
    return min(count - 1, max(1, round(count * ratio))) if count > 1 else 1


def _others(hidden: Tensor, count: int, batch: int) -> Tensor:
    """The patches that are shown ``(batch, k)``, where ``hidden`` ``(m,)`` are not."""
    shown = torch.ones(count, dtype=torch.bool, device=hidden.device)
    shown[hidden] = False
    return shown.nonzero()[:, 0].expand(batch, -1)
