"""Tiny detectors of transformers with random weights, saved to folders as downloads would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Save = Callable[[Path], str]


@pytest.fixture
def tiny_owl() -> Callable[..., str]:
    """Saves an OWLv2 or OWL-ViT of some thousand parameters and gives its folder."""
    pytest.importorskip("transformers")
    import torch
    import transformers

    def save(folder: Path, version: str = "Owlv2") -> str:
        letters = [chr(code) for code in range(33, 127)]
        names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        vocabulary = {name: number for number, name in enumerate(names)}
        tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
        small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        text = {**small, "vocab_size": len(names), "max_position_embeddings": 32, "eos_token_id": len(names) - 1}
        config = getattr(transformers, f"{version}Config")(
            text_config={**text, "bos_token_id": len(names) - 2, "pad_token_id": len(names) - 1},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = getattr(transformers, f"{version}ForObjectDetection")(config)
        size = {"height": 32, "width": 32}
        images = getattr(transformers, f"{version}ImageProcessor")(size=size)
        return _save(folder, network, getattr(transformers, f"{version}Processor")(images, tokenizer))

    return save


@pytest.fixture
def tiny_dino() -> Save:
    """Saves a Grounding DINO of some thousand parameters and gives its folder."""
    pytest.importorskip("transformers")
    import torch
    import transformers

    def save(folder: Path) -> str:
        letters = "abcdefghijklmnopqrstuvwxyz0123456789"
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{letter}" for letter in letters)]
        folder.mkdir(parents=True)
        tokenizer = transformers.BertTokenizerFast(vocab={name: number for number, name in enumerate(names)})
        swin = transformers.SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=2,
            out_features=["stage1", "stage2"],
        )
        bert = transformers.BertConfig(
            vocab_size=len(names), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        config = transformers.GroundingDinoConfig(
            backbone_config=swin, text_config=bert, d_model=32, num_queries=10, encoder_layers=1, decoder_layers=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
            num_feature_levels=3, encoder_n_points=2, decoder_n_points=2, disable_custom_kernels=True, max_text_len=64,
        )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = transformers.GroundingDinoForObjectDetection(config)
        images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        return _save(folder, network, transformers.GroundingDinoProcessor(images, tokenizer))

    return save


def _save(folder: Path, network: Any, processor: Any) -> str:
    from labelwise.models.hub import quiet_transformers

    with quiet_transformers():
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    return str(folder)


@pytest.fixture
def tiny_detector() -> Callable[..., str]:
    """Saves a small detector with random weights and gives its folder: "rt_detr", "detr", "deformable" or "yolos"."""
    pytest.importorskip("transformers")
    import torch
    import transformers

    def save(folder: Path, kind: str = "rt_detr", side: int = 64, queries: int = 12) -> str:
        resnet = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1], "layer_type": "basic"}
        layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        if kind == "rt_detr":
            config = transformers.RTDetrConfig(
                backbone_config=transformers.RTDetrResNetConfig(**resnet, out_features=["stage2", "stage3", "stage4"]),
                encoder_hidden_dim=32, encoder_in_channels=[24, 32, 40], decoder_in_channels=[32, 32, 32], d_model=32,
                num_queries=queries, num_denoising=10, anchor_image_size=None, **layers, **heads,
            )  # fmt: skip
        elif kind == "yolos":
            config = transformers.YolosConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                image_size=[side, side], patch_size=16, num_detection_tokens=queries,
            )  # fmt: skip
        else:
            backbone = transformers.ResNetConfig(**resnet, out_features=["stage2", "stage3", "stage4"])
            name = "Detr" if kind == "detr" else "DeformableDetr"
            more = {} if kind == "detr" else {"num_feature_levels": 3, "disable_custom_kernels": True}
            config = getattr(transformers, f"{name}Config")(
                use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
                d_model=32, num_queries=queries, **layers, **heads, **more,
            )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = transformers.AutoModelForObjectDetection.from_config(config)
        square = {"height": side, "width": side}
        shorter = {"shortest_edge": side, "longest_edge": 2 * side}
        makers = {"rt_detr": "RTDetr", "detr": "Detr", "deformable": "DeformableDetr", "yolos": "Yolos"}
        images = getattr(transformers, f"{makers[kind]}ImageProcessor")(size=square if kind == "rt_detr" else shorter)
        return _save(folder, network, images)

    return save
